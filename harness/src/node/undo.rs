//! The undo journal: how every fault in force on a node can be taken back, by whoever comes.
//!
//! Before a fault acts, an entry is written on the node that says how to undo it and how to see that
//! it is gone. If that cannot be written, the fault is refused. So whatever becomes of the
//! controller, `gainsay heal` finds on each node what stands there, and undoes it, newest first.
//!
//! An entry is a file, complete from the moment it exists: written beside its place and renamed.
//! Where the fault would survive a crash of the node, the entry is forced to disk first, so that
//! it survives as well; where it would not, the entry is worth nothing afterwards, and
//! is dropped by the boot id that it carries. Of such an entry a crash may leave the name alone: a file
//! with nothing in it is one of these, for nothing else empties a file that was complete.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use store::Name;
use thiserror::Error;

use super::STATE_FOLDER;
use super::lock::tidy;
use crate::remote::{COMMAND_TIMEOUT, Command, Output, Remote, RemoteError, quote};

/// The exit status of a script whose entry could not be written.
const UNWRITTEN: i32 = 213;

/// What it says then; the status alone could be the fault's own.
const UNWRITTEN_MARK: &str = "gainsay: the undo entry was not written";

/// A process that an entry is about: it is undone only if this very process is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its pid.
    pub pid: u32,
    /// When it started: field 22 of `/proc/PID/stat`.
    pub started: u64,
}

/// How to undo a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undo {
    /// The fault's name, and what it did, for people.
    pub fault: String,
    /// A shell script that takes the fault back; doing so twice is doing so once.
    pub undo: String,
    /// A shell script that succeeds when the fault is gone.
    pub verify: String,
    /// Whether a reboot of the node leaves the fault in place, as it does a file, but no firewall
    /// rule.
    pub survives_reboot: bool,
    /// The process it is about, if it is about one.
    pub process: Option<ProcessId>,
}

/// An entry of the journal, as it stands on the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When it was written, by the node's clock.
    pub created: String,
    /// The node's boot at that time.
    pub boot_id: String,
    /// Its name: that of its file, without the suffix.
    pub id: String,
    /// The run that did it.
    pub run: String,
    /// Its place in the order of entries; larger is newer.
    pub sequence: u64,
    /// See [`Undo`].
    pub fault: String,
    /// See [`Undo`].
    pub undo: String,
    /// See [`Undo`].
    pub verify: String,
    /// See [`Undo`].
    pub survives_reboot: bool,
    /// See [`Undo`].
    pub process: Option<ProcessId>,
}

impl Entry {
    /// One of which a crash of the node has left the file's name alone, such as `00000000000000000007-pause.json`: gone with the boot.
    fn of_name(file: &str) -> Entry {
        let id = file.strip_suffix(".json").unwrap_or(file);
        let (sequence, fault) = id.split_once('-').unwrap_or(("", id));
        Entry {
            created: String::new(),
            boot_id: String::new(),
            id: id.to_owned(),
            run: "(unknown)".to_owned(),
            sequence: sequence.parse().unwrap_or_default(),
            fault: fault.to_owned(),
            undo: String::new(),
            verify: String::new(),
            survives_reboot: false,
            process: None,
        }
    }

    /// Whether a boot since has undone it.
    fn is_rebooted(&self, boot: &str) -> bool {
        self.boot_id != boot && !self.survives_reboot
    }
}

/// What goes wrong with a journal.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The entry could not be written, so the fault was not done.
    #[error(
        "{node}: the undo entry of {fault} was not written: {message}\n  hint: the fault was not \
         done; check {STATE_FOLDER} on the node (disk full? read-only?)"
    )]
    NotWritten {
        /// The node.
        node: Name,
        /// The fault.
        fault: String,
        /// What was said.
        message: String,
    },
    /// The fault still stands; its entry was kept.
    #[error("{node}: {fault} was not undone: {message}\n  hint: undo by hand: {undo}")]
    Stands {
        /// The node.
        node: Name,
        /// The fault.
        fault: String,
        /// What was said.
        message: String,
        /// How to undo it.
        undo: String,
    },
    /// The node was not reached, or the outcome is unknown.
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Healing {
    /// It was undone, and seen to be gone.
    Undone,
    /// It had gone with a reboot of the node.
    Rebooted,
    /// Its process is gone.
    ProcessGone,
    /// It stands; its entry was kept.
    Stands {
        /// What was said.
        message: String,
        /// How to undo it by hand.
        undo: String,
    },
    /// The entry cannot be read; its file was kept.
    Unreadable {
        /// Its beginning.
        contents: String,
    },
}

