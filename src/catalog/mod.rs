//! All runs of a store, in a few words each.
//!
//! Reading a run's files takes a millisecond, and there are thousands of runs; so what was read is kept in one hidden file of the
//! store ([`cache`]) with a [`Mark`] of the files that it was read from. Whoever lists runs compares marks and reads again what has
//! another. The file is no part of the store: without it, or with one that is damaged or of another version, everything is
//! read anew, and a store that cannot be written is read anew by every process.
//!
//! A run *goes on* while a process [holds](store::RunFolder::hold) its folder, a lock of the kernel's that ends with that process however it
//! ends; so a run without results that nobody holds has *died*. That is asked anew each time, and never kept.

mod cache;
mod entry;
mod mark;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use store::{RunError, RunFolder};

pub(crate) use entry::{RunEntry, SpecEntry, Status};
use mark::Mark;

/// The most threads that read runs.
const THREADS_MAX: usize = 8;

/// What was read of a run, and from what.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Known {
    mark: Mark,
    entry: Arc<RunEntry>,
}

/// The runs of a store.
#[derive(Clone, Debug)]
pub(crate) struct Catalog {
    root: PathBuf,
    /// Newest first.
    runs: Vec<Known>,
    /// Where each run stands, by its id.
    places: HashMap<String, usize>,
}

impl Catalog {
    /// The catalog of a store as it was kept, which may be of any age: [`refresh`](Catalog::refresh) comes next.
    pub(crate) fn open(root: &Path) -> Catalog {
        let mut catalog = Catalog {
            root: root.to_owned(),
            runs: Vec::new(),
            places: HashMap::new(),
        };
        catalog.set(cache::read(root).unwrap_or_default());
        catalog
    }

    /// Looks at the store again, reads what has changed, and keeps it for the next process if that is possible.
    ///
    /// # Errors
    /// When the store cannot be listed. What is wrong with a single run is in its [`Status`].
    pub(crate) fn refresh(&mut self) -> Result<(), RunError> {
        let mut folders = RunFolder::list(&self.root)?;
        folders.reverse();
        let looked = self.look(&folders);
        let kept = |runs: &[Known]| runs.iter().filter(|run| run.entry.is_over()).count();
        let same = looked.iter().all(|(_, fresh)| !fresh);
        let runs: Vec<Known> = looked.into_iter().filter_map(|(known, _)| known).collect();
        let changed = !same || kept(&runs) != kept(&self.runs);
        self.set(runs);
        if changed {
            // A store that cannot be written is listed all the same.
            let _ = cache::write(
                &self.root,
                self.runs.iter().filter(|run| run.entry.is_over()),
            );
        }
        Ok(())
    }

    /// What is known of each folder now, and whether that is worth keeping and is not kept yet. A run that has vanished
    /// since it was listed is not there.
    fn look(&self, folders: &[RunFolder]) -> Vec<(Option<Known>, bool)> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let piece = folders.len().div_ceil(threads.min(THREADS_MAX)).max(1);
        std::thread::scope(|scope| {
            let pieces: Vec<_> = folders
                .chunks(piece)
                .map(|piece| {
                    scope.spawn(|| piece.iter().map(|folder| self.look_at(folder)).collect())
                })
                .collect();
            let looked = pieces.into_iter().map(|piece| {
                piece
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            looked.collect::<Vec<Vec<_>>>().concat()
        })
    }

    fn look_at(&self, folder: &RunFolder) -> (Option<Known>, bool) {
        let Some(mark) = Mark::of(folder) else {
            return (None, false);
        };
        let id = folder.id();
        let known = self.places.get(&id).and_then(|at| self.runs.get(*at));
        if let Some(known) = known
            && known.mark.still_is(&mark)
            && known.entry.is_over()
            && (known.entry.status != Status::Died || !folder.is_held())
        {
            return (Some(known.clone()), false);
        }
        let entry = Arc::new(RunEntry::read(folder));
        // It was removed while it was read.
        if !folder.path().exists() {
            return (None, false);
        }
        let fresh =
            entry.is_over() && known.is_none_or(|known| known.entry != entry || known.mark != mark);
        (Some(Known { mark, entry }), fresh)
    }

    fn set(&mut self, runs: Vec<Known>) {
        let places = runs.iter().enumerate();
        self.places = places.map(|(at, run)| (run.entry.id.clone(), at)).collect();
        self.runs = runs;
    }

    /// The runs, newest first.
    pub(crate) fn runs(
        &self,
    ) -> impl DoubleEndedIterator<Item = &Arc<RunEntry>> + ExactSizeIterator {
        self.runs.iter().map(|run| &run.entry)
    }

    /// The runs whose id, or time, begins with a text; none with the empty one.
    pub(crate) fn beginning_with(&self, text: &str) -> impl Iterator<Item = &Arc<RunEntry>> {
        self.runs().filter(move |run| {
            !text.is_empty() && (run.id.starts_with(text) || run.stamp().starts_with(text))
        })
    }

    /// The run with exactly this id.
    pub(crate) fn find(&self, id: &str) -> Option<&Arc<RunEntry>> {
        self.places
            .get(id)
            .and_then(|at| self.runs.get(*at))
            .map(|run| &run.entry)
    }

    /// The folder of a run.
    pub(crate) fn folder(&self, entry: &RunEntry) -> Result<RunFolder, RunError> {
        RunFolder::open(&self.root.join(&entry.name))
    }
}

#[cfg(test)]
mod tests;
