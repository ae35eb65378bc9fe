//! Writes a history as it happens.
//!
//! # One order
//!
//! Checkers conclude that operation A came before operation B when A's completion stands before
//! B's invocation in the history. That is only true if the order of the file is the order of time.
//! Here it is by construction: reading the clock, numbering the event and appending it to the queue
//! are one critical section, so that index order, file order and time order are one order.
//!
//! # What a recorded event costs
//!
//! The critical section reads the clock, numbers the event and moves it into a vector: no
//! formatting, no system call. A thread of its own takes the queue, formats it and writes it.
//! A client therefore waits for the disk only when the queue is full ([`Options::queue_max`]):
//! a run whose disk cannot keep up slows down rather than eat the machine's memory.
//!
//! # What survives
//!
//! An event is handed to the kernel within 10 ms, so that after a `kill -9` of the controller the
//! file is a prefix of what was recorded, at most 10 ms short, its last line perhaps torn. (A slow
//! [`Observer`] or a disk that blocks makes it longer.) [`Recorder::finish`] also makes it durable.
//!
//! A write that fails ends the writing, not the run: the first error is kept, later events are
//! numbered, shown to the observers and thrown away, and `flush` and `finish` return the error.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use thiserror::Error;

use crate::event::{Event, EventType, Name, Process};
use crate::jsonl::write_event;

/// Events move through the queue in vectors of this many: under the size at which the allocator asks
/// the kernel for each, and large enough that a batch costs one write.
const CHUNK_EVENTS: usize = 512;

/// How long the writer waits for company after the first event of a batch. Without it a busy run
/// would wake the writer, and pay for a system call, for every few events.
const LINGER: Duration = Duration::from_millis(1);

/// An event that has not been stamped: all of an [`Event`] but `index` and `time`.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// Who.
    pub process: Process,
    /// Beginning or end, and which end.
    pub kind: EventType,
    /// What: `read`, `write`, `cas`, `start` …
    pub f: Name,
    /// The key, for workloads of independent keys.
    pub key: Option<Value>,
    /// Arguments on an invocation, results on a completion.
    pub value: Value,
    /// Why it did not end `ok`.
    pub error: Option<Value>,
    /// The node that answered.
    pub node: Option<Name>,
}

impl Draft {
    /// An event without key, error and node.
    pub fn new(process: Process, kind: EventType, f: impl Into<Name>, value: Value) -> Draft {
        Draft {
            process,
            kind,
            f: f.into(),
            key: None,
            value,
            error: None,
            node: None,
        }
    }

    fn stamped(self, stamp: Stamp) -> Event {
        Event {
            index: stamp.index,
            time: stamp.time,
            process: self.process,
            kind: self.kind,
            f: self.f,
            key: self.key,
            value: self.value,
            error: self.error,
            node: self.node,
        }
    }
}

/// An event's place in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Position, from 0.
    pub index: u64,
    /// Nanoseconds since the run began. Strictly increasing.
    pub time: u64,
}

/// Sees a run's events after they were written: a live display, an online checker.
///
/// Called on the writer's thread with every event exactly once, in order. Until it returns nothing
/// more is written, so one that works for longer than a few milliseconds hands the events to a
/// thread of its own. It must not record, flush or finish. One that panics is dropped, and named in
/// [`Summary::lost_observers`]; the recording goes on.
pub trait Observer: Send {
    /// Takes the next events.
    fn observe(&mut self, events: &[Event]);
}

/// Every function of events is an observer.
impl<F: FnMut(&[Event]) + Send> Observer for F {
    fn observe(&mut self, events: &[Event]) {
        self(events);
    }
}

/// How to record.
pub struct Options {
    /// Events that may wait to be written before recorders block. At least 1.
    pub queue_max: usize,
    /// Who sees the events after they were written.
    pub observers: Vec<Box<dyn Observer>>,
}

impl Default for Options {
    /// A million events, that is, some 200 MB at the worst; no observers.
    fn default() -> Options {
        Options {
            queue_max: 1_000_000,
            observers: Vec::new(),
        }
    }
}

/// What was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// All events, the faults' included.
    pub events: u64,
    /// The file's length in bytes; 0 when recording to memory.
    pub bytes: u64,
    /// Clients' operations that began.
    pub invoked: u64,
    /// Clients' operations that ended `ok`.
    pub ok: u64,
    /// Clients' operations that ended `fail`.
    pub fail: u64,
    /// Clients' operations that ended `info`. Those that had not ended are not among them.
    pub info: u64,
    /// The most events that ever waited to be written. Near [`Options::queue_max`], the disk or an
    /// observer could not keep up, and clients waited for it.
    pub queue_high_water: u64,
    /// What observers said when they panicked, and were dropped.
    pub lost_observers: Vec<String>,
}

