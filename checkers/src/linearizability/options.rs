//! How a history of a register is to be read.

use serde_json::Value;

/// What a compare-and-set that failed says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailedCas {
    /// With the error class [`precondition`](store::OpError::PRECONDITION): the value was
    /// different. With any other: nothing, as it did not happen.
    #[default]
    Precondition,
    /// Always that the value was different, as Porcupine reads etcd's logs.
    Observes,
    /// Nothing, as Knossos reads it.
    Dropped,
}

/// What a read that returned `null` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NullRead {
    /// That the register held `null`, that is, nothing.
    #[default]
    Absent,
    /// Nothing at all, as Knossos reads it.
    MatchesAnything,
}

/// How a history of a register is to be read, and how much of it may be remembered.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// What each register holds first. `null`, which is the default, is absent.
    pub initial: Value,
    /// What a compare-and-set that failed says.
    pub failed_cas: FailedCas,
    /// What a read that returned `null` says.
    pub null_read: NullRead,
    /// How many operations of all keys together are remembered for explaining a violation, and for
    /// searching again where bounds were not enough. The search itself needs none. An operation
    /// takes about 150 bytes. A [monitor](super::monitors) that has taken over needs all, and has them as long as
    /// the budget lasts.
    pub remembered: usize,
    /// How much an object's search may do before a [monitor](super::monitors) is asked, in questions to the
    /// budget, each after some hundred steps; a little more comes with each operation. `None`: no monitor is asked.
    pub ration: Option<u64>,
    /// Whether a valid verdict is to come with an order that shows it: in its details as `orders`, for
    /// each object the events that began its operations, in the order in which they took effect. What
    /// need not have happened is not in it. Where the search decided, it runs once more for that, which takes about as long
    /// again. Of a queue or stack a [monitor](super::monitors::placing) makes it; of what else a monitor decided it is
    /// searched for depth first, and may take longer than the verdict: if none is found in time, `no-orders` says why.
    pub witness: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            initial: Value::Null,
            failed_cas: FailedCas::default(),
            null_read: NullRead::default(),
            remembered: 4_000_000,
            ration: Some(4),
            witness: false,
        }
    }
}
