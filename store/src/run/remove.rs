//! Removing runs.

use std::fs;
use std::path::Path;

use super::files::beside;
use super::{LATEST, RunError, RunFolder, io_error, link};

impl RunFolder {
    /// Removes the run and all that is in its folder. Links to it as the latest lead to the newest of those that are left, or are
    /// removed with it; so is the folder of the test, if nothing is left in it.
    ///
    /// # Errors
    /// [`RunError::Held`] when another process writes into it, or that it cannot be removed.
    pub fn remove(self) -> Result<(), RunError> {
        let _held = self.hold()?;
        let path = self.path();
        let (Some(test), Some(root)) = (path.parent(), path.parent().and_then(Path::parent)) else {
            return Err(RunError::NotARun(path.to_owned()));
        };
        // Gone at once for whoever lists runs, however long the rest takes.
        let hidden = beside(path);
        fs::rename(path, &hidden).map_err(io_error("remove", path))?;
        repair(root, test)?;
        fs::remove_dir_all(&hidden).map_err(io_error("remove", &hidden))?;
        // It may hold other runs, or what is not ours.
        let _ = fs::remove_dir(test);
        Ok(())
    }
}

/// Points links that lead nowhere to the newest run, or removes them.
fn repair(root: &Path, test: &Path) -> Result<(), RunError> {
    let leads_nowhere = |link: &Path| link.is_symlink() && !link.exists();
    let (of_test, of_store) = (test.join(LATEST), root.join(LATEST));
    let (test_broken, store_broken) = (leads_nowhere(&of_test), leads_nowhere(&of_store));
    if !test_broken && !store_broken {
        return Ok(());
    }
    let runs = RunFolder::list(root)?;
    let remove = |link: &Path| fs::remove_file(link).map_err(io_error("remove the link", link));
    if test_broken {
        match runs.iter().rfind(|run| run.path().parent() == Some(test)) {
            Some(run) => link(&of_test, Path::new(&run.stamp()))?,
            None => remove(&of_test)?,
        }
    }
    if store_broken {
        match runs.last() {
            Some(run) => link(&of_store, Path::new(&run.name()))?,
            None => remove(&of_store)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::json;

    #[test]
    fn links_lead_to_what_is_left() {
        let root = tempfile::tempdir().unwrap();
        let make = |test: &str| RunFolder::create(root.path(), test, &json!({})).unwrap();
        let (first, second, other) = (make("sim-a"), make("sim-a"), make("sim-b"));
        let latest = |name: &str| {
            let found = RunFolder::open(&root.path().join(name).join(LATEST));
            found.map(|run| run.name()).ok()
        };
        other.remove().unwrap();
        assert!(!root.path().join("sim-b").exists());
        assert_eq!(latest(""), Some(second.name()));
        second.remove().unwrap();
        assert_eq!(latest(""), Some(first.name()));
        assert_eq!(latest("sim-a"), Some(first.name()));
        first.remove().unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_not_ours_and_other_links_stay() {
        let root = tempfile::tempdir().unwrap();
        let make = || RunFolder::create(root.path(), "sim-a", &json!({})).unwrap();
        let (first, second) = (make(), make());
        fs::write(root.path().join("sim-a/notes.txt"), "mine").unwrap();
        first.remove().unwrap();
        assert_eq!(RunFolder::resolve(root.path(), "latest").unwrap(), second);
        second.remove().unwrap();
        assert!(root.path().join("sim-a/notes.txt").exists());
    }

    #[test]
    fn a_run_that_goes_on_is_not_removed() {
        let root = tempfile::tempdir().unwrap();
        let run = RunFolder::create(root.path(), "sim-a", &json!({})).unwrap();
        let _held = run.hold().unwrap();
        let error = run.clone().remove().unwrap_err();
        assert!(matches!(error, RunError::Held(_)), "{error}");
        assert!(run.test_path().exists());
    }
}
