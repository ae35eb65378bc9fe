//! Budgets, memory, and histories that are hard or wide.

use std::sync::atomic::{AtomicUsize, Ordering};

use checkers::budget::{Budget, Exhausted, Steps, Unlimited};
use checkers::linearizability::{Linearizable, Options};
use checkers::{Checker, Feed, Valid, check};
use serde_json::json;
use store::{Event, EventType};

use crate::generate::{Shape, correct};
use crate::support::{Random, dead_end, event, judge, judge_online};

const HARD: Shape = Shape {
    operations: 2_000,
    processes: 60,
    values: 6,
    cas: 40,
    crashes: 2,
    failures: 0,
};

#[test]
fn out_of_budget_is_unknown_and_says_how_far_it_got() {
    let events = correct(HARD, &mut Random(1));
    let budget = Steps::new(5, u64::MAX);
    let mut checker = Linearizable::default();
    assert_eq!(checker.feed(&events, &budget), Feed::Exhausted);
    assert_eq!(checker.feed(&events, &budget), Feed::Exhausted);
    let result = checker.finish(&budget);
    assert_eq!(result.valid, Valid::Unknown);
    let reason = &result.reason;
    for part in [
        "time limit reached",
        "is linearizable up to event",
        "make it easier",
    ] {
        assert!(reason.contains(part), "{reason}");
    }
    assert!(result.details["proved-until-event"].as_u64().unwrap() > 0);
}

/// Elements that are all put into a queue at once come out in an order that nothing hints at before, but
/// for one that nobody put in.
fn exponential() -> Vec<Event> {
    const WIDTH: u64 = 20;
    let mut events = Vec::new();
    let mut say = |process, kind, f: &str, value| {
        events.push(event(events.len() as u64, process, kind, f, value));
    };
    for process in 0..WIDTH {
        say(process, EventType::Invoke, "enqueue", json!(process));
    }
    for process in 0..WIDTH {
        say(process, EventType::Ok, "enqueue", json!(process));
    }
    for at in (0..WIDTH).map(|at| (at * 7 + 3) % WIDTH) {
        let taken = if at == (WIDTH - 1) * 7 % WIDTH {
            99
        } else {
            at
        };
        say(0, EventType::Invoke, "dequeue", json!(null));
        say(0, EventType::Ok, "dequeue", json!(taken));
    }
    events
}

#[test]
fn out_of_memory_is_unknown() {
    let budget = Steps::new(u64::MAX, 1 << 20);
    let mut checker = Linearizable::named("queue", &Options::default()).unwrap();
    let result = check(&mut checker, &exponential(), &budget);
    assert_eq!(result.valid, Valid::Unknown);
    assert!(
        result.reason.contains("memory limit reached"),
        "{}",
        result.reason
    );
}

#[test]
fn the_next_history_is_not_affected() {
    let budget = Steps::new(5, u64::MAX);
    check(
        &mut Linearizable::default(),
        &correct(HARD, &mut Random(1)),
        &budget,
    );
    let easy = Shape {
        processes: 3,
        ..HARD
    };
    let events = correct(easy, &mut Random(2));
    let result = check(&mut Linearizable::default(), &events, &Unlimited);
    assert_eq!(result.valid, Valid::True, "{}", result.reason);
}

/// So many writes, all open at once, then all done; then a read.
fn wide(writes: u64, read: u64) -> Vec<Event> {
    let mut events = Vec::new();
    let mut push = |process, kind, f: &str, value| {
        let index = events.len() as u64;
        events.push(event(index, process, kind, f, value));
    };
    for kind in [EventType::Invoke, EventType::Ok] {
        for process in 0..writes {
            push(process, kind, "write", json!(process));
        }
    }
    push(0, EventType::Invoke, "read", json!(null));
    push(0, EventType::Ok, "read", json!(read));
    events
}

#[test]
fn more_than_64_operations_at_once() {
    for writes in [64, 65, 130] {
        let last = judge(&wide(writes, writes - 1), &Options::default());
        assert_eq!(last.valid, Valid::True, "{writes}: {}", last.reason);
        let first = judge(&wide(writes, 0), &Options::default());
        assert_eq!(first.valid, Valid::True, "{writes}: {}", first.reason);
        let nothing = judge(&wide(writes, writes), &Options::default());
        assert_eq!(nothing.valid, Valid::False, "{writes}: {}", nothing.reason);
    }
}

/// Writes and reads one after the other, of ever changing values.
fn sequential(operations: u64) -> Vec<Event> {
    let mut events = Vec::new();
    for number in 0..operations {
        let (f, value) = if number % 2 == 0 {
            ("write", json!(number % 10))
        } else {
            ("read", json!((number - 1) % 10))
        };
        for kind in [EventType::Invoke, EventType::Ok] {
            let index = events.len() as u64;
            events.push(event(index, number % 3, kind, f, value.clone()));
        }
    }
    events
}