impl Summary {
    fn count(&mut self, event: &Event) {
        self.events += 1;
        if !event.is_client() {
            return;
        }
        match event.kind {
            EventType::Invoke => self.invoked += 1,
            EventType::Ok => self.ok += 1,
            EventType::Fail => self.fail += 1,
            EventType::Info => self.info += 1,
        }
    }
}

/// A history that could not be written.
#[derive(Clone, Debug, Error)]
pub enum RecordError {
    /// The file ends before the history does.
    #[error(
        "cannot write the history {}: {source} (the file holds about the first {events} events; \
         free space or choose another folder with --store)", path.display()
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// Events that were written before.
        events: u64,
        /// The first error.
        source: Arc<io::Error>,
    },
    /// The thread that writes died. A defect.
    #[error("the thread that writes the history {} died", .0.display())]
    WriterDied(PathBuf),
}

/// Numbers events, times them, and has them written. Cloning gives another handle to the same.
///
/// When the last handle goes without [`finish`](Recorder::finish), what was recorded is written
/// (but not synced) first.
#[derive(Clone)]
pub struct Recorder {
    handle: Arc<Handle>,
}

impl Recorder {
    /// Records to a new file.
    ///
    /// # Errors
    /// When the file cannot be made. One that exists is never overwritten.
    pub fn create(path: impl AsRef<Path>, options: Options) -> io::Result<Recorder> {
        let path = path.as_ref();
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(path)?;
        Recorder::start(path, Some(file), options)
    }

    /// Shows the events to the observers and writes them nowhere. For simulations and tests.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn in_memory(options: Options) -> io::Result<Recorder> {
        Recorder::start(Path::new("(memory)"), None, options)
    }

    fn start(path: &Path, file: Option<File>, options: Options) -> io::Result<Recorder> {
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            queue_max: options.queue_max.max(1) as u64,
            state: Mutex::default(),
            work: Condvar::new(),
            progress: Condvar::new(),
        });
        let writer = Writer {
            shared: Arc::clone(&shared),
            file,
            observers: options.observers,
            summary: Summary::default(),
            buffer: Vec::new(),
        };
        let thread = std::thread::Builder::new()
            .name("recorder".into())
            .spawn(move || writer.run())?;
        Ok(Recorder {
            handle: Arc::new(Handle {
                shared,
                thread: Mutex::new(Thread::Running(thread)),
            }),
        })
    }

    /// Stamps an event and queues it for writing.
    ///
    /// The time is what `now` says, in nanoseconds since the run began, or one more than the last
    /// event's if that is later. `now` is called inside the critical section: it only reads a clock.
    ///
    /// Blocks while the queue is full. After [`finish`](Recorder::finish) events are stamped but not
    /// kept: the file is then a prefix of what was recorded, as it would be after a crash.
    pub fn record(&self, now: impl FnOnce() -> u64, draft: Draft) -> Stamp {
        let shared = &*self.handle.shared;
        let mut state = shared.lock();
        while state.pending() >= shared.queue_max && !state.closed {
            state.hurry = true;
            shared.work.notify_one();
            state = shared.wait_for_progress(state);
        }
        let stamp = state.stamp(now());
        if state.closed {
            return stamp;
        }
        state.push(draft.stamped(stamp));
        let wake = std::mem::take(&mut state.writer_idle);
        drop(state);
        if wake {
            shared.work.notify_one();
        }
        stamp
    }

    /// The number of events recorded so far.
    pub fn recorded(&self) -> u64 {
        self.handle.shared.lock().recorded
    }

    /// Waits until all that was recorded before this call is written and observed.
    ///
    /// # Errors
    /// The first write error of the recording, if there was one.
    pub fn flush(&self) -> Result<(), RecordError> {
        let shared = &*self.handle.shared;
        let mut state = shared.lock();
        let target = state.recorded;
        while state.written < target && !state.writer_gone {
            state.hurry = true;
            shared.work.notify_one();
            state = shared.wait_for_progress(state);
        }
        if state.written < target {
            return Err(RecordError::WriterDied(shared.path.clone()));
        }
        state.error.clone().map_or(Ok(()), Err)
    }

    /// The first write error, as soon as there is one: a run without a history may as well stop.
    pub fn error(&self) -> Option<RecordError> {
        self.handle.shared.lock().error.clone()
    }

    /// Writes everything, makes it durable, and ends the recording for all handles.
    ///
    /// A second call returns what the first did.
    ///
    /// # Errors
    /// The first write error of the recording, if there was one.
    pub fn finish(&self) -> Result<Summary, RecordError> {
        let summary = self.handle.end(Ending::Durable);
        let summary =
            summary.ok_or_else(|| RecordError::WriterDied(self.handle.shared.path.clone()))?;
        match self.error() {
            Some(error) => Err(error),
            None => Ok(summary),
        }
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder")
            .field("path", &self.handle.shared.path)
            .finish_non_exhaustive()
    }
}

