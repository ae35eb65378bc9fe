//! Which threads may use a generator.

use store::Process;

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

/// A generator of its own for every thread, made when the thread is first free; each sees its thread
/// only. Done when all are done. A thread's updates go to its generator.
pub fn each_thread<F, G>(make: F) -> impl Generator + 'static
where
    F: FnMut(Thread) -> G + Send + 'static,
    G: Generator + 'static,
{
    EachThread {
        make,
        copies: Vec::new(),
        partition: None,
    }
}

struct EachThread<F, G> {
    make: F,
    copies: Vec<Option<G>>,
    partition: Option<Partition>,
}

impl<F, G> Generator for EachThread<F, G>
where
    F: FnMut(Thread) -> G + Send,
    G: Generator,
{
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        let split = || Partition::singletons(ctx.threads);
        let partition = self.partition.get_or_insert_with(split);
        self.copies.resize_with(partition.parts().len(), || None);
        partition.peek(ctx, |part, ctx| {
            let copy = &mut self.copies[part];
            match ctx.turn() {
                Some(thread) => copy.get_or_insert_with(|| (self.make)(thread)).peek(ctx),
                None => Peek::Pending,
            }
        })
    }

    fn accept(&mut self, ctx: &Context<'_>, planned: &Planned) {
        if let Some(partition) = &mut self.partition {
            let (part, ctx) = partition.chosen(ctx);
            if let Some(copy) = &mut self.copies[part] {
                copy.accept(&ctx, planned);
            }
        }
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        if let Some(partition) = &mut self.partition
            && let Some(part) = partition.part_of(update.thread)
            && let Some(copy) = &mut self.copies[part]
        {
            copy.update(&partition.narrow(part, ctx), update);
        }
    }
}

/// Like [`each_thread`], but for every process: when a worker's process is replaced, the new process
/// gets a new generator. Done when those of all present processes are done, and no thread is busy.
pub fn each_process<F, G>(make: F) -> impl Generator + 'static
where
    F: FnMut(&Process) -> G + Send + 'static,
    G: Generator + 'static,
{
    EachProcess {
        make,
        copies: Vec::new(),
        finished: 0,
        partition: None,
    }
}

struct EachProcess<F, G> {
    make: F,
    copies: Vec<Option<OfProcess<G>>>,
    /// How many threads' present processes are done.
    finished: usize,
    partition: Option<Partition>,
}

struct OfProcess<G> {
    process: Process,
    /// `None` when done.
    generator: Option<G>,
}

impl<F, G> EachProcess<F, G>
where
    F: FnMut(&Process) -> G + Send,
    G: Generator,
{
    /// Asks the generator of the process under which a free thread works now.
    fn ask(&mut self, part: usize, ctx: &Context<'_>) -> Peek {
        let Some(thread) = ctx.turn() else {
            return Peek::Pending;
        };
        let process = ctx.process(thread);
        let slot = &mut self.copies[part];
        if slot.as_ref().is_none_or(|copy| copy.process != process) {
            self.finished -=
                usize::from(slot.as_ref().is_some_and(|copy| copy.generator.is_none()));
            let generator = Some((self.make)(&process));
            *slot = Some(OfProcess { process, generator });
        }
        let generator = slot.as_mut().map(|copy| &mut copy.generator);
        let Some(generator) = generator else {
            return Peek::Pending;
        };
        match generator.as_mut().map(|generator| generator.peek(ctx)) {
            Some(Peek::Done) => {
                *generator = None;
                self.finished += 1;
                Peek::Pending
            }
            Some(answer) => answer,
            // Not `Done`: the thread's next process begins anew.
            None => Peek::Pending,
        }
    }
}

