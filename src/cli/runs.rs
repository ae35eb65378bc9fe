//! `gainsay runs`: the runs of a store.

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use store::{RunFolder, check_label};

use super::output::outln;
use super::{BadArguments, args};
use crate::catalog::{Catalog, RunEntry, Status};
use crate::exit::Exit;
use crate::spec::TestSpec;

/// What [`RunEntry::word`] may say.
const WORDS: [&str; 7] = [
    "valid", "invalid", "unknown", "running", "died", "imported", "corrupt",
];

pub(super) fn command() -> Command {
    let run = || Arg::new("run").value_name("RUN").required(true);
    let json = |help| {
        Arg::new("json")
            .long("json")
            .action(ArgAction::SetTrue)
            .help(help)
    };
    let yes = || {
        Arg::new("yes")
            .short('y')
            .long("yes")
            .action(ArgAction::SetTrue)
            .help("Do not ask")
    };
    Command::new("runs")
        .about("List, show, remove and label runs")
        .subcommand_required(true)
        .subcommand(
            Command::new("list")
                .about("List runs, newest first")
                .args(filter_args())
                .arg(
                    Arg::new("limit")
                        .long("limit")
                        .value_name("N")
                        .value_parser(value_parser!(u64).range(1..))
                        .help("How many at most"),
                )
                .arg(json("Print one JSON object a run"))
                .arg(args::store_arg()),
        )
        .subcommand(
            Command::new("show")
                .about("Show what is known of a run, and its files")
                .arg(run())
                .arg(json("Print a JSON object"))
                .arg(args::store_arg()),
        )
        .subcommand(
            Command::new("rm")
                .about("Remove runs, and all that is in their folders")
                .after_help("A run that goes on is not removed; one that died is.")
                .arg(run().num_args(1..))
                .arg(yes())
                .arg(args::store_arg()),
        )
        .subcommand(
            Command::new("label")
                .about("Give a run labels, or take them away")
                .after_help("gainsay runs label latest +nightly -flaky\n\nFlags come before RUN.")
                .arg(run())
                .arg(
                    Arg::new("change")
                        .value_name("+LABEL|-LABEL")
                        .num_args(0..)
                        .allow_hyphen_values(true)
                        .help("Without any, the labels are printed"),
                )
                .arg(args::store_arg()),
        )
        .subcommand(
            Command::new("gc")
                .about("Remove old runs")
                .after_help(
                    "With both --keep and --older-than a run goes only if both let it go. Runs that go on stay in any case.",
                )
                .arg(
                    Arg::new("keep")
                        .long("keep")
                        .value_name("N")
                        .value_parser(value_parser!(u64))
                        .help("The newest N of each test stay"),
                )
                .arg(
                    Arg::new("older-than")
                        .long("older-than")
                        .value_name("DURATION")
                        .value_parser(humantime::parse_duration)
                        .help("Only runs that began longer ago go: 30d, 12h"),
                )
                .arg(stays("keep-invalid", "Whether runs that are invalid stay"))
                .arg(stays("keep-labelled", "Whether runs that have labels stay"))
                .arg(
                    Arg::new("dry-run")
                        .long("dry-run")
                        .action(ArgAction::SetTrue)
                        .help("Only say what would go"),
                )
                .arg(yes())
                .arg(args::store_arg()),
        )
}

fn stays(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("true|false")
        .default_value("true")
        .value_parser(value_parser!(bool))
        .help(help)
}

fn filter_args() -> Vec<Arg> {
    let text = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("NAME").help(help)
    };
    let moment = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("TIME")
            .value_parser(moment)
            .help(help)
    };
    vec![
        text("suite", "Only of this system"),
        text("workload", "Only of this workload"),
        Arg::new("verdict")
            .long("verdict")
            .value_name("VERDICT")
            .value_delimiter(',')
            .action(ArgAction::Append)
            .value_parser(WORDS)
            .help("Only those with one of these verdicts"),
        text(
            "label",
            "Only those with this label; several: with all of them",
        )
        .action(ArgAction::Append),
        moment(
            "since",
            "Only those that began then or later: 2026-11-22, 2026-11-22T08:00:00Z, or 2d for two days ago",
        ),
        moment("before", "Only those that began earlier"),
    ]
}

