//! A run that goes on, watched.

use std::fs::File;
use std::io::{BufReader, Write};
use std::net::TcpStream;

use serde_json::json;
use store::RunFolder;

use super::client::{Server, chunk, head, results};
use crate::spec::testing::spec;

/// The next event: its name, and its data.
fn event(stream: &mut BufReader<TcpStream>) -> Option<(String, String)> {
    loop {
        let text = String::from_utf8(chunk(stream)?).unwrap();
        let field = |name: &str| {
            let lines = text
                .lines()
                .filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            lines
                .map(|line| line.strip_prefix(' ').unwrap_or(line))
                .collect::<Vec<_>>()
                .join("\n")
        };
        let data = field("data");
        if !data.is_empty() {
            return Some((field("event"), data));
        }
    }
}

/// The folder of a run that has begun.
fn begun(server: &Server) -> RunFolder {
    RunFolder::create(server.root(), "sim-register", &spec("sim", "register")).unwrap()
}

fn watch(server: &Server, folder: &RunFolder) -> BufReader<TcpStream> {
    let mut stream = server.send(&[
        &format!("GET /runs/{}/events HTTP/1.1", folder.id()),
        "Host: localhost",
    ]);
    let (status, headers) = head(&mut stream);
    assert_eq!(
        (status, headers["content-type"].as_str()),
        (200, "text/event-stream")
    );
    stream
}

/// Waits until an event says all of these.
fn until(stream: &mut BufReader<TcpStream>, told: &[&str]) -> String {
    for _ in 0..20 {
        let (name, data) = event(stream).unwrap();
        if name.is_empty() && told.iter().all(|told| data.contains(told)) {
            return data;
        }
    }
    panic!("never told: {told:?}");
}

#[test]
fn what_a_run_does_is_seen_as_it_does_it_until_its_verdict() {
    let server = Server::start();
    let folder = begun(&server);
    let hold = folder.hold().unwrap();
    let mut history = File::create(folder.history_path()).unwrap();
    let mut log = File::create(folder.log_path()).unwrap();
    let mut time = 0;
    let mut say = |process: serde_json::Value, kind: &str, f: &str, more: serde_json::Value| {
        time += 5_000_000;
        let mut line = json!({"time": time, "process": process, "type": kind, "f": f});
        line.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        writeln!(history, "{line}").unwrap();
    };
    let page = server.get(&format!("/runs/{}/live", folder.id()));
    let text = page.text();
    assert!(
        text.contains("data-events=\"events\"")
            && text.contains("<noscript><meta http-equiv=\"refresh\"")
    );
    assert!(text.contains("<script src=\"/live.js\" defer></script>"));

    let (mut first, mut second) = (watch(&server, &folder), watch(&server, &folder));
    until(&mut first, &["<dt>ok</dt><dd>0</dd>", "None at the moment"]);
    for _ in 0..30 {
        say(json!(0), "invoke", "read", json!({}));
        say(json!(0), "ok", "read", json!({}));
    }
    say(json!("nemesis/partition"), "invoke", "start", json!({}));
    say(
        json!("nemesis/partition"),
        "info",
        "start",
        json!({"value": {"targets": ["n1", "n3"]}}),
    );
    say(json!(1), "invoke", "write", json!({}));
    say(
        json!(1),
        "fail",
        "write",
        json!({"error": ["no-leader", "an election"]}),
    );
    writeln!(log, "the network is cut").unwrap();
    let told = [
        "<dt>ok</dt><dd>30</dd>",
        "<dt>failed</dt><dd>1</dd>",
        "partition",
        "n1+n3",
        "no-leader",
        "the network is cut",
    ];
    until(&mut first, &told);
    // Both are told by one.
    until(&mut second, &told);
    say(json!("nemesis/partition"), "invoke", "stop", json!({}));
    say(json!("nemesis/partition"), "ok", "stop", json!({}));
    until(
        &mut first,
        &["None at the moment", "<dt>ok</dt><dd>30</dd>"],
    );

    // One goes; one comes late, and sees all.
    drop(second);
    let mut late = watch(&server, &folder);
    until(&mut late, &["<dt>ok</dt><dd>30</dd>"]);
    folder
        .write_results(&results(json!(false), "a stale read"))
        .unwrap();
    drop(hold);
    for stream in [&mut first, &mut late] {
        let last = loop {
            let (name, data) = event(stream).unwrap();
            if name == "end" {
                break data;
            }
        };
        assert!(
            last.contains("invalid") && last.contains("a stale read"),
            "{last}"
        );
        assert!(event(stream).is_none(), "the stream ends");
    }
    // Whoever asks now is told at once.
    let mut after = watch(&server, &folder);
    assert_eq!(event(&mut after).unwrap().0, "end");
    assert!(
        server
            .get(&format!("/runs/{}/live", folder.id()))
            .text()
            .contains("a stale read")
    );
}

#[test]
fn what_was_done_before_anybody_looked_is_drawn() {
    let server = Server::start();
    let folder = begun(&server);
    let _hold = folder.hold().unwrap();
    let mut history = File::create(folder.history_path()).unwrap();
    // Operations that end in each second; the last one has only begun.
    for (second, count) in [(0_u64, 3_u64), (1, 0), (2, 5), (3, 1)] {
        for at in 0..count {
            let time = second * 1_000_000_000 + at * 1_000_000;
            for kind in ["invoke", "ok"] {
                let line = json!({"time": time, "process": 0, "type": kind, "f": "read"});
                writeln!(history, "{line}").unwrap();
            }
        }
    }
    let text = server
        .get(&format!("/runs/{}/live", folder.id()))
        .text()
        .to_owned();
    assert!(
        text.contains("operations a second in the last two minutes, at most 5"),
        "{text}"
    );
    let line = text.split_once("points=\"").unwrap().1;
    let line = line.split_once('"').unwrap().0;
    assert_eq!(line.split(' ').count(), 3, "{line}");
}

#[test]
fn a_run_that_dies_is_told_to_have_died() {
    let server = Server::start();
    let folder = begun(&server);
    let hold = folder.hold().unwrap();
    let mut stream = watch(&server, &folder);
    // Its history has not even begun.
    until(&mut stream, &["<dt>ok</dt><dd>0</dd>"]);
    drop(hold);
    loop {
        let (name, data) = event(&mut stream).unwrap();
        if name == "end" {
            assert!(
                data.contains("died") && data.contains("gainsay analyze"),
                "{data}"
            );
            break;
        }
    }
}
