//! Damage to files where they lie: what bad disks, firmware and operators do to data at rest.
//!
//! What was done is read back from the files, and is the evidence. What a system has written and not yet synced of a damaged file becomes
//! durable with the damage. Nothing here can be taken back.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::Failure;
use crate::disk::{Dice, matches};

/// The module's name.
pub const NAME: &str = "corrupt";

/// Which part of which files, and what is done to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The folders with the files.
    pub folders: Vec<PathBuf>,
    /// What is done.
    pub damage: Damage,
    /// To files whose path in a folder, or whose last part, matches this pattern.
    pub glob: String,
    /// At most so many of them.
    pub files: u64,
    /// From this byte on.
    pub from: u64,
    /// To this one, excluded, or to the end.
    #[serde(default)]
    pub to: Option<u64>,
    /// In chunks of so many bytes.
    pub chunk: u64,
    /// Only chunks whose number leaves this rest when divided by that.
    pub every: (u64, u64),
    /// Only files that nobody wrote to for so many milliseconds.
    pub older_ms: u64,
    /// Of its chance.
    pub seed: u64,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Damage {
    /// Bits are turned over, each so probably, one at least.
    Bitflip {
        /// From 0 to 1.
        probability: f64,
    },
    /// A chunk is zeros.
    Zero,
    /// A chunk is also where another should be.
    Copy,
    /// Chunks are again what they were so many milliseconds before.
    Rollback {
        /// So many.
        ms: u64,
    },
    /// Files lose at most so many bytes at their ends.
    Truncate {
        /// So many.
        bytes: u64,
    },
    /// Files are gone.
    Delete,
}

/// What is different.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Files that are different.
    pub files: u64,
    /// Bytes of them that are, or are gone.
    pub bytes: u64,
    /// Some of them.
    pub examples: Vec<Example>,
}

/// Bytes that are different.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// The file.
    pub file: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// What was there, in hexadecimal digits.
    pub before: String,
    /// What was read there afterwards; nothing where the file ends, or is gone.
    pub after: String,
}

/// The most examples that are told.
const EXAMPLES: usize = 8;
/// The most bytes of one.
const EXAMPLE_BYTES: usize = 16;
/// The most bits that are turned over in a file.
const FLIPS_MOST: usize = 10_000;
/// The largest part of a file that is held in memory.
const REGION_MOST: u64 = 256 << 20;

pub(crate) fn handle(request: Request) -> Result<Answer, Failure> {
    let none = || Failure::NotDone(format!("no file to damage matches {}", request.glob));
    let mut dice = Dice::new(request.seed);
    let mut chosen = files(&request);
    // Which files there are is the node's matter; which of them is chance.
    while chosen.len() as u64 > request.files {
        chosen.swap_remove(dice.below(chosen.len() as u64) as usize);
    }
    let mut past = Vec::new();
    if let Damage::Rollback { ms } = request.damage {
        for path in &chosen {
            let kept = Region::read(path, &request);
            past.push(kept.map_err(|error| Failure::NotDone(said(path, &error)))?);
        }
        sleep(Duration::from_millis(ms));
    }
    let mut answer = Answer::default();
    for (at, path) in chosen.iter().enumerate() {
        let damaged = damage(path, &request, past.get(at), &mut dice, &mut answer);
        damaged.map_err(|error| match answer.files {
            0 => Failure::NotDone(said(path, &error)),
            _ => Failure::Indeterminate(said(path, &error)),
        })?;
    }
    match answer.files {
        0 => Err(none()),
        _ => Ok(answer),
    }
}

fn said(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// The files that are meant, in order.
fn files(request: &Request) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let old_enough = |path: &Path| {
        let written = fs::metadata(path).and_then(|file| file.modified());
        let since = written.map(|written| SystemTime::now().duration_since(written));
        matches!(since, Ok(Ok(since)) if since.as_millis() >= request.older_ms.into())
            || request.older_ms == 0
    };
    for root in &request.folders {
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            // What went away meanwhile is not meant.
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                let Ok(kind) = entry.file_type() else {
                    continue;
                };
                if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_file() {
                    let inside = path.strip_prefix(root).unwrap_or(&path);
                    let name = std::os::unix::ffi::OsStrExt::as_bytes(inside.as_os_str());
                    if matches(&request.glob, name) && old_enough(&path) {
                        found.push(path);
                    }
                }
            }
        }
    }
    found.sort();
    found
}

/// The part of a file that may be damaged.
struct Region {
    start: u64,
    bytes: Vec<u8>,
    /// The whole file's.
    length: u64,
}

