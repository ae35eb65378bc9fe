//! Removing a cluster: its processes, its files, its record.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::cache::remove_tree;
use super::error::{Doing, LocalError};
use super::process::Identity;
use super::registry::{self, Processes, Record};

/// How long a cluster may take to end when asked; then it is killed.
const END_LIMIT: Duration = Duration::from_secs(5);

/// How long the kernel may take to end what was killed.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// Between attempts to remove a cluster that was starting.
const POLL_PAUSE: Duration = Duration::from_millis(5);

/// Ends a cluster's processes, then removes its files, then its record, so that it stays on record
/// until nothing of it is left.
pub(super) fn remove(record: &Record) -> Result<(), LocalError> {
    match record.processes.as_ref().filter(|_| record.of_this_boot()) {
        Some(processes) => {
            // The kernel flushes an overlay's whole disk when it unmounts it, and an exiting process
            // waits for that. So the overlays are kept until the nodes' files, and with them most of what
            // would be written, are gone.
            let roots = processes
                .nodes
                .iter()
                .filter_map(|node| root_of(*node))
                .collect();
            end(&record.id, processes)?;
            processes.switch.reap();
            remove_tree(&record.dir)?;
            release(roots);
        }
        None => {
            remove_unfinished(&record.dir).doing(|| format!("removing {}", record.dir.display()))?
        }
    }
    record.remove()
}

/// Removes the directory of a cluster whose controller was killed before it was up. What the controller
/// had started goes on for a moment, and may still write there: `ssh-keygen` until it has its keys,
/// the switch until it sees that its controller is gone.
fn remove_unfinished(dir: &Path) -> io::Result<()> {
    let deadline = Instant::now() + KILL_LIMIT;
    loop {
        let lock = match File::open(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            dir => dir?,
        };
        match lock.try_lock() {
            Ok(()) => match fs::remove_dir_all(dir) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                result => return result,
            },
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        if Instant::now() > deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        thread::sleep(POLL_PAUSE);
    }
}

/// A handle on the file system that is a process's root. None where the process is gone.
fn root_of(process: Identity) -> Option<File> {
    let root = File::open(format!("/proc/{}/root", process.pid)).ok()?;
    process.alive().then_some(root)
}

/// Lets the kernel unmount file systems, all at once since each may take its time.
fn release(roots: Vec<File>) {
    thread::scope(|scope| {
        for root in roots {
            scope.spawn(move || drop(root));
        }
    });
}

fn end(id: &str, processes: &Processes) -> Result<(), LocalError> {
    let doing = || format!("ending local cluster {id}");
    // Nodes' handles first: the switch ends them, and their end is to be seen whoever ends them.
    let nodes = processes.nodes.iter();
    let mut handles = Vec::new();
    for process in nodes.chain([&processes.switch]) {
        handles.extend(
            process
                .open()
                .doing(doing)?
                .map(|handle| (*process, handle)),
        );
    }
    if let Some((_, switch)) = handles.pop_if(|(process, _)| *process == processes.switch) {
        switch.signal(Signal::SIGTERM).doing(doing)?;
        if !switch.wait(END_LIMIT).doing(doing)? {
            handles.push((processes.switch, switch));
        }
    }
    for (_, handle) in &handles {
        handle.signal(Signal::SIGKILL).doing(doing)?;
    }
    for (process, handle) in handles {
        if !handle.wait(KILL_LIMIT).doing(doing)? {
            let (id, pid) = (id.to_owned(), process.pid);
            return Err(LocalError::Unkillable {
                id,
                pid,
                limit: KILL_LIMIT,
            });
        }
    }
    Ok(())
}

/// Removes clusters' directories that no process holds.
pub(super) fn remove_unused_dirs(clusters: &Path) -> Result<(), LocalError> {
    let doing = || format!("looking for orphans in {}", clusters.display());
    let entries = match fs::read_dir(clusters) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.doing(doing)?,
    };
    for entry in entries {
        let path = entry.doing(doing)?.path();
        let id = path.file_name().unwrap_or_default().to_string_lossy();
        // One on record is its controller's, or was handled above.
        if !matches!(registry::read(&id), Err(LocalError::Unknown(_))) {
            continue;
        }
        let Ok(dir) = File::open(&path) else { continue };
        if dir.try_lock().is_ok() {
            remove_tree(&path)?;
        }
    }
    Ok(())
}
