//! GitHub Actions: annotations, which are lines that the runner reads off what a step says, and the step's job summary.
//!
//! Limits as GitHub documents them: 10 annotations of each type a step; 1 MiB of summary a step, and none of it is shown where there is more.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::{Case, Record};
use crate::exit::Exit;

/// Annotations of each type.
const ANNOTATIONS_MAX: usize = 10;
/// The most that is appended to a summary, in bytes.
const SUMMARY_MAX: usize = 256 << 10;
/// The most that a summary may come to with what others have written to it.
const FILE_MAX: u64 = 1000 << 10;
/// Rows of the table.
const ROWS_MAX: usize = 500;
/// Violations that are explained.
const EXPLAINED_MAX: usize = 10;
/// Characters of a text.
const TEXT_MAX: usize = 600;

/// Whether this is a step of GitHub Actions.
pub(super) fn is_here() -> bool {
    std::env::var("GITHUB_ACTIONS").is_ok_and(|value| value == "true")
}

/// Says the annotations, on standard error, which the runner reads too, so that results stay alone on standard output; and appends to
/// the summary.
pub(super) fn tell(record: &Record) -> io::Result<()> {
    for line in annotations(record) {
        eprintln!("{line}");
    }
    match std::env::var_os("GITHUB_STEP_SUMMARY") {
        Some(path) if !path.is_empty() => append(Path::new(&path), &summary(record)),
        _ => Ok(()),
    }
}

/// An error for each violation and each run that failed, a warning for each that could not be decided. What is beyond the limit is
/// counted in the last.
pub(super) fn annotations(record: &Record) -> Vec<String> {
    let errors = |case: &&Case| !matches!(case.exit, Exit::Valid | Exit::Unknown);
    let unknown = |case: &&Case| case.exit == Exit::Unknown;
    let errors: Vec<&Case> = record.cases.iter().filter(errors).collect();
    let warnings: Vec<&Case> = record.cases.iter().filter(unknown).collect();
    [("error", errors), ("warning", warnings)]
        .into_iter()
        .flat_map(|(kind, cases)| lines(kind, &cases))
        .collect()
}

fn lines(kind: &str, cases: &[&Case]) -> Vec<String> {
    let shown = match cases.len() {
        0..=ANNOTATIONS_MAX => cases.len(),
        _ => ANNOTATIONS_MAX - 1,
    };
    let mut lines: Vec<String> = cases[..shown]
        .iter()
        .map(|case| {
            let title = format!("{}: {} ({})", case.group, case.word(), case.name);
            let mut message = cut(&case.reason);
            for (name, value) in case.properties.iter().filter(|(name, _)| *name == "again") {
                message += &format!("\n{name}: {value}");
            }
            annotation(kind, &title, &message)
        })
        .collect();
    if shown < cases.len() {
        let more = format!("{} more are in the job summary", cases.len() - shown);
        lines.push(annotation(kind, "gainsay", &more));
    }
    lines
}

fn annotation(kind: &str, title: &str, message: &str) -> String {
    let escaped = |text: &str| {
        text.replace('%', "%25")
            .replace('\r', "%0D")
            .replace('\n', "%0A")
    };
    let title = escaped(&cut(title)).replace(':', "%3A").replace(',', "%2C");
    format!("::{kind} title={title}::{}", escaped(message))
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(TEXT_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Text of others as Markdown that shows it and nothing else.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    for c in cut(text).chars() {
        match c {
            '\n' | '\r' => plain.push(' '),
            '<' => plain.push_str("&lt;"),
            '>' => plain.push_str("&gt;"),
            '&' => plain.push_str("&amp;"),
            // An address or a name would become a link or a mention.
            '@' => plain.push_str("&#64;"),
            ':' => plain.push_str("&#58;"),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '#' | '+' | '!' | '|'
            | '~' => {
                plain.push('\\');
                plain.push(c);
            }
            c => plain.push(c),
        }
    }
    plain
}

/// The summary, in Markdown.
pub(super) fn summary(record: &Record) -> String {
    let count = |exit: fn(Exit) -> bool| record.cases.iter().filter(|case| exit(case.exit)).count();
    let invalid = count(|exit| exit == Exit::Invalid);
    let unknown = count(|exit| exit == Exit::Unknown);
    let valid = count(|exit| exit == Exit::Valid);
    let failed = record.cases.len() - invalid - unknown - valid;
    let mut text = format!(
        "## {}\n\n**{invalid} invalid**, {failed} failed, {unknown} unknown, {valid} valid",
        plain(&record.title)
    );
    if !record.skipped.is_empty() {
        text += &format!(", {} not run", record.skipped.len());
    }
    text += "\n\n| | Test | Which | Why | Seconds |\n| --- | --- | --- | --- | ---: |\n";
    let mut left_out = 0;
    for (at, case) in record.cases.iter().enumerate() {
        let shape = match case.exit {
            Exit::Valid => "✅",
            Exit::Unknown => "❔",
            _ => "❌",
        };
        let (group, name, reason) = (plain(&case.group), plain(&case.name), plain(&case.reason));
        let row = format!(
            "| {shape} {} | {group} | {name} | {reason} | {:.1} |\n",
            case.word(),
            case.time.as_secs_f64()
        );
        if at >= ROWS_MAX || text.len() + row.len() > SUMMARY_MAX / 2 {
            left_out += 1;
        } else {
            text += &row;
        }
    }
    if left_out > 0 {
        text += &format!("\n{left_out} more are not shown.\n");
    }
    let bad = record
        .cases
        .iter()
        .filter(|case| case.exit != Exit::Valid && !case.details.is_empty());
    for case in bad.take(EXPLAINED_MAX) {
        let mut section = format!("\n### {}: {}\n\n", plain(&case.group), plain(&case.name));
        for line in case.details.iter().take(40) {
            section += &format!("{}  \n", plain(line));
        }
        section += "\n";
        for (name, value) in &case.properties {
            section += &format!("- {name}: {}\n", plain(value));
        }
        if text.len() + section.len() > SUMMARY_MAX {
            break;
        }
        text += &section;
    }
    text + "\n"
}

/// Appends to the summary, all of it or nothing.
pub(super) fn append(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::options().create(true).append(true).open(path)?;
    let before = file.metadata()?.len();
    if before + text.len() as u64 > FILE_MAX {
        return Err(io::Error::other(
            "with what is in it already it would be larger than GitHub shows",
        ));
    }
    file.write_all(text.as_bytes()).inspect_err(|_| {
        let _ = file.set_len(before);
    })
}
