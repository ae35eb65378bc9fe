//! Objects that run: given a call, what they answer and what becomes of them. Nothing is checked here;
//! this is what a database would do.

use serde_json::{Value, json};

/// What can come of a call: the answer, `None` if it is refused, and the state afterwards.
pub(crate) type Ran = Vec<(Option<Value>, Value)>;

/// Fences are below this.
pub(crate) const FENCES: i64 = 14;

fn list(state: &Value) -> Vec<Value> {
    state.as_array().unwrap().clone()
}

fn told(answer: impl Into<Value>, state: impl Into<Value>) -> Ran {
    vec![(Some(answer.into()), state.into())]
}

fn refused(state: &Value) -> Ran {
    vec![(None, state.clone())]
}

/// How an object begins.
pub(crate) fn first(model: &str, initial: &Value) -> Value {
    match model {
        "register" | "map" => initial.clone(),
        "multi-register" if initial.is_null() => json!({}),
        "versioned-register" => json!({"version": 0, "value": initial}),
        "mutex" | "reentrant-lock" | "fenced-lock" | "reentrant-fenced-lock" => {
            json!({"owner": null, "depth": 0, "fence": 0})
        }
        "semaphore" if initial.is_null() => json!([1, []]),
        "semaphore" => json!([initial, []]),
        "counter" if initial.is_null() => json!(0),
        _ if initial.is_null() => json!([]),
        _ => initial.clone(),
    }
}

/// Calls an object of a model.
pub(crate) fn run(model: &str, state: &Value, f: &str, value: &Value, process: u64) -> Ran {
    match model {
        "register" | "map" => keep(state, f, value),
        "multi-register" => transact(state, value),
        "versioned-register" => version(state, f, value),
        "mutex" | "reentrant-lock" | "fenced-lock" | "reentrant-fenced-lock" => {
            lock(model, state, f, process)
        }
        "semaphore" => permits(state, f, value),
        "set" | "multiset" => collect(model == "multiset", state, f, value),
        "counter" => count(state, f, value),
        "list" | "log" => append(state, f, value),
        _ => contain(model, state, f, value),
    }
}

fn keep(state: &Value, f: &str, value: &Value) -> Ran {
    match f {
        "read" | "get" => told(state.clone(), state.clone()),
        "write" | "put" => told(Value::Null, value.clone()),
        "delete" => told(Value::Null, Value::Null),
        "cas" if value[0] == *state => told(Value::Null, value[1].clone()),
        "cas" => refused(state),
        "append" => match state {
            Value::Null => told(Value::Null, value.clone()),
            Value::String(text) => told(Value::Null, format!("{text}{}", value.as_str().unwrap())),
            _ => vec![],
        },
        other => panic!("{other}"),
    }
}

fn transact(state: &Value, parts: &Value) -> Ran {
    let mut held = state.as_object().unwrap().clone();
    let mut seen = Vec::new();
    for part in list(parts) {
        let name = part[1].as_str().unwrap().to_owned();
        if part[0] == "r" {
            let value = held.get(&name).cloned().unwrap_or_default();
            seen.push(json!(["r", name, value]));
        } else {
            held.insert(name, part[2].clone());
            seen.push(part.clone());
        }
    }
    told(seen, held)
}

fn version(state: &Value, f: &str, value: &Value) -> Ran {
    let (version, held) = (state["version"].as_u64().unwrap(), &state["value"]);
    let next = |value: &Value| json!({"version": version + 1, "value": value});
    match f {
        "read" => told(json!([version, held]), state.clone()),
        "write" => told(json!([version + 1, value[1]]), next(&value[1])),
        _ if value[1][0] == *held => told(json!([version + 1, value[1]]), next(&value[1][1])),
        _ => refused(state),
    }
}

fn lock(model: &str, state: &Value, f: &str, process: u64) -> Ran {
    // A mutex does not know who calls.
    let me = match model {
        "mutex" => json!("somebody"),
        _ => json!(process),
    };
    let (owner, depth) = (&state["owner"], state["depth"].as_u64().unwrap());
    let fence = state["fence"].as_i64().unwrap();
    let fenced = model.contains("fenced");
    match f {
        "acquire" if owner.is_null() && fenced => (fence + 1..FENCES)
            .map(|fence| {
                let state = json!({"owner": me, "depth": 1, "fence": fence});
                (Some(json!(fence)), state)
            })
            .collect(),
        "acquire" if owner.is_null() => told(
            Value::Null,
            json!({"owner": me, "depth": 1, "fence": fence}),
        ),
        "acquire" if *owner == me && model.contains("reentrant") => told(
            if fenced { json!(fence) } else { Value::Null },
            json!({"owner": me, "depth": depth + 1, "fence": fence}),
        ),
        "release" if *owner == me => {
            let owner = if depth > 1 { me } else { Value::Null };
            let state = json!({"owner": owner, "depth": depth - 1, "fence": fence});
            told(Value::Null, state)
        }
        _ => refused(state),
    }
}

