//! Periods in which no fault is in force.

use std::time::Duration;

use harness::time::{Nanos, nanos};
use serde::{Deserialize, Serialize};

/// At the end of each period of `every`, no fault is in force for as long as `lasts`: the system may recover, and a
/// history has stretches in which nothing excuses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quiet {
    /// From the beginning of one quiet period to that of the next. Longer than `lasts`.
    pub every: Duration,
    /// How long it is quiet.
    pub lasts: Duration,
}

impl Quiet {
    fn every(&self) -> Nanos {
        nanos(self.every).max(1)
    }

    /// When the next quiet period begins, from then on; now, if it is quiet now.
    pub(super) fn begins(&self, now: Nanos) -> Nanos {
        let (every, lasts) = (self.every(), nanos(self.lasts).min(self.every()));
        let period = now / every * every;
        now.max(period + every - lasts)
    }

    /// The same time, or the end of the quiet period that it falls into.
    pub(super) fn leave(&self, time: Nanos) -> Nanos {
        match self.begins(time) == time {
            true => (time / self.every() + 1) * self.every(),
            false => time,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_is_at_the_end_of_each_period() {
        let quiet = Quiet {
            every: Duration::from_nanos(10),
            lasts: Duration::from_nanos(3),
        };
        let at = |time| (quiet.begins(time), quiet.leave(time));
        assert_eq!(at(0), (7, 0));
        assert_eq!(at(6), (7, 6));
        assert_eq!(at(7), (7, 10));
        assert_eq!(at(9), (9, 10));
        assert_eq!(at(10), (17, 10));
    }
}
