//! How clocks are to go, and what that means for each of them.

use serde::{Deserialize, Serialize};

/// How clocks are to go, from when it is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Whether it is about the clocks that tell the time of day.
    pub realtime: bool,
    /// Whether it is about the clocks that only run on: `CLOCK_MONOTONIC`, its relatives and `CLOCK_BOOTTIME`.
    pub monotonic: bool,
    /// How far ahead they are, in nanoseconds.
    pub offset_ns: i64,
    /// How much they gain, in nanoseconds a second. A clock that loses all of it stands still.
    pub rate_ppb: i64,
    /// By how much they jump ahead and back, in nanoseconds.
    pub strobe_delta_ns: i64,
    /// How long they stay so each time, in nanoseconds; 0 for none.
    pub strobe_period_ns: i64,
}

/// A clock that loses this much stands still.
pub const STILL_PPB: i64 = -1_000_000_000;
/// The most that a clock may gain: a hundredfold.
pub const FASTEST_PPB: i64 = 100_000_000_000;

impl Setting {
    /// Refuses what cannot be.
    pub(super) fn check(&self) -> Result<(), String> {
        if !self.realtime && !self.monotonic {
            return Err("no clock is meant".to_owned());
        }
        if !(STILL_PPB..=FASTEST_PPB).contains(&self.rate_ppb) {
            return Err(format!("no clock gains {} ns a second", self.rate_ppb));
        }
        if self.strobe_period_ns < 0 {
            return Err("a period is not negative".to_owned());
        }
        Ok(())
    }
}

/// The clocks' ids are less than this.
pub(super) const CLOCKS: usize = 16;

const REALTIME: [i32; 4] = [
    libc::CLOCK_REALTIME,
    libc::CLOCK_REALTIME_COARSE,
    libc::CLOCK_REALTIME_ALARM,
    libc::CLOCK_TAI,
];
const MONOTONIC: [i32; 5] = [
    libc::CLOCK_MONOTONIC,
    libc::CLOCK_MONOTONIC_RAW,
    libc::CLOCK_MONOTONIC_COARSE,
    libc::CLOCK_BOOTTIME,
    libc::CLOCK_BOOTTIME_ALARM,
];

/// A [`Setting`] with the moment from which it holds, by each clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) offset: i64,
    /// In 2^-32.
    pub(super) rate: i64,
    pub(super) period: i64,
    pub(super) delta: i64,
    pub(super) mask: u64,
    pub(super) base: [i64; CLOCKS],
}

impl Rule {
    /// The setting, from now on.
    pub(super) fn from_now(setting: &Setting) -> Rule {
        let mut rule = Rule {
            offset: setting.offset_ns,
            rate: (i128::from(setting.rate_ppb) * (1 << 32) / 1_000_000_000) as i64,
            period: setting.strobe_period_ns,
            delta: setting.strobe_delta_ns,
            ..Rule::default()
        };
        let realtime = REALTIME.iter().filter(|_| setting.realtime);
        let monotonic = MONOTONIC.iter().filter(|_| setting.monotonic);
        for clock in realtime.chain(monotonic) {
            // A coarse clock is at most a tick behind its fine one, whose beginning it shares.
            let fine = match *clock {
                libc::CLOCK_REALTIME_COARSE => libc::CLOCK_REALTIME,
                libc::CLOCK_MONOTONIC_COARSE => libc::CLOCK_MONOTONIC,
                clock => clock,
            };
            rule.mask |= 1 << clock;
            rule.base[*clock as usize] = now(fine);
        }
        rule
    }

    /// What a process's clock says, by this rule, when it truly is so late.
    pub(super) fn tells(&self, clock: i32, time: i64) -> i64 {
        let Some(base) = usize::try_from(clock).ok().and_then(|at| self.base.get(at)) else {
            return time;
        };
        if self.mask & (1 << clock) == 0 {
            return time;
        }
        let since = time.wrapping_sub(*base);
        let drifted = ((i128::from(since) * i128::from(self.rate)) >> 32) as i64;
        let ahead = self.period > 0 && (since.max(0) / self.period) % 2 == 0;
        let strobe = if ahead { self.delta } else { 0 };
        let told = time.wrapping_add(self.offset).wrapping_add(drifted);
        told.wrapping_add(strobe).max(0)
    }
}

/// What a clock says here, in nanoseconds.
pub(super) fn now(clock: i32) -> i64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: it writes into that one.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
