//! A tree of version 2, which many have together: other faults on this node, and other nodes of this machine.
//!
//! A group can only have a controller that its parent hands down. So what the tree's root does not hand down yet, it is told to; that
//! this is our doing, an empty group says, `gainsay.enabled.NAME`, which everybody sees. The last of us to leave takes it back. Whoever
//! changes something of this holds a lock on the root.
//!
//! Where the root is not that of the whole machine but of a container, it hands nothing down while it has processes itself. These wait
//! in a group beside ours then, `gainsay.rest`, without any limits, and go back at the end.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::ROUNDS;

/// How groups of ours are called, all but those that this file is about.
pub(super) const PREFIX: &str = "gainsay-";

const ENABLED: &str = "gainsay.enabled.";
const REST: &str = "gainsay.rest";

/// Keeps others of us from changing what a root hands down, until it is dropped.
pub(super) fn hold(root: &Path) -> io::Result<File> {
    let root = File::open(root)?;
    root.lock()?;
    Ok(root)
}

/// Sees that a root, which is [held](hold), hands a controller down.
pub(super) fn enable(root: &Path, name: &str) -> io::Result<()> {
    let subtree = root.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&subtree)?;
    if enabled.split_whitespace().any(|word| word == name) {
        return Ok(());
    }
    // Before it is so.
    make(&root.join(format!("{ENABLED}{name}")))?;
    // The root of all may have processes itself.
    if root.join("cgroup.type").exists() {
        empty(root)?;
    }
    fs::write(&subtree, format!("+{name}"))
        .map_err(|error| io::Error::other(format!("{} +{name}: {error}", subtree.display())))
}

/// Takes back what was enabled for us at a root, which is [held](hold), if none of us needs it any more.
pub(super) fn tidy(root: &Path) -> io::Result<()> {
    let names = fs::read_dir(root)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let names: Vec<String> = names.collect();
    if names.iter().any(|name| name.starts_with(PREFIX)) {
        return Ok(());
    }
    let subtree = root.join("cgroup.subtree_control");
    for name in &names {
        if let Some(controller) = name.strip_prefix(ENABLED) {
            let disabled = fs::write(&subtree, format!("-{controller}"));
            disabled.map_err(|error| {
                io::Error::other(format!("{} -{controller}: {error}", subtree.display()))
            })?;
            fs::remove_dir(root.join(name))?;
        }
    }
    let rest = root.join(REST);
    if rest.is_dir() {
        moved(&rest, root)?;
        fs::remove_dir(rest)?;
    }
    Ok(())
}

/// Where a process goes back to: where it came from, or with the others, where the root cannot have it yet.
pub(super) fn put_back(pid: i32, origin: &Path, root: &Path) -> io::Result<()> {
    match enter(origin, pid) {
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) && origin == root => {
            enter(&rest(root)?, pid)
        }
        other => other,
    }
}

/// Moves a process; one that is gone is fine.
pub(super) fn enter(group: &Path, pid: i32) -> io::Result<()> {
    match fs::write(group.join("cgroup.procs"), pid.to_string()) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => other,
    }
}

/// The processes of a group.
pub(super) fn members(group: &Path) -> Vec<i32> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Makes a group, if it is not there.
pub(super) fn make(group: &Path) -> io::Result<()> {
    match fs::create_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

fn rest(root: &Path) -> io::Result<PathBuf> {
    let rest = root.join(REST);
    make(&rest)?;
    Ok(rest)
}

fn empty(root: &Path) -> io::Result<()> {
    if members(root).is_empty() {
        return Ok(());
    }
    moved(root, &rest(root)?)
}

/// Moves all processes from one group to another; what they begin meanwhile as well.
fn moved(from: &Path, to: &Path) -> io::Result<()> {
    for _ in 0..ROUNDS {
        let members = members(from);
        if members.is_empty() {
            return Ok(());
        }
        for pid in members {
            if pid == 0 {
                let why = format!("{} has processes that cannot be seen here", from.display());
                return Err(io::Error::other(why));
            }
            enter(to, pid)?;
        }
    }
    let why = format!(
        "processes come into {} as fast as they are moved out",
        from.display()
    );
    Err(io::Error::other(why))
}
