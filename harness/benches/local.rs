//! How long local clusters take to come up and go, and what their own processes need. Needs root.
//!
//! `cargo bench -p gainsay-harness --bench local [-- cold]`; with `cold`, also how long building the base system
//! and a package layer takes, in a cache that is thrown away.

#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::time::{Duration, Instant};

use harness::local::{self, Config, LocalCluster, run_helper_if_asked};

const ROUNDS: usize = 10;

fn main() {
    run_helper_if_asked();
    if !nix::unistd::geteuid().is_root() {
        eprintln!("*** local clusters need root; nothing was measured ***");
        return;
    }
    if std::env::args().any(|argument| argument == "cold") {
        cold();
    }
    // Builds what is missing.
    up(1).down().unwrap();
    println!(
        "{:>5}  {:>17}  {:>17}  {:>12}",
        "nodes", "up, ms (max)", "down, ms (max)", "PSS, MB each"
    );
    for nodes in [1, 5, 20] {
        let (mut ups, mut downs, mut memory) = (Vec::new(), Vec::new(), 0.0);
        for _ in 0..ROUNDS {
            let begin = Instant::now();
            let cluster = up(nodes);
            ups.push(begin.elapsed());
            memory = own_memory(&cluster);
            let begin = Instant::now();
            cluster.down().unwrap();
            downs.push(begin.elapsed());
        }
        println!(
            "{nodes:>5}  {:>17}  {:>17}  {memory:>12.1}",
            show(ups),
            show(downs)
        );
    }
}

fn up(nodes: usize) -> LocalCluster {
    local::up(&Config::new(nodes), &mut |_| {}).unwrap()
}

fn cold() {
    let parent = local::cache_dir();
    fs::create_dir_all(&parent).unwrap();
    let cache = tempfile::Builder::new()
        .prefix("cold-")
        .tempdir_in(parent)
        .unwrap();
    let mut config = Config {
        cache: cache.path().to_owned(),
        ..Config::new(5)
    };
    let mut timed = |what: &str, packages: &[&str]| {
        config.packages = packages.iter().map(|&name| name.to_owned()).collect();
        let begin = Instant::now();
        local::up(&config, &mut |_| {}).unwrap().down().unwrap();
        println!("{what}: {:.1} s", begin.elapsed().as_secs_f64());
    };
    timed("nothing cached, five nodes up and down", &[]);
    timed(
        "base cached, etcd-server fetched, five nodes up and down",
        &["etcd-server"],
    );
    timed("all cached, five nodes up and down", &["etcd-server"]);
}

/// Median and, in parentheses, the greatest.
fn show(mut times: Vec<Duration>) -> String {
    times.sort();
    let millis = |time: &Duration| time.as_secs_f64() * 1e3;
    format!(
        "{:.0} ({:.0})",
        millis(&times[times.len() / 2]),
        millis(times.last().unwrap())
    )
}

/// The mean proportional set size of the switch and the nodes' first processes, in megabytes.
fn own_memory(cluster: &LocalCluster) -> f64 {
    let pids: Vec<i32> = cluster
        .nodes()
        .iter()
        .map(|node| node.pid)
        .chain([cluster.switch_pid()])
        .collect();
    let kilobytes: f64 = pids.iter().map(|pid| pss(*pid)).sum();
    kilobytes / 1024.0 / f64::from(u32::try_from(pids.len()).unwrap())
}

fn pss(pid: i32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Pss:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
