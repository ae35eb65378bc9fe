//! The built-in models once more, for proofs: as plain as can be, on the values as they stand.

use serde_json::{Value, json};

use super::bounds::{self, Bounds};
use super::order::{Outcome, Rules, Seen, Touch};
use crate::linearizability::options::{NullRead, Options};

/// What the objects of a built-in model do.
#[derive(Clone, Debug)]
pub struct Reference {
    kind: Kind,
    initial: Value,
    null_says_nothing: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Map,
    MultiRegister,
    Versioned,
    Lock { reentrant: bool, fenced: bool },
    Semaphore,
    Set,
    Multiset,
    Counter,
    Bag,
    Queue,
    Stack,
    Largest,
    Smallest,
    List,
    Log,
}

impl Reference {
    /// What the objects of a model do, by its name. `None` if no model is called that.
    pub fn new(name: &str, options: &Options) -> Option<Reference> {
        let lock = |reentrant, fenced| Kind::Lock { reentrant, fenced };
        let kind = match name {
            "map" => Kind::Map,
            "multi-register" => Kind::MultiRegister,
            "versioned-register" => Kind::Versioned,
            "mutex" => lock(false, false),
            "reentrant-lock" => lock(true, false),
            "fenced-lock" => lock(false, true),
            "reentrant-fenced-lock" => lock(true, true),
            "semaphore" => Kind::Semaphore,
            "set" => Kind::Set,
            "multiset" => Kind::Multiset,
            "counter" => Kind::Counter,
            "unordered-queue" => Kind::Bag,
            "queue" => Kind::Queue,
            "stack" => Kind::Stack,
            "priority-queue" => Kind::Largest,
            "min-priority-queue" => Kind::Smallest,
            "list" => Kind::List,
            "log" => Kind::Log,
            _ => return None,
        };
        let null = options.initial.is_null();
        let initial = match kind {
            Kind::Map => options.initial.clone(),
            Kind::Versioned => json!([0, options.initial]),
            Kind::MultiRegister if null => json!({}),
            Kind::MultiRegister => without_nulls(&options.initial),
            Kind::Lock { .. } => json!({"owner": null, "depth": 0, "least": 0, "exact": false}),
            Kind::Semaphore if null => json!({"free": 1}),
            Kind::Semaphore => json!({"free": options.initial}),
            Kind::Counter if null => json!("0"),
            Kind::Counter => options.initial.to_string().into(),
            _ if null => json!([]),
            Kind::Queue | Kind::Stack | Kind::List | Kind::Log => options.initial.clone(),
            Kind::Set => sorted(distinct(elements(&options.initial))),
            _ => sorted(elements(&options.initial).to_vec()),
        };
        Some(Reference {
            kind,
            initial,
            null_says_nothing: options.null_read == NullRead::MatchesAnything,
        })
    }
}

