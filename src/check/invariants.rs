//! The models of `gainsay check` that ask whether something is always so, whichever order operations had.

use anyhow::{Context, Result};
use checkers::Checker;
use checkers::bank::{self, Bank};
use checkers::counter_bounds;
use checkers::dirty_read::DirtyRead;
use checkers::divergence::Divergence;
use checkers::linearizability::models::ModelInfo;
use checkers::set_full::{self, SetFull};
use checkers::{lost_update, monotonic_reads};

use super::worker::FileRequest;

/// Sets that only grow, element by element.
const SET_FULL: ModelInfo = ModelInfo {
    name: "set-full",
    summary: "a set that only grows, whose elements are lost, late, doubled or made up; asks less than the model set",
    functions: "add, of an element; read, of all elements",
    initial: "the set is empty",
};

/// Accounts.
const BANK: ModelInfo = ModelInfo {
    name: "bank",
    summary: "accounts between which money is moved, so that there is always the same in all of them together",
    functions: "transfer, of {\"from\": account, \"to\": account, \"amount\": n}; read, of {account: balance}",
    initial: "what the first read found, or {account: balance} as --initial says",
};

/// Counters, by bounds.
const COUNTER_BOUNDS: ModelInfo = ModelInfo {
    name: "counter-bounds",
    summary: "counters whose reads lie between what was certainly added and what may have been; asks less than the model counter",
    functions: "add, of a whole number; read and final-read, of the counter; a key where there are several",
    initial: "0, or what --initial says",
};

/// Sets whose elements are read one by one.
const DIRTY_READ: ModelInfo = ModelInfo {
    name: "dirty-read",
    summary: "elements that are read while they are written, and are nowhere in the end; lost ones, and nodes that differ",
    functions: "write, of an element; read, of an element, which returns it or null; strong-read, of all elements, in the end",
    initial: "there are no elements",
};

/// Documents that are read and written back.
const LOST_UPDATE: ModelInfo = ModelInfo {
    name: "lost-update",
    summary: "documents to which elements are added by reading them and writing them back: each a set-full",
    functions: "add, of an element to a key; read, of a key's elements; final-read, the same in the end",
    initial: "each document is empty",
};

/// Records on several nodes.
const DIVERGENCE: ModelInfo = ModelInfo {
    name: "divergence",
    summary: "records that must be the same on all nodes in the end, and whose versions have one value each",
    functions: "write, of a value to a key; read and final-read, of a key's value or {\"value\": value, \"version\": version}",
    initial: "there are no records",
};

/// Sessions that read sets.
const MONOTONIC_READS: ModelInfo = ModelInfo {
    name: "monotonic-reads",
    summary: "sets that only grow, whose reads by one process must not go back",
    functions: "add, of an element; read and final-read, of all elements; a key where there are several sets",
    initial: "each set is empty",
};

/// All of them.
pub(crate) const INVARIANTS: [&ModelInfo; 7] = [
    &SET_FULL,
    &BANK,
    &COUNTER_BOUNDS,
    &DIRTY_READ,
    &LOST_UPDATE,
    &DIVERGENCE,
    &MONOTONIC_READS,
];

/// What may be behind until the end.
const EVENTUAL: &str = "eventual";
/// What may not.
const LINEARIZABLE: &str = "linearizable";

/// The levels that a model can be asked at, the default first; none if it is no model of these.
pub(super) fn levels_of(model: &str) -> Option<&'static [&'static str]> {
    let each: [(&ModelInfo, &[&str]); 7] = [
        (&SET_FULL, &[EVENTUAL, LINEARIZABLE]),
        (&BANK, &["snapshot-isolation"]),
        (&COUNTER_BOUNDS, &[LINEARIZABLE, EVENTUAL]),
        (&DIRTY_READ, &[EVENTUAL, LINEARIZABLE]),
        (&LOST_UPDATE, &[EVENTUAL, LINEARIZABLE]),
        (&DIVERGENCE, &[EVENTUAL]),
        (&MONOTONIC_READS, &["monotonic-reads"]),
    ];
    let found = each.into_iter().find(|(one, _)| one.name == model);
    found.map(|(_, levels)| levels)
}

/// A checker of one of these models, if it is one.
pub(super) fn checker(request: &FileRequest) -> Result<Option<Box<dyn Checker>>> {
    let linearizable = request.consistency == LINEARIZABLE;
    let set = set_full::Options { linearizable };
    Ok(Some(match request.model.as_str() {
        model if model == SET_FULL.name => Box::new(SetFull::of_any(set)),
        model if model == BANK.name => Box::new(Bank::new(bank_options(request)?)),
        model if model == COUNTER_BOUNDS.name => {
            let options = counter_bounds::Options {
                initial: counter_initial(request)?,
                linearizable,
            };
            Box::new(counter_bounds::new(options))
        }
        model if model == DIRTY_READ.name => Box::new(DirtyRead::new(set)),
        model if model == LOST_UPDATE.name => Box::new(lost_update::new(set)),
        model if model == DIVERGENCE.name => Box::new(Divergence::new()),
        model if model == MONOTONIC_READS.name => Box::new(monotonic_reads::new()),
        _ => return Ok(None),
    }))
}

/// What a bank is judged by.
fn bank_options(request: &FileRequest) -> Result<bank::Options> {
    let accounts = match &request.initial {
        serde_json::Value::Null => None,
        given => Some(serde_json::from_value(given.clone()).with_context(|| {
            format!("--initial: a bank begins with {{account: balance}}, not {given}")
        })?),
    };
    Ok(bank::Options {
        accounts,
        negative_balances: request.negative_balances,
    })
}

/// What counters hold at first.
fn counter_initial(request: &FileRequest) -> Result<i64> {
    match &request.initial {
        serde_json::Value::Null => Ok(0),
        given => given.as_i64().with_context(|| {
            format!("--initial: a counter begins with a whole number, not {given}")
        }),
    }
}
