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
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use serde_json::Value;
use thiserror::Error;

use self::writer::Writer;
use crate::event::{Event, EventType, Name, Process};

#[cfg(test)]
mod tests;
mod writer;

/// Events move through the queue in vectors of this many: under the size at which the allocator asks
/// the kernel for each, and large enough that a batch costs one write.
const CHUNK_EVENTS: usize = 512;

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