/// What the handles share: the last one to go ends the thread.
struct Handle {
    shared: Arc<Shared>,
    thread: Mutex<Thread>,
}

enum Thread {
    Running(JoinHandle<Summary>),
    /// With its result, or `None` if it died.
    Ended(Option<Summary>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Durable,
    Written,
}

impl Handle {
    fn end(&self, ending: Ending) -> Option<Summary> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Thread::Running(_) = *thread {
            let mut state = self.shared.lock();
            state.closed = true;
            state.sync = ending == Ending::Durable;
            drop(state);
            self.shared.work.notify_one();
            self.shared.progress.notify_all();
        }
        let summary = match std::mem::replace(&mut *thread, Thread::Ended(None)) {
            Thread::Running(running) => running.join().ok(),
            Thread::Ended(summary) => summary,
        };
        *thread = Thread::Ended(summary.clone());
        summary
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end(Ending::Written);
    }
}

struct Shared {
    path: PathBuf,
    queue_max: u64,
    state: Mutex<State>,
    /// The writer waits here for something to do.
    work: Condvar,
    /// Recorders wait here for room, flushers for their events to be written.
    progress: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A clock that panics inside `record` leaves the state as it was.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for_progress<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.progress
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct State {
    /// The next event's index.
    next_index: u64,
    /// The earliest time that the next event may have.
    time_min: u64,
    /// Events queued so far.
    recorded: u64,
    /// Events written (or given up) and observed so far.
    written: u64,
    /// Queued events, in order. Only the last chunk has room.
    queue: Vec<Vec<Event>>,
    /// Emptied chunks, to be filled again.
    spare: Vec<Vec<Event>>,
    high_water: u64,
    /// The writer sleeps until someone wakes it.
    writer_idle: bool,
    /// Someone waits for the writer: it must not linger.
    hurry: bool,
    closed: bool,
    sync: bool,
    writer_gone: bool,
    error: Option<RecordError>,
}

impl State {
    fn pending(&self) -> u64 {
        self.recorded - self.written
    }

    fn stamp(&mut self, now: u64) -> Stamp {
        let stamp = Stamp {
            index: self.next_index,
            time: now.max(self.time_min),
        };
        self.next_index += 1;
        self.time_min = stamp.time.saturating_add(1);
        stamp
    }

    fn push(&mut self, event: Event) {
        match self.queue.last_mut() {
            Some(chunk) if chunk.len() < CHUNK_EVENTS => chunk.push(event),
            _ => {
                let spare = self.spare.pop();
                let mut chunk = spare.unwrap_or_else(|| Vec::with_capacity(CHUNK_EVENTS));
                chunk.push(event);
                self.queue.push(chunk);
            }
        }
        self.recorded += 1;
        self.high_water = self.high_water.max(self.pending());
    }
}

/// Emptied chunks that are kept: enough for the linger at a million events a second.
const SPARE_CHUNKS_MAX: usize = 8;

struct Writer {
    shared: Arc<Shared>,
    /// `None` when recording to memory, and after a write error.
    file: Option<File>,
    observers: Vec<Box<dyn Observer>>,
    summary: Summary,
    buffer: Vec<u8>,
}

impl Writer {
    fn run(mut self) -> Summary {
        // Whatever ends this thread, nobody may wait for it for ever.
        let _gone = Gone(Arc::clone(&self.shared));
        while let Some(mut chunks) = self.next_batch() {
            for chunk in &mut chunks {
                self.write(chunk);
                self.observe(chunk);
                let events = chunk.len() as u64;
                chunk.clear();
                self.shared.lock().written += events;
                self.shared.progress.notify_all();
            }
            let mut state = self.shared.lock();
            let room = SPARE_CHUNKS_MAX.saturating_sub(state.spare.len());
            state.spare.extend(chunks.into_iter().take(room));
        }
        self.sync();
        self.summary.queue_high_water = self.shared.lock().high_water;
        std::mem::take(&mut self.summary)
    }

