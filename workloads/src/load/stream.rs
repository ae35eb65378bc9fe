//! What each thread does, operation by operation, whatever key it is on.
//!
//! Each thread has a random stream of its own, of which it takes the next number for each operation. So under the
//! same seed its n-th operation is the same in every run, whatever the others do, and also where its group has
//! left a key sooner or later.

use std::collections::BTreeMap;

use harness::client::Op;
use harness::generator::{Context, Generator, Peek, Planned, Thread, Update};
use harness::seed::{Rng, Seed};

/// Operations at the times, by the threads and on the keys of another generator.
pub(crate) struct Streams<G, F> {
    seed: Seed,
    turns: G,
    draw: F,
    /// How many operations a thread was given.
    drawn: BTreeMap<Thread, u64>,
}

impl<G, F> Streams<G, F> {
    pub(crate) fn new(seed: Seed, turns: G, draw: F) -> Streams<G, F> {
        Streams {
            seed,
            turns,
            draw,
            drawn: BTreeMap::new(),
        }
    }
}

impl<G: Generator, F: Fn(Thread, &mut Rng) -> Op + Send> Generator for Streams<G, F> {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        let mut peek = self.turns.peek(ctx);
        if let Peek::Op(planned) = &mut peek {
            let drawn = self.drawn.get(&planned.thread).copied();
            let stream = self.seed.child(planned.thread as u64);
            let mut rng = stream.child(drawn.unwrap_or_default()).rng();
            let drawn = (self.draw)(planned.thread, &mut rng);
            planned.op = Op {
                key: planned.op.key.take().or(drawn.key),
                ..drawn
            };
        }
        peek
    }

    fn accept(&mut self, ctx: &Context<'_>, planned: &Planned) {
        *self.drawn.entry(planned.thread).or_default() += 1;
        self.turns.accept(ctx, planned);
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        self.turns.update(ctx, update);
    }
}
