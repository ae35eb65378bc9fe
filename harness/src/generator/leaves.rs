//! Generators that are made of nothing else.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::counts::Counts;
use super::{BoxGenerator, Context, Generator, Peek, Planned, Thread, Update};
use crate::client::Op;
use crate::seed::{Rng, Seed};
use crate::time::{Nanos, nanos};

/// How often a [`promise`] is looked at.
const PROMISE_POLL: Nanos = 1_000_000;

/// An operation now, for the thread whose turn it is.
fn now(ctx: &Context<'_>, thread: Thread, op: Op) -> Peek {
    Peek::Op(Planned {
        time: ctx.time,
        thread,
        op,
    })
}

/// Emits nothing.
pub fn nothing() -> impl Generator + 'static {
    ops([])
}

/// Emits one operation, once. See [`repeat`](super::GeneratorExt::repeat) for more of it.
pub fn op(op: Op) -> impl Generator + 'static {
    ops([op])
}

/// Emits operations in their order, each once, to whichever threads ask. The sequence may be
/// infinite.
pub fn ops<I>(ops: I) -> impl Generator + 'static
where
    I: IntoIterator<Item = Op>,
    I::IntoIter: Send + 'static,
{
    let mut rest = ops.into_iter().fuse();
    Ops {
        next: rest.next(),
        rest,
    }
}

struct Ops<I> {
    next: Option<Op>,
    rest: I,
}

impl<I: Iterator<Item = Op> + Send> Generator for Ops<I> {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        let Some(op) = &self.next else {
            return Peek::Done;
        };
        let turn = ctx.turn();
        turn.map_or(Peek::Pending, |thread| now(ctx, thread, op.clone()))
    }

    fn accept(&mut self, _ctx: &Context<'_>, _planned: &Planned) {
        self.next = self.rest.next();
    }
}

/// One call of a function that makes operations.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// How many operations this thread has had from this generator before.
    pub n: u64,
    /// Who will perform the operation.
    pub thread: Thread,
    /// All else that can be known. An operation that depends on the time, or on who is free, does not
    /// repeat under the seed.
    pub ctx: &'a Context<'a>,
}

impl Call<'_> {
    /// A number that no other call of this generator gets, in this run or another thread of it: for
    /// values that must never be issued twice. It repeats under the seed, since it depends on the
    /// thread and its count only.
    pub fn unique(&self) -> u64 {
        self.n * self.ctx.roster.threads() as u64 + self.thread as u64
    }
}

/// Emits what a function makes, until it makes `None`.
///
/// The random numbers of a thread's n-th call are those of (seed, thread, n), whatever other threads
/// do: so each thread's stream repeats under the seed. The function may be called several times for
/// one operation, and must then answer the same: it takes its chances from the generator of random
/// numbers and its counts from the [`Call`].
pub fn from_fn<F>(seed: Seed, function: F) -> impl Generator + 'static
where
    F: Fn(&mut Rng, &Call<'_>) -> Option<Op> + Send + 'static,
{
    FromFn {
        seed,
        function,
        counts: Counts::default(),
        done: false,
    }
}

struct FromFn<F> {
    seed: Seed,
    function: F,
    counts: Counts,
    done: bool,
}

impl<F> Generator for FromFn<F>
where
    F: Fn(&mut Rng, &Call<'_>) -> Option<Op> + Send,
{
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        if self.done {
            return Peek::Done;
        }
        let Some(thread) = ctx.turn() else {
            return Peek::Pending;
        };
        let n = self.counts.get(thread);
        let mut rng = self.seed.child(thread as u64).child(n).rng();
        match (self.function)(&mut rng, &Call { n, thread, ctx }) {
            Some(op) => now(ctx, thread, op),
            None => {
                self.done = true;
                Peek::Done
            }
        }
    }

    fn accept(&mut self, _ctx: &Context<'_>, planned: &Planned) {
        self.counts.add(planned.thread);
    }
}

/// Emits nothing for a while, and is then done: what follows it in a sequence waits.
///
/// The while begins when the sleep is reached and a thread is free, so for a single thread when its
/// last operation has completed. Other generators go on meanwhile. To sleep again and again, use
/// [`cycle`](super::cycle).
pub fn sleep(duration: Duration) -> impl Generator + 'static {
    Sleep {
        length: nanos(duration),
        until: None,
    }
}

struct Sleep {
    length: Nanos,
    until: Option<Nanos>,
}

impl Generator for Sleep {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        if self.until.is_none() && ctx.free.is_empty() {
            return Peek::Pending;
        }
        let length = self.length;
        let until = *self
            .until
            .get_or_insert_with(|| ctx.time.saturating_add(length));
        if ctx.time < until {
            Peek::Wait(until)
        } else {
            Peek::Done
        }
    }

    fn accept(&mut self, _ctx: &Context<'_>, _planned: &Planned) {}
}

