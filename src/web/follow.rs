//! What a run that goes on is doing: its history and log, followed as they grow.
//!
//! A run is followed by one thread, however many look; it begins with the first and ends after the last, or with the run. It reads the run's
//! files and nothing else.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use harness::time::nanos;
use store::jsonl::{Limits, Tail};
use store::{Event, RunFolder};
use tokio::sync::watch;

use super::WebError;
use crate::catalog::RunEntry;
use crate::run::status::Counts;

/// How often is looked.
const PERIOD: Duration = Duration::from_secs(1);
/// How long one look may take in the history, so that a long one is taken in by and by.
const LOOK: Duration = Duration::from_millis(500);
/// How long a run is followed when nobody looks any more.
const LINGER: Duration = Duration::from_secs(15);
/// Runs that are followed at once.
const RUNS_MAX: usize = 16;
/// Errors that are counted by class.
const CLASSES_MAX: usize = 200;
/// Points of the curves: one a second.
const POINTS_MAX: usize = 120;
/// How late an event may be written.
const SILENCE: Duration = Duration::from_secs(2);
/// Nanoseconds in a second.
const NANOS: u64 = 1_000_000_000;
/// The last of the log that is shown, in bytes.
const LOG_MAX: u64 = 8 << 10;

/// What is to be seen of a run at a moment.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    /// Whether the run has ended.
    pub(super) over: bool,
    /// Whether the history was taken in up to its end; else there is more of it than could be read by now.
    pub(super) caught_up: bool,
    /// Seconds of the history by now.
    pub(super) length: f64,
    /// Operations that ended `ok`, `fail`, `info`.
    pub(super) counts: [u64; 3],
    /// How it went lately, a second of the history each, the newest last; from before anybody looked, too.
    pub(super) points: VecDeque<Point>,
    /// Errors by class, with their number, most first.
    pub(super) errors: Vec<(String, u64)>,
    /// Faults in force, and what they struck.
    pub(super) faults: Vec<(String, String)>,
    /// The last lines of the log.
    pub(super) log: String,
    /// Why the history is not followed any further.
    pub(super) trouble: Option<String>,
}

/// A second of a run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Point {
    /// Operations that ended, a second.
    pub(super) rate: f64,
    /// Their median latency in ms, where there were any.
    pub(super) p50: Option<f64>,
    /// The 99th percentile.
    pub(super) p99: Option<f64>,
}

/// The runs that are followed, by id.
#[derive(Clone, Default)]
pub(super) struct Follows(Arc<Mutex<HashMap<String, watch::Receiver<View>>>>);

impl Follows {
    /// Follows a run, with whoever follows it already.
    pub(super) fn follow(
        &self,
        entry: &RunEntry,
        folder: RunFolder,
    ) -> Result<watch::Receiver<View>, WebError> {
        let mut follows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(view) = follows.get(&entry.id)
            && view.has_changed().is_ok()
        {
            return Ok(view.clone());
        }
        follows.retain(|_, view| view.has_changed().is_ok());
        if follows.len() >= RUNS_MAX {
            return Err(WebError::busy(format!(
                "{RUNS_MAX} other runs are being watched; try again later"
            )));
        }
        let (send, view) = watch::channel(View::default());
        let mut following = Following::new(folder);
        // So that nobody is shown nothing.
        send.send_replace(following.look());
        follows.insert(entry.id.clone(), view.clone());
        std::thread::spawn(move || following.go_on(&send));
        Ok(view)
    }
}

/// One run that is followed.
struct Following {
    folder: RunFolder,
    tail: Option<Tail>,
    counts: Counts,
    errors: BTreeMap<String, u64>,
    points: VecDeque<Point>,
    length: u64,
    /// The second of the history that is under way.
    second: u64,
    /// How many operations had ended when it began.
    done: u64,
    /// When something was last read.
    read: Instant,
    trouble: Option<String>,
}

impl Following {
    fn new(folder: RunFolder) -> Following {
        Following {
            folder,
            tail: None,
            counts: Counts::default(),
            errors: BTreeMap::new(),
            points: VecDeque::new(),
            length: 0,
            second: 0,
            done: 0,
            read: Instant::now(),
            trouble: None,
        }
    }

