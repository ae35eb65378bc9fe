//! How long a partition of five nodes takes from the decision until it is in force, and until it is
//! healed: over real SSH, on a local cluster, journal and verification included. Needs root.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::Name;
use harness::capability::Network;
use harness::links::{LinkNeeds, LinkRules, Traffic, Treatment};
use harness::local::{self, Config, LocalCluster, SshTarget, run_helper_if_asked};
use harness::remote::Node;
use harness::remote::ssh::{ConfigFile, SshOptions, SshRemote};
use nemeses::grudge::{Direction, Shape};
use nemeses::ssh::{AgentNetwork, Journaled};

const ROUNDS: usize = 50;

fn main() {
    run_helper_if_asked();
    if !nix::unistd::geteuid().is_root() {
        eprintln!("\n*** SKIPPED: a local cluster needs root ***\n");
        return;
    }
    let cluster = local::up(&Config::new(5), &mut |line| eprintln!("{line}")).unwrap();
    let measured = measure(&cluster);
    cluster.down().unwrap();
    let [cut, heal] = measured;
    println!("cut:    {}", quantiles(cut));
    println!("healed: {}", quantiles(heal));
}

fn measure(cluster: &LocalCluster) -> [Vec<Duration>; 2] {
    cluster.enter_switch_netns().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let nodes: Vec<Node> = cluster.ssh_targets().into_iter().map(node).collect();
    let names: Vec<Name> = nodes.iter().map(|node| node.name.clone()).collect();
    let journaled: Vec<Journaled> = nodes
        .iter()
        .map(|node| Journaled::new(node, "bench"))
        .collect();
    let network = AgentNetwork::new(&journaled);
    let grudge = Direction::Both.grudge(&Shape::MajoritiesRing.severed(&names, &[]));
    let rules = LinkRules::of(&grudge, &Traffic::default(), &Treatment::Drop);
    runtime.block_on(async {
        network.probe(&LinkNeeds::default()).await.unwrap();
        let (mut cuts, mut heals) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let began = Instant::now();
            network.set("partition", &rules).await.unwrap();
            cuts.push(began.elapsed());
            let began = Instant::now();
            network.heal("partition").await.unwrap();
            heals.push(began.elapsed());
        }
        [cuts, heals]
    })
}

fn node(target: SshTarget) -> Node {
    let options = SshOptions {
        user: Some(target.user),
        port: Some(target.port),
        private_keys: vec![target.key],
        known_hosts: vec![target.known_hosts],
        config: ConfigFile::None,
        ..SshOptions::default()
    };
    let address = target.address.to_string();
    let name = Name::from(target.name);
    let remote = SshRemote::new(name.clone(), &address, options).unwrap();
    Node {
        name,
        address,
        remote: Arc::new(remote),
    }
}

fn quantiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    format!(
        "median {:?}, p90 {:?}, worst {:?}",
        at(0.5),
        at(0.9),
        at(1.0)
    )
}
