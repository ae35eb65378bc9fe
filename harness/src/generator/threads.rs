//! Sets of threads.

use smallvec::SmallVec;

use super::Thread;

/// Sets of up to 1,024 threads need no heap.
const INLINE_WORDS: usize = 16;

/// A set of threads, as a bit set.
#[derive(Clone, Debug, Default)]
pub struct ThreadSet(SmallVec<[u64; INLINE_WORDS]>);

impl ThreadSet {
    /// The threads from 0 to `n - 1`.
    pub fn first(n: usize) -> ThreadSet {
        (0..n).collect()
    }

    /// Whether a thread is in the set.
    pub fn contains(&self, thread: Thread) -> bool {
        self.0
            .get(thread / 64)
            .is_some_and(|word| word >> (thread % 64) & 1 == 1)
    }

    /// Adds a thread.
    pub fn insert(&mut self, thread: Thread) {
        let word = thread / 64;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (thread % 64);
    }

    /// Takes a thread out.
    pub fn remove(&mut self, thread: Thread) {
        if let Some(word) = self.0.get_mut(thread / 64) {
            *word &= !(1 << (thread % 64));
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The threads that are in both sets.
    pub fn intersect(&self, other: &ThreadSet) -> ThreadSet {
        ThreadSet(self.0.iter().zip(&other.0).map(|(a, b)| a & b).collect())
    }

    /// Makes this set the threads that are in both others.
    pub fn assign_intersection(&mut self, a: &ThreadSet, b: &ThreadSet) {
        self.0.clear();
        self.0.extend(a.0.iter().zip(&b.0).map(|(a, b)| a & b));
    }

    /// Takes out the threads of another set.
    pub fn subtract(&mut self, other: &ThreadSet) {
        for (word, taken) in self.0.iter_mut().zip(&other.0) {
            *word &= !taken;
        }
    }

    /// The first thread at or after one, or else the first of all.
    pub fn next_from(&self, start: Thread) -> Option<Thread> {
        let from = start / 64;
        let masked = |at: usize, word: u64| {
            if at == from {
                word & (!0 << (start % 64))
            } else {
                word
            }
        };
        let found = |(at, word): (usize, u64)| {
            (word != 0).then(|| at * 64 + word.trailing_zeros() as usize)
        };
        let words = || self.0.iter().copied().enumerate();
        words()
            .skip(from)
            .map(|(at, word)| (at, masked(at, word)))
            .find_map(found)
            .or_else(|| words().find_map(found))
    }

    /// The threads, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Thread> + '_ {
        self.0.iter().enumerate().flat_map(|(at, word)| {
            (0..64)
                .filter(move |bit| word >> bit & 1 == 1)
                .map(move |bit| at * 64 + bit)
        })
    }
}

/// Sets are equal that have the same threads; how many zero words follow does not count.
impl PartialEq for ThreadSet {
    fn eq(&self, other: &ThreadSet) -> bool {
        let common = self.0.len().min(other.0.len());
        let rest = |set: &ThreadSet| set.0[common..].iter().all(|word| *word == 0);
        self.0[..common] == other.0[..common] && rest(self) && rest(other)
    }
}

impl Eq for ThreadSet {}

impl FromIterator<Thread> for ThreadSet {
    fn from_iter<I: IntoIterator<Item = Thread>>(threads: I) -> ThreadSet {
        let mut set = ThreadSet::default();
        threads.into_iter().for_each(|thread| set.insert(thread));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_wraps_around() {
        let set: ThreadSet = [1, 70, 130].into_iter().collect();
        assert_eq!(set.next_from(0), Some(1));
        assert_eq!(set.next_from(2), Some(70));
        assert_eq!(set.next_from(71), Some(130));
        assert_eq!(set.next_from(131), Some(1));
        assert_eq!(set.next_from(1000), Some(1));
        assert_eq!(ThreadSet::default().next_from(5), None);
        assert_eq!(set.iter().collect::<Vec<_>>(), [1, 70, 130]);
        assert_eq!(set.len(), 3);
    }

    #[test]
    fn subtraction_takes_only_what_is_there() {
        let mut set = ThreadSet::first(130);
        set.subtract(&[0, 64, 129, 500].into_iter().collect());
        assert_eq!(set.len(), 127);
        assert!(!set.contains(0) && !set.contains(64) && !set.contains(129) && set.contains(1));
    }

    #[test]
    fn equality_is_of_members() {
        let mut long = ThreadSet::first(300);
        (3..300).for_each(|thread| long.remove(thread));
        assert_eq!(long, ThreadSet::first(3));
        assert_eq!(ThreadSet::first(3), long);
        long.insert(200);
        assert_ne!(long, ThreadSet::first(3));
        assert_ne!(ThreadSet::first(3), long);
    }
}
