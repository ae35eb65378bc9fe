//! Each class of errors, provoked.

use super::*;

/// What a statement that commits by itself failed with: class, outcome, and whether the session can be used further.
async fn refused(session: &Session, sql: &str) -> (String, Outcome, bool) {
    class(session.batch(sql, Stage::Deciding).await.unwrap_err())
}

fn class(failure: Failure) -> (String, Outcome, bool) {
    (
        failure.error.class.into_owned(),
        failure.outcome,
        failure.usable,
    )
}

fn not_executed(class: &str) -> (String, Outcome, bool) {
    (class.to_owned(), Outcome::NotExecuted, true)
}

const TABLE: &str = "CREATE TABLE t (id bigint PRIMARY KEY, val text NOT NULL); \
     INSERT INTO t VALUES (1, 'a'), (2, 'b'); \
     CREATE TABLE later (id bigint UNIQUE DEFERRABLE INITIALLY DEFERRED)";

#[tokio::test]
async fn errors_of_statements_prove_that_nothing_happened() {
    if !asked() {
        return;
    }
    let server = Server::start("18.6", 1, &[]).await;
    let session = server.session("test").await;
    session.batch(TABLE, Stage::Open).await.unwrap();
    let wide = format!("SELECT 1{}", ", 1".repeat(1_664));
    let cases = [
        (
            "INSERT INTO t VALUES (3, 'c'); SELECT 1/0",
            "sqlstate-22012",
        ),
        (
            "INSERT INTO t VALUES (3, 'c'); SELECT 'x'::bigint",
            "sqlstate-22P02",
        ),
        ("INSERT INTO t VALUES (3, 'c'), (1, 'c')", "duplicate-key"),
        ("INSERT INTO t VALUES (3, NULL)", "sqlstate-23502"),
        (
            "INSERT INTO t VALUES (3, 'c'); SELECT * FROM nowhere",
            "no-such-table",
        ),
        ("INSERT INTO t VALUES (3, 'c'); SELEC", "sqlstate-42601"),
        (
            "INSERT INTO t VALUES (3, 'c'); SELECT count(*) FROM t FOR UPDATE",
            "not-supported",
        ),
        (&wide, "sqlstate-54011"),
    ];
    for (sql, expected) in cases {
        assert_eq!(
            refused(&session, sql).await,
            not_executed(expected),
            "{sql}"
        );
        assert_eq!(number(&session, "SELECT count(*) FROM t").await, 2, "{sql}");
    }
    // A constraint that is checked by the commit itself.
    session
        .batch("BEGIN; INSERT INTO later VALUES (1), (1)", Stage::Open)
        .await
        .unwrap();
    assert_eq!(
        refused(&session, "COMMIT").await,
        not_executed("duplicate-key")
    );
    assert_eq!(number(&session, "SELECT count(*) FROM later").await, 0);
    // Of a transaction that is aborted, nothing more is executed.
    session.batch("BEGIN", Stage::Open).await.unwrap();
    refused(&session, "SELECT 1/0").await;
    let after = refused(&session, "INSERT INTO t VALUES (3, 'c')").await;
    assert_eq!(after, not_executed("sqlstate-25P02"));
    session.batch("ROLLBACK", Stage::Open).await.unwrap();
    session.batch("BEGIN READ ONLY", Stage::Open).await.unwrap();
    let write = refused(&session, "INSERT INTO t VALUES (3, 'c')").await;
    assert_eq!(write, not_executed("read-only"));
    session.batch("ROLLBACK", Stage::Open).await.unwrap();
    assert_eq!(number(&session, "SELECT count(*) FROM t").await, 2);
}

#[tokio::test]
async fn conflicts_are_rolled_back() {
    if !asked() {
        return;
    }
    let server = Server::start("18.6", 2, &[]).await;
    let (a, b) = (server.session("a").await, server.session("b").await);
    a.batch(TABLE, Stage::Open).await.unwrap();
    // Each reads what the other writes: the second commit is refused.
    for (session, read, written) in [(&a, 1, 2), (&b, 2, 1)] {
        let sql = format!(
            "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT val FROM t WHERE id = {read}; UPDATE t SET val = 'skew' WHERE id = {written}"
        );
        session.batch(&sql, Stage::Open).await.unwrap();
    }
    a.batch("COMMIT", Stage::Deciding).await.unwrap();
    assert_eq!(
        refused(&b, "COMMIT").await,
        not_executed("serialization-failure")
    );
    assert_eq!(
        number(&a, "SELECT count(*) FROM t WHERE val = 'skew'").await,
        1
    );
    // A row that was updated since the snapshot.
    b.batch(
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT val FROM t",
        Stage::Open,
    )
    .await
    .unwrap();
    a.batch("UPDATE t SET val = 'new' WHERE id = 1", Stage::Deciding)
        .await
        .unwrap();
    let late = refused(&b, "UPDATE t SET val = 'late' WHERE id = 1").await;
    assert_eq!(late, not_executed("serialization-failure"));
    b.batch("ROLLBACK", Stage::Open).await.unwrap();
    // A row that somebody holds.
    a.batch(
        "BEGIN; SELECT val FROM t WHERE id = 1 FOR UPDATE",
        Stage::Open,
    )
    .await
    .unwrap();
    let held = refused(&b, "SELECT val FROM t WHERE id = 1 FOR UPDATE NOWAIT").await;
    assert_eq!(held, not_executed("sqlstate-55P03"));
    // Each waits for the other.
    let begin = "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT val FROM t WHERE id = 2 FOR UPDATE";
    b.batch(begin, Stage::Open).await.unwrap();
    let (one, other) = tokio::join!(
        a.batch("UPDATE t SET val = 'x' WHERE id = 2", Stage::Deciding),
        b.batch("UPDATE t SET val = 'x' WHERE id = 1", Stage::Deciding),
    );
    let failed: Vec<Failure> = [one, other].into_iter().filter_map(Result::err).collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(
        failed.into_iter().map(class).next().unwrap(),
        not_executed("deadlock")
    );
}