    fn go_on(mut self, send: &watch::Sender<View>) {
        let mut watched = Instant::now();
        loop {
            std::thread::sleep(PERIOD);
            // The registry of runs holds one.
            if send.receiver_count() > 1 {
                watched = Instant::now();
            } else if watched.elapsed() > LINGER {
                return;
            }
            let view = self.look();
            let over = view.over && view.caught_up;
            send.send_replace(view);
            if over {
                return;
            }
        }
    }

    /// Takes in what is new.
    fn look(&mut self) -> View {
        // Asked first: what was written before it ended is read below.
        let over = self.folder.results_path().exists() || !self.folder.is_held();
        let caught_up = self.trouble.is_some() || self.take_in();
        if caught_up && !over {
            // Where nothing is written nothing ends, except what is about to be written.
            let silent = self.read.elapsed().saturating_sub(SILENCE);
            self.move_on(self.length.saturating_add(nanos(silent)));
        }
        let mut errors: Vec<(String, u64)> = self.errors.clone().into_iter().collect();
        errors.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let faults = self.counts.faults.iter();
        View {
            over,
            caught_up,
            length: self.length as f64 / 1e9,
            counts: [self.counts.ok, self.counts.fail, self.counts.info],
            points: self.points.clone(),
            errors,
            faults: faults
                .map(|(fault, on)| (fault.to_string(), on.clone()))
                .collect(),
            log: log(&self.folder.log_path()).unwrap_or_default(),
            trouble: self.trouble.clone(),
        }
    }

    /// Reads on in the history. Returns whether its end was reached.
    fn take_in(&mut self) -> bool {
        let begun = Instant::now();
        let mut events = Vec::new();
        while begun.elapsed() < LOOK {
            if self.tail.is_none() {
                match Tail::open(&self.folder.history_path(), Limits::default()) {
                    Ok(tail) => self.tail = Some(tail),
                    // It has not begun.
                    Err(_) => return true,
                }
            }
            let Some(tail) = &mut self.tail else {
                return true;
            };
            events.clear();
            let read = tail.read(&mut events);
            if !events.is_empty() {
                self.read = Instant::now();
            }
            events.iter().for_each(|event| self.take(event));
            match read {
                Ok(true) => {}
                Ok(false) => return true,
                Err(error) => {
                    self.trouble = Some(error.to_string());
                    return true;
                }
            }
        }
        false
    }

    fn take(&mut self, event: &Event) {
        self.move_on(event.time);
        self.length = self.length.max(event.time);
        self.counts.take(event);
        if let Some(class) = event.error_class().filter(|_| event.is_client()) {
            let known = self.errors.len() < CLASSES_MAX || self.errors.contains_key(class);
            let class = if known { class } else { "others" };
            let class: String = class.chars().take(80).collect();
            *self.errors.entry(class).or_default() += 1;
        }
    }

    /// Ends the second under way, and those after it in which nothing happened, up to a time of the history.
    fn move_on(&mut self, time: u64) {
        let now = time / NANOS;
        if now <= self.second {
            return;
        }
        let point = self.point();
        self.points.push_back(point);
        let empty = (now - self.second - 1).min(POINTS_MAX as u64);
        self.points
            .extend(std::iter::repeat_n(Point::default(), empty as usize));
        let over = self.points.len().saturating_sub(POINTS_MAX);
        self.points.drain(..over);
        self.second = now;
    }

    /// What was done in the second under way.
    fn point(&mut self) -> Point {
        let done = self.counts.done();
        let before = std::mem::replace(&mut self.done, done);
        let latency = self.counts.latency.take();
        let latency = latency.filter(|latency| !latency.is_empty());
        let ms = |quantile| Some(latency.as_ref()?.value_at_quantile(quantile) as f64 / 1e3);
        Point {
            rate: (done - before) as f64,
            p50: ms(0.5),
            p99: ms(0.99),
        }
    }
}

/// The last lines of a log.
fn log(path: &PathBuf) -> io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(LOG_MAX)))?;
    let mut bytes = Vec::new();
    file.take(LOG_MAX).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(match text.split_once('\n') {
        // The first line is cut.
        Some((_, rest)) if size > LOG_MAX => rest.to_owned(),
        _ => text.into_owned(),
    })
}
