//! Polls foreign futures so that they can neither hang nor take the run down.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::desk::Desk;
use crate::time::{Nanos, SharedClock, Task};

/// How an attempt ended.
pub(super) enum Ended<T> {
    /// With a result. If it had to wait for it: when it was woken.
    Done(T, Option<Nanos>),
    /// Its time was over.
    TimedOut,
    /// The run is being abandoned.
    Abandoned,
    /// It panicked, saying this.
    Panicked(String),
}

/// Runs one worker's attempts, one after the other.
pub(super) struct Attempts {
    desk: Arc<Desk>,
    /// The desk, as what the attempted futures wake.
    waker: Waker,
    alarm: Alarm,
}

impl Attempts {
    pub(super) fn new(desk: Arc<Desk>, clock: SharedClock) -> Attempts {
        Attempts {
            waker: Waker::from(Arc::clone(&desk)),
            desk,
            alarm: Alarm { clock, set: None },
        }
    }

    /// Runs a future until it is done, panics, or has to be given up; it is then dropped. A result
    /// that is there wins over the deadline and over the order to abandon.
    pub(super) async fn run<F: Future>(&mut self, deadline: Nanos, future: F) -> Ended<F::Output> {
        let mut slot = pin!(Some(future));
        let Attempts { desk, waker, alarm } = self;
        desk.take_woken();
        let ended = poll_fn(|cx| {
            // First register, then look: what happens in between then wakes this task again.
            desk.register(cx.waker());
            let woken = desk.take_woken();
            let Some(future) = slot.as_mut().as_pin_mut() else {
                return Poll::Pending;
            };
            let mut inner = Context::from_waker(waker);
            // A future that panicked is not polled again, so a broken state of it is not seen.
            match catch_unwind(AssertUnwindSafe(|| future.poll(&mut inner))) {
                Ok(Poll::Ready(output)) => Poll::Ready(Ended::Done(output, woken)),
                Err(panic) => Poll::Ready(Ended::Panicked(panic_message(&*panic))),
                Ok(Poll::Pending) if desk.is_abandoned() => Poll::Ready(Ended::Abandoned),
                Ok(Poll::Pending) => alarm.poll(deadline, cx).map(|()| Ended::TimedOut),
            }
        })
        .await;
        shielded(|| slot.set(None));
        ended
    }
}

/// An alarm clock for deadlines that come one after the other.
///
/// Nearly all operations end long before their deadline, so a timer for each would be set only to be
/// taken back. This one lets an old timer stand, and when it fires looks whether the deadline of
/// *now* has passed, and if not, sets it to that: one timer per time limit instead of one per
/// operation.
struct Alarm {
    clock: SharedClock,
    set: Option<(Nanos, Task)>,
}

impl Alarm {
    fn poll(&mut self, deadline: Nanos, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut self.set {
                Some((at, timer)) if *at <= deadline => match timer.as_mut().poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(()) => self.set = None,
                },
                _ if self.clock.now() >= deadline => return Poll::Ready(()),
                _ => self.set = Some((deadline, self.clock.sleep_until(deadline))),
            }
        }
    }
}

/// Drops something foreign.
pub(super) fn discard<T>(foreign: T) {
    shielded(|| drop(foreign));
}

/// Runs foreign destructors: one that panics is logged.
fn shielded(destroy: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(destroy)) {
        tracing::warn!("a destructor panicked: {}", panic_message(&*panic));
    }
}

/// What a panic said.
pub(super) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panicked".to_owned())
}
