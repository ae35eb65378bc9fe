//! Archives of all kinds that systems come in.

use std::fs;
use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tokio::process::Command;

use super::tool::Tool;
use super::{KitError, aside, here};

/// Endings of archives that `tar` knows.
const TARS: [&str; 5] = [".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz"];
/// Endings of archives that are zips.
const ZIPS: [&str; 3] = [".zip", ".jar", ".whl"];

/// Puts a file into a folder: what is in it, if it is an archive of programs; else as it is.
pub(super) async fn place(file: &Path, into: &Path) -> Result<(), KitError> {
    let name = name_of(file);
    let is = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    match is(&TARS) || is(&[".zip", ".whl", ".deb"]) {
        true => unpack(file, into).await,
        false => {
            let to = into.join(&name);
            let copied = fs::copy(file, &to);
            copied.map_err(|error| here("copying to", &to, error))?;
            Ok(())
        }
    }
}

/// Sees to it that a file is in a folder under a path. Many archives hold one folder with everything in it: then that is moved up.
///
/// # Errors
/// If it is not there, or nothing can be moved.
pub fn hoist(folder: &Path, wanted: &str) -> io::Result<()> {
    if folder.join(wanted).is_file() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let inner = entry?.path();
        if !inner.join(wanted).is_file() {
            continue;
        }
        // Out of the way first: what is in it may be called as it is.
        let aside = folder.with_extension("inner");
        fs::rename(&inner, &aside)?;
        for entry in fs::read_dir(&aside)? {
            let entry = entry?;
            fs::rename(entry.path(), folder.join(entry.file_name()))?;
        }
        return fs::remove_dir(&aside);
    }
    let message = format!("there is no {wanted} in it");
    Err(io::Error::new(io::ErrorKind::NotFound, message))
}

/// Puts a program where it is looked for: out of an archive's folder, or, where there is one file only, under the name that it should have.
///
/// # Errors
/// If it is not there, or nothing can be moved.
pub fn find_program(folder: &Path, name: &str) -> io::Result<()> {
    let program = folder.join(name);
    let mut all = fs::read_dir(folder)?;
    if let (Some(Ok(only)), None) = (all.next(), all.next())
        && only.file_type()?.is_file()
    {
        fs::rename(only.path(), &program)?;
    }
    hoist(folder, name)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
}

/// Puts what is in an archive into a folder.
pub(super) async fn unpack(file: &Path, into: &Path) -> Result<(), KitError> {
    let name = name_of(file);
    if ZIPS.iter().any(|ending| name.ends_with(ending)) {
        let (from, to) = (file.to_owned(), into.to_owned());
        let unzipped = aside(move || unzip(&from, &to)).await;
        return unzipped.map_err(|error| here("unpacking", file, error));
    }
    let mut command = match name.ends_with(".deb") {
        true => {
            let mut dpkg = Command::new("dpkg-deb");
            dpkg.arg("--extract").args([file, into]);
            dpkg
        }
        false => {
            let mut tar = Command::new("tar");
            tar.args(["--extract", "--no-same-owner", "--file"])
                .arg(file);
            tar.arg("--directory").arg(into);
            tar
        }
    };
    command.kill_on_drop(true);
    let tool = Tool {
        what: name,
        folder: into,
        absent: "install it: archives of this kind are unpacked with it",
        failed: "is the archive whole? is xz there, if it ends so (Debian: xz-utils)?",
    };
    tool.run(command).await
}

/// Unpacks a zip. Names that lead out of the folder are refused by the library.
fn unzip(file: &Path, into: &Path) -> io::Result<()> {
    let mut archive = zip::ZipArchive::new(File::open(file)?)?;
    archive.extract(into)?;
    Ok(())
}

fn name_of(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_wanted_is_moved_up() {
        let folder = tempfile::tempdir().unwrap();
        let bundle = folder.path().join("bundle");
        fs::create_dir_all(bundle.join("etcd/doc")).unwrap();
        assert!(hoist(&bundle, "etcd").is_err());
        fs::write(bundle.join("etcd/etcd"), "x").unwrap();
        for _ in 0..2 {
            hoist(&bundle, "etcd").unwrap();
            assert_eq!(fs::read(bundle.join("etcd")).unwrap(), b"x");
            assert!(bundle.join("doc").is_dir());
        }
    }
    use std::io::Write;

    #[tokio::test]
    async fn zips_are_unpacked_and_stay_in_their_folder() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.zip");
        let mut zip = zip::ZipWriter::new(File::create(&file).unwrap());
        let options = zip::write::SimpleFileOptions::default().unix_permissions(0o755);
        zip.start_file("bin/x", options).unwrap();
        zip.write_all(b"abc").unwrap();
        zip.finish().unwrap();
        let into = folder.path().join("into");
        fs::create_dir(&into).unwrap();
        place(&file, &into).await.unwrap();
        assert_eq!(fs::read(into.join("bin/x")).unwrap(), b"abc");

        let bad = folder.path().join("bad.zip");
        let mut zip = zip::ZipWriter::new(File::create(&bad).unwrap());
        zip.start_file("../out", zip::write::SimpleFileOptions::default())
            .unwrap();
        zip.write_all(b"abc").unwrap();
        zip.finish().unwrap();
        place(&bad, &into).await.unwrap_err();
        assert!(!folder.path().join("out").exists());
    }

    #[tokio::test]
    async fn what_is_no_archive_is_copied() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("server");
        fs::write(&file, "abc").unwrap();
        let into = folder.path().join("into");
        fs::create_dir(&into).unwrap();
        place(&file, &into).await.unwrap();
        assert_eq!(fs::read(into.join("server")).unwrap(), b"abc");
    }

    #[tokio::test]
    async fn a_broken_archive_is_told() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.tar.gz", "a.zip", "a.deb"] {
            let file = folder.path().join(name);
            fs::write(&file, "no archive").unwrap();
            let error = place(&file, folder.path()).await.unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
