//! `gainsay export RUN|FILE`: a history for other tools.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Arg, ArgMatches, Command, value_parser};
use store::export::{ExportFormat, exporter};
use store::import::read_each;
use store::{Flow, write_whole};

use super::{BadArguments, args, source};
use crate::exit::Exit;

pub(super) fn command() -> Command {
    let formats = ExportFormat::ALL.iter().map(|format| format.name());
    Command::new("export")
        .about("Write a history for other tools")
        .after_help(format!(
            "{}\n\n\
             jsonl, edn and json are read back as the same history by gainsay, and edn by Jepsen's tools; perfetto is a trace for\n\
             https://ui.perfetto.dev, which reads it without sending it anywhere; parquet is a table with a row for each event.",
            source::HELP
        ))
        .arg(source::argument())
        .arg(
            Arg::new("format")
                .long("format")
                .value_name("FORMAT")
                .required(true)
                .value_parser(clap::builder::PossibleValuesParser::new(formats))
                .help("What to write"),
        )
        .arg(
            Arg::new("output")
                .short('o')
                .long("output")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Where to [default: standard output]"),
        )
        .args(source::reading_args("from"))
        .arg(args::store_arg())
}

pub(super) fn run(matches: &ArgMatches) -> Result<Exit> {
    let name = matches.get_one::<String>("format").map_or("", |name| name);
    let format = ExportFormat::ALL
        .iter()
        .find(|format| format.name() == name);
    let format = *format.with_context(|| format!("there is no format {name:?}"))?;
    let output = matches.get_one::<PathBuf>("output");
    if output.is_none() && format.is_binary() && io::stdout().is_terminal() {
        let message = format!("{name} is nothing for a terminal: name a file with -o FILE");
        return Err(BadArguments(message).into());
    }
    let path = source::find(args::store(matches), args::text(matches, "source"))?;
    let reading = source::reading(matches)?;
    match output {
        Some(file) => to_file(&path, &reading, format, file),
        None => match to_writer(&path, &reading, format, io::stdout()) {
            // Nobody reads it any more (`| head`).
            Err(Failure::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(|failure| failure.describe("standard output")),
        },
    }?;
    Ok(Exit::Valid)
}

/// Writes a file that is whole or not there.
fn to_file(
    path: &Path,
    reading: &source::Reading,
    format: ExportFormat,
    file: &Path,
) -> Result<()> {
    let mut failure = None;
    let written = write_whole(file, |out| {
        to_writer(path, reading, format, out).map_err(|why| {
            failure = Some(why);
            io::Error::other("the export failed")
        })
    });
    match failure {
        Some(why) => Err(why.describe(&file.display().to_string())),
        None => Ok(written?),
    }
}

/// What can go wrong.
enum Failure {
    Read(store::LoadError),
    Write(io::Error),
}

impl Failure {
    fn describe(self, to: &str) -> anyhow::Error {
        match self {
            Failure::Read(error) => error.into(),
            Failure::Write(error) => {
                anyhow::Error::new(error).context(format!("cannot write {to}"))
            }
        }
    }
}

fn to_writer(
    path: &Path,
    reading: &source::Reading,
    format: ExportFormat,
    out: impl Write + Send,
) -> Result<(), Failure> {
    let mut exporter = exporter(format, out).map_err(Failure::Write)?;
    let mut failed = None;
    let torn = read_each(
        path,
        reading.format,
        reading.options,
        &mut |batch| match exporter.write(batch) {
            Ok(()) => Flow::Continue(()),
            Err(error) => {
                failed = Some(error);
                Flow::Break(())
            }
        },
    )
    .map_err(Failure::Read)?;
    if let Some(error) = failed {
        return Err(Failure::Write(error));
    }
    if let Some(torn) = torn {
        eprintln!("{}: {torn}", path.display());
    }
    exporter.finish().map_err(Failure::Write)
}
