//! Real time, on tokio.

use std::time::{Duration, Instant};

use super::{Clock, Nanos, Task, nanos};

/// CLOCK_MONOTONIC of this machine, and tokio's tasks and timers. Timers tick in milliseconds.
#[derive(Debug)]
pub struct RealClock {
    start: Instant,
    handle: tokio::runtime::Handle,
}

impl RealClock {
    /// A clock that begins now, on the current tokio runtime.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start() -> RealClock {
        RealClock {
            start: Instant::now(),
            handle: tokio::runtime::Handle::current(),
        }
    }
}

impl Clock for RealClock {
    fn now(&self) -> Nanos {
        nanos(self.start.elapsed())
    }

    fn sleep_until(&self, at: Nanos) -> Task {
        let deadline = tokio::time::Instant::from_std(self.start + Duration::from_nanos(at));
        Box::pin(tokio::time::sleep_until(deadline))
    }

    fn spawn(&self, task: Task) {
        self.handle.spawn(task);
    }
}
