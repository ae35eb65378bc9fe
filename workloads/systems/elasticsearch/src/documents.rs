//! What clients do with documents: write them, read them, and change them on condition that nobody was quicker.

use std::collections::BTreeSet;

use harness::{OpError, Value, json};
use workloads::kit::Failure;
use workloads::kit::http::Method;

use crate::client::ElasticsearchClient;
use crate::errors;
use crate::index::{ABSENT, Copy};

/// How many documents an answer to a search holds.
const PAGE: usize = 5000;

impl ElasticsearchClient {
    /// Writes a document, on a condition if there is one: the answer.
    pub(crate) async fn put(
        &mut self,
        id: &str,
        value: &Value,
        condition: &[String],
        agent: &str,
    ) -> Result<Value, Failure> {
        let path = self
            .shared
            .settings
            .write(&self.shared.index, id, condition);
        let body = json!({ "value": value });
        let (status, answer) = self.request(Method::PUT, &path, Some(&body), agent).await?;
        match status {
            200..300 => Ok(answer),
            _ => Err(answered(status, &answer)),
        }
    }

    /// The value of a document, null where there is none, and what the server says of it.
    pub(crate) async fn get(
        &mut self,
        id: &str,
        copy: Copy,
        agent: &str,
    ) -> Result<(Value, Value), Failure> {
        let path = self.shared.settings.read_of(&self.shared.index, id, copy);
        let (status, answer) = self.request(Method::GET, &path, None, agent).await?;
        match (answer.get("found"), answer.pointer("/_source/value")) {
            (Some(Value::Bool(true)), Some(value)) => Ok((value.clone(), answer)),
            (Some(Value::Bool(false)), _) => Ok((Value::Null, answer)),
            _ if status < 300 => Err(bad_answer(&answer.to_string())),
            _ => Err(answered(status, &answer)),
        }
    }

    /// Reads a document, and if it holds what is expected, writes it provided that it has not changed since.
    pub(crate) async fn compare_and_set(
        &mut self,
        id: &str,
        value: &Value,
        agent: &str,
    ) -> Result<(), Failure> {
        let Some([from, to]) = value.as_array().map(Vec::as_slice) else {
            return Err(Failure::refused(
                "unsupported",
                "a cas takes [from, to]".to_owned(),
            ));
        };
        // Nothing was written if this fails.
        let read = self.get(id, Copy::Asked, agent).await;
        let (found, answer) = read.map_err(Failure::of_read)?;
        if found != *from {
            return Err(Failure::refused(
                OpError::PRECONDITION,
                format!("the value was {found}"),
            ));
        }
        let condition = self.unchanged(&answer)?;
        self.put(id, to, &condition, agent).await.map(drop)
    }

    /// Adds an element to the list that a document holds: reads it, and writes it provided that it has not changed since.
    pub(crate) async fn append(
        &mut self,
        id: &str,
        element: &Value,
        agent: &str,
    ) -> Result<(), Failure> {
        let read = self.get(id, Copy::Asked, agent).await;
        let (found, answer) = read.map_err(Failure::of_read)?;
        let condition = match found.is_null() {
            true => vec![ABSENT.to_owned()],
            false => self.unchanged(&answer)?,
        };
        let mut list = elements(found).map_err(Failure::of_read)?;
        list.push(element.clone());
        let list = Value::Array(list);
        self.put(id, &list, &condition, agent).await.map(drop)
    }

    /// The elements of the list that a document holds.
    pub(crate) async fn list(
        &mut self,
        id: &str,
        copy: Copy,
        agent: &str,
    ) -> Result<Value, Failure> {
        let (found, _) = self.get(id, copy, agent).await?;
        elements(found).map(Value::Array)
    }

    /// Writes a record: its value and which version that is.
    pub(crate) async fn write_record(
        &mut self,
        id: &str,
        value: &Value,
        agent: &str,
    ) -> Result<Value, Failure> {
        let answer = self.put(id, value, &[], agent).await?;
        Ok(self.versioned(value, &answer))
    }

    /// What the node that is asked has itself of a record, and which version that is; null where it has none.
    pub(crate) async fn read_record(&mut self, id: &str, agent: &str) -> Result<Value, Failure> {
        match self.get(id, Copy::Own, agent).await? {
            (Value::Null, _) => Ok(Value::Null),
            (value, answer) => Ok(self.versioned(&value, &answer)),
        }
    }