    /// Waits for events; `None` when the recording is over and nothing is left.
    fn next_batch(&self) -> Option<Vec<Vec<Event>>> {
        let mut state = self.shared.lock();
        while state.queue.is_empty() {
            if state.closed {
                return None;
            }
            state.hurry = false;
            state.writer_idle = true;
            state = self
                .shared
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.writer_idle = false;
        let lingered = self
            .shared
            .work
            .wait_timeout_while(state, LINGER, |state| !state.hurry && !state.closed);
        let mut state = lingered.unwrap_or_else(PoisonError::into_inner).0;
        state.hurry = false;
        Some(std::mem::take(&mut state.queue))
    }

    fn write(&mut self, events: &[Event]) {
        for event in events {
            self.summary.count(event);
        }
        let Some(file) = &mut self.file else { return };
        self.buffer.clear();
        for event in events {
            write_event(&mut self.buffer, event);
        }
        match file.write_all(&self.buffer) {
            Ok(()) => self.summary.bytes += self.buffer.len() as u64,
            Err(error) => {
                let before = self.summary.events - events.len() as u64;
                self.fail(before, error);
            }
        }
    }

    fn sync(&mut self) {
        let wanted = self.shared.lock().sync;
        let Some(file) = self.file.as_ref().filter(|_| wanted) else {
            return;
        };
        if let Err(error) = file.sync_all() {
            self.fail(self.summary.events, error);
        }
    }

    fn fail(&mut self, events: u64, error: io::Error) {
        self.file = None;
        self.shared.lock().error = Some(RecordError::Write {
            path: self.shared.path.clone(),
            events,
            source: Arc::new(error),
        });
    }

    fn observe(&mut self, events: &[Event]) {
        let lost = &mut self.summary.lost_observers;
        self.observers.retain_mut(|observer| {
            // An observer that panicked is never called again, so a broken state is not seen.
            match catch_unwind(AssertUnwindSafe(|| observer.observe(events))) {
                Ok(()) => true,
                Err(panic) => {
                    lost.push(panic_message(&*panic));
                    false
                }
            }
        });
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panicked".to_owned())
}

/// Wakes everyone when the writer's thread ends.
struct Gone(Arc<Shared>);

impl Drop for Gone {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        state.writer_gone = true;
        drop(state);
        self.0.progress.notify_all();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;
    use std::time::Instant;

    fn draft(process: u64, kind: EventType) -> Draft {
        Draft::new(Process::Client(process), kind, "read", Value::Null)
    }

    fn lines(path: &Path) -> Vec<Event> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn collector() -> (Arc<Mutex<Vec<Event>>>, Box<dyn Observer>) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        let observer = move |events: &[Event]| sink.lock().unwrap().extend_from_slice(events);
        (seen, Box::new(observer))
    }

    #[test]
    fn index_order_file_order_and_time_order_are_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.jsonl");
        let (seen, observer) = collector();
        let options = Options {
            queue_max: 100,
            observers: vec![observer],
        };
        let recorder = Recorder::create(&path, options).unwrap();
        let start = Instant::now();
        std::thread::scope(|scope| {
            for process in 0..8 {
                let recorder = recorder.clone();
                scope.spawn(move || {
                    let mut last = None;
                    for _ in 0..500 {
                        for kind in [EventType::Invoke, EventType::Ok] {
                            let now = || start.elapsed().as_nanos() as u64;
                            let stamp = recorder.record(now, draft(process, kind));
                            assert!(last < Some(stamp));
                            last = Some(stamp);
                        }
                    }
                });
            }
        });
        let summary = recorder.finish().unwrap();
        assert_eq!(
            (summary.events, summary.invoked, summary.ok),
            (8000, 4000, 4000)
        );
        assert!(summary.queue_high_water <= 100);
        let events = lines(&path);
        assert_eq!(summary.bytes, std::fs::metadata(&path).unwrap().len());
        assert!(
            events
                .iter()
                .enumerate()
                .all(|(at, e)| e.index == at as u64)
        );
        assert!(events.windows(2).all(|pair| pair[0].time < pair[1].time));
        assert_eq!(*seen.lock().unwrap(), events);
        assert!(crate::History::new(events).is_ok());
    }

