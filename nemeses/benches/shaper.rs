//! What holding packets back costs: how much later they come, and how many can come in a second. Needs root.
#![allow(clippy::unwrap_used)]

#[path = "../tests/common/cluster.rs"]
#[allow(dead_code)]
mod cluster;
#[path = "../tests/common/shell.rs"]
mod shell;
#[path = "../tests/common/skip.rs"]
mod skip;

use std::fs;
use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use harness::capability::Network;
use harness::links::{
    Chance, Delay, Distribution, LinkRule, LinkRules, Party, Quality, Traffic, Treatment,
};
use nemeses::ssh::AgentNetwork;

use cluster::Cluster;
use tokio::time::sleep;

const ROUNDS: usize = 20_000;
const LASTS: Duration = Duration::from_secs(3);
const LAYER: &str = "packet";
/// Between two faults.
const APART: Duration = Duration::from_millis(300);

// Rounds block this thread for longer than the agents wait for a sign of life, which comes from another one.
#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() {
    let Some(cluster) = Cluster::up("bench", 2) else {
        return;
    };
    let network = AgentNetwork::new(&cluster.nodes());
    println!("round trips of 64 bytes, {ROUNDS} each");
    println!("  no rules                  {}", round_trips(&cluster));
    let good = Quality::default();
    set(&network, &good).await;
    println!("  held and let go, both ways {}", round_trips(&cluster));
    let delay = Delay {
        mean_us: 1000,
        jitter_us: 0,
        distribution: Distribution::Normal,
        correlation: 0.0,
    };
    let late = Quality {
        delay: Some(delay),
        ..Quality::default()
    };
    set(&network, &late).await;
    println!("  1 ms late, both ways      {}", round_trips(&cluster));
    let chance = Chance {
        share: 0.1,
        correlation: 0.0,
    };
    let copied = Quality {
        delay: Some(delay),
        duplicate: Some(chance),
        ..Quality::default()
    };
    println!("packets of 200 bytes for {LASTS:?}, one way");
    let lines = [
        ("held and let go", good),
        ("1 ms late", late),
        ("1 ms late, 10 % twice", copied),
    ];
    for (name, quality) in lines {
        for rate in [20_000, 40_000, 80_000, 160_000] {
            set(&network, &quality).await;
            let before = agents_time();
            let (sent, came) = flood(&cluster, rate);
            let took = agents_time() - before;
            println!(
                "  {name:<22} {:>7.0} a second sent, {:>7.0} came ({:.2} %), {:.1} µs of the agent's processor time each",
                sent as f64 / LASTS.as_secs_f64(),
                came as f64 / LASTS.as_secs_f64(),
                came as f64 * 100.0 / sent as f64,
                took * 1e6 / sent as f64
            );
        }
    }
    network.heal(LAYER).await.unwrap();
    for (name, quality) in [("drop", None), ("delay", Some(late_again()))] {
        let mut times = Vec::new();
        for _ in 0..50 {
            // As in a run: rules that come right after others have gone wait for the kernel to be done with these.
            sleep(APART).await;
            let began = Instant::now();
            match &quality {
                Some(quality) => set(&network, quality).await,
                None => set_all(&network, Treatment::Drop).await,
            }
            times.push(began.elapsed());
            network.heal(LAYER).await.unwrap();
        }
        println!("in force on two nodes, {name:<6} {}", quantiles(times));
    }
    for at in cluster.nodes() {
        at.agent.leave().await;
    }
}

fn late_again() -> Quality {
    Quality {
        rate: Some(1_000_000_000),
        ..Quality::default()
    }
}

async fn set(network: &AgentNetwork, quality: &Quality) {
    set_all(network, Treatment::Quality(quality.clone())).await;
}

async fn set_all(network: &AgentNetwork, treatment: Treatment) {
    let node = |name: &str| Party::Node(name.into());
    let rule = |from, to| LinkRule {
        from: node(from),
        to: node(to),
        traffic: Traffic::default(),
        treatment: treatment.clone(),
    };
    let rules = LinkRules {
        rules: vec![rule("n1", "n2"), rule("n2", "n1")],
        ..LinkRules::default()
    };
    network.set(LAYER, &rules).await.unwrap();
}

/// How long a packet takes to n1 and back.
fn round_trips(cluster: &Cluster) -> String {
    let bind = || UdpSocket::bind("0.0.0.0:9000").unwrap();
    let (echo, asks) = (cluster.inside(1, bind), cluster.inside(2, bind));
    asks.connect("10.77.0.1:9000").unwrap();
    asks.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let answers = thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((length, from)) = echo.recv_from(&mut buffer) {
            if length == 0 {
                return;
            }
            echo.send_to(&buffer[..length], from).unwrap();
        }
    });
    let mut times = Vec::new();
    let mut buffer = [0; 64];
    for _ in 0..ROUNDS {
        let began = Instant::now();
        asks.send(&[1; 64]).unwrap();
        asks.recv(&mut buffer).unwrap();
        times.push(began.elapsed());
    }
    asks.send(&[]).unwrap();
    answers.join().unwrap();
    quantiles(times)
}

/// Sends at a rate; how many were sent, and how many came.
fn flood(cluster: &Cluster, rate: usize) -> (usize, usize) {
    let open = || {
        let socket = UdpSocket::bind("0.0.0.0:9001").unwrap();
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::RcvBufForce, &(64 << 20))
            .unwrap();
        socket
    };
    let (hears, sends) = (cluster.inside(1, open), cluster.inside(2, open));
    hears
        .set_read_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let counts = thread::spawn(move || {
        let mut buffer = [0; 256];
        let mut seen = std::collections::HashSet::new();
        while hears.recv(&mut buffer).is_ok() {
            seen.insert(u64::from_ne_bytes(buffer[..8].try_into().unwrap()));
        }
        seen.len()
    });
    sends.connect("10.77.0.1:9001").unwrap();
    let (began, mut sent) = (Instant::now(), 0usize);
    let mut packet = [0; 200];
    while began.elapsed() < LASTS {
        let due = (began.elapsed().as_secs_f64() * rate as f64) as usize;
        while sent < due {
            packet[..8].copy_from_slice(&(sent as u64).to_ne_bytes());
            let _ = sends.send(&packet);
            sent += 1;
        }
        thread::sleep(Duration::from_micros(100));
    }
    (sent, counts.join().unwrap())
}

/// Seconds of processor time of all agents of this bench.
fn agents_time() -> f64 {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let ticks = processes.filter_map(|process| {
        let command = fs::read_to_string(process.path().join("cmdline")).ok()?;
        if !command.contains("/agent-") || !command.contains("serve") || command.starts_with("sh") {
            return None;
        }
        let stat = fs::read_to_string(process.path().join("stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit(") ").next()?.split(' ').collect();
        Some(fields[11].parse::<f64>().ok()? + fields[12].parse::<f64>().ok()?)
    });
    ticks.sum::<f64>() / 100.0
}

fn quantiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    format!(
        "median {:?}, p90 {:?}, p99 {:?}",
        at(0.5),
        at(0.9),
        at(0.99)
    )
}