/// A moment: a day, a time, or how long ago.
fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    if let Ok(at) = format!("{text}T00:00:00Z").parse::<Timestamp>() {
        return Ok(at);
    }
    let ago = humantime::parse_duration(text);
    let ago = ago.map_err(|_| {
        "write a day like 2026-11-22, a time like 2026-11-22T08:00:00Z, or how long ago, like 2d or 12h".to_owned()
    })?;
    before_now(ago).map_err(|error| error.to_string())
}

fn before_now(ago: Duration) -> Result<Timestamp> {
    let ago = SignedDuration::try_from(ago)?;
    Ok(Timestamp::now().checked_sub(ago)?)
}

/// A moment as runs are named by it.
fn stamp(at: Timestamp) -> String {
    at.strftime("%Y%m%dT%H%M%S.%3fZ").to_string()
}

pub(super) fn run(matches: &ArgMatches) -> Result<Exit> {
    match matches.subcommand() {
        Some(("list", matches)) => list(matches),
        Some(("show", matches)) => show(matches),
        Some(("rm", matches)) => remove(matches),
        Some(("label", matches)) => label(matches),
        Some(("gc", matches)) => collect(matches),
        _ => unreachable!("clap requires a known subcommand"),
    }?;
    Ok(Exit::Valid)
}

fn catalog(store: &Path) -> Result<Catalog> {
    let mut catalog = Catalog::open(store);
    catalog.refresh()?;
    Ok(catalog)
}

/// Which runs are asked for.
struct Filter {
    suite: Option<String>,
    workload: Option<String>,
    verdicts: Vec<String>,
    labels: Vec<String>,
    since: Option<String>,
    before: Option<String>,
}

impl Filter {
    fn of(matches: &ArgMatches) -> Filter {
        let moment = |name| matches.get_one::<Timestamp>(name).copied().map(stamp);
        Filter {
            suite: matches.get_one("suite").cloned(),
            workload: matches.get_one("workload").cloned(),
            verdicts: args::strings(matches, "verdict"),
            labels: args::strings(matches, "label"),
            since: moment("since"),
            before: moment("before"),
        }
    }

    fn takes(&self, run: &RunEntry) -> bool {
        let spec = run.spec.as_ref();
        let is = |wanted: &Option<String>, found: Option<&String>| {
            wanted.is_none() || wanted.as_ref() == found
        };
        is(&self.suite, spec.map(|spec| &spec.suite))
            && is(&self.workload, spec.map(|spec| &spec.workload))
            && (self.verdicts.is_empty() || self.verdicts.iter().any(|word| word == run.word()))
            && self.labels.iter().all(|label| run.labels.contains(label))
            && self
                .since
                .as_deref()
                .is_none_or(|since| run.stamp() >= since)
            && self
                .before
                .as_deref()
                .is_none_or(|before| run.stamp() < before)
    }
}

fn list(matches: &ArgMatches) -> Result<()> {
    let catalog = catalog(args::store(matches))?;
    let filter = Filter::of(matches);
    let limit = matches.get_one::<u64>("limit").copied();
    let limit = limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    });
    let runs = catalog.runs().filter(|run| filter.takes(run)).take(limit);
    if matches.get_flag("json") {
        for run in runs {
            outln!("{}", object(run)?);
        }
        return Ok(());
    }
    let head = [
        "ID", "TEST", "STARTED", "VERDICT", "SIZE", "FAULTS", "LABELS",
    ];
    let rows = runs.map(|run| {
        let faults = run
            .spec
            .as_ref()
            .map_or(String::new(), |spec| spec.faults.join(","));
        [
            run.id.clone(),
            run.test.clone(),
            began(run),
            run.word().to_owned(),
            bytes(run.size),
            faults,
            run.labels.join(", "),
        ]
    });
    let rows: Vec<[String; 7]> = std::iter::once(head.map(str::to_owned))
        .chain(rows)
        .collect();
    let widths: [usize; 7] = std::array::from_fn(|at| {
        let lengths = rows.iter().map(|row| row[at].chars().count());
        lengths.max().unwrap_or_default()
    });
    for row in &rows {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        outln!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    if rows.len() == 1 {
        eprintln!("no such runs in {}", args::store(matches).display());
    }
    Ok(())
}

