//! The thread that writes.

use std::fs::File;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::{Observer, RecordError, Shared, Summary};
use crate::event::Event;
use crate::jsonl::write_event;

/// How long the writer waits for company after the first event of a batch. Without it a busy run
/// would wake the writer, and pay for a system call, for every few events.
const LINGER: Duration = Duration::from_millis(1);

/// Emptied chunks that are kept: enough for the linger at a million events a second.
const SPARE_CHUNKS_MAX: usize = 8;

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    /// `None` when recording to memory, and after a write error.
    pub(super) file: Option<File>,
    pub(super) observers: Vec<Box<dyn Observer>>,
    pub(super) summary: Summary,
    pub(super) buffer: Vec<u8>,
}

impl Writer {
    pub(super) fn run(mut self) -> Summary {
        // Whatever ends this thread, nobody may wait for it for ever.
        let _gone = Gone(Arc::clone(&self.shared));
        while let Some(mut chunks) = self.next_batch() {
            for chunk in &mut chunks {
                self.write(chunk);
                self.observe(chunk);
                let events = chunk.len() as u64;
                chunk.clear();
                self.shared.lock().written += events;
                self.shared.progress.notify_all();
            }
            let mut state = self.shared.lock();
            let room = SPARE_CHUNKS_MAX.saturating_sub(state.spare.len());
            state.spare.extend(chunks.into_iter().take(room));
        }
        self.sync();
        self.summary.queue_high_water = self.shared.lock().high_water;
        std::mem::take(&mut self.summary)
    }

    /// Waits for events; `None` when the recording is over and nothing is left.
    fn next_batch(&self) -> Option<Vec<Vec<Event>>> {
        let mut state = self.shared.lock();
        while state.queue.is_empty() {
            if state.closed {
                return None;
            }
            state.hurry = false;
            state.writer_idle = true;
            state = self
                .shared
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.writer_idle = false;
        let lingered = self
            .shared
            .work
            .wait_timeout_while(state, LINGER, |state| !state.hurry && !state.closed);
        let mut state = lingered.unwrap_or_else(PoisonError::into_inner).0;
        state.hurry = false;
        Some(std::mem::take(&mut state.queue))
    }

    fn write(&mut self, events: &[Event]) {
        for event in events {
            self.summary.count(event);
        }
        let Some(file) = &mut self.file else { return };
        self.buffer.clear();
        for event in events {
            write_event(&mut self.buffer, event);
        }
        match file.write_all(&self.buffer) {
            Ok(()) => self.summary.bytes += self.buffer.len() as u64,
            Err(error) => {
                let before = self.summary.events - events.len() as u64;
                self.fail(before, error);
            }
        }
    }

    fn sync(&mut self) {
        let wanted = self.shared.lock().sync;
        let Some(file) = self.file.as_ref().filter(|_| wanted) else {
            return;
        };
        if let Err(error) = file.sync_all() {
            self.fail(self.summary.events, error);
        }
    }

    fn fail(&mut self, events: u64, error: io::Error) {
        self.file = None;
        self.shared.lock().error = Some(RecordError::Write {
            path: self.shared.path.clone(),
            events,
            source: Arc::new(error),
        });
    }

    fn observe(&mut self, events: &[Event]) {
        let lost = &mut self.summary.lost_observers;
        self.observers.retain_mut(|observer| {
            // An observer that panicked is never called again, so a broken state is not seen.
            match catch_unwind(AssertUnwindSafe(|| observer.observe(events))) {
                Ok(()) => true,
                Err(panic) => {
                    lost.push(panic_message(&*panic));
                    false
                }
            }
        });
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panicked".to_owned())
}

/// Wakes everyone when the writer's thread ends.
struct Gone(Arc<Shared>);

impl Drop for Gone {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        state.writer_gone = true;
        drop(state);
        self.0.progress.notify_all();
    }
}
