//! The cluster on a clock: shared by clients and faults, and driven while anyone waits.
//!
//! Whoever touches the cluster first brings it up to the present, so it needs nobody to drive it
//! while nobody looks. Only a client that waits for an answer has to be woken at the right moment:
//! as long as there is one, a [`Driver`] sleeps from each event to the next.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use harness::time::{Nanos, SharedClock, Task};

use crate::cluster::Cluster;
use crate::machine::Command;
use crate::message::{Answer, NodeId, RequestId};

/// How long the cluster has been running when the clock begins: enough to have a leader.
const AGE: Nanos = 2_000_000_000;

struct State {
    cluster: Cluster,
    driver: Option<DriverState>,
}

/// A driver at work.
struct DriverState {
    /// When it wakes up next.
    alarm: Nanos,
    waker: Option<Waker>,
}

/// The cluster, for everyone.
#[derive(Clone)]
pub(crate) struct Handle {
    clock: SharedClock,
    state: Arc<Mutex<State>>,
}

impl Handle {
    pub(crate) fn new(cluster: Cluster, clock: SharedClock) -> Handle {
        let state = State {
            cluster,
            driver: None,
        };
        Handle {
            clock,
            state: Arc::new(Mutex::new(state)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the cluster as it is now.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut Cluster) -> R) -> R {
        let mut state = self.lock();
        state.cluster.advance(self.clock.now() + AGE);
        let result = act(&mut state.cluster);
        self.wake_driver(&mut state);
        result
    }

    /// Sees to it that someone wakes those who wait.
    fn wake_driver(&self, state: &mut State) {
        if !state.cluster.is_awaited() {
            return;
        }
        match &mut state.driver {
            None => {
                state.driver = Some(DriverState {
                    alarm: 0,
                    waker: None,
                });
                self.clock.spawn(Box::pin(Driver {
                    handle: self.clone(),
                    sleep: None,
                }));
            }
            Some(driver) => {
                let next = state.cluster.next_event();
                if next.is_some_and(|next| next < driver.alarm)
                    && let Some(waker) = driver.waker.take()
                {
                    waker.wake();
                }
            }
        }
    }

    /// Sends a request to a node and waits for the answer. Dropping the future hangs up.
    pub(crate) fn request(&self, node: NodeId, command: Command) -> Request {
        Request {
            request: self.with(|cluster| cluster.submit(node, command)),
            handle: self.clone(),
        }
    }
}

/// Wakes clients when their answers arrive. Ends when no client waits.
struct Driver {
    handle: Handle,
    sleep: Option<(Nanos, Task)>,
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let handle = self.handle.clone();
        loop {
            let next = {
                let mut state = handle.lock();
                state.cluster.advance(handle.clock.now() + AGE);
                let next = state.cluster.next_event().unwrap_or(Nanos::MAX);
                if !state.cluster.is_awaited() {
                    return Poll::Ready(());
                }
                state.driver = Some(DriverState {
                    alarm: next,
                    waker: Some(cx.waker().clone()),
                });
                next
            };
            let (_, mut sleep) = (self.sleep.take())
                .filter(|(at, _)| *at == next)
                .unwrap_or_else(|| (next, handle.clock.sleep_until(next.saturating_sub(AGE))));
            if sleep.as_mut().poll(cx).is_pending() {
                self.sleep = Some((next, sleep));
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Driver {
    /// The runtime drops its tasks when the run is over; another run may follow.
    fn drop(&mut self) {
        self.handle.lock().driver = None;
    }
}

/// The future of an answer.
pub(crate) struct Request {
    handle: Handle,
    request: RequestId,
}

impl Future for Request {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let answer = self
            .handle
            .lock()
            .cluster
            .poll_answer(self.request, cx.waker());
        answer.map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.handle.lock().cluster.hang_up(self.request);
    }
}
