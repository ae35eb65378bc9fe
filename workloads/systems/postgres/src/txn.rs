//! Transactions of reads and writes of rows: lists and registers alike.
//!
//! A row is an integer key and a text: the elements of a list with commas between them, or the value of a register. Rows are spread over a
//! few tables. They are inserted while the run goes on, by whoever writes to a key first, and updated from then on.

use harness::{OpError, Value, json};
use tokio_postgres::types::Type;

use crate::errors::{DUPLICATE_KEY, Failure, Stage};
use crate::isolation::Isolation;
use crate::session::{Session, column};

/// A class for a write that found neither a row to update nor a place to insert one: both are there for others, in newer snapshots.
const NO_ROW: &str = "no-row";

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rows {
    /// A list, which grows.
    Lists,
    /// A register, which is replaced.
    Registers,
}

/// How transactions are performed.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Before the name of each table, so that runs do not see each other's data.
    pub(crate) prefix: String,
    pub(crate) rows: Rows,
    pub(crate) isolation: Isolation,
    /// Whether a write is one `INSERT … ON CONFLICT DO UPDATE`.
    pub(crate) on_conflict: bool,
    /// Over how many tables the rows are spread.
    pub(crate) tables: i64,
    /// How many rows are in each table from the beginning. Nobody uses them: their keys are negative.
    pub(crate) rows_before: i64,
}

impl Settings {
    fn table(&self, key: i64) -> String {
        format!("{}{}", self.prefix, key.rem_euclid(self.tables))
    }

    /// Statements that make the tables.
    pub(crate) fn schema(&self) -> String {
        let rows = self.rows_before;
        let table = |number| {
            let name = self.table(number);
            format!(
                "CREATE TABLE IF NOT EXISTS {name} (id bigint PRIMARY KEY, val text NOT NULL); \
                 INSERT INTO {name} SELECT -id, '0' FROM generate_series(1, {rows}) AS id ON CONFLICT DO NOTHING;"
            )
        };
        (0..self.tables).map(table).collect()
    }

    /// What a row `t` becomes when `$2` is written to it.
    fn written(&self) -> &'static str {
        match self.rows {
            Rows::Lists => "CONCAT(t.val, ',', $2)",
            Rows::Registers => "$2",
        }
    }

    fn value(&self, text: Option<&str>) -> Result<Value, Failure> {
        let number = |text: &str| {
            let number = text.parse::<i64>();
            number.map_err(|_| Failure::refused("bad-answer", format!("{text:?} is no number")))
        };
        match (self.rows, text) {
            (Rows::Lists, None) => Ok(json!([])),
            (Rows::Lists, Some(text)) => {
                let elements: Result<Vec<i64>, Failure> = text.split(',').map(number).collect();
                Ok(json!(elements?))
            }
            (Rows::Registers, None) => Ok(Value::Null),
            (Rows::Registers, Some(text)) => Ok(json!(number(text)?)),
        }
    }
}

/// A micro-operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Micro {
    Read(i64),
    Write(i64, i64),
}

/// A transaction, as it is asked for.
pub(crate) struct Transaction(Vec<Micro>);

impl Transaction {
    /// Reads `[["r", key, null], ["append", key, element], ["w", key, value], …]`.
    pub(crate) fn read(value: &Value) -> Result<Transaction, OpError> {
        let wrong = || OpError::new("unsupported", format!("no transaction: {value}"));
        let micro = |micro: &Value| {
            let key = micro.get(1)?.as_i64()?;
            match micro.get(0)?.as_str()? {
                "r" => Some(Micro::Read(key)),
                "append" | "w" => Some(Micro::Write(key, micro.get(2)?.as_i64()?)),
                _ => None,
            }
        };
        let all = value.as_array().ok_or_else(wrong)?.iter().map(micro);
        all.collect::<Option<Vec<Micro>>>()
            .map(Transaction)
            .ok_or_else(wrong)
    }

