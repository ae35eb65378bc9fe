//! By which clock each timer of a process goes. The C library does not tell, so it is kept when they are made.

use core::sync::atomic::{AtomicUsize, Ordering};

/// How many timers are known at once. Of more it is not known by which clock they go.
const MOST: usize = 256;

/// Timers, and their clocks: the timer's number plus 1, or 0; then the clock.
#[cfg_attr(not(any(test, feature = "preload")), allow(dead_code))]
pub(crate) struct Timers([(AtomicUsize, AtomicUsize); MOST]);

#[cfg_attr(not(any(test, feature = "preload")), allow(dead_code))]
impl Timers {
    pub(crate) const fn new() -> Timers {
        Timers([const { (AtomicUsize::new(0), AtomicUsize::new(0)) }; MOST])
    }

    /// Keeps a new timer.
    pub(crate) fn keep(&self, timer: usize, clock: i32) {
        // A child that was forked has its parent's here, and none.
        self.forget(timer);
        let key = timer.wrapping_add(1);
        for (place, its_clock) in &self.0 {
            let taken = place.compare_exchange(0, usize::MAX, Ordering::Acquire, Ordering::Relaxed);
            if taken.is_ok() {
                its_clock.store(clock as usize, Ordering::Relaxed);
                place.store(key, Ordering::Release);
                return;
            }
        }
    }

    /// Forgets one that is about to go.
    pub(crate) fn forget(&self, timer: usize) {
        let key = timer.wrapping_add(1);
        let mut places = self.0.iter();
        if let Some((place, _)) = places.find(|(place, _)| place.load(Ordering::Relaxed) == key) {
            place.store(0, Ordering::Release);
        }
    }

    /// By which clock one goes, if it is known.
    pub(crate) fn clock_of(&self, timer: usize) -> Option<i32> {
        let key = timer.wrapping_add(1);
        let mut places = self.0.iter();
        let (_, clock) = places.find(|(place, _)| place.load(Ordering::Acquire) == key)?;
        Some(clock.load(Ordering::Relaxed) as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_timer_has_its_clock_until_it_goes() {
        let timers = Timers::new();
        timers.keep(0, 1);
        timers.keep(7, 0);
        assert_eq!((timers.clock_of(0), timers.clock_of(7)), (Some(1), Some(0)));
        timers.keep(7, 11);
        timers.forget(0);
        assert_eq!((timers.clock_of(0), timers.clock_of(7)), (None, Some(11)));
        // Of too many some are not known, and room is used again.
        (100..100 + MOST).for_each(|timer| timers.keep(timer, 3));
        assert_eq!(timers.clock_of(99 + MOST), None);
        timers.forget(100);
        timers.keep(99 + MOST, 2);
        assert_eq!(timers.clock_of(99 + MOST), Some(2));
    }
}
