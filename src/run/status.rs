//! The live line: time, rate, latency, errors and the fault in force.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use store::{Event, EventType, Name, Process, recorder::Observer};

use crate::cli::Output;

/// How often the line is redrawn on a terminal.
const REDRAW: Duration = Duration::from_millis(200);
/// How often a line is printed where there is no terminal.
const PRINT: Duration = Duration::from_secs(5);

/// What there is to say of a run while it goes on: in the live line, and on the live page of the web server.
#[derive(Default)]
pub(crate) struct Counts {
    /// Operations that ended `ok`.
    pub(crate) ok: u64,
    /// Operations that ended `fail`.
    pub(crate) fail: u64,
    /// Operations that ended `info`.
    pub(crate) info: u64,
    /// Latencies in microseconds since this was last taken.
    pub(crate) latency: Option<Histogram<u64>>,
    open: HashMap<Process, u64>,
    /// The faults in force, and what they struck.
    pub(crate) faults: BTreeMap<Name, String>,
}

/// Counts what the line shows; an observer of the recorder.
struct Counter(Arc<Mutex<Counts>>);

impl Observer for Counter {
    fn observe(&mut self, events: &[Event]) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            counts.take(event);
        }
    }
}

impl Counts {
    /// Takes in the next event of a history.
    pub(crate) fn take(&mut self, event: &Event) {
        if let Process::Nemesis(name) = &event.process {
            return self.take_fault(name, event);
        }
        if event.is_invoke() {
            self.open.insert(event.process.clone(), event.time);
            return;
        }
        match event.kind {
            EventType::Ok => self.ok += 1,
            EventType::Fail => self.fail += 1,
            _ => self.info += 1,
        }
        if let Some(invoked) = self.open.remove(&event.process) {
            let latency = self.latency.get_or_insert_with(new_histogram);
            latency.saturating_record(event.time.saturating_sub(invoked) / 1000);
        }
    }

    /// Operations that have ended.
    pub(crate) fn done(&self) -> u64 {
        self.ok + self.fail + self.info
    }

    fn take_fault(&mut self, name: &Name, event: &Event) {
        match (&*event.f, event.kind) {
            ("start", EventType::Ok | EventType::Info) => {
                let targets = event
                    .value
                    .get("targets")
                    .and_then(|targets| targets.as_array());
                let targets: Vec<&str> = targets
                    .into_iter()
                    .flatten()
                    .filter_map(|target| target.as_str())
                    .collect();
                self.faults.insert(name.clone(), targets.join("+"));
            }
            ("stop", EventType::Ok) => {
                self.faults.remove(name);
            }
            _ => {}
        }
    }

    fn line(&mut self, elapsed: Duration, limit: Duration, since: &mut (Instant, u64)) -> String {
        let done = self.done();
        let rate = (done - since.1) as f64 / since.0.elapsed().as_secs_f64().max(1e-3);
        *since = (Instant::now(), done);
        let latency = self.latency.take().filter(|latency| !latency.is_empty());
        let latency = latency.map_or_else(String::new, |latency| {
            let ms = |quantile| latency.value_at_quantile(quantile) as f64 / 1e3;
            format!("  p50 {:.1} ms  p99 {:.1} ms", ms(0.5), ms(0.99))
        });
        let faults: Vec<String> = self
            .faults
            .iter()
            .map(|(name, targets)| format!("{name} {targets}"))
            .collect();
        let faults = if faults.is_empty() {
            String::new()
        } else {
            format!("  [{}]", faults.join(", "))
        };
        format!(
            "{:>4.0}s of {:.0}s  {rate:>6.0} op/s{latency}  ok {} fail {} info {}{faults}",
            elapsed.as_secs_f64(),
            limit.as_secs_f64(),
            self.ok,
            self.fail,
            self.info,
        )
    }
}

fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 2).expect("the bounds are in order")
}

/// Shows the line until dropped.
pub(crate) struct Status {
    counts: Arc<Mutex<Counts>>,
    end: Option<std::sync::mpsc::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Status {
    /// Makes the line; it is shown from [`Status::show`] on.
    pub(crate) fn new() -> Status {
        Status {
            counts: Arc::default(),
            end: None,
            thread: None,
        }
    }

    /// What counts for it.
    pub(crate) fn observer(&self) -> Box<dyn Observer> {
        Box::new(Counter(self.counts.clone()))
    }

    /// Begins to show the line.
    pub(crate) fn show(&mut self, output: Output, limit: Duration) {
        let (end, ended) = std::sync::mpsc::channel();
        let counts = self.counts.clone();
        let started = Instant::now();
        let thread = std::thread::spawn(move || {
            let bar = output.live.then(new_bar);
            let period = if output.live { REDRAW } else { PRINT };
            let mut since = (started, 0);
            while ended.recv_timeout(period) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
                let line = counts.line(started.elapsed(), limit, &mut since);
                drop(counts);
                match &bar {
                    Some(bar) => bar.set_message(line),
                    None => output.say(&line),
                }
            }
            if let Some(bar) = bar {
                bar.finish_and_clear();
            }
        });
        self.end = Some(end);
        self.thread = Some(thread);
    }

    /// Ends the line, and returns how many operations ended `ok`, `fail` and `info`.
    pub(crate) fn end(&mut self) -> (u64, u64, u64) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        (counts.ok, counts.fail, counts.info)
    }
}

impl Drop for Status {
    fn drop(&mut self) {
        self.end();
    }
}

fn new_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg}");
    ProgressBar::new_spinner()
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}
