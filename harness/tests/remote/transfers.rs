//! Files to and from a node.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use harness::node::files;
use harness::remote::{Remote, RemoteError};

use crate::sshd::{Sshd, can_run, run};

#[tokio::test]
async fn files_arrive_whole() {
    if !can_run("files_arrive_whole") {
        return;
    }
    let sshd = Sshd::start();
    let remote = sshd.remote();
    let folder = sshd.at("it's a folder");
    let place = |name: &str| folder.join(name).to_string_lossy().into_owned();
    files::mkdir(&remote, folder.to_str().unwrap())
        .await
        .unwrap();

    let contents: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let file = place("-f $x");
    remote.write(&file, contents.clone(), 0o640).await.unwrap();
    assert_eq!(fs::read(&file).unwrap(), contents);
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o640);
    remote.write(&file, Vec::new(), 0o600).await.unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"");
    files::append(&remote, &file, b"a\0").await.unwrap();
    files::append(&remote, &file, b"b").await.unwrap();
    assert_eq!(files::read(&remote, &file).await.unwrap(), b"a\0b");
    assert!(files::exists(&remote, &file).await.unwrap());
    files::remove(&remote, &file).await.unwrap();
    assert!(!files::exists(&remote, &file).await.unwrap());

    let large: Vec<u8> = (0..20_000_000u32).map(|n| (n ^ (n >> 7)) as u8).collect();
    let local = sshd.at("local");
    fs::write(&local, &large).unwrap();
    remote.upload(&local, &place("up"), 0o755).await.unwrap();
    assert!(fs::read(place("up")).unwrap() == large);
    let back = sshd.at("new/folder/back");
    remote.download(&place("up"), &back).await.unwrap();
    assert!(fs::read(&back).unwrap() == large);

    let error = remote.download(&place("none"), &back).await.unwrap_err();
    assert!(matches!(error, RemoteError::Failed { .. }), "{error}");
    assert!(
        fs::read(&back).unwrap() == large,
        "a failed download replaces nothing"
    );
    let error = remote.upload(Path::new("/none"), &place("x"), 0o644).await;
    assert!(matches!(error, Err(RemoteError::Transfer { .. })));
    let error = remote
        .write("/none/x", Vec::new(), 0o644)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("write /none/x"), "{error}");

    let mut left: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["up"]);
}

/// A small file system of its own, unmounted when dropped.
struct Mount(String);

impl Drop for Mount {
    fn drop(&mut self) {
        run("umount", &[&self.0]);
    }
}

#[tokio::test]
async fn a_full_disk_is_named() {
    if !can_run("a_full_disk_is_named") {
        return;
    }
    let sshd = Sshd::start();
    let folder = sshd.at("small").to_string_lossy().into_owned();
    fs::create_dir(&folder).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs", &folder])
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: a_full_disk_is_named: needs to mount a tmpfs");
        return;
    }
    let mount = Mount(folder.clone());
    let remote = sshd.remote();
    let file = format!("{folder}/f");
    remote.write(&file, b"old".to_vec(), 0o644).await.unwrap();
    let error = remote.write(&file, vec![7; 200_000], 0o644).await;
    let text = error.unwrap_err().to_string();
    eprintln!("{text}");
    assert!(text.contains("No space left on device"), "{text}");
    assert!(text.contains("hint: a disk of the node is full"), "{text}");
    assert_eq!(fs::read(&file).unwrap(), b"old");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    drop(mount);
}
