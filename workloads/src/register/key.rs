//! Whose turn it is on one key, until it has had enough operations.
//!
//! What a thread does at its turn is not said here: it has a [stream](super::stream) for that, which goes on
//! from key to key.

use std::collections::BTreeMap;

use harness::client::Op;
use harness::generator::{Context, Generator, Peek, Planned, Thread, Update};
use harness::time::Nanos;
use store::{EventType, OpError, Value};

/// How long a thread rests after an operation that was refused.
const REST: Nanos = 50_000_000;

/// When a key has had enough.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyLimits {
    /// Operations that succeeded.
    pub(super) oks: u64,
    /// Operations with an unknown outcome.
    pub(super) infos: u64,
}

/// Operations that say nothing yet, until the key has had enough.
pub(super) struct KeyTurns {
    limits: KeyLimits,
    oks: u64,
    infos: u64,
    /// Until when threads rest, of those that did.
    rests_until: BTreeMap<Thread, Nanos>,
}

impl KeyTurns {
    pub(super) fn new(limits: KeyLimits) -> KeyTurns {
        KeyTurns {
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

impl Generator for KeyTurns {
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
