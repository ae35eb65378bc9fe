//! The checker with monitors and without, on histories whose values are mostly unique.

use std::collections::BTreeSet;

use checkers::budget::{Steps, Unlimited};
use checkers::linearizability::models::{Call, Model, Monitored, Role, Values};
use checkers::linearizability::monitors::set::SetKind;
use checkers::linearizability::{Linearizable, Options, verify};
use checkers::{CheckResult, Checker, Feed, Valid, check};
use serde_json::{Value, json};
use store::{Event, EventType};

use crate::models::{
    correct_by, is_linearizable, judge_as, mutate, replay_orders, without_meaningless_refusals,
};
use crate::support::{Random, cases, dead_end, event};

/// The models that monitors know.
const KNOWN: [&str; 10] = [
    "register",
    "map",
    "set",
    "multiset",
    "counter",
    "unordered-queue",
    "queue",
    "stack",
    "priority-queue",
    "min-priority-queue",
];

/// What is called next.
struct Calls {
    model: &'static str,
    /// How many values there were.
    fresh: u64,
    /// How often, in percent, a value is one that there was.
    repeats: u64,
    /// Whether sets are read as a whole, and not taken from.
    whole: bool,
}

impl Calls {
    fn new(model: &'static str, random: &mut Random) -> Calls {
        Calls {
            model,
            fresh: 0,
            repeats: [0, 0, 0, 20][random.below(4) as usize],
            whole: random.percent(40),
        }
    }

    fn value(&mut self, random: &mut Random) -> u64 {
        if self.fresh > 0 && random.percent(self.repeats) {
            return self.old(random);
        }
        self.fresh += 1;
        // Neither ascending nor descending, for those that sort, and different.
        (self.fresh - 1) * 37 % 101 + (self.fresh - 1) / 101 * 101
    }

    /// A value of late.
    fn old(&self, random: &mut Random) -> u64 {
        let number = self.fresh.saturating_sub(1 + random.below(4));
        number * 37 % 101 + number / 101 * 101
    }

    fn next(&mut self, random: &mut Random) -> (&'static str, Value) {
        let pick = random.below(10);
        match self.model {
            "register" | "map" => {
                let names = match self.model {
                    "map" => ["get", "put"],
                    _ => ["read", "write"],
                };
                match pick {
                    0..4 => (names[0], Value::Null),
                    4..8 => (names[1], self.value(random).into()),
                    _ => ("cas", json!([self.old(random), self.value(random)])),
                }
            }
            "set" | "multiset" if self.whole => match pick {
                0..6 => ("add", self.value(random).into()),
                _ => ("read", Value::Null),
            },
            "set" | "multiset" => match pick {
                0..4 => ("add", self.value(random).into()),
                4..7 => ("remove", self.old(random).into()),
                _ => ("contains", self.old(random).into()),
            },
            "counter" => match pick {
                0..5 => (
                    "add",
                    json!(2 - i64::from(random.percent(self.repeats / 4))),
                ),
                _ => ("read", Value::Null),
            },
            model => {
                let names = match model {
                    "stack" => ["push", "pop"],
                    "queue" | "unordered-queue" => ["enqueue", "dequeue"],
                    _ => ["insert", "poll"],
                };
                match pick {
                    0..5 => (names[0], self.value(random).into()),
                    5..9 => (names[1], Value::Null),
                    _ => ("peek", Value::Null),
                }
            }
        }
    }
}

fn history(
    model: &'static str,
    operations: u64,
    width: u64,
    spoil: u64,
    random: &mut Random,
) -> Vec<Event> {
    let mut calls = Calls::new(model, random);
    let next = |random: &mut Random| calls.next(random);
    let mut events = correct_by(operations, width, model, &Value::Null, random, next);
    if random.percent(spoil) {
        mutate(model, &mut events, random);
        without_meaningless_refusals(model, &mut events);
    }
    events
}