    fn versioned(&self, value: &Value, answer: &Value) -> Value {
        match self.shared.settings.version(answer) {
            Some(version) => json!({ "value": value, "version": version }),
            None => value.clone(),
        }
    }

    /// The condition that a document is still as it was read. Nothing was written if there is none.
    fn unchanged(&self, answer: &Value) -> Result<Vec<String>, Failure> {
        let condition = self.shared.settings.condition(answer);
        condition.ok_or_else(|| bad_answer(&format!("no version in {answer}")).of_read())
    }

    /// Makes searches see all documents, and reads them all, page by page, as they are when the first page is read.
    pub(crate) async fn all(&mut self, agent: &str) -> Result<Value, Failure> {
        let index = self.shared.index.clone();
        let path = format!("/{index}/_refresh");
        let (status, answer) = self.request(Method::POST, &path, None, agent).await?;
        if status != 200 || shards(&answer, "failed") != Some(0) {
            return Err(answered(status, &answer));
        }
        let path = format!("/{index}/_search?scroll=1m&size={PAGE}");
        let first = json!({"query": {"match_all": {}}});
        let mut asked = self
            .request(Method::POST, &path, Some(&first), agent)
            .await?;
        let mut elements = BTreeSet::new();
        loop {
            let (status, answer) = &asked;
            let hits = answer.pointer("/hits/hits").and_then(Value::as_array);
            // A shard that nobody has is counted among all, and not among those that failed.
            let whole = shards(answer, "failed") == Some(0)
                && shards(answer, "successful") == shards(answer, "total");
            let (200, Some(hits), true) = (
                *status,
                hits,
                whole && answer.get("timed_out") == Some(&Value::Bool(false)),
            ) else {
                return Err(answered(*status, answer));
            };
            if hits.is_empty() {
                return Ok(elements.into_iter().collect());
            }
            for hit in hits {
                let element = hit.pointer("/_source/value").and_then(Value::as_i64);
                let bad = || bad_answer(&format!("not a document of ours: {hit}"));
                elements.insert(element.ok_or_else(bad)?);
            }
            let scroll = answer.get("_scroll_id").and_then(Value::as_str);
            let scroll = scroll.ok_or_else(|| bad_answer("no _scroll_id"))?;
            asked = match self.shared.settings.release.major {
                1 => {
                    let path = format!("/_search/scroll?scroll=1m&scroll_id={scroll}");
                    self.request(Method::GET, &path, None, agent).await?
                }
                _ => {
                    let next = json!({"scroll": "1m", "scroll_id": scroll});
                    self.request(Method::POST, "/_search/scroll", Some(&next), agent)
                        .await?
                }
            };
        }
    }
}

/// The elements of a list; none where there is no document.
fn elements(found: Value) -> Result<Vec<Value>, Failure> {
    match found {
        Value::Null => Ok(Vec::new()),
        Value::Array(elements) => Ok(elements),
        other => Err(bad_answer(&format!("not a list of ours: {other}"))),
    }
}

/// A count of shards in an answer.
fn shards(answer: &Value, which: &str) -> Option<u64> {
    answer.get("_shards")?.get(which)?.as_u64()
}

/// What an answer means that is not a success.
fn answered(status: u16, answer: &Value) -> Failure {
    let (outcome, error) = errors::classify(status, answer);
    Failure { outcome, error }
}

/// An answer that is not as it should be, of which not too much is shown.
fn bad_answer(message: &str) -> Failure {
    Failure::unknown("bad-answer", message.chars().take(300).collect::<String>())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn lists_of_documents() {
        assert_eq!(elements(Value::Null), Ok(vec![]));
        assert_eq!(elements(json!([1, 2])), Ok(vec![json!(1), json!(2)]));
        assert_eq!(elements(json!(1)).unwrap_err().error.class, "bad-answer");
    }

    #[test]
    fn shards_that_nobody_has_are_counted() {
        let answer = json!({"_shards": {"total": 5, "successful": 4, "failed": 0}});
        assert_eq!(
            (shards(&answer, "failed"), shards(&answer, "total")),
            (Some(0), Some(5))
        );
        assert_eq!(shards(&json!({}), "failed"), None);
    }
}
