//! Transactions, and what stands for them: the operations of `append`, `rw-register` and `bank`.

use bson::{Document, doc};
use harness::{OpError, Value, json};
use workloads::kit::Failure;

use crate::client::{
    ACCOUNTS, BATCH, LISTS, MongoClient, REGISTERS, Work, argument, bad_answer, batch, field,
    first, register, unsupported,
};
use crate::session::whole;

/// What an operation of a transaction does to the document of its key.
enum Step {
    Read,
    Change(Document),
}

impl Step {
    fn of(operation: &Value) -> Result<Step, Failure> {
        let f = operation.get(0).and_then(Value::as_str).unwrap_or_default();
        match f {
            "r" => Ok(Step::Read),
            "append" => Ok(Step::Change(
                doc! { "$push": { "v": argument(operation.get(2))? } },
            )),
            "w" => Ok(Step::Change(
                doc! { "$set": { "value": argument(operation.get(2))? } },
            )),
            other => Err(unsupported(format!(
                "there is no {other:?} in a transaction"
            ))),
        }
    }
}

/// What is told of a read of a key.
fn seen(collection: &str, key: i64, answer: &Document) -> Result<Value, Failure> {
    let found = first(answer)?;
    let seen = match collection {
        LISTS => json!(list(found)?),
        _ => register(found)?,
    };
    Ok(json!(["r", key, seen]))
}

/// An update of one document, which is made if it is not there.
pub(crate) fn upsert(collection: &str, key: i64, change: Document) -> Document {
    doc! { "update": collection, "updates": [{ "q": { "_id": key }, "u": change, "upsert": true }] }
}

impl MongoClient {
    /// A transaction on lists or on registers.
    pub(crate) async fn transact(&mut self, operations: &Value) -> Result<Value, Failure> {
        let operations = operations
            .as_array()
            .ok_or_else(|| unsupported("a transaction is a list of operations"))?;
        let collection = match *self.work {
            Work::Append => LISTS,
            _ => REGISTERS,
        };
        if let ([operation], true) = (&operations[..], self.session.settings.plain_singles) {
            return Ok(json!([self.single(collection, operation).await?]));
        }
        let mut transaction = self.session.transaction().await?;
        let mut done = Vec::with_capacity(operations.len());
        for operation in operations {
            let key = argument(operation.get(1))?;
            match Step::of(operation)? {
                Step::Read => {
                    let query = doc! { "find": collection, "filter": { "_id": key }, "limit": 1, "singleBatch": true };
                    let answer = transaction.statement(query).await?;
                    done.push(seen(collection, key, &answer)?);
                }
                Step::Change(change) => {
                    transaction.write(upsert(collection, key, change)).await?;
                    done.push(operation.clone());
                }
            }
        }
        transaction.commit().await?;
        Ok(Value::Array(done))
    }

    /// A transaction of one operation on a register, as a command of a session.
    pub(crate) async fn in_session(&mut self, operations: &Value) -> Result<Value, Failure> {
        match operations.as_array().map(Vec::as_slice) {
            Some([operation]) => Ok(json!([self.single(REGISTERS, operation).await?])),
            _ => Err(unsupported("a session takes one operation at a time")),
        }
    }

    /// A transaction of one operation, as a command without a transaction.
    async fn single(&mut self, collection: &str, operation: &Value) -> Result<Value, Failure> {
        let key = argument(operation.get(1))?;
        match Step::of(operation)? {
            Step::Read => {
                let answer = self.find(collection, key).await.map_err(Failure::of_read)?;
                seen(collection, key, &answer)
            }
            Step::Change(change) => {
                self.update(upsert(collection, key, change)).await?;
                Ok(operation.clone())
            }
        }
    }

    pub(crate) async fn transfer(&mut self, transfer: &Value) -> Result<Value, Failure> {
        let part = |name: &str| argument(transfer.get(name));
        let (from, to, amount) = (part("from")?, part("to")?, part("amount")?);
        let mut transaction = self.session.transaction().await?;
        let query =
            doc! { "find": ACCOUNTS, "filter": { "_id": from }, "limit": 1, "singleBatch": true };
        let answer = transaction.statement(query).await?;
        let balance = match first(&answer)? {
            Some(document) => field(document, "balance")?,
            None => 0,
        };
        if balance < amount {
            transaction.abort().await;
            return Err(Failure::refused(
                OpError::PRECONDITION,
                format!("account {from} has {balance}"),
            ));
        }
        let change = |account: i64, by: i64| doc! { "q": { "_id": account }, "u": { "$inc": { "balance": by } } };
        let updates = [change(from, -amount), change(to, amount)];
        for update in updates {
            transaction
                .write(doc! { "update": ACCOUNTS, "updates": [update] })
                .await?;
        }
        transaction.commit().await?;
        Ok(transfer.clone())
    }

    pub(crate) async fn read_accounts(&mut self) -> Result<Value, Failure> {
        let mut transaction = self.session.transaction().await?;
        let query = doc! { "find": ACCOUNTS, "filter": {}, "batchSize": BATCH };
        let answer = transaction.statement(query).await?;
        let mut balances = serde_json::Map::new();
        for document in batch(&answer, "firstBatch")?.0 {
            balances.insert(
                field(document, "_id")?.to_string(),
                json!(field(document, "balance")?),
            );
        }
        transaction.commit().await?;
        Ok(Value::Object(balances))
    }
}

/// The elements of a list's document; none where there is no document.
pub(crate) fn list(document: Option<&Document>) -> Result<Vec<i64>, Failure> {
    let Some(document) = document else {
        return Ok(Vec::new());
    };
    let elements = document.get_array("v").map_err(|_| bad_answer(document))?;
    let elements = elements
        .iter()
        .map(|element| whole(element).ok_or_else(|| bad_answer(document)));
    elements.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lists_are_read() {
        let document = doc! { "_id": 1, "v": [1_i64, 2_i32] };
        assert_eq!(list(Some(&document)), Ok(vec![1, 2]));
        assert_eq!(list(None), Ok(vec![]));
        assert!(list(Some(&doc! { "_id": 1, "v": 1 })).is_err());
    }
}
