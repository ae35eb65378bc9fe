//! Whose turn it is, for ever or until there were enough operations.
//!
//! What a thread does at its turn is not said here: it has a [stream](super::stream) for that, which goes on
//! where it has several turns one after another, such as one for each key.

use std::collections::BTreeMap;

use harness::client::Op;
use harness::generator::{Context, Generator, Peek, Planned, Thread, Update};
use harness::time::Nanos;
use store::{EventType, OpError, Value};

/// How long a thread rests after an operation that was refused.
const REST: Nanos = 50_000_000;

/// When there were enough operations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Operations that succeeded.
    pub(crate) oks: u64,
    /// Operations with an unknown outcome.
    pub(crate) infos: u64,
}

impl Limits {
    /// Never.
    pub(crate) const NONE: Limits = Limits {
        oks: u64::MAX,
        infos: u64::MAX,
    };
}

/// Operations that say nothing yet, until there were enough. Who was refused rests for a moment, so that it does not use up the
/// rate of the whole run.
pub(crate) struct Turns {
    limits: Limits,
    oks: u64,
    infos: u64,
    /// Until when threads rest, of those that did.
    rests_until: BTreeMap<Thread, Nanos>,
}

impl Turns {
    pub(crate) fn new(limits: Limits) -> Turns {
        Turns {
            limits,
            oks: 0,
            infos: 0,
            rests_until: BTreeMap::new(),
        }
    }

    fn rests_until(&self, thread: Thread) -> Nanos {
        self.rests_until.get(&thread).copied().unwrap_or_default()
    }

    fn has_enough(&self) -> bool {
        self.oks >= self.limits.oks || self.infos >= self.limits.infos
    }
}

impl Generator for Turns {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        if self.has_enough() {
            return Peek::Done;
        }
        let rested = |thread: &Thread| self.rests_until(*thread) <= ctx.time;
        let awake = ctx
            .turn()
            .filter(rested)
            .or_else(|| ctx.free.iter().find(rested));
        let Some(thread) = awake else {
            let next = ctx.free.iter().map(|thread| self.rests_until(thread)).min();
            return next.map_or(Peek::Pending, Peek::Wait);
        };
        Peek::Op(Planned {
            time: ctx.time,
            thread,
            op: Op::new("", Value::Null),
        })
    }

    fn accept(&mut self, _ctx: &Context<'_>, _planned: &Planned) {}

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        match update.kind {
            EventType::Ok => self.oks += 1,
            EventType::Info => self.infos += 1,
            EventType::Fail if update.error != Some(OpError::PRECONDITION) => {
                self.rests_until.insert(update.thread, ctx.time + REST);
            }
            EventType::Fail | EventType::Invoke => {}
        }
    }
}
