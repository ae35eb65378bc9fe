//! The register of local clusters: one file a cluster in `/run/gainsay`, gone after a reboot like
//! what it describes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::{Doing, LocalError};
use super::plan::Kernel;
use super::process::Identity;

const DIR: &str = "/run/gainsay";

/// What is on record of a cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// The format of this record.
    pub(super) format: u32,
    /// The cluster's name.
    pub(super) id: String,
    /// The boot it lives in: `/run` is on a disk on some machines, and then outlives it.
    pub(super) boot: String,
    /// The controller whose end makes the cluster an orphan. None for one that is to stay.
    pub(super) owner: Option<Identity>,
    /// The cluster's directory in the cache.
    pub(super) dir: PathBuf,
    /// How many nodes it has.
    pub(super) nodes: u8,
    /// Whose kernel they run.
    #[serde(default)]
    pub(super) kernel: Kernel,
    /// When it was made (RFC 3339, UTC).
    pub(super) created: String,
    /// Its processes, once all of them run.
    pub(super) processes: Option<Processes>,
}

/// The processes of a cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Processes {
    /// The parent of the others, which has the bridge.
    pub(super) switch: Identity,
    /// Each node's first process, in the nodes' order.
    pub(super) nodes: Vec<Identity>,
}

impl Record {
    /// Whether the controller that it belongs to is gone.
    pub(super) fn orphaned(&self) -> bool {
        !self.of_this_boot() || self.owner.is_some_and(|owner| !owner.alive())
    }

    /// Whether the processes it names can be those it means.
    pub(super) fn of_this_boot(&self) -> bool {
        // If it cannot be told, start times still keep other processes from being meant.
        !boot_id().is_ok_and(|boot| boot != self.boot)
    }

    /// Puts it into the register, in place of an earlier version.
    pub(super) fn write(&self) -> Result<(), LocalError> {
        let doing = || format!("registering local cluster {} in {DIR}", self.id);
        let text = serde_json::to_vec_pretty(self)
            .map_err(io::Error::from)
            .doing(doing)?;
        let temporary = Path::new(DIR).join(format!(".{}.{}", self.id, std::process::id()));
        loop {
            fs::create_dir_all(DIR).doing(doing)?;
            match fs::write(&temporary, &text) {
                // Another controller removed the directory when it was empty, just now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                result => result.doing(doing)?,
            }
            return fs::rename(&temporary, path(&self.id)).doing(doing);
        }
    }

    /// Takes it out of the register.
    pub(super) fn remove(&self) -> Result<(), LocalError> {
        remove_file(&path(&self.id))?;
        remove_dir_if_empty();
        Ok(())
    }
}

/// Reads one cluster's record.
pub(super) fn read(id: &str) -> Result<Record, LocalError> {
    let unknown = || LocalError::Unknown(id.to_owned());
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(unknown());
    }
    match fs::read(path(id)) {
        Ok(text) => serde_json::from_slice(&text)
            .map_err(io::Error::from)
            .doing(|| {
                format!(
                    "reading the record of local cluster {id}, {}",
                    path(id).display()
                )
            }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(unknown()),
        Err(error) => Err(error).doing(|| format!("reading {}", path(id).display())),
    }
}

/// The names of all clusters on record, sorted.
pub(super) fn ids() -> Result<Vec<String>, LocalError> {
    let mut ids: Vec<String> = files()?
        .iter()
        .filter_map(|name| Some(name.strip_suffix(".json")?.to_owned()))
        .collect();
    ids.retain(|id| !id.starts_with('.'));
    ids.sort();
    Ok(ids)
}

/// Removes what controllers left that were killed while they wrote a record.
pub(super) fn remove_unfinished() -> Result<(), LocalError> {
    for name in files()? {
        let writer = name
            .strip_prefix('.')
            .and_then(|rest| rest.rsplit_once('.')?.1.parse().ok());
        if writer.is_some_and(|pid| Identity::of(pid).is_none()) {
            remove_file(&Path::new(DIR).join(name))?;
        }
    }
    remove_dir_if_empty();
    Ok(())
}

/// This boot's identifier.
pub(super) fn boot_id() -> Result<String, LocalError> {
    let path = "/proc/sys/kernel/random/boot_id";
    Ok(fs::read_to_string(path)
        .doing(|| format!("reading {path}"))?
        .trim()
        .to_owned())
}

fn path(id: &str) -> PathBuf {
    Path::new(DIR).join(format!("{id}.json"))
}

fn files() -> Result<Vec<String>, LocalError> {
    let entries = match fs::read_dir(DIR) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).doing(|| format!("reading {DIR}")),
    };
    Ok(entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect())
}

fn remove_file(path: &Path) -> Result<(), LocalError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.doing(|| format!("removing {}", path.display())),
    }
}

/// Nothing is to be left behind; where others are registered the directory is not empty, and stays.
fn remove_dir_if_empty() {
    let _ = fs::remove_dir(DIR);
}
