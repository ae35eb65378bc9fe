//! How much of a generator is used.

use store::EventType;

use super::{Context, Generator, Peek, Planned, Thread, ThreadSet, Update};
use crate::time::Nanos;

/// At most so many operations.
pub(super) struct Limit<G> {
    pub(super) generator: G,
    pub(super) remaining: u64,
}

impl<G: Generator> Generator for Limit<G> {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        match self.remaining {
            0 => Peek::Done,
            _ => self.generator.peek(ctx),
        }
    }

    fn accept(&mut self, ctx: &Context<'_>, planned: &Planned) {
        self.remaining -= 1;
        self.generator.accept(ctx, planned);
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        self.generator.update(ctx, update);
    }
}

/// The generator as it is, again and again: it is never told that an operation was taken.
pub(super) struct Repeat<G> {
    pub(super) generator: G,
    pub(super) remaining: u64,
}

impl<G: Generator> Generator for Repeat<G> {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        match self.remaining {
            0 => Peek::Done,
            _ => self.generator.peek(ctx),
        }
    }

    fn accept(&mut self, _ctx: &Context<'_>, _planned: &Planned) {
        self.remaining -= 1;
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        self.generator.update(ctx, update);
    }
}

/// Ends when more distinct processes than a limit could have been used.
pub(super) struct ProcessLimit<G> {
    generator: G,
    limit: usize,
    /// How many were seen.
    seen: usize,
    /// The latest process of each worker; a worker's process never returns to an earlier one.
    latest: Vec<Option<u64>>,
    nemeses: ThreadSet,
    done: bool,
}

impl<G> ProcessLimit<G> {
    pub(super) fn new(generator: G, limit: usize) -> ProcessLimit<G> {
        ProcessLimit {
            generator,
            limit,
            seen: 0,
            latest: Vec::new(),
            nemeses: ThreadSet::default(),
            done: limit == 0,
        }
    }

    fn see(&mut self, ctx: &Context<'_>, thread: Thread) {
        let Some(process) = ctx.processes.get(thread) else {
            self.seen += usize::from(!self.nemeses.contains(thread));
            self.nemeses.insert(thread);
            return;
        };
        if self.latest.len() <= thread {
            self.latest.resize(thread + 1, None);
        }
        if self.latest[thread] != Some(*process) {
            self.latest[thread] = Some(*process);
            self.seen += 1;
        }
    }
}

impl<G: Generator> Generator for ProcessLimit<G> {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        if self.done {
            return Peek::Done;
        }
        let answer = self.generator.peek(ctx);
        if matches!(answer, Peek::Op(_)) {
            ctx.threads.iter().for_each(|thread| self.see(ctx, thread));
            self.done = self.seen > self.limit;
        }
        if self.done { Peek::Done } else { answer }
    }

    fn accept(&mut self, ctx: &Context<'_>, planned: &Planned) {
        self.generator.accept(ctx, planned);
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        self.generator.update(ctx, update);
    }
}

/// Waits while so many threads are busy.
pub(super) struct ConcurrencyLimit<G> {
    pub(super) generator: G,
    pub(super) limit: usize,
}

impl<G: Generator> Generator for ConcurrencyLimit<G> {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        if self.limit == 0 {
            return Peek::Done;
        }
        if ctx.threads.len() - ctx.free.len() >= self.limit {
            return Peek::Pending;
        }
        self.generator.peek(ctx)
    }

    fn accept(&mut self, ctx: &Context<'_>, planned: &Planned) {
        self.generator.accept(ctx, planned);
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        self.generator.update(ctx, update);
    }
}

/// For so long after its first operation or wait.
pub(super) struct TimeLimit<G> {
    generator: G,
    limit: Nanos,
    end: Option<Nanos>,
}

impl<G> TimeLimit<G> {
    pub(super) fn new(generator: G, limit: Nanos) -> TimeLimit<G> {
        TimeLimit {
            generator,
            limit,
            end: None,
        }
    }

    fn begin(&mut self, at: Nanos) -> Nanos {
        *self.end.get_or_insert(at.saturating_add(self.limit))
    }
}

