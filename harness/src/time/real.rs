//! Real time, on tokio.

use std::time::{Duration, Instant};

use super::timers::Timers;
use super::{Clock, Nanos, Task, nanos};

/// CLOCK_MONOTONIC of this machine, tokio's tasks, and timers that are punctual to some ten
/// microseconds.
#[derive(Debug)]
pub struct RealClock {
    start: Instant,
    handle: tokio::runtime::Handle,
    timers: Timers,
}

impl RealClock {
    /// A clock that begins now, on the current tokio runtime.
    ///
    /// # Panics
    /// Outside a tokio runtime, and when the system has no thread left.
    pub fn start() -> RealClock {
        RealClock {
            start: Instant::now(),
            handle: tokio::runtime::Handle::current(),
            timers: Timers::start(),
        }
    }
}

impl Clock for RealClock {
    fn now(&self) -> Nanos {
        nanos(self.start.elapsed())
    }

    fn sleep_until(&self, at: Nanos) -> Task {
        let at = self.start.checked_add(Duration::from_nanos(at));
        match at {
            Some(at) => Box::pin(self.timers.sleep_until(at)),
            // Later than the clock can tell.
            None => Box::pin(std::future::pending()),
        }
    }

    fn spawn(&self, task: Task) {
        self.handle.spawn(task);
    }
}
