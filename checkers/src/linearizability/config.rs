//! Configurations, and which of them make others superfluous.

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::mask::Mask;

/// Classes of crashed operations that were used, ascending, one entry a use.
pub(super) type Used = SmallVec<[u32; 4]>;

/// One way in which everything up to some event may have happened.
pub(super) struct Config<M> {
    /// The state of the object.
    pub(super) state: u32,
    /// Open operations that have taken effect.
    pub(super) done: M,
    /// Open overwrites that may be taken to have happened just before a later overwrite, where
    /// nobody saw them, or not to have happened yet. Disjoint from `done`.
    pub(super) optional: M,
    /// Crashed operations that have taken effect.
    pub(super) used: Used,
}

impl<M: Mask> Clone for Config<M> {
    fn clone(&self) -> Self {
        Config {
            state: self.state,
            done: self.done.clone(),
            optional: self.optional.clone(),
            // Copied as a whole; a clone would go through it one by one.
            used: Used::from_slice(&self.used),
        }
    }
}

/// The open slots by what their operations do.
#[derive(Clone)]
pub(super) struct Kinds<M> {
    /// Operations that change nothing.
    pub(super) observations: M,
    /// Operations that leave one state whatever was before.
    pub(super) overwrites: M,
    /// All others.
    pub(super) updates: M,
}

impl<M: Mask> Config<M> {
    /// Whether whatever can follow `other` can also follow `self`. Both must have the same state
    /// and the same updates done.
    ///
    /// An observation that is done is better than one that is not. An optional overwrite stands
    /// for both done and not done. Fewer crashed operations used leave more to be used.
    fn dominates(&self, other: &Config<M>, kinds: &Kinds<M>) -> bool {
        let words = self.done.words().len();
        for at in 0..words {
            let (mine, theirs) = (self.done.words()[at], other.done.words()[at]);
            if theirs & !mine & kinds.observations.words()[at] != 0 {
                return false;
            }
            let fixed = kinds.overwrites.words()[at] & !self.optional.words()[at];
            if fixed & (other.optional.words()[at] | (mine ^ theirs)) != 0 {
                return false;
            }
        }
        is_submultiset(&self.used, &other.used)
    }
}

/// Whether `small` is contained in `large`, counting repetitions. Both are ascending.
fn is_submultiset(small: &[u32], large: &[u32]) -> bool {
    if small.len() > large.len() {
        return false;
    }
    let mut large = large.iter();
    small
        .iter()
        .all(|wanted| large.by_ref().find(|have| *have >= wanted) == Some(wanted))
}

/// How often each number of a multiset is in it: four bits each, numbers 32 apart together, the
/// highest bit clear. Most pairs of which neither contains the other can be told by this.
#[derive(Clone, Copy)]
struct Sketch(u128);

impl Sketch {
    const TOPS: u128 = u128::MAX / 15 * 8;

    fn of(multiset: &[u32]) -> Sketch {
        multiset.iter().fold(Sketch(0), |sketch, number| {
            let shift = number % 32 * 4;
            let is_full = sketch.0 >> shift & 7 == 7;
            Sketch(sketch.0 + (u128::from(!is_full) << shift))
        })
    }

    /// Whether it may be that of a part of the other's multiset.
    fn may_be_within(self, other: Sketch) -> bool {
        ((other.0 | Sketch::TOPS) - self.0) & Sketch::TOPS == Sketch::TOPS
    }
}

/// Takes `part` out of `whole`, which contains it. Both are ascending.
pub(super) fn subtract(whole: &mut Used, part: &[u32]) {
    let mut part = part.iter().peekable();
    whole.retain(|have| match part.peek() {
        Some(drop) if **drop == *have => {
            part.next();
            false
        }
        _ => true,
    });
}

/// What two ascending multisets have in common.
pub(super) fn intersection(left: &[u32], right: &[u32]) -> Used {
    let mut common = Used::new();
    let (mut i, mut j) = (0, 0);
    while i < left.len() && j < right.len() {
        match left[i].cmp(&right[j]) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => {
                common.push(left[i]);
                i += 1;
                j += 1;
            }
        }
    }
    common
}

/// A set of configurations from which dominated ones are dropped as it grows.
pub(super) struct Antichain<M> {
    all: Vec<Config<M>>,
    /// Of what each has used.
    sketches: Vec<Sketch>,
    live: Vec<bool>,
    /// Positions of live configurations that can be compared with each other.
    groups: FxHashMap<(u32, M), SmallVec<[u32; 4]>>,
    /// With how many of its group, the latest, a configuration is compared.
    compared: usize,
}

impl<M: Mask> Antichain<M> {
    pub(super) fn new() -> Self {
        Antichain {
            all: Vec::new(),
            sketches: Vec::new(),
            live: Vec::new(),
            groups: FxHashMap::default(),
            compared: usize::MAX,
        }
    }

    /// Empties it, and compares each configuration with so many at most from now on. Where they
    /// are few, some that are dominated stay.
    pub(super) fn begin(&mut self, compared: usize) {
        self.clear();
        self.compared = compared;
    }

    pub(super) fn clear(&mut self) {
        const KEEP: usize = 1 << 12;
        if self.groups.capacity() > KEEP {
            self.groups = FxHashMap::default();
        }
        self.all.clear();
        self.sketches.clear();
        self.live.clear();
        self.groups.clear();
    }

    /// How many configurations were added, dominated ones included.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The configuration added as the `at`-th.
    pub(super) fn get(&self, at: u32) -> &Config<M> {
        &self.all[at as usize]
    }

    /// Adds a configuration and returns its position, unless another dominates it.
    pub(super) fn add(&mut self, config: Config<M>, kinds: &Kinds<M>) -> Option<u32> {
        let mut updates = config.done.clone();
        for (word, mask) in updates.words_mut().iter_mut().zip(kinds.updates.words()) {
            *word &= mask;
        }
        let group = self.groups.entry((config.state, updates)).or_default();
        let (all, sketches) = (&self.all, &self.sketches);
        let sketch = Sketch::of(&config.used);
        let older = group.len().saturating_sub(self.compared);
        let is_dominated = group[older..].iter().any(|at| {
            let at = *at as usize;
            sketches[at].may_be_within(sketch) && all[at].dominates(&config, kinds)
        });
        if is_dominated {
            return None;
        }
        let live = &mut self.live;
        let mut kept = older;
        for at in older..group.len() {
            let other = group[at];
            let at = other as usize;
            if sketch.may_be_within(sketches[at]) && config.dominates(&all[at], kinds) {
                live[at] = false;
            } else {
                group[kept] = other;
                kept += 1;
            }
        }
        group.truncate(kept);
        let at = self.all.len() as u32;
        group.push(at);
        self.all.push(config);
        self.sketches.push(sketch);
        self.live.push(true);
        Some(at)
    }

    /// All configurations added, dominated ones included.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Config<M>> {
        self.all.iter()
    }

    /// Moves the configurations that nothing dominates into `into`, in order of addition.
    pub(super) fn drain_into(&mut self, into: &mut Vec<Config<M>>) {
        into.clear();
        let live = self.live.iter();
        into.extend(
            self.all
                .drain(..)
                .zip(live)
                .filter(|(_, live)| **live)
                .map(|(config, _)| config),
        );
        self.clear();
    }
}
