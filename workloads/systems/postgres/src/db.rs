//! PostgreSQL on a node: its programs, its process, its data.
//!
//! The first node is the primary, for good; all others are standbys that stream from it, made by `pg_basebackup`. Nothing fails over. The
//! server refuses to run as root, and runs as a system user of ours, with its data in a folder of ours; a server of the package's own is
//! never started.

use std::time::Duration;

use async_trait::async_trait;
use harness::Name;
use harness::db::steps::{self, LastWords};
use harness::db::{Db, DbError};
use harness::node::daemon::Daemon;
use harness::node::packages;
use harness::remote::{Command, Node, quote};
use workloads::kit::Shelf;

use crate::isolation::Isolation;
use crate::release::Release;
use crate::session::{Session, column};
use crate::{PORT, USER};

/// Debian's package: of the version that the release of Debian has.
pub(crate) const PACKAGE: &str = "postgresql";
/// Everything of ours, the data included. Its name says whose it is.
const HOME: &str = "/var/lib/gainsay-postgres";
const LOG: &str = "/var/log/gainsay-postgres.log";

/// Nothing is elected. About how long a server takes to start again and its clients to come back.
const ELECTION_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a question to a node about itself may take.
const STATUS_LIMIT: Duration = Duration::from_millis(500);

/// What its log says when it ended.
const LAST_WORDS: LastWords<'static> = LastWords {
    system: "PostgreSQL",
    log: LOG,
    telling: "grep -E 'FATAL|PANIC' | grep -v 'the database system is'",
    lines: 2,
    otherwise: 5,
};

/// How long a first copy of the primary's data may take.
const MAKE_LIMIT: Duration = Duration::from_secs(120);

/// PostgreSQL on nodes.
pub(crate) struct PgDb {
    shelf: Shelf,
    release: Release,
}

impl PgDb {
    pub(crate) fn new(release: Release) -> PgDb {
        PgDb {
            shelf: Shelf::default(),
            release,
        }
    }

    fn server(&self) -> Daemon {
        let settings = [
            ("listen_addresses", "*".to_owned()),
            ("port", PORT.to_string()),
            // Clients come over the network alone; there may be no folder for sockets.
            ("unix_socket_directories", String::new()),
            ("wal_level", "replica".to_owned()),
            ("hot_standby", "on".to_owned()),
            // The documented default; standbys are asked for nothing.
            ("synchronous_commit", "on".to_owned()),
            ("max_connections", "200".to_owned()),
            ("shared_buffers", "32MB".to_owned()),
            // A tenth of the default: transactions lock in any order, and wait for this long before a deadlock is looked for.
            ("deadlock_timeout", "100ms".to_owned()),
            ("max_wal_senders", "10".to_owned()),
            ("log_line_prefix", "%m [%p] %a ".to_owned()),
        ];
        let settings = settings.map(|(name, value)| format!("--{name}={value}"));
        let mut args = vec!["-D".to_owned(), data()];
        args.extend(settings);
        if self.release.makes_standbys() {
            // A standby that was cut off comes back with all that it missed. Before 13 this had another name.
            args.push("--wal_keep_size=512MB".to_owned());
        }
        Daemon {
            program: self.release.program("postgres"),
            args,
            ..process()
        }
    }

    /// Makes the data of a node that has none: of a primary new, of a standby as a copy.
    async fn make(&self, node: &Node, nodes: &[Node]) -> Result<(), DbError> {
        let primary = nodes.first().filter(|first| first.name != node.name);
        let own = format!("setpriv --reuid={USER} --regid={USER} --clear-groups --");
        let make = match primary {
            None => format!(
                "{own} {} -D {data} -U {USER} -A trust -E UTF8 --locale=C --no-sync >>{log} 2>&1 &&\n\
                 for kind in all replication; do for net in 0.0.0.0/0 ::/0; do echo host $kind all $net trust; done; done >>{data}/pg_hba.conf",
                quote(&self.release.program("initdb")),
                data = data(),
                log = LOG,
            ),
            // The primary may still be on its way.
            Some(primary) => format!(
                "until {own} {} -h {} -p {PORT} -U {USER} -D {data} -X stream -R -c fast --no-sync >>{log} 2>&1; do\n\
                 find {data} -mindepth 1 -delete; sleep 0.2; done",
                quote(&self.release.program("pg_basebackup")),
                quote(&primary.address),
                data = data(),
                log = LOG,
            ),
        };
        let script = format!(
            "# make the data\n\
             id -u {USER} >/dev/null 2>&1 || \
             useradd --system --user-group --no-create-home --home-dir / --shell /usr/sbin/nologin {USER} || exit\n\
             mkdir -p {data} && touch {LOG} && chown {USER}: {data} {LOG} && chmod 700 {data} && cd / && {{\n{make}\n}} || {{ tail -n 5 {LOG} >&2; exit 1; }}",
            data = data(),
        );
        node.remote
            .exec(Command::new(script).timeout(MAKE_LIMIT))
            .await?;
        Ok(())
    }
}