/// A run for machines: its entry, with its verdict in a word.
fn object(run: &RunEntry) -> Result<Value> {
    let mut object = serde_json::to_value(run)?;
    object["verdict"] = run.word().into();
    Ok(object)
}

/// When a run began, to the second: `2026-11-22 11:42:05`.
fn began(run: &RunEntry) -> String {
    match run.stamp().get(9..15).filter(|time| time.is_ascii()) {
        Some(time) => format!(
            "{} {}:{}:{}",
            run.day(),
            &time[..2],
            &time[2..4],
            &time[4..]
        ),
        None => run.stamp().to_owned(),
    }
}

/// A size for a person.
fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            let digits = usize::from(value < 10.0 && unit != "B");
            return format!("{value:.digits$} {unit}");
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

fn show(matches: &ArgMatches) -> Result<()> {
    let store = args::store(matches);
    let folder = RunFolder::resolve(store, args::text(matches, "run"))?;
    let entry = RunEntry::read(&folder);
    let files = files(folder.path());
    if matches.get_flag("json") {
        let mut object = object(&entry)?;
        object["path"] = json!(folder.path());
        object["files"] = files
            .iter()
            .map(|(name, size)| json!({"name": name, "size": size}))
            .collect();
        outln!("{object}");
        return Ok(());
    }
    outln!("run      {} ({})", entry.name, entry.id);
    outln!("folder   {}", folder.path().display());
    outln!("verdict  {}", entry.word());
    if !entry.reason.is_empty() {
        outln!("reason   {}", entry.reason);
    }
    if let Status::Corrupt { file, why } = &entry.status {
        outln!("corrupt  {file}: {why}");
    }
    if !entry.labels.is_empty() {
        outln!("labels   {}", entry.labels.join(", "));
    }
    if let Ok(spec) = folder.read_test::<TestSpec>() {
        spec_lines(&spec, &entry);
    }
    outln!("files    {} in {}", bytes(entry.size), files.len());
    for (name, size) in &files {
        outln!("  {:>8}  {name}", bytes(*size));
    }
    Ok(())
}

fn spec_lines(spec: &TestSpec, entry: &RunEntry) {
    outln!("started  {}", spec.started);
    if let Some(imported) = &spec.imported {
        outln!(
            "from     {} ({}), imported {}",
            imported.file,
            imported.format,
            imported.at
        );
        for note in &imported.notes {
            outln!("         {note}");
        }
        return;
    }
    outln!("gainsay  {}", spec.gainsay);
    let versions = entry
        .spec
        .as_ref()
        .map_or(String::new(), |spec| spec.versions.join(", "));
    if !versions.is_empty() {
        outln!("system   {versions}");
    }
    outln!("faults   {}", spec.nemesis);
    outln!(
        "nodes    {}, {} clients",
        spec.nodes.names().len(),
        spec.workers
    );
    outln!("limit    {:?}", spec.time_limit);
    outln!("seed     {}", spec.seed);
}

/// Files that are shown of a folder.
const FILES_MAX: usize = 1000;

/// The files below a folder with their sizes, by name.
fn files(folder: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => open.push(entry.path()),
                Ok(metadata) if found.len() < FILES_MAX => {
                    let path = entry.path();
                    let name = path.strip_prefix(folder).unwrap_or(&path);
                    found.push((name.display().to_string(), metadata.len()));
                }
                _ => {}
            }
        }
    }
    found.sort();
    found
}

