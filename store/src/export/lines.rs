//! The formats of one event a line.

use std::io::{self, Write};

use super::Exporter;
use crate::batch::Batch;
use crate::import::write_edn;
use crate::jsonl::write_event;

/// `history.jsonl`.
pub(super) struct JsonLines<W> {
    out: W,
    buffer: Vec<u8>,
}

impl<W> JsonLines<W> {
    pub(super) fn new(out: W) -> JsonLines<W> {
        JsonLines {
            out,
            buffer: Vec::new(),
        }
    }
}

impl<W: Write> Exporter for JsonLines<W> {
    fn write(&mut self, batch: Batch<'_>) -> io::Result<()> {
        self.buffer.clear();
        for event in batch.events {
            write_event(&mut self.buffer, event);
        }
        self.out.write_all(&self.buffer)
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.out.flush()
    }
}

/// `history.edn`.
pub(super) struct Edn<W> {
    out: W,
    buffer: String,
}

impl<W> Edn<W> {
    pub(super) fn new(out: W) -> Edn<W> {
        Edn {
            out,
            buffer: String::new(),
        }
    }
}

impl<W: Write> Exporter for Edn<W> {
    fn write(&mut self, batch: Batch<'_>) -> io::Result<()> {
        self.buffer.clear();
        for event in batch.events {
            write_edn(&mut self.buffer, event);
        }
        self.out.write_all(self.buffer.as_bytes())
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.out.flush()
    }
}

/// An array of JSON.
pub(super) struct Json<W> {
    out: W,
    buffer: Vec<u8>,
    begun: bool,
}

impl<W> Json<W> {
    pub(super) fn new(out: W) -> Json<W> {
        Json {
            out,
            buffer: Vec::new(),
            begun: false,
        }
    }
}

impl<W: Write> Exporter for Json<W> {
    fn write(&mut self, batch: Batch<'_>) -> io::Result<()> {
        self.buffer.clear();
        for event in batch.events {
            self.buffer
                .extend_from_slice(if self.begun { b",\n" } else { b"[\n" });
            self.begun = true;
            write_event(&mut self.buffer, event);
            // The line's own line feed comes after the comma.
            self.buffer.pop();
        }
        self.out.write_all(&self.buffer)
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        let end: &[u8] = if self.begun { b"\n]\n" } else { b"[]\n" };
        self.out.write_all(end)?;
        self.out.flush()
    }
}
