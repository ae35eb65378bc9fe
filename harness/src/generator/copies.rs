//! A generator of its own for each of many.

use store::Process;

use super::partition::Partition;
use super::{Context, Generator, Peek, Planned, Thread, Update};

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
    use crate::generator::testing::{call, fs, many, ns, rows, times, values};
    use crate::generator::{GeneratorExt, any, concat, nothing, op, ops, sleep};
    use crate::{client::Op, generators, seed::Seed};
    use store::{EventType, json};

    /// Has an operation when it has heard of another's success.
    struct Gate(bool);

    impl Generator for Gate {
        fn peek(&mut self, ctx: &Context<'_>) -> Peek {
            match ctx.turn() {
                Some(thread) if self.0 => Peek::Op(Planned {
                    time: ctx.time,
                    thread,
                    op: call("through"),
                }),
                _ => Peek::Pending,
            }
        }

        fn accept(&mut self, _: &Context<'_>, _: &Planned) {}

        fn update(&mut self, _: &Context<'_>, update: &Update<'_>) {
            self.0 |= &*update.op.f == "go";
        }
    }

    #[test]
    fn a_thread_that_waits_for_word_of_another_generator_gets_it() {
        let gates = each_thread(|_| Gate(false).once());
        let keys = concat(generators![sleep(ns(100)), many("go").limit(3)]);
        let steps = perfect(2, any(Seed::new(1), generators![gates, keys]));
        let both = [(100, "go"), (100, "go"), (100, "go")];
        assert_eq!(
            times(&steps),
            [both, both.map(|_| (110, "through"))].concat()
        );
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
