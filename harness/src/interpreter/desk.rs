//! Where a worker gets its jobs, and where it is woken.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Wake, Waker};

use futures::task::AtomicWaker;

use crate::client::Op;
use crate::time::{Nanos, SharedClock};

/// What a worker is told to do.
pub(super) enum Job {
    /// An operation.
    Perform(Assignment),
    /// For a fault: undo whatever stands.
    Heal,
    /// Say goodbye and end.
    Quit,
}

/// An operation for a worker.
pub(super) struct Assignment {
    pub(super) op: Op,
    /// When the generator wanted it.
    pub(super) planned: Nanos,
    /// When it could begin at the earliest: it was planned, and the worker was free.
    pub(super) due: Nanos,
}

/// One worker's end of the line to the interpreter.
///
/// It stands between the client's future and the worker's task as a waker, for two reasons: what
/// comes from the interpreter (a job, the order to abandon) wakes the task the same way as what
/// comes from the network; and the moment of the wake-up is known, so that the time between an
/// answer's arrival and its stamp can be measured.
pub(super) struct Desk {
    clock: SharedClock,
    job: Mutex<Option<Job>>,
    abandoned: AtomicBool,
    /// When the client's future was first woken since it was last polled; [`AWAKE`] if it was not.
    woken: AtomicU64,
    task: AtomicWaker,
}

/// No wake-up since the last poll.
const AWAKE: u64 = u64::MAX;

impl Desk {
    pub(super) fn new(clock: SharedClock) -> Arc<Desk> {
        Arc::new(Desk {
            clock,
            job: Mutex::new(None),
            abandoned: AtomicBool::new(false),
            woken: AtomicU64::new(AWAKE),
            task: AtomicWaker::new(),
        })
    }

    /// Puts a job on an empty desk.
    pub(super) fn put(&self, job: Job) {
        self.abandoned.store(false, Ordering::Relaxed);
        *self.job.lock().unwrap_or_else(PoisonError::into_inner) = Some(job);
        self.task.wake();
    }

    /// Tells the worker to abandon what it is doing.
    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
        self.task.wake();
    }

    /// Whether the worker was told to abandon what it is doing.
    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    /// Waits for the next job.
    pub(super) async fn next(&self) -> Job {
        let take = || {
            let mut job = self.job.lock().unwrap_or_else(PoisonError::into_inner);
            job.take()
        };
        poll_fn(|cx| {
            self.register(cx.waker());
            take().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Has the next wake-up wake this task.
    pub(super) fn register(&self, task: &Waker) {
        self.task.register(task);
    }

    /// When the future about to be polled was woken, if it was.
    pub(super) fn take_woken(&self) -> Option<Nanos> {
        match self.woken.swap(AWAKE, Ordering::Relaxed) {
            AWAKE => None,
            woken => Some(woken),
        }
    }
}

impl Wake for Desk {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.woken.load(Ordering::Relaxed) == AWAKE {
            // Two wakers at once may both write: their times are the same for our purposes.
            self.woken.store(self.clock.now(), Ordering::Relaxed);
        }
        self.task.wake();
    }
}