    /// Whether it writes nothing.
    pub(crate) fn only_reads(&self) -> bool {
        self.0.iter().all(|micro| matches!(micro, Micro::Read(_)))
    }

    /// Performs it: what was read, in its order, and null for each write. One micro-operation alone commits by itself.
    pub(crate) async fn perform(
        &self,
        session: &Session,
        settings: &Settings,
        index: u64,
    ) -> Result<Vec<Value>, Failure> {
        let run = Run {
            session,
            settings,
            note: format!("/* op={index} */"),
            explicit: self.0.len() > 1,
            only_reads: self.only_reads(),
        };
        if !run.explicit {
            return run.all(&self.0).await;
        }
        explicitly(
            session,
            settings.isolation,
            index,
            run.only_reads,
            run.all(&self.0),
        )
        .await
    }
}

/// Puts a transaction around work. What fails is rolled back.
pub(crate) async fn explicitly<T>(
    session: &Session,
    isolation: Isolation,
    index: u64,
    only_reads: bool,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let level = isolation.sql();
    let begin = format!("/* op={index} */ BEGIN ISOLATION LEVEL {level}");
    session.batch(&begin, Stage::Open).await?;
    match work.await {
        Ok(done) => {
            let stage = match only_reads {
                true => Stage::Open,
                false => Stage::Deciding,
            };
            let commit = format!("/* op={index} */ COMMIT");
            session.batch(&commit, stage).await.map(|()| done)
        }
        Err(mut failure) => {
            if failure.usable {
                failure.usable = session.batch("ROLLBACK", Stage::Open).await.is_ok();
            }
            Err(failure)
        }
    }
}

/// A transaction under way.
struct Run<'a> {
    session: &'a Session,
    settings: &'a Settings,
    /// Before each statement: the server's log names it with errors.
    note: String,
    /// Whether it is between `BEGIN` and `COMMIT`.
    explicit: bool,
    only_reads: bool,
}

impl Run<'_> {
    async fn all(&self, micros: &[Micro]) -> Result<Vec<Value>, Failure> {
        let mut read = Vec::with_capacity(micros.len());
        for micro in micros {
            read.push(match *micro {
                Micro::Read(key) => self.read(key).await?,
                Micro::Write(key, value) => {
                    self.write(key, value).await?;
                    Value::Null
                }
            });
        }
        Ok(read)
    }

    /// What an error of a statement leaves open.
    fn stage(&self) -> Stage {
        match self.explicit || self.only_reads {
            true => Stage::Open,
            false => Stage::Deciding,
        }
    }

    async fn read(&self, key: i64) -> Result<Value, Failure> {
        let (note, table) = (&self.note, self.settings.table(key));
        let sql = format!("{note} SELECT val FROM {table} WHERE id = $1");
        let rows = self.session.query(&sql, &[(&key, Type::INT8)]).await?;
        match &rows[..] {
            [] => self.settings.value(None),
            [row] => self.settings.value(Some(column(row, 0)?)),
            _ => {
                let message = format!("{} rows with the primary key {key}", rows.len());
                Err(Failure::refused("bad-answer", message))
            }
        }
    }

    async fn write(&self, key: i64, value: i64) -> Result<(), Failure> {
        if self.settings.on_conflict {
            return self.upsert(key, value).await;
        }
        // Somebody may insert the row between our update and our insert: then it is there for an update, if our snapshot shows it.
        if self.update(key, value).await?
            || self.insert(key, value).await?
            || self.update(key, value).await?
        {
            return Ok(());
        }
        let message = format!("key {key} can be neither updated nor inserted");
        Err(Failure::refused(NO_ROW, message))
    }

    async fn update(&self, key: i64, value: i64) -> Result<bool, Failure> {
        let (note, table, new) = (
            &self.note,
            self.settings.table(key),
            self.settings.written(),
        );
        let sql = format!("{note} UPDATE {table} AS t SET val = {new} WHERE t.id = $1");
        Ok(self.change(&sql, key, value).await? > 0)
    }

    /// Inserts a row, unless it is there. Within a transaction the refusal is undone alone.
    async fn insert(&self, key: i64, value: i64) -> Result<bool, Failure> {
        let (note, table) = (&self.note, self.settings.table(key));
        let sql = format!("{note} INSERT INTO {table} (id, val) VALUES ($1, $2)");
        if self.explicit {
            self.session.batch("SAVEPOINT own", Stage::Open).await?;
        }
        let end = match self.change(&sql, key, value).await {
            Ok(_) => "RELEASE SAVEPOINT own",
            Err(failure) if failure.error.class == DUPLICATE_KEY => "ROLLBACK TO SAVEPOINT own",
            Err(failure) => return Err(failure),
        };
        if self.explicit {
            self.session.batch(end, Stage::Open).await?;
        }
        Ok(end.starts_with("RELEASE"))
    }

    async fn upsert(&self, key: i64, value: i64) -> Result<(), Failure> {
        let (note, table, new) = (
            &self.note,
            self.settings.table(key),
            self.settings.written(),
        );
        let sql = format!(
            "{note} INSERT INTO {table} AS t (id, val) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET val = {new}"
        );
        self.change(&sql, key, value).await.map(drop)
    }

    async fn change(&self, sql: &str, key: i64, value: i64) -> Result<u64, Failure> {
        let text = value.to_string();
        let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
            [(&key, Type::INT8), (&text, Type::TEXT)];
        self.session.execute(sql, &parameters, self.stage()).await
    }
}

