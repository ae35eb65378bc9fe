//! All that a version of a system needs, as one folder: got once here, and put on nodes as one archive.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::tool::Tool;
use super::{KitError, Source, aside, here};

/// What is done to a part's folder, on this machine, once everything is in it.
pub type Finish = fn(&Path) -> io::Result<()>;

/// Files of a system in one version.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The system and its version, such as `mongodb-4.2.6`: the name of the folder on nodes.
    pub label: String,
    /// What is in it: all are needed.
    pub parts: Vec<Part>,
}

/// A part of a bundle.
#[derive(Clone, Debug)]
pub struct Part {
    /// Where it is put in the bundle's folder; empty for the folder itself.
    pub into: String,
    /// Where it may come from: the first that works, and becomes what is wanted.
    pub sources: Vec<Source>,
    /// What is done to what came, in order. Another deed needs another label, for what is in the cache is not done again.
    pub finish: Vec<Finish>,
}

impl Bundle {
    /// A bundle of one part.
    pub fn of(
        label: impl Into<String>,
        sources: Vec<Source>,
        finish: impl Into<Vec<Finish>>,
    ) -> Bundle {
        Bundle {
            label: label.into(),
            parts: vec![Part {
                into: String::new(),
                sources,
                finish: finish.into(),
            }],
        }
    }

    /// Whether a file of the user's own is in it, which may be another one under the same name next time.
    fn is_own(&self) -> bool {
        let mut sources = self.parts.iter().flat_map(|part| &part.sources);
        sources.any(|source| matches!(source, Source::File(_)))
    }

    /// The archive of it in the cache, made unless it is there.
    pub(super) async fn obtain(&self, cache: &Path) -> Result<PathBuf, KitError> {
        let mut definition = DefaultHasher::new();
        for part in &self.parts {
            (&part.into, &part.sources).hash(&mut definition);
        }
        let name = format!("{}-{:016x}.tar.gz", self.label, definition.finish());
        let archive = cache.join(&name);
        let is_there = || !self.is_own() && archive.exists();
        if is_there() {
            return Ok(archive);
        }
        let _lock = lock(cache).await?;
        if !is_there() {
            let work =
                tempfile::tempdir_in(cache).map_err(|error| here("writing to", cache, error))?;
            let made = self.make(work.path()).await?;
            fs::rename(&made, &archive).map_err(|error| here("making", &archive, error))?;
        }
        Ok(archive)
    }

    /// Gets all parts into a folder and packs it.
    async fn make(&self, work: &Path) -> Result<PathBuf, KitError> {
        let folder = work.join("bundle");
        fs::create_dir(&folder).map_err(|error| here("making", &folder, error))?;
        for part in &self.parts {
            part.get(work, &folder.join(&part.into)).await?;
        }
        let archive = work.join("archive");
        let mut tar = Command::new("tar");
        // The same files make the same archive, whenever they were got.
        tar.args([
            "--create",
            "--use-compress-program=gzip -1",
            "--sort=name",
            "--mtime=@0",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
        ])
        .args(["--mode=u+rwX,go+rX,go-w", "--file"])
        .arg(&archive)
        .arg("--directory")
        .args([folder.as_os_str(), ".".as_ref()]);
        let tool = Tool {
            what: self.label.clone(),
            folder: work,
            absent: "install tar and gzip",
            failed: "is the disk of GAINSAY_CACHE full?",
        };
        tool.run(tar).await?;
        Ok(archive)
    }
}

impl Part {
    /// Gets it from the first source that works. Of those that do not, nothing is left.
    async fn get(&self, work: &Path, into: &Path) -> Result<(), KitError> {
        let mut tried = Vec::new();
        for source in &self.sources {
            let trial =
                tempfile::tempdir_in(work).map_err(|error| here("writing to", work, error))?;
            let come = trial.path().join("come");
            match self.finished(source, &come).await {
                Ok(()) => return merge(&come, into).map_err(|error| here("filling", into, error)),
                Err(error) => {
                    tracing::warn!("{}: {error}", source.describe());
                    tried.push((source.describe(), error));
                }
            }
        }
        match tried.len() {
            // One failure speaks for itself.
            1 => Err(tried.remove(0).1),
            _ => Err(KitError::Nowhere {
                tried: tried
                    .iter()
                    .map(|(what, error)| format!("{what}: {}", error.message()))
                    .collect(),
            }),
        }
    }

