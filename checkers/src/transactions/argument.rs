//! Arguments that some transactions are impossible: made from what their evidence shows, and proved again from that alone.

use serde_json::Value;
use store::EventType;

use super::anomaly::Anomaly;
use super::deciding::Decided;
use super::evidence::{self, Follows, Impossible, Objects, PassedOver, Relation, TransactionView};
use super::polygraph::{
    Argument, Conclusion, INITIAL, Link, Model, Moment, Observations, Observed, Proof, Reason,
    Respects, Step, proves,
};
use super::telling::explain;
use super::verify::{foreign_lists, micro, took_effect};

/// Evidence with an argument, if that holds of what the evidence shows.
pub(super) fn conclude(
    anomaly: Anomaly,
    objects: Objects,
    transactions: Vec<TransactionView>,
    passed_over: Vec<PassedOver>,
    proof: Proof,
) -> Decided {
    let mut made = Impossible {
        anomaly: anomaly.name().to_owned(),
        objects,
        steps: steps(&transactions, &proof.argument),
        transactions,
        passed_over,
        proof,
        explanation: Vec::new(),
    };
    made.explanation = explain(&made);
    match verify(&made) {
        true => Decided::Violated(Box::new(made)),
        false => Decided::Unknown("what was found could not be proved again".to_owned()),
    }
}

/// Whether an argument holds, of what its evidence shows.
pub(super) fn verify(evidence: &Impossible) -> bool {
    let seen = observations(
        evidence.objects,
        &evidence.transactions,
        &evidence.passed_over,
    );
    proves(&seen, &evidence.proof) && name(evidence) == evidence.anomaly
}

/// What it is called, by its level.
fn name(evidence: &Impossible) -> String {
    let what = match evidence.proof.level.model {
        Model::Serializable => "no-serial-order",
        Model::SnapshotIsolation => "no-snapshots",
        Model::Prefix => "no-prefixes",
    };
    let base = match evidence.proof.level.respects {
        Respects::Nothing => "",
        Respects::Sessions => "-process",
        Respects::RealTime => "-realtime",
    };
    format!("{what}{base}")
}

/// All keys, in order of their first appearance.
pub(super) fn keys(views: &[TransactionView]) -> Vec<&Value> {
    let mut keys: Vec<&Value> = Vec::new();
    for (_, key, _) in views.iter().flat_map(micro) {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

/// What a transaction leaves of a register.
pub(super) fn left<'a>(view: &'a TransactionView, key: &Value) -> Option<&'a Value> {
    let mut writes = micro(view).filter(|(f, of, _)| *f == "w" && *of == key);
    writes.next_back().map(|(_, _, what)| what)
}

/// What a transaction read of others' registers, each once.
pub(super) fn foreign(view: &TransactionView) -> Vec<(&Value, &Value)> {
    let mut own: Vec<&Value> = Vec::new();
    let mut reads: Vec<(&Value, &Value)> = Vec::new();
    for (f, key, what) in micro(view).filter(|_| view.outcome == EventType::Ok) {
        if f == "w" {
            own.push(key);
        } else if !own.contains(&key) && !reads.contains(&(key, what)) {
            reads.push((key, what));
        }
    }
    reads
}

/// The transactions of some evidence as a history, each with the number of its place.
pub(super) fn observations(
    objects: Objects,
    views: &[TransactionView],
    passed_over: &[PassedOver],
) -> Observations {
    match objects {
        Objects::Registers => registers(views, passed_over),
        Objects::Lists => lists(views),
        // Nothing is argued of these.
        Objects::Rows | Objects::Sets | Objects::Counters => Observations::new(),
    }
}

/// Where and when a transaction took place.
fn when(view: &TransactionView) -> Observed<'static> {
    let ok = view.outcome == EventType::Ok;
    let event = |event: Option<u64>| event.and_then(|event| u32::try_from(event).ok());
    Observed {
        session: Some(view.process as u32),
        open: !ok,
        begin: event(view.invoke),
        end: event(view.complete.filter(|_| ok)),
        ..Observed::default()
    }
}

/// Reads that others may have been seen by are passed over.
fn registers(views: &[TransactionView], passed_over: &[PassedOver]) -> Observations {
    let keys = keys(views);
    let number = |key: &Value| keys.iter().position(|one| *one == key).unwrap_or_default() as u32;
    let mut seen = Observations::new();
    for view in views {
        let written = keys.iter().filter(|key| left(view, key).is_some());
        let writes: Vec<u32> = written.map(|key| number(key)).collect();
        let mut reads: Vec<(u32, Vec<u32>)> = Vec::new();
        for (key, value) in foreign(view) {
            let is_passed_over = passed_over
                .iter()
                .any(|one| one.transaction == view.name && one.key == *key && one.value == *value);
            let others = (0u32..).zip(views).filter(|(_, other)| {
                other.name != view.name
                    && other.outcome != EventType::Fail
                    && left(other, key) == Some(value)
            });
            let mut candidates: Vec<u32> = others.map(|(at, _)| at).collect();
            if value.is_null() {
                candidates.push(INITIAL);
            }
            if !is_passed_over && !candidates.is_empty() {
                reads.push((number(key), candidates));
            }
        }
        let borrowed: Vec<(u32, &[u32])> = reads.iter().map(|(key, of)| (*key, &of[..])).collect();
        seen.push(&Observed {
            writes: &writes,
            reads: &borrowed,
            ..when(view)
        });
    }
    seen
}

