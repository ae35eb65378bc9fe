//! What the file system between a system and its data costs: writes, each synced, with it and without it.
//!
//! What databases do all day: 2 KiB are written behind each other, and `fdatasync`. Rounds with and without it take turns, since
//! other work on the machine costs more than what is measured.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use agent::disk::control::{Order, order};

const ROUNDS: usize = 10;
const WRITES: u64 = 300;
const BYTES: usize = 2048;

/// The agent's program.
const PROGRAM: &[u8] = include_bytes!(env!("GAINSAY_AGENT"));

fn main() -> std::io::Result<()> {
    if !nix::unistd::geteuid().is_root() || !Path::new("/dev/fuse").exists() {
        println!("SKIPPED: needs root and /dev/fuse");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let [plain, over] = ["plain", "over"].map(|name| folder.path().join(name));
    std::fs::create_dir(&plain)?;
    std::fs::create_dir(&over)?;
    let program = folder.path().join("agent");
    std::fs::write(&program, PROGRAM)?;
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, executable)?;
    let socket = folder.path().join("socket");
    let mut server = Command::new(&program)
        .args(["disk", "serve"])
        .args([&over, &socket])
        .spawn()?;
    while order(&socket, &Order::Status).is_err() {
        std::thread::sleep(Duration::from_millis(10));
    }
    for synced in [true, false] {
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            without.extend(round_of(&plain, round, synced)?);
            with.extend(round_of(&over, round, synced)?);
        }
        let what = if synced {
            "write and fdatasync"
        } else {
            "write"
        };
        for (name, mut times) in [("plain files", without), ("through it", with)] {
            times.sort();
            let at = |part: usize| times[times.len() * part / 100];
            println!("{what}, {name}: median {:?}, 90 % {:?}", at(50), at(90));
        }
    }
    let _ = Command::new("umount").arg("-l").arg(&over).status();
    server.wait().map(drop)
}

/// The times that writes take, to a file of its own.
fn round_of(folder: &Path, round: usize, synced: bool) -> std::io::Result<Vec<Duration>> {
    let path: PathBuf = folder.join(format!("{round}-{synced}"));
    let file = File::create(path)?;
    let bytes = [1; BYTES];
    let mut times = Vec::new();
    for number in 0..WRITES {
        let started = Instant::now();
        file.write_all_at(&bytes, number * BYTES as u64)?;
        if synced {
            file.sync_data()?;
        }
        times.push(started.elapsed());
    }
    Ok(times)
}