/// An entry, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Healed {
    /// The fault, or the entry's beginning if it cannot be read.
    pub fault: String,
    /// The run that did it; empty if it cannot be read.
    pub run: String,
    /// What became of it.
    pub healing: Healing,
}

/// The undo journal of a node, as one run writes it.
pub struct Journal {
    remote: Arc<dyn Remote>,
    run: String,
    folder: String,
    sequence: AtomicU64,
}

impl Journal {
    /// The journal of a node for a run.
    pub fn new(remote: Arc<dyn Remote>, run: &str) -> Journal {
        Journal::new_in(remote, run, STATE_FOLDER)
    }

    /// Like [`Journal::new`], with the records in another folder.
    pub fn new_in(remote: Arc<dyn Remote>, run: &str, folder: &str) -> Journal {
        // Later runs of this controller must sort after earlier ones.
        let first = jiff::Timestamp::now().as_microsecond().max(0) as u64;
        Journal {
            remote,
            run: run.to_owned(),
            folder: folder.to_owned(),
            sequence: AtomicU64::new(first),
        }
    }

    /// The run that it is kept for.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Writes an entry, and returns its id.
    pub async fn write(&self, undo: &Undo) -> Result<String, JournalError> {
        let (id, _) = self.write_and_run(undo, Command::new(":")).await?;
        Ok(id)
    }

    /// Writes an entry and then, in the same round trip and only if that succeeded, runs the
    /// command that does the fault. Its failure is its output's; the entry stands then as well,
    /// since it may have done half.
    pub async fn write_and_run(
        &self,
        undo: &Undo,
        act: Command,
    ) -> Result<(String, Output), JournalError> {
        let (id, sequence) = self.next(undo);
        let command = Command {
            script: format!(
                "{}\n( eval {} )",
                self.write_script(&id, sequence, undo),
                quote(&format!("{}\n", act.script))
            ),
            quick: true,
            idempotent: false,
            root: true,
            ..act
        };
        let output = self.remote.run(command).await?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        if output.status == UNWRITTEN && stderr.contains(UNWRITTEN_MARK) {
            return Err(JournalError::NotWritten {
                node: self.remote.node().clone(),
                fault: undo.fault.clone(),
                message: stderr.replace(UNWRITTEN_MARK, "").trim().to_owned(),
            });
        }
        Ok((id, output))
    }

    /// An entry that somebody else is to write on the node: its id, and all of it but when it is written and the node's boot.
    pub fn note(&self, undo: &Undo) -> (String, serde_json::Map<String, serde_json::Value>) {
        let (id, sequence) = self.next(undo);
        let known = match self.known(&id, sequence, undo) {
            serde_json::Value::Object(known) => known,
            _ => serde_json::Map::new(),
        };
        (id, known)
    }

    /// The id and the place of the next entry.
    fn next(&self, undo: &Undo) -> (String, u64) {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        (format!("{sequence:020}-{}", word(&undo.fault)), sequence)
    }

    /// What is known of an entry before it is written.
    fn known(&self, id: &str, sequence: u64, undo: &Undo) -> serde_json::Value {
        serde_json::json!({
            "id": id,
            "run": self.run,
            "sequence": sequence,
            "fault": undo.fault,
            "undo": undo.undo,
            "verify": undo.verify,
            "survives_reboot": undo.survives_reboot,
            "process": undo.process,
        })
    }