#[test]
fn a_violation_is_still_explained_when_most_was_forgotten() {
    let options = Options {
        remembered: 1_000,
        ..Options::default()
    };
    let mut events = sequential(60_000);
    assert_eq!(judge(&events, &options).valid, Valid::True);
    // The value of four operations ago.
    events.last_mut().unwrap().value = json!(4);
    let result = judge(&events, &options);
    assert_eq!(result.valid, Valid::False, "{}", result.reason);
    assert!(dead_end(&result).minimal);
    assert_eq!(dead_end(&result).sub_history.len(), 4);
}

/// The most that was charged at any time.
#[derive(Default)]
struct Peak {
    held: AtomicUsize,
    peak: AtomicUsize,
}

impl Budget for Peak {
    fn check(&self) -> Result<(), Exhausted> {
        Ok(())
    }

    fn charge(&self, bytes: usize) -> Result<(), Exhausted> {
        let held = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(held, Ordering::Relaxed);
        Ok(())
    }

    fn release(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Reads beside writes of values of which none is written twice; some of the writes crash.
fn unique(writes: u64) -> Vec<Event> {
    let mut events = Vec::new();
    let mut say = |process, kind, f: &str, value| {
        events.push(event(events.len() as u64, process, kind, f, value));
    };
    let value = |number: u64| json!(format!("the value number {number}"));
    for number in 1..=writes {
        if number % 9_000 == 0 {
            say(number, EventType::Invoke, "write", value(number));
            say(number, EventType::Info, "write", value(number));
            continue;
        }
        say(0, EventType::Invoke, "write", value(number));
        say(1, EventType::Invoke, "read", json!(null));
        say(0, EventType::Ok, "write", value(number));
        let is_late = number % 2 == 0 || (number - 1) % 9_000 == 0;
        let seen = if is_late { number } else { number - 1 };
        let seen = if seen == 0 { json!(null) } else { value(seen) };
        say(1, EventType::Ok, "read", seen);
    }
    events
}

#[test]
fn values_that_are_never_seen_again_are_forgotten() {
    let options = Options {
        remembered: 2_000,
        ..Options::default()
    };
    let peak_of = |events: &[Event], valid| {
        let budget = Peak::default();
        let result = check(&mut Linearizable::new(options.clone()), events, &budget);
        assert_eq!(result.valid, valid, "{}", result.reason);
        assert_eq!(budget.held.into_inner(), 0);
        (budget.peak.into_inner(), result)
    };
    let (few, _) = peak_of(&unique(20_000), Valid::True);
    let mut events = unique(160_000);
    let (many, _) = peak_of(&events, Valid::True);
    assert!(many < few * 3 / 2, "{few} {many}");
    // The last two writes, and a read of the one before.
    if let Some(last) = events.last_mut() {
        last.value = json!("the value number 159998");
    }
    let (_, result) = peak_of(&events, Valid::False);
    let seen = json!("the value number 159998");
    let sub_history = &dead_end(&result).operations;
    assert!(sub_history.iter().any(|op| op.value == seen), "{result:?}");
}

#[test]
fn a_violation_is_known_before_the_history_ends() {
    let mut events = sequential(1_000);
    events[500 * 2 + 3].value = json!("never written");
    let mut checker = Linearizable::default();
    let stopped = events
        .iter()
        .position(|event| checker.feed(std::slice::from_ref(event), &Unlimited) == Feed::Violation);
    assert_eq!(stopped, Some(500 * 2 + 3));
    let result = checker.finish(&Unlimited);
    assert_eq!(result.valid, Valid::False);
    assert_eq!(result, judge_online(&events, &Options::default()));
}

#[test]
fn crashed_operations_are_counted() {
    // Each round needs a crashed write of 1, of which there are as many as there are rounds, or one
    // fewer.
    for (crashed, wanted) in [(12, Valid::True), (11, Valid::False)] {
        let mut events = Vec::new();
        let mut push = |process, kind, f: &str, value| {
            let index = events.len() as u64;
            events.push(event(index, process, kind, f, value));
        };
        for process in 0..crashed {
            push(100 + process, EventType::Invoke, "write", json!(1));
            push(100 + process, EventType::Info, "write", json!(1));
        }
        for _ in 0..12 {
            push(0, EventType::Invoke, "write", json!(0));
            push(0, EventType::Ok, "write", json!(0));
            push(0, EventType::Invoke, "read", json!(null));
            push(0, EventType::Ok, "read", json!(1));
        }
        let result = judge(&events, &Options::default());
        assert_eq!(result.valid, wanted, "{crashed}: {}", result.reason);
    }
}
