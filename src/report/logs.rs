//! Lines of nodes' logs that a person should see: panics, failed assertions, no memory, damage.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use maud::{Markup, html};

/// What is looked for, in lower case, and what it is called.
const PATTERNS: [(&str, &str); 22] = [
    ("panic:", "panic"),
    ("panicked at", "panic"),
    ("\"level\":\"panic\"", "panic"),
    ("\"level\":\"fatal\"", "fatal error"),
    ("[fatal]", "fatal error"),
    ("\"s\":\"f\"", "fatal error"),
    ("fatal error", "fatal error"),
    ("fatal:", "fatal error"),
    ("segmentation fault", "crash"),
    ("sigsegv", "crash"),
    ("sigabrt", "crash"),
    ("stack trace:", "crash"),
    ("assertion fail", "failed assertion"),
    ("assertionerror", "failed assertion"),
    ("invariant failure", "failed assertion"),
    ("out of memory", "out of memory"),
    ("outofmemory", "out of memory"),
    ("oom-kill", "out of memory"),
    ("no space left on device", "disk full"),
    ("corrupt", "damage"),
    ("checksum mismatch", "damage"),
    ("crc mismatch", "damage"),
];
/// Bytes of one file that are looked through: its end, where it is longer.
const BYTES_MAX: u64 = 64 << 20;
/// Files that are looked through.
const FILES_MAX: usize = 500;
/// Bytes of one line that are looked at.
const LINE_MAX: u64 = 64 << 10;
/// Characters of a line that are shown.
const SHOWN_MAX: usize = 400;
/// Lines of one kind in one file that are shown; more are counted.
const LINES_MAX: usize = 3;

/// What was found of one kind in one file.
#[derive(Debug, PartialEq)]
pub(super) struct Excerpt {
    /// The node, or whose folder it is.
    pub(super) node: String,
    /// The file, within the node's folder.
    pub(super) file: String,
    /// What it is.
    pub(super) what: &'static str,
    /// How many lines.
    pub(super) count: usize,
    /// The first of them: number (from 1; 0 where only the end of a long file was read) and text.
    pub(super) lines: Vec<(usize, String)>,
}

/// Looks through the logs in a run's folder: the files in its nodes' folders. What cannot be read is passed over.
pub(super) fn excerpts(run: &Path) -> Vec<Excerpt> {
    let mut found = Vec::new();
    let mut files = 0;
    for folder in entries(run).into_iter().filter(|path| path.is_dir()) {
        let node = name(&folder);
        for file in entries(&folder).into_iter().filter(|path| path.is_file()) {
            files += 1;
            if files > FILES_MAX {
                return found;
            }
            found.extend(look(&node, &file));
        }
    }
    found
}

/// What is in a folder, in order of name, without links.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_symlink()))
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn look(node: &str, path: &Path) -> Vec<Excerpt> {
    let Ok(mut file) = File::open(path) else {
        return Vec::new();
    };
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let cut = length.saturating_sub(BYTES_MAX);
    if cut > 0 && std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(cut)).is_err() {
        return Vec::new();
    }
    let mut kinds: BTreeMap<&'static str, Excerpt> = BTreeMap::new();
    let mut reader = BufReader::new(file.take(BYTES_MAX));
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        match reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => break,
            Ok(_) => number += 1,
        }
        let text = String::from_utf8_lossy(&line);
        let lower = text.to_lowercase();
        let Some((_, what)) = PATTERNS.iter().find(|(pattern, _)| lower.contains(pattern)) else {
            continue;
        };
        let excerpt = kinds.entry(what).or_insert_with(|| Excerpt {
            node: node.to_owned(),
            file: name(path),
            what,
            count: 0,
            lines: Vec::new(),
        });
        excerpt.count += 1;
        if excerpt.lines.len() < LINES_MAX {
            let shown = text.trim_end().chars().take(SHOWN_MAX).collect();
            excerpt
                .lines
                .push((if cut > 0 { 0 } else { number }, shown));
        }
    }
    kinds.into_values().collect()
}

/// The table of what was found.
pub(super) fn logs(excerpts: &[Excerpt]) -> Markup {
    html! {
        @if !excerpts.is_empty() {
            h2 { "From the logs" }
            p.soft { "Lines that look like panics, failed assertions, a lack of memory or room, or damage. Faults cause some of them; what they mean is for you to judge." }
            @for excerpt in excerpts {
                h3 { (excerpt.node) ": " (excerpt.what) span.soft { " · " (excerpt.file) ", " (excerpt.count) @if excerpt.count == 1 { " line" } @else { " lines" } } }
                pre { @for (number, line) in &excerpt.lines { @if *number > 0 { (number) ": " } (line) "\n" } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lines_that_matter_are_found_and_counted() {
        let run = tempfile::tempdir().unwrap();
        let node = run.path().join("n1");
        fs::create_dir(&node).unwrap();
        let log = "started\npanic: runtime error: <script>alert(1)</script>\nfine\nPANIC: again\npanic: 3\npanic: 4\nwal: CRC mismatch\n";
        fs::write(node.join("etcd.log"), log).unwrap();
        // Not a node's, and not followed.
        fs::write(run.path().join("gainsay.log"), "panic: ours").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", node.join("link")).unwrap();
        let found = excerpts(run.path());
        let told: Vec<(&str, usize, usize)> = found
            .iter()
            .map(|it| (it.what, it.count, it.lines[0].0))
            .collect();
        assert_eq!(told, [("damage", 1, 7), ("panic", 4, 2)]);
        assert_eq!(found[1].lines.len(), LINES_MAX);
        let html = logs(&found).into_string();
        assert!(html.contains("&lt;script&gt;") && !html.contains("<script>"));
    }
}
