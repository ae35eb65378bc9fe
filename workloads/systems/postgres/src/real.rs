//! Tests with real servers, started here on addresses of the loopback: what their errors mean, and a defect in four steps.
//!
//! They run where `GAINSAY_SYSTEMS` names `postgres`, for their servers come from a registry, and as root. A server refuses to be root: it
//! is run as `nobody`.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use workloads::kit::{Outcome, Shelf};

use crate::errors::{Failure, Stage};
use crate::isolation::Isolation;
use crate::release::Release;
use crate::session::{Session, column};
use crate::txn::{Rows, Settings, Transaction};
use crate::{PORT, USER};

mod classes;
mod published;
mod race;

/// Whether these tests were asked for; says so where not.
fn asked() -> bool {
    let names = std::env::var("GAINSAY_SYSTEMS").unwrap_or_default();
    let asked = names.split(',').any(|name| name == "postgres");
    if !asked {
        eprintln!("SKIPPED: GAINSAY_SYSTEMS=postgres runs it with real servers");
    }
    asked
}

/// A server of this test.
struct Server {
    /// There until it is taken from it.
    folder: Option<tempfile::TempDir>,
    address: String,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.folder.is_some() {
            self.end("QUIT");
        }
    }
}

impl Server {
    /// Makes and starts one; `number` tells it from others of the same test run.
    async fn start(version: &str, number: u8, settings: &[&str]) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let bundle = Release::read(version).unwrap().bundle().unwrap();
        let (archive, _) = Shelf::default().archive(&bundle).await.unwrap();
        let path = folder.path().to_owned();
        run(Command::new("chmod").arg("755").arg(&path));
        run(Command::new("tar")
            .arg("-xzf")
            .arg(archive)
            .arg("-C")
            .arg(&path));
        let data = path.join("data");
        fs::create_dir(&data).unwrap();
        run(Command::new("chown").arg("-R").arg("nobody:").arg(&path));
        let initdb = ["-A", "trust", "-E", "UTF8", "--locale=C", "-N", "-U", USER];
        run(Server::program(&path, "initdb")
            .args(initdb)
            .arg("-D")
            .arg(&data)
            .stdout(Stdio::null()));
        Server::with_data(folder, number, settings).await
    }

    /// Starts one with the data that is in a folder.
    async fn with_data(folder: tempfile::TempDir, number: u8, settings: &[&str]) -> Server {
        // Each process that runs these tests has addresses of its own.
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let address = format!("127.{}.{}.{number}", (high % 200) + 20, low);
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let own = [
            format!("--listen_addresses={address}"),
            format!("--port={PORT}"),
            "--unix_socket_directories=".to_owned(),
            "--fsync=off".to_owned(),
            "--deadlock_timeout=100ms".to_owned(),
        ];
        let child = Server::program(folder.path(), "postgres")
            .arg("-D")
            .arg(folder.path().join("data"))
            .args(own)
            .args(settings)
            .stderr(log)
            .spawn()
            .unwrap();
        Server {
            folder: Some(folder),
            address,
            child,
        }
    }

    /// One of its programs, as an ordinary user.
    fn program(folder: &Path, name: &str) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"])
            .arg(folder.join("bin").join(name))
            .current_dir("/");
        command
    }

    fn end(&mut self, signal: &str) {
        // What was waited for already is not sent a signal again.
        if self.child.try_wait().unwrap().is_none() {
            let id = self.child.id().to_string();
            run(Command::new("kill").args([&format!("-{signal}"), &id]));
            self.child.wait().unwrap();
        }
    }

    /// Ends it in good order; its folder.
    fn stop(mut self) -> tempfile::TempDir {
        self.end("INT");
        self.folder.take().unwrap()
    }

    /// A session, as soon as there can be one.
    async fn session(&self, name: &str) -> Session {
        for _ in 0..400 {
            if let Ok(session) = self.try_session(name).await {
                return session;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no session with {}", self.address);
    }

    async fn try_session(&self, name: &str) -> Result<Session, Failure> {
        // A level that standbys have, too.
        Session::open(&self.address, name, Isolation::RepeatableRead).await
    }
}

fn run(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

/// The number in the first column of the only row.
async fn number(session: &Session, sql: &str) -> i64 {
    let rows = session.query(sql, &[]).await.unwrap();
    column(&rows[0], 0).unwrap()
}
