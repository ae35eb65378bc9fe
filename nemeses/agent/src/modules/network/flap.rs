//! Rules that are in force by turns.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::netlink::Socket;
use super::table::Table;

/// Puts a table's rules out of force and into it again, until it is dropped.
pub(super) struct Flapper {
    /// Its end is the sign to stop.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Flapper {
    /// Begins with rules that are in force. `turn` hears before each change whether they will be.
    pub(super) fn start(
        table: &Table,
        period_ms: u64,
        turn: impl Fn(bool) + Send + 'static,
    ) -> Flapper {
        let table = table.clone();
        let half = Duration::from_micros((period_ms * 500).max(1000));
        let (stop, stopped) = channel::<()>();
        let thread = thread::spawn(move || {
            let Ok(mut kernel) = Socket::new() else {
                return;
            };
            let (mut on, mut next) = (true, Instant::now() + half);
            while let Err(RecvTimeoutError::Timeout) =
                stopped.recv_timeout(next.saturating_duration_since(Instant::now()))
            {
                on = !on;
                next += half;
                turn(on);
                // A table that somebody else deleted has nothing to be put into force.
                if table.switch(&mut kernel, on).is_err() {
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
