//! etcd on a node: its package, its process, its data.
//!
//! The package's own service is never started: ours runs beside it under its own name, with its data in
//! a folder of ours, so that nothing of the user's is touched.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use harness::Name;
use harness::db::steps::{self, LastWords};
use harness::db::{Db, DbError, DbMembership, DbVersions};
use harness::node::daemon::Daemon;
use harness::node::{files, packages};
use harness::remote::Node;
use harness::{Value, json};
use workloads::kit::{Chosen, Shelf};

use crate::membership::members_now;
use crate::release::Release;
use crate::{CLIENT_PORT, PEER_PORT};
use workloads::kit::http::Connection;

/// Debian's package.
pub(crate) const PACKAGE: &str = "etcd-server";
/// Everything of ours, the data included. Its name says whose it is.
const HOME: &str = "/var/lib/gainsay-etcd";
const LOG: &str = "/var/log/gainsay-etcd.log";

/// Half of etcd's defaults: many elections in a short run, and still a hundred times what a round trip
/// between nodes near each other takes.
const HEARTBEAT: Duration = Duration::from_millis(50);
const ELECTION_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a question to a node about itself may take.
const STATUS_LIMIT: Duration = Duration::from_millis(500);
/// What its log says when it ended.
const LAST_WORDS: LastWords<'static> = LastWords {
    system: "etcd",
    log: LOG,
    telling: "grep -E '\"level\":\"(error|fatal|panic)\"|^panic:'",
    lines: 2,
    otherwise: 5,
};

/// etcd on nodes.
pub(crate) struct EtcdDb {
    shelf: Shelf,
    releases: Chosen<Release>,
    /// Nodes that joined a cluster that was there: without data, they must not begin a new one.
    joined: Mutex<BTreeSet<Name>>,
}

impl EtcdDb {
    pub(crate) fn new(first: Release) -> EtcdDb {
        EtcdDb {
            shelf: Shelf::default(),
            releases: Chosen::new(first),
            joined: Mutex::default(),
        }
    }

    fn joined(&self) -> MutexGuard<'_, BTreeSet<Name>> {
        self.joined.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on a node joins a cluster that is there, whenever it starts.
    pub(crate) fn joins(&self, node: &Node) {
        self.joined().insert(node.name.clone());
    }

    /// The process of a member.
    fn member(&self, node: &Node, nodes: &[Node], cluster: Cluster) -> Daemon {
        let members: Vec<String> = nodes.iter().map(member).collect();
        self.member_of(node, &members.join(","), cluster)
    }

    /// The process of a member of a cluster of so many.
    pub(crate) fn member_of(&self, node: &Node, members: &str, cluster: Cluster) -> Daemon {
        Daemon {
            program: self.releases.of(node).program(),
            args: arguments(node, members, cluster),
            ..process()
        }
    }

    /// Starts a member, unless it runs.
    async fn start_member(
        &self,
        node: &Node,
        nodes: &[Node],
        cluster: Cluster,
    ) -> Result<(), DbError> {
        files::mkdir(&*node.remote, HOME).await?;
        let member = self.member(node, nodes, cluster);
        member.start(&*node.remote).await?;
        Ok(())
    }

    async fn bring_release(&self, node: &Node, release: &Release) -> Result<(), DbError> {
        match release.bundle() {
            None => packages::install(&*node.remote, &[PACKAGE]).await?,
            Some(bundle) => {
                self.shelf.bring_bundle(node, &bundle).await?;
            }
        }
        Ok(())
    }
}

pub(crate) fn server(node: &Node) -> String {
    format!("{}:{CLIENT_PORT}", node.address)
}

/// Where a node's peers reach it.
pub(crate) fn peer(node: &Node) -> String {
    format!("http://{}:{PEER_PORT}", node.address)
}

/// Asks a node's gateway something that concerns the node alone.
pub(crate) async fn ask(node: &Node, path: &str, body: Option<Value>) -> Option<Value> {
    let asked = async {
        let mut connection = Connection::open(&server(node), STATUS_LIMIT).await.ok()?;
        let answered = match body {
            Some(body) => connection.post(path, &body, "gainsay").await,
            None => connection.get(path).await,
        };
        let (status, answer) = answered.ok()?;
        status.is_success().then_some(answer)
    };
    tokio::time::timeout(STATUS_LIMIT, asked)
        .await
        .ok()
        .flatten()
}

/// Whether a node believes to be the leader.
async fn leads(node: &Node) -> bool {
    let Some(status) = ask(node, "/v3/maintenance/status", Some(json!({}))).await else {
        return false;
    };
    let member = status.pointer("/header/member_id");
    member.is_some() && status.get("leader") == member
}

/// A node as etcd writes its members.
pub(crate) fn member(node: &Node) -> String {
    format!("{}={}", node.name, peer(node))
}

/// What etcd keeps.
pub(crate) fn data() -> String {
    format!("{HOME}/data")
}

/// Whether a member begins a cluster or joins one. Of no account where it has data.
#[derive(Clone, Copy)]
pub(crate) enum Cluster {
    New,
    Existing,
}

