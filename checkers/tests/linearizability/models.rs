//! Every model against objects that run, on small random histories.

use std::collections::HashSet;

use checkers::linearizability::{Linearizable, Options, models, verify};
use checkers::{CheckResult, Checker, Feed, Valid, budget::Unlimited, check};
use serde_json::{Value, json};
use store::{Event, EventType, OpError};

use crate::plain;
use crate::support::{Random, cases, dead_end, event};

/// The verdict of a model, with the evidence of an invalid one proved again from the events.
pub(crate) fn judge_as(model: &str, events: &[Event], options: &Options) -> CheckResult {
    let mut checker = Linearizable::named(model, options).unwrap();
    let result = check(&mut checker, events, &Unlimited);
    if result.valid == Valid::False {
        verify(dead_end(&result), events, options).unwrap();
    }
    result
}

/// Lets an object of the model do what each order of a valid verdict says, and looks whether it answers as
/// was seen, never before something that had returned, and leaves nothing out.
pub(crate) fn replay_orders(model: &str, events: &[Event], result: &CheckResult, initial: &Value) {
    let ops = operations(events);
    let orders = result.details["orders"].as_array().unwrap();
    let mut placed: Vec<usize> = Vec::new();
    for order in orders {
        let order = order.as_array().unwrap().iter();
        let order: Vec<usize> = order.map(|at| at.as_u64().unwrap() as usize).collect();
        let mut states = vec![plain::first(model, initial)];
        let mut latest = 0;
        for at in &order {
            let op = ops.iter().find(|op| op.invoke == *at).unwrap();
            assert!(op.returned > latest, "{at} is too late in {order:?}");
            latest = latest.max(op.invoke);
            let ran = states
                .iter()
                .flat_map(|state| plain::run(model, state, &op.f, &op.value, op.process));
            let ran = ran.filter(|(answer, _)| fits(model, op, answer.as_ref()));
            states = ran.map(|(_, after)| after).collect();
            assert!(
                !states.is_empty(),
                "{model}: {at} cannot be so in {order:?}"
            );
        }
        placed.extend(order);
    }
    for op in ops.iter().filter(|op| op.returned < usize::MAX) {
        let count = placed.iter().filter(|at| **at == op.invoke).count();
        let counts = says_something(op);
        assert!(
            count == 1 || count == 0 && !counts,
            "{model}: {} is {count} times",
            op.invoke
        );
    }
}

/// Whether an operation changes or shows anything.
fn says_something(op: &Op) -> bool {
    let nothing = op.f == "cas" && op.outcome == Some(None);
    !nothing
        && op.outcome != Some(None)
        && !matches!(op.value, Value::Number(ref n) if n.as_i64() == Some(0) && op.f == "add")
}

fn judge_online(model: &str, events: &[Event], options: &Options) -> CheckResult {
    let mut checker = Linearizable::named(model, options).unwrap();
    for event in events {
        if checker.feed(std::slice::from_ref(event), &Unlimited) != Feed::Continue {
            break;
        }
    }
    checker.finish(&Unlimited)
}

