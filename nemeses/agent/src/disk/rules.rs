//! Which operations a fault strikes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::control::{Effect, Kind, Rule};
use super::dice::Dice;

/// What becomes of an operation, now or after a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is done.
    Pass,
    /// It fails, undone.
    Fail(i32),
    /// It writes less.
    Short,
    /// It makes nothing durable, and says that it did.
    Lie,
    /// It fails, and what it was for is never written.
    LoseSync,
    /// It fails if it needs more room.
    Full,
}

/// What an operation waits for.
#[derive(Clone, Debug)]
pub(crate) struct Wait {
    /// So long; without end if there is none.
    time: Option<Duration>,
    /// Where it has no end, for other rules than those of this number.
    rules: u64,
    /// How often waiting was given up when it began.
    given_up: u64,
}

/// The rules in force.
#[derive(Default)]
pub(crate) struct Rules {
    /// Whether there are none, which is most of the time.
    none: AtomicBool,
    struck: AtomicU64,
    inner: Mutex<Inner>,
    changed: Condvar,
}

struct Inner {
    rules: Vec<Rule>,
    dice: Dice,
    /// How often they were changed.
    number: u64,
    /// How often all that waited was given up.
    given_up: u64,
}

impl Default for Inner {
    fn default() -> Inner {
        Inner {
            rules: Vec::new(),
            dice: Dice::new(0),
            number: 0,
            given_up: 0,
        }
    }
}

