//! Abstract time: real for real systems, virtual for the simulated store.
//!
//! All that waits in a run waits on a [`Clock`]. The [`RealClock`] is tokio's; the virtual one
//! (`VirtualRuntime`) is a deterministic single-threaded executor that jumps to the next timer when
//! nothing can run, so that a seed gives a byte-identical history.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};

mod real;
mod simulated;
mod timers;

pub use real::RealClock;
pub use simulated::{Stalled, VirtualClock, VirtualRuntime};

/// A boxed future that can be spawned.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Nanoseconds since the clock's own beginning (the start of the run).
pub type Nanos = u64;

/// Time and tasks.
pub trait Clock: Send + Sync {
    /// Nanoseconds since the run began. Monotonic.
    fn now(&self) -> Nanos;

    /// Completes at or after a moment.
    fn sleep_until(&self, at: Nanos) -> Task;

    /// Runs a task beside the caller's. It is dropped with the runtime.
    fn spawn(&self, task: Task);

    /// Whether this clock is virtual (deterministic).
    fn is_virtual(&self) -> bool {
        false
    }
}

/// A clock shared by everything in a run.
pub type SharedClock = Arc<dyn Clock>;

/// Sleeps for a while.
pub async fn sleep(clock: &dyn Clock, duration: Duration) {
    clock
        .sleep_until(clock.now().saturating_add(nanos(duration)))
        .await;
}

/// The result of a future, or `None` when the time limit came first. The future is then dropped.
pub async fn timeout<F: Future>(
    clock: &dyn Clock,
    limit: Duration,
    future: F,
) -> Option<F::Output> {
    let future = std::pin::pin!(future);
    let deadline = clock.sleep_until(clock.now().saturating_add(nanos(limit)));
    // `select` polls its first argument first: a result that is there wins over the deadline.
    match select(future, deadline).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(((), _)) => None,
    }
}

/// A duration in nanoseconds, at most `u64::MAX` (584 years).
pub fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
