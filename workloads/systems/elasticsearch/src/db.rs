//! Elasticsearch on a node: its files, its process, its data.

use std::time::Duration;

use async_trait::async_trait;
use harness::db::steps::{self, LastWords};
use harness::db::{Db, DbError, DbFaults, DbVersions};
use harness::node::daemon::Daemon;
use harness::node::{files, packages};
use harness::remote::{Command, Node};
use harness::{Name, Value};
use workloads::kit::http::Connection;
use workloads::kit::{Chosen, Shelf};

use crate::config::{self, Cluster, HOME, LOG, USER};
use crate::release::Release;
use crate::{HTTP_PORT, TRANSPORT_PORT};

/// Debian's package of Java.
pub(crate) const JAVA_PACKAGE: &str = "default-jre-headless";
/// Two looks at a master that does not answer, a second each, and an election: about how long it takes.
const ELECTION_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a question to a node about itself may take.
const STATUS_LIMIT: Duration = Duration::from_millis(500);
/// How long a question that a node passes on to the master may take.
const HEALTH_LIMIT: Duration = Duration::from_secs(2);
/// Between two questions for its version.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// What its log says when it ended.
const LAST_WORDS: LastWords<'static> = LastWords {
    system: "Elasticsearch",
    log: LOG,
    telling: "grep -E 'ERROR|FATAL|^Exception|Exception: |bootstrap check|^\\[[0-9]+\\]'",
    lines: 6,
    otherwise: 8,
};

/// Elasticsearch on nodes.
pub(crate) struct ElasticsearchDb {
    shelf: Shelf,
    releases: Chosen<Release>,
    /// How many nodes the cluster has.
    size: usize,
}

impl ElasticsearchDb {
    pub(crate) fn new(first: Release, size: usize) -> ElasticsearchDb {
        ElasticsearchDb {
            shelf: Shelf::default(),
            releases: Chosen::new(first),
            size,
        }
    }

    async fn bring_release(&self, node: &Node, release: &Release) -> Result<(), DbError> {
        packages::install(&*node.remote, &[JAVA_PACKAGE]).await?;
        self.shelf.bring_bundle(node, &release.bundle()).await?;
        Ok(())
    }

    /// Writes the configuration, and makes the folders that are its own.
    async fn configure(
        &self,
        node: &Node,
        nodes: &[Node],
        cluster: Cluster,
    ) -> Result<(), DbError> {
        let release = self.releases.of(node);
        let folder = config::folder();
        let given = format!("{}/config", release.home());
        // 8.x wants other files of its own there.
        let script = format!(
            "getent passwd {USER} >/dev/null || useradd --system --home-dir {HOME} --no-create-home --shell /usr/sbin/nologin {USER}\n\
             mkdir -p {HOME}/tmp {HOME}/logs {data} {folder}/scripts && \
             {{ [ ! -d {given} ] || cp -R {given}/. {folder}; }}",
            data = config::data(),
        );
        node.remote.exec(Command::new(script).idempotent()).await?;
        let settings = config::settings(&release, node, nodes, cluster);
        let (logging, contents) = config::logging(&release);
        for (name, contents) in [
            ("elasticsearch.yml", settings.as_str()),
            (logging, contents),
        ] {
            let path = format!("{folder}/{name}");
            node.remote
                .write(&path, contents.as_bytes().to_vec(), 0o644)
                .await?;
        }
        Ok(())
    }

    async fn start_process(&self, node: &Node) -> Result<(), DbError> {
        // A file system that is put over the data belongs to root.
        let script = format!("chown -R {USER}: {HOME}");
        node.remote.exec(Command::new(script).idempotent()).await?;
        config::daemon(&self.releases.of(node))
            .start(&*node.remote)
            .await?;
        Ok(())
    }
}

pub(crate) fn server(node: &Node) -> String {
    format!("{}:{HTTP_PORT}", node.address)
}

/// Asks a node something, and waits no longer for the answer than that.
async fn ask(node: &Node, path: &str, limit: Duration) -> Option<Value> {
    let asked = async {
        let mut connection = Connection::open(&server(node), limit).await.ok()?;
        let (status, answer) = connection.get(path).await.ok()?;
        status.is_success().then_some(answer)
    };
    tokio::time::timeout(limit, asked).await.ok().flatten()
}

/// Whether a node believes to be the master: it answers from its own state, by name.
async fn is_master(node: &Node) -> bool {
    // Up to 2.x the form of the answer follows from the request's, else; later it is text.
    let path = "/_cat/master?local=true&h=node&format=json";
    let answer = ask(node, path, STATUS_LIMIT).await.unwrap_or_default();
    let master = answer.pointer("/0/node").and_then(Value::as_str);
    master == Some(&*node.name)
}