impl Rules {
    pub(crate) fn new() -> Arc<Rules> {
        let rules = Rules::default();
        rules.none.store(true, Ordering::Release);
        Arc::new(rules)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts other rules in force. What stood still goes on.
    pub(crate) fn set(&self, rules: Vec<Rule>, seed: u64) {
        let mut inner = self.inner();
        self.none.store(rules.is_empty(), Ordering::Release);
        self.struck.store(0, Ordering::Relaxed);
        *inner = Inner {
            rules,
            dice: Dice::new(seed),
            number: inner.number + 1,
            given_up: inner.given_up,
        };
        self.changed.notify_all();
    }

    pub(crate) fn count(&self) -> usize {
        self.inner().rules.len()
    }

    /// Whether one of them makes the disk full.
    pub(crate) fn say_full(&self) -> bool {
        let full = |rule: &Rule| rule.effect == Effect::Full;
        !self.none.load(Ordering::Acquire) && self.inner().rules.iter().any(full)
    }

    pub(crate) fn struck(&self) -> u64 {
        self.struck.load(Ordering::Relaxed)
    }

    /// Whether a rule may need to see operations that the page cache would answer.
    pub(crate) fn concern_reads(rules: &[Rule]) -> bool {
        rules.iter().any(|rule| rule.kinds.contains(&Kind::Read))
    }

    /// What becomes of an operation on what is at a path.
    pub(crate) fn decide<P: AsRef<OsStr>>(
        &self,
        kind: Kind,
        path: impl FnOnce() -> P,
    ) -> (Option<Wait>, Fate) {
        if self.none.load(Ordering::Acquire) {
            return (None, Fate::Pass);
        }
        let mut inner = self.inner();
        let mut path = Some(path);
        let mut known = None;
        let Inner {
            rules,
            dice,
            number,
            given_up,
        } = &mut *inner;
        let strikes = rules.iter().find(|rule| {
            rule.kinds.contains(&kind)
                && rule.glob.as_ref().is_none_or(|glob| {
                    if let Some(path) = path.take() {
                        known = Some(path().as_ref().as_bytes().to_vec());
                    }
                    known.as_ref().is_some_and(|path| matches(glob, path))
                })
                && dice.unit() < rule.probability
        });
        let Some(rule) = strikes else {
            return (None, Fate::Pass);
        };
        // What only fails where more room is needed counts when it does.
        if rule.effect != Effect::Full {
            self.strike();
        }
        let wait = |time| Wait {
            time,
            rules: *number,
            given_up: *given_up,
        };
        match rule.effect {
            Effect::Fail { errno } => (None, Fate::Fail(errno)),
            Effect::Delay { ms, jitter_ms } => {
                let jitter = dice.below(jitter_ms.saturating_mul(1000).saturating_add(1));
                let time = Duration::from_millis(ms) + Duration::from_micros(jitter);
                (Some(wait(Some(time))), Fate::Pass)
            }
            Effect::Stall => (Some(wait(None)), Fate::Pass),
            Effect::Short => (None, Fate::Short),
            Effect::Lie => (None, Fate::Lie),
            Effect::LoseSync => (None, Fate::LoseSync),
            Effect::Full => (None, Fate::Full),
        }
    }

    /// One more operation was struck.
    pub(crate) fn strike(&self) {
        self.struck.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits. What becomes of the operation then: as it was to be, or, if waiting was given up, that it fails.
    pub(crate) fn wait(&self, wait: &Wait, fate: Fate) -> Fate {
        let deadline = wait.time.map(|time| Instant::now() + time);
        let mut inner = self.inner();
        loop {
            if inner.given_up != wait.given_up {
                return Fate::Fail(libc::EIO);
            }
            let left = match deadline {
                Some(deadline) => deadline.saturating_duration_since(Instant::now()),
                None if inner.number == wait.rules => Duration::MAX,
                None => Duration::ZERO,
            };
            if left.is_zero() {
                return fate;
            }
            // Not longer than a clock can count.
            let left = left.min(Duration::from_secs(3600));
            let woken = self.changed.wait_timeout(inner, left);
            inner = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What waits is not done: whoever asked for it is gone, or is about to be.
    pub(crate) fn give_up(&self) {
        self.inner().given_up += 1;
        self.changed.notify_all();
    }
}

/// Whether a path, or its last part, matches a pattern: `*` is any text, `?` any byte.
pub(crate) fn matches(glob: &str, path: &[u8]) -> bool {
    let last = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    like(glob.as_bytes(), path) || like(glob.as_bytes(), last)
}

fn like(glob: &[u8], text: &[u8]) -> bool {
    let (mut at_glob, mut at) = (0, 0);
    // Where the last star was, and what it stands for ends.
    let mut star: Option<(usize, usize)> = None;
    while at < text.len() {
        match glob.get(at_glob) {
            Some(b'*') => {
                star = Some((at_glob, at));
                at_glob += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[at] => {
                at_glob += 1;
                at += 1;
            }
            _ => match star {
                Some((place, end)) => {
                    star = Some((place, end + 1));
                    (at_glob, at) = (place + 1, end + 1);
                }
                None => return false,
            },
        }
    }
    glob[at_glob..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn patterns() {
        let yes = [
            ("*", "a/b"),
            ("*.wal", "member/wal/0-0.wal"),
            ("member/wal/*", "member/wal/0-0.wal"),
            ("db", "member/snap/db"),
            ("d?", "member/snap/db"),
            ("*a*b*", "xaybz"),
        ];
        for (glob, path) in yes {
            assert!(matches(glob, path.as_bytes()), "{glob} {path}");
        }
        for (glob, path) in [("wal", "wal/x"), ("?", ""), ("*.wal", "a.walx"), ("", "a")] {
            assert!(!matches(glob, path.as_bytes()), "{glob} {path}");
        }
    }

    #[test]
    fn rules_strike_as_often_as_they_say() {
        let rules = Rules::new();
        let rule = |probability, effect| Rule {
            kinds: vec![Kind::Write],
            glob: Some("*.wal".to_owned()),
            probability,
            effect,
        };
        let fail = Effect::Fail { errno: libc::EIO };
        rules.set(vec![rule(0.25, fail)], 1);
        let decide = |kind, path: &str| rules.decide(kind, || path.to_owned()).1;
        let failed = (0..4000).filter(|_| decide(Kind::Write, "a.wal") == Fate::Fail(libc::EIO));
        let failed = failed.count();
        assert!((850..1150).contains(&failed), "{failed}");
        assert_eq!(rules.struck(), failed as u64);
        assert_eq!(decide(Kind::Write, "a"), Fate::Pass);
        assert_eq!(decide(Kind::Read, "a.wal"), Fate::Pass);
        rules.set(Vec::new(), 1);
        assert_eq!(decide(Kind::Write, "a.wal"), Fate::Pass);
        assert_eq!(rules.struck(), 0);
    }

    #[test]
    fn what_stands_still_goes_on_when_the_rules_change() {
        let rules = Rules::new();
        let stall = Rule {
            kinds: vec![Kind::Sync],
            glob: None,
            probability: 1.0,
            effect: Effect::Stall,
        };
        rules.set(vec![stall], 1);
        let (Some(wait), _) = rules.decide(Kind::Sync, || "") else {
            panic!("it stands still");
        };
        let other = Arc::clone(&rules);
        let again = wait.clone();
        let waiter = thread::spawn(move || other.wait(&wait, Fate::Pass));
        thread::sleep(Duration::from_millis(20));
        assert!(!waiter.is_finished());
        rules.set(Vec::new(), 1);
        assert_eq!(waiter.join().expect("no panic"), Fate::Pass);
        // One that is given up is not done.
        rules.give_up();
        assert_eq!(rules.wait(&again, Fate::Pass), Fate::Fail(libc::EIO));
    }
}
