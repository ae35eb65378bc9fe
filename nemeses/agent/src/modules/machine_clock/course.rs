//! The course that a machine's clock takes, and the way back to where it would have been.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::machine::{Machine, Pace};
use crate::modules::clock::{STILL_PPB, Setting};

/// How often a clock that stands still is set back.
const STILL: Duration = Duration::from_millis(1);
/// How near it must be to where it would have been.
const NEAR_NS: i64 = 20_000_000;

/// What is to be known to go back: written on the node before the clock is touched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    boot: String,
    realtime: i64,
    monotonic: i64,
    raw: i64,
    pace: Pace,
    /// Whether the pace was changed since: then the monotonic clock is no measure.
    paced: bool,
}

/// Where a record is, in a folder of records.
fn file(folder: &Path) -> PathBuf {
    folder.join("machine-clock.json")
}

/// Where it is once the way back is taken: who keeps the clock on its course sees that it is not there any more.
fn ending(folder: &Path) -> PathBuf {
    folder.join("machine-clock.ending")
}

impl Record {
    fn of(machine: &impl Machine) -> Result<Record, String> {
        Ok(Record {
            boot: machine.boot(),
            realtime: machine.realtime(),
            monotonic: machine.monotonic(),
            raw: machine.raw(),
            pace: machine.pace()?,
            paced: false,
        })
    }

    /// The record in a folder.
    pub(super) fn read(folder: &Path) -> Result<Option<Record>, String> {
        Record::read_at(&file(folder))
    }

    fn read_at(path: &Path) -> Result<Option<Record>, String> {
        let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| named(&error)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(named(&error)),
        }
    }

    fn write(&self, folder: &Path) -> Result<(), String> {
        let path = file(folder);
        let new = path.with_extension("new");
        let write = || {
            let mut file = File::create(&new)?;
            file.write_all(&serde_json::to_vec(self)?)?;
            file.sync_all()?;
            fs::rename(&new, &path)
        };
        write().map_err(|error| format!("{}: {error}", path.display()))
    }

    /// What time it would be now.
    pub(super) fn would_be(&self, machine: &impl Machine) -> i64 {
        let passed = match self.paced {
            true => self.pace.passes(machine.raw() - self.raw),
            false => machine.monotonic() - self.monotonic,
        };
        self.realtime + passed
    }
}

/// A clock that is made to go wrong.
pub(super) struct Course {
    folder: PathBuf,
    record: Record,
    setting: Setting,
    /// When it began, by the monotonic clock, and the time of day then.
    began: i64,
    stands_at: i64,
    /// How far ahead it was last set.
    ahead: Option<i64>,
}

impl Course {
    /// Writes down the way back, unless that stands already, and begins. Does nothing if the setting is none that a machine can have.
    pub(super) fn begin(
        machine: &mut impl Machine,
        folder: &Path,
        setting: &Setting,
    ) -> Result<Course, String> {
        let pace = machine.pace()?;
        let record = match Record::read(folder)? {
            Some(record) if record.boot == machine.boot() => record,
            _ => Record::of(machine)?,
        };
        let still = setting.rate_ppb == STILL_PPB;
        let gains = if still { 0 } else { setting.rate_ppb };
        let wanted = record.pace.with(gains).ok_or(
            "a machine's clock gains or loses a tenth at most: 100,000 ns a second are 100 ppm",
        )?;
        let record = Record {
            paced: record.paced || wanted != record.pace,
            ..record
        };
        record.write(folder)?;
        if wanted != pace {
            machine.set_pace(wanted)?;
        }
        let mut course = Course {
            folder: folder.to_owned(),
            began: machine.monotonic(),
            stands_at: record.would_be(machine),
            record,
            setting: *setting,
            ahead: None,
        };
        course.go_on(machine)?;
        Ok(course)
    }

    /// Does what is due now; says when there is something to do again, if ever.
    pub(super) fn go_on(&mut self, machine: &mut impl Machine) -> Result<Option<Duration>, String> {
        let setting = &self.setting;
        if setting.rate_ppb == STILL_PPB {
            machine.set(self.stands_at + setting.offset_ns)?;
            return Ok(Some(STILL));
        }
        let period = setting.strobe_period_ns;
        if period == 0 {
            if setting.offset_ns != 0 && self.ahead.is_none() {
                self.set_ahead(machine, setting.offset_ns)?;
            }
            return Ok(None);
        }
        let since = machine.monotonic() - self.began;
        let jump = if (since / period) % 2 == 0 {
            setting.strobe_delta_ns
        } else {
            0
        };
        let ahead = setting.offset_ns + jump;
        if self.ahead != Some(ahead) {
            self.set_ahead(machine, ahead)?;
        }
        let left = (since / period + 1) * period - since;
        Ok(Some(Duration::from_nanos(left as u64)))
    }

