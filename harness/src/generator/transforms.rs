//! Changing what a generator says and hears.

use super::{Context, Generator, Peek, Planned, Thread, Update};
use crate::client::Op;
use crate::time::Nanos;

/// How many operations in a row a filter drops before it lets others have a go.
const DROPS_MAX: usize = 10_000;

/// How long it rests then.
const REST: Nanos = 1_000_000;

/// Changes operations.
pub(super) struct Map<G, F> {
    pub(super) generator: G,
    pub(super) function: F,
}

impl<G, F> Generator for Map<G, F>
where
    G: Generator,
    F: Fn(Op, Thread, &Context<'_>) -> Op + Send,
{
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        match self.generator.peek(ctx) {
            Peek::Op(planned) => Peek::Op(Planned {
                op: (self.function)(planned.op, planned.thread, ctx),
                ..planned
            }),
            answer => answer,
        }
    }

    fn accept(&mut self, ctx: &Context<'_>, planned: &Planned) {
        self.generator.accept(ctx, planned);
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        self.generator.update(ctx, update);
    }
}

/// Drops operations.
pub(super) struct Filter<G, P> {
    generator: G,
    predicate: P,
    rests_until: Nanos,
}

impl<G, P> Filter<G, P> {
    pub(super) fn new(generator: G, predicate: P) -> Filter<G, P> {
        Filter {
            generator,
            predicate,
            rests_until: 0,
        }
    }
}

impl<G, P> Generator for Filter<G, P>
where
    G: Generator,
    P: Fn(&Op) -> bool + Send,
{
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        if ctx.time < self.rests_until {
            return Peek::Wait(self.rests_until);
        }
        for _ in 0..DROPS_MAX {
            match self.generator.peek(ctx) {
                // To drop it is to take it, and do nothing. Asked again, this is where it goes on.
                Peek::Op(planned) if !(self.predicate)(&planned.op) => {
                    self.generator.accept(ctx, &planned);
                }
                answer => return answer,
            }
        }
        self.rests_until = ctx.time.saturating_add(REST);
        Peek::Wait(self.rests_until)
    }

    fn accept(&mut self, ctx: &Context<'_>, planned: &Planned) {
        self.generator.accept(ctx, planned);
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        self.generator.update(ctx, update);
    }
}

/// Hands updates to a function instead.
pub(super) struct OnUpdate<G, F> {
    pub(super) generator: G,
    pub(super) function: F,
}

impl<G, F> Generator for OnUpdate<G, F>
where
    G: Generator,
    F: FnMut(&mut G, &Context<'_>, &Update<'_>) + Send,
{
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        self.generator.peek(ctx)
    }

    fn accept(&mut self, ctx: &Context<'_>, planned: &Planned) {
        self.generator.accept(ctx, planned);
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        (self.function)(&mut self.generator, ctx, update);
    }
}

/// Keeps an answer that was expensive to make.
pub(super) struct Cache<G> {
    generator: G,
    lifetime: Nanos,
    /// The answer, and until when it holds.
    kept: Option<(Peek, Nanos)>,
}

impl<G> Cache<G> {
    pub(super) fn new(generator: G, lifetime: Nanos) -> Cache<G> {
        Cache {
            generator,
            lifetime,
            kept: None,
        }
    }

    /// The kept answer, as it reads now, if it still holds.
    fn recall(&self, ctx: &Context<'_>) -> Option<Peek> {
        let (answer, end) = self.kept.as_ref().filter(|(_, end)| ctx.time < *end)?;
        match answer {
            Peek::Op(planned) if ctx.free.contains(planned.thread) => Some(Peek::Op(Planned {
                time: planned.time.max(ctx.time),
                ..planned.clone()
            })),
            // Somebody else took the thread.
            Peek::Op(_) => None,
            Peek::Wait(time) if *time <= ctx.time => None,
            Peek::Wait(time) => Some(Peek::Wait(*time.min(end))),
            Peek::Pending => Some(Peek::Wait(*end)),
            Peek::Done => Some(Peek::Done),
        }
    }
}