/// The arguments of a member of a cluster of these.
fn arguments(node: &Node, members: &str, cluster: Cluster) -> Vec<String> {
    let flags = [
        ("name", node.name.to_string()),
        ("data-dir", data()),
        // Listening takes addresses, not names.
        ("listen-peer-urls", format!("http://0.0.0.0:{PEER_PORT}")),
        (
            "listen-client-urls",
            format!("http://0.0.0.0:{CLIENT_PORT}"),
        ),
        ("initial-advertise-peer-urls", peer(node)),
        ("advertise-client-urls", format!("http://{}", server(node))),
        ("initial-cluster", members.to_owned()),
        ("initial-cluster-token", "gainsay".to_owned()),
        (
            "initial-cluster-state",
            match cluster {
                Cluster::New => "new".to_owned(),
                Cluster::Existing => "existing".to_owned(),
            },
        ),
        ("heartbeat-interval", HEARTBEAT.as_millis().to_string()),
        ("election-timeout", ELECTION_TIMEOUT.as_millis().to_string()),
        // The default since 3.5: without it, nodes whose logs are behind and who cannot win keep pushing
        // the term up, and elections take seconds.
        ("pre-vote", "true".to_owned()),
        ("logger", "zap".to_owned()),
    ];
    flags
        .into_iter()
        .map(|(flag, value)| format!("--{flag}={value}"))
        .collect()
}

/// The process, for what does not start it.
pub(crate) fn process() -> Daemon {
    Daemon {
        program: "etcd".to_owned(),
        log: LOG.to_owned(),
        pid_file: format!("{HOME}.pid"),
        ..Daemon::default()
    }
}

#[async_trait]
impl DbVersions for EtcdDb {
    async fn bring(&self, node: &Node, version: &str) -> Result<(), DbError> {
        let read = Release::read(version);
        let release = read.map_err(|message| DbError::System {
            node: node.name.clone(),
            message,
            hint: "see `gainsay test etcd --help`, --version".to_owned(),
        })?;
        self.bring_release(node, &release).await
    }

    fn choose(&self, node: &Node, version: &str) {
        // What is none was refused when it was to be brought.
        if let Ok(release) = Release::read(version) {
            self.releases.choose(node, release);
        }
    }

    fn chosen(&self, node: &Node) -> String {
        self.releases.of(node).to_string()
    }
}

#[async_trait]
impl Db for EtcdDb {
    async fn install(&self, node: &Node) -> Result<(), DbError> {
        self.bring_release(node, &self.releases.first).await
    }

    async fn wipe(&self, node: &Node) -> Result<(), DbError> {
        steps::remove(node, &process(), HOME).await?;
        for port in [CLIENT_PORT, PEER_PORT] {
            steps::need_port(
                node,
                port,
                "stop the etcd that runs there (systemctl stop etcd)",
            )
            .await?;
        }
        Ok(())
    }

    async fn start_fresh(&self, node: &Node, nodes: &[Node]) -> Result<(), DbError> {
        self.joined().remove(&node.name);
        self.start_member(node, nodes, Cluster::New).await
    }

    async fn start(&self, node: &Node, nodes: &[Node]) -> Result<(), DbError> {
        let joined = self.joined().contains(&node.name);
        match joined {
            false => self.start_member(node, nodes, Cluster::New).await,
            // The members as they are now: etcd refuses one that thinks otherwise and has no data to know better.
            true => {
                let members = members_now(node, nodes).await;
                self.start_member(node, &members, Cluster::Existing).await
            }
        }
    }

    async fn start_empty(&self, node: &Node, nodes: &[Node]) -> Result<(), DbError> {
        self.joins(node);
        self.start(node, nodes).await
    }

    async fn healthy(&self, node: &Node) -> Result<(), DbError> {
        // What `true` proves (3.4, 3.5): no alarm is raised, the member knows a leader, and a read went through the log
        // and was applied here within a second; later versions read linearizably. So the member commits and has caught
        // up to that point. No write of the key-value store is tried, and nothing is said of the other members.
        steps::until(node, &process(), &LAST_WORDS, || async {
            let health = ask(node, "/health", None).await;
            let healthy = health.as_ref().and_then(|health| health.get("health"));
            healthy.is_some_and(|healthy| healthy == "true" || healthy == &json!(true))
        })
        .await
    }

    fn process(&self) -> Daemon {
        process()
    }

    fn revive_script(&self, node: &Node, nodes: &[Node]) -> Option<String> {
        let cluster = match self.joined().contains(&node.name) {
            true => Cluster::Existing,
            false => Cluster::New,
        };
        Some(self.member(node, nodes, cluster).revive_script())
    }

    fn data_folders(&self) -> Vec<String> {
        vec![data()]
    }

    fn membership(&self) -> Option<&dyn DbMembership> {
        Some(self)
    }

    fn versions(&self) -> Option<&dyn DbVersions> {
        Some(self)
    }

    async fn teardown(&self, node: &Node) -> Result<(), DbError> {
        steps::remove(node, &process(), HOME).await
    }

    async fn primaries(&self, nodes: &[Node]) -> Vec<Name> {
        steps::those(nodes, leads).await
    }

    fn log_files(&self) -> Vec<String> {
        vec![LOG.to_owned()]
    }

    fn election_timeout(&self) -> Duration {
        ELECTION_TIMEOUT
    }

    async fn version(&self, node: &Node) -> Result<String, DbError> {
        let version = ask(node, "/version", None).await.unwrap_or_default();
        let version = version
            .get("etcdserver")
            .and_then(Value::as_str)
            .unwrap_or("unknown");
        Ok(format!("etcd {version}"))
    }
}
