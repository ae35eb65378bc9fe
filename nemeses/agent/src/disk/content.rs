//! What a file was when it was last synced, as far as it is another now.
//!
//! The file beneath has the present; kept here is the past: pages as they were before they were first written after a
//! sync, and the length. A sync forgets it, a power cut puts it back. So a sync costs nothing more than the
//! real one, and nothing is lost with the process that keeps this.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::control::{Lost, Survival};
use super::dice::Dice;

/// Bytes of a page: what a kernel writes back as one.
pub(crate) const PAGE: u64 = 4096;
/// Bytes of a sector: what a disk writes as one.
const SECTOR: u64 = 512;

/// A page as it was.
struct Page {
    /// Its bytes, with zeros after the durable end; none if all are zeros.
    before: Option<Box<[u8]>>,
    /// Whether the kernel has given it up: it failed to write it, and believes that it need not.
    given_up: bool,
}

/// The past of a file.
#[derive(Default)]
pub(crate) struct Unsynced {
    /// The durable length. None: all is durable.
    durable: Option<u64>,
    pages: BTreeMap<u64, Page>,
}

impl Unsynced {
    pub(crate) fn is_clean(&self) -> bool {
        self.durable.is_none()
    }

    /// Bytes that are kept.
    fn kept(&self) -> u64 {
        self.pages.len() as u64 * PAGE
    }

    /// Whether no more than so many bytes would be kept if a range were about to change.
    pub(crate) fn would_fit(&self, file: &File, from: u64, to: u64, most: u64) -> io::Result<bool> {
        let left = most.saturating_sub(self.kept());
        if to.saturating_sub(from) <= left {
            return Ok(true);
        }
        let durable = match self.durable {
            Some(durable) => durable,
            None => file.metadata()?.len(),
        };
        Ok(to.min(durable).saturating_sub(from) <= left)
    }

    /// A range is about to be written.
    pub(crate) fn before_write(&mut self, file: &File, from: u64, to: u64) -> io::Result<()> {
        let durable = self.begin(file)?;
        // What is written again is not given up any more, wherever it is.
        for (_, page) in self.pages.range_mut(from / PAGE..to.div_ceil(PAGE)) {
            page.given_up = false;
        }
        let last = to.min(durable).div_ceil(PAGE);
        for number in from / PAGE..last {
            self.keep(file, number, durable)?;
        }
        Ok(())
    }

    /// The file is about to get another length.
    pub(crate) fn before_length(&mut self, file: &File, length: u64) -> io::Result<()> {
        let durable = self.begin(file)?;
        if length < file.metadata()?.len() {
            // What is cut off is nowhere any more, and the page in which the end is, is written.
            for (_, page) in self.pages.range_mut(length / PAGE..) {
                page.given_up = false;
            }
        }
        for number in length / PAGE..durable.div_ceil(PAGE) {
            self.keep(file, number, durable)?;
        }
        Ok(())
    }

    fn begin(&mut self, file: &File) -> io::Result<u64> {
        match self.durable {
            Some(durable) => Ok(durable),
            None => Ok(*self.durable.insert(file.metadata()?.len())),
        }
    }

    fn keep(&mut self, file: &File, number: u64, durable: u64) -> io::Result<()> {
        if self.pages.contains_key(&number) {
            return Ok(());
        }
        let start = number * PAGE;
        let mut bytes = vec![0; PAGE as usize];
        let known = (durable - start).min(PAGE) as usize;
        read_at_most(file, &mut bytes[..known], start)?;
        let before = bytes.iter().any(|byte| *byte != 0);
        let page = Page {
            before: before.then(|| bytes.into_boxed_slice()),
            given_up: false,
        };
        self.pages.insert(number, page);
        Ok(())
    }

    /// The file was synced.
    pub(crate) fn synced(&mut self, file: &File) -> io::Result<()> {
        let length = file.metadata()?.len();
        // The length is durable: what was given up behind it is nowhere any more, and zeros should the file grow again.
        self.pages
            .retain(|number, page| page.given_up && number * PAGE < length);
        if let Some(bytes) = self
            .pages
            .get_mut(&(length / PAGE))
            .and_then(|page| page.before.as_mut())
        {
            bytes[(length % PAGE) as usize..].fill(0);
        }
        self.durable = (!self.pages.is_empty()).then_some(length);
        Ok(())
    }

    /// A sync of the file failed: what it was for is never written, unless it is written again.
    pub(crate) fn given_up(&mut self, file: &File) -> io::Result<()> {
        let Some(durable) = self.durable else {
            return Ok(());
        };
        let length = file.metadata()?.len();
        // Appended pages were zeros, if the length ever becomes durable.
        for number in durable.div_ceil(PAGE)..length.div_ceil(PAGE) {
            self.pages.entry(number).or_insert(Page {
                before: None,
                given_up: false,
            });
        }
        self.pages
            .values_mut()
            .for_each(|page| page.given_up = true);
        Ok(())
    }

    /// Makes the file what remains of it after a power cut, and forgets the past.
    pub(crate) fn restore(
        &mut self,
        file: &File,
        survival: Survival,
        dice: &mut Dice,
        lost: &mut Lost,
    ) -> io::Result<()> {
        let (past, pages) = (self.durable.take(), std::mem::take(&mut self.pages));
        let Some(durable) = past else {
            return Ok(());
        };
        let now = file.metadata()?.len();
        let length = surviving_length(durable, now, survival, dice);
        let mut bytes = now.saturating_sub(length);
        for (number, page) in pages {
            let end = ((number + 1) * PAGE).min(length);
            let start = number * PAGE;
            if start >= end {
                continue;
            }
            let zeros = [0; PAGE as usize];
            let before = page.before.as_deref().unwrap_or(&zeros);
            let mut after = vec![0; (end - start) as usize];
            read_at_most(file, &mut after, start)?;
            let unit = unit(survival) as usize;
            for (at, present) in after.chunks_mut(unit).enumerate() {
                let past = &before[at * unit..at * unit + present.len()];
                let survives = match survival {
                    Survival::Nothing => false,
                    Survival::Some | Survival::Torn => !page.given_up && dice.coin(),
                };
                // Where the file had been cut off, there is nothing that could survive.
                let there = start + ((at * unit) as u64) < now;
                if !(survives && there) {
                    bytes += differing(past, present);
                    present.copy_from_slice(past);
                }
            }
            file.write_all_at(&after, start)?;
        }
        file.set_len(length)?;
        lost.bytes += bytes;
        lost.files += u64::from(bytes > 0 || now != length);
        Ok(())
    }
}

fn unit(survival: Survival) -> u64 {
    match survival {
        Survival::Torn => SECTOR,
        Survival::Nothing | Survival::Some => PAGE,
    }
}

/// How long a file is after a cut: what was appended survives from its beginning, a truncation as a whole.
fn surviving_length(durable: u64, now: u64, survival: Survival, dice: &mut Dice) -> u64 {
    match survival {
        Survival::Nothing => durable,
        _ if now > durable => {
            let drawn = durable + dice.below(now - durable + 1);
            let whole = drawn.next_multiple_of(unit(survival));
            whole.min(now)
        }
        _ => match dice.coin() {
            true => now,
            false => durable,
        },
    }
}

fn differing(a: &[u8], b: &[u8]) -> u64 {
    a.iter().zip(b).filter(|(a, b)| a != b).count() as u64
}

/// Reads until the end of the file, at most; how much.
fn read_at_most(file: &File, bytes: &mut [u8], at: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < bytes.len() {
        match file.read_at(&mut bytes[done..], at + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
