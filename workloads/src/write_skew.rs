//! Write skew: two transactions each read what the other one changes.
//!
//! An operation is `txn` with `[["r", a, null], ["r", b, null], ["w", a or b, 1]]`: it reads both rows of a pair, which are not
//! there at first, and makes one of them. Each pair is given two such transactions, one for each row, at about the same time. In
//! whichever order these are executed, the second one sees the row that the first one made. If both commit and neither saw a row,
//! each came before the other: Adya's G2 of items, which serializability rules out (repeatable read, too, as Adya has it), and
//! snapshot isolation allows.
//!
//! It needs no predicates, so that it runs on whatever can read and write two keys in a transaction. Each key is written once, so
//! it is known what reads missed, and the level is decided from the history.

use harness::client::Op;
use harness::generator::BoxGenerator;
use harness::seed::Rng;
use rand::RngExt;
use store::json;

use crate::load::{self, Filled, Limits, Streams, Turns};
use crate::options::{self, OptionSpec};
use crate::{BuildError, BuildRequest, NamedChecker, WorkloadInfo, rw_register};

/// The workload's name.
pub const NAME: &str = "write-skew";

/// The workload, for listings.
pub fn info() -> WorkloadInfo {
    WorkloadInfo {
        name: NAME.into(),
        summary: "Pairs of transactions that read the same two rows and each make another of them; finds both committed though neither \
                  saw the other (G2)"
            .into(),
    }
}

/// The workload's options.
pub fn options() -> Vec<OptionSpec> {
    options::of(NAME, [load::rate()])
}

/// What judges a history by a level that rules write skew out, such as `serializable`; or by the one that is claimed.
///
/// # Errors
///
/// There is no such level.
pub fn checkers(consistency: &str) -> Result<Vec<NamedChecker>, BuildError> {
    rw_register::checkers_named(NAME, consistency)
}

/// The operations of the main phase.
///
/// # Errors
///
/// None today.
pub fn generator(request: &BuildRequest<'_>) -> Result<BoxGenerator, BuildError> {
    let seed = request.seed.named(NAME);
    // Which row is read first.
    let draw = |_thread, rng: &mut Rng| Op::new("txn", rng.random_range(0..2).into());
    let streams = Streams::new(seed.named("operations"), Turns::new(Limits::NONE), draw);
    let filled = Filled::new(streams, 0_i64, |begun: &mut i64, op: &mut Op| {
        let (pair, mine) = (*begun / 2, *begun % 2);
        let first = op.value.as_i64().unwrap_or_default();
        let row = |side: i64| 2 * pair + side;
        op.value = json!([
            ["r", row(first), null],
            ["r", row(1 - first), null],
            ["w", row(mine), 1]
        ]);
        *begun += 1;
    });
    Ok(load::paced(request.options, seed, filled))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::load::testing::Asked;

    #[test]
    fn both_rows_of_each_pair_are_read_twice_and_made_once() {
        let steps = Asked::of(&options(), &[]).invocations(10, generator);
        let mut firsts = [0, 0];
        for (at, step) in steps.iter().enumerate() {
            let part = |micro: usize, part: usize| step.op.value[micro][part].clone();
            assert_eq!([part(0, 0), part(1, 0), part(2, 0)], ["r", "r", "w"]);
            let pair = (at / 2) as i64;
            let mut read = [part(0, 1), part(1, 1)].map(|key| key.as_i64().unwrap());
            firsts[(read[0] % 2) as usize] += 1;
            read.sort_unstable();
            assert_eq!(read, [2 * pair, 2 * pair + 1]);
            assert_eq!(part(2, 1), json!(at));
        }
        assert!(firsts.iter().all(|count| *count * 3 > steps.len()));
    }
}