impl Region {
    fn read(path: &Path, request: &Request) -> io::Result<Region> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let start = request.from.min(length);
        let end = request.to.unwrap_or(length).min(length);
        let end = end.min(start.saturating_add(REGION_MOST)).max(start);
        let mut bytes = vec![0; (end - start) as usize];
        file.read_exact_at(&mut bytes, start)?;
        Ok(Region {
            start,
            bytes,
            length,
        })
    }

    /// The whole chunks that may be damaged, by where they begin; the last may be short.
    fn chunks(&self, request: &Request) -> Vec<usize> {
        let (rest, divisor) = (request.every.0, request.every.1.max(1));
        let chunk = request.chunk.max(1);
        let first = self.start.next_multiple_of(chunk);
        let end = self.start + self.bytes.len() as u64;
        // A region without a whole chunk is one.
        if first >= end && divisor == 1 {
            return if self.bytes.is_empty() {
                Vec::new()
            } else {
                vec![0]
            };
        }
        (first..end)
            .step_by(chunk as usize)
            .filter(|start| start / chunk % divisor == rest)
            .map(|start| (start - self.start) as usize)
            .collect()
    }
}

fn damage(
    path: &Path,
    request: &Request,
    past: Option<&Region>,
    dice: &mut Dice,
    answer: &mut Answer,
) -> io::Result<()> {
    let before = Region::read(path, request)?;
    let chunks = before.chunks(request);
    let size = request.chunk.max(1) as usize;
    let mut wanted = before.bytes.clone();
    let part = |start: usize, bytes: &[u8]| start..(start + size).min(bytes.len());
    match request.damage {
        Damage::Delete => {
            fs::remove_file(path)?;
            sync_folder(path)?;
            answer.tell(path, before.length, &before, None);
            return Ok(());
        }
        Damage::Truncate { bytes } => {
            let cut = 1 + dice.below(bytes.clamp(1, before.length.max(1)));
            if before.length == 0 {
                return Ok(());
            }
            let file = File::options().write(true).open(path)?;
            file.set_len(before.length.saturating_sub(cut))?;
            file.sync_all()?;
            answer.tell(path, cut, &before, Some(&Region::read(path, request)?));
            return Ok(());
        }
        _ if chunks.is_empty() => return Ok(()),
        Damage::Bitflip { probability } => flip(&mut wanted, &chunks, size, probability, dice),
        Damage::Zero => {
            let start = chunks[dice.below(chunks.len() as u64) as usize];
            let range = part(start, &wanted);
            wanted[range].fill(0);
        }
        Damage::Copy => {
            let from = dice.below(before.bytes.len().div_ceil(size) as u64) as usize * size;
            let to = chunks[dice.below(chunks.len() as u64) as usize];
            let source = before.bytes[part(from, &before.bytes)].to_vec();
            let length = source.len().min(wanted.len() - to);
            wanted[to..to + length].copy_from_slice(&source[..length]);
        }
        Damage::Rollback { .. } => {
            let past = past.map(|past| &past.bytes[..]).unwrap_or_default();
            for start in &chunks {
                let end = part(*start, &wanted).end.min(past.len());
                if *start < end {
                    wanted[*start..end].copy_from_slice(&past[*start..end]);
                }
            }
        }
    }
    let file = File::options().write(true).open(path)?;
    for (at, _) in differences(&before.bytes, &wanted) {
        // Only what is different: what the system writes meanwhile beside it stays.
        file.write_all_at(&wanted[at..=at], before.start + at as u64)?;
    }
    file.sync_all()?;
    let after = Region::read(path, request)?;
    let changed = differences(&before.bytes, &wanted)
        .filter(|(at, _)| after.bytes.get(*at) == wanted.get(*at));
    let changed = changed.count() as u64;
    if changed > 0 {
        answer.tell(path, changed, &before, Some(&after));
    }
    Ok(())
}

fn differences<'a>(a: &'a [u8], b: &'a [u8]) -> impl Iterator<Item = (usize, u8)> + 'a {
    let pairs = a.iter().zip(b).enumerate();
    pairs
        .filter(|(_, (a, b))| a != b)
        .map(|(at, (_, b))| (at, *b))
}

/// Turns bits over, with gaps between them as chance has them.
fn flip(bytes: &mut [u8], chunks: &[usize], size: usize, probability: f64, dice: &mut Dice) {
    let in_chunk = |start: usize, end: usize| (end - start) as u64 * 8;
    let mut flipped = 0;
    for start in chunks {
        let end = (start + size).min(bytes.len());
        let mut bit = gap(probability, dice);
        while bit < in_chunk(*start, end) && flipped < FLIPS_MOST {
            bytes[start + (bit / 8) as usize] ^= 1 << (bit % 8);
            flipped += 1;
            bit = bit.saturating_add(1).saturating_add(gap(probability, dice));
        }
    }
    if flipped == 0 {
        let start = chunks[dice.below(chunks.len() as u64) as usize];
        let end = (start + size).min(bytes.len());
        let bit = dice.below(in_chunk(start, end));
        bytes[start + (bit / 8) as usize] ^= 1 << (bit % 8);
    }
}