#[tokio::test]
async fn what_ends_a_statement_from_outside_proves_nothing() {
    if !asked() {
        return;
    }
    let mut server = Server::start("18.6", 3, &["--max_connections=12"]).await;
    let (admin, session) = (
        server.session("admin").await,
        server.session("sleeper").await,
    );
    let sleep = "SELECT pg_sleep(20)";
    let act = |deed: &str| {
        format!(
            "SELECT {deed}(pid)::int::bigint FROM pg_stat_activity WHERE application_name = 'sleeper' AND wait_event = 'PgSleep'"
        )
    };
    let cancel = async |sql: String| {
        while admin.query(&sql, &[]).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (canceled, ()) = tokio::join!(refused(&session, sleep), cancel(act("pg_cancel_backend")));
    assert_eq!(canceled, ("canceled".to_owned(), Outcome::Unknown, true));
    assert_eq!(number(&session, "SELECT 1::bigint").await, 1);
    let late = refused(&session, "SET statement_timeout = 10; SELECT pg_sleep(20)").await;
    assert_eq!(late, ("canceled".to_owned(), Outcome::Unknown, true));
    session
        .batch("SET statement_timeout = 0", Stage::Open)
        .await
        .unwrap();
    let (ended, ()) = tokio::join!(
        refused(&session, sleep),
        cancel(act("pg_terminate_backend"))
    );
    assert_eq!(ended, ("shutdown".to_owned(), Outcome::Unknown, false));
    // All places taken: the next one is refused before it can send anything.
    let mut all = Vec::new();
    let full = loop {
        match server.try_session("one of many").await {
            Ok(session) => all.push(session),
            Err(failure) => break class(failure),
        }
    };
    assert_eq!(
        full,
        ("too-many-clients".to_owned(), Outcome::NotExecuted, false)
    );
    all.clear();
    // The server dies under a statement.
    let session = server.session("sleeper").await;
    let kill = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.end("QUIT");
    };
    let (lost, ()) = tokio::join!(refused(&session, sleep), kill);
    assert!(lost.1 == Outcome::Unknown && !lost.2, "{lost:?}");
    server = Server::start("18.6", 4, &[]).await;
    let failure = Session::open("127.1.2.3", "nobody", Isolation::Serializable).await;
    let nobody = failure.err().map(class).unwrap();
    assert_eq!(nobody, ("connect".to_owned(), Outcome::NotExecuted, false));
    drop(server.session("last").await);
}

#[tokio::test]
async fn standbys_refuse_what_they_cannot_do() {
    if !asked() {
        return;
    }
    let primary = Server::start("18.6", 5, &[]).await;
    primary
        .session("setup")
        .await
        .batch(TABLE, Stage::Open)
        .await
        .unwrap();
    let folder = primary.stop();
    fs::write(folder.path().join("data/standby.signal"), "").unwrap();
    run(Command::new("chown")
        .arg("-R")
        .arg("nobody:")
        .arg(folder.path()));
    let standby = Server::with_data(folder, 5, &[]).await;
    let session = standby.session("test").await;
    assert_eq!(number(&session, "SELECT count(*) FROM t").await, 2);
    let write = refused(&session, "INSERT INTO t VALUES (3, 'c')").await;
    assert_eq!(write, not_executed("read-only"));
    let serializable = "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT 1";
    assert_eq!(
        refused(&session, serializable).await,
        not_executed("not-supported")
    );
    drop(session);
    // One that takes no queries says that it is starting.
    let folder = standby.stop();
    let closed = Server::with_data(folder, 5, &["--hot_standby=off"]).await;
    let refused = loop {
        let failure = closed.try_session("early").await.err().map(class).unwrap();
        if failure.0 != "connect" {
            break failure;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(
        refused,
        ("starting-up".to_owned(), Outcome::NotExecuted, false)
    );
}
