//! Which threads may use a generator.

use super::choices::Any;
use super::partition::Partition;
use super::{
    BoxGenerator, Context, Generator, GeneratorExt, Peek, Planned, Roster, Thread, ThreadSet,
    Update,
};
use crate::seed::Seed;

/// Restricts a generator to some threads.
pub(super) struct OnThreads<G, P> {
    generator: G,
    predicate: P,
    /// Known from the first context on, as a generator's threads never change.
    threads: Option<ThreadSet>,
    free: ThreadSet,
}

impl<G, P> OnThreads<G, P> {
    pub(super) fn new(generator: G, predicate: P) -> OnThreads<G, P> {
        OnThreads {
            generator,
            predicate,
            threads: None,
            free: ThreadSet::default(),
        }
    }
}

fn select(ctx: &Context<'_>, mut predicate: impl FnMut(Thread, &Roster) -> bool) -> ThreadSet {
    let chosen = |thread: &Thread| predicate(*thread, ctx.roster);
    let threads: ThreadSet = ctx.threads.iter().filter(chosen).collect();
    if threads.is_empty() {
        tracing::warn!(
            "a generator is skipped, since it is restricted to threads that do not exist"
        );
    }
    threads
}

impl<G, P> Generator for OnThreads<G, P>
where
    G: Generator,
    P: Fn(Thread, &Roster) -> bool + Send,
{
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        let threads = self
            .threads
            .get_or_insert_with(|| select(ctx, &self.predicate));
        if threads.is_empty() {
            // To wait for a thread that will never come would be to wait for ever.
            return Peek::Done;
        }
        self.free.assign_intersection(ctx.free, threads);
        self.generator.peek(&Context {
            threads,
            free: &self.free,
            ..*ctx
        })
    }

    fn accept(&mut self, ctx: &Context<'_>, planned: &Planned) {
        if let Some(threads) = &self.threads {
            // `free` is still as it was for the last `peek`.
            let narrow = Context {
                threads,
                free: &self.free,
                ..*ctx
            };
            self.generator.accept(&narrow, planned);
        }
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        if let Some(threads) = &self.threads
            && threads.contains(update.thread)
        {
            self.free.assign_intersection(ctx.free, threads);
            let narrow = Context {
                threads,
                free: &self.free,
                ..*ctx
            };
            self.generator.update(&narrow, update);
        }
    }
}

/// One generator for the client workers and one for the faults, side by side; done when both are.
pub fn clients_and_nemeses(
    clients: impl Generator + 'static,
    nemeses: impl Generator + 'static,
) -> impl Generator + 'static {
    // The two never compete for a thread, so no chance is ever needed.
    let both = [clients.clients().boxed(), nemeses.nemeses().boxed()];
    Any::new(Seed::new(0), both, false)
}

