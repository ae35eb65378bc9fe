//! Events on their way out of a file: some hundred at a time, so that they stay in the processor's caches.

use std::ops::ControlFlow;

use crate::event::Event;

/// Some events of a file, in order.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// The events.
    pub events: &'a [Event],
    /// For each, the line of the file that it begins in, from 1.
    pub lines: &'a [u64],
}

impl<'a> Batch<'a> {
    /// The events with their lines.
    pub fn iter(self) -> impl Iterator<Item = (&'a Event, u64)> {
        self.events.iter().zip(self.lines.iter().copied())
    }
}

/// Whether to go on reading.
pub type Flow = ControlFlow<()>;

/// Events that are handed on at once.
const BATCH: usize = 256;

/// Makes batches of single events.
pub(crate) struct Batcher<'a> {
    events: Vec<Event>,
    lines: Vec<u64>,
    take: &'a mut dyn FnMut(Batch<'_>) -> Flow,
}

impl<'a> Batcher<'a> {
    pub(crate) fn new(take: &'a mut dyn FnMut(Batch<'_>) -> Flow) -> Batcher<'a> {
        Batcher {
            events: Vec::with_capacity(BATCH),
            lines: Vec::with_capacity(BATCH),
            take,
        }
    }

    pub(crate) fn push(&mut self, event: Event, line: u64) -> Flow {
        self.events.push(event);
        self.lines.push(line);
        match self.events.len() < BATCH {
            true => Flow::Continue(()),
            false => self.flush(),
        }
    }

    /// Hands on what there is.
    pub(crate) fn flush(&mut self) -> Flow {
        if self.events.is_empty() {
            return Flow::Continue(());
        }
        let flow = (self.take)(Batch {
            events: &self.events,
            lines: &self.lines,
        });
        self.events.clear();
        self.lines.clear();
        flow
    }
}