fn permits(state: &Value, f: &str, value: &Value) -> Ran {
    let client = value.get("client").cloned().unwrap_or_default();
    let wanted = value.get("permits").unwrap_or(value).as_u64().unwrap_or(1);
    let free = state[0].as_u64().unwrap();
    // One entry for each permit that is held.
    let mut held = list(&state[1]);
    if f == "acquire" {
        if wanted > free {
            return refused(state);
        }
        held.extend((0..wanted).map(|_| client.clone()));
        held.sort_by_key(Value::to_string);
        return told(Value::Null, json!([free - wanted, held]));
    }
    for _ in 0..wanted {
        let Some(at) = held.iter().position(|owner| *owner == client) else {
            return refused(state);
        };
        held.remove(at);
    }
    told(Value::Null, json!([free + wanted, held]))
}

fn collect(repeats: bool, state: &Value, f: &str, value: &Value) -> Ran {
    let mut all = list(state);
    let at = all.iter().position(|element| element == value);
    match f {
        "read" => return told(all, state.clone()),
        "contains" => return told(json!([value, at.is_some()]), state.clone()),
        "add" if repeats || at.is_none() => all.push(value.clone()),
        "add" => {}
        _ => drop(at.map(|at| all.remove(at))),
    }
    all.sort_by_key(Value::to_string);
    let changed = if f == "add" {
        at.is_none()
    } else {
        at.is_some()
    };
    told(json!([value, changed]), all)
}

fn count(state: &Value, f: &str, value: &Value) -> Ran {
    let (now, by) = (state.as_i64().unwrap(), value.as_i64().unwrap_or(1));
    match f {
        "read" => told(now, now),
        "add-and-get" => told(now + by, now + by),
        "get-and-add" => told(now, now + by),
        "decrement" => told(Value::Null, now - by),
        _ => told(Value::Null, now + by),
    }
}

fn append(state: &Value, f: &str, value: &Value) -> Ran {
    let mut all = list(state);
    if f == "append" {
        let offset = all.len();
        all.push(value.clone());
        return told(json!([offset, value]), all);
    }
    match value.as_u64() {
        None => told(state.clone(), state.clone()),
        Some(offset) => {
            let entry = all.get(offset as usize).cloned().unwrap_or_default();
            told(json!([offset, entry]), state.clone())
        }
    }
}

fn contain(model: &str, state: &Value, f: &str, value: &Value) -> Ran {
    let mut all = list(state);
    if matches!(f, "enqueue" | "push" | "insert") {
        all.push(value.clone());
        if model == "unordered-queue" {
            all.sort_by_key(Value::to_string);
        }
        return told(Value::Null, all);
    }
    let by_size = |at: &usize| all[*at].as_i64();
    let next: Vec<usize> = match model {
        "unordered-queue" => (0..all.len()).collect(),
        "queue" => (0..all.len()).take(1).collect(),
        "stack" => (0..all.len()).rev().take(1).collect(),
        "priority-queue" => (0..all.len()).max_by_key(by_size).into_iter().collect(),
        _ => (0..all.len()).min_by_key(by_size).into_iter().collect(),
    };
    if next.is_empty() {
        return told(Value::Null, state.clone());
    }
    let outcomes = next.into_iter().map(|at| {
        let mut rest = all.clone();
        let taken = rest.remove(at);
        match f {
            "peek" => (Some(taken), state.clone()),
            _ => (Some(taken), rest.into()),
        }
    });
    outcomes.collect()
}

/// Whether an observed answer is what an object answered.
pub(crate) fn agrees(model: &str, f: &str, observed: &Value, answer: &Value) -> bool {
    match (model, f) {
        ("set", "add" | "remove" | "contains") | ("multiset", "remove" | "contains" | "add") => {
            observed.as_array().is_none() || observed == answer
        }
        ("set" | "multiset", "read") => {
            let sorted = |value: &Value| {
                let mut all = list(value);
                all.sort_by_key(Value::to_string);
                all
            };
            sorted(observed) == sorted(answer)
        }
        ("log", "append") => observed.as_array().is_none() || observed == answer,
        (_, "read" | "get" | "peek" | "dequeue" | "pop" | "poll" | "txn")
        | ("counter", "add-and-get" | "get-and-add") => match model {
            "versioned-register" => {
                observed[0].is_null() && observed[1] == answer[1] || observed == answer
            }
            _ => observed == answer,
        },
        ("versioned-register", _) => observed[0].is_null() || observed[0] == answer[0],
        ("fenced-lock" | "reentrant-fenced-lock", "acquire") => {
            observed.is_null() || observed == answer
        }
        _ => true,
    }
}
