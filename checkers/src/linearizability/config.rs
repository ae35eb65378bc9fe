//! Configurations, and which of them make others superfluous.

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::mask::Mask;

/// Classes of crashed operations that were used, ascending, one entry a use.
pub(super) type Used = SmallVec<[u32; 4]>;

/// One way in which everything up to some event may have happened.
#[derive(Debug)]
pub(super) struct Config<M> {
    /// The state of the object.
    pub(super) state: u32,
    /// How it came to be, as the machine [noted](super::model::Machine::note) it.
    pub(super) trace: u32,
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
            trace: self.trace,
            done: self.done.clone(),
            optional: self.optional.clone(),
            // Copied as a whole; a clone would go through it one by one.
            used: match self.used.is_empty() {
                true => Used::new(),
                false => Used::from_slice(&self.used),
            },
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

impl<M: Mask> Kinds<M> {
    /// The words of those that change something.
    pub(super) fn changing(&self) -> impl Iterator<Item = u64> + '_ {
        let updates = self.updates.words();
        let both = self.overwrites.words().iter().zip(updates);
        both.map(|(overwrites, updates)| overwrites | updates)
    }
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

/// A configuration in a set.
struct Entry<M> {
    config: Config<M>,
    /// Of what it has used.
    sketch: Sketch,
    /// The updates that are done: only configurations in which they are the same can be compared.
    updates: M,
    /// Whether nothing dominates it.
    live: bool,
}

/// A set of configurations from which dominated ones are dropped as it grows.
pub(super) struct Antichain<M> {
    all: Vec<Entry<M>>,
    /// Positions of live configurations that can be compared with each other, where there are more than a few.
    groups: FxHashMap<(u32, M), SmallVec<[u32; 4]>>,
    /// With how many of its group, the latest, a configuration is compared.
    compared: usize,
}

/// Among so many, looking at one after the other is faster.
const FEW: usize = 16;

impl<M: Mask> Antichain<M> {
    pub(super) fn new() -> Self {
        Antichain {
            all: Vec::new(),
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
        if self.all.is_empty() {
            return;
        }
        const KEEP: usize = 1 << 12;
        if self.groups.capacity() > KEEP {
            self.groups = FxHashMap::default();
        }
        if self.all.len() >= FEW {
            self.groups.clear();
        }
        self.all.clear();
    }

    /// How many configurations were added, dominated ones included.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The configuration added as the `at`-th.
    pub(super) fn get(&self, at: u32) -> &Config<M> {
        &self.all[at as usize].config
    }

    /// Adds a configuration and returns its position, unless another dominates it.
    pub(super) fn add(&mut self, config: Config<M>, kinds: &Kinds<M>) -> Option<u32> {
        let mut updates = config.done.clone();
        for (word, mask) in updates.words_mut().iter_mut().zip(kinds.updates.words()) {
            *word &= mask;
        }
        let entry = Entry {
            sketch: Sketch::of(&config.used),
            config,
            updates,
            live: true,
        };
        let is_kept = match self.all.len() {
            ..FEW => self.compare_with_all(&entry, kinds),
            _ => self.compare_with_group(&entry, kinds),
        };
        is_kept.then(|| {
            self.all.push(entry);
            (self.all.len() - 1) as u32
        })
    }

    /// Whether nothing dominates an entry. What it dominates is dead from now on.
    fn compare_with_all(&mut self, new: &Entry<M>, kinds: &Kinds<M>) -> bool {
        for old in &mut self.all {
            let can_be_compared =
                old.live && old.config.state == new.config.state && old.updates == new.updates;
            if !can_be_compared {
                continue;
            }
            // What dominates it dominates all that it does, so none of these was found before.
            if old.dominates(new, kinds) {
                return false;
            }
            old.live = !new.dominates(old, kinds);
        }
        true
    }

    /// The same by groups. The entry is added next.
    fn compare_with_group(&mut self, new: &Entry<M>, kinds: &Kinds<M>) -> bool {
        if self.groups.is_empty() {
            for (old, at) in self.all.iter().zip(0..).filter(|(old, _)| old.live) {
                let key = (old.config.state, old.updates.clone());
                self.groups.entry(key).or_default().push(at);
            }
        }
        let key = (new.config.state, new.updates.clone());
        let group = self.groups.entry(key).or_default();
        let all = &mut self.all;
        let older = group.len().saturating_sub(self.compared);
        let mut compared = group[older..].iter();
        if compared.any(|at| all[*at as usize].dominates(new, kinds)) {
            return false;
        }
        let mut kept = older;
        for at in older..group.len() {
            let other = group[at];
            let old = &mut all[other as usize];
            if new.dominates(old, kinds) {
                old.live = false;
            } else {
                group[kept] = other;
                kept += 1;
            }
        }
        group.truncate(kept);
        group.push(all.len() as u32);
        true
    }

    /// All configurations added, dominated ones included.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Config<M>> {
        self.all.iter().map(|entry| &entry.config)
    }

    /// Moves the configurations that nothing dominates into `into`, in order of addition.
    pub(super) fn drain_into(&mut self, into: &mut Vec<Config<M>>) {
        into.clear();
        if self.all.len() >= FEW {
            self.groups.clear();
        }
        let live = self.all.drain(..).filter(|entry| entry.live);
        into.extend(live.map(|entry| entry.config));
    }
}

impl<M: Mask> Entry<M> {
    /// [`Config::dominates`], most that do not told by their sketches.
    fn dominates(&self, other: &Entry<M>, kinds: &Kinds<M>) -> bool {
        self.sketch.may_be_within(other.sketch) && self.config.dominates(&other.config, kinds)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KINDS: Kinds<u64> = Kinds {
        observations: 0b11,
        overwrites: 0b1100,
        updates: 0b11_0000,
    };

    fn any_config() -> impl Strategy<Value = Config<u64>> {
        let used = prop::collection::vec(0..3u32, 0..3);
        (0..3u32, 0..64u64, 0..64u64, used).prop_map(|(state, done, optional, mut used)| {
            used.sort_unstable();
            Config {
                state,
                trace: 0,
                done,
                optional: optional & !done & KINDS.overwrites,
                used: Used::from_vec(used),
            }
        })
    }

    fn comparable(left: &Config<u64>, right: &Config<u64>) -> bool {
        left.state == right.state && (left.done ^ right.done) & KINDS.updates == 0
    }

    /// The same one by one.
    fn kept(configs: &[Config<u64>]) -> Vec<&Config<u64>> {
        let mut kept: Vec<&Config<u64>> = Vec::new();
        for new in configs {
            let beats =
                |a: &Config<u64>, b: &Config<u64>| comparable(a, b) && a.dominates(b, &KINDS);
            if !kept.iter().any(|old| beats(old, new)) {
                kept.retain(|old| !beats(new, old));
                kept.push(new);
            }
        }
        kept
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Few and many, and few again after many.
        #[test]
        fn what_nothing_dominates_is_kept(
            rounds in prop::collection::vec(prop::collection::vec(any_config(), 0..40), 1..6)
        ) {
            let (mut antichain, mut left) = (Antichain::new(), Vec::new());
            for configs in &rounds {
                antichain.begin(usize::MAX);
                for config in configs {
                    antichain.add(config.clone(), &KINDS);
                }
                antichain.drain_into(&mut left);
                let told = |config: &Config<u64>| {
                    (config.state, config.done, config.optional, config.used.to_vec())
                };
                let expected: Vec<_> = kept(configs).into_iter().map(told).collect();
                prop_assert_eq!(left.iter().map(told).collect::<Vec<_>>(), expected);
            }
        }
    }
}