fn remove(matches: &ArgMatches) -> Result<()> {
    let store = args::store(matches);
    let mut folders: Vec<RunFolder> = Vec::new();
    for name in args::strings(matches, "run") {
        let folder = RunFolder::resolve(store, &name)?;
        if folder.is_held() {
            bail!("{} goes on: end it first (Ctrl-C)", folder.name());
        }
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    let what = match folders.as_slice() {
        [one] => format!("{} ({})", one.name(), one.path().display()),
        several => format!("{} runs", several.len()),
    };
    ask(matches, &what, folders.len() == 1)?;
    for folder in folders {
        let name = folder.name();
        folder.remove()?;
        outln!("removed {name}");
    }
    Ok(())
}

/// Asks a person before something is removed.
fn ask(matches: &ArgMatches, what: &str, may_ask: bool) -> Result<()> {
    if matches.get_flag("yes") {
        return Ok(());
    }
    if !may_ask || !std::io::stdin().is_terminal() {
        return Err(BadArguments(format!("to remove {what}, say --yes")).into());
    }
    let mut stderr = std::io::stderr();
    write!(stderr, "remove {what}? [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => bail!("nothing was removed"),
    }
}

fn label(matches: &ArgMatches) -> Result<()> {
    let folder = RunFolder::resolve(args::store(matches), args::text(matches, "run"))?;
    let mut labels = folder.labels()?;
    let changes = args::strings(matches, "change");
    for change in &changes {
        let (adds, label) = match (change.strip_prefix('+'), change.strip_prefix('-')) {
            (Some(label), _) => (true, label),
            (_, Some(label)) if !label.starts_with('-') => (false, label),
            _ => {
                let message = format!("{change:?}: write +LABEL or -LABEL; flags come before RUN");
                return Err(BadArguments(message).into());
            }
        };
        check_label(label).map_err(|error| BadArguments(error.to_string()))?;
        match (adds, labels.iter().position(|known| known == label)) {
            (true, None) => labels.push(label.to_owned()),
            (false, Some(at)) => drop(labels.remove(at)),
            (true, Some(_)) => {}
            (false, None) => bail!("{} has no label {label:?}", folder.name()),
        }
    }
    if !changes.is_empty() {
        folder.write_labels(&labels)?;
    }
    for label in folder.labels()? {
        outln!("{label}");
    }
    Ok(())
}

/// What a garbage collection removes.
struct Retention {
    keep: Option<u64>,
    older_than: Option<String>,
    keep_invalid: bool,
    keep_labelled: bool,
}

impl Retention {
    fn of(matches: &ArgMatches) -> Result<Retention> {
        let age = matches.get_one::<Duration>("older-than").copied();
        let flag = |name| matches.get_one::<bool>(name).copied().unwrap_or(true);
        let retention = Retention {
            keep: matches.get_one("keep").copied(),
            older_than: age.map(before_now).transpose()?.map(stamp),
            keep_invalid: flag("keep-invalid"),
            keep_labelled: flag("keep-labelled"),
        };
        match (retention.keep, &retention.older_than) {
            (None, None) => {
                let message = "say which runs may go: --keep N, --older-than 30d, or both";
                Err(BadArguments(message.to_owned()).into())
            }
            _ => Ok(retention),
        }
    }

    /// Those of runs, which come newest first, that go.
    fn goes<'r>(&self, runs: impl Iterator<Item = &'r RunEntry>) -> Vec<&'r RunEntry> {
        let mut newer = std::collections::BTreeMap::<&str, u64>::new();
        let mut going = Vec::new();
        for run in runs {
            let rank = newer.entry(&run.test).or_default();
            *rank += 1;
            let stays = self.keep.is_some_and(|keep| *rank <= keep)
                || self
                    .older_than
                    .as_deref()
                    .is_some_and(|than| run.stamp() >= than)
                || self.keep_invalid && run.word() == "invalid"
                || self.keep_labelled && !run.labels.is_empty()
                || run.status == Status::Running;
            if !stays {
                going.push(run);
            }
        }
        going
    }
}

