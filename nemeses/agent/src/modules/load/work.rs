//! What the process of a load does: `gainsay-agent work-load PARENT`.
//!
//! Its first line of input says what to do; each further one asks how far it has come. It ends with its input, and with its parent.

use std::io::{self, BufRead, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Seen, room};
use crate::disk::Dice;
use crate::modules::nameless;
use crate::modules::processes::dies_with;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Work {
    /// Be busy.
    Cpu { workers: u32, share: u32 },
    /// Have so much memory, but only while so much is left.
    Memory { bytes: u64, reserve: u64 },
    /// Write, sync and read in files of a folder.
    Io {
        workers: u32,
        bytes: u64,
        folder: PathBuf,
    },
}

impl Work {
    pub(super) fn threads(&self) -> u32 {
        match self {
            Work::Cpu { workers, .. } | Work::Io { workers, .. } => *workers,
            Work::Memory { .. } => 1,
        }
    }

    /// Bytes that it is to have.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Work::Cpu { .. } => 0,
            Work::Memory { bytes, .. } => *bytes,
            Work::Io { workers, bytes, .. } => u64::from(*workers) * bytes,
        }
    }

    /// Whether what was seen proves it.
    pub(super) fn is_proved(&self, seen: &Seen) -> bool {
        match self {
            // Two ticks: one may be another's.
            Work::Cpu { .. } => seen.cpu_ms >= 20,
            Work::Memory { bytes, .. } => seen.resident >= bytes / 100 * 99,
            Work::Io { .. } => seen.syncs > 0 && seen.synced > 0,
        }
    }
}

/// The first line.
#[derive(Deserialize)]
struct Order {
    work: Work,
    low: bool,
}

/// How far it has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Counters {
    pub(super) synced: u64,
    pub(super) syncs: u64,
    pub(super) read: u64,
    pub(super) trouble: Option<String>,
}

/// What the threads count together.
#[derive(Default)]
struct Shared {
    synced: AtomicU64,
    syncs: AtomicU64,
    read: AtomicU64,
    trouble: Mutex<Option<String>>,
}

impl Shared {
    fn fail(&self, why: String) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.get_or_insert(why);
    }

    fn counters(&self) -> Counters {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        Counters {
            synced: self.synced.load(Relaxed),
            syncs: self.syncs.load(Relaxed),
            read: self.read.load(Relaxed),
            trouble: trouble.clone(),
        }
    }
}

/// The process.
pub(crate) fn work(parent: &str) -> ExitCode {
    if !dies_with(parent) {
        return ExitCode::FAILURE;
    }
    let shared = Arc::new(Shared::default());
    let mut lines = io::stdin().lock().lines();
    let Some(Ok(Ok(order))) = lines
        .next()
        .map(|line| line.map(|it| serde_json::from_str(&it)))
    else {
        return ExitCode::FAILURE;
    };
    begin(order, &shared);
    loop {
        let counters = serde_json::to_string(&shared.counters()).unwrap_or_default();
        if writeln!(io::stdout(), "{counters}").is_err() {
            return ExitCode::SUCCESS;
        }
        if !matches!(lines.next(), Some(Ok(_))) {
            return ExitCode::SUCCESS;
        }
    }
}

fn begin(order: Order, shared: &Arc<Shared>) {
    let Order { work, low } = order;
    // The first to go if memory is short, unless that is the point.
    let spared = matches!(work, Work::Memory { reserve: 0, .. });
    let score = if spared { "-1000" } else { "1000" };
    let _ = std::fs::write("/proc/self/oom_score_adj", score);
    // SAFETY: both only concern this process, whose only thread this is.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, if low { 19 } else { 0 });
        if low {
            const WHO_PROCESS: i32 = 1;
            const CLASS_IDLE: i32 = 3 << 13;
            libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, CLASS_IDLE);
        }
    }
    for number in 0..work.threads() {
        let (work, shared) = (work.clone(), Arc::clone(shared));
        let worker = move || match work {
            Work::Cpu { share, .. } => be_busy(share),
            Work::Memory { bytes, reserve } => have(bytes, reserve, &shared),
            Work::Io { bytes, folder, .. } => {
                if let Err(error) = write_and_read(&folder, bytes, number.into(), &shared) {
                    shared.fail(format!("{}: {error}", folder.display()));
                }
            }
        };
        thread::spawn(worker);
    }
}