fn options(ration: Option<u64>) -> Options {
    Options {
        ration,
        ..Options::default()
    }
}

fn print(events: &[Event]) -> String {
    let lines = events
        .iter()
        .map(|event| serde_json::to_string(event).unwrap() + "\n");
    lines.collect()
}

/// How many objects a monitor decided.
fn by_monitors(result: &CheckResult) -> u64 {
    let count = result.details.get("decided-by-monitors");
    count.map_or(0, |count| count.as_u64().unwrap())
}

/// The verdict event by event, and whether a violation was known before the last.
fn online(model: &str, events: &[Event], options: &Options) -> (CheckResult, bool) {
    let mut checker = Linearizable::named(model, options).unwrap();
    let mut known = false;
    for (at, event) in events.iter().enumerate() {
        let feed = checker.feed(std::slice::from_ref(event), &Unlimited);
        known |= feed == Feed::Violation && at + 1 < events.len();
    }
    (checker.finish(&Unlimited), known)
}

/// Small histories against the oracle, with a monitor asked at every operation.
fn agrees_with_the_oracle(model: &'static str) {
    let (mut verdicts, mut asked, mut early) = ([0u64; 2], 0, 0);
    for case in 0..cases(600) {
        let mut random = Random(case);
        let (operations, width) = (2 + random.below(8), 1 + random.below(4));
        let events = history(model, operations, width, 60, &mut random);
        if events.is_empty() {
            continue;
        }
        let expected = is_linearizable(model, &events, &Value::Null);
        let wanted = if expected { Valid::True } else { Valid::False };
        let options = Options {
            witness: true,
            ..options(Some(0))
        };
        let result = judge_as(model, &events, &options);
        let told = || format!("{model} case {case}: {}\n{}", result.reason, print(&events));
        assert_eq!(result.valid, wanted, "{}", told());
        let (followed, known) = online(model, &events, &options);
        assert_eq!(followed.valid, wanted, "online: {}", told());
        assert!(!(known && expected), "online: {}", told());
        if expected {
            replay_orders(model, &events, &result, &Value::Null);
        }
        verdicts[usize::from(expected)] += 1;
        asked += u64::from(by_monitors(&result) > 0);
        early += u64::from(known);
    }
    // All of it must be common, or the test says little.
    let all: u64 = verdicts.iter().sum();
    let said = format!("{model}: {verdicts:?}, {asked} by monitors, {early} early");
    eprintln!("{said}");
    assert!(verdicts.iter().all(|count| count * 12 > all), "{said}");
    assert!(asked * 4 > all && early * 50 > all, "{said}");
}

/// Histories that are too long for the oracle, with the search alone and with monitors, asked soon or late.
fn agrees_with_the_search(model: &'static str) {
    let (mut verdicts, mut asked) = ([0u64; 2], 0);
    for case in 0..cases(40) {
        let mut random = Random(case);
        let (operations, width) = (20 + random.below(60), 2 + random.below(4));
        let events = history(model, operations, width, 40, &mut random);
        let results = [None, Some(0), Some(1), Some(8)].map(|ration| {
            let mut checker = Linearizable::named(model, &options(ration)).unwrap();
            let result = check(&mut checker, &events, &Steps::new(100, 1 << 28));
            if result.valid == Valid::False {
                verify(dead_end(&result), &events, &options(ration)).unwrap();
            }
            result
        });
        let mut known: Vec<Valid> = results.iter().map(|result| result.valid).collect();
        known.retain(|valid| *valid != Valid::Unknown);
        known.dedup();
        let told = results.each_ref().map(|result| &result.reason);
        assert!(
            known.len() < 2,
            "{model} case {case}: {told:?}\n{}",
            print(&events)
        );
        if let Some(valid) = known.first() {
            verdicts[usize::from(*valid == Valid::True)] += 1;
        }
        asked += u64::from(results.iter().any(|result| by_monitors(result) > 0));
    }
    let said = format!("{model}: {verdicts:?}, {asked} by monitors");
    eprintln!("{said}");
    let all: u64 = verdicts.iter().sum();
    assert!(
        verdicts.iter().all(|count| count * 12 > all) && asked * 4 > all,
        "{said}"
    );
}