impl<G: Generator> Generator for TimeLimit<G> {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        if self.limit == 0 || self.end.is_some_and(|end| ctx.time >= end) {
            return Peek::Done;
        }
        let answer = self.generator.peek(ctx);
        if matches!(answer, Peek::Wait(_)) {
            // A sleep has begun, so this has begun.
            self.begin(ctx.time);
        }
        match self.end {
            Some(end) => until(answer, end),
            None => answer,
        }
    }

    fn accept(&mut self, ctx: &Context<'_>, planned: &Planned) {
        self.begin(planned.time.max(ctx.time));
        self.generator.accept(ctx, planned);
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        self.generator.update(ctx, update);
    }
}

/// Until one of its own operations ends `ok`.
pub(super) struct UntilOk<G> {
    generator: G,
    /// The threads that perform its operations.
    active: ThreadSet,
    done: bool,
}

impl<G> UntilOk<G> {
    pub(super) fn new(generator: G) -> UntilOk<G> {
        UntilOk {
            generator,
            active: ThreadSet::default(),
            done: false,
        }
    }
}

impl<G: Generator> Generator for UntilOk<G> {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        if self.done {
            Peek::Done
        } else {
            self.generator.peek(ctx)
        }
    }

    fn accept(&mut self, ctx: &Context<'_>, planned: &Planned) {
        self.active.insert(planned.thread);
        self.generator.accept(ctx, planned);
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        self.generator.update(ctx, update);
        if self.active.contains(update.thread) {
            self.active.remove(update.thread);
            self.done |= update.kind == EventType::Ok;
        }
    }
}

