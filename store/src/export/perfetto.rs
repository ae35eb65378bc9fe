//! A trace in the Trace Event Format, which ui.perfetto.dev and chrome://tracing open.
//!
//! Two groups of lanes: *clients*, one for each process, and *faults*, one for each. An operation is a slice from its invocation to its
//! completion. Between the end of a fault's `start` and its next activity stands a slice *in force*. Completions of nothing are
//! instants. Times are microseconds with three decimals, as the format wants them.

use std::io::{self, Write};

use rustc_hash::FxHashMap;
use serde_json::{Map, Value, json};

use super::Exporter;
use crate::batch::Batch;
use crate::event::{Event, EventType, Process};

/// The group of clients' lanes.
const CLIENTS: u32 = 1;
/// The group of faults' lanes.
const FAULTS: u32 = 2;

pub(super) struct Perfetto<W> {
    out: W,
    buffer: Vec<u8>,
    begun: bool,
    lanes: FxHashMap<Process, Lane>,
    /// How many lanes clients have, and how many faults.
    lanes_of: [u32; 2],
    /// The latest time, in nanoseconds.
    end: u64,
}

/// What is known of a process.
struct Lane {
    /// Its number in its group.
    number: u32,
    /// Its operation, if it has one.
    open: Option<Event>,
    /// The end of the fault's `start`, as long as nothing followed it.
    in_force: Option<Event>,
}

impl<W: Write> Perfetto<W> {
    pub(super) fn new(out: W) -> Perfetto<W> {
        Perfetto {
            out,
            buffer: Vec::new(),
            begun: false,
            lanes: FxHashMap::default(),
            lanes_of: [0, 0],
            end: 0,
        }
    }

    fn event(&mut self, event: &Event) {
        self.end = self.end.max(event.time);
        let mut lane = match self.lanes.remove(&event.process) {
            Some(lane) => lane,
            None => self.begin_lane(&event.process),
        };
        let group = group(&event.process);
        // Jepsen's nemesis marks both ends of what it does with `:info`.
        let nemesis = !event.is_client() && event.kind == EventType::Info;
        if event.is_invoke() || nemesis && lane.open.is_none() {
            if let Some(open) = lane.open.replace(event.clone()) {
                self.slice(group, lane.number, &open, None, event.time);
            }
            if let Some(started) = lane.in_force.take() {
                let until = event.time.saturating_sub(started.time);
                let mut slice = head("in force", "X", group, lane.number, started.time);
                slice.insert("dur".to_owned(), micros(until));
                slice.insert("args".to_owned(), json!({"value": started.value}));
                self.put(&Value::Object(slice));
            }
        } else if let Some(open) = lane.open.take() {
            self.slice(group, lane.number, &open, Some(event), event.time);
            let starts =
                !event.is_client() && &*event.f == "start" || event.f.starts_with("start-");
            lane.in_force = (starts && !event.is_client() && event.kind != EventType::Fail)
                .then(|| event.clone());
        } else {
            let mut instant = head(&event.f, "i", group, lane.number, event.time);
            instant.insert("s".to_owned(), "t".into());
            instant.insert("args".to_owned(), arguments(event, None));
            self.put(&Value::Object(instant));
        }
        self.lanes.insert(event.process.clone(), lane);
    }

    fn begin_lane(&mut self, process: &Process) -> Lane {
        let group = group(process);
        let number = &mut self.lanes_of[usize::from(group == FAULTS)];
        *number += 1;
        let number = *number;
        if number == 1 {
            let name = if group == CLIENTS {
                "clients"
            } else {
                "faults"
            };
            self.put(&json!({
                "name": "process_name", "ph": "M", "pid": group, "tid": 0, "args": {"name": name},
            }));
        }
        let name = match process {
            Process::Client(n) => format!("process {n}"),
            Process::Nemesis(name) => name.to_string(),
        };
        self.put(&json!({
            "name": "thread_name", "ph": "M", "pid": group, "tid": number, "args": {"name": name},
        }));
        self.put(&json!({
            "name": "thread_sort_index", "ph": "M", "pid": group, "tid": number, "args": {"sort_index": number},
        }));
        Lane {
            number,
            open: None,
            in_force: None,
        }
    }

