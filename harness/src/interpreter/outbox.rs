//! Where workers stamp events, and hand completed operations back.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use futures::task::AtomicWaker;
use store::recorder::RecordError;
use store::{Draft, EventType, OpError, Recorder, Stamp, Value};

use crate::client::Op;
use crate::generator::Thread;
use crate::time::{Nanos, SharedClock};

/// An operation that ended, on its way to the interpreter.
pub(super) struct Completed {
    pub(super) thread: Thread,
    pub(super) op: Op,
    pub(super) kind: EventType,
    pub(super) value: Value,
    pub(super) error: Option<OpError>,
    pub(super) times: Times,
    /// No server answered it: it failed here.
    pub(super) refused: bool,
}

/// When things happened to an operation, in nanoseconds since the run began.
#[derive(Clone, Copy, Default)]
pub(super) struct Times {
    /// When the generator wanted it.
    pub(super) planned: Nanos,
    /// When it could begin at the earliest: planned, and its worker free.
    pub(super) due: Nanos,
    /// When its worker took it up.
    pub(super) taken: Nanos,
    /// The stamp of its invocation.
    pub(super) invoked: Nanos,
    /// When the answer woke the worker, if it had to wait for one.
    pub(super) woken: Option<Nanos>,
    /// The stamp of its completion.
    pub(super) completed: Nanos,
}

/// The way from all workers to the recorder and back to the interpreter.
pub(super) struct Outbox {
    clock: SharedClock,
    recorder: Recorder,
    queue: Mutex<Vec<Completed>>,
    /// Whether the queue has anything, to be asked without its lock.
    filled: AtomicBool,
    /// Workers that have ended.
    gone: AtomicUsize,
    interpreter: AtomicWaker,
}

impl Outbox {
    pub(super) fn new(clock: SharedClock, recorder: Recorder) -> Outbox {
        Outbox {
            clock,
            recorder,
            queue: Mutex::default(),
            filled: AtomicBool::new(false),
            gone: AtomicUsize::new(0),
            interpreter: AtomicWaker::new(),
        }
    }

    /// The time.
    pub(super) fn now(&self) -> Nanos {
        self.clock.now()
    }

    /// The recorder's first error.
    pub(super) fn error(&self) -> Option<RecordError> {
        self.recorder.error()
    }

    /// Stamps an invocation.
    pub(super) fn invoke(&self, draft: Draft) -> Stamp {
        self.recorder.record(|| self.clock.now(), draft)
    }

    /// Stamps a completion and queues it for the interpreter. Both under one lock, so that generators
    /// see completions in the order of the history.
    pub(super) fn complete(&self, draft: Draft, mut completed: Completed) {
        let mut queue = self.lock();
        let stamp = self.recorder.record(|| self.clock.now(), draft);
        completed.times.completed = stamp.time;
        let first = queue.is_empty();
        queue.push(completed);
        drop(queue);
        if first {
            self.filled.store(true, Ordering::Release);
            self.interpreter.wake();
        }
    }

    /// Takes all completed operations, in order, into an empty vector.
    pub(super) fn take(&self, into: &mut Vec<Completed>) {
        if self.filled.load(Ordering::Acquire) {
            let mut queue = self.lock();
            self.filled.store(false, Ordering::Relaxed);
            std::mem::swap(&mut *queue, into);
        }
    }

    /// Whether there are completed operations to take.
    pub(super) fn is_filled(&self) -> bool {
        self.filled.load(Ordering::Acquire)
    }

    /// Tells that a worker has ended.
    pub(super) fn leave(&self) {
        self.gone.fetch_add(1, Ordering::AcqRel);
        self.interpreter.wake();
    }

    /// How many workers have ended.
    pub(super) fn gone(&self) -> usize {
        self.gone.load(Ordering::Acquire)
    }

    /// Has the next completion wake a task.
    pub(super) fn wakes(&self, waker: &Waker) {
        self.interpreter.register(waker);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Completed>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
