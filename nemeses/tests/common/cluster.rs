//! Nodes for tests: network namespaces of the test's own, joined by a bridge that is in one too, so that
//! nothing of the machine's own network is touched.

use std::fs::File;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command as Process;
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::Name;
use harness::remote::Node;
use nemeses::ssh::Journaled;
use nix::sched::{CloneFlags, setns};
use tempfile::TempDir;

use crate::shell::Shell;
use crate::skip::skip;

/// Nodes n1, n2 … with the addresses 10.77.0.1 and fd77::1, 10.77.0.2 …, and a place for clients, 10.77.0.254. Gone when dropped.
pub(crate) struct Cluster {
    prefix: String,
    count: usize,
    /// The nodes share the machine's files; their journals must not be one.
    journals: TempDir,
}

impl Cluster {
    /// A cluster, or none where this machine cannot have one, which is said loudly.
    pub(crate) fn up(test: &str, count: usize) -> Option<Cluster> {
        if let Err(reason) = possible() {
            skip(test, &reason);
            return None;
        }
        let prefix = format!("gstest-{}-{test}", std::process::id());
        let journals = tempfile::tempdir().expect("a folder");
        let cluster = Cluster {
            prefix,
            count,
            journals,
        };
        cluster.build();
        Some(cluster)
    }

    fn build(&self) {
        let switch = self.switch();
        sh(&format!(
            "ip netns add {switch} && ip -n {switch} link add br0 type bridge && \
             ip -n {switch} addr add 10.77.0.254/24 dev br0 && ip -n {switch} link set br0 up"
        ));
        for i in 1..=self.count {
            let node = self.namespace(i);
            sh(&format!(
                "ip netns add {node} && ip -n {node} link set lo up && \
                 ip -n {switch} link add p{i} type veth peer name eth0 netns {node} && \
                 ip -n {switch} link set p{i} master br0 up && \
                 ip -n {node} link set eth0 up && \
                 ip -n {node} addr add 10.77.0.{i}/24 dev eth0 && \
                 ip -n {node} addr add fd77::{i}/64 dev eth0 nodad"
            ));
        }
    }

    fn switch(&self) -> String {
        format!("{}-sw", self.prefix)
    }

    fn namespace(&self, i: usize) -> String {
        format!("{}-n{i}", self.prefix)
    }

    /// The nodes; those with even numbers are known by their IPv6 addresses.
    pub(crate) fn nodes(&self) -> Vec<Journaled> {
        (1..=self.count).map(|i| self.node(i)).collect()
    }

    fn node(&self, i: usize) -> Journaled {
        let name = Name::from(format!("n{i}"));
        // As if over SSH, from where the clients are.
        let session = format!("SSH_CONNECTION=10.77.0.254 40000 10.77.0.{i} 22");
        let words = ["ip", "netns", "exec", &self.namespace(i), "env", &session];
        let words = words.map(str::to_owned);
        let remote = Arc::new(Shell::new(name.clone(), &words));
        let node = Node {
            name,
            address: self.address(i).to_string(),
            remote,
        };
        Journaled::new_in(&node, "test", &self.journal(i))
    }

    /// The folder of a node's journal.
    pub(crate) fn journal(&self, i: usize) -> String {
        self.journals
            .path()
            .join(format!("n{i}"))
            .display()
            .to_string()
    }

    pub(crate) fn address(&self, i: usize) -> IpAddr {
        let text = match i.is_multiple_of(2) {
            true => format!("fd77::{i}"),
            false => format!("10.77.0.{i}"),
        };
        text.parse().expect("an address")
    }

    /// A script's output on a node, run outside of what is tested.
    pub(crate) fn on(&self, i: usize, script: &str) -> String {
        run(&[
            "ip",
            "netns",
            "exec",
            &self.namespace(i),
            "sh",
            "-c",
            script,
        ])
    }

    /// A socket of a node that hears all packets to it, in both families.
    pub(crate) fn socket(&self, i: usize) -> Probe {
        let open = || UdpSocket::bind("[::]:7777").expect("nobody else is there");
        Probe(self.inside(i, open))
    }

    /// Does something in the network of a node, or in that of the clients (0).
    pub(crate) fn inside<T: Send + 'static>(
        &self,
        i: usize,
        act: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let name = match i {
            0 => self.switch(),
            i => self.namespace(i),
        };
        let act = move || {
            let namespace =
                File::open(format!("/run/netns/{name}")).expect("the namespace is there");
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("root may enter it");
            act()
        };
        // A thread of its own, for it stays in that namespace.
        std::thread::spawn(act).join().expect("no panic")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let nodes = (1..=self.count).map(|i| self.namespace(i));
        for namespace in nodes.chain([self.switch()]) {
            let _ = Process::new("ip")
                .args(["netns", "del", &namespace])
                .output();
        }
    }
}

/// A socket that packets are sent from and to, to see whether they arrive.
pub(crate) struct Probe(UdpSocket);

impl Probe {
    pub(crate) fn send(&self, to: IpAddr, message: &str) {
        let to = match to {
            IpAddr::V4(four) => IpAddr::V6(four.to_ipv6_mapped()),
            six => six,
        };
        let sent = self
            .0
            .send_to(message.as_bytes(), SocketAddr::new(to, 7777));
        sent.expect("packets can be sent");
    }

    /// The next packet, if one comes before the limit.
    pub(crate) fn hears(&self, limit: Duration) -> Option<String> {
        let until = Instant::now() + limit;
        let mut buffer = [0; 100];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            // Zero would be no limit.
            let left = left.max(Duration::from_millis(1));
            self.0.set_read_timeout(Some(left)).expect("a limit");
            match self.0.recv_from(&mut buffer) {
                Ok((length, _)) => {
                    return Some(String::from_utf8_lossy(&buffer[..length]).into_owned());
                }
                // A child that ends interrupts a read that has a limit.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn possible() -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("needs root, to make network namespaces".to_owned());
    }
    for program in ["ip", "nft"] {
        if Process::new(program).arg("-V").output().is_err() {
            return Err(format!("needs the program `{program}`"));
        }
    }
    Ok(())
}

fn sh(script: &str) -> String {
    run(&["sh", "-c", script])
}

fn run(words: &[&str]) -> String {
    let output = Process::new(words[0]).args(&words[1..]).output();
    let output = output.expect("it can be run");
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
