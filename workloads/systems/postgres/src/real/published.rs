//! The defect of 12.3 that was published, in four steps: <https://jepsen.io/analyses/postgresql-12.3>.
//!
//! A reader comes to a row that its snapshot does not show, since a transaction that is concurrent with it has inserted it. That is a
//! conflict with the inserter. Where the row was updated since, 12.3 notes a conflict with the updater alone, and forgets the inserter:
//! so two transactions that do not see each other's writes both commit.

use harness::json;

use super::*;

/// Whether both transactions commit, if a third one updates the row in between or not.
async fn both_commit(version: &str, number: u8, updated: bool) -> bool {
    let server = Server::start(version, number, &[]).await;
    // Keys 1 and 2 are in tables of their own: nothing conflicts for being neighbours on a page.
    let settings = Settings {
        prefix: "t".to_owned(),
        rows: Rows::Lists,
        isolation: Isolation::Serializable,
        on_conflict: false,
        tables: 3,
        rows_before: 1,
    };
    let (reader, other) = (
        server.session("reader").await,
        server.session("other").await,
    );
    other.batch(&settings.schema(), Stage::Open).await.unwrap();
    // The reader's snapshot is taken.
    let begin = "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT val FROM t0 WHERE id = -1";
    reader.batch(begin, Stage::Open).await.unwrap();
    let perform = async |transaction| {
        let transaction = Transaction::read(&transaction).unwrap();
        transaction.perform(&other, &settings, 0).await.unwrap()
    };
    // The inserter does not see the reader's write, which is yet to come.
    let seen = perform(json!([["append", 1, 1], ["r", 2, null]])).await;
    assert_eq!(seen[1], json!([]));
    if updated {
        perform(json!([["append", 1, 2]])).await;
    }
    // The reader does not see the inserter's.
    let unseen = self::number(&reader, "SELECT count(*) FROM t1 WHERE id = 1").await;
    assert_eq!(unseen, 0);
    let write = async {
        reader
            .batch("INSERT INTO t2 VALUES (2, '1')", Stage::Open)
            .await?;
        reader.batch("COMMIT", Stage::Deciding).await
    };
    match write.await {
        Ok(()) => true,
        Err(failure) => {
            assert_eq!(failure.error.class, "serialization-failure");
            false
        }
    }
}

#[tokio::test]
async fn only_the_release_with_the_defect_forgets_the_inserter() {
    if !asked() {
        return;
    }
    assert!(both_commit("12.3", 21, true).await);
    // The same without the update is refused, so it is the update that matters.
    assert!(!both_commit("12.3", 22, false).await);
    assert!(!both_commit("12.6", 23, true).await);
    assert!(!both_commit("18.6", 24, true).await);
}
