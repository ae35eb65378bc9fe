//! Plume's text, in which the checkers of isolation by Liu et al. (Plume, 2024) and their successors hand down register transactions.
//!
//! ```text
//! w(3,7,0,12)
//! r(4,0,0,12)
//! w(3,8,1,-1)
//! ```
//!
//! `r` or `w`, and then key, value, session and transaction. The value 0 is the initial one, here `null`. Lines of one session and
//! transaction are a transaction that committed, in their order; the transactions of a session happened in the order of
//! their first lines. A write of the transaction -1 is one that was aborted, alone. A transaction becomes one event, its end, of the process
//! that its session is: when it began, and what other sessions did meanwhile, nobody recorded.

use std::io::Read;
use std::path::Path;

use rustc_hash::FxHashMap;
use serde_json::Value;

use super::lines::{Wrong, each_line};
use crate::batch::{Batcher, Flow};
use crate::event::{Event, EventType, Name, Process};
use crate::load::LoadError;

/// A line.
struct Line {
    /// The transaction, numbered by first appearance.
    transaction: u32,
    is_write: bool,
    key: i64,
    value: i64,
}

struct Transaction {
    /// The line that it begins in.
    at: u64,
    session: u64,
    aborted: bool,
    /// How many lines it has.
    lines: u32,
}

/// The transaction number of writes that were aborted.
const ABORTED: i64 = -1;

/// Reads the events of a history, and hands each on.
pub(super) fn each(
    source: impl Read,
    path: &Path,
    batcher: &mut Batcher<'_>,
) -> Result<(), LoadError> {
    let (transactions, lines) = parse(source, path)?;
    // The lines of each transaction together, in their order.
    let mut next: Vec<u32> = Vec::with_capacity(transactions.len());
    let mut sum = 0;
    for transaction in &transactions {
        next.push(sum);
        sum += transaction.lines;
    }
    let mut order = vec![0u32; lines.len()];
    for (line, number) in lines.iter().zip(0..) {
        let at = &mut next[line.transaction as usize];
        order[*at as usize] = number;
        *at += 1;
    }
    let f = Name::from("txn");
    let mut begin = 0;
    for (transaction, index) in transactions.iter().zip(0..) {
        let end = begin + transaction.lines as usize;
        let micro = order[begin..end].iter().map(|at| {
            let line = &lines[*at as usize];
            let value = match line.value {
                0 => Value::Null,
                value => value.into(),
            };
            let f = if line.is_write { "w" } else { "r" };
            Value::Array(vec![f.into(), line.key.into(), value])
        });
        let event = Event {
            index,
            time: 0,
            process: Process::Client(transaction.session),
            kind: match transaction.aborted {
                true => EventType::Fail,
                false => EventType::Ok,
            },
            f: f.clone(),
            key: None,
            value: micro.collect(),
            error: None,
            node: None,
        };
        if batcher.push(event, transaction.at) == Flow::Break(()) {
            break;
        }
        begin = end;
    }
    Ok(())
}

/// Transactions by session and number.
#[derive(Default)]
struct Numbers {
    /// By session, ascending: mostly, a transaction has a higher number than those before.
    ascending: FxHashMap<u64, Vec<(i64, u32)>>,
    others: FxHashMap<(u64, i64), u32>,
}

impl Numbers {
    /// A transaction, which is `next` if it is new.
    fn number(&mut self, session: u64, id: i64, next: u32) -> u32 {
        let ascending = self.ascending.entry(session).or_default();
        if ascending.last().is_none_or(|(last, _)| *last < id) {
            ascending.push((id, next));
            return next;
        }
        match ascending.binary_search_by_key(&id, |(id, _)| *id) {
            Ok(at) => ascending[at].1,
            Err(_) => *self.others.entry((session, id)).or_insert(next),
        }
    }
}

fn parse(source: impl Read, path: &Path) -> Result<(Vec<Transaction>, Vec<Line>), LoadError> {
    let mut parser = Parser::default();
    each_line(source, path, &mut |text, number| {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Flow::Continue(()));
        }
        let fields = fields(text).ok_or_else(|| Wrong {
            column: 1,
            message: format!(
                "{:?} is no r(key,value,session,transaction) or w(…) of whole numbers",
                text.chars().take(80).collect::<String>()
            ),
        })?;
        parser.line(fields, number);
        Ok(Flow::Continue(()))
    })?;
    Ok((parser.transactions, parser.lines))
}

#[derive(Default)]
struct Parser {
    transactions: Vec<Transaction>,
    lines: Vec<Line>,
    numbers: Numbers,
    /// Mostly, a line is of the same transaction as the one before.
    last: Option<((u64, i64), u32)>,
}

impl Parser {
    fn line(&mut self, fields: (bool, [i64; 4], u64), at: u64) {
        let (is_write, [key, value, _, id], session) = fields;
        let aborted = id == ABORTED;
        if aborted && !is_write {
            return;
        }
        let next = self.transactions.len() as u32;
        let transaction = match self.last {
            _ if aborted => next,
            Some((same, known)) if same == (session, id) => known,
            _ => self.numbers.number(session, id, next),
        };
        if !aborted {
            self.last = Some(((session, id), transaction));
        }
        if transaction == next {
            self.transactions.push(Transaction {
                at,
                session,
                aborted,
                lines: 0,
            });
        }
        self.transactions[transaction as usize].lines += 1;
        self.lines.push(Line {
            transaction,
            is_write,
            key,
            value,
        });
    }
}

