//! Waits of a real server, MariaDB, whose clocks are changed: without what keeps them true, `sleep(1)` takes an hour or nothing.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use harness::capability::{ClockScope, Clocks};
use harness::remote::Node;
use nemeses::ssh::NodeClocks;

use crate::part::{Part, System};
use crate::{HOUR, node, possible, skew, there_is};

/// How long a wait of a second may take: a busy machine needs its time, and a wrong clock is off by an hour.
const LONG: Duration = Duration::from_secs(30);

struct MariaDb {
    child: Child,
    folder: PathBuf,
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[async_trait]
impl Part for MariaDb {
    fn pids_script(&self, _: &Node) -> Option<String> {
        Some(format!("echo {}", self.child.id()))
    }
}

impl MariaDb {
    fn start(folder: &Path, environment: &Path) -> Arc<System<MariaDb>> {
        std::fs::create_dir(folder).unwrap();
        let data = format!("--datadir={}", folder.join("data").display());
        let quiet = |command: &mut Command| {
            let mut log = std::fs::File::options();
            let log = log.create(true).append(true).open(folder.join("log"));
            let log = log.unwrap();
            command.stdout(log.try_clone().unwrap()).stderr(log);
        };
        let mut install = Command::new("mariadb-install-db");
        install.args(["--no-defaults", &data, "--user=root", "--skip-test-db"]);
        install.arg("--auth-root-authentication-method=normal");
        quiet(&mut install);
        assert!(install.status().unwrap().success());
        let mut server = Command::new("sh");
        server
            .args(["-c", "[ ! -r \"$0\" ] || . \"$0\"; exec \"$@\""])
            .arg(environment)
            .args(["/usr/sbin/mariadbd", "--no-defaults", &data, "--user=root"])
            .args(["--skip-networking", "--innodb-lock-wait-timeout=1"])
            .arg(format!("--socket={}", folder.join("socket").display()));
        quiet(&mut server);
        let mut db = MariaDb {
            child: server.spawn().unwrap(),
            folder: folder.to_owned(),
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !db.client("select 1").output().unwrap().status.success() {
            let ended = db.child.try_wait().unwrap().is_some();
            let log = std::fs::read_to_string(folder.join("log")).unwrap();
            assert!(Instant::now() < deadline && !ended, "{log}");
            std::thread::sleep(Duration::from_millis(50));
        }
        Arc::new(System(db))
    }

    fn client(&self, statements: &str) -> Command {
        let mut client = Command::new("mariadb");
        client
            .args(["--no-defaults", "--user=root", "--skip-column-names"])
            .arg(format!("--socket={}", self.folder.join("socket").display()))
            .args(["-e", statements])
            .stdin(Stdio::null());
        client
    }

    /// How long statements take, until the server's answer or until it is too long.
    fn takes(&self, statements: &str) -> Duration {
        let begin = Instant::now();
        let mut client = self
            .client(statements)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while client.try_wait().unwrap().is_none() {
            if begin.elapsed() > LONG {
                client.kill().unwrap();
                client.wait().unwrap();
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        begin.elapsed()
    }

    /// What a second is to it: asleep, and waiting for a lock of a user's and one of a row's, which somebody else has.
    fn seconds(&self) -> [Duration; 3] {
        // The holder before may be ended and still have the lock for a moment.
        let hold = "create table if not exists test.t (k int primary key) engine=innodb; insert ignore into test.t values (1); \
                    select get_lock('held', 10); begin; select * from test.t where k = 1 for update; select sleep(1000)";
        let mut holder = self
            .client(&format!("create database if not exists test; {hold}"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let held = "select is_used_lock('held') is not null and exists (select * from information_schema.innodb_trx)";
        let deadline = Instant::now() + LONG;
        while self.client(held).output().unwrap().stdout != b"1\n" {
            assert!(Instant::now() < deadline, "nobody holds the lock");
            std::thread::sleep(Duration::from_millis(20));
        }
        let waits = [
            "select sleep(1)",
            "select get_lock('held', 1)",
            "select * from test.t where k = 1 for update",
        ];
        let took = waits.map(|wait| self.takes(wait));
        let whose =
            "select id from information_schema.processlist where info = 'select sleep(1000)'";
        let id = self.client(whose).output().unwrap().stdout;
        let kill = format!("kill {}", String::from_utf8(id).unwrap());
        assert!(self.client(&kill).status().unwrap().success());
        holder.wait().unwrap();
        took
    }
}

#[tokio::test]
async fn a_servers_waits_are_true() {
    let there = Path::new("/usr/sbin/mariadbd").exists();
    if !possible("a_servers_waits") || !there_is(there, "a_servers_waits", "needs MariaDB's server")
    {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let (environment, state) = (state.join("environment"), state.to_str().unwrap());
    let at = node("mariadb", state);
    let name = "mariadb".into();
    let without = MariaDb::start(&folder.path().join("without"), Path::new("/none"));
    let clocks = NodeClocks::new(std::slice::from_ref(&at), without.clone());
    clocks.change(&name, &skew(-HOUR * 1000)).await.unwrap();
    let asleep = without.takes("select sleep(1)");
    assert!(asleep < Duration::from_millis(900), "{asleep:?}");
    clocks.prepare(ClockScope::Process).await.unwrap();
    drop(without);

    let with = MariaDb::start(&folder.path().join("with"), &environment);
    let clocks = NodeClocks::new(std::slice::from_ref(&at), with.clone());
    for hours in [0, 1, -1] {
        if hours != 0 {
            let seen = clocks
                .change(&name, &skew(hours * HOUR * 1000))
                .await
                .unwrap();
            assert!(seen[0].effective, "{seen:?}");
        }
        let took = with.seconds();
        println!("MariaDB {hours:+} h: {took:?}");
        let true_wait = |took: &Duration| (Duration::from_millis(950)..LONG).contains(took);
        assert!(took.iter().all(true_wait), "{hours:+} h: {took:?}");
    }
    at.agent.leave().await;
}
