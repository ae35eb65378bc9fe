//! A table of events in Parquet, for data frames and SQL.
//!
//! | column | type | |
//! | --- | --- | --- |
//! | `index` | 64 bits, unsigned | |
//! | `time` | 64 bits, unsigned | nanoseconds since the run began |
//! | `process` | 64 bits, unsigned | null for faults |
//! | `nemesis` | text | the fault; null for clients |
//! | `type` | text | `invoke`, `ok`, `fail`, `info` |
//! | `f` | text | |
//! | `key`, `value`, `error` | text | JSON; null where absent |
//! | `error_class` | text | what to group errors by |
//! | `node` | text | who answered |

use std::io::{self, Write};
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use super::Exporter;
use crate::batch::Batch;
use crate::event::{Event, Process};

const SCHEMA: &str = "
message event {
    REQUIRED INT64 index (INTEGER(64, false));
    REQUIRED INT64 time (INTEGER(64, false));
    OPTIONAL INT64 process (INTEGER(64, false));
    OPTIONAL BYTE_ARRAY nemesis (STRING);
    REQUIRED BYTE_ARRAY type (STRING);
    REQUIRED BYTE_ARRAY f (STRING);
    OPTIONAL BYTE_ARRAY key (STRING);
    OPTIONAL BYTE_ARRAY value (STRING);
    OPTIONAL BYTE_ARRAY error (STRING);
    OPTIONAL BYTE_ARRAY error_class (STRING);
    OPTIONAL BYTE_ARRAY node (STRING);
}";

/// The rows of a group.
const ROWS_MAX: usize = 256 << 10;

/// The bytes of text of a group, at which it is written before it has all its rows.
const TEXT_MAX: usize = 64 << 20;

pub(super) struct Parquet<W: Write + Send> {
    file: SerializedFileWriter<W>,
    index: Vec<i64>,
    time: Vec<i64>,
    process: Optional<i64>,
    nemesis: Optional<ByteArray>,
    kind: Vec<ByteArray>,
    f: Vec<ByteArray>,
    key: Optional<ByteArray>,
    value: Optional<ByteArray>,
    error: Optional<ByteArray>,
    error_class: Optional<ByteArray>,
    node: Optional<ByteArray>,
    /// Bytes of text in these.
    text: usize,
}

/// A column with holes.
struct Optional<T> {
    values: Vec<T>,
    /// For every row whether there is a value.
    there: Vec<i16>,
}

impl<T> Default for Optional<T> {
    fn default() -> Optional<T> {
        Optional {
            values: Vec::new(),
            there: Vec::new(),
        }
    }
}

impl<T> Optional<T> {
    fn push(&mut self, value: Option<T>) {
        self.there.push(i16::from(value.is_some()));
        self.values.extend(value);
    }

    fn clear(&mut self) {
        self.values.clear();
        self.there.clear();
    }
}