/// The time in which a share is a share.
const PERIOD: Duration = Duration::from_millis(20);

fn be_busy(share: u32) {
    loop {
        let began = Instant::now();
        let busy = PERIOD * share / 100;
        while began.elapsed() < busy {
            std::hint::spin_loop();
        }
        if share < 100 {
            thread::sleep(PERIOD.saturating_sub(began.elapsed()));
        }
    }
}

/// Taken at once, between two looks at what is left. More than any allocator keeps when it is given back.
const PART: u64 = 64 << 20;
/// Numbers in a page.
const PAGE: usize = 4096 / size_of::<u64>();
/// Between two rounds through all of it.
const ROUND: Duration = Duration::from_millis(200);

/// Has memory, and uses all of it again and again. What others need is given back.
fn have(bytes: u64, reserve: u64, shared: &Shared) {
    let mut noise = 0x9e37_79b9_7f4a_7c15 ^ bytes;
    let mut parts: Vec<Vec<u64>> = Vec::new();
    let mut left = bytes;
    loop {
        let room = room::available();
        if room < reserve {
            shared.fail("memory that others needed was given back".to_owned());
            parts.pop();
            left = 0;
        } else if left > 0 {
            let part = left
                .min(PART)
                .min(room.saturating_sub(reserve).max(PART / 16));
            parts.push(noise_of(part, &mut noise));
            left -= part;
            continue;
        }
        for part in &mut parts {
            for number in part.iter_mut().step_by(PAGE) {
                *number = number.wrapping_add(1);
            }
        }
        thread::sleep(ROUND);
    }
}

/// Bytes that no kernel can merge or compress.
fn noise_of(bytes: u64, noise: &mut u64) -> Vec<u64> {
    let next = || {
        *noise ^= *noise << 13;
        *noise ^= *noise >> 7;
        *noise ^= *noise << 17;
        *noise
    };
    let count = bytes as usize / size_of::<u64>();
    std::iter::repeat_with(next).take(count).collect()
}

/// What is written and read at once.
const BLOCK: usize = 64 << 10;

/// Writes blocks at random places of a file, each synced, and reads others from the disk.
fn write_and_read(folder: &Path, bytes: u64, seed: u64, shared: &Shared) -> io::Result<()> {
    let file = nameless(folder, 0)?;
    let blocks = (bytes / BLOCK as u64).max(1);
    let mut noise = 0x2545_f491_4f6c_dd1d ^ (seed + 1);
    let mut dice = Dice::new(seed);
    let block = noise_of(BLOCK as u64, &mut noise);
    let mut block: Vec<u8> = block.iter().flat_map(|it| it.to_ne_bytes()).collect();
    // Written once from end to end, so that reads find something.
    let mut written = 0;
    loop {
        let at = match written < blocks {
            true => written,
            false => dice.below(blocks),
        };
        block[..8].copy_from_slice(&written.to_ne_bytes());
        file.write_all_at(&block, at * BLOCK as u64)?;
        file.sync_data()?;
        written += 1;
        shared.synced.fetch_add(BLOCK as u64, Relaxed);
        shared.syncs.fetch_add(1, Relaxed);
        let from = dice.below(blocks.min(written)) * BLOCK as u64;
        // Else the page cache would answer.
        // SAFETY: the file is open.
        unsafe {
            libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED);
        }
        file.read_exact_at(&mut block, from)?;
        shared.read.fetch_add(BLOCK as u64, Relaxed);
    }
}
