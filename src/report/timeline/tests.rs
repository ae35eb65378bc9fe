//! What is packed is what there was.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use store::Event;

use super::Builder;
use super::columns::Columns;
use super::payload::{Mark, Wanted, payload};

fn events(lines: &[Value]) -> Vec<Event> {
    let with_place = lines.iter().enumerate().map(|(at, line)| {
        let mut line = line.clone();
        line["index"] = json!(at);
        line["time"] = json!((at as u64 + 1) * 1_000_000);
        serde_json::from_value(line).unwrap()
    });
    with_place.collect()
}

fn columns(events: &[Event], room: usize, keep: &[u64]) -> Columns {
    let mut builder = Builder::new(room, 2, keep);
    for event in events {
        builder.take(event);
    }
    builder.finish()
}

/// Reads a payload as the page does: the header, and each column's numbers.
fn read(payload: &[u8]) -> (Value, Vec<(String, Vec<u64>)>, String) {
    let length = u32::from_le_bytes(payload[..4].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&payload[4..4 + length]).unwrap();
    let mut rest = &payload[4 + length..];
    let mut columns = Vec::new();
    for column in header["columns"].as_array().unwrap() {
        let (stream, after) = rest.split_at(column[1].as_u64().unwrap() as usize);
        rest = after;
        let name = column[0].as_str().unwrap().to_owned();
        if name == "texts" {
            return (header, columns, String::from_utf8(stream.to_vec()).unwrap());
        }
        let mut numbers = Vec::new();
        let (mut number, mut shift) = (0u64, 0);
        for byte in stream {
            number |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                numbers.push(number);
                (number, shift) = (0, 0);
            }
        }
        columns.push((name, numbers));
    }
    panic!("no texts");
}

fn all(most: usize) -> Wanted {
    Wanted {
        to: u64::MAX,
        most,
        ..Wanted::default()
    }
}

fn column<'a>(columns: &'a [(String, Vec<u64>)], name: &str) -> &'a [u64] {
    &columns.iter().find(|(one, _)| one == name).unwrap().1
}

/// Two clients; the first gives up, and goes on as process 2.
fn small() -> Vec<Event> {
    events(&[
        json!({"process": 0, "type": "invoke", "f": "write", "key": 7, "value": 1}),
        json!({"process": 1, "type": "invoke", "f": "read", "key": 7, "value": null}),
        json!({"process": 0, "type": "info", "f": "write", "key": 7, "value": 1, "error": ["timeout", "no answer"]}),
        json!({"process": 2, "type": "invoke", "f": "read", "key": 8, "value": null}),
        json!({"process": 1, "type": "ok", "f": "read", "key": 7, "value": 1, "node": "n1"}),
        json!({"process": "nemesis/kill", "type": "invoke", "f": "start", "value": null}),
        json!({"process": 2, "type": "fail", "f": "read", "key": 8, "value": null, "error": "nobody"}),
        json!({"process": 1, "type": "invoke", "f": "write", "key": 7, "value": 3}),
    ])
}

#[test]
fn a_payload_says_what_the_history_says() {
    let (header, numbers, texts) =
        read(&payload(&columns(&small(), 1000, &[]), &all(100), &[], &[]));
    assert_eq!(header["total"], 4);
    assert_eq!(header["length"], 8000);
    assert_eq!(header["functions"], json!(["write", "read"]));
    assert_eq!(header["keys"], json!(["7", "8"]));
    assert_eq!(header["errors"], json!(["timeout: no answer", "nobody"]));
    // Process 2 goes on in the lane of process 0.
    assert_eq!(header["processes"], json!([[0, 0], [1, 1], [2, 0]]));
    assert_eq!(column(&numbers, "start"), [1000, 1000, 2000, 4000]);
    assert_eq!(column(&numbers, "duration"), [2000, 3000, 3000, 0]);
    assert_eq!(column(&numbers, "invoke"), [0, 1, 2, 4]);
    assert_eq!(column(&numbers, "complete"), [2, 3, 3, 0]);
    assert_eq!(column(&numbers, "outcome"), [2, 0, 1, 2]);
    assert_eq!(column(&numbers, "error"), [1, 0, 2, 0]);
    assert_eq!(texts, "1null\u{1f}1null3");
    assert_eq!(column(&numbers, "value"), [1, 6, 4, 1]);
}

#[test]
fn filters_and_windows_leave_the_rest_out() {
    let columns = columns(&small(), 1000, &[]);
    let total = |wanted: Wanted| {
        read(&payload(&columns, &wanted, &[], &[])).0["total"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(
        total(Wanted {
            key: Some("8".into()),
            ..all(9)
        }),
        1
    );
    assert_eq!(
        total(Wanted {
            f: Some("write".into()),
            ..all(9)
        }),
        2
    );
    assert_eq!(
        total(Wanted {
            process: Some(1),
            ..all(9)
        }),
        2
    );
    assert_eq!(
        total(Wanted {
            outcomes: 0b011,
            ..all(9)
        }),
        2
    );
    // What reaches into a window belongs to it.
    assert_eq!(
        total(Wanted {
            from: 4500,
            to: 6000,
            ..all(9)
        }),
        2
    );
}

#[test]
fn of_too_many_operations_those_stay_that_matter() {
    let mut lines = Vec::new();
    for n in 0..100 {
        lines.push(json!({"process": 0, "type": "invoke", "f": "write", "value": n}));
        let kind = if n == 50 { "fail" } else { "ok" };
        lines.push(json!({"process": 0, "type": kind, "f": "write", "value": n}));
    }
    let events = events(&lines);
    let mark = Mark {
        title: "lost".into(),
        events: vec![21, 22],
        culprit: None,
    };
    // Room for ten values of one digit, and ten of those that matter.
    let columns = columns(&events, 10, &mark.events);
    let (header, numbers, texts) = read(&payload(&columns, &all(20), &[], &[mark]));
    assert_eq!(
        (header["total"].as_u64(), header["carried"].as_u64()),
        (Some(100), Some(20))
    );
    let mut sum = 0;
    let invokes: Vec<u64> = column(&numbers, "invoke")
        .iter()
        .map(|by| {
            sum += by;
            sum
        })
        .collect();
    for mattering in [20, 22, 100] {
        assert!(invokes.contains(&mattering), "{invokes:?}");
    }
    assert!(texts.ends_with("101150"), "{texts}");
}

#[test]
fn what_was_not_invoked_is_an_operation_by_itself() {
    let mut events = events(&[
        json!({"process": 0, "type": "ok", "f": "txn", "value": [["w", 1, 1]]}),
        json!({"process": 1, "type": "ok", "f": "txn", "value": [["r", 1, 1]]}),
        json!({"process": 0, "type": "fail", "f": "txn", "value": [["w", 1, 2]]}),
    ]);
    for event in &mut events {
        event.time = 0;
    }
    let columns = columns(&events, 1 << 20, &[1]);
    assert_eq!(columns.len(), 3);
    assert_eq!(columns.of_event(1), Some(1));
    assert_eq!(columns.lanes, [0, 1]);
    let spans: Vec<(u64, u64)> = columns
        .start
        .iter()
        .copied()
        .zip(columns.end.iter().copied())
        .collect();
    assert_eq!(
        spans,
        [
            (0, 1_000_000),
            (1_000_000, 2_000_000),
            (2_000_000, 3_000_000)
        ]
    );
    assert_eq!(columns.text(2), r#"[["w",1,2]]"#);
}
