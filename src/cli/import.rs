//! `gainsay import FILE…`: histories from elsewhere, as runs in the store.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use jiff::Timestamp;
use serde_json::json;
use store::export::{ExportFormat, exporter};
use store::import::{Format, Mender, format_of, read_each};
use store::{Batch, Event, Flow, LintReport, Linter, RunFolder};

use super::output::outln;
use super::source::{self, Reading};
use super::{args, lint};
use crate::exit::Exit;
use crate::spec::{Imported, NodesSpec, TestSpec};

/// The suite of histories that do not say where they are from.
const SUITE: &str = "imported";

pub(super) fn command() -> Command {
    Command::new("import")
        .about("Take histories from elsewhere into the store, as runs")
        .after_help(
            "Formats: our JSON lines, arrays of JSON, Jepsen's and Maelstrom's history.edn and history.txt, Jepsen's logs as Porcupine\n\
             hands them down, the texts of Plume and AWDIT. An imported run can be listed, labelled, served, exported and linted\n\
             like any other, and is checked with `gainsay check RUN --model MODEL`. In Jepsen's store (store/TEST/TIME/history.edn) its name and time are taken over.",
        )
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .required(true)
                .num_args(1..)
                .value_parser(value_parser!(PathBuf)),
        )
        .args(source::reading_args("format"))
        .arg(
            Arg::new("suite")
                .long("suite")
                .value_name("NAME")
                .default_value(SUITE)
                .help("The system that it is of"),
        )
        .arg(
            Arg::new("workload")
                .long("workload")
                .value_name("NAME")
                .help("What was asked of the system [default: the test's name in Jepsen's store, or the file's]"),
        )
        .arg(args::label_arg())
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Print one JSON object a file: file, run, id, events, findings, notes"),
        )
        .arg(args::store_arg())
}

pub(super) fn run(matches: &ArgMatches) -> Result<Exit> {
    let mut exit = Exit::Valid;
    for file in matches.get_many::<PathBuf>("file").into_iter().flatten() {
        let this = match import(file, matches) {
            Ok(()) => Exit::Valid,
            Err(error) => super::failed(&error),
        };
        exit = exit.and(this);
    }
    Ok(exit)
}

fn import(file: &Path, matches: &ArgMatches) -> Result<()> {
    let reading = source::reading(matches)?;
    let seen = Seen::read(file, &reading)?;
    if seen.report.events == 0 {
        bail!("{}: there is no event in it", file.display());
    }
    let from = Origin::of(file);
    let workload = matches.get_one::<String>("workload").cloned();
    let workload = workload.unwrap_or_else(|| from.name.clone());
    let suite = args::text(matches, "suite");
    let imported = Imported {
        file: file.display().to_string(),
        format: seen.format.name().to_owned(),
        at: Timestamp::now().to_string(),
        notes: Vec::new(),
        findings: seen.report.total(),
    };
    let began = from.began.unwrap_or_else(Timestamp::now);
    let mut spec = TestSpec::of_imported(suite, &workload, imported);
    spec.nodes = NodesSpec::Recorded(seen.nodes.iter().cloned().collect());
    spec.started = began.to_string();
    let labels = args::strings(matches, "label");
    let mut notes = Vec::new();
    let folder = RunFolder::create_at(
        args::store(matches),
        &format!("{suite}-{workload}"),
        &spec,
        began,
        |folder| -> Result<()> {
            notes = write(file, &seen, &reading, &folder.history_path())?;
            let mut spec = spec.clone();
            if let Some(imported) = &mut spec.imported {
                imported.notes.clone_from(&notes);
            }
            folder.write_test(&spec)?;
            if !labels.is_empty() {
                folder.write_labels(&labels)?;
            }
            Ok(())
        },
    )?;
    tell(
        file,
        &folder,
        &seen.report,
        &notes,
        matches.get_flag("json"),
    );
    Ok(())
}

fn tell(file: &Path, folder: &RunFolder, report: &LintReport, notes: &[String], json: bool) {
    let (id, file) = (folder.id(), file.display().to_string());
    if json {
        let object = json!({
            "file": file, "run": folder.path(), "id": id,
            "events": report.events, "findings": report.total(), "notes": notes,
        });
        outln!("{object}");
        return;
    }
    outln!("{file}: {} ({id}): {} events", folder.name(), report.events);
    for note in notes {
        outln!("  {note}");
    }
    if report.total() > 0 {
        outln!(
            "  {} mistakes in the record: `gainsay lint {file}` shows them",
            report.total()
        );
    }
}

/// What the whole history shows, which is read once for it.
struct Seen {
    format: Format,
    report: LintReport,
    /// The least number above all clients'.
    next_client: u64,
    nodes: BTreeSet<String>,
    torn: Option<String>,
}

/// The most names of nodes that are kept.
const NODES_MAX: usize = 1000;

