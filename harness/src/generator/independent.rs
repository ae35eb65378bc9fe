//! Many small tests in one: a generator for each of many keys.
//!
//! Some checks are exponential in the length of a history, or in how many operations crashed. So
//! instead of one long test on one key, many short ones run on keys of their own, and each key's
//! history is checked by itself. Operations carry their key in [`Op::key`](crate::client::Op::key).

use store::Value;

use super::partition::Partition;
use super::{BoxGenerator, Context, Generator, Peek, Planned, ThreadSet, Update};
use crate::seed::Seed;

/// How many keys in a row may have nothing to do before their sequence is taken to be endless and
/// empty.
const EMPTY_MAX: usize = 100_000;

/// Groups of client threads work on keys side by side, each group on one key at a time.
///
/// The client threads are split, ascending, into groups of `group_size`. Group g of G works on the
/// keys at g, g + G, g + 2G … of the sequence, so which keys a group gets does not depend on which
/// group is faster. A key's generator is made by `make` from its own seed, the key and the group, when
/// the group comes to it; it sees the group's threads only. When it is done, the group goes on with
/// its next key, also while operations on the last one are in flight. Done when all groups have no more
/// keys.
///
/// A sequence of keys is cloned for every group; it may be infinite. If the threads do not come out
/// even, the last group is smaller, and the log says so.
///
/// # Panics
/// If `group_size` is 0.
pub fn concurrent<K, F>(seed: Seed, group_size: usize, keys: K, make: F) -> impl Generator + 'static
where
    K: IntoIterator<Item: Into<Value>>,
    K::IntoIter: Clone + Send + 'static,
    F: FnMut(Seed, &Value, usize) -> BoxGenerator + Send + 'static,
{
    assert!(group_size > 0, "a group needs at least one thread");
    let split = move |ctx: &Context<'_>| groups(ctx, group_size);
    Independent::new(seed, keys.into_iter(), make, split)
}

/// One key after another, each worked on by all threads. See [`concurrent`].
pub fn sequential<K, F>(seed: Seed, keys: K, mut make: F) -> impl Generator + 'static
where
    K: IntoIterator<Item: Into<Value>>,
    K::IntoIter: Clone + Send + 'static,
    F: FnMut(Seed, &Value) -> BoxGenerator + Send + 'static,
{
    let make = move |seed, key: &Value, _group| make(seed, key);
    let split = |ctx: &Context<'_>| vec![ctx.threads.clone()];
    Independent::new(seed, keys.into_iter(), make, split)
}

/// Groups of client threads.
fn groups(ctx: &Context<'_>, size: usize) -> Vec<ThreadSet> {
    let workers: Vec<_> = ctx
        .threads
        .iter()
        .filter(|thread| *thread < ctx.roster.workers)
        .collect();
    if !workers.len().is_multiple_of(size) {
        let (threads, last) = (workers.len(), workers.len() % size);
        tracing::warn!(
            "{threads} threads do not make groups of {size}: the last group has {last}. \
             Make the concurrency a multiple of {size}"
        );
    }
    let groups = workers.chunks(size);
    groups
        .map(|group| group.iter().copied().collect())
        .collect()
}

struct Independent<K, F, S> {
    seed: Seed,
    keys: K,
    make: F,
    split: S,
    state: Option<State<K>>,
}

struct State<K> {
    partition: Partition,
    groups: Vec<Group<K>>,
}

struct Group<K> {
    /// What is left of the whole sequence, and how much was taken of it.
    keys: K,
    taken: u64,
    /// Where in the whole sequence this group's next key is.
    next: u64,
    current: Option<OfKey>,
}

struct OfKey {
    key: Value,
    generator: BoxGenerator,
}

