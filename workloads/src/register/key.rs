//! The operations on one key, until it has had enough of them.
//!
//! Each thread has a random stream of its own, of which it takes the next number for each operation, so
//! that what a thread is to do on a key does not depend on what the others do.

use std::collections::BTreeMap;
use std::sync::Arc;

use harness::client::Op;
use harness::generator::{Context, Generator, Peek, Planned, Thread, Update};
use harness::seed::{Rng, Seed};
use harness::time::Nanos;
use store::{EventType, OpError};

/// How long a thread rests after an operation that was refused.
const REST: Nanos = 50_000_000;

/// Draws an operation for a thread from a random stream.
pub(super) type Draw = Arc<dyn Fn(Thread, &mut Rng) -> Op + Send + Sync>;

/// When a key has had enough.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyLimits {
    /// Operations that succeeded.
    pub(super) oks: u64,
    /// Operations with an unknown outcome.
    pub(super) infos: u64,
}

/// Operations drawn for each thread from a random stream of its own, until the key has had enough.
pub(super) struct KeyOperations {
    seed: Seed,
    limits: KeyLimits,
    draw: Draw,
    oks: u64,
    infos: u64,
    threads: BTreeMap<Thread, Turn>,
}

/// What is known of a thread.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    /// How many operations it was given.
    drawn: u64,
    /// Until when it rests.
    rests_until: Nanos,
}

impl KeyOperations {
    pub(super) fn new(seed: Seed, limits: KeyLimits, draw: Draw) -> KeyOperations {
        KeyOperations {
            seed,
            limits,
            draw,
            oks: 0,
            infos: 0,
            threads: BTreeMap::new(),
        }
    }

    fn turn(&self, thread: Thread) -> Turn {
        self.threads.get(&thread).copied().unwrap_or_default()
    }

    fn has_enough(&self) -> bool {
        self.oks >= self.limits.oks || self.infos >= self.limits.infos
    }
}

impl Generator for KeyOperations {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        if self.has_enough() {
            return Peek::Done;
        }
        let rested = |thread: &Thread| self.turn(*thread).rests_until <= ctx.time;
        let awake = ctx
            .turn()
            .filter(rested)
            .or_else(|| ctx.free.iter().find(rested));
        let Some(thread) = awake else {
            let next = ctx
                .free
                .iter()
                .map(|thread| self.turn(thread).rests_until)
                .min();
            return next.map_or(Peek::Pending, Peek::Wait);
        };
        let stream = self
            .seed
            .child(thread as u64)
            .child(self.turn(thread).drawn);
        Peek::Op(Planned {
            time: ctx.time,
            thread,
            op: (self.draw)(thread, &mut stream.rng()),
        })
    }

    fn accept(&mut self, _ctx: &Context<'_>, planned: &Planned) {
        self.threads.entry(planned.thread).or_default().drawn += 1;
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        match update.kind {
            EventType::Ok => self.oks += 1,
            EventType::Info => self.infos += 1,
            EventType::Fail if update.error != Some(OpError::PRECONDITION) => {
                let turn = self.threads.entry(update.thread).or_default();
                turn.rests_until = ctx.time + REST;
            }
            EventType::Fail | EventType::Invoke => {}
        }
    }
}
