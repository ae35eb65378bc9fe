//! Sums that cannot be, or not at this time; and updates of one sum by several.

use rustc_hash::FxHashMap;
use serde_json::json;

use super::super::anomaly::{Anomaly, Base, Class};
use super::super::values::NONE;
use super::Outcome;
use super::infer::{Counter, Inferred, Read};

/// What had been added by each moment.
#[derive(Default)]
struct Tally {
    /// Ascending by event: what had been added by then, it included.
    sums: Vec<(u32, u64)>,
}

impl Tally {
    fn of(mut adds: Vec<(u32, u64)>) -> Tally {
        adds.sort_unstable();
        let mut sum = 0;
        for (_, total) in &mut adds {
            sum += *total;
            *total = sum;
        }
        Tally { sums: adds }
    }

    /// What had been added before an event.
    fn before(&self, event: u32) -> u64 {
        let count = self.sums.partition_point(|(at, _)| *at < event);
        count.checked_sub(1).map_or(0, |last| self.sums[last].1)
    }
}

/// The greatest common divisor.
pub(super) fn divisor(mut one: u64, mut other: u64) -> u64 {
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
}

impl Inferred<'_> {
    /// Looks for them in a counter, and leaves out reads of what nobody can have added.
    pub(super) fn bounds(&mut self, number: u32) {
        let all = &self.history.all;
        let counter = &self.counters[number as usize];
        let adds = || counter.adds.iter().map(|add| (add, add.writer as usize));
        let done = || adds().filter(|(_, by)| all.outcome[*by] == Outcome::Ok);
        // An event that is not known may be any, so the first.
        let begun = adds().map(|(add, by)| match all.invoke[by] {
            NONE => (0, add.total),
            invoke => (invoke, add.total),
        });
        let begun = Tally::of(begun.collect());
        let ended = Tally::of(
            done()
                .map(|(add, by)| (all.complete[by], add.total))
                .collect(),
        );
        let mut of_process: FxHashMap<u32, Vec<(u32, u64)>> = FxHashMap::default();
        for (add, by) in done() {
            let of = of_process.entry(all.process[by]).or_default();
            of.push((all.complete[by], add.total));
        }
        let of_process: FxHashMap<u32, Tally> = of_process
            .into_iter()
            .map(|(process, adds)| (process, Tally::of(adds)))
            .collect();
        let unit = adds().fold(0, |unit, (add, _)| divisor(unit, add.total));

        let mut sights = Vec::new();
        let mut is_sum = |read: &Read| {
            let (sum, at) = (read.sum, read.reader as usize);
            let others = counter.others(read.reader);
            if sum > others {
                sights.push((Anomaly::GarbageRead, vec![json!(sum), json!(others)], at));
                return false;
            }
            if unit > 1 && sum % unit != 0 {
                let values = vec![json!(sum), json!(others), json!(unit)];
                sights.push((Anomaly::GarbageRead, values, at));
                return false;
            }
            let own = counter.of(read.reader).map_or(0, |add| add.total);
            // Its own have begun before it ended.
            let most = begun.before(all.complete[at].max(1)) - own;
            if sum > most {
                let early = Anomaly::Cycle(Class::G1c, Base::Realtime);
                sights.push((early, vec![json!(sum), json!(most)], at));
            }
            if all.invoke[at] == NONE {
                return true;
            }
            let mine = of_process.get(&all.process[at]);
            let bounds = [
                (
                    Base::Process,
                    mine.map_or(0, |of| of.before(all.invoke[at])),
                ),
                (Base::Realtime, ended.before(all.invoke[at])),
            ];
            if let Some((base, least)) = bounds.into_iter().find(|(_, least)| sum < *least) {
                let stale = Anomaly::Cycle(Class::GSingle, base);
                sights.push((stale, vec![json!(sum), json!(least)], at));
            }
            true
        };
        let kept: Vec<Read> = counter
            .reads
            .iter()
            .filter(|read| is_sum(read))
            .copied()
            .collect();
        let updates = self.lost_updates(counter, &kept);
        for (anomaly, values, at) in sights {
            self.saw(anomaly, number, &values, &[at as u32]);
        }
        for (sum, one, other) in updates {
            self.saw(Anomaly::LostUpdate, number, &[json!(sum)], &[one, other]);
        }
        self.counters[number as usize].reads = kept;
    }

    /// Who read the same sum and then added to it. `reads` ascend.
    fn lost_updates(&self, counter: &Counter, reads: &[Read]) -> Vec<(u64, u32, u32)> {
        let updates = reads
            .iter()
            .filter(|read| counter.of(read.reader).is_some());
        let mut first: Option<&Read> = None;
        let mut found = Vec::new();
        for read in updates {
            match first.filter(|first| first.sum == read.sum) {
                Some(first) => found.push((read.sum, first.reader, read.reader)),
                None => first = Some(read),
            }
        }
        found
    }
}
