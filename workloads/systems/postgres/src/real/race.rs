//! A race of serializable transactions that releases up to 18.6 have, shown with a debugger that holds one of them for a moment.
//!
//! A commit becomes visible first (`ProcArrayEndTransaction`), and is noted by the manager of predicate locks afterwards
//! (`ReleasePredicateLocks`). In between, T2 is visible and counts as running. T1 has read what T2 overwrote, and commits then: it takes
//! T2 for one that has not committed, so it does not note that it comes before a committed one. T2, when it goes on, drops the conflict,
//! for T1 has committed. T3 saw what T2 wrote, and now does not see what T1 wrote: it comes after T2, which comes after T1, which comes
//! after T3. Nobody is left who knows.

use std::io::Write;

use super::*;

/// A debugger that holds a server process where it is about to note its commit.
struct Held {
    gdb: Child,
    said: tempfile::NamedTempFile,
}

impl Held {
    async fn attach(pid: i64) -> Held {
        let said = tempfile::NamedTempFile::new().unwrap();
        let mut gdb = Command::new("gdb");
        gdb.args(["-q", "-nx", "-p", &pid.to_string()])
            .stdin(Stdio::piped())
            .stdout(said.reopen().unwrap())
            .stderr(Stdio::null());
        let mut held = Held {
            gdb: gdb.spawn().unwrap(),
            said,
        };
        held.tell("set confirm off\nbreak ReleasePredicateLocks\necho SET\\n\ncontinue\n");
        held.wait_for("SET\n").await;
        held.wait_for("Continuing.").await;
        held
    }

    fn tell(&mut self, commands: &str) {
        let input = self.gdb.stdin.as_mut().unwrap();
        input.write_all(commands.as_bytes()).unwrap();
    }

    async fn wait_for(&self, words: &str) {
        for _ in 0..600 {
            if fs::read_to_string(self.said.path())
                .unwrap()
                .contains(words)
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("gdb did not say {words:?}");
    }

    fn let_go(mut self) {
        self.tell("delete\ndetach\nquit\n");
        self.gdb.wait().unwrap();
    }
}

/// Whether all three commit, if T2 is held or not.
async fn all_commit(version: &str, number: u8, hold: bool) -> bool {
    let server = Server::start(version, number, &[]).await;
    let t1 = server.session("t1").await;
    let t2 = server.session("t2").await;
    let t3 = server.session("t3").await;
    let tables = "CREATE TABLE a (id int PRIMARY KEY, val int); CREATE TABLE b (id int PRIMARY KEY); \
                  INSERT INTO a VALUES (1, 1), (-1, 0); INSERT INTO b VALUES (-1)";
    t1.batch(tables, Stage::Open).await.unwrap();
    let begin = "BEGIN ISOLATION LEVEL SERIALIZABLE";
    let read_a = "SELECT val::bigint FROM a WHERE id = 1";
    t1.batch(begin, Stage::Open).await.unwrap();
    assert_eq!(self::number(&t1, read_a).await, 1);
    t1.batch("INSERT INTO b VALUES (1)", Stage::Open)
        .await
        .unwrap();
    t2.batch(begin, Stage::Open).await.unwrap();
    t2.batch("UPDATE a SET val = 2 WHERE id = 1", Stage::Open)
        .await
        .unwrap();
    let pid = self::number(&t2, "SELECT pg_backend_pid()::bigint").await;
    let held = match hold {
        true => Some(Held::attach(pid).await),
        false => None,
    };
    let others = async {
        match &held {
            Some(held) => held.wait_for("Breakpoint 1, ").await,
            None => tokio::time::sleep(Duration::from_millis(500)).await,
        }
        t3.batch(begin, Stage::Open).await.unwrap();
        // T2 has committed, as everybody can see.
        assert_eq!(self::number(&t3, read_a).await, 2);
        t1.batch("COMMIT", Stage::Deciding).await.unwrap();
        if let Some(held) = held {
            held.let_go();
        }
    };
    let (committed, ()) = tokio::join!(t2.batch("COMMIT", Stage::Deciding), others);
    committed.unwrap();
    match t3.query("SELECT 1 FROM b WHERE id = 1", &[]).await {
        Ok(rows) => {
            assert!(rows.is_empty());
            t3.batch("COMMIT", Stage::Deciding).await.is_ok()
        }
        Err(failure) => {
            assert_eq!(failure.error.class, "serialization-failure");
            false
        }
    }
}

#[tokio::test]
async fn a_commit_that_is_visible_and_not_noted_yet_is_forgotten() {
    if !asked() {
        return;
    }
    if Command::new("gdb").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no gdb");
        return;
    }
    for (version, number) in [("12.6", 31), ("18.6", 33)] {
        assert!(!all_commit(version, number, false).await);
        assert!(all_commit(version, number + 1, true).await);
    }
}
