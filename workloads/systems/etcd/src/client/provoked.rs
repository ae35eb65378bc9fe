//! Errors of real servers: each class that can be had is provoked by what causes it, and what is said of its outcome is looked at.
//!
//! `GAINSAY_SYSTEMS=etcd` runs this, with an `etcd` in the path (Debian's package `etcd-server`, say).
//!
//! Not provoked: `too-many-requests` (of a member that is five thousand entries behind) and `no-leader` (which no request of ours asks to be
//! told).

#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::process::{Child, Command};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use workloads::kit::Outcome;

use super::*;

use Outcome::{NotExecuted, Unknown};

/// More than a member takes to give up what it waits for.
const LIMIT: Duration = Duration::from_secs(30);
const PEER_PORT: u16 = 2380;

/// Whether these tests were asked for; says so where not.
fn asked() -> bool {
    let names = std::env::var("GAINSAY_SYSTEMS").unwrap_or_default();
    let asked = names.split(',').any(|name| name == "etcd");
    if !asked {
        eprintln!("SKIPPED: GAINSAY_SYSTEMS=etcd runs it with real servers");
    }
    asked
}

/// A member of a cluster of this test.
struct Member {
    process: Child,
    address: String,
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Member {
    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id() as i32), signal).unwrap();
    }

    fn server(&self) -> String {
        format!("{}:{CLIENT_PORT}", self.address)
    }

    fn client(&self) -> EtcdClient {
        EtcdClient {
            node: "n1".into(),
            server: self.server(),
            settings: Arc::new(Settings {
                prefix: "/test/".to_owned(),
                work: Work {
                    serializable_reads: false,
                    versions: false,
                    compares: 0,
                },
            }),
            connection: None,
            member: None,
            answered: false,
        }
    }

    /// Asks it, whatever it is to answer.
    async fn asks(&self, path: &str, body: Value) -> Result<Value, Failure> {
        let mut client = self.client();
        timeout(LIMIT, client.request(path, &body, "test"))
            .await
            .unwrap_or_else(|_| panic!("no answer to {path} {body}"))
    }

    async fn puts(&self, key: &str, value: &str) -> Result<Value, Failure> {
        let body = json!({ "key": BASE64.encode(key), "value": BASE64.encode(value) });
        self.asks("/v3/kv/put", body).await
    }

    async fn reads(&self, key: &str) -> Result<Value, Failure> {
        let body = json!({ "key": BASE64.encode(key) });
        self.asks("/v3/kv/range", body).await
    }

    /// Its own number, and the leader's.
    async fn status(&self) -> Option<(String, String)> {
        let answer = self.asks("/v3/maintenance/status", json!({})).await.ok()?;
        let text = |path: &str| Some(answer.pointer(path)?.as_str()?.to_owned());
        Some((text("/header/member_id")?, text("/leader")?))
    }
}

/// A cluster on addresses of the loopback.
struct Cluster {
    members: Vec<Member>,
    _folder: TempDir,
}

impl Cluster {
    /// Starts one, in which all members know their leader; `number` tells it from others of the same test run.
    async fn start(number: u8, size: u8) -> Cluster {
        let folder = tempfile::tempdir().unwrap();
        // Each process that runs these tests has addresses of its own.
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let address =
            |member: u8| format!("127.{}.{low}.{}", (high % 200) + 20, number * 10 + member);
        let peer = |member: u8| format!("http://{}:{PEER_PORT}", address(member));
        let all: Vec<String> = (1..=size).map(|it| format!("m{it}={}", peer(it))).collect();
        let start = |member: u8| {
            let clients = format!("http://{}:{CLIENT_PORT}", address(member));
            let log = File::create(folder.path().join(format!("log{member}"))).unwrap();
            let process = Command::new("etcd")
                .args(["--name", &format!("m{member}")])
                .args([
                    "--listen-client-urls",
                    &clients,
                    "--advertise-client-urls",
                    &clients,
                ])
                .args(["--listen-peer-urls", &peer(member)])
                .args(["--initial-advertise-peer-urls", &peer(member)])
                .args(["--initial-cluster", &all.join(",")])
                .args(["--heartbeat-interval", "100", "--election-timeout", "1000"])
                .arg("--data-dir")
                .arg(folder.path().join(format!("data{member}")))
                .stderr(log)
                .spawn();
            Member {
                process: process.expect("an `etcd` in the path"),
                address: address(member),
            }
        };
        let cluster = Cluster {
            members: (1..=size).map(start).collect(),
            _folder: folder,
        };
        cluster.leader().await;
        cluster
    }

