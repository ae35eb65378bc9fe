//! The clocks of a machine, as the kernel has them.

use std::fs;

use serde::{Deserialize, Serialize};

/// How fast the clock goes, as `adjtimex(2)` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pace {
    /// Microseconds of the clock's to a hundredth of a second; 10,000 at the right pace.
    pub(super) tick: i64,
    /// What is added to that, in 2^-16 millionths.
    pub(super) frequency: i64,
}

/// The least and the most that `tick` may be.
const TICKS: std::ops::RangeInclusive<i64> = 9000..=11_000;

impl Pace {
    /// This pace, with so many nanoseconds a second more; none if no kernel takes that.
    pub(super) fn with(self, gain_ppb: i64) -> Option<Pace> {
        let tick = self.tick + (gain_ppb as f64 / 100_000.0).round() as i64;
        let rest = gain_ppb - (tick - self.tick) * 100_000;
        let pace = Pace {
            tick,
            frequency: self.frequency + rest * 65_536 / 1000,
        };
        TICKS.contains(&tick).then_some(pace)
    }

    /// How much time passes by the clock, at this pace, in so much true time.
    pub(super) fn passes(self, nanos: i64) -> i64 {
        // In 2^-16 millionths; a tick's worth is a hundred millionths.
        let gain = i128::from((self.tick - 10_000) * 100 * 65_536 + self.frequency);
        nanos + (i128::from(nanos) * gain / (1_000_000 * 65_536)) as i64
    }
}

/// A machine's clocks. Times are in nanoseconds.
pub(super) trait Machine {
    /// The time of day.
    fn realtime(&self) -> i64;
    /// Runs on at the pace of the time of day, and is never set.
    fn monotonic(&self) -> i64;
    /// Runs on at a pace that nobody sets.
    fn raw(&self) -> i64;
    /// Sets the time of day.
    fn set(&mut self, realtime: i64) -> Result<(), String>;
    /// The pace of the time of day.
    fn pace(&self) -> Result<Pace, String>;
    /// Sets it.
    fn set_pace(&mut self, pace: Pace) -> Result<(), String>;
    /// What names the time since the machine was started.
    fn boot(&self) -> String;
}

/// This machine.
pub(super) struct Kernel;

fn read(clock: libc::clockid_t) -> i64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: it writes into that one.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

fn refused(error: std::io::Error) -> String {
    format!("the kernel does not let its clock be set: {error}")
}

/// What `adjtimex` says, and does if it is told to.
fn adjtimex(change: Option<Pace>) -> Result<Pace, String> {
    // SAFETY: plain numbers; the call reads and writes that one.
    let (done, said) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        if let Some(pace) = change {
            timex.modes = libc::ADJ_TICK | libc::ADJ_FREQUENCY;
            (timex.tick, timex.freq) = (pace.tick, pace.frequency);
        }
        (libc::adjtimex(&mut timex), timex)
    };
    match done {
        -1 => Err(refused(std::io::Error::last_os_error())),
        _ => Ok(Pace {
            tick: said.tick,
            frequency: said.freq,
        }),
    }
}

impl Machine for Kernel {
    fn realtime(&self) -> i64 {
        read(libc::CLOCK_REALTIME)
    }

    fn monotonic(&self) -> i64 {
        read(libc::CLOCK_MONOTONIC)
    }

    fn raw(&self) -> i64 {
        read(libc::CLOCK_MONOTONIC_RAW)
    }

    fn set(&mut self, realtime: i64) -> Result<(), String> {
        let time = libc::timespec {
            tv_sec: realtime.div_euclid(1_000_000_000),
            tv_nsec: realtime.rem_euclid(1_000_000_000),
        };
        // SAFETY: it reads that one.
        match unsafe { libc::clock_settime(libc::CLOCK_REALTIME, &time) } {
            0 => Ok(()),
            _ => Err(refused(std::io::Error::last_os_error())),
        }
    }

    fn pace(&self) -> Result<Pace, String> {
        adjtimex(None)
    }

    fn set_pace(&mut self, pace: Pace) -> Result<(), String> {
        adjtimex(Some(pace)).map(drop)
    }

    fn boot(&self) -> String {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id");
        boot.unwrap_or_default().trim().to_owned()
    }
}