fn collect(matches: &ArgMatches) -> Result<()> {
    let retention = Retention::of(matches)?;
    let catalog = catalog(args::store(matches))?;
    let going = retention.goes(catalog.runs().map(|run| &**run));
    let size: u64 = going.iter().map(|run| run.size).sum();
    let what = format!("{} runs, {}", going.len(), bytes(size));
    if matches.get_flag("dry-run") {
        for run in &going {
            outln!(
                "would remove {} ({}), {}",
                run.name,
                run.word(),
                bytes(run.size)
            );
        }
        outln!("{what} would be removed");
        return Ok(());
    }
    if !going.is_empty() {
        ask(matches, &what, true)?;
    }
    let mut failed: Option<anyhow::Error> = None;
    let (mut removed, mut freed) = (0, 0);
    for run in &going {
        let gone = catalog.folder(run).and_then(RunFolder::remove);
        match gone.with_context(|| run.name.clone()) {
            Ok(()) => {
                outln!("removed {}", run.name);
                (removed, freed) = (removed + 1, freed + run.size);
            }
            // The others can go all the same.
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    outln!("{removed} runs removed, {}", bytes(freed));
    failed.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn moments_and_sizes() {
        assert_eq!(
            moment("2026-11-22").unwrap().to_string(),
            "2026-11-22T00:00:00Z"
        );
        assert_eq!(
            stamp(moment("2026-11-22T08:00:00.5Z").unwrap()),
            "20261122T080000.500Z"
        );
        let two_days = Timestamp::now().duration_since(moment("2d").unwrap());
        assert!((two_days.as_hours() - 48).abs() <= 1);
        assert!(moment("soon").unwrap_err().contains("2026-11-22"));
        let said: Vec<String> = [0, 999, 1000, 12_345, 9_990_000, 1_500_000_000_000]
            .into_iter()
            .map(bytes)
            .collect();
        assert_eq!(
            said,
            ["0 B", "999 B", "1.0 kB", "12 kB", "10.0 MB", "1.5 TB"]
        );
    }

    fn entry(
        test: &str,
        day: u32,
        valid: Option<checkers::Valid>,
        label: Option<&str>,
    ) -> RunEntry {
        RunEntry {
            id: String::new(),
            name: format!("{test}/202611{day:02}T000000.000Z"),
            test: test.to_owned(),
            status: Status::Finished,
            valid,
            reason: String::new(),
            spec: None,
            labels: label.map(str::to_owned).into_iter().collect(),
            size: 0,
            summary: None,
        }
    }

    #[test]
    fn what_goes_and_what_stays() {
        use checkers::Valid::{False, True};
        let mut runs = [
            entry("a", 9, Some(True), None),
            entry("a", 8, Some(True), None),
            entry("b", 7, Some(True), None),
            entry("a", 6, Some(False), None),
            entry("a", 5, Some(True), Some("x")),
            entry("a", 4, None, None),
            entry("a", 3, None, None),
        ];
        runs[6].status = Status::Running;
        let goes = |keep, than: Option<&str>, keeps| {
            let retention = Retention {
                keep,
                older_than: than.map(str::to_owned),
                keep_invalid: keeps,
                keep_labelled: keeps,
            };
            let going = retention.goes(runs.iter());
            going
                .iter()
                .map(|run| run.name[..10].to_owned())
                .collect::<Vec<_>>()
        };
        let names = |of: &[(&str, u32)]| {
            let name = |(test, day): &(&str, u32)| format!("{test}/202611{day:02}");
            of.iter().map(name).collect::<Vec<_>>()
        };
        assert_eq!(goes(Some(1), None, true), names(&[("a", 8), ("a", 4)]));
        assert_eq!(
            goes(Some(1), None, false),
            names(&[("a", 8), ("a", 6), ("a", 5), ("a", 4)])
        );
        assert_eq!(goes(None, Some("20261107"), true), names(&[("a", 4)]));
        assert_eq!(goes(Some(5), Some("20261107"), true), names(&[]));
    }
}