impl<G: Generator> Generator for Cache<G> {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        if let Some(answer) = self.recall(ctx) {
            return answer;
        }
        if ctx.free.is_empty() {
            return Peek::Pending;
        }
        let answer = self.generator.peek(ctx);
        self.kept = Some((answer.clone(), ctx.time.saturating_add(self.lifetime)));
        self.recall(ctx).unwrap_or(answer)
    }

    fn accept(&mut self, ctx: &Context<'_>, planned: &Planned) {
        self.kept = None;
        self.generator.accept(ctx, planned);
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        self.generator.update(ctx, update);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::generator::simulate::{perfect, quick};
    use crate::generator::testing::{call, fs, integers, many, ns, rows, times, values};
    use crate::generator::{GeneratorExt, concat, flip_flop, from_fn, op, ops};
    use crate::{generators, seed::Seed};
    use store::json;

    #[test]
    fn map_changes_operations() {
        let next = |op: Op| Op::new(op.f, json!(op.value.as_u64().unwrap() + 1));
        assert_eq!(
            values(&perfect(2, integers("w").limit(3).map(next))),
            [1, 2, 3]
        );
        let who =
            |op: Op, thread, ctx: &Context<'_>| Op::new(op.f, json!(thread as u64 + ctx.time));
        assert_eq!(
            values(&perfect(2, many("w").limit(4).map_with(who))),
            [0, 1, 2, 10]
        );
    }

    #[test]
    fn f_map_renames() {
        let steps = perfect(2, ops([call("a"), call("b")]).f_map([("a", "x")]));
        assert_eq!(fs(&steps), ["x", "b"]);
    }

    fn even(op: &Op) -> bool {
        op.value.as_u64().is_some_and(|n| n % 2 == 0)
    }

    #[test]
    fn filter_drops() {
        assert_eq!(
            values(&perfect(2, integers("w").limit(10).filter(even))),
            [0, 2, 4, 6, 8]
        );
        assert_eq!(
            values(&perfect(2, integers("w").filter(even).limit(3))),
            [0, 2, 4]
        );
    }

    #[test]
    fn a_filter_that_drops_everything_hangs_nobody() {
        let none = many("w").filter(|_| false).time_limit(ns(5_000_000));
        assert_eq!(
            times(&quick(2, concat(generators![none, op(call("b"))]))),
            [(5_000_000, "b")]
        );
    }

    #[test]
    fn updates_can_be_handled_or_ignored() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let noted = heard.clone();
        let on_update = many("r")
            .until_ok()
            .limit(7)
            .on_update(move |generator, ctx, update| {
                noted.lock().unwrap().push((ctx.time, update.thread));
                // The third completion is the first that the generator hears of.
                if noted.lock().unwrap().len() == 3 {
                    generator.update(ctx, update);
                }
            });
        assert_eq!(rows(&perfect(1, on_update.clients())).len(), 3);
        assert_eq!(*heard.lock().unwrap(), [(10, 0), (20, 0), (30, 0)]);
        assert_eq!(
            quick(2, many("r").until_ok().ignore_updates().limit(9)).len(),
            9
        );
    }

    #[test]
    fn a_cache_asks_once() {
        let asked = |cached: bool| {
            let log = Arc::new(Mutex::new(Vec::new()));
            let noted = log.clone();
            let slow = from_fn(Seed::new(1), move |_, call| {
                noted.lock().unwrap().push(call.ctx.time);
                Some(Op::new("write", json!(call.ctx.time)))
            });
            let slow = if cached {
                slow.cache(ns(1_000_000)).boxed()
            } else {
                slow.boxed()
            };
            let steps = perfect(
                2,
                flip_flop(slow, many("read"))
                    .delay(ns(10))
                    .clients()
                    .limit(10),
            );
            let expected: Vec<_> = (0..10)
                .map(|n| (n * 10, ["write", "read"][n as usize % 2]))
                .collect();
            assert_eq!(times(&steps), expected);
            let mut times = log.lock().unwrap().clone();
            let all = times.len();
            times.dedup();
            (all, times)
        };
        let (all, distinct) = asked(false);
        assert!(all > 10 && distinct.len() > 5, "{all} {distinct:?}");
        let (all, distinct) = asked(true);
        assert_eq!((all, distinct.len()), (5, 5));
    }

    #[test]
    fn a_cache_expires_and_heeds_busy_threads() {
        // Offered for thread 0 at time 0, but that thread is taken by another generator.
        let cached = integers("c").cache(ns(25)).delay(ns(15)).limit(4);
        let other = many("x").on_threads(|thread, _| thread == 0).limit(3);
        let both = crate::generator::any(Seed::new(1), generators![other, cached]);
        let steps = perfect(2, both.clients());
        let of_c: Vec<_> = steps.iter().filter(|s| *s.op.f == *"c").cloned().collect();
        assert_eq!(values(&of_c), [0, 1, 2, 3]);
        assert_eq!(steps.len(), 7);
    }
}
