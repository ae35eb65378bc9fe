//! A checker's budget in the real world: a deadline and a number of bytes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use checkers::{Budget, Exhausted};

/// Stops a checker before the kernel has to: at a deadline, or when what it has charged comes near
/// its memory limit.
pub(super) struct ProcessBudget {
    deadline: Instant,
    charged: AtomicU64,
    limit: u64,
}

impl ProcessBudget {
    /// A budget that begins now.
    pub(super) fn new(time: Duration, memory: u64) -> ProcessBudget {
        ProcessBudget {
            deadline: Instant::now() + time,
            charged: AtomicU64::new(0),
            // Charges are estimates and the history itself takes room too.
            limit: memory / 4 * 3,
        }
    }

    /// Puts the deadline off by a time in which nothing was done.
    pub(super) fn postpone(&mut self, idle: Duration) {
        self.deadline += idle;
    }
}

impl Budget for ProcessBudget {
    fn check(&self) -> Result<(), Exhausted> {
        if Instant::now() >= self.deadline {
            Err(Exhausted::Time)
        } else {
            Ok(())
        }
    }

    fn charge(&self, bytes: usize) -> Result<(), Exhausted> {
        let before = self.charged.fetch_add(bytes as u64, Ordering::Relaxed);
        if before + bytes as u64 <= self.limit {
            return Ok(());
        }
        self.release(bytes);
        Err(Exhausted::Memory)
    }

    fn release(&self, bytes: usize) {
        self.charged.fetch_sub(bytes as u64, Ordering::Relaxed);
    }
}
