//! What commands cost over SSH to this machine: `cargo bench -p gainsay-harness --bench remote`.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::node::undo::{Journal, Undo};
use harness::remote::{Command, Remote};

#[allow(dead_code)]
#[path = "../tests/remote/sshd.rs"]
mod sshd;

const ROUNDS: usize = 200;

fn main() {
    if !sshd::can_run("bench remote") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    let sshd = sshd::Sshd::start();
    let mut times = Vec::new();
    for _ in 0..ROUNDS / 4 {
        let remote = sshd.remote();
        times.push(timed(remote.exec(Command::new("true"))).await);
    }
    report("cold: connect and run", &mut times);

    let remote: Arc<dyn Remote> = Arc::new(sshd.remote());
    for (name, quick) in [("ordinary", false), ("quick", true)] {
        for script in ["true", "/bin/true"] {
            let command = Command {
                quick,
                ..Command::new(script)
            };
            remote.exec(command.clone()).await.unwrap();
            let mut times = Vec::new();
            for _ in 0..ROUNDS {
                times.push(timed(remote.exec(command.clone())).await);
            }
            report(&format!("{name}: {script}"), &mut times);
        }
    }

    let folder = sshd.at("state").display().to_string();
    let journal = Journal::new_in(Arc::clone(&remote), "bench", &folder);
    for survives_reboot in [false, true] {
        let undo = Undo {
            fault: "a fault".into(),
            undo: "true".into(),
            verify: "true".into(),
            survives_reboot,
            process: None,
        };
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            times.push(timed(journal.write_and_run(&undo, Command::new("true"))).await);
        }
        let forced = if survives_reboot { ", fsync" } else { "" };
        report(&format!("journal entry and act{forced}"), &mut times);
        journal.undo_all().await.unwrap();
    }

    let local = sshd.at("local");
    std::fs::write(&local, vec![7; 100 << 20]).unwrap();
    let there = sshd.at("there").display().to_string();
    let up = timed(remote.upload(&local, &there, 0o644)).await;
    let down = timed(remote.download(&there, &local)).await;
    for (name, took) in [("upload", up), ("download", down)] {
        println!("{name}: {:.0} MiB/s", 100.0 / took.as_secs_f64());
    }
}

async fn timed<T, E: std::fmt::Debug>(work: impl Future<Output = Result<T, E>>) -> Duration {
    let start = Instant::now();
    work.await.unwrap();
    start.elapsed()
}

fn report(name: &str, times: &mut [Duration]) {
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3;
    println!("{name}: p50 {:.2} ms, p99 {:.2} ms", at(50), at(99));
}
