//! How clients ask: the options of a run that concern what is read and written, and what MongoDB promises for them.

use std::time::Duration;

use bson::{Bson, Document, doc};
use workloads::options::of;
use workloads::{
    BuildError, Claim, OptionKind, OptionSpec, Options, append, bank, causal, divergence,
    long_fork, monotonic_reads, register, rw_register, write_skew,
};

const WRITE_CONCERN: &str = "write-concern";
const READ_CONCERN: &str = "read-concern";
const READ_PREFERENCE: &str = "read-preference";
const JOURNAL: &str = "journal";
const TXN_READ_CONCERN: &str = "txn-read-concern";
const TXN_WRITE_CONCERN: &str = "txn-write-concern";
const READ_ONLY: &str = "no-read-only-txn-write-concern";
const SINGLES: &str = "plain-singles";
const ROUTING: &str = "client-routing";
const NOT_CAUSAL: &str = "no-causal-sessions";

const MAJORITY: &str = "majority";
pub(crate) const LINEARIZABLE: &str = "linearizable";
pub(crate) const LOCAL: &str = "local";
const AVAILABLE: &str = "available";
const SNAPSHOT: &str = "snapshot";
const PRIMARY: &str = "primary";
const SECONDARY: &str = "secondary";
const NEAREST: &str = "nearest";
const OWN: &str = "own";

/// Who may answer a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadPreference {
    /// The primary alone.
    Primary,
    /// A secondary: the client's own node if it is one.
    Secondary,
    /// Whoever is near: the client's own node.
    Nearest,
}

impl ReadPreference {
    /// As commands say it.
    pub(crate) fn document(self) -> Document {
        let mode = match self {
            ReadPreference::Primary => PRIMARY,
            ReadPreference::Secondary => SECONDARY,
            ReadPreference::Nearest => NEAREST,
        };
        doc! { "mode": mode }
    }
}

/// Whom a client talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Routing {
    /// Its own node, whatever that is.
    Own,
    /// Whoever its own node says is the primary, as a driver that knows this node alone.
    Primary,
}

/// What all clients of a run share.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    /// One for each run, so that runs do not see each other's data.
    pub(crate) database: String,
    /// Of single writes.
    pub(crate) write_concern: Document,
    /// Of single reads.
    pub(crate) read_concern: String,
    /// Of single reads.
    pub(crate) read_preference: ReadPreference,
    /// Of all statements of a transaction.
    pub(crate) txn_read_concern: String,
    /// Of commits.
    pub(crate) txn_write_concern: Document,
    /// Whether transactions that only read are committed with it, too; else as the server does by itself.
    pub(crate) concern_of_reads: bool,
    /// Whether a transaction of one operation is a command without a transaction.
    pub(crate) plain_singles: bool,
    /// Whom clients talk to.
    pub(crate) routing: Routing,
    /// Whether the workload of causal sessions has such sessions.
    pub(crate) causal_sessions: bool,
    /// How long an operation may take.
    pub(crate) limit: Duration,
}

/// The options, for listings.
pub(crate) fn options() -> Vec<OptionSpec> {
    let not_causal = OptionSpec::flag(
        NOT_CAUSAL,
        "Let reads not wait until their server has come as far as the session has (`afterClusterTime`)",
    );
    let mut options = of(causal::NAME, [not_causal]);
    options.extend(concerns());
    options
}

