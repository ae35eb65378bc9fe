//! The file that keeps what was read of a store's runs.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use store::RunError;

use super::Known;

/// Hidden, and in no run's folder.
const FILE: &str = ".catalog.json";

/// The version of the file: another one is not read.
const VERSION: u32 = 1;

/// More than this is no file of ours.
const BYTES_MAX: u64 = 1 << 30;

#[derive(Serialize, Deserialize)]
struct Kept<R> {
    version: u32,
    /// The version of Gainsay, whose entries another one may not have.
    gainsay: String,
    runs: R,
}

/// What was kept. `None` where there is nothing that this version can use.
pub(super) fn read(root: &Path) -> Option<Vec<Known>> {
    let file = File::open(root.join(FILE)).ok()?;
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes).ok()?;
    let kept: Kept<Vec<Known>> = serde_json::from_slice(&bytes).ok()?;
    let ours = kept.version == VERSION && kept.gainsay == env!("CARGO_PKG_VERSION");
    ours.then_some(kept.runs)
}

/// Keeps it, whole or not at all.
pub(super) fn write<'a>(
    root: &Path,
    runs: impl Iterator<Item = &'a Known>,
) -> Result<(), RunError> {
    let kept = Kept {
        version: VERSION,
        gainsay: env!("CARGO_PKG_VERSION").to_owned(),
        runs: runs.collect::<Vec<_>>(),
    };
    store::write_whole(&root.join(FILE), |out: &mut BufWriter<File>| {
        serde_json::to_writer(&mut *out, &kept).map_err(io::Error::from)?;
        out.flush()
    })
}
