//! A file system between a system and its data, which knows what is not synced.
//!
//! It stands over a folder from before the system starts until after its end, and passes everything through to the
//! plain files beneath, so that they are there, whole, whenever it goes. What it adds:
//!
//! - **Faults of a disk** ([`rules`]): errors by operation, path and probability, delays, stalls, short writes, an `fsync`
//!   that fails or lies, a disk that is full.
//! - **A power cut** that loses what is not synced, entries of directories included.
//!
//! # What is durable
//!
//! The model is that of a journalling file system such as ext4 (ordered data) or XFS, taken at the least that it promises:
//!
//! - The content and the length of a file are durable up to its last `fsync`, `fdatasync` or write through a descriptor with
//!   `O_SYNC` or `O_DSYNC`. Pages written later ([`content`]) are lost, each as a whole, and so is what was appended or cut off.
//! - Operations on entries (create, link, rename, unlink, mkdir, rmdir; also owner, mode and extended attributes) are a journal
//!   ([`entries`]): one sequence, of which a *prefix* is durable. `fsync` of a directory makes durable all up to the last that
//!   concerns it; `fsync` of a file all up to the last that concerns it; `fdatasync` of a file all up to its
//!   creation. So a file that was created, written and synced is there after a cut, as it is on ext4, although POSIX does not
//!   promise it; one that was then renamed is there under one of its names, and no rename is seen without what came before it.
//! - Nothing is durable by the passing of time: a kernel writes back after some seconds, but does not promise it. Only where what
//!   is kept of the past would exceed its [limit](store::KEPT_MOST) is a file written back as under pressure of memory.
//!
//! After a failed `fsync` the pages that it was for are as Linux leaves them: clean, and not written. A later `fsync` that succeeds
//! does not make them durable, unless they were written again.
//!
//! `sync_file_range` promises nothing (it flushes no disk's cache), and does nothing here. `sync` and `syncfs` do not reach a
//! file system in user space. Reads that the page cache answers are not seen.
//!
//! LazyFS (Azevedo et al., VLDB 2024) is the like of it; it keeps unsynced data in memory and entries eagerly durable.

mod content;
pub mod control;
mod daemon;
mod dice;
mod entries;
mod node;
mod rules;
mod serve;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use daemon::{command, detach, mounted, start};
pub(crate) use dice::Dice;
pub(crate) use rules::matches;
