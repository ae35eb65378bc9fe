//! Rules that are in force by turns.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Puts rules out of force and into it again, until it is dropped.
pub(super) struct Flapper {
    /// Its end is the sign to stop.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Flapper {
    /// Begins with rules that are in force. `turn` puts them into force or out of it, and says whether that worked.
    pub(super) fn start(period_ms: u64, turn: impl Fn(bool) -> bool + Send + 'static) -> Flapper {
        let half = Duration::from_micros((period_ms * 500).max(1000));
        let (stop, stopped) = channel::<()>();
        let thread = thread::spawn(move || {
            let (mut on, mut next) = (true, Instant::now() + half);
            while let Err(RecvTimeoutError::Timeout) =
                stopped.recv_timeout(next.saturating_duration_since(Instant::now()))
            {
                on = !on;
                next += half;
                if !turn(on) {
                    return;
                }
            }
        });
        Flapper {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Flapper {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