/// What can be said before an end that somebody else waits for: an operation that comes too late, or
/// none, means that the end comes next.
pub(super) fn until(answer: Peek, end: Nanos) -> Peek {
    match answer {
        Peek::Op(planned) if planned.time < end => Peek::Op(planned),
        Peek::Wait(time) => Peek::Wait(time.min(end)),
        Peek::Op(_) | Peek::Pending => Peek::Wait(end),
        Peek::Done => Peek::Done,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crate::generator::simulate::{
        Ending, Step, imperfect, perfect, perfect_info, quick, roster, simulate,
    };
    use crate::generator::testing::{
        call, count, fs, integers, many, ns, outcomes, rows, times, values,
    };
    use crate::generator::{GeneratorExt, any, concat, cycle, op, phases, sleep};
    use crate::{generators, seed::Seed};
    use store::EventType::{Fail, Info, Invoke, Ok};

    #[test]
    fn limits_are_kept() {
        assert_eq!(
            rows(&quick(2, many("w").limit(2))),
            [("w", 0, 0), ("w", 1, 0)]
        );
        assert_eq!(quick(2, many("w").limit(0)), []);
        assert_eq!(fs(&quick(2, integers("w").once())), ["w"]);
        assert_eq!(values(&quick(2, integers("w").limit(5))), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn repeat_changes_nothing() {
        assert_eq!(values(&perfect(2, integers("w").repeat_n(3))), [0, 0, 0]);
        assert_eq!(perfect(2, op(call("w")).repeat_n(0)), []);
        assert_eq!(perfect(2, op(call("w")).repeat().limit(50)).len(), 50);
    }

    #[test]
    fn process_limit_counts_processes_that_could_be_used() {
        let steps = perfect_info(2, integers("w").process_limit(5).clients());
        // 0 and 1, then 2, then 3; with 4 there are five, and 5 would be one too many.
        assert_eq!(values(&steps), [0, 1, 2, 3, 4]);
        let processes: Vec<_> = outcomes(&steps)
            .iter()
            .map(|(_, process, _)| *process)
            .collect();
        assert_eq!(processes, [0, 1, 2, 3, 4]);
        assert_eq!(perfect(2, many("w").process_limit(0)), []);
        // Two workers and a fault are three from the start.
        assert_eq!(perfect(2, many("w").process_limit(2)), []);
        assert_eq!(perfect(2, many("w").process_limit(3).limit(50)).len(), 50);
    }

    fn busiest(steps: &[Step]) -> usize {
        let mut busy = 0;
        let counts = steps.iter().map(|step| {
            busy = if step.kind == Invoke {
                busy + 1
            } else {
                busy - 1
            };
            busy
        });
        counts.max().unwrap_or(0)
    }

    #[test]
    fn concurrency_is_limited() {
        for limit in 1..=4 {
            let all = many("w").concurrency_limit(limit).limit(50).clients();
            let steps = simulate(roster(4), all, |_| Ending {
                latency: 7,
                kind: Ok,
            })
            .unwrap();
            assert_eq!((steps.len(), busiest(&steps)), (100, limit));
        }
        assert_eq!(perfect(2, many("w").concurrency_limit(0)), []);
    }

    #[test]
    fn one_thread_at_a_time() {
        let both = any(Seed::new(1), generators![many("w"), many("r")]);
        let one = both.clients().concurrency_limit(1).limit(3);
        let steps = simulate(roster(2), one, |_| Ending {
            latency: 10,
            kind: Ok,
        })
        .unwrap();
        let kinds: Vec<_> = steps.iter().map(|step| step.kind).collect();
        assert_eq!(kinds, [Invoke, Ok, Invoke, Ok, Invoke, Ok]);
    }

    #[test]
    fn time_limits_run_from_the_first_operation() {
        // Two in succession, to see that the second one's time begins with itself.
        let both = generators![many("a").time_limit(ns(20)), many("b").time_limit(ns(10))];
        let steps = perfect(2, concat(both));
        let at = |time, f| [(time, f); 3];
        assert_eq!(
            times(&steps),
            [at(0, "a"), at(10, "a"), at(20, "b")].concat()
        );
        assert_eq!(perfect(2, many("a").time_limit(ns(0))), []);
    }

    #[test]
    fn a_time_limit_lasts_until_its_end() {
        // The second operation would come too late, but until then the time is not up.
        let slow = many("a").delay(ns(600)).time_limit(ns(60));
        assert_eq!(
            times(&perfect(2, concat(generators![slow, op(call("b"))]))),
            [(0, "a"), (60, "b")]
        );
        // It also ends while operations are pending.
        let stuck = phases(generators![op(call("a")), many("b")]).time_limit(ns(50));
        let both = concat(generators![stuck, op(call("c"))]);
        let steps = simulate(roster(2), both, |_| Ending {
            latency: 1000,
            kind: Ok,
        })
        .unwrap();
        assert_eq!(times(&steps)[..2], [(0, "a"), (50, "c")]);
    }

    #[test]
    fn a_time_limit_counts_the_first_sleep() {
        let round = |_| {
            concat(generators![
                sleep(ns(50)),
                op(call("start")),
                sleep(ns(50)),
                op(call("stop"))
            ])
        };
        let steps = perfect(2, cycle(round).nemeses().time_limit(ns(300)));
        assert_eq!(
            times(&steps),
            [
                (50, "start"),
                (110, "stop"),
                (170, "start"),
                (230, "stop"),
                (290, "start")
            ]
        );
    }

    #[test]
    fn until_ok_retries() {
        let steps = imperfect(2, many("read").until_ok().limit(10).clients());
        let expected = [
            (0, 0, Invoke),
            (0, 1, Invoke),
            (10, 0, Fail),
            (10, 0, Invoke),
            (10, 1, Fail),
            (10, 1, Invoke),
            (20, 0, Info),
            (20, 2, Invoke),
            (20, 1, Info),
            (20, 3, Invoke),
            // They complete at the same time, so two are ok.
            (30, 2, Ok),
            (30, 3, Ok),
        ];
        assert_eq!(outcomes(&steps), expected);
    }

    #[test]
    fn until_ok_minds_its_own_operations() {
        let mine = many("mine").until_ok().limit(5);
        let both = any(Seed::new(4), generators![mine, many("other").limit(50)]);
        let steps = simulate(roster(1), both.clients(), |step| Ending {
            latency: 10,
            kind: if *step.op.f == *"mine" { Fail } else { Ok },
        });
        let steps = steps.unwrap();
        let begun: Vec<_> = steps.into_iter().filter(|s| s.kind == Invoke).collect();
        assert_eq!((count(&begun, "mine"), count(&begun, "other")), (5, 50));
    }
}
