//! Levels of isolation, by PostgreSQL's names and by those of what they promise.

use workloads::Claim;

/// A level of isolation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isolation {
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

/// Models that transactions can be judged by on purpose, whatever is promised: the strongest first.
pub(crate) const MODELS: [&str; 6] = [
    "strict-serializable",
    "serializable",
    "repeatable-read",
    "strong-snapshot-isolation",
    "snapshot-isolation",
    "read-committed",
];

/// All, the strongest first.
pub(crate) const ALL: [Isolation; 3] = [
    Isolation::Serializable,
    Isolation::RepeatableRead,
    Isolation::ReadCommitted,
];

impl Isolation {
    /// As `--isolation` takes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Isolation::ReadCommitted => "read-committed",
            Isolation::RepeatableRead => "repeatable-read",
            Isolation::Serializable => "serializable",
        }
    }

    /// The level of a name; the strongest, if it is none.
    pub(crate) fn named(name: &str) -> Isolation {
        let found = ALL.into_iter().find(|level| level.name() == name);
        found.unwrap_or(Isolation::Serializable)
    }

    /// As SQL has it.
    pub(crate) fn sql(self) -> &'static str {
        match self {
            Isolation::ReadCommitted => "READ COMMITTED",
            Isolation::RepeatableRead => "REPEATABLE READ",
            Isolation::Serializable => "SERIALIZABLE",
        }
    }

    /// What transactions at this level are judged by.
    pub(crate) fn model(self) -> &'static str {
        match self {
            Isolation::ReadCommitted => "read-committed",
            Isolation::RepeatableRead => "snapshot-isolation",
            Isolation::Serializable => "serializable",
        }
    }

    /// What is promised, and where; or what is asked for on purpose instead.
    pub(crate) fn claim(self, standby_reads: bool, judged_by: Option<&str>) -> Claim {
        let source = match self {
            Isolation::ReadCommitted => {
                "PostgreSQL documentation, 13.2.1 Read Committed Isolation Level: a query sees only data that was committed \
                 before it began"
            }
            Isolation::RepeatableRead => {
                "PostgreSQL documentation, 13.2.2 Repeatable Read Isolation Level: implemented using a technique known as \
                 Snapshot Isolation"
            }
            Isolation::Serializable => {
                "PostgreSQL documentation, 13.2.3 Serializable Isolation Level: emulates serial execution of all committed \
                 transactions"
            }
        };
        let standby = match standby_reads {
            true => {
                "; of standbys, 27.4.1 User's Overview of Hot Standby: they lag behind, and show a transaction once its commit \
                 record is replayed"
            }
            false => "",
        };
        let promise = format!("{source}{standby}");
        match judged_by {
            Some(model) if model != self.model() => Claim {
                model: model.to_owned(),
                source: format!(
                    "asked of it on purpose: at this level PostgreSQL promises {} ({promise})",
                    self.model()
                ),
            },
            _ => Claim {
                model: self.model().to_owned(),
                source: promise,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn levels_are_found_and_can_be_judged() {
        for level in ALL {
            assert_eq!(Isolation::named(level.name()), level);
            assert!(MODELS.contains(&level.model()));
        }
        for model in MODELS {
            assert!(workloads::append::checkers(model).is_ok(), "{model}");
            assert!(workloads::rw_register::checkers(model).is_ok(), "{model}");
        }
    }

    #[test]
    fn what_is_asked_on_purpose_is_said_so() {
        let level = Isolation::RepeatableRead;
        let asked = level.claim(false, Some("serializable"));
        assert_eq!(asked.model, "serializable");
        assert!(asked.source.contains("on purpose"), "{}", asked.source);
        let promised = level.claim(false, None);
        assert_eq!(promised.model, "snapshot-isolation");
        assert_eq!(level.claim(false, Some("snapshot-isolation")), promised);
    }
}
