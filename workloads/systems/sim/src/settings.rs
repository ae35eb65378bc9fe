//! What can be set on the store, and its fixed times.

use std::ops::Range;

use harness::time::Nanos;

use crate::bug::Bug;

const MILLISECOND: Nanos = 1_000_000;

/// How often a leader makes itself heard.
pub(crate) const HEARTBEAT: Nanos = 15 * MILLISECOND;

/// A node that heard of no leader for a time drawn from this range stands for election.
pub(crate) const ELECTION_TIMEOUT: Range<Nanos> = 50 * MILLISECOND..100 * MILLISECOND;

/// How long a node waits for a request to be executed before it tells the client that it does not
/// know what became of it.
pub(crate) const REQUEST_TIMEOUT: Nanos = 2 * ELECTION_TIMEOUT.end;

/// With [`Bug::DuplicateApply`]: one request in so many is sent again.
pub(crate) const RESENT_SHARE: u64 = 16;

/// With [`Bug::DuplicateApply`]: how long after the first copy the second one arrives.
pub(crate) const RESENT_AFTER: Nanos = 40 * MILLISECOND;

/// With [`Bug::UnsyncedLog`]: how often the log is written to disk.
pub(crate) const FLUSH_INTERVAL: Nanos = 10_000 * MILLISECOND;

/// Log entries in one message, at most.
pub(crate) const MAX_BATCH: usize = 256;

/// Log entries at most. The log is never compacted; beyond this the leader refuses writes.
pub(crate) const MAX_LOG: usize = 8_000_000;

/// Messages and requests that wait for a stopped process, at most: its sockets' buffers.
pub(crate) const MAX_INBOX: usize = 100_000;

/// How a store is made.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The bug that is switched on, if any.
    pub(crate) bug: Option<Bug>,
    /// The median time that a message takes from one node to another, or between a client and its
    /// node, in nanoseconds. Single links are up to half slower or faster, and the tail is long: 1
    /// in 100 takes three times the median, 1 in 100,000 eighteen times.
    pub(crate) latency: Nanos,
    /// The accounts, with what they hold at first.
    pub(crate) accounts: Vec<(i64, i64)>,
    /// Whether accounts may hold less than nothing.
    pub(crate) negative_balances: bool,
}

impl Settings {
    /// Whether a bug is switched on.
    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// Whether a leader answers reads without asking anyone, and goes on leading alone.
    pub(crate) fn trusts_itself(&self) -> bool {
        matches!(
            self.bug,
            Some(Bug::LostWrites | Bug::StaleLeader | Bug::DirtyReads)
        )
    }
}

impl Default for Settings {
    /// No bug, and messages that take about 1.5 ms.
    fn default() -> Settings {
        Settings {
            bug: None,
            latency: 3 * MILLISECOND / 2,
            accounts: Vec::new(),
            negative_balances: false,
        }
    }
}