#[test]
fn monitors_agree_with_the_oracle() {
    KNOWN.into_iter().for_each(agrees_with_the_oracle);
}

#[test]
fn monitors_agree_with_the_search() {
    KNOWN.into_iter().for_each(agrees_with_the_search);
}

/// Elements are put into a queue, all at once, so that any order is possible, and come out in one; round
/// after round. The search would keep all orders.
fn rounds(count: u64) -> Vec<Event> {
    const WIDTH: u64 = 12;
    let mut events = Vec::new();
    let mut say = |process, kind, f: &str, value| {
        events.push(event(events.len() as u64, process, kind, f, value));
    };
    for round in 0..count {
        for kind in [EventType::Invoke, EventType::Ok] {
            for process in 0..WIDTH {
                say(process, kind, "enqueue", json!(round * WIDTH + process));
            }
        }
        for at in (0..WIDTH).map(|at| (at * 7 + 3) % WIDTH) {
            say(0, EventType::Invoke, "dequeue", json!(null));
            say(0, EventType::Ok, "dequeue", json!(round * WIDTH + at));
        }
    }
    events
}

/// A stack: everything goes in at once, and comes out in an order that the search would have to guess.
#[test]
fn orders_of_stacks_are_made_by_their_monitor() {
    const WIDTH: u64 = 14;
    let mut events = Vec::new();
    let mut say = |process, kind, f: &str, value| {
        events.push(event(events.len() as u64, process, kind, f, value));
    };
    for round in 0..40 {
        for kind in [EventType::Invoke, EventType::Ok] {
            for process in 0..WIDTH {
                say(process, kind, "push", json!(round * WIDTH + process));
            }
        }
        for at in (0..WIDTH).map(|at| (at * 5 + 2) % WIDTH) {
            say(0, EventType::Invoke, "pop", json!(null));
            say(0, EventType::Ok, "pop", json!(round * WIDTH + at));
        }
    }
    let asked = Options {
        witness: true,
        ..Options::default()
    };
    let mut checker = Linearizable::named("stack", &asked).unwrap();
    let ordered = check(&mut checker, &events, &Steps::new(300, 1 << 28));
    replay_orders("stack", &events, &ordered, &Value::Null);
}

#[test]
fn what_is_too_wide_for_the_search_is_left_to_a_monitor() {
    let mut events = rounds(60);
    let judge = |events: &[Event], ration| {
        let mut checker = Linearizable::named("queue", &options(ration)).unwrap();
        check(&mut checker, events, &Steps::new(300, 1 << 28))
    };
    let alone = judge(&events, None);
    assert_eq!(alone.valid, Valid::Unknown, "{}", alone.reason);
    let ration = Options::default().ration;
    let valid = judge(&events, ration);
    assert_eq!(valid.valid, Valid::True, "{}", valid.reason);
    assert_eq!(by_monitors(&valid), 1);
    // An order can be had all the same.
    let asked = Options {
        witness: true,
        ..options(ration)
    };
    let mut checker = Linearizable::named("queue", &asked).unwrap();
    let ordered = check(&mut checker, &events, &Unlimited);
    replay_orders("queue", &events, &ordered, &Value::Null);
    // The first of two rounds comes out once more.
    let last = events.len() - 1;
    events[last].value = json!(3);
    let invalid = judge(&events, ration);
    assert_eq!(invalid.valid, Valid::False, "{}", invalid.reason);
    assert_eq!(by_monitors(&invalid), 1);
    let evidence = dead_end(&invalid);
    verify(evidence, &events, &Options::default()).unwrap();
    assert!(evidence.minimal);
    assert!(
        evidence.sub_operations().count() <= 4,
        "{:?}",
        evidence.explanation
    );
}