fn elements(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn distinct(elements: &[Value]) -> Vec<Value> {
    let mut distinct: Vec<Value> = Vec::new();
    for element in elements {
        if !distinct.contains(element) {
            distinct.push(element.clone());
        }
    }
    distinct
}

/// In an order that depends on nothing but the elements: numbers by size.
fn sorted(mut elements: Vec<Value>) -> Value {
    elements.sort_by_cached_key(|element| (element.as_i64(), element.to_string()));
    elements.into()
}

fn without_nulls(value: &Value) -> Value {
    let fields = value.as_object().into_iter().flatten();
    let held = fields.filter(|(_, value)| !value.is_null());
    held.map(|(name, value)| (name.clone(), value.clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// The state, if it can be.
fn only_if(possible: bool, state: Value) -> Vec<Value> {
    match possible {
        true => vec![state],
        false => Vec::new(),
    }
}

impl Rules for Reference {
    type State = Value;

    fn first(&self) -> Value {
        self.initial.clone()
    }

    fn show(&self, state: &Value) -> Value {
        match self.kind {
            // Counters are kept as text, for they may be larger than JSON's numbers.
            Kind::Counter => {
                let number = state.as_str().and_then(|text| text.parse::<i64>().ok());
                number.map_or_else(|| state.clone(), Value::from)
            }
            _ => state.clone(),
        }
    }

    fn has_elements(&self) -> bool {
        matches!(self.kind, Kind::Set | Kind::Multiset) && elements(&self.initial).is_empty()
    }

    fn restrict(&self, op: &Seen, elements: &[Value]) -> Option<Seen> {
        if op.f != "read" {
            return elements.contains(&op.value).then(|| op.clone());
        }
        let mut op = op.clone();
        if let Outcome::Ok(Value::Array(seen)) = &mut op.outcome {
            seen.retain(|element| elements.contains(element));
        }
        Some(op)
    }

    fn bounds(&self, op: &Seen, all: &[Seen]) -> Option<Bounds> {
        let initial = self.initial.as_str().and_then(|text| text.parse().ok());
        let initial = initial.filter(|_| self.kind == Kind::Counter)?;
        bounds::bounds(op, all, initial)
    }

    fn after(&self, state: &Value, op: &Seen) -> Vec<Value> {
        match self.kind {
            Kind::Map => self.after_map(state, op),
            Kind::MultiRegister => self.after_txn(state, op),
            Kind::Versioned => self.after_versioned(state, op),
            Kind::Lock { reentrant, fenced } => after_lock(state, op, reentrant, fenced),
            Kind::Semaphore => after_semaphore(state, op),
            Kind::Set | Kind::Multiset => self.after_set(state, op),
            Kind::Counter => after_counter(state, op),
            Kind::List => after_list(state, op),
            Kind::Log => after_log(state, op),
            _ => self.after_container(state, op),
        }
    }

    fn observes(&self, op: &Seen) -> bool {
        let refused = op.outcome == Outcome::Refused;
        match (self.kind, op.f.as_str()) {
            (Kind::MultiRegister, _) => elements(&op.value).iter().all(is_read),
            (_, "read" | "get" | "poll") if !self.is_container() => true,
            (_, "peek" | "contains") => true,
            (Kind::Counter, _) => refused || op.value.as_i64() == Some(0),
            (Kind::Set, "add") if op.answer() == Some(false) => true,
            (Kind::Set | Kind::Multiset, "remove") if op.answer() == Some(false) => true,
            (_, "dequeue" | "pop" | "poll") => op.outcome == Outcome::Ok(Value::Null) || refused,
            (_, "cas") if op.value[0] == op.value[1] => self.kind == Kind::Map || refused,
            _ => refused,
        }
    }

    fn minds_processes(&self) -> bool {
        matches!(self.kind, Kind::Lock { .. })
    }

    fn leaves(&self, op: &Seen) -> Touch {
        if self.observes(op) {
            return Touch::Nothing;
        }
        match (self.kind, op.f.as_str()) {
            (Kind::Set | Kind::Multiset, _) => Touch::These(vec![op.value.clone()]),
            (_, "dequeue" | "pop" | "poll") => match &op.outcome {
                Outcome::Ok(element) => element_of(element),
                _ if self.kind == Kind::Bag => Touch::These(vec![nothing()]),
                _ => Touch::Everything,
            },
            _ if self.is_container() => element_of(&op.value),
            (Kind::MultiRegister, _) => Touch::These(self.parts(op, false)),
            (Kind::Map, "put" | "write") => Touch::These(vec![op.value.clone()]),
            (Kind::Map, "delete") => Touch::These(vec![Value::Null]),
            (Kind::Map, "cas") => Touch::These(vec![op.value[1].clone()]),
            (Kind::List, _) => Touch::These(vec![op.value.clone()]),
            _ => Touch::Everything,
        }
    }

    fn needs(&self, op: &Seen) -> Touch {
        let refused = op.outcome == Outcome::Refused;
        match (self.kind, op.f.as_str()) {
            (Kind::Set | Kind::Multiset, "read") => Touch::Everything,
            (Kind::Set | Kind::Multiset, "add") if op.answer().is_none() => Touch::Nothing,
            (Kind::Set | Kind::Multiset, _) => Touch::These(vec![op.value.clone()]),
            (_, "dequeue" | "pop" | "poll" | "peek") if self.is_container() => match &op.outcome {
                Outcome::Ok(Value::Null) | Outcome::Refused => Touch::These(vec![nothing()]),
                Outcome::Ok(element) => element_of(element),
                Outcome::Unknown => Touch::Nothing,
            },
            _ if self.is_container() => element_of(&op.value),
            (Kind::MultiRegister, _) => Touch::These(self.parts(op, true)),
            (Kind::Map, "put" | "write" | "delete") => Touch::Nothing,
            (Kind::Map, "get" | "read") => match &op.outcome {
                Outcome::Ok(seen) => Touch::These(vec![seen.clone()]),
                _ => Touch::Nothing,
            },
            (Kind::Map, "cas") if !refused => Touch::These(vec![op.value[0].clone()]),
            (Kind::Counter, "add" | "increment" | "inc" | "decrement" | "dec") => Touch::Nothing,
            (Kind::Counter, "add-and-get" | "get-and-add") if op.outcome == Outcome::Unknown => {
                Touch::Nothing
            }
            (Kind::List, "append") => Touch::Nothing,
            // What is not shown was appended later, all of it.
            (Kind::List, _) => match &op.outcome {
                Outcome::Ok(shown) => Touch::These(elements(shown).to_vec()),
                _ => Touch::Nothing,
            },
            (Kind::Log, "append") if told_offset(op).is_none() => Touch::Nothing,
            _ => Touch::Everything,
        }
    }
}

/// What stands for a container's having no element, and is none.
fn nothing() -> Value {
    json!({"nothing": true})
}

fn element_of(element: &Value) -> Touch {
    Touch::These(vec![json!({"element": element})])
}

fn is_read(part: &Value) -> bool {
    matches!(part[0].as_str(), Some("read" | "r"))
}

impl Seen {
    /// Whether an operation on an element of a set found what it says.
    fn answer(&self) -> Option<bool> {
        match &self.outcome {
            Outcome::Refused => Some(false),
            Outcome::Unknown => None,
            Outcome::Ok(Value::Bool(answer)) if !self.value.is_boolean() => Some(*answer),
            Outcome::Ok(result) if *result == json!([self.value, true]) => Some(true),
            Outcome::Ok(result) if *result == json!([self.value, false]) => Some(false),
            Outcome::Ok(_) => None,
        }
    }

    pub(super) fn result(&self) -> Option<&Value> {
        match &self.outcome {
            Outcome::Ok(result) => Some(result),
            _ => None,
        }
    }
}

fn told_offset(op: &Seen) -> Option<u64> {
    match op.result().map(elements) {
        Some([offset, element]) if *element == op.value => offset.as_u64(),
        _ => None,
    }
}

impl Reference {
    fn is_container(&self) -> bool {
        use Kind::{Bag, Largest, Queue, Smallest, Stack};
        matches!(self.kind, Bag | Queue | Stack | Largest | Smallest)
    }

    fn after_map(&self, state: &Value, op: &Seen) -> Vec<Value> {
        let same = |possible| only_if(possible, state.clone());
        let refused = op.outcome == Outcome::Refused;
        match op.f.as_str() {
            "get" | "read" => same(
                op.result()
                    .is_none_or(|seen| seen == state || seen.is_null() && self.null_says_nothing),
            ),
            "cas" if refused => same(op.value[0] != *state),
            "cas" => only_if(op.value[0] == *state, op.value[1].clone()),
            _ if refused => same(true),
            "put" | "write" => vec![op.value.clone()],
            "delete" => vec![Value::Null],
            _ => match (state, &op.value) {
                (Value::String(text), Value::String(more)) => vec![(text.clone() + more).into()],
                (Value::Null, Value::String(_)) => vec![op.value.clone()],
                (Value::Null, more) => vec![json!([more])],
                (Value::Array(list), more) => {
                    vec![
                        [list.as_slice(), std::slice::from_ref(more)]
                            .concat()
                            .into(),
                    ]
                }
                _ => Vec::new(),
            },
        }
    }

    /// What a transaction wrote, or what it saw: registers with values.
    fn parts(&self, op: &Seen, reads: bool) -> Vec<Value> {
        let seen = op.result().filter(|result| !result.is_null());
        let known = op.result().is_some();
        let parts = elements(seen.unwrap_or(&op.value)).iter();
        let parts = parts.filter(|part| is_read(part) == reads && (known || !reads));
        let parts = parts.filter(|part| !reads || !part[2].is_null() || !self.null_says_nothing);
        parts.map(|part| json!([register(part), part[2]])).collect()
    }

    fn after_txn(&self, state: &Value, op: &Seen) -> Vec<Value> {
        if op.outcome == Outcome::Refused {
            return vec![state.clone()];
        }
        let seen = op.result().filter(|result| !result.is_null());
        let known = op.result().is_some();
        let mut registers = state.clone();
        for part in elements(seen.unwrap_or(&op.value)) {
            let value = &part[2];
            if !is_read(part) {
                registers[register(part)] = value.clone();
            } else if known
                && registers[register(part).as_str()] != *value
                && !(value.is_null() && self.null_says_nothing)
            {
                return Vec::new();
            }
        }
        vec![without_nulls(&registers)]
    }

    fn after_versioned(&self, state: &Value, op: &Seen) -> Vec<Value> {
        let (version, held) = (&state[0], &state[1]);
        let told = op.result().map_or(&Value::Null, |result| &result[0]);
        let next = json!(version.as_u64().unwrap_or(0) + 1);
        let made = told.is_null() || *told == next;
        match (op.f.as_str(), &op.outcome) {
            ("read", Outcome::Ok(seen)) => {
                let value = &seen[1];
                let fits = value == held || value.is_null() && self.null_says_nothing;
                only_if(fits && (told.is_null() || told == version), state.clone())
            }
            ("cas", Outcome::Refused) => only_if(op.value[1][0] != *held, state.clone()),
            ("cas", _) => {
                let [from, to] = [&op.value[1][0], &op.value[1][1]];
                only_if(from == held && made, json!([next, to]))
            }
            ("write", Outcome::Ok(_) | Outcome::Unknown) => {
                only_if(made, json!([next, op.value[1]]))
            }
            _ => vec![state.clone()],
        }
    }

    fn after_set(&self, state: &Value, op: &Seen) -> Vec<Value> {
        let all = elements(state);
        let found = all.iter().position(|element| *element == op.value);
        let same = |possible| only_if(possible, state.clone());
        let answer = op.answer();
        let without = |at: usize| [&all[..at], &all[at + 1..]].concat().into();
        let with = || sorted([all, std::slice::from_ref(&op.value)].concat());
        let multiset = self.kind == Kind::Multiset;
        match op.f.as_str() {
            "read" => same(
                op.result()
                    .is_none_or(|seen| sorted(elements(seen).to_vec()) == *state),
            ),
            "contains" if op.outcome == Outcome::Refused => same(true),
            "contains" => same(answer.is_none_or(|there| there == found.is_some())),
            "add" if multiset && op.outcome == Outcome::Refused => same(true),
            "add" => match answer.is_some_and(|new| new != found.is_none()) {
                true => Vec::new(),
                false if found.is_some() && !multiset => same(true),
                false => vec![with()],
            },
            _ => match (answer, found) {
                (Some(true), None) | (Some(false), Some(_)) => Vec::new(),
                (_, None) => same(true),
                (_, Some(at)) => vec![without(at)],
            },
        }
    }

    fn after_container(&self, state: &Value, op: &Seen) -> Vec<Value> {
        let all = elements(state);
        let last = all.len().saturating_sub(1);
        let next: Vec<usize> = match self.kind {
            _ if all.is_empty() => Vec::new(),
            Kind::Bag => (0..all.len()).collect(),
            Kind::Stack | Kind::Largest => vec![last],
            _ => vec![0],
        };
        let without = |at: &usize| -> Value { [&all[..*at], &all[at + 1..]].concat().into() };
        match (op.f.as_str(), &op.outcome) {
            ("enqueue" | "push" | "insert" | "add", Outcome::Refused) => vec![state.clone()],
            ("enqueue" | "push" | "insert" | "add", _) => {
                let more = [all, std::slice::from_ref(&op.value)].concat();
                match self.kind {
                    Kind::Queue | Kind::Stack => vec![more.into()],
                    _ => vec![sorted(more)],
                }
            }
            (_, Outcome::Ok(Value::Null) | Outcome::Refused) => {
                only_if(all.is_empty(), state.clone())
            }
            ("peek", Outcome::Unknown) => vec![state.clone()],
            ("peek", Outcome::Ok(seen)) => {
                only_if(next.iter().any(|at| all[*at] == *seen), state.clone())
            }
            (_, Outcome::Ok(taken)) => {
                let fits = next.iter().find(|at| all[**at] == *taken);
                fits.map(without).into_iter().collect()
            }
            // Which one, nobody knows; to be taken out it must be there.
            (_, Outcome::Unknown) => distinct(&next.iter().map(without).collect::<Vec<_>>()),
        }
    }
}

fn register(part: &Value) -> String {
    match &part[1] {
        Value::String(name) => name.clone(),
        other => other.to_string(),
    }
}

fn after_lock(state: &Value, op: &Seen, reentrant: bool, fenced: bool) -> Vec<Value> {
    let client = match op.value.get("client") {
        Some(client) => json!({"client": client}),
        None if reentrant || fenced => json!({"process": op.process}),
        None => json!("anybody"),
    };
    let mine = state["owner"] == client;
    let free = state["owner"].is_null();
    let depth = state["depth"].as_u64().unwrap_or(0);
    let acquires = matches!(op.f.as_str(), "acquire" | "lock");
    let can_acquire = free || mine && reentrant;
    match (acquires, &op.outcome) {
        (true, Outcome::Refused) => only_if(!can_acquire, state.clone()),
        (false, Outcome::Refused) => only_if(!mine, state.clone()),
        (false, _) => {
            let mut after = state.clone();
            after["depth"] = json!(depth.saturating_sub(1));
            if depth == 1 {
                after["owner"] = Value::Null;
                after["exact"] = json!(false);
            }
            only_if(mine, after)
        }
        (true, _) => {
            if !can_acquire {
                return Vec::new();
            }
            let mut after = state.clone();
            after["owner"] = client;
            after["depth"] = json!(depth + 1);
            let seen = op.result().map(|seen| match seen.get("fence") {
                Some(fence) => fence.as_i64(),
                None => seen.as_i64(),
            });
            // The largest fence that was given out, or the least that it can be.
            let least = state["least"].as_i64().unwrap_or(0);
            match seen.flatten().filter(|seen| fenced && *seen != 0) {
                None if fenced && free => after["least"] = json!(least.saturating_add(1)),
                None => {}
                Some(seen) => {
                    let fits = match (free, state["exact"] == true) {
                        (true, _) => seen > least,
                        (false, true) => seen == least,
                        (false, false) => seen >= least,
                    };
                    if !fits {
                        return Vec::new();
                    }
                    after["least"] = json!(seen);
                    after["exact"] = json!(true);
                }
            }
            vec![after]
        }
    }
}

fn after_semaphore(state: &Value, op: &Seen) -> Vec<Value> {
    let holder = match op.value.get("client") {
        Some(client) => format!("client {client}"),
        None => "anybody".to_owned(),
    };
    let wanted = match &op.value {
        Value::Object(fields) => fields.get("permits").and_then(Value::as_u64).unwrap_or(1),
        value => value.as_u64().unwrap_or(1),
    };
    let free = state["free"].as_u64().unwrap_or(0);
    let held = state[holder.as_str()].as_u64().unwrap_or(0);
    let acquires = op.f == "acquire";
    let possible = if acquires {
        free >= wanted
    } else {
        held >= wanted
    };
    if op.outcome == Outcome::Refused {
        return only_if(!possible, state.clone());
    }
    if !possible {
        return Vec::new();
    }
    let mut after = state.clone();
    let (free, held) = match acquires {
        true => (free - wanted, held + wanted),
        false => (free + wanted, held - wanted),
    };
    after["free"] = json!(free);
    after[holder] = match held {
        0 => Value::Null,
        held => json!(held),
    };
    vec![without_nulls(&after)]
}

fn after_counter(state: &Value, op: &Seen) -> Vec<Value> {
    let number = |value: &Value| value.as_i64().map(i128::from);
    let now: i128 = state
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    let seen = op.result().and_then(number);
    if op.f == "read" {
        return only_if(seen.is_none_or(|seen| seen == now), state.clone());
    }
    if op.outcome == Outcome::Refused {
        return vec![state.clone()];
    }
    let after = now + bounds::change(op);
    let fits = match op.f.as_str() {
        "add-and-get" => seen.is_none_or(|seen| seen == after),
        "get-and-add" => seen.is_none_or(|seen| seen == now),
        _ => true,
    };
    only_if(fits, after.to_string().into())
}

fn after_list(state: &Value, op: &Seen) -> Vec<Value> {
    match (op.f.as_str(), &op.outcome) {
        ("append", Outcome::Ok(_) | Outcome::Unknown) => {
            vec![
                [elements(state), std::slice::from_ref(&op.value)]
                    .concat()
                    .into(),
            ]
        }
        ("read", Outcome::Ok(seen)) => only_if(elements(seen) == elements(state), state.clone()),
        _ => vec![state.clone()],
    }
}

fn after_log(state: &Value, op: &Seen) -> Vec<Value> {
    let entries = elements(state);
    match (op.f.as_str(), &op.outcome) {
        ("append", Outcome::Ok(_) | Outcome::Unknown) => {
            let fits = told_offset(op).is_none_or(|offset| offset == entries.len() as u64);
            let more = [entries, std::slice::from_ref(&op.value)].concat();
            only_if(fits, more.into())
        }
        ("read" | "poll", Outcome::Ok(seen)) => {
            let offset = seen[0].as_u64().unwrap_or(0) as usize;
            only_if(
                entries.get(offset).unwrap_or(&Value::Null) == &seen[1],
                state.clone(),
            )
        }
        _ => vec![state.clone()],
    }
}