    fn set_ahead(&mut self, machine: &mut impl Machine, ahead: i64) -> Result<(), String> {
        machine.set(self.record.would_be(machine) + ahead)?;
        self.ahead = Some(ahead);
        Ok(())
    }

    /// Whether somebody has gone back meanwhile.
    pub(super) fn is_over(&self) -> bool {
        !file(&self.folder).exists()
    }

    /// How far the clock is ahead of where it would be.
    pub(super) fn is_ahead(&self, machine: &impl Machine) -> i64 {
        let would_be = self.record.would_be(machine);
        machine.realtime() - would_be
    }
}

/// Goes back to where the clock would have been. How far it was ahead, and how far it is now; none if it was never changed.
pub(super) fn restore(
    machine: &mut impl Machine,
    folder: &Path,
) -> Result<Option<(i64, i64)>, String> {
    let (file, ending) = (file(folder), ending(folder));
    let named = |error: std::io::Error| format!("{}: {error}", ending.display());
    if file.exists() {
        fs::rename(&file, &ending).map_err(named)?;
        // Who keeps it on its course may be about to set it.
        std::thread::sleep(STILL * 5);
    }
    let Some(record) = Record::read_at(&ending)? else {
        return Ok(None);
    };
    let mut offsets = None;
    // Since the machine was started anew, its clock has been set from elsewhere.
    if record.boot == machine.boot() {
        let before = machine.realtime() - record.would_be(machine);
        if machine.pace()? != record.pace {
            machine.set_pace(record.pace)?;
        }
        machine.set(record.would_be(machine))?;
        let after = machine.realtime() - record.would_be(machine);
        if after.abs() > NEAR_NS {
            return Err(format!(
                "the clock is still {after} ns ahead of where it would be"
            ));
        }
        offsets = Some((before, after));
    }
    fs::remove_file(&ending).map_err(named)?;
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    /// A machine whose time passes when it is told to.
    struct Tested {
        realtime: i64,
        monotonic: i64,
        raw: i64,
        pace: Pace,
        boot: &'static str,
        sets: usize,
    }

    impl Tested {
        fn new() -> Tested {
            Tested {
                realtime: 1_700_000_000 * SECOND,
                monotonic: 5000 * SECOND,
                raw: 4999 * SECOND,
                pace: Pace {
                    tick: 10_000,
                    frequency: 3 * 65_536,
                },
                boot: "first",
                sets: 0,
            }
        }

        fn pass(&mut self, nanos: i64) {
            let passes = self.pace.passes(nanos);
            self.realtime += passes;
            self.monotonic += passes;
            self.raw += nanos;
        }

        /// Lets time pass with a course that is gone on with when it says so.
        fn follow(&mut self, course: &mut Course, mut nanos: i64) -> Vec<i64> {
            let mut seen = Vec::new();
            while nanos > 0 {
                let next = course.go_on(self).unwrap();
                seen.push(course.is_ahead(self));
                let wait = next.map_or(nanos, |next| next.as_nanos() as i64).min(nanos);
                self.pass(wait);
                nanos -= wait;
            }
            seen
        }
    }

    impl Machine for Tested {
        fn realtime(&self) -> i64 {
            self.realtime
        }

        fn monotonic(&self) -> i64 {
            self.monotonic
        }

        fn raw(&self) -> i64 {
            self.raw
        }

        fn set(&mut self, realtime: i64) -> Result<(), String> {
            self.realtime = realtime;
            self.sets += 1;
            Ok(())
        }

        fn pace(&self) -> Result<Pace, String> {
            Ok(self.pace)
        }

        fn set_pace(&mut self, pace: Pace) -> Result<(), String> {
            self.pace = pace;
            Ok(())
        }

        fn boot(&self) -> String {
            self.boot.to_owned()
        }
    }

    /// Runs a setting for ten seconds beside a machine that is left alone; what was seen, and how far they differ in the end.
    fn compare(setting: Setting) -> (Vec<i64>, i64, Tested) {
        let folder = tempfile::tempdir().unwrap();
        let (mut machine, mut alone) = (Tested::new(), Tested::new());
        let realtime = Setting {
            realtime: true,
            ..setting
        };
        let mut course = Course::begin(&mut machine, folder.path(), &realtime).unwrap();
        let seen = machine.follow(&mut course, 10 * SECOND);
        alone.pass(10 * SECOND);
        let before = machine.realtime - alone.realtime;
        let (told, after) = restore(&mut machine, folder.path()).unwrap().unwrap();
        assert!(
            (told - before).abs() < 1000 && after == 0,
            "{told} {before} {after}"
        );
        assert!((machine.realtime - alone.realtime).abs() < 1000);
        assert_eq!(machine.pace, alone.pace);
        assert!(course.is_over());
        assert_eq!(restore(&mut machine, folder.path()), Ok(None));
        (seen, before, machine)
    }

    #[test]
    fn a_step_is_taken_once_and_back() {
        for offset_ns in [3600 * SECOND, -SECOND / 2] {
            let setting = Setting {
                offset_ns,
                ..Setting::default()
            };
            let (seen, before, machine) = compare(setting);
            assert_eq!(
                (seen, before, machine.sets),
                (vec![offset_ns], offset_ns, 2)
            );
        }
    }

    #[test]
    fn a_strobe_goes_there_and_back() {
        let setting = Setting {
            strobe_delta_ns: -7 * SECOND,
            strobe_period_ns: 3 * SECOND,
            ..Setting::default()
        };
        let (seen, before, _) = compare(setting);
        assert_eq!(seen, [-7 * SECOND, 0, -7 * SECOND, 0]);
        assert!(before.abs() < 1000, "{before}");
    }

    #[test]
    fn a_drift_changes_the_pace_alone() {
        for rate_ppb in [50_000_000, -100_000_000, 1_234_567, 300] {
            let setting = Setting {
                rate_ppb,
                ..Setting::default()
            };
            let (_, before, machine) = compare(setting);
            assert!((before - rate_ppb * 10).abs() < 200, "{before}");
            assert_eq!(machine.sets, 1);
        }
    }

    #[test]
    fn a_clock_that_stands_is_behind_by_the_time_that_passed() {
        let setting = Setting {
            rate_ppb: STILL_PPB,
            ..Setting::default()
        };
        let (seen, before, _) = compare(setting);
        assert!((before + 10 * SECOND).abs() <= 2_000_000, "{before}");
        assert!(seen.len() >= 9000);
    }

    #[test]
    fn what_no_machine_can_is_not_begun() {
        let folder = tempfile::tempdir().unwrap();
        let mut machine = Tested::new();
        let setting = Setting {
            realtime: true,
            rate_ppb: 200_000_000,
            ..Setting::default()
        };
        assert!(Course::begin(&mut machine, folder.path(), &setting).is_err());
        assert_eq!(Record::read(folder.path()), Ok(None));
        assert_eq!(machine.pace, Tested::new().pace);
    }

    #[test]
    fn one_change_after_another_goes_back_to_the_first_and_a_reboot_ends_all() {
        let folder = tempfile::tempdir().unwrap();
        let (mut machine, mut alone) = (Tested::new(), Tested::new());
        for (offset_ns, rate_ppb) in [(SECOND, 0), (0, 90_000_000), (-SECOND, -90_000_000)] {
            let setting = Setting {
                realtime: true,
                offset_ns,
                rate_ppb,
                ..Setting::default()
            };
            Course::begin(&mut machine, folder.path(), &setting).unwrap();
            machine.pass(SECOND);
            alone.pass(SECOND);
        }
        restore(&mut machine, folder.path()).unwrap();
        assert!((machine.realtime - alone.realtime).abs() < 1000);
        let setting = Setting {
            realtime: true,
            offset_ns: SECOND,
            ..Setting::default()
        };
        Course::begin(&mut machine, folder.path(), &setting).unwrap();
        (machine.boot, machine.sets) = ("second", 0);
        assert_eq!(restore(&mut machine, folder.path()), Ok(None));
        assert_eq!(machine.sets, 0);
        assert_eq!(Record::read(folder.path()), Ok(None));
    }
}
