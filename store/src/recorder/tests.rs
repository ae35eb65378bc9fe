//! Tests of the recorder: order, prefixes, limits, errors.

#![allow(clippy::unwrap_used)]

use super::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

fn draft(process: u64, kind: EventType) -> Draft {
    Draft::new(Process::Client(process), kind, "read", Value::Null)
}

fn lines(path: &Path) -> Vec<Event> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn collector() -> (Arc<Mutex<Vec<Event>>>, Box<dyn Observer>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let observer = move |events: &[Event]| sink.lock().unwrap().extend_from_slice(events);
    (seen, Box::new(observer))
}

#[test]
fn index_order_file_order_and_time_order_are_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.jsonl");
    let (seen, observer) = collector();
    let options = Options {
        queue_max: 100,
        observers: vec![observer],
    };
    let recorder = Recorder::create(&path, options).unwrap();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for process in 0..8 {
            let recorder = recorder.clone();
            scope.spawn(move || {
                let mut last = None;
                for _ in 0..500 {
                    for kind in [EventType::Invoke, EventType::Ok] {
                        let now = || start.elapsed().as_nanos() as u64;
                        let stamp = recorder.record(now, draft(process, kind));
                        assert!(last < Some(stamp));
                        last = Some(stamp);
                    }
                }
            });
        }
    });
    let summary = recorder.finish().unwrap();
    assert_eq!(
        (summary.events, summary.invoked, summary.ok),
        (8000, 4000, 4000)
    );
    assert!(summary.queue_high_water <= 100);
    let events = lines(&path);
    assert_eq!(summary.bytes, std::fs::metadata(&path).unwrap().len());
    assert!(
        events
            .iter()
            .enumerate()
            .all(|(at, e)| e.index == at as u64)
    );
    assert!(events.windows(2).all(|pair| pair[0].time < pair[1].time));
    assert_eq!(*seen.lock().unwrap(), events);
    assert!(crate::History::new(events).is_ok());
}

#[test]
fn a_clock_that_stands_still_gives_increasing_times() {
    let recorder = Recorder::in_memory(Options::default()).unwrap();
    let times = [5, 5, 3, 9].map(|now| recorder.record(|| now, draft(0, EventType::Invoke)).time);
    assert_eq!(times, [5, 6, 7, 9]);
}

#[test]
fn flush_waits_for_the_file_without_ending_the_recording() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.jsonl");
    let recorder = Recorder::create(&path, Options::default()).unwrap();
    recorder.flush().unwrap();
    for n in 1..4 {
        recorder.record(|| n, draft(n, EventType::Invoke));
        recorder.flush().unwrap();
        assert_eq!(lines(&path).len() as u64, n);
    }
}

#[test]
fn dropping_the_last_handle_writes_what_was_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.jsonl");
    let recorder = Recorder::create(&path, Options::default()).unwrap();
    let other = recorder.clone();
    recorder.record(|| 1, draft(0, EventType::Invoke));
    drop(recorder);
    other.record(|| 2, draft(0, EventType::Ok));
    drop(other);
    assert_eq!(lines(&path).len(), 2);
}

#[test]
fn a_history_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.jsonl");
    std::fs::write(&path, "precious").unwrap();
    let error = Recorder::create(&path, Options::default()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn finishing_twice_says_the_same_and_later_events_are_not_kept() {
    let recorder = Recorder::in_memory(Options::default()).unwrap();
    recorder.record(|| 1, draft(0, EventType::Invoke));
    let summary = recorder.finish().unwrap();
    let late = recorder.record(|| 1, draft(0, EventType::Ok));
    assert_eq!(late, Stamp { index: 1, time: 2 });
    assert_eq!(recorder.clone().finish().unwrap(), summary);
    assert_eq!(summary.events, 1);
    recorder.flush().unwrap();
}

#[test]
fn a_full_disk_is_reported_and_the_recording_goes_on() {
    let (seen, observer) = collector();
    let options = Options {
        queue_max: 10,
        observers: vec![observer],
    };
    // The device that is always full.
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let recorder = Recorder::start(Path::new("/dev/full"), Some(full), options).unwrap();
    for n in 0..1000 {
        recorder.record(|| n, draft(0, EventType::Invoke));
    }
    let error = recorder.flush().unwrap_err();
    assert!(
        error.to_string().contains("/dev/full: No space left"),
        "{error}"
    );
    assert!(recorder.error().is_some());
    recorder.record(|| 0, draft(1, EventType::Invoke));
    assert!(recorder.finish().is_err());
    assert_eq!(seen.lock().unwrap().len(), 1001);
}

#[test]
fn a_full_queue_blocks_recorders_until_there_is_room() {
    let (release, gate) = mpsc::channel::<()>();
    let mut shut = true;
    let observer = move |_: &[Event]| {
        if std::mem::take(&mut shut) {
            gate.recv().unwrap();
        }
    };
    let options = Options {
        queue_max: 4,
        observers: vec![Box::new(observer)],
    };
    let recorder = Recorder::in_memory(options).unwrap();
    for n in 0..4 {
        recorder.record(|| n, draft(n, EventType::Invoke));
    }
    let passed = Arc::new(AtomicBool::new(false));
    let (fifth, flag) = (recorder.clone(), Arc::clone(&passed));
    let blocked = std::thread::spawn(move || {
        fifth.record(|| 9, draft(9, EventType::Invoke));
        flag.store(true, Ordering::SeqCst);
    });
    // However long this takes, the fifth cannot pass before the gate opens.
    std::thread::sleep(Duration::from_millis(20));
    assert!(!passed.load(Ordering::SeqCst));
    assert_eq!(recorder.recorded(), 4);
    release.send(()).unwrap();
    blocked.join().unwrap();
    let summary = recorder.finish().unwrap();
    assert_eq!((summary.events, summary.queue_high_water), (5, 4));
}

#[test]
fn an_observer_that_panics_is_dropped_alone() {
    let (seen, observer) = collector();
    let panics = |_: &[Event]| panic!("out of ideas");
    let options = Options {
        observers: vec![Box::new(panics), observer],
        ..Options::default()
    };
    let recorder = Recorder::in_memory(options).unwrap();
    for n in 0..3 {
        recorder.record(|| n, draft(n, EventType::Invoke));
        recorder.flush().unwrap();
    }
    assert_eq!(recorder.finish().unwrap().lost_observers, ["out of ideas"]);
    assert_eq!(seen.lock().unwrap().len(), 3);
}