/// Gives the first `n` threads to the first generator, the next to the second, and so on; the default
/// generator gets all threads that are left. So that, say, blocked writes leave threads for reads.
///
/// Threads are counted among those that this generator itself may use, ascending. If there are too
/// few, the last generators get fewer or none; the log says so.
pub fn reserve<I>(ranges: I, default: impl Generator + 'static) -> impl Generator + 'static
where
    I: IntoIterator<Item = (usize, BoxGenerator)>,
{
    let (sizes, mut generators): (Vec<_>, Vec<_>) = ranges.into_iter().unzip();
    generators.push(default.boxed());
    Reserve {
        sizes,
        generators,
        partition: None,
    }
}

struct Reserve {
    sizes: Vec<usize>,
    /// One more than sizes: the default comes last.
    generators: Vec<BoxGenerator>,
    partition: Option<Partition>,
}

impl Reserve {
    fn split(sizes: &[usize], threads: &ThreadSet) -> Partition {
        let wanted: usize = sizes.iter().sum();
        if wanted > threads.len() {
            let there = threads.len();
            tracing::warn!("{wanted} threads are reserved, but there are only {there}");
        }
        let mut threads = threads.iter();
        let ranges = sizes.iter();
        let mut parts: Vec<ThreadSet> = ranges
            .map(|n| threads.by_ref().take(*n).collect())
            .collect();
        parts.push(threads.collect());
        Partition::new(parts)
    }
}

impl Generator for Reserve {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        let split = || Reserve::split(&self.sizes, ctx.threads);
        let partition = self.partition.get_or_insert_with(split);
        partition.peek(ctx, |part, ctx| self.generators[part].peek(ctx))
    }

    fn accept(&mut self, ctx: &Context<'_>, planned: &Planned) {
        if let Some(partition) = &mut self.partition {
            let (part, ctx) = partition.chosen(ctx);
            self.generators[part].accept(&ctx, planned);
        }
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        if let Some(partition) = &mut self.partition
            && let Some(part) = partition.part_of(update.thread)
        {
            let ctx = partition.narrow(part, ctx);
            self.generators[part].update(&ctx, update);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::generator::simulate::{Ending, perfect, roster, simulate};
    use crate::generator::testing::{call, count, integers, many, rows, threads, values};
    use crate::generator::{any, concat, nothing, ops};
    use crate::generators;
    use std::sync::{Arc, Mutex};
    use store::{EventType, Process};

    #[test]
    fn clients_and_faults_keep_to_their_threads() {
        assert_eq!(
            threads(&perfect(3, many("a").clients().limit(9))),
            [0, 1, 2]
        );
        assert_eq!(threads(&perfect(3, many("a").nemeses().limit(9))), [3]);
        assert_eq!(
            threads(&perfect(3, many("a").nemesis("nemesis").limit(9))),
            [3]
        );
        let both = clients_and_nemeses(many("a").limit(9), many("b").limit(2));
        let steps = perfect(3, both);
        assert!(steps.iter().all(|s| (*s.op.f == *"b") == (s.thread == 3)));
        assert_eq!(steps.len(), 11);
    }

    #[test]
    fn each_fault_has_its_thread() {
        let mut roster = roster(2);
        roster.nemeses = vec!["partition".into(), "kill".into()];
        let both = generators![
            many("k").nemesis("kill").limit(2),
            many("p").nemesis("partition").limit(1)
        ];
        let steps = simulate(roster, concat(both), |_| Ending {
            latency: 10,
            kind: EventType::Info,
        });
        let steps = steps.unwrap();
        let begun: Vec<_> = steps
            .iter()
            .filter(|s| s.kind == EventType::Invoke)
            .collect();
        let begun: Vec<_> = begun
            .iter()
            .map(|s| (&*s.op.f, s.thread, s.process.clone()))
            .collect();
        let kill = Process::Nemesis("kill".into());
        let partition = Process::Nemesis("partition".into());
        assert_eq!(
            begun,
            [("k", 3, kill.clone()), ("k", 3, kill), ("p", 2, partition)]
        );
    }

    #[test]
    fn a_generator_for_nobody_is_done_and_does_not_hang() {
        assert_eq!(perfect(2, many("a").nemesis("no such fault")), []);
        assert_eq!(perfect(2, many("a").nemeses().clients()), []);
    }

    #[test]
    fn updates_of_other_threads_are_not_heard() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let noted = heard.clone();
        let zero = many("a").limit(2).on_update(move |_, _, update| {
            noted
                .lock()
                .unwrap()
                .push((update.thread, update.op.f.to_string()));
        });
        let zero = zero.on_threads(|thread, _| thread == 0);
        let other = many("b").limit(6);
        let both = any(Seed::new(1), generators![zero, other]);
        assert_eq!(perfect(2, both).len(), 8);
        let heard = heard.lock().unwrap();
        assert!(
            heard.len() >= 2 && heard.iter().all(|(thread, _)| *thread == 0),
            "{heard:?}"
        );
    }

    #[test]
    fn reserve_with_a_default_only() {
        let steps = perfect(2, reserve([], integers("a")).limit(3));
        assert_eq!(rows(&steps), [("a", 0, 0), ("a", 1, 0), ("a", 2, 0)]);
        assert_eq!(values(&steps), [0, 1, 2]);
    }

    #[test]
    fn reserve_with_three_ranges() {
        let ranges = [(2, integers("a").boxed()), (3, integers("b").boxed())];
        let steps = perfect(5, reserve(ranges, integers("c")).limit(15));
        let expected = |thread| match thread {
            0 | 1 => "a",
            2..=4 => "b",
            _ => "c",
        };
        assert!(
            steps
                .iter()
                .all(|step| *step.op.f == *expected(step.thread))
        );
        assert_eq!(
            [count(&steps, "a"), count(&steps, "b"), count(&steps, "c")],
            [6, 7, 2]
        );
        // Each counts by itself.
        let of_b: Vec<_> = steps.iter().filter(|s| *s.op.f == *"b").cloned().collect();
        assert_eq!(values(&of_b), [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn reserve_counts_its_own_threads() {
        // Inside, threads 2, 3 and 4 are left; of those the first two are reserved.
        let inner = reserve([(2, many("b").boxed())], many("c"));
        let steps = perfect(
            5,
            reserve([(2, many("a").boxed())], inner).clients().limit(20),
        );
        let expected = ["a", "a", "b", "b", "c"];
        assert!(
            steps
                .iter()
                .all(|step| *step.op.f == *expected[step.thread])
        );
        assert_eq!(threads(&steps), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn reserve_ends_when_all_are_done_even_without_threads() {
        let ranges = [
            (1, ops([call("a"), call("a")]).boxed()),
            (9, many("b").limit(3).boxed()),
        ];
        let steps = perfect(3, reserve(ranges, many("never")).clients());
        assert_eq!(
            (count(&steps, "a"), count(&steps, "b"), steps.len()),
            (2, 3, 5)
        );
        let ranges = [(1, nothing().boxed())];
        assert_eq!(perfect(3, reserve(ranges, nothing())), []);
    }

    #[test]
    fn reserved_threads_do_not_wait_for_blocked_ones() {
        let ranges = [(2, many("write").limit(2).boxed())];
        let mixed = reserve(ranges, many("read").limit(30)).clients();
        let steps = simulate(roster(4), mixed, |step| Ending {
            latency: if *step.op.f == *"write" {
                1_000_000
            } else {
                10
            },
            kind: EventType::Ok,
        });
        let last_read = steps
            .unwrap()
            .into_iter()
            .filter(|s| *s.op.f == *"read")
            .last();
        assert_eq!(last_read.unwrap().time, 150);
    }
}