/// The transaction that was asked for, with what was read in place of its nulls.
pub(crate) fn filled(asked: &Value, read: Vec<Value>) -> Value {
    let mut value = asked.clone();
    for (micro, read) in value.as_array_mut().into_iter().flatten().zip(read) {
        if let (false, Some(place)) = (read.is_null(), micro.get_mut(2)) {
            *place = read;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn settings(rows: Rows) -> Settings {
        Settings {
            prefix: "gainsay_1_txn".to_owned(),
            rows,
            isolation: Isolation::Serializable,
            on_conflict: false,
            tables: 3,
            rows_before: 5,
        }
    }

    #[test]
    fn transactions_are_read() {
        let read = |value| Transaction::read(&value).map(|transaction| transaction.0);
        assert_eq!(
            read(json!([["append", 1, 7], ["r", 2, null]])).unwrap(),
            [Micro::Write(1, 7), Micro::Read(2)]
        );
        assert_eq!(read(json!([["w", 1, 7]])).unwrap(), [Micro::Write(1, 7)]);
        for wrong in [
            json!(null),
            json!([["r"]]),
            json!([["x", 1, 2]]),
            json!([["append", 1, null]]),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rows_are_lists_or_registers() {
        let lists = settings(Rows::Lists);
        assert_eq!(lists.value(None).unwrap(), json!([]));
        assert_eq!(lists.value(Some("1,22,3")).unwrap(), json!([1, 22, 3]));
        assert!(lists.value(Some("1,,3")).is_err());
        let registers = settings(Rows::Registers);
        assert_eq!(registers.value(None).unwrap(), Value::Null);
        assert_eq!(registers.value(Some("4")).unwrap(), json!(4));
        assert!(registers.value(Some("4,5")).is_err());
    }

    #[test]
    fn rows_are_spread_over_tables() {
        let settings = settings(Rows::Lists);
        assert_eq!(settings.table(4), "gainsay_1_txn1");
        assert_eq!(settings.schema().matches("CREATE TABLE").count(), 3);
        assert_eq!(
            settings.schema().matches("generate_series(1, 5)").count(),
            3
        );
    }

    #[test]
    fn reads_are_filled_in() {
        let asked = json!([["append", 1, 7], ["r", 2, null], ["r", 3, null]]);
        let read = vec![Value::Null, json!([5]), json!([])];
        assert_eq!(
            filled(&asked, read),
            json!([["append", 1, 7], ["r", 2, [5]], ["r", 3, []]])
        );
    }
}
