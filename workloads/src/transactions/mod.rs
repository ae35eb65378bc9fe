//! Transactions of reads and writes on a few keys at a time: the load of `append` and `rw-register`.
//!
//! Options, defaults and the shape of transactions are those of Elle's generator (`key-count`, `key-dist`, `min-txn-length`,
//! `max-txn-length`, `max-writes-per-key`): half of the micro-operations read, half write, each on a key drawn for itself.
//!
//! # Which keys
//!
//! At each moment a few keys are in use, each in a *place*. A place is drawn, half as often as the one before it (`exponential`) or
//! as often as any (`uniform`), and the key is the one that is there. A key that had its share of writes is
//! left, and a fresh one comes in its place. So there are at once keys that live for a fraction of a second, with much
//! contention, and keys that
//! live through the beginning and the end of a fault; and no list grows without limit.
//!
//! # What is the same under the same seed
//!
//! Each thread has a random stream of its own: how many micro-operations, which functions, which places. Which key is in a place,
//! and which value it is given, follows from how many writes there were in the order in which operations began. Values of a key are 1, 2,
//! 3 …, so each is written once.

use harness::client::Op;
use harness::generator::BoxGenerator;
use harness::seed::Rng;
use rand::RngExt;
use store::{Value, json};

use crate::load::{self, Filled, Limits, Slots, Streams, Turns, whole};
use crate::options::{OptionKind, OptionSpec, Options};
use crate::{BuildError, BuildRequest};

/// Places beyond this are never drawn exponentially.
const EXPONENTIAL_MAX: u32 = 62;

/// The options of transactional workloads.
pub(crate) fn options() -> Vec<OptionSpec> {
    let mut options = key_options();
    options.extend([
        whole(
            "min-txn-length",
            1,
            1_000,
            Some("1"),
            "Reads and writes in a transaction, at least",
        ),
        whole(
            "max-txn-length",
            1,
            1_000,
            Some("4"),
            "Reads and writes in a transaction, at most",
        ),
    ]);
    options
}

/// Those of them that say how fast operations come, and on which keys.
pub(crate) fn key_options() -> Vec<OptionSpec> {
    vec![
        load::rate(),
        whole(
            "key-count",
            1,
            10_000,
            Some("10"),
            "How many keys are in use at a time",
        ),
        OptionSpec::new(
            "key-dist",
            OptionKind::OneOf(vec!["exponential".into(), "uniform".into()]),
            Some("exponential"),
            "How keys are drawn: each half as often as the one before it, or all alike",
        ),
        whole(
            "max-writes-per-key",
            1,
            1_000_000,
            Some("256"),
            "Writes on a key before it is left for a fresh one",
        ),
    ]
}

/// The transactions of a run, whose writes are called `write`.
pub(crate) fn generator(
    request: &BuildRequest<'_>,
    name: &str,
    write: &'static str,
) -> Result<BoxGenerator, BuildError> {
    let lengths = lengths(request.options)?;
    generator_of(request, name, write, lengths)
}

/// The same, whose transactions are of so many reads and writes: at least, at most.
pub(crate) fn generator_of(
    request: &BuildRequest<'_>,
    name: &str,
    write: &'static str,
    lengths: (i64, i64),
) -> Result<BoxGenerator, BuildError> {
    let options = request.options;
    let seed = request.seed.named(name);
    let shape = Shape {
        places: options.integer("key-count"),
        exponential: options.text("key-dist") == "exponential",
        lengths,
        write,
    };
    let turns = Turns::new(Limits::NONE);
    let places = shape.places;
    let streams = Streams::new(
        seed.named("operations"),
        turns,
        move |_thread, rng: &mut Rng| Op::new("txn", shape.draw(rng)),
    );
    let most = options.integer("max-writes-per-key");
    let filled = Filled::new(streams, Slots::new(places, most), fill);
    Ok(load::paced(options, seed, filled))
}

/// Puts keys where there are places, and values to write.
fn fill(slots: &mut Slots, op: &mut Op) {
    let micros = op.value.as_array_mut().into_iter().flatten();
    for micro in micros.filter_map(Value::as_array_mut) {
        let [f, place, value] = micro.as_mut_slice() else {
            continue;
        };
        let at = place.as_u64().unwrap_or(u64::MAX) as usize;
        if f == "r" {
            *place = slots.key(at).into();
        } else if let Some(slot) = slots.write(at) {
            (*place, *value) = (slot.key.into(), slot.writes.into());
        }
    }
}

/// How many reads and writes a transaction has, as it was asked for.
fn lengths(options: &Options) -> Result<(i64, i64), BuildError> {
    let (least, most) = (
        options.integer("min-txn-length"),
        options.integer("max-txn-length"),
    );
    match least <= most {
        true => Ok((least, most)),
        false => Err(BuildError(format!(
            "--min-txn-length {least} is more than --max-txn-length {most}"
        ))),
    }
}

/// What transactions look like.
struct Shape {
    places: i64,
    exponential: bool,
    lengths: (i64, i64),
    write: &'static str,
}

impl Shape {
    /// A transaction on places.
    fn draw(&self, rng: &mut Rng) -> Value {
        let length = rng.random_range(self.lengths.0..=self.lengths.1);
        let operation = |_| {
            let f = match rng.random() {
                true => "r",
                false => self.write,
            };
            json!([f, self.place(rng), null])
        };
        (0..length).map(operation).collect()
    }

    fn place(&self, rng: &mut Rng) -> i64 {
        if !self.exponential {
            return rng.random_range(0..self.places);
        }
        // Of the numbers below a power of two, half have all of its bits, a quarter all but one …
        let places = (self.places as u32).min(EXPONENTIAL_MAX);
        let drawn: u64 = rng.random_range(1..1 << places);
        i64::from(drawn.leading_zeros() - (u64::BITS - places))
    }
}

#[cfg(test)]
mod tests;