/// Whether a line is a write, its numbers, and its session.
fn fields(text: &str) -> Option<(bool, [i64; 4], u64)> {
    plain_fields(text.as_bytes()).or_else(|| any_fields(text))
}

/// The fields of a line without white space and with numbers of at most 18 digits. Of other lines it says nothing.
fn plain_fields(line: &[u8]) -> Option<(bool, [i64; 4], u64)> {
    let (is_write, mut rest) = match line {
        [b'w', b'(', rest @ ..] => (true, rest),
        [b'r', b'(', rest @ ..] => (false, rest),
        _ => return None,
    };
    let mut numbers = [0; 4];
    for (at, number) in numbers.iter_mut().enumerate() {
        let is_negative = rest.first() == Some(&b'-');
        rest = &rest[usize::from(is_negative)..];
        let mut length = 0;
        for digit in rest.iter().map(|byte| byte.wrapping_sub(b'0')) {
            if digit > 9 {
                break;
            }
            if length == 18 {
                return None;
            }
            *number = *number * 10 + i64::from(digit);
            length += 1;
        }
        let end = if at < 3 { b',' } else { b')' };
        if length == 0 || rest.get(length) != Some(&end) {
            return None;
        }
        rest = &rest[length + 1..];
        if is_negative {
            *number = -*number;
        }
    }
    let session = u64::try_from(numbers[2]).ok()?;
    rest.is_empty().then_some((is_write, numbers, session))
}

/// The fields of any line.
fn any_fields(text: &str) -> Option<(bool, [i64; 4], u64)> {
    let is_write = match text.as_bytes().first()? {
        b'w' => true,
        b'r' => false,
        _ => return None,
    };
    let inner = text[1..].strip_prefix('(')?.strip_suffix(')')?;
    let mut numbers = [0; 4];
    let mut parts = inner.split(',');
    for number in &mut numbers {
        *number = parts.next()?.trim().parse().ok()?;
    }
    let session = u64::try_from(numbers[2]).ok()?;
    parts
        .next()
        .is_none()
        .then_some((is_write, numbers, session))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::collect;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(text: &str) -> Result<Vec<Event>, String> {
        let read = collect(|batcher| each(text.as_bytes(), Path::new("h.plume"), batcher));
        read.map(|(events, ..)| events)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn transactions_are_put_together_whatever_is_between_their_lines() {
        let text = "w(3,7,0,12)\nr(4,0,1,12)\nw(3,8,1,-1)\r\n\nr(-4,5, 0, 12)\nw(3,9,1,-1)\nw(1,1,0,0)\nr(1,2,0,-1)";
        let events = read(text).unwrap();
        let told: Vec<(u64, EventType, String)> = events
            .iter()
            .map(|event| (event.index, event.kind, event.value.to_string()))
            .collect();
        let expected = [
            (0, EventType::Ok, json!([["w", 3, 7], ["r", -4, 5]])),
            (1, EventType::Ok, json!([["r", 4, null]])),
            (2, EventType::Fail, json!([["w", 3, 8]])),
            (3, EventType::Fail, json!([["w", 3, 9]])),
            (4, EventType::Ok, json!([["w", 1, 1]])),
        ];
        let expected = expected.map(|(index, kind, value)| (index, kind, value.to_string()));
        assert_eq!(told, expected);
        assert_eq!(events[1].process, Process::Client(1));
        assert_eq!(&*events[0].f, "txn");
    }

    #[test]
    fn what_is_no_line_is_an_error_with_its_place() {
        for line in [
            "x(1,2,3,4)",
            "r(1,2,3)",
            "r(1,2,3,4,5)",
            "w(a,2,3,4)",
            "w(1,2,-3,4)",
            "w(1,2,3,4",
        ] {
            assert_eq!(
                read(&format!("w(1,1,0,0)\n{line}\n")).unwrap_err(),
                format!(
                    "h.plume:2:1: {line:?} is no r(key,value,session,transaction) or w(…) of whole numbers"
                )
            );
        }
    }

    #[test]
    fn transactions_may_come_in_any_order() {
        let events =
            read("w(1,1,0,5)\nw(1,2,0,3)\nw(1,3,0,7)\nw(2,4,0,5)\nw(2,5,0,3)\nw(1,6,0,4)").unwrap();
        let told: Vec<String> = events.iter().map(|event| event.value.to_string()).collect();
        let expected = [
            json!([["w", 1, 1], ["w", 2, 4]]),
            json!([["w", 1, 2], ["w", 2, 5]]),
            json!([["w", 1, 3]]),
            json!([["w", 1, 6]]),
        ];
        assert_eq!(told, expected.map(|value| value.to_string()));
    }

    proptest! {
        #[test]
        fn the_fast_way_says_nothing_else(text in "[rw][(]-?[0-9]{1,20},-?[0-9]{0,3},[0-9]{1,2},-?[0-9]{1,2}[)]?[ ,)]{0,1}") {
            let plain = plain_fields(text.as_bytes());
            prop_assert!(plain.is_none() || plain == any_fields(&text));
        }

        #[test]
        fn random_lines_never_panic(text in "[rw(),0-9 -]{0,40}") {
            let _ = read(&text);
        }
    }
}