/// The last element that a transaction appended to a key.
pub(super) fn last_append<'a>(view: &'a TransactionView, key: &Value) -> Option<&'a Value> {
    let mut appends = micro(view).filter(|(f, of, _)| *f == "append" && *of == key);
    appends.next_back().map(|(_, _, what)| what)
}

/// Of lists, what they show by themselves: an append has a place if one of these transactions read it.
fn lists(views: &[TransactionView]) -> Observations {
    let keys = keys(views);
    let ok = |view: &&TransactionView| view.outcome == EventType::Ok;
    let orders = keys.iter().map(|key| {
        let lists = views.iter().filter(ok);
        let lists = lists.flat_map(|view| foreign_lists(view, key));
        lists.max_by_key(Vec::len).unwrap_or_default()
    });
    let orders: Vec<Vec<Value>> = orders.collect();
    let mut seen = Observations::new();
    for view in views {
        // What may not have happened shows nothing.
        if !took_effect(view, views) {
            seen.push(&Observed::default());
            continue;
        }
        let (mut writes, mut placed, mut shown) = (Vec::new(), Vec::new(), Vec::new());
        for ((number, key), order) in (0u32..).zip(&keys).zip(&orders) {
            if let Some(element) = last_append(view, key) {
                writes.push(number);
                let place = order.iter().position(|one| one == element);
                placed.extend(place.map(|place| (number, place as u32 + 1)));
            }
            let lists = Some(view).filter(ok).into_iter();
            let mut lists = lists.flat_map(|view| foreign_lists(view, key));
            if let Some(list) = lists.next().filter(|list| order.starts_with(list)) {
                shown.push((number, list.len() as u32));
            }
        }
        seen.push(&Observed {
            writes: &writes,
            placed: &placed,
            shown: &shown,
            ..when(view)
        });
    }
    seen
}

/// Shows all links of an argument.
fn each_link(argument: &Argument, visit: &mut dyn FnMut(&Link)) {
    let mut open = vec![argument];
    while let Some(argument) = open.pop() {
        for step in &argument.steps {
            match step {
                Step::Forced { refuted: paths, .. } | Step::Excluded { paths, .. } => {
                    paths.iter().flatten().for_each(&mut *visit);
                }
            }
        }
        match &argument.end {
            Conclusion::Cycle { links } => links.iter().for_each(&mut *visit),
            Conclusion::Cases { cases, .. } => open.extend(cases),
            Conclusion::NoSource { .. }
            | Conclusion::TooFew { .. }
            | Conclusion::NoBeginning { .. } => {}
        }
    }
}

/// The keys whose order an argument takes from lists that somebody read.
pub(super) fn orders(argument: &Argument) -> Vec<u32> {
    let mut keys: Vec<u32> = Vec::new();
    each_link(argument, &mut |link| {
        if let Reason::Ordered { key } = link.why {
            keys.push(key);
        }
    });
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// What an argument takes from the history, each once.
fn steps(views: &[TransactionView], argument: &Argument) -> Vec<evidence::Step> {
    let keys = keys(views);
    let mut steps: Vec<evidence::Step> = Vec::new();
    each_link(argument, &mut |link| {
        let (Moment::Begin(from) | Moment::Commit(from)) = link.from;
        let (Moment::Begin(to) | Moment::Commit(to)) = link.to;
        let (Some(first), Some(second)) = (views.get(from as usize), views.get(to as usize)) else {
            return;
        };
        let written = |view, key: u32| {
            let key = keys.get(key as usize)?;
            left(view, key).or_else(|| last_append(view, key)).cloned()
        };
        let (relation, key) = match link.why {
            Reason::Session => (Relation::Process, None),
            Reason::RealTime => (Relation::Realtime, None),
            Reason::Saw { read } => (Relation::Wr, Some(read.key)),
            Reason::Shows { key } => (Relation::Wr, Some(key)),
            Reason::Initial { read } => (Relation::Rw, Some(read.key)),
            Reason::Lacks { key } => (Relation::Rw, Some(key)),
            Reason::Ordered { key } => (Relation::Ww, Some(key)),
            Reason::Inside | Reason::Shown => return,
        };
        let mut step = evidence::Step::new(first.name.clone(), second.name.clone(), relation);
        if let Some(key) = key {
            step.key = keys.get(key as usize).map(|key| (*key).clone());
            if relation != Relation::Rw {
                step.value = written(first, key);
            }
            if relation != Relation::Wr {
                step.next = written(second, key);
            }
            if let Reason::Initial { .. } = link.why {
                (step.value, step.follows) = (Some(Value::Null), Some(Follows::Initial));
            }
        }
        if !steps.contains(&step) {
            steps.push(step);
        }
    });
    steps
}
