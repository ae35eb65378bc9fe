//! Errors of real servers: each class that can be had is provoked by what causes it, and what is said of its outcome is looked at.
//!
//! `GAINSAY_SYSTEMS=elasticsearch` runs this, as root and where there is Java, for it needs the servers. Two versions, for errors are
//! written in two ways.
//!
//! Not provoked: `server-timeout` and `node-lost`, which a node says of another one only when its own second attempts have come to nothing,
//! and, in 1.5.0, `rejected`.

#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use harness::{Value, json};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use workloads::kit::http::{Connection, Method};
use workloads::kit::{Failure, Outcome, Shelf};

use crate::release::Release;
use crate::{HTTP_PORT, TRANSPORT_PORT, config, errors, patch};

use Outcome::{NotExecuted, Unknown};

/// How long a node may take to start, and to answer.
const START: Duration = Duration::from_secs(120);
const LIMIT: Duration = Duration::from_secs(30);

/// Whether these tests were asked for; says so where not.
fn asked() -> bool {
    let names = std::env::var("GAINSAY_SYSTEMS").unwrap_or_default();
    let asked = names.split(',').any(|name| name == "elasticsearch");
    if !asked {
        eprintln!("SKIPPED: GAINSAY_SYSTEMS=elasticsearch runs it with real servers");
    }
    asked
}

/// A node of this test, alone in its cluster.
struct Server {
    process: Child,
    release: Release,
    address: String,
    folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

impl Server {
    /// Starts one that waits for so many masters; `number` tells it from others of the same test run.
    async fn start(version: &str, number: u8, masters: u8) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let release = Release::read(version).unwrap();
        let (archive, _) = Shelf::default().archive(&release.bundle()).await.unwrap();
        let place = folder.path();
        run(Command::new("tar")
            .arg("-xzf")
            .arg(archive)
            .arg("-C")
            .arg(place));
        // Each process that runs these tests has addresses of its own.
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let address = format!("127.{}.{low}.{number}", (high % 200) + 20);
        let conf = place.join("conf");
        match place.join("config").is_dir() {
            true => run(Command::new("cp")
                .arg("-R")
                .arg(place.join("config"))
                .arg(&conf)),
            false => fs::create_dir(&conf).unwrap(),
        }
        fs::write(
            conf.join("elasticsearch.yml"),
            settings(&release, place, &address, masters),
        )
        .unwrap();
        let (logging, contents) = config::logging(&release);
        fs::write(conf.join(logging), contents).unwrap();
        run(Command::new("chown").arg("-R").arg("nobody:").arg(place));
        let log = File::create(place.join("log")).unwrap();
        let process = command(&release, place, &conf)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        let server = Server {
            process: process.unwrap(),
            release,
            address,
            folder,
        };
        server
            .until("/_nodes/_local", |answer| answer.is_ok() || masters > 1)
            .await;
        server
    }

    /// Asks again and again until the answer is as it should be.
    async fn until(&self, path: &str, done: impl Fn(&Result<Value, Failure>) -> bool) {
        let asked = async {
            loop {
                let answer = self.asks(Method::GET, path, None).await;
                let refused = matches!(&answer, Err(failure) if failure.error.class == "connect");
                if !refused && done(&answer) {
                    return;
                }
                sleep(Duration::from_millis(200)).await;
            }
        };
        let why = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        timeout(START, asked)
            .await
            .unwrap_or_else(|_| panic!("{path} never came to what it should: {}", why()));
    }

