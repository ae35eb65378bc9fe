//! The keys in use: which one is in which place, until it had its share of writes.

use harness::generator::{Context, Generator, Peek, Planned, Update};
use store::Value;

/// A key in use.
#[derive(Clone, Copy, Debug)]
struct Slot {
    key: i64,
    writes: i64,
}

/// All keys in use, by place.
#[derive(Clone, Debug)]
struct Keys {
    slots: Vec<Slot>,
    /// The next key that was never used.
    fresh: i64,
    most: i64,
}

impl Keys {
    fn new(places: i64, most: i64) -> Keys {
        let slot = |key| Slot { key, writes: 0 };
        Keys {
            slots: (0..places).map(slot).collect(),
            fresh: places,
            most,
        }
    }

    /// Puts keys where there are places, and values to write.
    fn fill(&mut self, transaction: &mut Value) {
        let operations = transaction.as_array_mut().into_iter().flatten();
        for operation in operations.filter_map(Value::as_array_mut) {
            let [f, place, value] = operation.as_mut_slice() else {
                continue;
            };
            let slot = place
                .as_u64()
                .and_then(|at| self.slots.get_mut(at as usize));
            let Some(slot) = slot else {
                continue;
            };
            if f != "r" {
                if slot.writes >= self.most {
                    *slot = Slot {
                        key: self.fresh,
                        writes: 0,
                    };
                    self.fresh += 1;
                }
                slot.writes += 1;
                *value = slot.writes.into();
            }
            *place = slot.key.into();
        }
    }
}

/// Transactions of a generator that draws places, on the keys that are there.
pub(super) struct Pool<G> {
    generator: G,
    keys: Keys,
    /// The keys as they are when what was peeked is accepted.
    then: Option<Keys>,
}

impl<G> Pool<G> {
    /// So many places, and so many writes on each key at most.
    pub(super) fn new(generator: G, places: i64, most: i64) -> Pool<G> {
        Pool {
            generator,
            keys: Keys::new(places, most),
            then: None,
        }
    }
}

impl<G: Generator> Generator for Pool<G> {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        let mut peek = self.generator.peek(ctx);
        if let Peek::Op(planned) = &mut peek {
            let mut keys = self.keys.clone();
            keys.fill(&mut planned.op.value);
            self.then = Some(keys);
        }
        peek
    }

    fn accept(&mut self, ctx: &Context<'_>, planned: &Planned) {
        if let Some(keys) = self.then.take() {
            self.keys = keys;
        }
        self.generator.accept(ctx, planned);
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        self.generator.update(ctx, update);
    }
}
