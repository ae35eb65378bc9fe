//! Timers that are punctual to some ten microseconds.
//!
//! Tokio's timers tick in milliseconds, and an event loop waits for them no more finely. Operations
//! planned for different moments of one millisecond would all begin together, at its end: bursts
//! instead of the schedule that was asked for. So a thread of its own waits here for the next timer,
//! as finely as the kernel can.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use futures::task::AtomicWaker;

/// A set of timers, and the thread that waits for them. The thread ends with this handle; timers that
/// are left then never fire.
#[derive(Debug)]
pub(super) struct Timers {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// The earliest timer is another, or all is over.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// By time, then by order of setting.
    waiting: BTreeMap<(Instant, u64), Arc<Slot>>,
    set: u64,
    over: bool,
}

#[derive(Debug, Default)]
struct Slot {
    fired: AtomicBool,
    task: AtomicWaker,
}

impl Timers {
    /// Starts the thread.
    ///
    /// # Panics
    /// When the system has no thread left.
    pub(super) fn start() -> Timers {
        let shared = Arc::<Shared>::default();
        let thread = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("timers".into())
            .spawn(move || thread.serve())
            .expect("a thread for timers");
        Timers { shared }
    }

    /// Completes at or after a moment.
    pub(super) fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep {
            shared: Arc::clone(&self.shared),
            at,
            set: None,
        }
    }
}

impl Drop for Timers {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        self.shared.changed.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, at: Instant, slot: Arc<Slot>) -> u64 {
        let mut state = self.lock();
        state.set += 1;
        let key = (at, state.set);
        state.waiting.insert(key, slot);
        let earliest = state.waiting.first_key_value();
        if earliest.is_some_and(|(first, _)| *first == key) {
            self.changed.notify_one();
        }
        key.1
    }

    fn serve(&self) {
        let mut state = self.lock();
        while !state.over {
            let now = Instant::now();
            let Some(first) = state.waiting.first_entry() else {
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let (at, _) = *first.key();
            if at <= now {
                let slot = first.remove();
                drop(state);
                slot.fired.store(true, Ordering::Release);
                slot.task.wake();
                state = self.lock();
            } else {
                let waited = self.changed.wait_timeout(state, at - now);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}

/// A timer. Set when it is first polled, and taken back when it is dropped.
pub(super) struct Sleep {
    shared: Arc<Shared>,
    at: Instant,
    set: Option<(u64, Arc<Slot>)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some((_, slot)) = &self.set else {
            if Instant::now() >= self.at {
                return Poll::Ready(());
            }
            let slot = Arc::<Slot>::default();
            slot.task.register(cx.waker());
            let number = self.shared.set(self.at, Arc::clone(&slot));
            self.set = Some((number, slot));
            return Poll::Pending;
        };
        // First register, then look.
        slot.task.register(cx.waker());
        match slot.fired.load(Ordering::Acquire) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some((number, slot)) = &self.set
            && !slot.fired.load(Ordering::Acquire)
        {
            self.shared.lock().waiting.remove(&(self.at, *number));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use futures::future::{join_all, select};

    use super::*;

    #[tokio::test]
    async fn timers_fire_in_order_and_not_early() {
        let timers = Timers::start();
        let began = Instant::now();
        let fired = Mutex::new(Vec::new());
        let sleeps = [7_000, 300, 5_000, 300, 0].map(|micros| {
            let at = began + Duration::from_micros(micros);
            let (sleep, fired) = (timers.sleep_until(at), &fired);
            async move {
                sleep.await;
                assert!(Instant::now() >= at);
                fired.lock().unwrap().push(micros);
            }
        });
        join_all(sleeps).await;
        let mut fired = fired.into_inner().unwrap();
        fired.dedup();
        assert_eq!(fired, [0, 300, 5_000, 7_000]);
    }

    #[tokio::test]
    async fn dropped_timers_are_taken_back() {
        let timers = Timers::start();
        let at = |ms| Instant::now() + Duration::from_millis(ms);
        let far = timers.sleep_until(at(3_600_000));
        select(far, timers.sleep_until(at(2))).await;
        assert!(timers.shared.lock().waiting.is_empty());
    }
}