    #[test]
    fn a_clock_that_stands_still_gives_increasing_times() {
        let recorder = Recorder::in_memory(Options::default()).unwrap();
        let times =
            [5, 5, 3, 9].map(|now| recorder.record(|| now, draft(0, EventType::Invoke)).time);
        assert_eq!(times, [5, 6, 7, 9]);
    }

    #[test]
    fn flush_waits_for_the_file_without_ending_the_recording() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.jsonl");
        let recorder = Recorder::create(&path, Options::default()).unwrap();
        recorder.flush().unwrap();
        for n in 1..4 {
            recorder.record(|| n, draft(n, EventType::Invoke));
            recorder.flush().unwrap();
            assert_eq!(lines(&path).len() as u64, n);
        }
    }

    #[test]
    fn dropping_the_last_handle_writes_what_was_recorded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.jsonl");
        let recorder = Recorder::create(&path, Options::default()).unwrap();
        let other = recorder.clone();
        recorder.record(|| 1, draft(0, EventType::Invoke));
        drop(recorder);
        other.record(|| 2, draft(0, EventType::Ok));
        drop(other);
        assert_eq!(lines(&path).len(), 2);
    }

    #[test]
    fn a_history_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.jsonl");
        std::fs::write(&path, "precious").unwrap();
        let error = Recorder::create(&path, Options::default()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn finishing_twice_says_the_same_and_later_events_are_not_kept() {
        let recorder = Recorder::in_memory(Options::default()).unwrap();
        recorder.record(|| 1, draft(0, EventType::Invoke));
        let summary = recorder.finish().unwrap();
        let late = recorder.record(|| 1, draft(0, EventType::Ok));
        assert_eq!(late, Stamp { index: 1, time: 2 });
        assert_eq!(recorder.clone().finish().unwrap(), summary);
        assert_eq!(summary.events, 1);
        recorder.flush().unwrap();
    }

    #[test]
    fn a_full_disk_is_reported_and_the_recording_goes_on() {
        let (seen, observer) = collector();
        let options = Options {
            queue_max: 10,
            observers: vec![observer],
        };
        // The device that is always full.
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let recorder = Recorder::start(Path::new("/dev/full"), Some(full), options).unwrap();
        for n in 0..1000 {
            recorder.record(|| n, draft(0, EventType::Invoke));
        }
        let error = recorder.flush().unwrap_err();
        assert!(
            error.to_string().contains("/dev/full: No space left"),
            "{error}"
        );
        assert!(recorder.error().is_some());
        recorder.record(|| 0, draft(1, EventType::Invoke));
        assert!(recorder.finish().is_err());
        assert_eq!(seen.lock().unwrap().len(), 1001);
    }

    #[test]
    fn a_full_queue_blocks_recorders_until_there_is_room() {
        let (release, gate) = mpsc::channel::<()>();
        let mut shut = true;
        let observer = move |_: &[Event]| {
            if std::mem::take(&mut shut) {
                gate.recv().unwrap();
            }
        };
        let options = Options {
            queue_max: 4,
            observers: vec![Box::new(observer)],
        };
        let recorder = Recorder::in_memory(options).unwrap();
        for n in 0..4 {
            recorder.record(|| n, draft(n, EventType::Invoke));
        }
        let passed = Arc::new(AtomicBool::new(false));
        let (fifth, flag) = (recorder.clone(), Arc::clone(&passed));
        let blocked = std::thread::spawn(move || {
            fifth.record(|| 9, draft(9, EventType::Invoke));
            flag.store(true, Ordering::SeqCst);
        });
        // However long this takes, the fifth cannot pass before the gate opens.
        std::thread::sleep(Duration::from_millis(20));
        assert!(!passed.load(Ordering::SeqCst));
        assert_eq!(recorder.recorded(), 4);
        release.send(()).unwrap();
        blocked.join().unwrap();
        let summary = recorder.finish().unwrap();
        assert_eq!((summary.events, summary.queue_high_water), (5, 4));
    }

    #[test]
    fn an_observer_that_panics_is_dropped_alone() {
        let (seen, observer) = collector();
        let panics = |_: &[Event]| panic!("out of ideas");
        let options = Options {
            observers: vec![Box::new(panics), observer],
            ..Options::default()
        };
        let recorder = Recorder::in_memory(options).unwrap();
        for n in 0..3 {
            recorder.record(|| n, draft(n, EventType::Invoke));
            recorder.flush().unwrap();
        }
        assert_eq!(recorder.finish().unwrap().lost_observers, ["out of ideas"]);
        assert_eq!(seen.lock().unwrap().len(), 3);
    }
}
