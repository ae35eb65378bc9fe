//! Errors of real servers: each class is provoked, and what is said of its outcome is looked at.
//!
//! Where it can be, an error is brought about by what causes it; else the server's fail point `failCommand` gives the code.
//! `GAINSAY_SYSTEMS=mongodb` runs this, for it needs the servers.

#![allow(clippy::unwrap_used)]

use std::net::TcpListener;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use bson::{Document, doc};
use tempfile::TempDir;
use workloads::kit::{Outcome, Shelf};

use crate::errors;
use crate::release::Release;
use crate::session::{ADMIN, Session};
use crate::settings::Settings;
use crate::wire::Connection;

use Outcome::{NotExecuted, Unknown};

const LIMIT: Duration = Duration::from_secs(10);

/// A server of a replica set of its own, with the commands for tests.
struct Server {
    process: Child,
    address: String,
    _folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    async fn start(version: &str) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let release = Release::read(version).unwrap();
        let (archive, _) = Shelf::default().archive(&release.bundle()).await.unwrap();
        let place = folder.path();
        let unpacked = Command::new("tar")
            .args([
                "-xzf".as_ref(),
                archive.as_os_str(),
                "-C".as_ref(),
                place.as_os_str(),
            ])
            .status();
        assert!(unpacked.unwrap().success());
        let data = place.join("data");
        std::fs::create_dir(&data).unwrap();
        // Free now, and hardly taken meanwhile.
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let log = std::fs::File::create(place.join("log")).unwrap();
        let process = Command::new(place.join("mongod"))
            .env("LD_LIBRARY_PATH", place.join("lib"))
            .args(["--replSet", "x", "--bind_ip", "127.0.0.1", "--nounixsocket"])
            .args(["--setParameter", "enableTestCommands=1"])
            .args(["--setParameter", "diagnosticDataCollectionEnabled=false"])
            .args(["--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "64"])
            .args(["--port", &port.to_string()])
            .arg("--dbpath")
            .arg(data)
            .stdout(log)
            .spawn();
        let server = Server {
            process: process.unwrap(),
            address: format!("127.0.0.1:{port}"),
            _folder: folder,
        };
        let members = vec![doc! { "_id": 0, "host": &server.address }];
        let set = doc! { "_id": "x", "members": members, "settings": { "electionTimeoutMillis": 1000_i64 } };
        server
            .until(doc! { "replSetInitiate": set }, |answer| {
                errors::number(answer, "ok") == Some(1)
            })
            .await;
        server.leads().await;
        server
    }

    /// Asks again and again until the answer is as it should be.
    async fn until(&self, command: Document, done: impl Fn(&Document) -> bool) {
        for _ in 0..300 {
            if let Ok(connection) = Connection::open(&self.address, LIMIT).await
                && let Ok((answer, _)) = connection.ask(ADMIN, command.clone()).await
                && done(&answer)
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{command} never came to what it should");
    }

    async fn leads(&self) {
        self.until(doc! { "isMaster": 1 }, |answer| {
            answer.get_bool("ismaster").is_ok_and(|yes| yes)
        })
        .await;
    }

    async fn admin(&self, command: Document) -> Document {
        let connection = Connection::open(&self.address, LIMIT).await.unwrap();
        let (answer, _) = connection.ask(ADMIN, command.clone()).await.unwrap();
        assert_eq!(
            errors::number(&answer, "ok"),
            Some(1),
            "{command}: {answer}"
        );
        answer
    }

    fn session(&self, process: u64) -> Session {
        let servers = vec![("n1".into(), self.address.clone())];
        let settings = Settings::of_one_server(7, Duration::from_secs(5));
        Session::new(Arc::new(servers), 0, Arc::new(settings), 7, process)
    }

    /// The next command of a name fails so.
    async fn failing(&self, name: &str, mut how: Document) {
        how.insert("failCommands", vec![name]);
        self.admin(
            doc! { "configureFailPoint": "failCommand", "mode": { "times": 1 }, "data": how },
        )
        .await;
    }

    /// Whether a document is there, as the server has it.
    async fn has(&self, id: i64) -> bool {
        let find =
            doc! { "find": "c", "filter": { "_id": id }, "$readPreference": { "mode": "nearest" } };
        let answer = self.session(99).command(0, find).await.unwrap();
        let cursor = answer.get_document("cursor").unwrap();
        !cursor.get_array("firstBatch").unwrap().is_empty()
    }
}

fn insert(id: i64) -> Document {
    doc! { "insert": "c", "documents": [{ "_id": id }], "writeConcern": { "w": 1 } }
}

async fn failed(session: &mut Session, command: Document) -> (String, Outcome) {
    let told = command.to_string();
    match session.command(0, command).await {
        Ok(answer) => panic!("{told}: {answer}"),
        Err(failure) => (failure.error.class.into_owned(), failure.outcome),
    }
}

fn is(class: &str, outcome: Outcome) -> (String, Outcome) {
    (class.to_owned(), outcome)
}

/// What a server refuses of itself, and when.
async fn refusals(server: &Server) {
    let session = &mut server.session(1);
    session.command(0, insert(1)).await.unwrap();
    assert_eq!(
        failed(session, insert(1)).await,
        is("duplicate-key", NotExecuted)
    );
    for wrong in [
        doc! { "no-such-command": 1 },
        doc! { "find": "c", "filter": { "$no": 1 } },
        doc! { "find": "c", "filter": 1 },
    ] {
        assert_eq!(failed(session, wrong).await, is("invalid", NotExecuted));
    }
    // More than there are, and a mode that there is not: it is executed all the same.
    for (id, w) in [(2, bson::Bson::from(2)), (3, "no-such-mode".into())] {
        let mut write = insert(id);
        write.insert("writeConcern", doc! { "w": w });
        assert_eq!(failed(session, write).await, is("write-concern", Unknown));
        assert!(server.has(id).await, "{id}");
    }
    let slow = doc! { "find": "c", "filter": { "$where": "sleep(500) || true" }, "maxTimeMS": 20 };
    assert_eq!(failed(session, slow).await, is("server-timeout", Unknown));
}

/// What happens to transactions.
async fn transactions(server: &Server) {
    let (one, two) = (&mut server.session(2), &mut server.session(3));
    let change =
        || doc! { "update": "c", "updates": [{ "q": { "_id": 1 }, "u": { "$set": { "x": 1 } } }] };
    let mut first = one.transaction().await.unwrap();
    first.write(change()).await.unwrap();
    let mut second = two.transaction().await.unwrap();
    let conflict = second.write(change()).await.unwrap_err();
    assert_eq!(&conflict.error.class, "write-conflict");
    assert_eq!(conflict.outcome, NotExecuted);
    // It was aborted for that; nobody knows it any more.
    let gone = second.commit().await.unwrap_err();
    assert_eq!(
        (&*gone.error.class, gone.outcome),
        ("no-transaction", NotExecuted)
    );
    first.commit().await.unwrap();
    let mut third = one.transaction().await.unwrap();
    let count = third
        .statement(doc! { "listCollections": 1 })
        .await
        .unwrap_err();
    assert_eq!(&count.error.class, "invalid");
    // A lock that somebody has: a transaction waits for none.
    server.admin(doc! { "fsync": 1, "lock": true }).await;
    let mut fourth = two.transaction().await.unwrap();
    let locked = fourth.write(change()).await.unwrap_err();
    server.admin(doc! { "fsyncUnlock": 1 }).await;
    assert_eq!(
        (&*locked.error.class, locked.outcome),
        ("lock-timeout", NotExecuted)
    );
}

/// Codes that only a fail point brings about at will, each before a write.
async fn by_fail_point(server: &Server) {
    let codes = [
        (189, "stepped-down", Unknown),
        (11602, "stepped-down", Unknown),
        (91, "shutting-down", Unknown),
        (11600, "shutting-down", Unknown),
        (262, "server-timeout", Unknown),
        (13436, "recovering", NotExecuted),
        (246, "no-snapshot", NotExecuted),
        (134, "no-snapshot", NotExecuted),
        (133, "no-such-server", NotExecuted),
        (8000, "server-error", Unknown),
    ];
    for (code, class, outcome) in codes {
        server.failing("insert", doc! { "errorCode": code }).await;
        let session = &mut server.session(4);
        assert_eq!(
            failed(session, insert(20)).await,
            is(class, outcome),
            "{code}"
        );
        assert!(!server.has(20).await, "{code}");
    }
    // The connection breaks: before, as it happens; nobody can know that.
    server
        .failing("insert", doc! { "closeConnection": true })
        .await;
    let broken = failed(&mut server.session(4), insert(21)).await;
    assert_eq!(broken, is("connection-lost", Unknown));
    // The write is executed, and what was asked for it fails.
    let error = doc! { "code": 91, "errmsg": "shutting down" };
    server
        .failing("insert", doc! { "writeConcernError": error })
        .await;
    let late = failed(&mut server.session(4), insert(22)).await;
    assert_eq!(late, is("write-concern", Unknown));
    assert!(server.has(22).await);
    // A commit of which nobody knows what became: sent once, and never again.
    let session = &mut server.session(5);
    let mut transaction = session.transaction().await.unwrap();
    let write = doc! { "insert": "c", "documents": [{ "_id": 23 }] };
    transaction.write(write).await.unwrap();
    let error = doc! { "code": 64, "errmsg": "late", "errInfo": { "wtimeout": true } };
    server
        .failing("commitTransaction", doc! { "writeConcernError": error })
        .await;
    let commit = transaction.commit().await.unwrap_err();
    assert_eq!(
        (&*commit.error.class, commit.outcome),
        ("write-concern-timeout", Unknown)
    );
    assert!(server.has(23).await);
}

/// What a server says that leads nobody, and one that is not there.
async fn without_a_leader(server: Server) {
    server
        .admin(doc! { "replSetStepDown": 60, "secondaryCatchUpPeriodSecs": 0, "force": true })
        .await;
    let session = &mut server.session(6);
    assert_eq!(
        failed(session, insert(30)).await,
        is("not-primary", NotExecuted)
    );
    let read = doc! { "find": "c", "filter": {} };
    assert_eq!(
        failed(session, read.clone()).await,
        is("not-primary", NotExecuted)
    );
    server.admin(doc! { "replSetMaintenance": true }).await;
    let mut anywhere = read;
    anywhere.insert("$readPreference", doc! { "mode": "nearest" });
    assert_eq!(
        failed(session, anywhere).await,
        is("recovering", NotExecuted)
    );
    server.admin(doc! { "replSetMaintenance": false }).await;
    assert!(!server.has(30).await);
    server.admin(doc! { "replSetFreeze": 0 }).await;
    server.leads().await;
    // It steps down while a write is under way.
    let slow = doc! { "update": "c", "updates": [{ "q": { "$where": "sleep(3000) || true" }, "u": { "$set": { "y": 1 } } }] };
    let under_way = failed(session, slow);
    let down = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        server
            .admin(doc! { "replSetStepDown": 60, "secondaryCatchUpPeriodSecs": 0, "force": true })
            .await
    };
    let (interrupted, _) = tokio::join!(under_way, down);
    assert_eq!(interrupted, is("stepped-down", Unknown));
    let address = server.address.clone();
    drop(server);
    let servers = Arc::new(vec![("n1".into(), address)]);
    let settings = Settings::of_one_server(7, LIMIT);
    let mut nobody = Session::new(servers, 0, Arc::new(settings), 7, 8);
    assert_eq!(
        failed(&mut nobody, insert(40)).await,
        is("connect", NotExecuted)
    );
}

async fn provoke(version: &str) {
    let server = Server::start(version).await;
    let create = doc! { "create": "c", "writeConcern": { "w": 1 } };
    server.session(0).command(0, create).await.unwrap();
    refusals(&server).await;
    transactions(&server).await;
    by_fail_point(&server).await;
    without_a_leader(server).await;
}

/// The oldest and the newest.
#[tokio::test]
async fn each_class_of_errors_is_what_servers_mean() {
    let asked = std::env::var("GAINSAY_SYSTEMS").unwrap_or_default();
    if !asked.split(',').any(|name| name == "mongodb") {
        eprintln!("SKIPPED: GAINSAY_SYSTEMS=mongodb provokes errors of real servers");
        return;
    }
    for version in ["4.2.6", crate::release::DEFAULT] {
        provoke(version).await;
    }
}