    /// A script that writes an entry, or ends with [`UNWRITTEN`].
    fn write_script(&self, id: &str, sequence: u64, undo: &Undo) -> String {
        let known = self.known(id, sequence, undo);
        let known = known.to_string();
        let known = known.strip_prefix('{').unwrap_or(&known);
        let folder = self.undo_folder();
        let (file, new) = (format!("{folder}/{id}.json"), format!("{folder}/{id}.new"));
        let (sync_file, sync_folder) = if undo.survives_reboot {
            (
                format!("sync {} &&", quote(&new)),
                format!("&& sync {}", quote(&folder)),
            )
        } else {
            (String::new(), String::new())
        };
        format!(
            "# {fault}\n\
             {{ {{ [ -d {folder} ] || mkdir -p -- {folder}; }} && read -r boot </proc/sys/kernel/random/boot_id && \
             created=$(date -u +%Y-%m-%dT%H:%M:%SZ) && \
             printf '{{\"created\":\"%s\",\"boot_id\":\"%s\",%s\\n' \"$created\" \"$boot\" {known} \
             >{new} && {sync_file} mv -f -- {new} {file} {sync_folder}; }} || \
             {{ rm -f -- {new}; echo '{UNWRITTEN_MARK}' >&2; exit {UNWRITTEN}; }}",
            fault = undo.fault.replace('\n', " "),
            folder = quote(&folder),
            known = quote(known),
            new = quote(&new),
            file = quote(&file),
        )
    }

    fn undo_folder(&self) -> String {
        format!("{}/undo", self.folder)
    }