/// What to call next.
fn call(model: &str, random: &mut Random) -> (&'static str, Value) {
    let small = random.below(3);
    let key = ["x", "y"][random.below(2) as usize];
    let pick = random.below(10);
    match model {
        "register" => match pick {
            0..4 => ("read", Value::Null),
            4..7 => ("write", small.into()),
            _ => ("cas", json!([small, random.below(3)])),
        },
        "map" => match pick {
            0..4 => ("get", Value::Null),
            4..6 => ("put", ["a", "b"][random.below(2) as usize].into()),
            6 => ("delete", Value::Null),
            7 => ("cas", json!(["a", "b"])),
            _ => ("append", ["a", "b"][random.below(2) as usize].into()),
        },
        "multi-register" => {
            let parts = (0..1 + random.below(2)).map(|_| match random.percent(55) {
                true => json!(["r", (["x", "y"][random.below(2) as usize]), null]),
                false => json!(["w", key, random.below(3)]),
            });
            ("txn", parts.collect())
        }
        "versioned-register" => match pick {
            0..4 => ("read", json!([null, null])),
            4..7 => ("write", json!([null, small])),
            _ => ("cas", json!([null, [small, random.below(3)]])),
        },
        "semaphore" => {
            let value = match random.below(4) {
                0 => Value::Null,
                1 => json!(1 + random.below(2)),
                _ => json!({"client": key, "permits": 1 + random.below(2)}),
            };
            (["acquire", "release"][random.below(2) as usize], value)
        }
        "mutex" | "reentrant-lock" | "fenced-lock" | "reentrant-fenced-lock" => (
            ["acquire", "release"][random.below(2) as usize],
            Value::Null,
        ),
        "set" | "multiset" => match pick {
            0..4 => ("add", small.into()),
            4..6 => ("remove", small.into()),
            6..8 => ("contains", small.into()),
            _ => ("read", Value::Null),
        },
        "counter" => match pick {
            0..2 => ("add", json!(random.below(4) as i64 - 1)),
            2 => ("increment", Value::Null),
            3 => ("decrement", 2.into()),
            4 => ("add-and-get", json!(random.below(3))),
            5 => ("get-and-add", json!(random.below(3))),
            _ => ("read", Value::Null),
        },
        "list" if pick < 6 => ("append", small.into()),
        "list" => ("read", Value::Null),
        "log" if pick < 6 => ("append", small.into()),
        "log" => ("read", small.into()),
        _ => {
            let names = match model {
                "stack" => ["push", "pop"],
                "queue" | "unordered-queue" => ["enqueue", "dequeue"],
                _ => ["insert", "poll"],
            };
            match pick {
                0..5 => (names[0], small.into()),
                5..9 => (names[1], Value::Null),
                _ => ("peek", Value::Null),
            }
        }
    }
}

