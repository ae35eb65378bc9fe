//! What the clients did: how much succeeded, and whether any of it was concurrent.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use serde_json::Value;
use store::{Event, Name};

use crate::stats::Counts;

#[derive(Debug, Default)]
pub(super) struct Clients {
    by_f: BTreeMap<Name, Counts>,
    /// By process, its open operation.
    open: FxHashMap<u64, Open>,
    /// How many operations are open, by key.
    open_by_key: FxHashMap<Option<Value>, u32>,
    concurrent: bool,
    keyed: bool,
}

#[derive(Debug)]
struct Open {
    invoke: u64,
    f: Name,
    key: Option<Value>,
}

impl Clients {
    /// Takes an event. If it ends an operation, the event that began it.
    pub(super) fn take(&mut self, process: u64, event: &Event) -> Option<u64> {
        match self.by_f.get_mut(&event.f) {
            Some(counts) => counts.add(event.kind),
            None => self
                .by_f
                .entry(event.f.clone())
                .or_default()
                .add(event.kind),
        }
        if event.is_invoke() {
            self.begin(process, event);
            return None;
        }
        let open = self.open.remove(&process)?;
        if let Some(count) = self.open_by_key.get_mut(&open.key) {
            *count -= 1;
            if *count == 0 {
                self.open_by_key.remove(&open.key);
            }
        }
        Some(open.invoke)
    }

    fn begin(&mut self, process: u64, event: &Event) {
        self.keyed |= event.key.is_some();
        let open = self.open_by_key.entry(event.key.clone()).or_default();
        *open += 1;
        self.concurrent |= *open > 1;
        let open = Open {
            invoke: event.index,
            f: event.f.clone(),
            key: event.key.clone(),
        };
        self.open.insert(process, open);
    }

    /// Operations that never ended: process, index of the event that began it, and function.
    pub(super) fn never_ended(&self) -> impl Iterator<Item = (u64, u64, &Name)> {
        let open = self.open.iter();
        open.map(|(process, open)| (*process, open.invoke, &open.f))
    }

    /// Whether two operations were ever open at once, on the same key where there are keys.
    pub(super) fn concurrent(&self) -> bool {
        self.concurrent
    }

    /// Operations that succeeded, by function.
    pub(super) fn ok_by_f(&self) -> impl Iterator<Item = (String, u64)> {
        self.by_f
            .iter()
            .map(|(f, counts)| (f.to_string(), counts.ok))
    }

    pub(super) fn problems(&self, ok_min: u64, ok_min_of: &BTreeMap<String, u64>) -> Vec<String> {
        if self.by_f.is_empty() {
            return vec![
                "No client performed any operation; raise --time-limit, and see the log for why \
                 clients could not start."
                    .to_owned(),
            ];
        }
        if self.by_f.values().all(|counts| counts.ok == 0) {
            return vec![
                "Nothing was acknowledged: no operation of any client succeeded; see which errors they \
                 failed with, then raise --time-limit or --op-timeout."
                    .to_owned(),
            ];
        }
        let mut wanted: BTreeMap<&str, u64> = self.by_f.keys().map(|f| (&**f, ok_min)).collect();
        wanted.extend(ok_min_of.iter().map(|(f, min)| (f.as_str(), *min)));
        let mut problems: Vec<String> = wanted
            .into_iter()
            .filter_map(|(f, min)| {
                let counts = self.by_f.get(f).copied().unwrap_or_default();
                (counts.ok < min).then(|| too_few(f, counts, min))
            })
            .collect();
        if !self.concurrent {
            let on = if self.keyed { " on the same key" } else { "" };
            problems.push(format!(
                "No two operations{on} were ever open at once; raise --concurrency or --rate."
            ));
        }
        problems
    }
}

fn too_few(f: &str, counts: Counts, min: u64) -> String {
    let next = if counts.fail > counts.ok {
        "see which errors they failed with, then raise --time-limit or --rate"
    } else {
        "raise --time-limit or --rate"
    };
    format!(
        "Only {} operations {f} succeeded, and at least {min} are needed; {next}.",
        counts.ok
    )
}