/// So many that were put in at the same time.
const AT_ONCE: u64 = 40;

/// A set of which nothing is said but what a monitor must know.
#[derive(Clone)]
struct Reticent;

#[derive(Clone, PartialEq, Eq, Hash)]
enum ReticentOp {
    Add(u32),
    Saw(Box<[u32]>),
}

impl Model for Reticent {
    type State = BTreeSet<u32>;
    type Op = ReticentOp;

    fn name(&self) -> &str {
        "reticent set"
    }

    fn initial(&self, _: &mut Values) -> BTreeSet<u32> {
        BTreeSet::new()
    }

    fn read(&self, call: &Call<'_>, values: &mut Values) -> Result<Option<ReticentOp>, String> {
        let seen = call.outcome.ok().and_then(Value::as_array);
        Ok(match (call.f, seen) {
            ("add", _) => Some(ReticentOp::Add(values.number(call.value))),
            (_, Some(seen)) => {
                let seen: BTreeSet<u32> = seen.iter().map(|it| values.number(it)).collect();
                Some(ReticentOp::Saw(seen.into_iter().collect()))
            }
            _ => None,
        })
    }

    fn step(&self, state: &BTreeSet<u32>, op: &ReticentOp) -> Option<BTreeSet<u32>> {
        match op {
            ReticentOp::Add(element) => Some(state.iter().copied().chain([*element]).collect()),
            ReticentOp::Saw(seen) => state.iter().eq(seen).then(|| state.clone()),
        }
    }

    fn is_observation(&self, op: &ReticentOp) -> bool {
        matches!(op, ReticentOp::Saw(_))
    }

    fn monitored(&self) -> Option<Monitored> {
        Some(Monitored::Set)
    }

    fn role(&self, op: &ReticentOp) -> Option<Role> {
        Some(match op {
            ReticentOp::Add(element) => Role::Set(SetKind::Add, *element),
            ReticentOp::Saw(seen) => Role::SawAll(seen.clone()),
        })
    }

    fn describe(&self, state: &BTreeSet<u32>, values: &Values) -> Value {
        state.iter().map(|it| values.value(*it).clone()).collect()
    }
}

/// Many elements are added at once, and one of them is missed by who reads them.
fn missed() -> Vec<Event> {
    let mut events = Vec::new();
    for kind in [EventType::Invoke, EventType::Ok] {
        for process in 0..AT_ONCE {
            let index = events.len() as u64;
            events.push(event(index, process, kind, "add", json!(process)));
        }
    }
    let next = events.len() as u64;
    events.push(event(next, 0, EventType::Invoke, "read", json!(null)));
    let seen = (1..AT_ONCE).collect();
    events.push(event(next + 1, 0, EventType::Ok, "read", seen));
    events
}

#[test]
fn what_a_monitor_found_is_unknown_unless_it_is_proved() {
    let mut checker = Linearizable::of(Reticent, &Options::default());
    let result = check(&mut checker, &missed(), &Steps::new(100, 1 << 28));
    assert_eq!(result.valid, Valid::Unknown, "{}", result.reason);
    let why = "a monitor found a violation";
    assert!(result.reason.contains(why), "{}", result.reason);
}

#[test]
fn of_a_set_only_the_elements_that_matter_are_searched() {
    let events = missed();
    let mut checker = Linearizable::named("set", &Options::default()).unwrap();
    let result = check(&mut checker, &events, &Steps::new(100, 1 << 28));
    assert_eq!(result.valid, Valid::False, "{}", result.reason);
    let evidence = dead_end(&result);
    verify(evidence, &events, &Options::default()).unwrap();
    assert_eq!(evidence.elements, [json!(0)]);
    assert_eq!(evidence.sub_operations().count(), 2);
}