/// Where a client stands with its call.
enum Client {
    Idle,
    Called(&'static str, Value),
    Done(&'static str, Value, Option<Value>),
}

/// A small history that an object really gave.
pub(crate) fn correct(model: &str, initial: &Value, random: &mut Random) -> Vec<Event> {
    let operations = 2 + random.below(7);
    correct_of(operations, model, initial, random)
}

/// A history of so many operations, or less where nothing is possible any more, that an object really gave.
pub(crate) fn correct_of(
    operations: u64,
    model: &str,
    initial: &Value,
    random: &mut Random,
) -> Vec<Event> {
    let width = 1 + random.below(4);
    correct_by(operations, width, model, initial, random, |random| {
        call(model, random)
    })
}

/// The same, of so many clients, and whoever says what to call next.
pub(crate) fn correct_by(
    operations: u64,
    width: u64,
    model: &str,
    initial: &Value,
    random: &mut Random,
    mut call: impl FnMut(&mut Random) -> (&'static str, Value),
) -> Vec<Event> {
    let width = width as usize;
    let (crashes, failures) = ([0, 12, 35][random.below(3) as usize], 8);
    let mut state = plain::first(model, initial);
    let mut clients: Vec<(u64, Client)> = (0..width as u64)
        .map(|process| (process, Client::Idle))
        .collect();
    let (mut events, mut begun, mut fresh) = (Vec::new(), 0, width as u64);
    let mut late: Vec<(&'static str, Value, u64)> = Vec::new();
    let mut say = |process, kind, f: &str, value: Value, refused: bool| {
        let mut said = event(events.len() as u64, process, kind, f, value);
        said.error = refused.then(|| OpError::PRECONDITION.into());
        events.push(said);
    };
    loop {
        let at = random.below(width as u64) as usize;
        let (process, client) = &mut clients[at];
        match std::mem::replace(client, Client::Idle) {
            Client::Idle if begun == operations => break,
            Client::Idle => {
                begun += 1;
                let (f, value) = call(random);
                say(*process, EventType::Invoke, f, value.clone(), false);
                *client = Client::Called(f, value);
            }
            Client::Called(f, value) if random.percent(crashes) => {
                say(*process, EventType::Info, f, value.clone(), false);
                late.push((f, value, *process));
                *process = fresh;
                fresh += 1;
            }
            Client::Called(f, value) if random.percent(failures) => {
                say(*process, EventType::Fail, f, value, false);
            }
            Client::Called(f, value) => {
                let ran = plain::run(model, &state, f, &value, *process);
                // What cannot happen at all waits for ever.
                let Some((answer, after)) = choose(ran, random) else {
                    *client = Client::Called(f, value);
                    break;
                };
                state = after;
                *client = Client::Done(f, value, answer);
            }
            Client::Done(f, value, _) if random.percent(crashes / 2) => {
                say(*process, EventType::Info, f, value, false);
                *process = fresh;
                fresh += 1;
            }
            Client::Done(f, value, Some(answer)) => {
                let hides = answer.is_null()
                    && !matches!(f, "read" | "get" | "dequeue" | "pop" | "poll" | "peek");
                let answer = if hides { value } else { answer };
                say(
                    *process,
                    EventType::Ok,
                    f,
                    shown(model, f, answer, random),
                    false,
                );
            }
            Client::Done(f, value, None) => say(*process, EventType::Fail, f, value, true),
        }
        if random.percent(20)
            && let Some((f, value, process)) = late.pop()
            && let Some((_, after)) = choose(plain::run(model, &state, f, &value, process), random)
        {
            state = after;
        }
    }
    events
}

fn choose(mut ran: plain::Ran, random: &mut Random) -> Option<(Option<Value>, Value)> {
    if ran.is_empty() {
        return None;
    }
    // Mostly the first, so that fences do not run out.
    let at = if random.percent(70) {
        0
    } else {
        random.below(ran.len().min(3) as u64)
    };
    Some(ran.swap_remove(at as usize))
}

/// An answer as a client may show it: some do not say all.
fn shown(model: &str, f: &str, answer: Value, random: &mut Random) -> Value {
    if random.percent(75) {
        return answer;
    }
    match (model, f) {
        ("set" | "multiset", "add" | "remove") => answer[0].clone(),
        ("versioned-register", "read" | "write" | "cas") => json!([null, answer[1]]),
        ("log", "append") => answer[1].clone(),
        ("fenced-lock" | "reentrant-fenced-lock", "acquire") => Value::Null,
        _ => answer,
    }
}

/// Makes the answers of a history others, now and then.
pub(crate) fn mutate(model: &str, events: &mut [Event], random: &mut Random) {
    for _ in 0..1 + random.below(2) {
        let oks: Vec<usize> = (0..events.len())
            .filter(|at| events[*at].kind == EventType::Ok)
            .collect();
        if oks.is_empty() {
            return;
        }
        let one = oks[random.below(oks.len() as u64) as usize];
        let small = random.below(4);
        let f = events[one].f.clone();
        let value = &mut events[one].value;
        match (model, &*f) {
            ("set" | "multiset", "add" | "remove" | "contains") => {
                if value.is_array() {
                    value[1] = json!(value[1] != true);
                }
            }
            ("set" | "multiset" | "list", "read") => {
                let mut all = value.as_array().unwrap().clone();
                match all.is_empty() || random.percent(40) {
                    true if model == "set" && all.contains(&small.into()) => {}
                    true => all.push(small.into()),
                    false => drop(all.swap_remove(random.below(all.len() as u64) as usize)),
                }
                *value = all.into();
            }
            ("multi-register", _) => {
                let at = random.below(value.as_array().unwrap().len() as u64) as usize;
                if value[at][0] == "r" {
                    value[at][2] = small.into();
                }
            }
            ("versioned-register", _) if random.percent(50) => value[0] = json!(small),
            ("versioned-register", "read") => value[1] = json!(small),
            ("log", "append") if value.is_array() => value[0] = json!(small),
            ("log", "read") => value[1] = json!(small),
            ("map", "get") => *value = json!(["a", "b", "ab", "ba"][small as usize]),
            ("register" | "counter", "read") | (_, "add-and-get" | "get-and-add") => {
                *value = small.into();
            }
            ("fenced-lock" | "reentrant-fenced-lock", "acquire") if random.percent(70) => {
                *value = (1 + small % 2).into();
            }
            (_, "dequeue" | "pop" | "poll" | "peek") => {
                *value = match random.below(3) {
                    0 => Value::Null,
                    _ => small.into(),
                }
            }
            // Locks show nothing but what they let happen.
            _ if random.percent(50) => {
                events[one].kind = EventType::Fail;
                events[one].error = Some(OpError::PRECONDITION.into());
            }
            _ => {
                let refused = events.iter_mut().find(|event| event.error.is_some());
                if let Some(event) = refused {
                    event.kind = EventType::Ok;
                    event.error = None;
                    if event.f.contains("acquire") {
                        event.value = Value::Null;
                    }
                }
            }
        }
    }
}

/// An operation that counts.
pub(crate) struct Op {
    pub(crate) f: String,
    pub(crate) value: Value,
    pub(crate) process: u64,
    /// `Some(None)`: it was refused. `None`: nobody knows.
    pub(crate) outcome: Option<Option<Value>>,
    pub(crate) invoke: usize,
    pub(crate) returned: usize,
}

/// Whether there is an order, by trying all of them.
pub(crate) fn is_linearizable(model: &str, events: &[Event], initial: &Value) -> bool {
    let ops = operations(events);
    can_be_ordered(
        model,
        &ops,
        0,
        &plain::first(model, initial),
        &mut HashSet::new(),
    )
}

pub(crate) fn operations(events: &[Event]) -> Vec<Op> {
    let mut ops: Vec<Op> = Vec::new();
    for (at, invoke) in events.iter().enumerate().filter(|(_, it)| it.is_invoke()) {
        let rest = events[at + 1..].iter().enumerate();
        let end = rest
            .clone()
            .find(|(_, event)| event.process == invoke.process);
        let (outcome, returned) = match end {
            Some((_, event)) if event.kind == EventType::Fail && event.error.is_none() => continue,
            Some((after, event)) if event.kind == EventType::Fail => (Some(None), at + 1 + after),
            Some((after, event)) if event.kind == EventType::Ok => {
                (Some(Some(event.value.clone())), at + 1 + after)
            }
            _ => (None, usize::MAX),
        };
        let store::Process::Client(process) = invoke.process else {
            panic!()
        };
        ops.push(Op {
            f: invoke.f.to_string(),
            value: invoke.value.clone(),
            process,
            outcome,
            invoke: at,
            returned,
        });
    }
    ops
}

/// `placed` has a bit for each operation that was placed; `dead` is what is known to lead nowhere.
fn can_be_ordered(
    model: &str,
    ops: &[Op],
    placed: u32,
    state: &Value,
    dead: &mut HashSet<(u32, Value)>,
) -> bool {
    let left: Vec<usize> = (0..ops.len()).filter(|at| placed >> at & 1 == 0).collect();
    let returns = left.iter().map(|at| ops[*at].returned);
    let first_return = returns.min().unwrap_or(usize::MAX);
    if first_return == usize::MAX {
        return true;
    }
    if dead.contains(&(placed, state.clone())) {
        return false;
    }
    let may_be_next = left.into_iter().filter(|at| ops[*at].invoke < first_return);
    for at in may_be_next {
        let op = &ops[at];
        for (answer, after) in plain::run(model, state, &op.f, &op.value, op.process) {
            if fits(model, op, answer.as_ref())
                && can_be_ordered(model, ops, placed | 1 << at, &after, dead)
            {
                return true;
            }
        }
    }
    dead.insert((placed, state.clone()));
    false
}

/// Whether what an object answered is what was seen.
pub(crate) fn fits(model: &str, op: &Op, answer: Option<&Value>) -> bool {
    match (&op.outcome, answer) {
        (None, _) | (Some(None), None) => true,
        // Nothing to take is a refusal too.
        (Some(None), Some(Value::Null)) => {
            matches!(op.f.as_str(), "dequeue" | "pop" | "poll" | "peek")
        }
        // So is nothing to change.
        (Some(None), Some(answer)) => {
            matches!(
                (model, op.f.as_str()),
                ("set", "add" | "remove") | ("multiset", "remove")
            ) && answer[1] == false
        }
        (Some(Some(seen)), Some(answer)) => plain::agrees(model, &op.f, seen, answer),
        (Some(Some(_)), None) => false,
    }
}

/// Refusals of operations that are never refused say nothing, and are left out.
pub(crate) fn without_meaningless_refusals(model: &str, events: &mut [Event]) {
    for event in events {
        let refusable = matches!(
            (model, &*event.f),
            (
                "mutex" | "reentrant-lock" | "fenced-lock" | "reentrant-fenced-lock",
                _
            ) | ("semaphore", _)
                | (_, "cas" | "dequeue" | "pop" | "poll" | "peek")
                | ("set", "add" | "remove")
                | ("multiset", "remove")
        );
        if !refusable {
            event.error = None;
        }
    }
}

fn agrees_with_objects_that_run(model: &str) {
    let mut verdicts = [0u64, 0];
    for case in 0..cases(1_500) {
        let mut random = Random(case);
        let initial = match (model, random.percent(30)) {
            ("semaphore", _) => json!(1 + random.below(3)),
            ("multi-register", true) => json!({"x": 0}),
            ("counter" | "register" | "versioned-register", true) => json!(1),
            ("map", true) => json!(""),
            ("map" | "mutex" | "multi-register" | "register" | "counter", _) => Value::Null,
            ("versioned-register", _) => Value::Null,
            (name, true) if !name.contains("lock") => json!([1, 2]),
            _ => Value::Null,
        };
        let mut events = correct(model, &initial, &mut random);
        if random.percent(70) {
            mutate(model, &mut events, &mut random);
            without_meaningless_refusals(model, &mut events);
        }
        let options = Options {
            initial,
            witness: true,
            ..Options::default()
        };
        let expected = is_linearizable(model, &events, &options.initial);
        let result = judge_as(model, &events, &options);
        let wanted = if expected { Valid::True } else { Valid::False };
        assert_eq!(
            result.valid,
            wanted,
            "{model} case {case}: {}\n{}\n{options:?}",
            result.reason,
            events
                .iter()
                .map(|event| serde_json::to_string(event).unwrap() + "\n")
                .collect::<String>()
        );
        assert_eq!(
            judge_online(model, &events, &options),
            result,
            "{model} case {case}, online"
        );
        if expected {
            replay_orders(model, &events, &result, &options.initial);
        }
        verdicts[usize::from(expected)] += 1;
    }
    // Both verdicts must be common, or the test says little.
    let all = verdicts[0] + verdicts[1];
    assert!(
        verdicts.iter().all(|count| count * 12 > all),
        "{model}: {verdicts:?}"
    );
}

macro_rules! models {
    ($($name:ident $model:literal),* $(,)?) => {
        $(#[test] fn $name() { agrees_with_objects_that_run($model); })*

        #[test]
        fn every_model_is_tested() {
            let tested = [$($model),*];
            for model in models::BUILT_IN {
                assert!(model.name == "cas-register" || tested.contains(&model.name), "{}", model.name);
            }
        }
    };
}

models! {
    register "register",
    map "map",
    multi_register "multi-register",
    versioned_register "versioned-register",
    mutex "mutex",
    reentrant_lock "reentrant-lock",
    fenced_lock "fenced-lock",
    reentrant_fenced_lock "reentrant-fenced-lock",
    semaphore "semaphore",
    set "set",
    multiset "multiset",
    counter "counter",
    unordered_queue "unordered-queue",
    queue "queue",
    stack "stack",
    priority_queue "priority-queue",
    min_priority_queue "min-priority-queue",
    list "list",
    log "log",
}

/// A set to which many elements are added, and then something is asked of it.
fn many_elements(f: &str, asked: Value, answer: Value) -> Vec<Event> {
    let mut events = Vec::new();
    let mut say = |kind, f: &str, value: Value| {
        events.push(event(events.len() as u64, 0, kind, f, value));
    };
    for element in 0..300 {
        say(EventType::Invoke, "add", element.into());
        say(EventType::Ok, "add", json!([element, true]));
    }
    say(EventType::Invoke, f, asked);
    say(EventType::Ok, f, answer);
    events
}

#[test]
fn elements_are_searched_apart_until_something_looks_at_them_all() {
    let options = Options::default();
    let judge = |f: &str, asked: Value, answer: Value| {
        judge_as("set", &many_elements(f, asked, answer), &options)
    };
    assert_eq!(
        judge("contains", 7.into(), json!([7, true])).valid,
        Valid::True
    );
    let absent = judge("contains", 7.into(), json!([7, false]));
    assert_eq!(absent.valid, Valid::False);
    assert_eq!(dead_end(&absent).sub_operations().count(), 2);
    let all: Value = (0..300).collect();
    assert_eq!(judge("read", Value::Null, all).valid, Valid::True);
    let most: Value = (1..300).collect();
    assert_eq!(judge("read", Value::Null, most).valid, Valid::False);
}

#[test]
fn what_was_impossible_for_one_element_stays_so_when_all_are_looked_at() {
    let mut events = Vec::new();
    let mut say = |process, kind, f: &str, value: Value| {
        events.push(event(events.len() as u64, process, kind, f, value));
    };
    say(2, EventType::Invoke, "remove", json!(2));
    say(1, EventType::Invoke, "add", json!(2));
    say(3, EventType::Invoke, "add", json!(2));
    say(0, EventType::Invoke, "remove", json!(1));
    // There was one, and one removal at most.
    say(3, EventType::Ok, "add", json!([2, true]));
    say(1, EventType::Ok, "add", json!([2, true]));
    say(3, EventType::Invoke, "read", Value::Null);
    say(3, EventType::Ok, "read", json!([1, 2]));
    let options = Options {
        initial: json!([1, 2]),
        ..Options::default()
    };
    assert_eq!(judge_as("set", &events, &options).valid, Valid::False);
}