    /// Undoes one entry, sees that the fault is gone, and removes the entry. One that is no longer
    /// there is fine.
    pub async fn undo(&self, id: &str) -> Result<(), JournalError> {
        let (boot, entries) = read_entries(&*self.remote, &self.folder).await?;
        for (file, entry) in entries {
            match entry {
                Ok(entry) if entry.id == id => {
                    let healing = heal(&*self.remote, &self.folder, &file, &entry, &boot).await?;
                    return self.judge(&entry.fault, healing);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes faults back with another command than their entries' (one that also counts, say), and in
    /// the same round trip, only if that succeeded, removes the entries. The command sees for itself
    /// that the faults are gone.
    pub async fn undo_with(&self, ids: &[String], act: Command) -> Result<Output, RemoteError> {
        let folder = self.undo_folder();
        let files: String = ids
            .iter()
            .map(|id| format!(" {}", quote(&format!("{folder}/{id}.json"))))
            .collect();
        let command = Command {
            script: format!(
                "( eval {} ) && rm -f --{files}",
                quote(&format!("{}\n", act.script))
            ),
            quick: true,
            root: true,
            ..act
        };
        self.remote.run(command).await
    }

    /// Undoes all entries of this run, newest first, each whatever becomes of the others.
    pub async fn undo_all(&self) -> Result<Vec<Healed>, RemoteError> {
        heal_all(&*self.remote, &self.folder, Some(&self.run)).await
    }

    /// The entries of all runs that stand, newest first. What cannot be read is left out.
    pub async fn list(&self) -> Result<Vec<Entry>, RemoteError> {
        let (_, entries) = read_entries(&*self.remote, &self.folder).await?;
        Ok(entries
            .into_iter()
            .filter_map(|(_, entry)| entry.ok())
            .collect())
    }

    fn judge(&self, fault: &str, healing: Healing) -> Result<(), JournalError> {
        match healing {
            Healing::Stands { message, undo } => Err(JournalError::Stands {
                node: self.remote.node().clone(),
                fault: fault.to_owned(),
                message,
                undo,
            }),
            _ => Ok(()),
        }
    }
}

/// Undoes all that stands on a node, of whatever run, newest first; says what became of each.
pub async fn heal_node(remote: &dyn Remote) -> Result<Vec<Healed>, RemoteError> {
    heal_all(remote, STATE_FOLDER, None).await
}

/// Like [`heal_node`], with the records in another folder.
pub async fn heal_node_in(remote: &dyn Remote, folder: &str) -> Result<Vec<Healed>, RemoteError> {
    heal_all(remote, folder, None).await
}

/// Takes out of a node's journal what was written before it was last booted, and a boot has undone: the faults' names, the newest first.
pub async fn forget_rebooted_in(
    remote: &dyn Remote,
    folder: &str,
) -> Result<Vec<String>, RemoteError> {
    let (boot, entries) = read_entries(remote, folder).await?;
    let mut gone = Vec::new();
    for (file, entry) in entries {
        if let Ok(entry) = entry
            && entry.is_rebooted(&boot)
        {
            heal(remote, folder, &file, &entry, &boot).await?;
            gone.push(entry.fault);
        }
    }
    Ok(gone)
}

async fn heal_all(
    remote: &dyn Remote,
    folder: &str,
    run: Option<&str>,
) -> Result<Vec<Healed>, RemoteError> {
    let (boot, entries) = read_entries(remote, folder).await?;
    let mut healed = Vec::new();
    for (file, entry) in entries {
        match entry {
            Ok(entry) if run.is_none_or(|run| run == entry.run) => healed.push(Healed {
                healing: heal(remote, folder, &file, &entry, &boot).await?,
                fault: entry.fault,
                run: entry.run,
            }),
            Ok(_) => {}
            Err(_) if run.is_some() => {}
            Err(contents) => healed.push(Healed {
                fault: file,
                run: String::new(),
                healing: Healing::Unreadable { contents },
            }),
        }
    }
    let command = Command::new(tidy(folder)).quick().idempotent();
    remote.exec(command).await?;
    Ok(healed)
}

/// Undoes one entry.
async fn heal(
    remote: &dyn Remote,
    folder: &str,
    file: &str,
    entry: &Entry,
    boot: &str,
) -> Result<Healing, RemoteError> {
    let path = quote(&format!("{folder}/undo/{file}")).into_owned();
    if entry.is_rebooted(boot) {
        let command = Command::new(format!("rm -f -- {path}"))
            .quick()
            .idempotent();
        remote.exec(command).await?;
        return Ok(Healing::Rebooted);
    }
    let guard = match entry.process {
        Some(ProcessId { pid, started }) => format!(
            "stat=$(cat /proc/{pid}/stat 2>/dev/null); set -- ${{stat##*) }}\n\
             [ \"${{20}}\" = {started} ] || {{ rm -f -- {path} && echo process-gone; exit; }}\n"
        ),
        None => String::new(),
    };
    let script = format!(
        "# undo {fault}\n{guard}( eval {undo} ) </dev/null >&2 || {{ echo 'undo failed' >&2; exit 1; }}\n\
         ( eval {verify} ) </dev/null >&2 || {{ echo 'undone, but it still stands' >&2; exit 1; }}\n\
         rm -f -- {path} && echo undone",
        fault = entry.fault.replace('\n', " "),
        undo = quote(&format!("{}\n", entry.undo)),
        verify = quote(&format!("{}\n", entry.verify)),
    );
    let command = Command::new(script).quick().idempotent();
    let output = remote.run(command.timeout(COMMAND_TIMEOUT)).await?;
    Ok(match output.text().as_ref() {
        "undone" => Healing::Undone,
        "process-gone" => Healing::ProcessGone,
        _ => Healing::Stands {
            message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            undo: entry.undo.clone(),
        },
    })
}

/// Files with their entries, or the beginning of what cannot be read, newest first.
type Entries = Vec<(String, Result<Entry, String>)>;

/// The node's boot id, and all entries on it.
async fn read_entries(remote: &dyn Remote, folder: &str) -> Result<(String, Entries), RemoteError> {
    // An entry that goes while it is read was taken back by the node's agent.
    let script = format!(
        "# read the undo journal\n\
         cat /proc/sys/kernel/random/boot_id || exit\n\
         cd -- {} 2>/dev/null || exit 0\n\
         for file in *.json; do [ -f \"$file\" ] || continue; \
         text=$(cat -- \"$file\") || {{ [ -e \"$file\" ] && exit 1; continue; }}; \
         printf '\\036%s\\n%s\\n' \"$file\" \"$text\"; done",
        quote(&format!("{folder}/undo"))
    );
    let output = remote
        .exec(Command::new(script).quick().idempotent())
        .await?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut records = text.split('\u{1e}');
    let boot = records.next().unwrap_or_default().trim().to_owned();
    let mut entries: Entries = records
        .map(|record| {
            let (file, contents) = record.split_once('\n').unwrap_or((record, ""));
            let entry = match contents.trim().is_empty() {
                true => Ok(Entry::of_name(file)),
                false => serde_json::from_str(contents)
                    .map_err(|_| contents.chars().take(200).collect::<String>()),
            };
            (file.to_owned(), entry)
        })
        .collect();
    let age = |entry: &Result<Entry, String>| entry.as_ref().map_or(0, |entry| entry.sequence);
    entries.sort_by(|(file_a, a), (file_b, b)| (age(b), file_b).cmp(&(age(a), file_a)));
    Ok((boot, entries))
}

/// A fault's name as part of a file name.
fn word(fault: &str) -> String {
    let plain = |char: char| {
        if char.is_ascii_alphanumeric() {
            char
        } else {
            '-'
        }
    };
    fault.chars().map(plain).take(40).collect()
}
