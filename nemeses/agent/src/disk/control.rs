//! What is said to the file system while it stands: one JSON object a line, each answered by one.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use serde::{Deserialize, Serialize};

/// A kind of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Reading from a file, where the page cache does not answer.
    Read,
    /// Writing to a file.
    Write,
    /// `fsync` and `fdatasync`, of files and directories.
    Sync,
    /// Cutting a file off, or making it longer, by `truncate`.
    Truncate,
    /// `fallocate`.
    Allocate,
    /// Opening a file or a directory that is there.
    Open,
    /// Making a file, a symbolic link or a device.
    Create,
    /// Making a directory.
    Mkdir,
    /// Making a hard link.
    Link,
    /// Renaming.
    Rename,
    /// Removing a file or an empty directory.
    Unlink,
    /// Looking for a name, and asking what is known of a file.
    Stat,
    /// Reading a directory.
    Readdir,
    /// Changing owner, mode, times or extended attributes.
    Attributes,
}

impl Kind {
    /// All kinds, by their names.
    pub const ALL: [(&'static str, Kind); 14] = [
        ("read", Kind::Read),
        ("write", Kind::Write),
        ("sync", Kind::Sync),
        ("truncate", Kind::Truncate),
        ("allocate", Kind::Allocate),
        ("open", Kind::Open),
        ("create", Kind::Create),
        ("mkdir", Kind::Mkdir),
        ("link", Kind::Link),
        ("rename", Kind::Rename),
        ("unlink", Kind::Unlink),
        ("stat", Kind::Stat),
        ("readdir", Kind::Readdir),
        ("attributes", Kind::Attributes),
    ];
}

/// What happens to an operation that a rule strikes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// It fails, and nothing is done.
    Fail {
        /// The error's number.
        errno: i32,
    },
    /// It is done later.
    Delay {
        /// By so much at least, in milliseconds.
        ms: u64,
        /// And at most so much more.
        jitter_ms: u64,
    },
    /// It is done when the rules change.
    Stall,
    /// A write of more than one byte writes less, and says so.
    Short,
    /// A sync makes nothing durable, and says that it did.
    Lie,
    /// A sync fails with `EIO`; what it was for is not written and will not be, as on Linux.
    LoseSync,
    /// What needs more room fails with `ENOSPC`.
    Full,
}

/// Which operations something happens to, and what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// Operations of these kinds.
    pub kinds: Vec<Kind>,
    /// On files whose path in the folder, or whose last part, matches this pattern (`*`, `?`); all if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub glob: Option<String>,
    /// Each so probably, from 0 to 1.
    pub probability: f64,
    /// What happens.
    pub effect: Effect,
}

/// What remains of what is not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Survival {
    /// Nothing.
    Nothing,
    /// Of files each page or not, of what was appended a part from its beginning, of operations on entries
    /// the first few.
    Some,
    /// The same, with sectors of 512 bytes in the place of pages: writes are torn.
    Torn,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// These rules are in force from now on, and no others.
    Rules {
        /// They; the first that strikes counts.
        rules: Vec<Rule>,
        /// Of their chance.
        seed: u64,
    },
    /// Say what is known.
    Status,
    /// Do not do what waits for its time: whoever asked for it is being killed.
    GiveUp,
    /// Lose what is not synced.
    Cut {
        /// What remains of it.
        survival: Survival,
        /// Of its chance.
        seed: u64,
    },
}

/// What is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// How many rules are in force.
    pub rules: usize,
    /// How many operations they struck since they are.
    pub struck: u64,
    /// Files with content that is not synced.
    pub files: u64,
    /// Operations on entries that are not durable.
    pub entries: u64,
}

/// What was lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// Files whose content is another than before.
    pub files: u64,
    /// Bytes of them that are different or gone.
    pub bytes: u64,
    /// Operations on entries that were taken back.
    pub entries: u64,
    /// What could not be taken back, and why: a defect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// What is known, after what was ordered.
    Status(Status),
    /// What was lost.
    Lost(Lost),
    /// The order was not understood.
    Refused(String),
}

/// How long an answer may take. A cut waits for operations under way.
const PATIENCE: Duration = Duration::from_secs(20);

/// The process that serves the file system which listens at a place.
pub(crate) fn server(socket: &Path) -> io::Result<i32> {
    let stream = UnixStream::connect(socket)?;
    Ok(getsockopt(&stream, PeerCredentials)?.pid())
}

/// Gives an order to the file system that listens at a place.
pub fn order(socket: &Path, order: &Order) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(order)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}
