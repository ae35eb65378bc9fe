//! Histories that are damaged in every way that one byte can be: reading them is an answer or an error, and never a panic.

#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;

use proptest::prelude::*;
use store::export::{ExportFormat, exporter};
use store::{Batch, Event, Format, ImportOptions, LoadError, Loaded, load_bytes};

const JSON_LINES: &str = r#"{"index":0,"time":1,"process":3,"type":"invoke","f":"cas","key":7,"value":[1,-2]}
{"process":"nemesis/kill","type":"ok","f":"start","value":{"n1":["x\u00e9",1.5e3,true]},"error":["timeout","é"],"node":"n1"}

{"process":3,"type":"info","f":"cas"}"#;

const JSON: &str = r#"[{"index":0,"process":3,"type":"invoke","f":"cas","value":[1,-2]},
 {"process":3,"type":"ok","f":"cas","value":{"a}":["\"]"]}} ]"#;

const EDN: &str = "; a comment\n{:index 0, :time 7, :type :invoke, :process 1, :f :write, :value [7 nil], :keyed true}
#jepsen.history.Op{:index 6 :type :info :process :nemesis :f :kill/start :event :fail :value #{1 \"é\\u00e9\"} :error [:timeout 1.5M]}
{:type :ok :process 1 :f write :value #jepsen.independent.Tuple[7 (1/3 0x1f \\a)] #_ 3 ^:m :x {2 nil}} {:type :in";

const LOG: &str = "2021-02-26 11:42:48,806{GMT}\tINFO\t[jepsen worker 1] jepsen.util: 1\t:invoke\t:txn\t[[:r 1 nil]]
INFO  jepsen.util - 4\t:invoke\t:cas\t[1 0]
INFO  jepsen.util - 4\t:fail\t:cas\t[1 0]\nother things\nINFO  jepsen.util - 0\t:info\t:write\t:timed-out\n";

const TEXT: &str = "0\t:invoke\t:txn\t[[:r 1 nil]]\n:nemesis\t:info\t:start\t{\"n1\" #{\"n2\"}}
0\t:info\t:txn\t[[:r 1 nil]]\t[:timeout read\ntimed out]\n";

const PLUME: &str =
    "w(3,7,0,12)\nr(4,0,1,12)\nw(3,8,1,-1)\r\n\nr(-4,5, 0, 12)\nw(1,123456789012345678,0,0)";

const AWDIT: &str = "w 3 7\nr 4 1\r\n-----\nw 3 123456789012345678\n\n=====\nr -3 8";

const SAMPLES: [(Format, &str); 7] = [
    (Format::JsonLines, JSON_LINES),
    (Format::Json, JSON),
    (Format::Edn, EDN),
    (Format::JepsenLog, LOG),
    (Format::JepsenText, TEXT),
    (Format::Plume, PLUME),
    (Format::Awdit, AWDIT),
];

/// Reads a text in a format and in the one that it looks like. What is read must be written again without a panic.
fn read(bytes: &[u8], format: Format) -> Result<Loaded, LoadError> {
    for format in [Some(format), None] {
        for keyed in [false, true] {
            let options = ImportOptions { keyed };
            if let Ok(loaded) = load_bytes(bytes, Path::new("x"), format, options) {
                through_exporters(loaded.history.events());
            }
        }
    }
    load_bytes(
        bytes,
        Path::new("x"),
        Some(format),
        ImportOptions::default(),
    )
}

fn through_exporters(events: &[Event]) {
    let lines = vec![1; events.len()];
    for (format, known) in [
        (ExportFormat::JsonLines, Some(Format::JsonLines)),
        (ExportFormat::Edn, Some(Format::Edn)),
        (ExportFormat::Json, Some(Format::Json)),
        (ExportFormat::Perfetto, None),
    ] {
        let mut bytes = Vec::new();
        let mut exporter = exporter(format, &mut bytes).unwrap();
        let lines = &lines;
        exporter.write(Batch { events, lines }).unwrap();
        exporter.finish().unwrap();
        let options = ImportOptions::default();
        let Some(known) = known else { continue };
        let back = load_bytes(&bytes, Path::new("x"), Some(known), options).unwrap();
        assert_eq!(back.history.events().len(), events.len());
    }
}

#[test]
fn the_samples_are_histories() {
    for (format, text) in SAMPLES {
        let loaded = read(text.as_bytes(), format).unwrap_or_else(|error| panic!("{error}"));
        assert!(loaded.history.events().len() > 1 || format.is_of_sessions());
        assert_eq!(store::detect(text.as_bytes()), Some(format));
    }
}

#[test]
fn every_byte_may_be_anything() {
    for (format, text) in SAMPLES {
        let mut bytes = text.as_bytes().to_vec();
        for at in 0..bytes.len() {
            let was = bytes[at];
            for now in [
                0,
                b'\n',
                b'"',
                b'\\',
                b'{',
                b'}',
                b'[',
                b']',
                b':',
                b'-',
                b'9',
                was ^ 1,
                was ^ 0x80,
            ] {
                bytes[at] = now;
                let _ = read(&bytes, format);
            }
            bytes[at] = was;
        }
    }
}

#[test]
fn every_byte_may_be_missing_or_the_last_or_there_twice() {
    for (format, text) in SAMPLES {
        let bytes = text.as_bytes();
        for at in 0..bytes.len() {
            let (before, after) = bytes.split_at(at);
            let _ = read(before, format);
            let _ = read(after, format);
            let _ = read(&[before, &after[1..]].concat(), format);
            let _ = read(&[before, &after[..1], after].concat(), format);
        }
    }
}

/// What fuzzing found.
#[test]
fn what_was_found_once_is_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/found");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        for format in Format::ALL {
            let _ = read(&bytes, format);
        }
        count += 1;
    }
    assert!(count > 0);
}

proptest! {
    #[test]
    fn pieces_of_one_may_stand_in_another(
        one in prop::sample::select(&SAMPLES[..]),
        other in prop::sample::select(&SAMPLES[..]),
        cuts in any::<[prop::sample::Index; 4]>(),
    ) {
        let (to, from) = (one.1.as_bytes(), other.1.as_bytes());
        let mut cut = [cuts[0].index(to.len()), cuts[1].index(to.len())];
        cut.sort_unstable();
        let mut piece = [cuts[2].index(from.len()), cuts[3].index(from.len())];
        piece.sort_unstable();
        let mixed = [&to[..cut[0]], &from[piece[0]..piece[1]], &to[cut[1]..]].concat();
        let _ = read(&mixed, one.0);
    }
}