/// Writes a message to the log, once, when it is reached and a thread is free. Emits nothing.
pub fn log(message: impl Into<String>) -> impl Generator + 'static {
    Log(Some(message.into()))
}

struct Log(Option<String>);

impl Generator for Log {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        if self.0.is_some() && ctx.free.is_empty() {
            return Peek::Pending;
        }
        if let Some(message) = self.0.take() {
            tracing::info!("{message}");
        }
        Peek::Done
    }

    fn accept(&mut self, _ctx: &Context<'_>, _planned: &Planned) {}
}

/// A generator that is made when it is first asked and a thread is free. Jepsen's `delay` of Clojure.
pub fn lazy<F>(make: F) -> impl Generator + 'static
where
    F: FnOnce(&Context<'_>) -> BoxGenerator + Send + 'static,
{
    Lazy::Unmade(Some(make))
}

enum Lazy<F> {
    Unmade(Option<F>),
    Made(BoxGenerator),
}

impl<F> Generator for Lazy<F>
where
    F: FnOnce(&Context<'_>) -> BoxGenerator + Send,
{
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        if let Lazy::Unmade(make) = self {
            if ctx.free.is_empty() {
                return Peek::Pending;
            }
            if let Some(make) = make.take() {
                *self = Lazy::Made(make(ctx));
            }
        }
        match self {
            Lazy::Made(generator) => generator.peek(ctx),
            // The maker panicked, and somebody went on.
            Lazy::Unmade(_) => Peek::Done,
        }
    }

    fn accept(&mut self, ctx: &Context<'_>, planned: &Planned) {
        if let Lazy::Made(generator) = self {
            generator.accept(ctx, planned);
        }
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        if let Lazy::Made(generator) = self {
            generator.update(ctx, update);
        }
    }
}

/// A generator that is given later, through the [`Promise`], usually when something completed
/// ([`on_update`](super::GeneratorExt::on_update)). Until then it waits; if the promise is dropped,
/// it is done.
///
/// It is looked at once a millisecond, and counts as begun: a time limit around it runs.
pub fn promise() -> (Promise, impl Generator + 'static) {
    let slot = Arc::new(Mutex::new(None));
    let promised = Promised {
        slot: slot.clone(),
        generator: None,
    };
    (Promise(slot), promised)
}

type Slot = Arc<Mutex<Option<BoxGenerator>>>;

/// The other end of a [`promise`].
pub struct Promise(Slot);

impl Promise {
    /// Keeps the promise.
    pub fn keep(self, generator: impl Generator + 'static) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(generator));
    }
}

struct Promised {
    slot: Slot,
    generator: Option<BoxGenerator>,
}

impl Generator for Promised {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        if self.generator.is_none() {
            // In this order: whoever keeps the promise stores first and lets go then.
            let broken = Arc::strong_count(&self.slot) == 1;
            let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
            self.generator = slot.take();
            if self.generator.is_none() && broken {
                return Peek::Done;
            }
        }
        match &mut self.generator {
            Some(generator) => generator.peek(ctx),
            None => Peek::Wait(ctx.time.saturating_add(PROMISE_POLL)),
        }
    }

    fn accept(&mut self, ctx: &Context<'_>, planned: &Planned) {
        if let Some(generator) = &mut self.generator {
            generator.accept(ctx, planned);
        }
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        if let Some(generator) = &mut self.generator {
            generator.update(ctx, update);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::generator::simulate::{Ending, Stuck, perfect, quick, roster, simulate};
    use crate::generator::testing::{
        call, count, fs, integers, many, ns, rows, secs, threads, times, values,
    };
    use crate::generator::{GeneratorExt, any, concat, phases};
    use crate::generators;
    use rand::RngExt;
    use store::{EventType, json};

    #[test]
    fn nothing_is_nothing() {
        assert_eq!(perfect(2, nothing()), []);
    }

    #[test]
    fn an_operation_comes_once_and_at_once() {
        let steps = perfect(2, op(Op::new("write", json!(3))));
        assert_eq!(rows(&steps), [("write", 0, 0)]);
        assert_eq!(values(&steps), [3]);
    }

    #[test]
    fn a_sequence_goes_to_whoever_is_free_in_turn() {
        let steps = perfect(2, integers("write").limit(6));
        let at = |time| [("write", 0, time), ("write", 1, time), ("write", 2, time)];
        assert_eq!(rows(&steps), [at(0), at(10)].concat());
        assert_eq!(values(&steps), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_function_is_asked_until_it_has_nothing() {
        assert_eq!(quick(2, from_fn(Seed::new(1), |_, _| None)), []);
        let three = from_fn(Seed::new(1), |_, call| {
            (call.n < 3).then(|| Op::new("read", json!(null)))
        });
        // The first thread that has had three ends it for all.
        assert_eq!(perfect(2, three.clients()).len(), 6);
    }

    #[test]
    fn a_function_has_random_numbers_and_all_threads() {
        let random = from_fn(Seed::new(1), |rng, _| {
            Some(Op::new("write", json!(rng.random_range(0..10))))
        });
        let steps = perfect(2, random.limit(30));
        let mut distinct = values(&steps);
        distinct.sort_unstable();
        distinct.dedup();
        assert!(distinct.len() > 3 && distinct.iter().all(|value| *value < 10));
        assert_eq!(threads(&steps), [0, 1, 2]);
        let of = |thread| {
            let of_thread: Vec<_> = steps
                .iter()
                .filter(|s| s.thread == thread)
                .cloned()
                .collect();
            values(&of_thread)
        };
        assert_ne!(of(0), of(1));
    }

    #[test]
    fn unique_numbers_are_unique() {
        let unique = from_fn(Seed::new(1), |_, call| {
            Some(Op::new("add", json!(call.unique())))
        });
        let mut all = values(&perfect(7, unique.stagger(Seed::new(2), ns(4)).limit(1000)));
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 1000);
    }

    #[test]
    fn a_sleep_holds_up_what_follows_it() {
        let nap = || concat(generators![op(call("a")), sleep(ns(100)), op(call("b"))]);
        // For one thread it begins when the last operation is complete.
        assert_eq!(times(&perfect(2, nap().nemeses())), [(0, "a"), (110, "b")]);
        // For several it begins as soon as one is free.
        assert_eq!(times(&perfect(2, nap())), [(0, "a"), (100, "b")]);
        // Others go on meanwhile.
        let both = any(
            Seed::new(1),
            generators![nap().nemeses(), many("c").clients().limit(24)],
        );
        let steps = perfect(2, both);
        assert_eq!(count(&steps, "c"), 24);
        assert_eq!(rows(&steps).last(), Some(&("c", 1, 110)));
        assert!(rows(&steps).contains(&("b", 2, 110)));
    }

    #[test]
    fn a_log_is_no_operation() {
        let steps = perfect(
            2,
            phases(generators![
                log("one"),
                op(call("a")),
                log("two"),
                op(call("b"))
            ]),
        );
        assert_eq!(fs(&steps), ["a", "b"]);
    }

    #[test]
    fn a_lazy_generator_is_made_when_it_is_reached() {
        let made = Arc::new(Mutex::new(Vec::new()));
        let noted = made.clone();
        let late = lazy(move |ctx| {
            noted.lock().unwrap().push((ctx.time, ctx.free.len()));
            many("late").limit(3).boxed()
        });
        let steps = perfect(
            2,
            phases(generators![op(call("a")), op(call("b")), late]).clients(),
        );
        let expected = [
            (0, "a"),
            (10, "b"),
            (20, "late"),
            (20, "late"),
            (30, "late"),
        ];
        assert_eq!(times(&steps), expected);
        assert_eq!(*made.lock().unwrap(), [(20, 2)]);
    }

    #[test]
    fn a_promise_waits_until_it_is_kept() {
        let (promise, promised) = promise();
        let mut promise = Some(promise);
        let main = ops([
            call("read"),
            call("write"),
            call("hold"),
            call("hold"),
            call("hold"),
        ]);
        let both = any(Seed::new(1), generators![promised, main]);
        let watched = both.on_update(move |generator, ctx, update| {
            if &*update.op.f == "write"
                && let Some(promise) = promise.take()
            {
                promise.keep(op(call("confirm")));
            }
            generator.update(ctx, update);
        });
        let steps = perfect(2, watched.clients());
        let calls = fs(&steps);
        assert_eq!(calls.len(), 6);
        let confirm = calls.iter().position(|f| *f == "confirm").unwrap();
        assert!(confirm >= 2, "{calls:?}");
    }

    #[test]
    fn a_promise_alone_waits_in_milliseconds_and_a_broken_one_ends() {
        let (promise, promised) = promise();
        let later = any(Seed::new(1), generators![promised, sleep(secs(1))]);
        let mut promise = Some(promise);
        let keeper = concat(generators![sleep(ns(500)), op(call("a"))]).nemeses();
        let both = any(Seed::new(2), generators![later, keeper]).on_update(
            move |generator, ctx, update| {
                if let Some(promise) = promise.take() {
                    promise.keep(op(call("b")));
                }
                generator.update(ctx, update);
            },
        );
        assert_eq!(times(&perfect(1, both)), [(500, "a"), (510, "b")]);

        let (promise, promised) = super::promise();
        drop(promise);
        let end = |_: &_| Ending {
            latency: 1,
            kind: EventType::Ok,
        };
        assert_eq!(simulate(roster(1), promised, end), Ok(vec![]));
        let (_held, promised) = super::promise();
        assert_eq!(simulate(roster(1), promised, end), Err(Stuck::Endless));
    }
}
