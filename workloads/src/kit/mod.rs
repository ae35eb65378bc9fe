//! Programs of systems in the versions that are asked for: got once by the controller, kept in its cache, and sent to the nodes.
//!
//! A node needs no Internet and no compiler for them. A system says for each version where it comes from ([`Source`]); [`Shelf`]
//! gets it, and [`Shelf::bring`] puts it on a node, under a folder that names the system and the version, so that several versions
//! can be there at once.

mod go;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::db::DbError;
use harness::remote::{Command, Node, quote};
use harness::{Name, local};
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::sync::Mutex;

pub use go::GoProgram;

/// Where programs are put on nodes, each in a folder of its own. They stay, as packages do.
const ON_NODES: &str = "/opt/gainsay";
/// How long looking at a file on a node may take.
const LOOK_LIMIT: Duration = Duration::from_secs(60);

/// Where a program comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A Go module, built on this machine.
    Go(GoProgram),
    /// A file on this machine.
    File(PathBuf),
}

/// A program that cannot be had: what was tried, and what would help.
#[derive(Debug, Error)]
pub enum KitError {
    /// Something with a file or a program on this machine.
    #[error("{doing}: {error}\n  hint: {hint}")]
    Here {
        /// What was tried.
        doing: String,
        /// What was said.
        error: io::Error,
        /// What would help.
        hint: &'static str,
    },
    /// A build that failed.
    #[error("{what} cannot be built:\n{said}\n  hint: {hint}")]
    Build {
        /// What was built.
        what: String,
        /// The end of what was said.
        said: String,
        /// What would help.
        hint: &'static str,
    },
}

/// The programs of a system that are, or will be, at hand here.
#[derive(Default)]
pub struct Shelf {
    /// Two builds at once would do the same work twice.
    building: Mutex<()>,
}

impl Shelf {
    /// Gets a program, unless it is in the cache: its file here.
    ///
    /// # Errors
    /// If it cannot be built, or is not there.
    pub async fn obtain(&self, source: &Source) -> Result<PathBuf, KitError> {
        match source {
            Source::Go(program) => {
                let _one = self.building.lock().await;
                program.obtain(&programs()?).await
            }
            Source::File(file) => {
                let missing = |error| KitError::Here {
                    doing: format!("looking at {}", file.display()),
                    error,
                    hint: "give the path of an executable file for the nodes' architecture",
                };
                let meta = std::fs::metadata(file).map_err(missing)?;
                match meta.is_file() {
                    true => Ok(file.clone()),
                    false => Err(missing(io::ErrorKind::IsADirectory.into())),
                }
            }
        }
    }

    /// Where a program is on nodes.
    pub fn place(folder: &str, program: &str) -> String {
        format!("{ON_NODES}/{folder}/{program}")
    }

    /// Gets a program and puts it on a node, unless it is there: where it is there. `folder` names the system and the version,
    /// such as `etcd-3.5.2`.
    ///
    /// # Errors
    /// If it cannot be had, or not be brought to the node.
    pub async fn bring(
        &self,
        node: &Node,
        folder: &str,
        program: &str,
        source: &Source,
    ) -> Result<String, DbError> {
        let file = self
            .obtain(source)
            .await
            .map_err(|error| refused(node, &error))?;
        let sum = {
            let read = file.clone();
            let summed = tokio::task::spawn_blocking(move || sum(&read)).await;
            let summed = summed.unwrap_or_else(|error| Err(io::Error::other(error)));
            summed.map_err(|error| refused(node, &here("reading", &file, error)))?
        };
        let place = Shelf::place(folder, program);
        let look = format!("sha256sum {} 2>/dev/null | cut -d' ' -f1", quote(&place));
        let look = Command::new(look).idempotent().timeout(LOOK_LIMIT);
        if node.remote.exec(look).await?.text() != sum {
            let make = format!("mkdir -p {}", quote(&format!("{ON_NODES}/{folder}")));
            node.remote.exec(Command::new(make).idempotent()).await?;
            node.remote.upload(&file, &place, 0o755).await?;
        }
        Ok(place)
    }
}

fn refused(node: &Node, error: &KitError) -> DbError {
    let text = error.to_string();
    let (message, hint) = text
        .split_once("\n  hint: ")
        .unwrap_or((&text, "see above"));
    DbError::System {
        node: node.name.clone(),
        message: message.to_owned(),
        hint: hint.to_owned(),
    }
}

/// What names a file by what is in it.
fn sum(file: &Path) -> io::Result<String> {
    let mut digest = Sha256::new();
    io::copy(&mut std::fs::File::open(file)?, &mut digest)?;
    Ok(digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// A name for a file of the user's own, by what is in it: the first digits of its sum.
///
/// # Errors
/// If it cannot be read.
pub fn version_of(file: &Path) -> Result<Name, KitError> {
    let sum = sum(file).map_err(|error| here("reading", file, error))?;
    Ok(format!("file-{}", &sum[..12]).as_str().into())
}

fn here(what: &str, file: &Path, error: io::Error) -> KitError {
    KitError::Here {
        doing: format!("{what} {}", file.display()),
        error,
        hint: "GAINSAY_CACHE sets another folder for what is kept on this machine",
    }
}

/// The folder of the cache for programs: with the local cluster's files, or the user's own where that cannot be written to.
fn programs() -> Result<PathBuf, KitError> {
    let shared = local::cache_dir().join("programs");
    let own = || {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let caches = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let caches = caches.or_else(|| Some(home?.join(".cache")));
        Some(caches?.join("gainsay/programs"))
    };
    let made = std::fs::create_dir_all(&shared).and_then(|()| tempfile::tempfile_in(&shared));
    match (made, own()) {
        (Ok(_), _) => Ok(shared),
        (Err(error), None) => Err(here("making", &shared, error)),
        (Err(_), Some(own)) => match std::fs::create_dir_all(&own) {
            Ok(()) => Ok(own),
            Err(error) => Err(here("making", &own, error)),
        },
    }
}
