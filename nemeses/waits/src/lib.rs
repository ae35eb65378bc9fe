//! Waits that last as long as a process's own clocks say, where Gainsay has changed those clocks.
//!
//! A program that waits until a time of day reads its clock, adds how long it is ready to wait, and gives the sum to the kernel
//! (`pthread_cond_timedwait`, `sem_timedwait`, `timerfd_settime`…). On a machine whose clock is an hour ahead, the kernel's clock is an
//! hour ahead too, and a wait of one second is one of a second. Where the clock is changed inside of one process, the kernel knows
//! nothing of that, and the wait is one of an hour, or none at all: what no real machine does. So what is given to the kernel is
//! made a time by the kernel's own clock first: earlier by as much as the process's clock is ahead.
//!
//! It is a library that is loaded into a system's programs before all others (`LD_PRELOAD`), where a fault `clock` was asked for, and
//! has the C library's functions that wait until a time go through it. Without the feature `preload` it is only what is reckoned,
//! for tests. It needs nothing of a node but a C library: it asks for no version of any function, so that it is loaded by old ones too, and
//! uses no allocator and no thread-local memory.
//!
//! While clocks are as the kernel's, times are given on unchanged. What is reckoned is how things are when a wait begins: who waits while
//! its clock is changed, waits on as it began, and where a clock drifts, as if it did not. Waits by the C library's `syscall` are
//! reached too (a futex, several, a sleep). Not reached are programs that do not use the C library to wait: static ones, and those that speak to
//! the kernel themselves, as Go's do, which wait for so long and not until then; nor times that are given to the kernel in a ring
//! (`io_uring`).

#![cfg_attr(not(test), no_std)]

#[cfg(feature = "preload")]
mod functions;
#[cfg(feature = "preload")]
mod raw;
#[cfg(feature = "preload")]
mod real;
mod timers;

const NANOS: i128 = 1_000_000_000;

/// A time, as the C library has it on 64-bit machines.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timespec {
    /// Seconds.
    pub seconds: i64,
    /// Nanoseconds; a time with fewer than 0, or a second of them or more, is none.
    pub nanos: i64,
}

impl Timespec {
    fn total(self) -> i128 {
        i128::from(self.seconds) * NANOS + i128::from(self.nanos)
    }
}

/// What a process is told of the time, between two looks at what its kernel says.
#[derive(Clone, Copy, Debug)]
pub struct Looks {
    /// The kernel's, before.
    pub earliest: Timespec,
    /// The process's own.
    pub told: Timespec,
    /// The kernel's, after.
    pub latest: Timespec,
}

impl Looks {
    /// By how many nanoseconds the process's clock is ahead; 0 where it may be the kernel's.
    fn ahead(&self) -> i128 {
        let (earliest, told, latest) = (
            self.earliest.total(),
            self.told.total(),
            self.latest.total(),
        );
        match told {
            told if told < earliest => told - earliest,
            told if told > latest => told - latest,
            _ => 0,
        }
    }

    /// The time by the kernel's clock at which the process's clock says `until`, if both go on as they do. Times before 1970 are the
    /// first moment of it, which is past. What is no time stays as it is, to be refused as it would be.
    pub fn kernels(&self, until: Timespec) -> Timespec {
        let ahead = self.ahead();
        if ahead == 0 || !(0..NANOS as i64).contains(&until.nanos) || until.seconds < 0 {
            return until;
        }
        let total = (until.total() - ahead).clamp(0, i128::from(i64::MAX) * NANOS);
        Timespec {
            seconds: (total / NANOS) as i64,
            nanos: (total % NANOS) as i64,
        }
    }
}

/// Whether a `futex` of this operation waits until a time, and then whether by the time of day; else by the clock that measures
/// time-outs. Others wait for so long, or not at all.
pub fn waits_until(operation: i32) -> Option<bool> {
    const PRIVATE: i32 = 128;
    const CLOCK_REALTIME: i32 = 256;
    let realtime = operation & CLOCK_REALTIME != 0;
    match operation & !(PRIVATE | CLOCK_REALTIME) {
        // FUTEX_LOCK_PI, which knows no other clock.
        6 => Some(true),
        // FUTEX_WAIT_BITSET, FUTEX_WAIT_REQUEUE_PI, FUTEX_LOCK_PI2.
        9 | 11 | 13 => Some(realtime),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_futexes_wait_until_a_time() {
        // FUTEX_WAIT, however it is told to, waits for so long.
        assert_eq!([0, 128, 256, 1].map(waits_until), [None; 4]);
        assert_eq!(waits_until(9 | 128), Some(false));
        assert_eq!(waits_until(9 | 128 | 256), Some(true));
        assert_eq!(waits_until(6), Some(true));
    }

    const fn at(seconds: i64, nanos: i64) -> Timespec {
        Timespec { seconds, nanos }
    }

    fn told(told: Timespec) -> Looks {
        Looks {
            earliest: at(1_700_000_000, 999_999_000),
            told,
            latest: at(1_700_000_001, 1000),
        }
    }

    #[test]
    fn a_clock_that_may_be_the_kernels_changes_nothing() {
        for it in [at(1_700_000_000, 999_999_000), at(1_700_000_001, 1000)] {
            let until = at(1_700_000_009, 5);
            assert_eq!(told(it).kernels(until), until);
        }
    }

    #[test]
    fn a_wait_is_as_long_as_the_process_means_it() {
        let hour = 3600;
        // A second from what the process is told is a second from what the kernel says, but for how long a look takes.
        for ahead in [-20 * hour, -1, 1, hour, 1000 * hour] {
            let looks = told(at(1_700_000_001 + ahead, 0));
            let until = looks.kernels(at(1_700_000_002 + ahead, 0));
            let length = until.total() - at(1_700_000_001, 0).total();
            assert!((length - NANOS).abs() <= 2000, "{ahead}: {length}");
        }
    }

    #[test]
    fn what_is_no_time_stays_so() {
        let looks = told(at(1_700_003_601, 0));
        for until in [at(1, -1), at(1, 1_000_000_000), at(-1, 0)] {
            assert_eq!(looks.kernels(until), until);
        }
    }

    #[test]
    fn times_stay_within_what_there_is() {
        assert_eq!(told(at(1_700_003_601, 0)).kernels(at(5, 7)), at(0, 0));
        let forever = at(i64::MAX, 999_999_999);
        assert_eq!(told(at(0, 0)).kernels(forever), at(i64::MAX, 0));
    }
}