/// What the server keeps.
fn data() -> String {
    format!("{HOME}/data")
}

/// The process, for what does not start it.
fn process() -> Daemon {
    Daemon {
        program: "postgres".to_owned(),
        user: Some(USER.to_owned()),
        log: LOG.to_owned(),
        pid_file: format!("{HOME}.pid"),
        ..Daemon::default()
    }
}

/// What a node says of itself.
struct Status {
    version: String,
    is_standby: bool,
    /// Whether a standby receives from the primary.
    streams: bool,
}

/// Asks a node about itself.
async fn ask(node: &Node) -> Option<Status> {
    let asked = async {
        let session = Session::open(&node.address, "gainsay", Isolation::ReadCommitted)
            .await
            .ok()?;
        let sql = "SELECT current_setting('server_version'), pg_is_in_recovery(), \
                   EXISTS (SELECT 1 FROM pg_stat_wal_receiver WHERE status = 'streaming')";
        let rows = session.query(sql, &[]).await.ok()?;
        let row = rows.first()?;
        Some(Status {
            version: column(row, 0).ok()?,
            is_standby: column(row, 1).ok()?,
            streams: column(row, 2).ok()?,
        })
    };
    tokio::time::timeout(STATUS_LIMIT, asked)
        .await
        .ok()
        .flatten()
}

#[async_trait]
impl Db for PgDb {
    async fn install(&self, node: &Node) -> Result<(), DbError> {
        if let Some(bundle) = self.release.bundle() {
            self.shelf.bring_bundle(node, &bundle).await?;
            return Ok(());
        }
        packages::install(&*node.remote, &[PACKAGE]).await?;
        // Under a name that is known beforehand, whichever version the release of Debian has.
        let place = Shelf::place(&self.release.label());
        let script = format!(
            "newest=$(ls -d /usr/lib/postgresql/*/ | sort -V | tail -n 1) && [ -x \"$newest/bin/postgres\" ] &&\n\
             mkdir -p \"$(dirname {place})\" && ln -sfn \"$newest\" {place}"
        );
        node.remote.exec(Command::new(script).idempotent()).await?;
        Ok(())
    }

    async fn wipe(&self, node: &Node) -> Result<(), DbError> {
        steps::remove(node, &process(), HOME).await?;
        steps::need_port(
            node,
            PORT,
            "stop the PostgreSQL that runs there (systemctl stop postgresql)",
        )
        .await
    }

    async fn start_fresh(&self, node: &Node, nodes: &[Node]) -> Result<(), DbError> {
        self.make(node, nodes).await?;
        self.start(node, nodes).await
    }

    async fn start(&self, node: &Node, _nodes: &[Node]) -> Result<(), DbError> {
        self.server().start(&*node.remote).await?;
        Ok(())
    }

    async fn start_empty(&self, node: &Node, nodes: &[Node]) -> Result<(), DbError> {
        let is_primary = nodes.first().is_some_and(|first| first.name == node.name);
        if is_primary && nodes.len() > 1 {
            return Err(DbError::System {
                node: node.name.clone(),
                message: "the primary has lost its data, and nothing fails over to a standby here"
                    .to_owned(),
                hint: "wipe standbys alone, or the only node".to_owned(),
            });
        }
        self.start_fresh(node, nodes).await
    }

    async fn healthy(&self, node: &Node) -> Result<(), DbError> {
        // A session that answers: the server has recovered and takes queries. A standby moreover receives from the primary.
        steps::until(node, &process(), &LAST_WORDS, || async {
            let status = ask(node).await;
            status.is_some_and(|status| !status.is_standby || status.streams)
        })
        .await
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
            ask(node).await.is_some_and(|status| !status.is_standby)
        })
        .await
    }

    fn log_files(&self) -> Vec<String> {
        vec![LOG.to_owned()]
    }

    fn election_timeout(&self) -> Duration {
        ELECTION_TIMEOUT
    }

    async fn version(&self, node: &Node) -> Result<String, DbError> {
        let version = ask(node).await.map(|status| status.version);
        Ok(format!(
            "PostgreSQL {}",
            version.as_deref().unwrap_or("unknown")
        ))
    }
}
