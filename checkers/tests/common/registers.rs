//! Reads histories of register transactions for tests and benches of the decision: plume text and JSON lines.

use std::collections::HashMap;
use std::path::Path;

use checkers::transactions::polygraph::{INITIAL, Observations, Observed};
use serde_json::Value;

/// A transaction, as a file has it.
struct Raw {
    session: u32,
    begin: Option<u32>,
    end: Option<u32>,
    ok: bool,
    /// Whether it wrote, which key, and the value (0 is initial).
    mops: Vec<(bool, u32, i64)>,
}

/// Reads a history. `Err` says what rules it out at all levels.
pub(crate) fn read(file: &Path) -> Result<Observations, String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let raw = if file.extension().is_some_and(|one| one == "jsonl") {
        jsonl(&text)
    } else {
        plume(&text)
    };
    observe(&raw)
}

/// Numbers for whatever.
#[derive(Default)]
struct Numbers(HashMap<i64, u32>);

impl Numbers {
    fn of(&mut self, what: i64) -> u32 {
        let next = self.0.len() as u32;
        *self.0.entry(what).or_insert(next)
    }
}

fn plume(text: &str) -> Vec<Raw> {
    let (mut keys, mut sessions) = (Numbers::default(), Numbers::default());
    let mut at: HashMap<(i64, i64), usize> = HashMap::new();
    let mut raw: Vec<Raw> = Vec::new();
    for line in text.lines() {
        let numbers: Vec<i64> = line[2..line.len() - 1]
            .split(',')
            .map(|one| one.trim().parse().unwrap())
            .collect();
        let [key, value, session, transaction] = numbers[..] else {
            panic!("{line}")
        };
        let write = line.starts_with('w');
        if transaction < 0 || (write && value == 0) {
            continue;
        }
        let number = *at.entry((session, transaction)).or_insert_with(|| {
            raw.push(Raw {
                session: sessions.of(session),
                begin: None,
                end: None,
                ok: true,
                mops: Vec::new(),
            });
            raw.len() - 1
        });
        raw[number].mops.push((write, keys.of(key), value));
    }
    raw
}

fn jsonl(text: &str) -> Vec<Raw> {
    let mut keys = Numbers::default();
    let mut open: HashMap<i64, usize> = HashMap::new();
    let mut raw: Vec<Option<Raw>> = Vec::new();
    let mut ended: Vec<usize> = Vec::new();
    for (index, line) in (0u32..).zip(text.lines()) {
        let event: Value = serde_json::from_str(line).unwrap();
        let process = event["process"].as_i64().unwrap();
        let mut mops = |event: &Value| -> Vec<(bool, u32, i64)> {
            let all = event["value"].as_array().unwrap().iter();
            all.map(|one| {
                (
                    one[0] == "w",
                    keys.of(one[1].as_i64().unwrap()),
                    one[2].as_i64().unwrap_or(0),
                )
            })
            .collect()
        };
        match event["type"].as_str().unwrap() {
            "invoke" => {
                open.insert(process, raw.len());
                raw.push(Some(Raw {
                    session: process as u32,
                    begin: Some(index),
                    end: None,
                    ok: false,
                    mops: mops(&event).into_iter().filter(|one| one.0).collect(),
                }));
            }
            kind => {
                let number = open.remove(&process).unwrap();
                ended.push(number);
                if kind == "fail" {
                    raw[number] = None;
                } else if kind == "ok" {
                    let one = raw[number].as_mut().unwrap();
                    one.end = Some(index);
                    one.ok = true;
                    one.mops = mops(&event);
                }
            }
        }
    }
    let mut left: Vec<usize> = open.into_values().collect();
    left.sort_unstable();
    ended.extend(left);
    ended
        .into_iter()
        .filter_map(|number| raw[number].take())
        .collect()
}

/// What the decision wants: final writes, external reads with their candidates.
fn observe(raw: &[Raw]) -> Result<Observations, String> {
    let finals = |one: &Raw| {
        let mut last: Vec<(u32, i64)> = Vec::new();
        for (_, key, value) in one.mops.iter().filter(|one| one.0) {
            last.retain(|(of, _)| of != key);
            last.push((*key, *value));
        }
        last
    };
    let mut reads: Vec<Vec<(u32, i64)>> = Vec::new();
    for one in raw {
        let mut own: HashMap<u32, (bool, i64)> = HashMap::new();
        let mut external = Vec::new();
        for (write, key, value) in &one.mops {
            match own.get(key) {
                _ if *write => {
                    own.insert(*key, (true, *value));
                }
                Some((_, known)) if known != value => return Err(format!("internal: key {key}")),
                Some(_) => {}
                None => {
                    own.insert(*key, (false, *value));
                    external.push((*key, *value));
                }
            }
        }
        reads.push(external);
    }
    let wanted: std::collections::HashSet<(u32, i64)> = reads.iter().flatten().copied().collect();
    let keep: Vec<usize> = (0..raw.len())
        .filter(|at| raw[*at].ok || finals(&raw[*at]).iter().any(|one| wanted.contains(one)))
        .collect();
    let mut writers: HashMap<(u32, i64), Vec<u32>> = HashMap::new();
    for (number, at) in (0u32..).zip(&keep) {
        for one in finals(&raw[*at]) {
            writers.entry(one).or_default().push(number);
        }
    }
    let mut seen = Observations::new();
    for (number, at) in (0u32..).zip(&keep) {
        let mut external: Vec<(u32, Vec<u32>)> = Vec::new();
        for (key, value) in &reads[*at] {
            let mut candidates: Vec<u32> =
                writers.get(&(*key, *value)).cloned().unwrap_or_default();
            candidates.retain(|one| *one != number);
            if *value == 0 {
                candidates.push(INITIAL);
            }
            if candidates.is_empty() {
                return Err(format!("key {key}: nobody left {value}"));
            }
            external.push((*key, candidates));
        }
        let borrowed: Vec<(u32, &[u32])> =
            external.iter().map(|(key, of)| (*key, &of[..])).collect();
        let writes: Vec<u32> = finals(&raw[*at]).into_iter().map(|(key, _)| key).collect();
        seen.push(&Observed {
            session: Some(raw[*at].session),
            begin: raw[*at].begin,
            end: raw[*at].end,
            writes: &writes,
            reads: &borrowed,
            ..Observed::default()
        });
    }
    Ok(seen)
}
