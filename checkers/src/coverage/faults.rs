//! What the faults did, and what the clients did meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use store::{Event, EventType, Name};

use crate::stats::Counts;

/// All faults of a run: those asked for, and those that were seen.
#[derive(Debug)]
pub(super) struct Faults {
    by_name: BTreeMap<Name, Fault>,
}

#[derive(Debug, Default)]
struct Fault {
    requested: bool,
    /// What its open event was to do.
    doing: Option<Name>,
    activities: u64,
    effective: u64,
    skipped: u64,
    indeterminate: u64,
    with_leader: u64,
    targets: BTreeSet<String>,
    /// Operations that overlapped an effective activity.
    overlapped: Counts,
    /// Operations that succeeded while an effective activity was in force.
    ok_in_force: u64,
    last_error: Option<Value>,
    activity: Option<Activity>,
}

/// From a `start` that may have done something until the next one.
#[derive(Debug, Default)]
struct Activity {
    effective: bool,
    leader: bool,
    targets: BTreeSet<String>,
    overlapped: Counts,
    ok_in_force: u64,
    /// The event that began to end it; `None` while it is in force.
    stopped: Option<u64>,
}

impl Activity {
    /// Takes what a completion says.
    fn learn(&mut self, value: &Value) {
        let says = |field: &str| value.get(field).and_then(Value::as_bool) == Some(true);
        self.effective |= says("effective");
        self.leader |= says("leader");
        let targets = value.get("targets").and_then(Value::as_array);
        let names = targets.into_iter().flatten().filter_map(Value::as_str);
        self.targets.extend(names.map(str::to_owned));
    }

    fn overlaps(&self, invoke: u64) -> bool {
        self.stopped.is_none_or(|stopped| stopped > invoke)
    }
}

impl Fault {
    fn take(&mut self, event: &Event) {
        if event.is_invoke() {
            if &*event.f == "stop"
                && let Some(activity) = &mut self.activity
            {
                activity.stopped.get_or_insert(event.index);
            }
            self.doing = Some(event.f.clone());
            return;
        }
        if let Some(error) = &event.error {
            self.last_error = Some(error.clone());
        }
        match self.doing.take().as_deref() {
            Some("start") => self.started(event),
            Some("stop") => self.stopped(event),
            _ => {}
        }
    }

    fn started(&mut self, event: &Event) {
        self.activities += 1;
        match event.kind {
            EventType::Fail | EventType::Invoke => {
                self.skipped += 1;
                return;
            }
            EventType::Info => self.indeterminate += 1,
            EventType::Ok => {}
        }
        self.settle();
        let mut activity = Activity::default();
        activity.learn(&event.value);
        self.activity = Some(activity);
    }

    fn stopped(&mut self, event: &Event) {
        let Some(activity) = &mut self.activity else {
            return;
        };
        activity.learn(&event.value);
        // It could not be stopped, so it goes on.
        if event.kind == EventType::Fail {
            activity.stopped = None;
        }
    }

    /// Counts the last activity, of which everything is known now.
    fn settle(&mut self) {
        let Some(activity) = self.activity.take() else {
            return;
        };
        if !activity.effective {
            return;
        }
        self.effective += 1;
        self.with_leader += u64::from(activity.leader);
        self.targets.extend(activity.targets);
        self.overlapped.merge(activity.overlapped);
        self.ok_in_force += activity.ok_in_force;
    }

    fn operation(&mut self, invoke: u64, kind: EventType) {
        let Some(activity) = &mut self.activity else {
            return;
        };
        if activity.overlaps(invoke) {
            activity.overlapped.add(kind);
            let in_force = activity.stopped.is_none();
            activity.ok_in_force += u64::from(in_force && kind == EventType::Ok);
        }
    }

    fn problem(&self, name: &str, leaders: bool) -> Option<String> {
        if self.activities == 0 {
            return Some(format!(
                "{name} was asked for, but never began; raise --time-limit, or shorten its \
                 interval (--nemesis {name}:interval=…)."
            ));
        }
        if self.effective == 0 {
            return Some(self.never_effective(name));
        }
        if self.overlapped.ended() == 0 {
            return Some(format!(
                "No operation was open while {name} was in force; raise --rate or --concurrency."
            ));
        }
        if self.overlapped.ok == 0 {
            return Some(format!(
                "No operation that was open while {name} was in force succeeded; strike fewer nodes at \
                 once, or raise --time-limit so that it lasts longer than an election."
            ));
        }
        (leaders && self.with_leader == 0).then(|| {
            format!(
                "{name} never struck a leader; raise --time-limit, or aim at one (--nemesis \
                 {name}:target=primaries)."
            )
        })
    }

    fn never_effective(&self, name: &str) -> String {
        let error = self.last_error.as_ref().map_or(String::new(), |error| {
            format!(" (the last error was {error})")
        });
        let times = |count: u64| match count {
            1 => "once".to_owned(),
            count => format!("{count} times"),
        };
        let installed = self.activities - self.skipped - self.indeterminate;
        if self.skipped == self.activities {
            return format!(
                "{name} was skipped each time it was to begin{error}; see that error, or leave \
                 the fault out."
            );
        }
        format!(
            "{name} began {}, and was indeterminate {}, but it was never proved to have taken \
             effect{error}; raise --rate or --time-limit, or see that error.",
            times(installed),
            times(self.indeterminate),
        )
    }

    fn details(&self, name: &str) -> Value {
        json!({
            "name": name,
            "requested": self.requested,
            "activities": self.activities,
            "effective": self.effective,
            "skipped": self.skipped,
            "indeterminate": self.indeterminate,
            "with-leader": self.with_leader,
            "targets": self.targets,
            "ok": self.overlapped.ok,
            "fail": self.overlapped.fail,
            "info": self.overlapped.info,
            "ok-in-force": self.ok_in_force,
        })
    }
}

impl Faults {
    pub(super) fn new(requested: &[String]) -> Faults {
        let fault = || Fault {
            requested: true,
            ..Fault::default()
        };
        let names = requested.iter().map(|name| (name.as_str().into(), fault()));
        Faults {
            by_name: names.collect(),
        }
    }

    /// Takes an event of a fault.
    pub(super) fn take(&mut self, name: &Name, event: &Event) {
        match self.by_name.get_mut(name) {
            Some(fault) => fault.take(event),
            None => self.by_name.entry(name.clone()).or_default().take(event),
        }
    }

    /// A client's operation ended with an event.
    pub(super) fn operation_ended(&mut self, invoke: u64, event: &Event) {
        for fault in self.by_name.values_mut() {
            fault.operation(invoke, event.kind);
        }
    }

    /// A client's operation was still open when the history ended.
    pub(super) fn operation_never_ended(&mut self, invoke: u64) {
        for fault in self.by_name.values_mut() {
            fault.operation(invoke, EventType::Info);
        }
    }

    /// The history is over.
    pub(super) fn end(&mut self) {
        for fault in self.by_name.values_mut() {
            fault.settle();
        }
    }

    pub(super) fn problems(&self, leaders: bool) -> impl Iterator<Item = String> {
        self.by_name
            .iter()
            .filter(|(_, fault)| fault.requested)
            .filter_map(move |(name, fault)| fault.problem(name, leaders))
    }

    pub(super) fn details(&self) -> Value {
        // What was not asked for and never acted only looks on, as the leader watch does.
        let acts = |fault: &Fault| fault.requested || fault.activities > 0;
        let faults = self.by_name.iter().filter(|(_, fault)| acts(fault));
        faults.map(|(name, fault)| fault.details(name)).collect()
    }
}
