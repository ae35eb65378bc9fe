//! Transfers between accounts, and reads of all of them.
//!
//! A transfer reads both balances, and writes what the client makes of them: so a lost update loses money. At read committed PostgreSQL
//! promises nothing of the kind, and its documentation says to lock what is read (13.3.2), as is done here.

use harness::{OpError, Value, json};
use tokio_postgres::types::Type;

use crate::errors::{Failure, Stage};
use crate::isolation::Isolation;
use crate::session::{Session, column};
use crate::txn::explicitly;

/// How transfers are performed.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The table, of this run alone.
    pub(crate) table: String,
    pub(crate) isolation: Isolation,
    /// The accounts, with what they begin with.
    pub(crate) accounts: Vec<(i64, i64)>,
}

/// A transfer, as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transfer {
    from: i64,
    to: i64,
    amount: i64,
}

impl Transfer {
    /// Reads `{"from": a, "to": b, "amount": n}`.
    pub(crate) fn read(value: &Value) -> Result<Transfer, OpError> {
        let field = |name| {
            let field = value.get(name).and_then(Value::as_i64);
            field.ok_or_else(|| OpError::new("unsupported", format!("no transfer: {value}")))
        };
        Ok(Transfer {
            from: field("from")?,
            to: field("to")?,
            amount: field("amount")?,
        })
    }
}

impl Settings {
    /// Statements that make the table and the accounts.
    pub(crate) fn schema(&self) -> String {
        let table = &self.table;
        let rows: Vec<String> = self
            .accounts
            .iter()
            .map(|(id, balance)| format!("({id}, {balance})"))
            .collect();
        format!(
            "CREATE TABLE IF NOT EXISTS {table} (id bigint PRIMARY KEY, balance bigint NOT NULL); \
             INSERT INTO {table} VALUES {} ON CONFLICT DO NOTHING;",
            rows.join(", ")
        )
    }

    /// All accounts with their balances.
    pub(crate) async fn read(&self, session: &Session, index: u64) -> Result<Value, Failure> {
        let sql = format!(
            "/* op={index} */ SELECT id, balance FROM {} ORDER BY id",
            self.table
        );
        let rows = session.query(&sql, &[]).await?;
        let mut all = json!({});
        for row in &rows {
            let (id, balance): (i64, i64) = (column(row, 0)?, column(row, 1)?);
            all[id.to_string()] = json!(balance);
        }
        Ok(all)
    }

    /// Moves an amount, if it is there.
    pub(crate) async fn transfer(
        &self,
        session: &Session,
        index: u64,
        transfer: Transfer,
    ) -> Result<(), Failure> {
        let work = async {
            let from = self.balance(session, transfer.from).await? - transfer.amount;
            let to = self.balance(session, transfer.to).await? + transfer.amount;
            if from < 0 {
                return Err(Failure::refused(
                    OpError::PRECONDITION,
                    "the account holds too little",
                ));
            }
            self.set(session, transfer.from, from).await?;
            self.set(session, transfer.to, to).await
        };
        explicitly(session, self.isolation, index, false, work).await
    }

    async fn balance(&self, session: &Session, id: i64) -> Result<i64, Failure> {
        let lock = match self.isolation {
            Isolation::ReadCommitted => " FOR UPDATE",
            _ => "",
        };
        let sql = format!("SELECT balance FROM {} WHERE id = $1{lock}", self.table);
        let rows = session.query(&sql, &[(&id, Type::INT8)]).await?;
        match &rows[..] {
            [row] => column(row, 0),
            _ => Err(Failure::refused(
                "no-account",
                format!("{} accounts {id}", rows.len()),
            )),
        }
    }

    async fn set(&self, session: &Session, id: i64, balance: i64) -> Result<(), Failure> {
        let sql = format!("UPDATE {} SET balance = $2 WHERE id = $1", self.table);
        let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
            [(&id, Type::INT8), (&balance, Type::INT8)];
        match session.execute(&sql, &parameters, Stage::Open).await? {
            1 => Ok(()),
            rows => Err(Failure::refused(
                "no-account",
                format!("{rows} accounts {id}"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn transfers_are_read() {
        let read = Transfer::read(&json!({"from": 1, "to": 2, "amount": 3}));
        assert_eq!(
            read.unwrap(),
            Transfer {
                from: 1,
                to: 2,
                amount: 3
            }
        );
        assert!(Transfer::read(&json!({"from": 1, "to": 2})).is_err());
    }

    #[test]
    fn accounts_are_made_once() {
        let settings = Settings {
            table: "t".to_owned(),
            isolation: Isolation::Serializable,
            accounts: vec![(0, 10), (1, 5)],
        };
        assert!(
            settings
                .schema()
                .ends_with("INSERT INTO t VALUES (0, 10), (1, 5) ON CONFLICT DO NOTHING;")
        );
    }
}
