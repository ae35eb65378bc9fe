//! FerretDB on a node: its program, its process, and the folder in which SQLite keeps its databases.

use std::time::Duration;

use async_trait::async_trait;
use bson::doc;
use harness::Name;
use harness::db::steps::{self, LastWords};
use harness::db::{Db, DbError};
use harness::node::daemon::Daemon;
use harness::node::files;
use harness::remote::Node;
use workloads::kit::Shelf;

use super::Release;
use crate::PORT;
use crate::db::{STATUS_LIMIT, ask, hello};

/// Everything of ours, the data included.
const HOME: &str = "/var/lib/gainsay-ferretdb";
const LOG: &str = "/var/log/gainsay-ferretdb.log";

/// What its log says when it ended.
const LAST_WORDS: LastWords<'static> = LastWords {
    system: "ferretdb",
    log: LOG,
    telling: "grep -E 'ERROR|FATAL|DPANIC|^panic:|^ferretdb: error:'",
    lines: 2,
    otherwise: 5,
};

/// FerretDB on nodes.
pub(super) struct FerretDb {
    shelf: Shelf,
    release: Release,
}

impl FerretDb {
    pub(super) fn new(release: Release) -> FerretDb {
        FerretDb {
            shelf: Shelf::default(),
            release,
        }
    }

    /// The server's process.
    fn server(&self) -> Daemon {
        let flags = [
            ("handler", "sqlite".to_owned()),
            // It must end so: it is a folder.
            ("sqlite-url", format!("file:{}/", data())),
            ("state-dir", HOME.to_owned()),
            // Listening takes addresses, not names.
            ("listen-addr", format!("0.0.0.0:{PORT}")),
            ("debug-addr", "-".to_owned()),
            ("telemetry", "disable".to_owned()),
        ];
        Daemon {
            program: self.release.program(),
            args: flags
                .into_iter()
                .map(|(flag, value)| format!("--{flag}={value}"))
                .collect(),
            ..process()
        }
    }
}

fn data() -> String {
    format!("{HOME}/data")
}

/// The process, for what does not start it.
fn process() -> Daemon {
    Daemon {
        program: super::PROGRAM.to_owned(),
        log: LOG.to_owned(),
        pid_file: format!("{HOME}.pid"),
        ..Daemon::default()
    }
}

#[async_trait]
impl Db for FerretDb {
    async fn install(&self, node: &Node) -> Result<(), DbError> {
        let bundle = self.release.bundle();
        self.shelf.bring_bundle(node, &bundle).await.map(drop)
    }

    async fn wipe(&self, node: &Node) -> Result<(), DbError> {
        steps::remove(node, &process(), HOME).await?;
        steps::need_port(node, PORT, "stop what runs there").await
    }

    async fn start_fresh(&self, node: &Node, nodes: &[Node]) -> Result<(), DbError> {
        self.start(node, nodes).await
    }

    async fn start(&self, node: &Node, _nodes: &[Node]) -> Result<(), DbError> {
        files::mkdir(&*node.remote, &data()).await?;
        self.server().start(&*node.remote).await?;
        Ok(())
    }

    async fn healthy(&self, node: &Node) -> Result<(), DbError> {
        let answers = || async { hello(node).await.is_some() };
        steps::until(node, &process(), &LAST_WORDS, answers).await
    }

    fn process(&self) -> Daemon {
        process()
    }

    fn revive_script(&self, _node: &Node, _nodes: &[Node]) -> Option<String> {
        Some(self.server().revive_script())
    }

    fn data_folders(&self) -> Vec<String> {
        vec![data()]
    }

    async fn teardown(&self, node: &Node) -> Result<(), DbError> {
        steps::remove(node, &process(), HOME).await
    }

    async fn primaries(&self, nodes: &[Node]) -> Vec<Name> {
        steps::those(nodes, |node| async {
            hello(node).await.is_some_and(|hello| hello.is_primary)
        })
        .await
    }

    fn log_files(&self) -> Vec<String> {
        vec![LOG.to_owned()]
    }

    fn election_timeout(&self) -> Duration {
        // There are no elections: what faults of a second are to it.
        Duration::from_secs(1)
    }

    async fn version(&self, node: &Node) -> Result<String, DbError> {
        let said = ask(node, doc! { "buildInfo": 1 }, STATUS_LIMIT).await;
        let said = said.unwrap_or_default();
        // Beside the version of MongoDB that it plays.
        let version = said.get_str("ferretdbVersion");
        let version = version.map(|version| version.trim_start_matches('v'));
        Ok(format!("FerretDB {}", version.unwrap_or("unknown")))
    }
}