/// Whether an answer about the cluster's health says that all nodes are there, and every index has its primaries.
fn is_well(health: &Value, size: usize) -> bool {
    let nodes = health.get("number_of_nodes").and_then(Value::as_u64);
    let status = health.get("status").and_then(Value::as_str);
    nodes == Some(size as u64) && matches!(status, Some("green" | "yellow"))
}

/// The version in a node's answer about itself.
fn version_of(about: &Value) -> Option<String> {
    let mut nodes = about.get("nodes")?.as_object()?.values();
    let version = nodes.next()?.get("version")?.as_str()?;
    Some(version.to_owned())
}

#[async_trait]
impl DbVersions for ElasticsearchDb {
    async fn bring(&self, node: &Node, version: &str) -> Result<(), DbError> {
        let release = Release::read(version).map_err(|message| DbError::System {
            node: node.name.clone(),
            message,
            hint: "see `gainsay list systems`".to_owned(),
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
impl Db for ElasticsearchDb {
    async fn install(&self, node: &Node) -> Result<(), DbError> {
        self.bring_release(node, &self.releases.first).await
    }

    async fn wipe(&self, node: &Node) -> Result<(), DbError> {
        steps::remove(node, &config::process(), HOME).await?;
        for port in [HTTP_PORT, TRANSPORT_PORT] {
            steps::need_port(node, port, "stop the Elasticsearch that runs there").await?;
        }
        Ok(())
    }

    async fn start_fresh(&self, node: &Node, nodes: &[Node]) -> Result<(), DbError> {
        self.configure(node, nodes, Cluster::New).await?;
        self.start_process(node).await
    }

    async fn start(&self, node: &Node, nodes: &[Node]) -> Result<(), DbError> {
        // What it was configured with is of no account where it has data, but must suit the version that it is given.
        self.configure(node, nodes, Cluster::Existing).await?;
        self.start_process(node).await
    }

    async fn healthy(&self, node: &Node) -> Result<(), DbError> {
        // The node knows a master, which sees all nodes, and knows where the primary of every shard is.
        steps::until(node, &config::process(), &LAST_WORDS, || async {
            let path = "/_cluster/health?timeout=1s&master_timeout=1s";
            let health = ask(node, path, HEALTH_LIMIT).await;
            health.is_some_and(|health| is_well(&health, self.size))
        })
        .await
    }

    fn process(&self) -> Daemon {
        config::process()
    }

    fn revive_script(&self, node: &Node, _nodes: &[Node]) -> Option<String> {
        Some(config::daemon(&self.releases.of(node)).revive_script())
    }

    fn data_folders(&self) -> Vec<String> {
        vec![config::data()]
    }

    fn faults(&self) -> Option<&dyn DbFaults> {
        Some(self)
    }

    async fn teardown(&self, node: &Node) -> Result<(), DbError> {
        steps::remove(node, &config::process(), HOME).await
    }

    async fn primaries(&self, nodes: &[Node]) -> Vec<Name> {
        steps::those(nodes, is_master).await
    }

    fn log_files(&self) -> Vec<String> {
        vec![LOG.to_owned()]
    }

    fn election_timeout(&self) -> Duration {
        ELECTION_TIMEOUT
    }

    async fn version(&self, node: &Node) -> Result<String, DbError> {
        // Not `/`, which the distribution of 8.x for tests does not know.
        let number = loop {
            let answer = ask(node, "/_nodes/_local", HEALTH_LIMIT).await;
            if let Some(number) = answer.as_ref().and_then(version_of) {
                break number;
            }
            tokio::time::sleep(ASK_AGAIN).await;
        };
        let changed = files::exists(&*node.remote, config::CHANGED).await?;
        Ok(match (changed, self.releases.of(node).major) {
            (_, 1) => format!("elasticsearch {number} (class JvmInfo changed, for a newer Java)"),
            (false, _) => format!("elasticsearch {number}"),
            (true, 5) => {
                format!("elasticsearch {number} (start-up checks of open files and maps changed)")
            }
            (true, _) => format!("elasticsearch {number} (start-up check of open files changed)"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness::json;

    #[test]
    fn version() {
        let about = json!({"cluster_name": "gainsay", "nodes": {"x1": {"name": "n1", "version": "8.19.21"}}});
        assert_eq!(version_of(&about).as_deref(), Some("8.19.21"));
        assert_eq!(version_of(&json!({"nodes": {}})), None);
    }

    #[test]
    fn health() {
        let health = |status: &str, nodes: u64| json!({"status": status, "number_of_nodes": nodes});
        assert!(is_well(&health("green", 3), 3));
        assert!(is_well(&health("yellow", 3), 3));
        assert!(!is_well(&health("red", 3), 3));
        assert!(!is_well(&health("green", 2), 3));
        assert!(!is_well(&json!("busy"), 3));
    }
}