/// Those of all workloads.
fn concerns() -> Vec<OptionSpec> {
    let words =
        |words: &[&str]| OptionKind::OneOf(words.iter().map(|word| (*word).to_owned()).collect());
    vec![
        OptionSpec::new(
            WRITE_CONCERN,
            OptionKind::Text,
            Some(MAJORITY),
            "How many nodes must have a write before it is acknowledged: `majority`, or a number",
        ),
        OptionSpec::new(
            READ_CONCERN,
            words(&[LOCAL, AVAILABLE, MAJORITY, LINEARIZABLE]),
            Some(LINEARIZABLE),
            "What reads outside of transactions may see; the set and causal sessions are read at `majority` where this says \
             `linearizable`, which is for single documents and by itself",
        ),
        OptionSpec::new(
            READ_PREFERENCE,
            words(&[PRIMARY, SECONDARY, NEAREST]),
            Some(PRIMARY),
            "Who answers reads outside of transactions; `nearest` is the client's own node",
        ),
        OptionSpec::flag(
            JOURNAL,
            "Acknowledge writes only when they are in the journal on disk",
        ),
        OptionSpec::new(
            TXN_READ_CONCERN,
            words(&[LOCAL, MAJORITY, SNAPSHOT]),
            Some(SNAPSHOT),
            "What transactions see",
        ),
        OptionSpec::new(
            TXN_WRITE_CONCERN,
            OptionKind::Text,
            Some(MAJORITY),
            "How many nodes must have a transaction before its commit is acknowledged: `majority`, or a number",
        ),
        OptionSpec::flag(
            READ_ONLY,
            "Commit transactions that only read without a write concern: MongoDB's default is then 1 up to 4.4, and majority since 5.0",
        ),
        OptionSpec::flag(
            SINGLES,
            "Send transactions of one operation as commands without a transaction, at --write-concern and --read-concern",
        ),
        OptionSpec::new(
            ROUTING,
            words(&[PRIMARY, OWN]),
            Some(PRIMARY),
            "Whom clients talk to: `primary`, the one that their own node takes for it, or `own`, their own node even if \
             it refuses",
        ),
    ]
}

impl Settings {
    /// Reads what the user wrote.
    ///
    /// # Errors
    /// A write concern is neither `majority` nor a number of nodes.
    pub(crate) fn read(
        options: &Options,
        run: u64,
        limit: Duration,
    ) -> Result<Settings, BuildError> {
        let journal = options.flag(JOURNAL);
        let concern = |name: &str| {
            let text = options.text(name);
            let w = acknowledgements(text).ok_or_else(|| {
                BuildError(format!(
                    "--{name} takes `majority` or a number from 1 to 50, not `{text}`"
                ))
            })?;
            let mut concern = doc! { "w": w };
            if journal {
                concern.insert("j", true);
            }
            // Nobody waits for it any longer then.
            concern.insert("wtimeout", milliseconds(limit));
            Ok(concern)
        };
        Ok(Settings {
            database: database(run),
            write_concern: concern(WRITE_CONCERN)?,
            read_concern: options.text(READ_CONCERN).to_owned(),
            read_preference: match options.text(READ_PREFERENCE) {
                SECONDARY => ReadPreference::Secondary,
                NEAREST => ReadPreference::Nearest,
                _ => ReadPreference::Primary,
            },
            txn_read_concern: options.text(TXN_READ_CONCERN).to_owned(),
            txn_write_concern: concern(TXN_WRITE_CONCERN)?,
            concern_of_reads: !options.flag(READ_ONLY),
            plain_singles: options.flag(SINGLES),
            routing: match options.text(ROUTING) {
                OWN => Routing::Own,
                _ => Routing::Primary,
            },
            causal_sessions: !options.flag(NOT_CAUSAL),
            limit,
        })
    }

    /// Of clients of a server that is alone.
    pub(crate) fn of_one_server(run: u64, limit: Duration) -> Settings {
        let concern = doc! { "w": MAJORITY, "wtimeout": milliseconds(limit) };
        Settings {
            database: database(run),
            write_concern: concern.clone(),
            read_concern: LINEARIZABLE.to_owned(),
            read_preference: ReadPreference::Primary,
            txn_read_concern: SNAPSHOT.to_owned(),
            txn_write_concern: concern,
            concern_of_reads: true,
            plain_singles: true,
            routing: Routing::Own,
            causal_sessions: true,
            limit,
        }
    }

    /// What is asked at where `linearizable` cannot be had: of many documents at once, and in a causal session.
    pub(crate) fn read_concern_below_linearizable(&self) -> &str {
        match self.read_concern.as_str() {
            LINEARIZABLE => MAJORITY,
            other => other,
        }
    }
}

