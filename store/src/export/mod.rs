//! Histories for other tools.
//!
//! Every exporter takes events as they stand, a batch at a time, and remembers no more than the operations that are open (Parquet: and
//! the rows of a group). What it writes as EDN, JSON or JSON lines, [`import`](crate::import) reads back as the same events.

use std::io::{self, Write};

mod lines;
#[cfg(feature = "parquet")]
mod parquet;
mod perfetto;

use crate::batch::Batch;

/// What a history can be written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExportFormat {
    /// One JSON object a line: `history.jsonl`.
    JsonLines,
    /// Jepsen's EDN, an operation's map a line: `history.edn`.
    Edn,
    /// One array of JSON objects.
    Json,
    /// A trace that ui.perfetto.dev and chrome://tracing open: a lane for each process, and one for each fault.
    Perfetto,
    /// A table for data frames and SQL. Only there with the feature `parquet`.
    #[cfg(feature = "parquet")]
    Parquet,
}

impl ExportFormat {
    /// All formats.
    pub const ALL: &'static [ExportFormat] = &[
        ExportFormat::JsonLines,
        ExportFormat::Edn,
        ExportFormat::Json,
        ExportFormat::Perfetto,
        #[cfg(feature = "parquet")]
        ExportFormat::Parquet,
    ];

    /// The name that a person types: `jsonl`, `edn`, `json`, `perfetto`, `parquet`.
    pub fn name(self) -> &'static str {
        match self {
            ExportFormat::JsonLines => "jsonl",
            ExportFormat::Edn => "edn",
            ExportFormat::Json => "json",
            ExportFormat::Perfetto => "perfetto",
            #[cfg(feature = "parquet")]
            ExportFormat::Parquet => "parquet",
        }
    }

    /// Whether it is of no use on a terminal.
    pub fn is_binary(self) -> bool {
        match self {
            #[cfg(feature = "parquet")]
            ExportFormat::Parquet => true,
            _ => false,
        }
    }
}

/// Writes a history.
pub trait Exporter {
    /// Writes the next events.
    ///
    /// # Errors
    /// When they cannot be written. There is no going on after that.
    fn write(&mut self, batch: Batch<'_>) -> io::Result<()>;

    /// Writes what is left at the end of the history, and flushes.
    ///
    /// # Errors
    /// When it cannot be written.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// Begins to write a history. `out` need not be buffered.
///
/// # Errors
/// When nothing can be written.
pub fn exporter<'w>(
    format: ExportFormat,
    out: impl Write + Send + 'w,
) -> io::Result<Box<dyn Exporter + 'w>> {
    Ok(match format {
        ExportFormat::JsonLines => Box::new(lines::JsonLines::new(out)),
        ExportFormat::Edn => Box::new(lines::Edn::new(out)),
        ExportFormat::Json => Box::new(lines::Json::new(out)),
        ExportFormat::Perfetto => Box::new(perfetto::Perfetto::new(out)),
        #[cfg(feature = "parquet")]
        ExportFormat::Parquet => Box::new(parquet::Parquet::new(out)?),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::event::Event;
    use crate::import::{Format, ImportOptions, load_bytes};
    use crate::testing::{any_event, any_history};

    fn export(format: ExportFormat, events: &[Event]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut exporter = exporter(format, &mut bytes).unwrap();
        for events in events.chunks(3) {
            let lines = vec![1; events.len()];
            exporter
                .write(Batch {
                    events,
                    lines: &lines,
                })
                .unwrap();
        }
        exporter.finish().unwrap();
        bytes
    }

    proptest! {
        #[test]
        fn a_history_that_is_exported_and_imported_is_the_same(events in any_history()) {
            for (format, known) in [
                (ExportFormat::JsonLines, Format::JsonLines),
                (ExportFormat::Edn, Format::Edn),
                (ExportFormat::Json, Format::Json),
            ] {
                let bytes = export(format, &events);
                let beginning = crate::import::detect(&bytes);
                prop_assert!(beginning == Some(known) || events.is_empty(), "{beginning:?}");
                let options = ImportOptions::default();
                let read = load_bytes(&bytes, Path::new("h"), Some(known), options).unwrap();
                prop_assert_eq!(read.history.events(), &events[..]);
                prop_assert!(read.notes.is_empty() && read.torn.is_none());
            }
        }

        #[test]
        fn a_trace_is_json_whatever_happened(events in prop::collection::vec(any_event(), 0..20)) {
            let bytes = export(ExportFormat::Perfetto, &events);
            let trace: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert!(trace["traceEvents"].is_array());
        }
    }

    #[test]
    fn nothing_is_a_history_too() {
        for format in ExportFormat::ALL {
            export(*format, &[]);
        }
        assert_eq!(export(ExportFormat::Json, &[]), b"[]\n");
    }
}