/// How many bits stay before the next is turned over: geometrically distributed.
fn gap(probability: f64, dice: &mut Dice) -> u64 {
    match probability {
        p if p >= 1.0 => 0,
        p if p <= 0.0 => u64::MAX,
        p => ((1.0 - dice.unit()).ln() / (1.0 - p).ln()) as u64,
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

impl Answer {
    /// A file is different.
    fn tell(&mut self, path: &Path, bytes: u64, before: &Region, after: Option<&Region>) {
        self.files += 1;
        self.bytes += bytes;
        if self.examples.len() >= EXAMPLES {
            return;
        }
        let empty: &[u8] = &[];
        let after = after.map_or(empty, |after| &after.bytes);
        let first = differences(&before.bytes, after).next();
        let at = first.map_or(after.len().min(before.bytes.len()), |(at, _)| at);
        let some = |bytes: &[u8]| {
            let bytes = bytes.get(at..).unwrap_or_default();
            let bytes = bytes.iter().take(EXAMPLE_BYTES);
            bytes.map(|byte| format!("{byte:02x}")).collect()
        };
        self.examples.push(Example {
            file: path.to_owned(),
            offset: before.start + at as u64,
            before: some(&before.bytes),
            after: some(after),
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Damages a file of 64 KiB, and returns what was there before and after.
    fn damaged(damage: Damage, every: (u64, u64)) -> (Answer, Vec<u8>, Option<Vec<u8>>) {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let before: Vec<u8> = (0..65_536u32)
            .map(|at| (at / 256 + at % 251) as u8 | 1)
            .collect();
        fs::write(inner.join("x.db"), &before).unwrap();
        fs::write(inner.join("y.log"), b"not meant").unwrap();
        let request = Request {
            folders: vec![folder.path().to_owned()],
            damage,
            glob: "*.db".to_owned(),
            files: 1,
            from: 8192,
            to: Some(57_344),
            chunk: 4096,
            every,
            older_ms: 0,
            seed: 7,
        };
        let answer = handle(request).unwrap();
        assert_eq!(fs::read(inner.join("y.log")).unwrap(), b"not meant");
        (answer, before, fs::read(inner.join("x.db")).ok())
    }

    #[test]
    fn what_is_said_to_be_different_is() {
        let flips = Damage::Bitflip { probability: 1e-4 };
        for damage in [flips, Damage::Zero, Damage::Copy] {
            let (answer, before, after) = damaged(damage.clone(), (0, 1));
            let after = after.unwrap();
            let different: Vec<usize> = differences(&before, &after).map(|(at, _)| at).collect();
            assert_eq!(answer.bytes, different.len() as u64, "{damage:?}");
            assert!(!different.is_empty());
            assert!(different.iter().all(|at| (8192..57_344).contains(at)));
            let example = &answer.examples[0];
            assert_eq!(example.offset, different[0] as u64);
            let hex = format!("{:02x}", after[different[0]]);
            assert!(example.after.starts_with(&hex) && !example.before.starts_with(&hex));
        }
    }

    #[test]
    fn one_bit_at_least() {
        let (answer, ..) = damaged(Damage::Bitflip { probability: 0.0 }, (0, 1));
        assert_eq!(answer.bytes, 1);
    }

    #[test]
    fn only_chunks_whose_turn_it_is() {
        let (_, before, after) = damaged(Damage::Bitflip { probability: 1e-2 }, (1, 3));
        let after = after.unwrap();
        let chunks = differences(&before, &after).map(|(at, _)| at / 4096 % 3);
        let chunks: Vec<usize> = chunks.collect();
        assert!(chunks.len() > 3);
        assert!(chunks.iter().all(|rest| *rest == 1));
    }

    #[test]
    fn ends_and_whole_files_are_gone() {
        let (answer, before, after) = damaged(Damage::Truncate { bytes: 100 }, (0, 1));
        let after = after.unwrap();
        assert_eq!(answer.bytes, (before.len() - after.len()) as u64);
        assert!((1..=100).contains(&answer.bytes));
        let (answer, before, after) = damaged(Damage::Delete, (0, 1));
        assert_eq!((answer.bytes, after), (before.len() as u64, None));
    }

    #[test]
    fn what_was_written_meanwhile_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs::write(&path, [1; 4096]).unwrap();
        let request = Request {
            folders: vec![folder.path().to_owned()],
            damage: Damage::Rollback { ms: 300 },
            glob: "*".to_owned(),
            files: 9,
            from: 0,
            to: None,
            chunk: 512,
            every: (0, 1),
            older_ms: 0,
            seed: 1,
        };
        let writer = std::thread::spawn({
            let path = path.clone();
            move || {
                sleep(Duration::from_millis(100));
                let file = File::options().write(true).open(path).unwrap();
                file.write_all_at(&[2; 5000], 0).unwrap();
            }
        });
        let answer = handle(request).unwrap();
        writer.join().unwrap();
        assert_eq!(answer.bytes, 4096);
        let after = fs::read(&path).unwrap();
        assert_eq!(&after[..4096], [1; 4096]);
        assert_eq!(&after[4096..], [2; 904], "what was appended stays");
    }

    #[test]
    fn nothing_that_is_meant_is_nothing_done() {
        let folder = tempfile::tempdir().unwrap();
        let request = Request {
            folders: vec![folder.path().to_owned()],
            damage: Damage::Delete,
            glob: "*".to_owned(),
            files: 1,
            from: 0,
            to: None,
            chunk: 512,
            every: (0, 1),
            older_ms: 0,
            seed: 1,
        };
        assert!(matches!(handle(request), Err(Failure::NotDone(_))));
    }
}