    /// An operation, with its completion if it has one.
    fn slice(
        &mut self,
        group: u32,
        lane: u32,
        invoked: &Event,
        completed: Option<&Event>,
        end: u64,
    ) {
        let outcome = match completed.map(|event| event.kind) {
            Some(EventType::Ok) => "ok",
            Some(EventType::Fail) => "fail",
            Some(_) => "info",
            None => "never completed",
        };
        let name = match &invoked.key {
            Some(key) => format!("{} {key}", invoked.f),
            None => invoked.f.to_string(),
        };
        let mut slice = head(&name, "X", group, lane, invoked.time);
        slice.insert("cat".to_owned(), outcome.into());
        // Names of colours that the format knows.
        let colour = match outcome {
            "ok" => "good",
            "fail" => "grey",
            _ => "bad",
        };
        slice.insert("cname".to_owned(), colour.into());
        slice.insert("dur".to_owned(), micros(end.saturating_sub(invoked.time)));
        let mut args = arguments(invoked, completed);
        args["outcome"] = outcome.into();
        slice.insert("args".to_owned(), args);
        self.put(&Value::Object(slice));
    }

    fn put(&mut self, event: &Value) {
        let before: &[u8] = if self.begun {
            b",\n"
        } else {
            b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n"
        };
        self.begun = true;
        self.buffer.extend_from_slice(before);
        // Writing to memory cannot fail, and neither can JSON values.
        let written = serde_json::to_writer(&mut self.buffer, event);
        debug_assert!(written.is_ok());
    }
}

impl<W: Write> Exporter for Perfetto<W> {
    fn write(&mut self, batch: Batch<'_>) -> io::Result<()> {
        for event in batch.events {
            self.event(event);
        }
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        let mut lanes: Vec<(Process, Lane)> = self.lanes.drain().collect();
        lanes.sort_by(|(a, _), (b, _)| a.cmp(b));
        let end = self.end;
        for (process, lane) in lanes {
            if let Some(open) = &lane.open {
                self.slice(group(&process), lane.number, open, None, end);
            }
            if let Some(started) = &lane.in_force {
                let mut slice = head("in force", "X", group(&process), lane.number, started.time);
                slice.insert("dur".to_owned(), micros(end.saturating_sub(started.time)));
                self.put(&Value::Object(slice));
            }
        }
        if !self.begun {
            self.buffer.extend_from_slice(b"{\"traceEvents\":[");
        }
        self.buffer.extend_from_slice(b"\n]}\n");
        self.out.write_all(&self.buffer)?;
        self.out.flush()
    }
}

fn group(process: &Process) -> u32 {
    if process.is_client() { CLIENTS } else { FAULTS }
}

/// What every event of the format has.
fn head(name: &str, phase: &str, group: u32, lane: u32, time: u64) -> Map<String, Value> {
    let mut head = Map::new();
    head.insert("name".to_owned(), name.into());
    head.insert("ph".to_owned(), phase.into());
    head.insert("pid".to_owned(), group.into());
    head.insert("tid".to_owned(), lane.into());
    head.insert("ts".to_owned(), micros(time));
    head
}

/// Nanoseconds as microseconds.
fn micros(nanos: u64) -> Value {
    (nanos as f64 / 1e3).into()
}

