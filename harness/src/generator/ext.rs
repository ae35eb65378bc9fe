//! The methods that wrap one generator.

use std::collections::BTreeMap;
use std::time::Duration;

use store::Name;

use super::checks::{Friendly, Trace, Validate};
use super::limits::{ConcurrencyLimit, Limit, ProcessLimit, Repeat, TimeLimit, UntilOk};
use super::pace::{Delay, Stagger};
use super::routing::OnThreads;
use super::sequences::{Synchronize, concat};
use super::transforms::{Cache, Filter, Map, OnUpdate};
use super::{BoxGenerator, Context, Generator, Roster, Thread, Update};
use crate::client::Op;
use crate::seed::Seed;
use crate::time::nanos;

/// What can be done with any generator. Names and meanings are those of `jepsen.generator`.
pub trait GeneratorExt: Generator + Sized + 'static {
    /// Boxes it, to put it beside others of other types.
    fn boxed(self) -> BoxGenerator {
        Box::new(self)
    }

    // Which threads

    /// Only threads that satisfy a predicate may use it, and it hears of their completions only. If
    /// there is no such thread, it is done.
    fn on_threads<P>(self, predicate: P) -> impl Generator + 'static
    where
        P: Fn(Thread, &Roster) -> bool + Send + 'static,
    {
        OnThreads::new(self, predicate)
    }

    /// Only client workers may use it.
    fn clients(self) -> impl Generator + 'static {
        self.on_threads(|thread, roster| thread < roster.workers)
    }

    /// Only the thread of the fault with this name may use it.
    fn nemesis(self, name: impl Into<Name>) -> impl Generator + 'static {
        let name = name.into();
        self.on_threads(move |thread, roster| roster.nemesis(&name) == Some(thread))
    }

    /// Only the threads of faults may use it.
    fn nemeses(self) -> impl Generator + 'static {
        self.on_threads(|thread, roster| thread >= roster.workers)
    }

    // How much

    /// At most `n` operations.
    fn limit(self, n: u64) -> impl Generator + 'static {
        Limit {
            generator: self,
            remaining: n,
        }
    }

    /// One operation.
    fn once(self) -> impl Generator + 'static {
        self.limit(1)
    }

    /// What it has to offer, for ever: its state stays as it is when an operation is taken.
    ///
    /// A [function](super::from_fn) offers a thread the same operation for ever then; it needs no
    /// `repeat`.
    fn repeat(self) -> impl Generator + 'static {
        self.repeat_n(u64::MAX)
    }

    /// Like [`repeat`](Self::repeat), `n` times.
    fn repeat_n(self, n: u64) -> impl Generator + 'static {
        Repeat {
            generator: self,
            remaining: n,
        }
    }

    /// Ends when more than `n` distinct processes could have performed its operations.
    ///
    /// All processes are counted that its threads work under when it has an operation, whether or not
    /// they get one: so it ends at once, and does not trickle on with the few that did not crash.
    fn process_limit(self, n: usize) -> impl Generator + 'static {
        ProcessLimit::new(self, n)
    }

    /// Waits while `n` or more of its threads are busy, with whatever.
    fn concurrency_limit(self, n: usize) -> impl Generator + 'static {
        ConcurrencyLimit {
            generator: self,
            limit: n,
        }
    }

    /// Ends so long after its first operation; or after its first [`sleep`](super::sleep) began, if that
    /// was earlier.
    fn time_limit(self, limit: Duration) -> impl Generator + 'static {
        TimeLimit::new(self, nanos(limit))
    }

    /// Ends when one of its own operations has ended `ok`.
    fn until_ok(self) -> impl Generator + 'static {
        UntilOk::new(self)
    }

    // When

    /// An operation every so often on average, over all threads together: gaps are uniformly random
    /// from 0 to twice the mean.
    ///
    /// The n-th gap is that of (seed, n). A little lateness (100 ms) is caught up with; after more the
    /// schedule begins anew.
    fn stagger(self, seed: Seed, mean: Duration) -> impl Generator + 'static {
        Stagger::new(self, seed, nanos(mean))
    }

    /// An operation exactly every so often, over all threads together. Lateness as with
    /// [`stagger`](Self::stagger).
    fn delay(self, gap: Duration) -> impl Generator + 'static {
        Delay::new(self, nanos(gap))
    }

    /// Waits for all threads to be free before its first operation.
    fn synchronize(self) -> impl Generator + 'static {
        Synchronize::new(self)
    }

    /// This generator; then, when all threads are free, the next.
    fn then(self, next: impl Generator + 'static) -> impl Generator + 'static {
        concat([self.boxed(), next.synchronize().boxed()])
    }

    // What is said and heard

    /// Changes operations.
    fn map<F>(self, function: F) -> impl Generator + 'static
    where
        F: Fn(Op) -> Op + Send + 'static,
    {
        self.map_with(move |op, _, _| function(op))
    }

    /// Changes operations, knowing who performs them, and the context.
    fn map_with<F>(self, function: F) -> impl Generator + 'static
    where
        F: Fn(Op, Thread, &Context<'_>) -> Op + Send + 'static,
    {
        Map {
            generator: self,
            function,
        }
    }

    /// Renames functions: pairs of the old name and the new. Others stay.
    fn f_map<I, A, B>(self, names: I) -> impl Generator + 'static
    where
        I: IntoIterator<Item = (A, B)>,
        A: Into<Name>,
        B: Into<Name>,
    {
        let names = names.into_iter().map(|(from, to)| (from.into(), to.into()));
        let names: BTreeMap<Name, Name> = names.collect();
        self.map(move |op| Op {
            f: names.get(&op.f).unwrap_or(&op.f).clone(),
            ..op
        })
    }

    /// Drops operations that do not satisfy a predicate. Put pacing and limits of what remains outside.
    fn filter<P>(self, predicate: P) -> impl Generator + 'static
    where
        P: Fn(&Op) -> bool + Send + 'static,
    {
        Filter::new(self, predicate)
    }

    /// Hands every update to a function, with this generator, and does nothing else with it: the
    /// function passes it on, or not. Also for side effects, such as keeping a
    /// [promise](super::promise).
    fn on_update<F>(self, function: F) -> impl Generator + 'static
    where
        F: FnMut(&mut Self, &Context<'_>, &Update<'_>) + Send + 'static,
    {
        OnUpdate {
            generator: self,
            function,
        }
    }

    /// Hears of no completions.
    fn ignore_updates(self) -> impl Generator + 'static {
        self.on_update(|_, _, _| {})
    }

    /// Keeps an offer for up to so long instead of asking for it anew: for generators that are
    /// expensive to ask and whose offers are often passed over. Also keeps the answer that there is
    /// nothing now.
    fn cache(self, lifetime: Duration) -> impl Generator + 'static {
        Cache::new(self, nanos(lifetime))
    }

    // What is wrong

    /// Checks every answer against the contract of generators: operations only for free threads of the
    /// context, with a function; waits only for times to come.
    ///
    /// # Panics
    /// In `peek`, with the answer and the context, when one is wrong.
    fn validate(self) -> impl Generator + 'static {
        Validate { generator: self }
    }

    /// Logs the generator's name and the context if it panics. The panic goes on.
    fn friendly(self, name: impl Into<String>) -> impl Generator + 'static {
        Friendly {
            generator: self,
            name: name.into(),
        }
    }

    /// Logs, under a name, everything that it is asked, answers and is told.
    fn trace(self, name: impl Into<String>) -> impl Generator + 'static {
        Trace {
            generator: self,
            name: name.into(),
        }
    }
}

impl<G: Generator + 'static> GeneratorExt for G {}
