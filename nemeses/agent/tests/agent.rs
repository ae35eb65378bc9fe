//! The agent as a program: what it leaves behind when it is left alone.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;
use std::time::Duration;

use agent::{Note, Outcome, Request};
use serde_json::{Value, json};

use common::Agent;

/// A look at a process that there is not, with an entry whose undoing leaves a mark.
fn request(mark: &Path) -> Request {
    let entry = json!({"id": "1", "undo": format!("touch {}", mark.display()), "verify": "true", "survives_reboot": false});
    Request {
        id: 7,
        module: "processes".to_owned(),
        request: json!({"pids": "true", "signal": null, "patience_ms": 10}),
        notes: vec![Note {
            id: "1".to_owned(),
            entry: entry.as_object().unwrap().clone(),
        }],
        forget: Vec::new(),
    }
}

#[test]
fn when_its_input_ends_it_undoes_all_and_is_gone() {
    let mut agent = Agent::start("600");
    let mark = agent.folder().join("undone");
    let outcome = agent.ask(&request(&mark));
    assert_eq!(
        outcome,
        Outcome::Done(json!({"state": "absent", "pids": []}))
    );
    assert!(agent.state().join("undo/1.json").exists() && !mark.exists());
    agent.hang_up();
    assert!(agent.ended());
    assert!(mark.exists() && !agent.state().exists());
}

#[test]
fn what_it_starts_in_the_end_is_not_spared_when_memory_is_short() {
    let mut agent = Agent::start("600");
    let mark = agent.folder().join("score");
    let mut request = request(&mark);
    let score = "/proc/self/oom_score_adj";
    let undo = format!(
        "sh -c 'read score <{score}; echo $score >{}'",
        mark.display()
    );
    request.notes[0]
        .entry
        .insert("undo".to_owned(), undo.into());
    agent.ask(&request);
    agent.hang_up();
    assert!(agent.ended());
    let ours = fs::read_to_string(score).unwrap();
    assert_eq!(fs::read_to_string(mark).unwrap().trim(), ours.trim());
}

#[test]
fn when_nobody_speaks_to_it_any_more_it_does_the_same() {
    let mut agent = Agent::start("1");
    let mark = agent.folder().join("undone");
    agent.ask(&request(&mark));
    // A sign of life now and then renews the lease.
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(400));
        let alive = Request {
            module: agent::ALIVE.to_owned(),
            request: Value::Null,
            notes: Vec::new(),
            ..request(&mark)
        };
        assert_eq!(agent.ask(&alive), Outcome::Done(Value::Null));
    }
    assert!(!mark.exists());
    assert!(agent.ended());
    assert!(mark.exists() && !agent.state().exists());
}

#[test]
fn what_was_taken_back_is_not_undone_again() {
    let mut agent = Agent::start("600");
    let mark = agent.folder().join("undone");
    agent.ask(&request(&mark));
    let back = Request {
        notes: Vec::new(),
        forget: vec!["1".to_owned()],
        ..request(&mark)
    };
    agent.ask(&back);
    assert!(!agent.state().join("undo/1.json").exists());
    agent.hang_up();
    assert!(agent.ended());
    assert!(!mark.exists());
}

#[test]
fn what_cannot_be_written_down_or_is_not_known_is_not_done() {
    let mut agent = Agent::start("600");
    let mark = agent.folder().join("undone");
    let unknown = Request {
        module: "magic".to_owned(),
        ..request(&mark)
    };
    assert!(matches!(agent.ask(&unknown), Outcome::NotDone(why) if why.contains("magic")));
    let refused = Request {
        request: json!({"pids": 1}),
        ..request(&mark)
    };
    assert!(matches!(agent.ask(&refused), Outcome::NotDone(_)));
    assert!(!agent.state().join("undo/1.json").exists());
    fs::write(agent.state().join("undo"), "in the way").ok();
    let _ = fs::remove_dir_all(agent.state().join("undo"));
    fs::write(agent.state().join("undo"), "in the way").unwrap();
    assert!(matches!(agent.ask(&request(&mark)), Outcome::NotWritten(_)));
}