/// The database of a run.
fn database(run: u64) -> String {
    format!("gainsay-{run:x}")
}

/// As servers take limits.
pub(crate) fn milliseconds(limit: Duration) -> i64 {
    i64::try_from(limit.as_millis()).unwrap_or(i64::MAX)
}

/// The `w` of a write concern. None acknowledges nothing, so that zero shows nothing.
fn acknowledgements(text: &str) -> Option<Bson> {
    match text {
        MAJORITY => Some(Bson::from(MAJORITY)),
        number => {
            let number = number
                .parse()
                .ok()
                .filter(|number| (1..=50).contains(number));
            number.map(Bson::Int32)
        }
    }
}

/// What transactions are judged by. Nothing else is promised of them by anybody.
pub(crate) const TXN_CONSISTENCY: &str = "snapshot-isolation";

/// What write skew is looked for by. A snapshot allows it, so this is asked on purpose.
pub(crate) const WRITE_SKEW_CONSISTENCY: &str = "serializable";

/// Whether a causal session can be asked for at this read concern: servers know it at three of them only.
///
/// # Errors
/// What to give instead.
pub(crate) fn check_causal(options: &Options) -> Result<(), BuildError> {
    match options.text(READ_CONCERN) {
        AVAILABLE => Err(BuildError(format!(
            "--{READ_CONCERN} {AVAILABLE}: causal sessions are for `{LOCAL}` and `{MAJORITY}`"
        ))),
        _ => Ok(()),
    }
}