impl<W: Write + Send> Parquet<W> {
    pub(super) fn new(out: W) -> io::Result<Parquet<W>> {
        let schema = parse_message_type(SCHEMA).map_err(failed)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(concat!("gainsay ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let file = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties));
        Ok(Parquet {
            file: file.map_err(failed)?,
            index: Vec::new(),
            time: Vec::new(),
            process: Optional::default(),
            nemesis: Optional::default(),
            kind: Vec::new(),
            f: Vec::new(),
            key: Optional::default(),
            value: Optional::default(),
            error: Optional::default(),
            error_class: Optional::default(),
            node: Optional::default(),
            text: 0,
        })
    }

    fn push(&mut self, event: &Event) {
        // The same 64 bits, which the schema says are not signed.
        self.index.push(event.index.cast_signed());
        self.time.push(event.time.cast_signed());
        let (process, nemesis) = match &event.process {
            Process::Client(n) => (Some(n.cast_signed()), None),
            Process::Nemesis(name) => (None, Some(text(name))),
        };
        self.process.push(process);
        self.nemesis.push(nemesis);
        self.kind.push(text(event.kind.as_str()));
        self.f.push(text(&event.f));
        let json = |value: Option<&serde_json::Value>| {
            let json = value.filter(|value| !value.is_null())?.to_string();
            Some(ByteArray::from(json.into_bytes()))
        };
        let (key, value, error) = (
            json(event.key.as_ref()),
            json(Some(&event.value)),
            json(event.error.as_ref()),
        );
        for json in [&key, &value, &error].into_iter().flatten() {
            self.text += json.len();
        }
        self.key.push(key);
        self.value.push(value);
        self.error.push(error);
        self.error_class.push(event.error_class().map(text));
        self.node.push(event.node.as_deref().map(text));
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.file.next_row_group()?;
        column::<_, Int64Type>(&mut group, &self.index, None)?;
        column::<_, Int64Type>(&mut group, &self.time, None)?;
        optional::<_, Int64Type>(&mut group, &mut self.process)?;
        optional::<_, ByteArrayType>(&mut group, &mut self.nemesis)?;
        column::<_, ByteArrayType>(&mut group, &self.kind, None)?;
        column::<_, ByteArrayType>(&mut group, &self.f, None)?;
        for texts in [
            &mut self.key,
            &mut self.value,
            &mut self.error,
            &mut self.error_class,
            &mut self.node,
        ] {
            optional::<_, ByteArrayType>(&mut group, texts)?;
        }
        group.close()?;
        self.index.clear();
        self.time.clear();
        self.kind.clear();
        self.f.clear();
        self.text = 0;
        Ok(())
    }
}

fn column<W: Write + Send, T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
    there: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else {
        return Err(ParquetError::General(
            "the schema has too few columns".to_owned(),
        ));
    };
    column.typed::<T>().write_batch(values, there, None)?;
    column.close()
}

fn optional<W: Write + Send, T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    column_of: &mut Optional<T::T>,
) -> Result<(), ParquetError> {
    column::<W, T>(group, &column_of.values, Some(&column_of.there))?;
    column_of.clear();
    Ok(())
}

impl<W: Write + Send> Exporter for Parquet<W> {
    fn write(&mut self, batch: Batch<'_>) -> io::Result<()> {
        for event in batch.events {
            self.push(event);
            if self.index.len() >= ROWS_MAX || self.text >= TEXT_MAX {
                self.write_group().map_err(failed)?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        if !self.index.is_empty() {
            self.write_group().map_err(failed)?;
        }
        self.file.finish().map_err(failed)?;
        self.file.inner_mut().flush()
    }
}

fn text(text: &str) -> ByteArray {
    ByteArray::from(text.as_bytes().to_vec())
}

fn failed(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::any_event;
    use ::parquet::file::reader::{FileReader, SerializedFileReader};
    use ::parquet::record::RowAccessor;
    use proptest::prelude::*;

    fn write(events: &[Event]) -> SerializedFileReader<std::fs::File> {
        let mut file = tempfile::tempfile().unwrap();
        let mut parquet = Box::new(Parquet::new(&mut file).unwrap());
        let lines = vec![1; events.len()];
        parquet
            .write(Batch {
                events,
                lines: &lines,
            })
            .unwrap();
        parquet.finish().unwrap();
        SerializedFileReader::new(file).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(50))]
        #[test]
        fn every_event_is_a_row(events in prop::collection::vec(any_event(), 1..30)) {
            let reader = write(&events);
            prop_assert_eq!(reader.metadata().file_metadata().num_rows(), events.len() as i64);
            for (row, event) in reader.get_row_iter(None).unwrap().zip(&events) {
                let row = row.unwrap();
                let text = |at: usize| row.get_string(at).ok().cloned();
                prop_assert_eq!(row.get_ulong(0).unwrap(), event.index);
                prop_assert_eq!(row.get_ulong(1).unwrap(), event.time);
                let process = match (row.get_ulong(2).ok(), text(3)) {
                    (Some(n), None) => Process::Client(n),
                    (None, Some(name)) => Process::Nemesis(name.into()),
                    other => panic!("{other:?}"),
                };
                prop_assert_eq!(&process, &event.process);
                prop_assert_eq!(text(4).unwrap(), event.kind.as_str());
                prop_assert_eq!(text(5).unwrap(), &*event.f);
                let json = |at: usize| text(at).map(|text| serde_json::from_str(&text).unwrap());
                prop_assert_eq!(json(6), event.key.clone());
                prop_assert_eq!(json(7).unwrap_or_default(), event.value.clone());
                prop_assert_eq!(json(8), event.error.clone());
                prop_assert_eq!(text(9), event.error_class().map(str::to_owned));
                prop_assert_eq!(text(10), event.node.as_deref().map(str::to_owned));
            }
        }
    }
}
