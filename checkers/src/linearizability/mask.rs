//! Sets of slots: one word while at most 64 operations are open, any number of words otherwise.

use std::hash::Hash;

use smallvec::SmallVec;

/// A set of slot numbers. All masks of one frontier have the same number of words.
pub(super) trait Mask: Clone + Eq + Hash {
    /// The empty set, with room for 64 slots.
    fn empty() -> Self;
    /// The empty set, with as much room as `other` has.
    fn empty_like(other: &Self) -> Self;
    /// The words, lowest slots first.
    fn words(&self) -> &[u64];
    /// The words, to be changed.
    fn words_mut(&mut self) -> &mut [u64];

    fn contains(&self, slot: usize) -> bool {
        self.words()[slot / 64] >> (slot % 64) & 1 == 1
    }

    fn insert(&mut self, slot: usize) {
        self.words_mut()[slot / 64] |= 1 << (slot % 64);
    }

    fn remove(&mut self, slot: usize) {
        self.words_mut()[slot / 64] &= !(1 << (slot % 64));
    }

    /// How many slots are in the set.
    fn len(&self) -> u32 {
        self.words().iter().map(|word| word.count_ones()).sum()
    }

    /// The lowest slot that is not in the set, if there is room for one.
    fn first_absent(&self) -> Option<usize> {
        let at = self.words().iter().position(|word| *word != u64::MAX)?;
        Some(at * 64 + self.words()[at].trailing_ones() as usize)
    }

    /// Takes the lowest slot out of the set.
    fn pop_first(&mut self) -> Option<usize> {
        let words = self.words_mut();
        let at = words.iter().position(|word| *word != 0)?;
        let slot = words[at].trailing_zeros() as usize;
        words[at] &= words[at] - 1;
        Some(at * 64 + slot)
    }

    /// Adds what is in the other set.
    fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.words_mut().iter_mut().zip(other.words()) {
            *mine |= theirs;
        }
    }

    /// Takes what is in the other set out.
    fn subtract(&mut self, other: &Self) {
        for (mine, theirs) in self.words_mut().iter_mut().zip(other.words()) {
            *mine &= !theirs;
        }
    }

    /// The words of the slots that are in `self` and not in `other`.
    fn without<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = u64> + 'a {
        self.words()
            .iter()
            .zip(other.words())
            .map(|(mine, theirs)| mine & !theirs)
    }
}

/// Calls `f` with the slots of a mask's words, lowest first.
pub(super) fn for_each_slot(words: impl Iterator<Item = u64>, mut f: impl FnMut(usize)) {
    for (at, mut word) in words.enumerate() {
        while word != 0 {
            f(at * 64 + word.trailing_zeros() as usize);
            word &= word - 1;
        }
    }
}

impl Mask for u64 {
    fn empty() -> u64 {
        0
    }

    fn empty_like(_other: &u64) -> u64 {
        0
    }

    // The same as for many words, without looking for the word.
    fn contains(&self, slot: usize) -> bool {
        self >> slot & 1 == 1
    }

    fn insert(&mut self, slot: usize) {
        *self |= 1 << slot;
    }

    fn remove(&mut self, slot: usize) {
        *self &= !(1 << slot);
    }

    #[inline]
    fn words(&self) -> &[u64] {
        std::slice::from_ref(self)
    }

    #[inline]
    fn words_mut(&mut self) -> &mut [u64] {
        std::slice::from_mut(self)
    }
}

/// A mask of as many words as it takes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct WideMask(SmallVec<[u64; 4]>);

impl WideMask {
    /// The same set, with room for `slots`.
    pub(super) fn widened(mask: &impl Mask, slots: usize) -> WideMask {
        let mut words = SmallVec::from_slice(mask.words());
        words.resize(slots.div_ceil(64), 0);
        WideMask(words)
    }
}

impl Mask for WideMask {
    fn empty() -> WideMask {
        WideMask(SmallVec::from_elem(0, 1))
    }

    fn empty_like(other: &WideMask) -> WideMask {
        WideMask(SmallVec::from_elem(0, other.0.len()))
    }

    fn words(&self) -> &[u64] {
        &self.0
    }

    fn words_mut(&mut self) -> &mut [u64] {
        &mut self.0
    }
}
