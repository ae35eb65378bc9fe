//! Bugs to switch on: each is one that a real system had, in a line or three of the store's code.
//!
//! A new one is a variant here, a row of [`CATALOGUE`], and a check of
//! `Settings::has` where the code goes wrong.

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bug {
    /// A node answers reads from what it has applied itself, without asking anyone.
    StaleReads,
    /// The leader acknowledges a write when it is in its own log, and replicates it later.
    LostWrites,
    /// A leader that lost its majority does not notice, and goes on answering reads.
    StaleLeader,
    /// Reads at the leader see writes that no majority has yet.
    DirtyReads,
    /// Some requests reach the leader twice, and both copies are executed.
    DuplicateApply,
    /// A node acknowledges log entries that it has not written to disk yet.
    UnsyncedLog,
    /// Of what a transaction writes, others see half before the rest.
    FracturedReads,
    /// Transactions that write read what was there a moment before, unless what they write has changed since.
    WriteSkew,
    /// The condition of a write is looked at when its request arrives, and not when it is executed.
    EarlyCheck,
    /// A node that was killed never executes what it had executed last.
    SkippedEntry,
}

/// A bug as users see it.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// Which.
    pub bug: Bug,
    /// As `--bug` takes it.
    pub name: &'static str,
    /// What is wrong, and who got it wrong, in a sentence or two.
    pub summary: &'static str,
    /// The fault that brings it out soonest, as `--nemesis` takes it: `none` where a healthy cluster
    /// shows it.
    pub trigger: &'static str,
    /// The workloads that it shows in.
    pub workloads: &'static [&'static str],
}

/// All workloads but `bank`: to its totals, a whole transaction more or less makes no difference.
const ALL: &[&str] = &["register", "append", "rw-register", "set"];

/// All bugs.
pub const CATALOGUE: &[Description] = &[
    Description {
        bug: Bug::StaleReads,
        name: "stale-reads",
        summary: "Every node answers reads from its own copy, without a quorum, as etcd's \
                  serializable reads and Consul's stale mode do.",
        trigger: "none",
        workloads: ALL,
    },
    Description {
        bug: Bug::LostWrites,
        name: "lost-writes",
        summary: "The leader answers alone and replicates a little later, so that a new leader \
                  rolls acknowledged writes back, as MongoDB does with write concern 1 and Redis \
                  with asynchronous replication.",
        trigger: "partition",
        workloads: ALL,
    },
    Description {
        bug: Bug::StaleLeader,
        name: "stale-leader",
        summary: "A leader answers reads without asking a quorum whether it still leads, and does \
                  not notice that it is cut off, as in MongoDB 2.6.",
        trigger: "partition",
        workloads: ALL,
    },
    Description {
        bug: Bug::DirtyReads,
        name: "dirty-reads",
        summary: "The leader shows writes to readers before they are committed, and rolls them back \
                  when it is deposed, as MongoDB does with read concern local.",
        trigger: "partition",
        workloads: ALL,
    },
    Description {
        bug: Bug::DuplicateApply,
        name: "duplicate-apply",
        summary: "Connections between nodes break now and then and send again what was not \
                  acknowledged, and nothing recognises the copy, so that a write happens twice, as \
                  in Kafka before its producers were idempotent.",
        trigger: "none",
        workloads: ALL,
    },
    Description {
        bug: Bug::UnsyncedLog,
        name: "unsynced-log",
        summary: "Writes are acknowledged from buffers that reach the disk every ten seconds; when \
                  all nodes are killed at once these are gone, as in NATS JetStream, which flushes \
                  every two minutes.",
        trigger: "kill:target=all",
        workloads: ALL,
    },
    Description {
        bug: Bug::FracturedReads,
        name: "fractured-reads",
        summary: "A transaction becomes visible piece by piece, so that readers see half of it, as with \
                  Cassandra's batches, which are atomic but not isolated.",
        trigger: "none",
        workloads: &["append", "rw-register", "bank"],
    },
    Description {
        bug: Bug::WriteSkew,
        name: "write-skew",
        summary: "A transaction that writes reads what was there a moment before, and only what it writes must not have \
                  changed since, which is snapshot isolation, as Oracle's serializable and PostgreSQL's before 9.1.",
        trigger: "none",
        workloads: &["append", "rw-register", "write-skew"],
    },
    Description {
        bug: Bug::EarlyCheck,
        name: "early-check",
        summary: "The leader looks at the condition of a write when the request arrives, and not when it is executed, so \
                  that two that are under way at once both succeed, as Elasticsearch's version checks did when two nodes took \
                  themselves for primaries.",
        trigger: "none",
        workloads: &["register", "lost-update"],
    },
    Description {
        bug: Bug::SkippedEntry,
        name: "skipped-entry",
        summary: "A node that was killed takes its last log entry for executed when it is not, and differs from the others for \
                  good, as etcd did from 3.5.0 to 3.5.2.",
        trigger: "kill",
        workloads: &["divergence"],
    },
];

impl Bug {
    /// The bug with a name.
    pub fn named(name: &str) -> Option<Bug> {
        CATALOGUE
            .iter()
            .find(|entry| entry.name == name)
            .map(|entry| entry.bug)
    }

    /// Its name, as `--bug` takes it.
    pub fn name(self) -> &'static str {
        CATALOGUE
            .iter()
            .find(|entry| entry.bug == self)
            .map_or("", |entry| entry.name)
    }
}
