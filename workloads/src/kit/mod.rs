//! Programs of systems in the versions that are asked for: got once by the controller, kept in its cache, and sent to the nodes.
//!
//! A node needs no Internet and no compiler for them. A system says for each version what it is made of and where that comes from
//! (a [`Bundle`] of [`Part`]s with their [`Source`]s); a [`Shelf`] gets it and puts it on nodes, in a folder that names the system
//! and the version, so that several versions can be there at once.

mod bundle;
mod chosen;
mod download;
mod failure;
mod go;
pub mod http;
mod own_file;
mod source;
mod tool;
mod unpack;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::db::DbError;
use harness::local;
use harness::remote::{Command, Node, quote};
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::sync::Mutex;

pub use bundle::{Bundle, Finish, Part};
pub use chosen::Chosen;
pub use download::Checksum;
pub use failure::{Failure, Outcome};
pub use go::GoProgram;
pub use own_file::OwnFile;
pub use source::Source;
pub use unpack::{find_program, hoist};

/// Where bundles are put on nodes, each in a folder of its own. They stay, as packages do.
const ON_NODES: &str = "/opt/gainsay";
/// What says, in a bundle's folder on a node, which archive it was unpacked from.
const MARK: &str = ".gainsay-sum";
/// What helps where files cannot be kept.
const CACHE_HINT: &str = "GAINSAY_CACHE sets another folder for what is kept on this machine";
/// How long a look at a node may take.
const LOOK_LIMIT: Duration = Duration::from_secs(60);
/// How long unpacking on a node may take.
const UNPACK_LIMIT: Duration = Duration::from_secs(300);

/// Files that cannot be had: what was tried, and what would help.
#[derive(Debug, Error)]
#[error("{}\n  hint: {}", self.message(), self.hint())]
pub enum KitError {
    /// Something with a file or a program on this machine.
    Here {
        /// What was tried.
        doing: String,
        /// What was said.
        error: io::Error,
        /// What would help.
        hint: &'static str,
    },
    /// Something that a program of this machine was to get or to make.
    Tool {
        /// What was wanted.
        what: String,
        /// The end of what was said.
        said: String,
        /// What would help.
        hint: &'static str,
    },
    /// Nothing that was tried worked.
    Nowhere {
        /// What was tried, and why it failed.
        tried: Vec<String>,
    },
}

impl KitError {
    /// What happened, without what would help.
    pub fn message(&self) -> String {
        match self {
            KitError::Here { doing, error, .. } => format!("{doing}: {error}"),
            KitError::Tool { what, said, .. } => format!("{what} cannot be had:\n{said}"),
            KitError::Nowhere { tried } => {
                format!("it cannot be had from anywhere:\n{}", tried.join("\n"))
            }
        }
    }

    /// What would help.
    pub fn hint(&self) -> &'static str {
        match self {
            KitError::Here { hint, .. } | KitError::Tool { hint, .. } => hint,
            KitError::Nowhere { .. } => "one of these must work",
        }
    }
}

/// What is, or will be, at hand here of a system.
#[derive(Default)]
pub struct Shelf {
    /// By label, archives here with their sums. All nodes ask for the same at once, and it is got once.
    got: Mutex<BTreeMap<String, (PathBuf, String)>>,
}

impl Shelf {
    /// Where a bundle is on nodes.
    pub fn place(label: &str) -> String {
        format!("{ON_NODES}/{label}")
    }

    /// Gets a bundle, unless it is in the cache: its archive on this machine (a gzipped tar), and the archive's SHA-256.
    ///
    /// # Errors
    /// If it cannot be had.
    pub async fn archive(&self, bundle: &Bundle) -> Result<(PathBuf, String), KitError> {
        let mut all = self.got.lock().await;
        if let Some(got) = all.get(&bundle.label) {
            return Ok(got.clone());
        }
        let got = obtain(bundle).await?;
        all.insert(bundle.label.clone(), got.clone());
        Ok(got)
    }

    /// Gets a bundle, unless it is in the cache, and puts it on a node, unless it is there: its folder on the node.
    ///
    /// # Errors
    /// If it cannot be had, or not be brought to the node.
    pub async fn bring_bundle(&self, node: &Node, bundle: &Bundle) -> Result<String, DbError> {
        let got = self.archive(bundle).await;
        let (archive, sum) = got.map_err(|error| refused(node, &error))?;
        let place = Shelf::place(&bundle.label);
        let mark = format!("{place}/{MARK}");
        let mark = quote(&mark);
        let look = Command::new(format!("cat {mark} 2>/dev/null || true"));
        let look = look.idempotent().timeout(LOOK_LIMIT);
        if node.remote.exec(look).await?.text() != sum {
            let sent = format!("{place}.tar.gz");
            let make = Command::new(format!("mkdir -p {ON_NODES}"));
            node.remote.exec(make.idempotent()).await?;
            node.remote.upload(&archive, &sent, 0o644).await?;
            let (folder, sent) = (quote(&place), quote(&sent));
            let script = format!(
                "rm -rf {folder} && mkdir {folder} && tar -xzf {sent} -C {folder} && rm -f {sent} && echo {sum} > {mark}"
            );
            let unpack = Command::new(script).idempotent();
            node.remote.exec(unpack.timeout(UNPACK_LIMIT)).await?;
        }
        Ok(place)
    }
}

/// A bundle's archive here, and its sum.
async fn obtain(bundle: &Bundle) -> Result<(PathBuf, String), KitError> {
    let archive = bundle.obtain(&programs()?).await?;
    let read = archive.clone();
    match aside(move || sum(&read)).await {
        Ok(sum) => Ok((archive, sum)),
        Err(error) => Err(here("reading", &archive, error)),
    }
}

/// Does what takes its time with files, on a thread that may wait.
async fn aside<T: Send + 'static>(
    act: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = tokio::task::spawn_blocking(act).await;
    done.unwrap_or_else(|error| Err(io::Error::other(error)))
}

fn refused(node: &Node, error: &KitError) -> DbError {
    DbError::System {
        node: node.name.clone(),
        message: error.message(),
        hint: error.hint().to_owned(),
    }
}

/// What names a file by what is in it.
fn sum(file: &Path) -> io::Result<String> {
    digest::<Sha256>(file)
}

/// A digest of a file, in hexadecimal digits.
fn digest<D: Digest + io::Write>(file: &Path) -> io::Result<String> {
    let mut digest = D::new();
    io::copy(&mut std::fs::File::open(file)?, &mut digest)?;
    Ok(digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

fn here(what: &str, file: &Path, error: io::Error) -> KitError {
    KitError::Here {
        doing: format!("{what} {}", file.display()),
        error,
        hint: CACHE_HINT,
    }
}

/// The folder of the cache for programs.
fn programs() -> Result<PathBuf, KitError> {
    local::cache_of("programs").map_err(|error| KitError::Tool {
        what: "a place for programs on this machine".to_owned(),
        said: error.to_string(),
        hint: CACHE_HINT,
    })
}