    /// Gets it from a source, and makes of it what is wanted.
    async fn finished(&self, source: &Source, folder: &Path) -> Result<(), KitError> {
        source.get(folder).await?;
        for &finish in &self.finish {
            let finished = folder.to_owned();
            let done = aside(move || finish(&finished)).await;
            done.map_err(|error| KitError::Tool {
                what: format!("what is wanted of {}", source.describe()),
                said: error.to_string(),
                hint: "is it what its name says, and whole?",
            })?;
        }
        Ok(())
    }
}

/// Moves what is in a folder into another one, which may have something else in it.
fn merge(from: &Path, into: &Path) -> io::Result<()> {
    fs::create_dir_all(into)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::rename(entry.path(), into.join(entry.file_name()))?;
    }
    Ok(())
}

/// Holds the cache for the one who gets something: another controller may be at it.
async fn lock(cache: &Path) -> Result<File, KitError> {
    let path = cache.join("lock");
    let locked = aside(move || {
        let file = File::create(&path)?;
        file.lock().map(|()| file)
    });
    locked.await.map_err(|error| here("locking", cache, error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// What nobody wants is refused, once it is half done.
    fn shout(folder: &Path) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let file = entry?.path();
            let text = fs::read_to_string(&file)?.to_uppercase();
            fs::write(&file, &text)?;
            if text.contains("BAD") {
                return Err(io::Error::other("it is bad"));
            }
        }
        Ok(())
    }

    fn bundle(file: &Path) -> Bundle {
        let others = ["missing", "bad"].map(|name| Source::File(file.with_file_name(name)));
        Bundle {
            label: "system-1".to_owned(),
            parts: vec![Part {
                into: "lib".to_owned(),
                sources: [others.to_vec(), vec![Source::File(file.to_owned())]].concat(),
                finish: vec![shout],
            }],
        }
    }

    #[tokio::test]
    async fn the_first_source_that_becomes_what_is_wanted_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("program");
        fs::write(&file, "abc").unwrap();
        fs::write(file.with_file_name("bad"), "bad").unwrap();
        let cache = folder.path().join("cache");
        fs::create_dir(&cache).unwrap();
        let archive = bundle(&file).obtain(&cache).await.unwrap();
        let first = fs::read(&archive).unwrap();
        let unpacked = folder.path().join("unpacked");
        fs::create_dir(&unpacked).unwrap();
        let tarball = folder.path().join("a.tar.gz");
        fs::copy(&archive, &tarball).unwrap();
        super::super::unpack::unpack(&tarball, &unpacked)
            .await
            .unwrap();
        assert_eq!(fs::read(unpacked.join("lib/program")).unwrap(), b"ABC");
        assert_eq!(fs::read_dir(unpacked.join("lib")).unwrap().count(), 1);
        // The same again is the same, byte for byte; another file of the user's is not taken from the cache.
        bundle(&file).obtain(&cache).await.unwrap();
        assert_eq!(fs::read(&archive).unwrap(), first);
        fs::write(&file, "def").unwrap();
        bundle(&file).obtain(&cache).await.unwrap();
        assert_ne!(fs::read(&archive).unwrap(), first);
    }

    #[tokio::test]
    async fn what_was_tried_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut bundle = bundle(&folder.path().join("none"));
        let error = bundle.obtain(folder.path()).await.unwrap_err().to_string();
        for told in ["missing", "bad", "none"] {
            assert!(error.contains(told), "{error}");
        }
        bundle.parts[0].sources.truncate(1);
        let error = bundle.obtain(folder.path()).await.unwrap_err().to_string();
        assert!(error.contains("hint"), "{error}");
    }
}