impl Seen {
    fn read(file: &Path, reading: &Reading) -> Result<Seen> {
        let metadata = std::fs::metadata(file);
        let metadata = metadata.with_context(|| format!("cannot read {}", file.display()))?;
        if !metadata.is_file() {
            // It is read twice.
            bail!(
                "{} is no file: write what a pipe has into one first",
                file.display()
            );
        }
        let format = match reading.format {
            Some(format) => format,
            None => format_of(file)?,
        };
        let mut linter = Linter::new(1);
        let (mut next_client, mut nodes) = (0, BTreeSet::new());
        let torn = read_each(file, Some(format), reading.options, &mut |batch| {
            linter.feed(batch);
            for event in batch.events {
                next_client = next_client.max(store::import::client_after(event));
                if let Some(node) = &event.node
                    && nodes.len() < NODES_MAX
                    && !nodes.contains(&**node)
                {
                    nodes.insert(node.to_string());
                }
            }
            Flow::Continue(())
        })?;
        Ok(Seen {
            format,
            report: lint::finish(linter, format),
            next_client,
            nodes,
            torn: torn.map(|torn| torn.to_string()),
        })
    }
}

/// Writes the history as a run has it: mended so that it pairs, indexes ascending. Says what was mended. What has no invocations
/// by its format is taken as it stands, for nothing of it would be left.
fn write(file: &Path, seen: &Seen, reading: &Reading, to: &Path) -> Result<Vec<String>> {
    let out = File::create_new(to).with_context(|| format!("cannot make {}", to.display()))?;
    let mut exporter = exporter(ExportFormat::JsonLines, BufWriter::new(&out))?;
    let mut mender = Mender::new(seen.next_client);
    let renumber = seen.report.counts.contains_key("index-backwards");
    let (mut events, mut lines, mut count) = (Vec::<Event>::new(), Vec::new(), 0);
    let mut failed = None;
    read_each(file, Some(seen.format), reading.options, &mut |batch| {
        events.clear();
        lines.clear();
        for (event, line) in batch.iter() {
            let mended = match seen.format.is_of_sessions() {
                true => Some(event.clone()),
                false => mender.mend(event.clone()),
            };
            let Some(mut event) = mended else {
                continue;
            };
            if renumber {
                event.index = count;
            }
            count += 1;
            events.push(event);
            lines.push(line);
        }
        let batch = Batch {
            events: &events,
            lines: &lines,
        };
        match exporter.write(batch) {
            Ok(()) => Flow::Continue(()),
            Err(error) => {
                failed = Some(error);
                Flow::Break(())
            }
        }
    })?;
    let written = match failed {
        Some(error) => Err(error),
        None => exporter.finish().and_then(|()| out.sync_all()),
    };
    written.with_context(|| format!("cannot write {}", to.display()))?;
    let mut notes = mender.notes();
    if renumber {
        notes.push("indexes that were not ascending, and counted anew".to_owned());
    }
    notes.extend(seen.torn.clone());
    Ok(notes)
}

/// Where a file is from, as its path says.
struct Origin {
    /// What can be a part of a folder's name.
    name: String,
    /// When the run began.
    began: Option<Timestamp>,
}

impl Origin {
    /// In Jepsen's store a history is `TEST/TIME/history.edn`.
    fn of(file: &Path) -> Origin {
        let real = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
        let folder = real.parent();
        let name = |path: Option<&Path>| {
            let name = path.and_then(Path::file_name).unwrap_or_default();
            name.to_string_lossy().into_owned()
        };
        match began(&name(folder)) {
            Some(began) => Origin {
                name: tame(&name(folder.and_then(Path::parent))),
                began: Some(began),
            },
            None => Origin {
                name: tame(&real.file_stem().unwrap_or_default().to_string_lossy()),
                began: None,
            },
        }
    }
}

/// The time that a folder of Jepsen's is named by: `20220216T160832.000Z`, `20220216T160832.000-0500`.
fn began(name: &str) -> Option<Timestamp> {
    let zoned = match name.strip_suffix('Z') {
        Some(utc) => format!("{utc}+0000"),
        None => name.to_owned(),
    };
    Timestamp::strptime("%Y%m%dT%H%M%S%.f%z", zoned).ok()
}

/// A name with nothing in it that a shell or a person would stumble over.
fn tame(name: &str) -> String {
    let tame = |char: char| match char {
        char if char.is_ascii_alphanumeric() || "-_.".contains(char) => char,
        _ => '-',
    };
    let name: String = name.chars().map(tame).take(100).collect();
    match name.trim_matches(['-', '.']) {
        "" => "history".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_place_in_jepsens_store_says_name_and_time() {
        let root = tempfile::tempdir().unwrap();
        for (time, utc) in [
            ("20220216T160832.000Z", "2022-02-16T16:08:32Z"),
            ("20220216T160832.250-0500", "2022-02-16T21:08:32.25Z"),
        ] {
            let folder = root.path().join("lin-kv broken").join(time);
            std::fs::create_dir_all(&folder).unwrap();
            let file = folder.join("history.txt");
            std::fs::write(&file, "").unwrap();
            let origin = Origin::of(&file);
            assert_eq!(origin.name, "lin-kv-broken");
            assert_eq!(origin.began.unwrap().to_string(), utc);
        }
        let origin = Origin::of(Path::new("/nowhere/..my history.edn"));
        assert_eq!(origin.name, "my-history");
        assert_eq!(origin.began, None);
        assert_eq!(tame("…"), "history");
    }
}