    /// The place of the leader, once all know it.
    async fn leader(&self) -> usize {
        for _ in 0..300 {
            let mut known = Vec::new();
            for member in &self.members {
                known.extend(member.status().await);
            }
            if let Some((_, leader)) = known.first().cloned()
                && known.len() == self.members.len()
                && known.iter().all(|(_, it)| *it == leader)
                && let Some(at) = known.iter().position(|(id, _)| *id == leader)
            {
                return at;
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!("there is no leader");
    }
}

/// The class of a failure, and whether it may have been executed.
fn class(answer: Result<Value, Failure>) -> (String, Outcome) {
    let failure = answer.unwrap_err();
    eprintln!("{}: {}", failure.error.class, failure.error.message);
    (failure.error.class.into_owned(), failure.outcome)
}

#[tokio::test]
async fn what_a_member_alone_refuses() {
    if !asked() {
        return;
    }
    let mut cluster = Cluster::start(1, 1).await;
    let member = &cluster.members[0];
    assert_eq!(
        class(member.puts("", "1").await),
        ("invalid".into(), NotExecuted)
    );
    let large = "x".repeat(1_700_000);
    assert_eq!(
        class(member.puts("a", &large).await),
        ("too-large".into(), NotExecuted)
    );
    let read = member.reads("a").await.unwrap();
    assert_eq!(read.get("kvs"), None, "it was not executed");
    // Somebody else where it was.
    let mut client = member.client();
    client
        .request("/v3/kv/range", &json!({ "key": "YQ==" }), "test")
        .await
        .unwrap();
    client.member = Some("1".to_owned());
    let other = client
        .request("/v3/kv/range", &json!({ "key": "YQ==" }), "test")
        .await;
    assert_eq!(class(other), ("wrong-node".into(), Unknown));
    cluster.members[0].process.kill().unwrap();
    cluster.members[0].process.wait().unwrap();
    let nobody = cluster.members[0].puts("a", "1").await;
    assert_eq!(class(nobody), ("connect".into(), NotExecuted));
}

#[tokio::test]
async fn what_a_member_says_that_has_no_majority() {
    if !asked() {
        return;
    }
    let cluster = Cluster::start(2, 3).await;
    let [one, two, three] = &cluster.members[..] else {
        unreachable!("three were started")
    };
    one.signal(Signal::SIGSTOP);
    two.signal(Signal::SIGSTOP);
    assert_eq!(
        class(three.puts("a", "1").await),
        ("server-timeout".into(), Unknown)
    );
    // The answer is out before the server is.
    let (stopped, ()) = tokio::join!(three.puts("b", "1"), async {
        sleep(Duration::from_secs(1)).await;
        three.signal(Signal::SIGTERM);
    });
    let (class, outcome) = class(stopped);
    // 3.4 says the first, 3.5 the second.
    assert!(
        ["server-stopped", "server-timeout"].contains(&&*class),
        "{class}"
    );
    assert_eq!(outcome, Unknown);
}

#[tokio::test]
async fn a_member_that_dies_meanwhile() {
    if !asked() {
        return;
    }
    let cluster = Cluster::start(3, 3).await;
    let [one, two, three] = &cluster.members[..] else {
        unreachable!("three were started")
    };
    one.signal(Signal::SIGSTOP);
    two.signal(Signal::SIGSTOP);
    let (lost, ()) = tokio::join!(three.puts("a", "1"), async {
        sleep(Duration::from_secs(1)).await;
        three.signal(Signal::SIGKILL);
    });
    assert_eq!(class(lost), ("connection-lost".into(), Unknown));
}

#[tokio::test]
async fn a_leader_that_goes() {
    if !asked() {
        return;
    }
    let cluster = Cluster::start(4, 3).await;
    let leader = cluster.leader().await;
    let (first, follower) = (&cluster.members[leader], &cluster.members[(leader + 1) % 3]);
    // It asks the leader, which says nothing, until there is another.
    first.signal(Signal::SIGSTOP);
    assert_eq!(
        class(follower.reads("a").await),
        ("leader-changed".into(), Unknown)
    );
    first.signal(Signal::SIGCONT);

    // While it hands its office over, a leader takes no proposals; the follower that is to have it is deaf.
    let leader = cluster.leader().await;
    let (first, follower) = (&cluster.members[leader], &cluster.members[(leader + 1) % 3]);
    let (heir, _) = follower.status().await.unwrap();
    follower.signal(Signal::SIGSTOP);
    let path = "/v3/maintenance/transfer-leadership";
    // It has no answer as long as the heir has none.
    let hand_over = timeout(
        Duration::from_secs(2),
        first.asks(path, json!({ "targetID": heir })),
    );
    let (_, dropped) = tokio::join!(hand_over, async {
        sleep(Duration::from_millis(200)).await;
        first.puts("dropped", "1").await
    });
    assert_eq!(class(dropped), ("proposal-dropped".into(), NotExecuted));
    follower.signal(Signal::SIGCONT);
    cluster.leader().await;
    let read = first.reads("dropped").await.unwrap();
    assert_eq!(read.get("kvs"), None, "it was not executed");
}