    /// Asks it, whatever it is to answer.
    async fn asks(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, Failure> {
        let asked = async {
            let server = format!("{}:{HTTP_PORT}", self.address);
            let mut connection = Connection::open(&server, Duration::from_secs(1)).await?;
            let (status, answer) = connection.send(method, path, body.as_ref(), "test").await?;
            if status.is_success() {
                return Ok(answer);
            }
            let (outcome, error) = errors::classify(status.as_u16(), &answer);
            Err(Failure { outcome, error })
        };
        let answer = timeout(LIMIT, asked).await;
        answer.unwrap_or_else(|_| panic!("no answer to {path}"))
    }

    /// Makes an index of one shard, without replicas.
    async fn makes(&self, index: &str, more: Value) {
        let mut settings = json!({ "number_of_shards": 1, "number_of_replicas": 0 });
        settings
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let properties = json!({ "properties": { "value": { "type": "long" } } });
        let mappings = match self.release.major {
            ..7 => json!({ self.release.doc_type(): properties }),
            7.. => properties,
        };
        // 8.x waits for shards by itself, and longer than this test.
        let path = match self.release.major {
            ..5 => format!("/{index}"),
            5.. => format!("/{index}?wait_for_active_shards=0"),
        };
        let body = json!({ "settings": { "index": settings }, "mappings": mappings });
        self.asks(Method::PUT, &path, Some(body)).await.unwrap();
    }

    /// Writes a document.
    async fn puts(&self, index: &str, value: Value, parameters: &str) -> Result<Value, Failure> {
        let path = format!("/{index}/{}/1{parameters}", self.release.doc_type());
        self.asks(Method::PUT, &path, Some(json!({ "value": value })))
            .await
    }

    /// The class of what it says to a write that it does not do, and whether it may have done it.
    async fn refuses(&self, index: &str, value: Value, parameters: &str) -> (String, Outcome) {
        class(self.puts(index, value, parameters).await)
    }

    fn signal(&self, signal: Signal) {
        // It may have ended.
        let _ = kill(Pid::from_raw(self.process.id() as i32), signal);
    }

    fn end(&mut self) {
        // The program that starts 8.x ends the server, which is another process, when it is told to end.
        self.signal(match self.release.major {
            ..8 => Signal::SIGKILL,
            8.. => Signal::SIGTERM,
        });
        let _ = self.process.wait();
    }
}

fn run(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}

/// What it is configured with.
fn settings(release: &Release, place: &Path, address: &str, masters: u8) -> String {
    let place = place.display();
    let port = match release.major {
        ..7 => "transport.tcp.port",
        7.. => "transport.port",
    };
    let discovery = match release.major {
        ..7 => format!(
            "discovery.zen.ping.multicast.enabled: false\ndiscovery.zen.minimum_master_nodes: {masters}\n\
             discovery.zen.ping_timeout: 500ms\n"
        ),
        7.. => {
            let names: Vec<String> = (1..=masters).map(|it| format!("m{it}")).collect();
            // The least memory for writes that are under way: too little for a large one.
            format!(
                "discovery.seed_hosts: []\ncluster.initial_master_nodes: {names:?}\nxpack.security.enabled: false\n\
                 node.store.allow_mmap: false\nindexing_pressure.memory.limit: 20kb\n"
            )
        }
    };
    format!(
        "cluster.name: provoked\nnode.name: m1\nnetwork.host: {address}\nhttp.port: {HTTP_PORT}\n{port}: {TRANSPORT_PORT}\n\
         path.data: {place}/data\npath.logs: {place}/logs\naction.auto_create_index: false\nhttp.max_content_length: 100kb\n\
         cluster.routing.allocation.disk.threshold_enabled: false\n{discovery}"
    )
}

/// What starts it, as an ordinary user.
fn command(release: &Release, place: &Path, conf: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"])
        .env("HOME", place);
    if release.major >= 8 {
        command
            .arg(place.join("bin/elasticsearch"))
            .env("ES_JAVA_HOME", "/usr/lib/jvm/default-java")
            .env("ES_PATH_CONF", conf)
            .env("ES_JAVA_OPTS", "-Xms512m -Xmx512m -XX:TieredStopAtLevel=1");
        return command;
    }
    let (home, conf) = (place.display(), conf.display());
    command.args([
        "java",
        "-Xmx256m",
        "-XX:TieredStopAtLevel=1",
        "-Des.foreground=yes",
        "-cp",
    ]);
    command.arg(format!("{home}/{}:{home}/lib/*", patch::CLASSES));
    command.args([
        format!("-Des.path.home={home}"),
        format!("-Des.path.conf={conf}"),
        format!("-Des.config={conf}/elasticsearch.yml"),
        "org.elasticsearch.bootstrap.Elasticsearch".to_owned(),
    ]);
    command
}

/// The class of a failure, and whether it may have been executed.
fn class(answer: Result<Value, Failure>) -> (String, Outcome) {
    let failure = answer.unwrap_err();
    eprintln!("{}: {}", failure.error.class, failure.error.message);
    (failure.error.class.into_owned(), failure.outcome)
}

async fn provoke(version: &str, number: u8) {
    if !asked() {
        return;
    }
    let mut server = Server::start(version, number, 1).await;
    let unknown = |class: &str| (class.to_owned(), Unknown);
    let refused = |class: &str| (class.to_owned(), NotExecuted);

    assert_eq!(
        server.refuses("none", json!(1), "").await,
        unknown("not-found")
    );
    server.makes("i", json!({})).await;
    server
        .until(
            "/_cluster/health/i?wait_for_status=green&timeout=1s",
            |answer| matches!(answer, Ok(health) if health["status"] == "green"),
        )
        .await;
    assert_eq!(
        server.refuses("i", json!({ "a": 1 }), "").await,
        refused("invalid")
    );
    let large = json!("1".repeat(200_000));
    let told = server.refuses("i", large, "").await;
    // 1.x may close the connection before it has all of it.
    let closed = server.release.major < 5 && told == unknown("connection-lost");
    assert!(closed || told == refused("too-large"), "{told:?}");
    let path = format!("/i/{}/1", server.release.doc_type());
    let read = server.asks(Method::GET, &path, None).await;
    let absent = matches!(&read, Ok(answer) if answer["found"] == false)
        || matches!(&read, Err(failure) if failure.error.class == "not-found");
    assert!(absent, "neither was executed: {read:?}");
    server.puts("i", json!(1), "?op_type=create").await.unwrap();
    assert_eq!(
        server.refuses("i", json!(2), "?op_type=create").await,
        unknown("version-conflict")
    );
    if server.release.major >= 8 {
        let large = json!(format!("1{}", " ".repeat(50_000)));
        assert_eq!(server.refuses("i", large, "").await, unknown("rejected"));
    }

    let block = json!({ "index.blocks.write": true });
    server
        .asks(Method::PUT, "/i/_settings", Some(block))
        .await
        .unwrap();
    assert_eq!(server.refuses("i", json!(3), "").await, unknown("blocked"));
    server.asks(Method::POST, "/i/_close", None).await.unwrap();
    assert_eq!(
        server.refuses("i", json!(3), "").await,
        unknown("index-closed")
    );

    // An index that no node may have.
    server
        .makes(
            "nowhere",
            json!({ "routing.allocation.include._name": "nobody" }),
        )
        .await;
    assert_eq!(
        server.refuses("nowhere", json!(1), "?timeout=1s").await,
        unknown("unavailable-shards")
    );
    let path = format!("/nowhere/{}/1", server.release.doc_type());
    assert_eq!(
        class(server.asks(Method::GET, &path, None).await),
        unknown("no-shard")
    );

    let (lost, ()) = tokio::join!(server.puts("nowhere", json!(1), "?timeout=5s"), async {
        sleep(Duration::from_secs(1)).await;
        server.signal(Signal::SIGTERM);
    });
    let (class, outcome) = class(lost);
    // By its last words, or without any.
    assert!(
        ["connection-lost", "unavailable-shards", "node-lost"].contains(&&*class),
        "{class}"
    );
    assert_eq!(outcome, Unknown);
    server.end();
    assert_eq!(server.refuses("i", json!(1), "").await, refused("connect"));

    // One of two masters that are needed.
    let alone = Server::start(version, number + 1, 2).await;
    assert_eq!(
        alone.refuses("i", json!(1), "?timeout=1s").await,
        unknown("no-master")
    );
}

#[tokio::test]
async fn errors_of_1_5_0() {
    provoke("1.5.0", 1).await;
}

#[tokio::test]
async fn errors_of_8_19_21() {
    provoke("8.19.21", 11).await;
}