/// What a click on a slice shows.
fn arguments(event: &Event, completed: Option<&Event>) -> Value {
    let mut args = json!({ "index": event.index });
    if let Some(key) = &event.key {
        args["key"] = key.clone();
    }
    if !event.value.is_null() {
        args["value"] = event.value.clone();
    }
    if let Some(completed) = completed {
        args["completed"] = completed.index.into();
        if !completed.value.is_null() {
            args["result"] = completed.value.clone();
        }
    }
    let last = completed.unwrap_or(event);
    if let Some(error) = &last.error {
        args["error"] = error.clone();
    }
    if let Some(node) = &last.node {
        args["node"] = (&**node).into();
    }
    args
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn trace(lines: &[&str]) -> Vec<Value> {
        let events: Vec<Event> = lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let mut bytes = Vec::new();
        let mut perfetto = Box::new(Perfetto::new(&mut bytes));
        let lines = vec![1; events.len()];
        perfetto
            .write(Batch {
                events: &events,
                lines: &lines,
            })
            .unwrap();
        perfetto.finish().unwrap();
        let trace: Value = serde_json::from_slice(&bytes).unwrap();
        trace["traceEvents"].as_array().unwrap().clone()
    }

    #[test]
    fn operations_are_slices_and_faults_stand_between_theirs() {
        let events = trace(&[
            r#"{"index":0,"time":1500,"process":3,"type":"invoke","f":"cas","key":7,"value":[1,2]}"#,
            r#"{"index":1,"time":2000,"process":"nemesis/kill","type":"invoke","f":"start"}"#,
            r#"{"index":2,"time":3000,"process":"nemesis/kill","type":"ok","f":"start","value":{"targets":["n1"]}}"#,
            r#"{"index":3,"time":4500,"process":3,"type":"fail","f":"cas","key":7,"value":[1,2],"error":["precondition","x"],"node":"n2"}"#,
            r#"{"index":4,"time":5000,"process":"nemesis/kill","type":"invoke","f":"stop"}"#,
            r#"{"index":5,"time":6000,"process":4,"type":"invoke","f":"read"}"#,
            r#"{"index":6,"time":7000,"process":5,"type":"ok","f":"read"}"#,
        ]);
        let said: Vec<String> = events
            .iter()
            .filter(|event| event["ph"] != "M")
            .map(|event| {
                format!(
                    "{} {} {} {} {} {} {}",
                    event["ph"].as_str().unwrap(),
                    event["pid"],
                    event["tid"],
                    event["name"].as_str().unwrap(),
                    event["ts"],
                    event["dur"],
                    event["args"]
                )
            })
            .collect();
        assert_eq!(
            said,
            [
                r#"X 2 1 start 2.0 1.0 {"completed":2,"index":1,"outcome":"ok","result":{"targets":["n1"]}}"#,
                r#"X 1 1 cas 7 1.5 3.0 {"completed":3,"error":["precondition","x"],"index":0,"key":7,"node":"n2","outcome":"fail","result":[1,2],"value":[1,2]}"#,
                r#"X 2 1 in force 3.0 2.0 {"value":{"targets":["n1"]}}"#,
                r#"i 1 3 read 7.0 null {"index":6}"#,
                r#"X 1 2 read 6.0 1.0 {"index":5,"outcome":"never completed"}"#,
                r#"X 2 1 stop 5.0 2.0 {"index":4,"outcome":"never completed"}"#,
            ]
        );
        let names: Vec<&Value> = events
            .iter()
            .filter(|event| event["ph"] == "M" && event["args"]["name"].is_string())
            .map(|event| &event["args"]["name"])
            .collect();
        assert_eq!(
            names,
            [
                "clients",
                "process 3",
                "faults",
                "kill",
                "process 4",
                "process 5"
            ]
        );
    }

    #[test]
    fn jepsens_nemesis_is_drawn_too() {
        let events = trace(&[
            r#"{"index":0,"time":1000,"process":"nemesis","type":"info","f":"start-partition"}"#,
            r#"{"index":1,"time":2000,"process":"nemesis","type":"info","f":"start-partition"}"#,
            r#"{"index":2,"time":9000,"process":"nemesis","type":"info","f":"stop-partition"}"#,
        ]);
        let names: Vec<&Value> = events
            .iter()
            .filter(|event| event["ph"] == "X")
            .map(|event| &event["name"])
            .collect();
        assert_eq!(names, ["start-partition", "in force", "stop-partition"]);
    }
}