/// What MongoDB promises for a workload with these options.
pub(crate) fn claim(workload: &str, options: &Options) -> Claim {
    let majority = options.text(WRITE_CONCERN) == MAJORITY;
    let strict =
        options.text(READ_CONCERN) == LINEARIZABLE && options.text(READ_PREFERENCE) == PRIMARY;
    let committed = matches!(options.text(READ_CONCERN), MAJORITY | LINEARIZABLE);
    let (model, promised, source) = match workload {
        register::NAME => (
            "linearizable",
            majority && strict,
            "MongoDB manual, Read Concern \"linearizable\": combined with \"majority\" write concern, reads and writes of a single \
             document are as if one thread performed them in real time",
        ),
        append::NAME | rw_register::NAME | bank::NAME | long_fork::NAME => (
            TXN_CONSISTENCY,
            options.text(TXN_READ_CONCERN) == SNAPSHOT
                && options.text(TXN_WRITE_CONCERN) == MAJORITY
                && !options.flag(READ_ONLY)
                && (!options.flag(SINGLES) || majority && strict),
            "MongoDB manual, Read Concern \"snapshot\": if the transaction commits with write concern \"majority\", its operations \
             are guaranteed to have read from a snapshot of majority-committed data",
        ),
        write_skew::NAME => (
            WRITE_SKEW_CONSISTENCY,
            false,
            "MongoDB manual, Read Concern \"snapshot\": transactions read from a snapshot, which rules out less",
        ),
        causal::NAME => (
            causal::LEVEL,
            majority && committed && !options.flag(NOT_CAUSAL),
            "MongoDB manual, Causal Consistency and Read and Write Concerns: with \"majority\" for both, a causally consistent session \
             reads its own writes, its reads and writes are monotonic, and writes follow reads",
        ),
        monotonic_reads::NAME => (
            "each read of a session shows what the one before did, and acknowledged elements stay",
            majority && strict,
            "MongoDB manual, Read Concern \"linearizable\"; of \"majority\" it says that what is read is not rolled back, and nothing of \
             reads in a row outside of causal sessions",
        ),
        divergence::NAME => (
            "all members end up the same, and acknowledged records stay",
            majority,
            "MongoDB manual, Replication: secondaries apply the primary's log of operations; Rollbacks During Replica Set Failover: what \
             differs is rolled back; Write Concern: w: \"majority\" is not rolled back",
        ),
        _ => (
            "acknowledged elements stay",
            majority && committed,
            "MongoDB manual, Write Concern: w: \"majority\" is acknowledged once the write is durable on a majority of the voting members; \
             Replica Set Rollbacks: such writes are not rolled back",
        ),
    };
    let source = match promised {
        true => source.to_owned(),
        false => format!(
            "asked of it on purpose: MongoDB promises it for other options than these ({source})"
        ),
    };
    Claim {
        model: model.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use workloads::set;

    fn read(given: &[(&str, &str)]) -> Options {
        Options::read(&options(), given.iter().copied()).unwrap()
    }

    #[test]
    fn concerns_are_what_is_sent() {
        let limit = Duration::from_secs(2);
        let settings = Settings::read(&read(&[]), 10, limit).unwrap();
        assert_eq!(settings.database, "gainsay-a");
        let majority = doc! { "w": "majority", "wtimeout": 2000_i64 };
        assert_eq!(settings.write_concern, majority);
        assert_eq!(settings.read_concern_below_linearizable(), "majority");
        let given = read(&[
            ("write-concern", "1"),
            ("txn-write-concern", "2"),
            ("journal", "true"),
            ("read-concern", "local"),
        ]);
        let settings = Settings::read(&given, 10, limit).unwrap();
        let one = doc! { "w": 1_i32, "j": true, "wtimeout": 2000_i64 };
        assert_eq!(settings.write_concern, one);
        let two = doc! { "w": 2_i32, "j": true, "wtimeout": 2000_i64 };
        assert_eq!(settings.txn_write_concern, two);
        assert_eq!(settings.read_concern_below_linearizable(), "local");
        for wrong in ["0", "51", "all", ""] {
            let given = read(&[("write-concern", wrong)]);
            assert!(Settings::read(&given, 10, limit).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_asked_for_on_purpose_is_said_so() {
        let on_purpose = |workload: &str, given: &[(&str, &str)]| {
            let source = claim(workload, &read(given)).source;
            source.starts_with("asked of it on purpose")
        };
        for workload in [register::NAME, append::NAME, bank::NAME, set::NAME] {
            assert!(!on_purpose(workload, &[]), "{workload}");
        }
        for (option, value) in [
            ("write-concern", "1"),
            ("read-concern", "majority"),
            ("read-preference", "nearest"),
        ] {
            assert!(on_purpose(register::NAME, &[(option, value)]), "{option}");
        }
        for (option, value) in [("txn-write-concern", "1"), ("txn-read-concern", "local")] {
            assert!(on_purpose(append::NAME, &[(option, value)]), "{option}");
            assert!(on_purpose(bank::NAME, &[(option, value)]), "{option}");
            assert!(!on_purpose(register::NAME, &[(option, value)]), "{option}");
        }
        assert!(on_purpose(set::NAME, &[("write-concern", "1")]));
        for workload in [
            causal::NAME,
            monotonic_reads::NAME,
            divergence::NAME,
            long_fork::NAME,
        ] {
            assert!(!on_purpose(workload, &[]), "{workload}");
            let concern = match workload {
                long_fork::NAME => "txn-write-concern",
                _ => "write-concern",
            };
            assert!(on_purpose(workload, &[(concern, "1")]), "{workload}");
        }
        let near = [("read-concern", "majority"), ("read-preference", "nearest")];
        assert!(!on_purpose(causal::NAME, &near) && on_purpose(monotonic_reads::NAME, &near));
        for given in [("read-concern", "local"), ("no-causal-sessions", "true")] {
            assert!(on_purpose(causal::NAME, &[given]), "{given:?}");
        }
        assert!(on_purpose(write_skew::NAME, &[]));
        assert!(check_causal(&read(&near)).is_ok());
        assert!(check_causal(&read(&[("read-concern", "available")])).is_err());
        assert_eq!(claim(bank::NAME, &read(&[])).model, TXN_CONSISTENCY);
    }
}