impl<K, F, S> Independent<K, F, S>
where
    K: Iterator<Item: Into<Value>> + Clone + Send,
    F: FnMut(Seed, &Value, usize) -> BoxGenerator + Send,
    S: Fn(&Context<'_>) -> Vec<ThreadSet> + Send,
{
    fn new(seed: Seed, keys: K, make: F, split: S) -> Independent<K, F, S> {
        Independent {
            seed,
            keys,
            make,
            split,
            state: None,
        }
    }

    fn start(keys: &K, parts: Vec<ThreadSet>) -> State<K> {
        let group = |part| Group {
            keys: keys.clone(),
            taken: 0,
            next: part as u64,
            current: None,
        };
        State {
            groups: (0..parts.len()).map(group).collect(),
            partition: Partition::new(parts),
        }
    }
}

impl<K: Iterator<Item: Into<Value>>> Group<K> {
    /// The group's next key and where it is in the whole sequence, for a number of groups.
    fn next_key(&mut self, groups: usize) -> Option<(u64, Value)> {
        let index = self.next;
        let skipped = usize::try_from(index - self.taken).unwrap_or(usize::MAX);
        self.next += groups as u64;
        self.taken = index + 1;
        let key = self.keys.nth(skipped)?;
        Some((index, key.into()))
    }

    fn peek(
        &mut self,
        ctx: &Context<'_>,
        mut advance: impl FnMut(&mut Self) -> Option<OfKey>,
    ) -> Peek {
        for _ in 0..EMPTY_MAX {
            if self.current.is_none() {
                self.current = advance(self);
            }
            let Some(OfKey { key, generator }) = &mut self.current else {
                return Peek::Done;
            };
            match generator.peek(ctx) {
                Peek::Done => self.current = None,
                Peek::Op(mut planned) => {
                    planned.op.key = Some(key.clone());
                    return Peek::Op(planned);
                }
                answer => return answer,
            }
        }
        tracing::error!("{EMPTY_MAX} keys in a row had nothing to do; their sequence ends here");
        Peek::Done
    }
}

impl<K, F, S> Generator for Independent<K, F, S>
where
    K: Iterator<Item: Into<Value>> + Clone + Send,
    F: FnMut(Seed, &Value, usize) -> BoxGenerator + Send,
    S: Fn(&Context<'_>) -> Vec<ThreadSet> + Send,
{
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        let start = || Self::start(&self.keys, (self.split)(ctx));
        let State { partition, groups } = self.state.get_or_insert_with(start);
        let count = groups.len();
        partition.peek(ctx, |part, ctx| {
            groups[part].peek(ctx, |group| {
                let (index, key) = group.next_key(count)?;
                let generator = (self.make)(self.seed.child(index), &key, part);
                Some(OfKey { key, generator })
            })
        })
    }

    fn accept(&mut self, ctx: &Context<'_>, planned: &Planned) {
        if let Some(State { partition, groups }) = &mut self.state {
            let (part, ctx) = partition.chosen(ctx);
            if let Some(current) = &mut groups[part].current {
                current.generator.accept(&ctx, planned);
            }
        }
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        if let Some(State { partition, groups }) = &mut self.state
            && let Some(part) = partition.part_of(update.thread)
            && let Some(current) = &mut groups[part].current
            // The last key's operations mean nothing to this key's generator.
            && update.op.key.as_ref() == Some(&current.key)
        {
            let ctx = partition.narrow(part, ctx);
            current.generator.update(&ctx, update);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::client::Op;
    use crate::generator::simulate::{Ending, Step, perfect, roster, simulate};
    use crate::generator::testing::{call, fs, integers, many, rows, threads};
    use crate::generator::{GeneratorExt, each_thread, from_fn, nothing, op, phases, reserve};
    use crate::generators;
    use rand::RngExt;
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};
    use store::{EventType, json};

    fn keys_of(steps: &[Step]) -> Vec<u64> {
        steps
            .iter()
            .filter_map(|s| s.op.key.as_ref()?.as_u64())
            .collect()
    }

    #[test]
    fn sequential_takes_one_key_after_another() {
        let each = |_, key: &Value| {
            let key = key.as_u64().unwrap();
            integers("w").limit(key).boxed()
        };
        let steps = perfect(2, sequential(Seed::new(1), [1, 0, 3], each));
        assert_eq!(keys_of(&steps), [1, 3, 3, 3]);
        assert_eq!(
            perfect(2, sequential(Seed::new(1), Vec::<u64>::new(), each)),
            []
        );
        assert_eq!(
            threads(&perfect(2, sequential(Seed::new(1), [9], each))),
            [0, 1, 2]
        );
    }

    #[test]
    fn groups_take_every_nth_key() {
        let each = |_, _: &Value, group: usize| op(Op::new("g", json!(group))).repeat_n(4).boxed();
        // Whatever the timing.
        for latencies in [[10, 10], [10, 70]] {
            let all = concurrent(Seed::new(1), 2, 0..6, each);
            let steps = simulate(roster(4), all, |step| Ending {
                latency: latencies[step.thread / 2],
                kind: EventType::Ok,
            });
            let steps = steps.unwrap();
            for step in &steps {
                let group = step.thread / 2;
                assert_eq!(step.op.value, json!(group));
                assert_eq!(
                    step.op.key.as_ref().unwrap().as_u64().unwrap() % 2,
                    group as u64
                );
            }
            let mut counts = BTreeMap::new();
            for key in keys_of(&steps) {
                *counts.entry(key).or_insert(0) += 1;
            }
            assert_eq!(counts.into_values().collect::<Vec<_>>(), [8; 6]);
        }
    }

    #[test]
    fn only_clients_work_on_keys() {
        let each = |_, _: &Value, _| many("w").limit(10).boxed();
        assert_eq!(
            threads(&perfect(4, concurrent(Seed::new(1), 2, 0..9, each))),
            [0, 1, 2, 3]
        );
    }

    #[test]
    fn a_group_sees_its_own_threads() {
        // In each group, the first thread writes and the others read, then all do something once.
        let each = |_, _: &Value, _| {
            let main = reserve([(1, many("w").limit(5).boxed())], many("r").limit(5));
            phases(generators![main, each_thread(|_| op(call("end")))]).boxed()
        };
        let steps = perfect(6, concurrent(Seed::new(1), 3, 0..4, each));
        for step in &steps {
            let expected = if step.thread % 3 == 0 { "w" } else { "r" };
            assert!([expected, "end"].contains(&&*step.op.f), "{step:?}");
        }
        for key in 0..4 {
            let of_key: Vec<_> = steps
                .iter()
                .filter(|s| s.op.key == Some(json!(key)))
                .cloned()
                .collect();
            let mut calls = fs(&of_key);
            calls.sort_unstable();
            assert_eq!(
                calls,
                [["end"; 3].as_slice(), &["r"; 5], &["w"; 5]].concat()
            );
        }
    }

    #[test]
    fn uneven_groups_use_all_threads() {
        let each = |_, _: &Value, _| many("w").limit(20).boxed();
        let steps = perfect(5, concurrent(Seed::new(1), 2, 0..3, each));
        let rows = rows(&steps);
        assert!(rows.contains(&("w", 4, 0)));
        assert_eq!(keys_of(&steps).len(), 60);
        assert_eq!(
            perfect(2, concurrent(Seed::new(1), 9, 0..3, each)).len(),
            60
        );
    }

    #[test]
    fn keys_may_be_endless_and_may_be_empty() {
        let each = |_, _: &Value, _| many("w").limit(3).boxed();
        assert_eq!(
            perfect(4, concurrent(Seed::new(1), 2, 0.., each).limit(500)).len(),
            500
        );
        let none = |_, _: &Value, _| nothing().boxed();
        assert_eq!(perfect(4, concurrent(Seed::new(1), 2, 0.., none)), []);
    }

    #[test]
    fn each_key_has_its_own_chances() {
        let each = |seed, _: &Value, _| {
            from_fn(seed, |rng, _| {
                Some(Op::new("w", json!(rng.random_range(0..1000))))
            })
            .limit(9)
            .boxed()
        };
        let steps = perfect(2, concurrent(Seed::new(1), 2, 0..2, each));
        let of_key = |key: u64| {
            let of_key = steps.iter().filter(|s| s.op.key == Some(json!(key)));
            of_key.map(|s| s.op.value.clone()).collect::<Vec<_>>()
        };
        assert_ne!(of_key(0), of_key(1));
    }

    #[test]
    fn a_key_does_not_hear_of_the_last_key() {
        // The last operation of key 0 ends while key 1 is worked on.
        let heard = Arc::new(Mutex::new(Vec::new()));
        let noted = heard.clone();
        let each = move |_, key: &Value, _| {
            let noted = noted.clone();
            let key = key.clone();
            let watched = many("w").limit(2).on_update(move |_, _, update| {
                noted
                    .lock()
                    .unwrap()
                    .push((key.clone(), update.op.key.clone().unwrap()));
            });
            watched.boxed()
        };
        let all = concurrent(Seed::new(1), 2, 0..3, each);
        let steps = simulate(roster(2), all, |step| Ending {
            latency: if step.thread == 0 { 10 } else { 25 },
            kind: EventType::Ok,
        });
        assert_eq!(steps.unwrap().len(), 12);
        let heard = heard.lock().unwrap();
        assert!(
            !heard.is_empty() && heard.iter().all(|(of, key)| of == key),
            "{heard:?}"
        );
    }
}
