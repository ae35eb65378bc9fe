//! Steps that systems of one process on each node have in common.

use std::future::Future;
use std::time::Duration;

use futures::future::join_all;
use store::Name;
use tokio::time::sleep;

use super::DbError;
use crate::capability::ProcessState;
use crate::node::daemon::Daemon;
use crate::node::{files, ports};
use crate::remote::{Command, Node, quote};

/// Ends a process of ours and removes its folder and its log. It is not asked first: its data go with it.
///
/// # Errors
/// If it does not end, or something cannot be removed.
pub async fn remove(node: &Node, process: &Daemon, folder: &str) -> Result<(), DbError> {
    process.stop(&*node.remote, Duration::ZERO).await?;
    files::remove(&*node.remote, folder).await?;
    files::remove(&*node.remote, &process.log).await?;
    Ok(())
}

/// Refuses a node on which somebody else has a port that we need. `stop` says how to make them stop: "stop the etcd that runs there".
///
/// # Errors
/// If the port is taken.
pub async fn need_port(node: &Node, port: u16, stop: &str) -> Result<(), DbError> {
    match ports::has_listener(&*node.remote, port).await? {
        false => Ok(()),
        true => Err(DbError::System {
            node: node.name.clone(),
            message: format!("port {port} is taken by a process that is not ours"),
            hint: format!("{stop}, or choose another node"),
        }),
    }
}

/// What a system's log says about its end.
pub struct LastWords<'a> {
    /// What the system is called, in the message.
    pub system: &'a str,
    /// The log.
    pub log: &'a str,
    /// A filter of the shell that lets telling lines of the log through: `grep -E 'FATAL|PANIC'`.
    pub telling: &'a str,
    /// How many of them are shown, the last ones.
    pub lines: usize,
    /// How many lines are shown where none is telling.
    pub otherwise: usize,
}

impl LastWords<'_> {
    /// Why the system ended on a node, as far as its log says. A stack trace says nothing to those who test it.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn of(&self, node: &Node) -> Result<DbError, DbError> {
        let LastWords {
            system,
            telling,
            lines,
            otherwise,
            ..
        } = self;
        let log = quote(self.log);
        let script = format!(
            "said=$(cat {log} | {telling} | tail -n {lines} | cut -c -500)\n\
             [ -n \"$said\" ] && echo \"$said\" || tail -n {otherwise} {log} | cut -c -500"
        );
        let said = node.remote.run(Command::new(script).idempotent()).await?;
        let said = said.text();
        let full = ["no space left on device", "No space left on device"];
        let hint = match full.iter().any(|full| said.contains(full)) {
            true => "a disk of the node is full: df -h /var/lib /var/log".to_owned(),
            false => format!("see {} on the node", self.log),
        };
        Ok(DbError::System {
            node: node.name.clone(),
            message: format!("{system} ended; its log says:\n{said}"),
            hint,
        })
    }
}

/// Between two looks at whether a node is well.
const LOOK: Duration = Duration::from_millis(100);

/// Waits until something is so on a node where a process is to run. The caller bounds it.
///
/// # Errors
/// What the process's log says, once it is gone; that the node cannot be asked.
pub async fn until<F: Future<Output = bool>>(
    node: &Node,
    process: &Daemon,
    last_words: &LastWords<'_>,
    is_so: impl Fn() -> F,
) -> Result<(), DbError> {
    while !is_so().await {
        if process.state(&*node.remote).await? == ProcessState::Absent {
            return Err(last_words.of(node).await?);
        }
        sleep(LOOK).await;
    }
    Ok(())
}

/// The nodes of which something is true, in their order. All are asked at once.
pub async fn those<'a, F: Future<Output = bool>>(
    nodes: &'a [Node],
    asks: impl Fn(&'a Node) -> F,
) -> Vec<Name> {
    let answers = join_all(nodes.iter().map(asks)).await;
    let named = nodes.iter().zip(answers).filter(|(_, answer)| *answer);
    named.map(|(node, _)| node.name.clone()).collect()
}
