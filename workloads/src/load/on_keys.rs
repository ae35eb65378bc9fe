//! Writes and reads of keys that come and go, and in the end reads of all of them on every node.

use checkers::FINAL_READ;
use harness::client::Op;
use harness::generator::BoxGenerator;
use harness::seed::Rng;
use rand::RngExt;
use store::Value;

use super::{Filled, Limits, Slots, Streams, Turns, Used, paced, read_keys_until_ok};
use crate::BuildRequest;

/// The operations of a workload that reads everything in the end.
pub struct Generators {
    /// The main phase.
    pub main: BoxGenerator,
    /// When all is healed.
    pub last: BoxGenerator,
}

/// So many keys at a time, each with so many writes at most. Writes are called `f`, and are of whole numbers, each written once; one of
/// so many operations reads.
pub(crate) fn on_keys(
    request: &BuildRequest<'_>,
    name: &str,
    (places, most): (i64, i64),
    (f, reads): (&'static str, u32),
) -> Generators {
    let seed = request.seed.named(name);
    let draw = move |_thread, rng: &mut Rng| {
        let f = match rng.random_range(0..reads) {
            0 => "read",
            _ => f,
        };
        let place = rng.random_range(0..places);
        Op::new(f, Value::Null).on_key(place.into())
    };
    let streams = Streams::new(seed.named("operations"), Turns::new(Limits::NONE), draw);
    let used = Used::default();
    let noted = used.clone();
    let filled = Filled::new(streams, (Slots::new(places, most), 0_i64), fill)
        .noting(move |(slots, _)| noted.note(slots));
    Generators {
        main: paced(request.options, seed, filled),
        last: read_keys_until_ok(request, FINAL_READ, used),
    }
}

/// Puts keys where there are places, and numbers where something is written.
fn fill((slots, next): &mut (Slots, i64), op: &mut Op) {
    let place = op.key.as_ref().and_then(Value::as_u64);
    let place = place.unwrap_or_default() as usize;
    if &*op.f == "read" {
        op.key = slots.key(place).map(Value::from);
    } else if let Some(slot) = slots.write(place) {
        op.key = Some(slot.key.into());
        op.value = (*next).into();
        *next += 1;
    }
}
