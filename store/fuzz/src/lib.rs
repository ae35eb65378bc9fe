//! What every target asks: reading never panics, reading piece by piece is reading at once, the linter never panics, and what was
//! read is the same again after it was exported.

use std::io::Write;
use std::path::Path;

use store::export::{ExportFormat, exporter};
use store::import::read_each;
use store::{Batch, Event, Flow, Format, ImportOptions, Linter, LoadError, Loaded, Value};
use store::{detect, load_bytes};

/// Reads a text in a format.
pub fn parse(data: &[u8], format: Format) {
    for keyed in [false, true] {
        let options = ImportOptions { keyed };
        let loaded = load_bytes(data, Path::new("x"), Some(format), options);
        if keyed && format != Format::Edn {
            continue;
        }
        piece_by_piece(data, format, options, &loaded);
        if let Ok(loaded) = loaded {
            through_exporters(loaded.history.events());
        }
    }
}

/// Reads a text in the format that it looks like.
pub fn recognise(data: &[u8]) {
    if let Some(format) = detect(data) {
        parse(data, format);
    }
}

/// Reads a text from a file, linting it on the way.
fn piece_by_piece(
    data: &[u8],
    format: Format,
    options: ImportOptions,
    at_once: &Result<Loaded, LoadError>,
) {
    let path = format!("/dev/shm/gainsay-fuzz-{}", std::process::id());
    let path = Path::new(&path);
    let mut file = std::fs::File::create(path).expect("memory is a file system");
    file.write_all(data).expect("there is room");
    let mut linter = Linter::new(3);
    let mut last_line = 0;
    let read = read_each(path, Some(format), options, &mut |batch| {
        assert_eq!(batch.events.len(), batch.lines.len());
        for (_, line) in batch.iter() {
            assert!(line >= last_line);
            last_line = line;
        }
        linter.feed(batch);
        Flow::Continue(())
    });
    match (read, at_once) {
        (Ok(torn), Ok(loaded)) => {
            assert_eq!(torn, loaded.torn);
            for finding in linter.finish().findings {
                assert!(!finding.to_string().is_empty());
            }
        }
        (Err(error), Err(_)) => assert!(!error.to_string().is_empty()),
        (read, at_once) => {
            let at_once = at_once.as_ref().map(|loaded| loaded.torn);
            panic!("piece by piece {read:?}, at once {at_once:?}");
        }
    }
}

fn through_exporters(events: &[Event]) {
    // Decimals are read to within a bit only; the last index stands for none.
    let exact = |event: &Event| {
        event.index != u64::MAX
            && [Some(&event.value), event.key.as_ref(), event.error.as_ref()]
                .into_iter()
                .flatten()
                .all(is_exact)
    };
    for format in ExportFormat::ALL {
        let mut bytes = Vec::new();
        let mut exporter = exporter(*format, &mut bytes).expect("memory can be written");
        let lines = vec![1; events.len()];
        let batch = Batch {
            events,
            lines: &lines,
        };
        exporter.write(batch).expect("memory can be written");
        exporter.finish().expect("memory can be written");
        let format = match format {
            ExportFormat::JsonLines => Format::JsonLines,
            ExportFormat::Json => Format::Json,
            ExportFormat::Edn => Format::Edn,
            _ => continue,
        };
        if !events.iter().all(exact) {
            continue;
        }
        let options = ImportOptions::default();
        match load_bytes(&bytes, Path::new("x"), Some(format), options) {
            Ok(loaded) => assert_eq!(loaded.history.events(), events),
            // Each format has its own limit of nesting, and a key and its value are one deeper in EDN.
            Err(error) => {
                let text = error.to_string();
                let deep = text.contains("nested deeper") || text.contains("recursion limit");
                assert!(deep, "{text}");
            }
        }
    }
}

fn is_exact(value: &Value) -> bool {
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        match value {
            Value::Number(number) if number.is_f64() => return false,
            Value::Array(values) => open.extend(values),
            Value::Object(map) => open.extend(map.values()),
            _ => {}
        }
    }
    true
}