impl<F, G> Generator for EachProcess<F, G>
where
    F: FnMut(&Process) -> G + Send,
    G: Generator,
{
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        let taken = self.partition.take();
        let mut partition = taken.unwrap_or_else(|| Partition::singletons(ctx.threads));
        let parts = partition.parts().len();
        self.copies.resize_with(parts, || None);
        let answer = if self.finished == parts {
            Peek::Done
        } else {
            partition.peek(ctx, |part, ctx| self.ask(part, ctx))
        };
        self.partition = Some(partition);
        match answer {
            Peek::Pending if self.finished == parts => Peek::Done,
            answer => answer,
        }
    }

    fn accept(&mut self, ctx: &Context<'_>, planned: &Planned) {
        if let Some(partition) = &mut self.partition {
            let (part, ctx) = partition.chosen(ctx);
            let copy = self.copies[part].as_mut();
            if let Some(generator) = copy.and_then(|copy| copy.generator.as_mut()) {
                generator.accept(&ctx, planned);
            }
        }
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        if let Some(partition) = &mut self.partition
            && let Some(part) = partition.part_of(update.thread)
            && let Some(copy) = &mut self.copies[part]
            && let Some(generator) = &mut copy.generator
        {
            generator.update(&partition.narrow(part, ctx), update);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::generator::simulate::{Ending, imperfect, perfect, perfect_info, roster, simulate};
    use crate::generator::testing::{
        call, count, fs, integers, many, ns, rows, threads, times, values,
    };
    use crate::generator::{concat, nothing, op, ops, sleep};
    use crate::{client::Op, generators};
    use store::{EventType, json};

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
        // Thread 1's success does not end what is restricted to thread 0.
        let zero = many("a")
            .until_ok()
            .on_threads(|thread, _| thread == 0)
            .limit(9);
        let one = many("b").on_threads(|thread, _| thread == 1).limit(3);
        let both = crate::generator::any(Seed::new(1), generators![zero, one]);
        let steps = simulate(roster(2), both, |step| Ending {
            latency: 10,
            kind: if step.thread == 0 {
                EventType::Fail
            } else {
                EventType::Ok
            },
        });
        assert_eq!(count(&steps.unwrap(), "a"), 2 * 9);
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

    #[test]
    fn each_thread_has_its_own() {
        let steps = perfect(2, each_thread(|_| ops([call("a"), call("b")])));
        let at = |f, time| [(f, 0, time), (f, 1, time), (f, 2, time)];
        assert_eq!(rows(&steps), [at("a", 0), at("b", 10)].concat());
        assert_eq!(perfect(2, each_thread(|_| nothing())), []);
        let numbered = each_thread(|thread| op(Op::new("t", json!(thread))));
        assert_eq!(values(&perfect(3, numbered.clients())), [0, 1, 2]);
    }

    #[test]
    fn each_thread_sleeps_by_itself() {
        let each = |thread| {
            concat(generators![
                sleep(ns(100 * (3 - thread as u64))),
                op(call("x"))
            ])
        };
        let steps = perfect(3, each_thread(each).clients());
        assert_eq!(rows(&steps), [("x", 2, 100), ("x", 1, 200), ("x", 0, 300)]);
    }

    #[test]
    fn each_thread_keeps_its_own_pace() {
        let each = |thread| many("x").delay(ns(100 + 10 * thread as u64)).limit(4);
        let steps = perfect(3, each_thread(each).clients());
        let expected: Vec<_> = (0..4)
            .flat_map(|n| (0..3).map(move |thread| ("x", thread, n * (100 + 10 * thread as u64))))
            .collect();
        assert_eq!(rows(&steps), expected);
    }

    #[test]
    fn each_thread_hears_of_what_ends_its_waiting() {
        // A thread's second operation waits for word of its first.
        let each = |thread| {
            let first = if thread == 0 { "fast" } else { "slow" };
            concat(generators![
                many(first).until_ok().concurrency_limit(1),
                many("b").delay(ns(70)).limit(2)
            ])
        };
        let steps = simulate(roster(2), each_thread(each).clients(), |step| Ending {
            latency: if *step.op.f == *"slow" { 35 } else { 5 },
            kind: EventType::Ok,
        });
        let begun: Vec<_> = steps
            .unwrap()
            .into_iter()
            .filter(|s| s.kind == EventType::Invoke)
            .collect();
        let expected = [
            ("fast", 0, 0),
            ("slow", 1, 0),
            ("b", 0, 5),
            ("b", 1, 35),
            ("b", 0, 75),
            ("b", 1, 105),
        ];
        assert_eq!(rows(&begun), expected);
    }

    #[test]
    fn each_thread_sees_one_thread() {
        let steps = perfect(
            3,
            each_thread(|_| many("x").synchronize().delay(ns(100)).limit(2)).clients(),
        );
        assert_eq!(
            times(&steps),
            [
                (0, "x"),
                (0, "x"),
                (0, "x"),
                (100, "x"),
                (100, "x"),
                (100, "x")
            ]
        );
    }

    #[test]
    fn each_process_begins_anew_with_each_process() {
        let made = |process: &Process| {
            let name = process.to_string();
            ops([Op::new("a", json!(name.clone())), Op::new("b", json!(name))])
        };
        let steps = imperfect(1, each_process(made).clients().limit(7));
        let begun = steps.iter().filter(|s| s.kind == EventType::Invoke);
        let begun: Vec<_> = begun
            .map(|s| (&*s.op.f, s.process.to_string(), s.op.value.clone()))
            .collect();
        // a fails, b is unknown: process 1 begins. a is ok, b fails: process 1 is done, and so are all.
        let of = |f, process: &str| (f, process.to_string(), json!(process));
        assert_eq!(
            begun,
            [of("a", "0"), of("b", "0"), of("a", "1"), of("b", "1")]
        );
    }

    #[test]
    fn each_process_goes_on_while_processes_crash() {
        let steps = perfect_info(2, each_process(|_| op(call("a"))).clients().limit(10));
        let processes: Vec<_> = steps.iter().map(|step| step.process.to_string()).collect();
        assert_eq!(
            processes,
            ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
        );
        assert_eq!(perfect(2, each_process(|_| nothing())), []);
        assert_eq!(
            fs(&perfect(2, each_process(|_| op(call("a"))))),
            ["a", "a", "a"]
        );
    }
}
