//! What the faults did, and what the clients did meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use store::{Event, EventType, Name};

use super::nodes::Nodes;
use super::window::{Ended, Packets, Tally, Window, WindowReport};

/// Windows that are told one by one; all others together.
const WINDOWS_MAX: usize = 200;
/// Sides that are told one by one. A ring of many nodes has as many sides in every window.
const SIDES_MAX: usize = 2000;

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
    skipped: u64,
    indeterminate: u64,
    last_error: Option<Value>,
    /// In order, each begun when the one before had ended. Only the last may be in force.
    windows: Vec<Window>,
    /// Operations that began after the end of one of them, and succeeded.
    ok_later: u64,
}

/// What effective windows come to together.
#[derive(Debug, Default)]
struct Sum {
    effective: u64,
    with_leader: u64,
    targets: BTreeSet<Name>,
    packets: Packets,
    operations: Tally,
}

impl Fault {
    /// Takes an event. True if it began a window.
    fn take(&mut self, event: &Event) -> bool {
        if event.is_invoke() {
            if is_stop(&event.f)
                && let Some(window) = self.windows.last_mut()
            {
                window.end_at(event);
            }
            self.doing = Some(event.f.clone());
            return false;
        }
        if let Some(error) = &event.error {
            self.last_error = Some(error.clone());
        }
        match self.doing.take() {
            Some(f) if &*f == "start" => self.started(event),
            Some(f) if is_stop(&f) => {
                if let Some(window) = self.windows.last_mut() {
                    window.stop_ended(event);
                }
                false
            }
            _ => false,
        }
    }

    fn started(&mut self, event: &Event) -> bool {
        self.activities += 1;
        match event.kind {
            EventType::Fail | EventType::Invoke => {
                self.skipped += 1;
                return false;
            }
            EventType::Info => self.indeterminate += 1,
            EventType::Ok => {}
        }
        if let Some(before) = self.windows.last_mut() {
            before.end_at(event);
        }
        self.windows.push(Window::new(event));
        true
    }

    fn operation(&mut self, ended: &Ended<'_>) {
        let over = self
            .windows
            .first()
            .is_some_and(|first| first.is_before(ended));
        self.ok_later += u64::from(over && ended.kind == EventType::Ok);
        // Windows end in order: before one that had ended, all had.
        for window in self.windows.iter_mut().rev() {
            if !window.take(ended) {
                break;
            }
        }
    }

    fn effective(&self) -> impl Iterator<Item = &Window> {
        self.windows.iter().filter(|window| window.effective)
    }

    fn sum(&self) -> Sum {
        let mut sum = Sum::default();
        for window in self.effective() {
            sum.effective += 1;
            sum.with_leader += u64::from(window.leader);
            sum.targets.extend(window.targets.iter().cloned());
            sum.operations.merge(window.operations().all);
            for (kind, count) in &window.packets {
                *sum.packets.entry(kind).or_default() += count;
            }
        }
        sum
    }

    fn problem(&self, name: &str, leaders: bool, nodes: &Nodes) -> Option<String> {
        if self.activities == 0 {
            return Some(format!(
                "{name} was asked for, but never began; raise --time-limit, or shorten its \
                 interval (--nemesis {name}:interval=…)."
            ));
        }
        let sum = self.sum();
        if sum.effective == 0 {
            return Some(self.never_effective(name));
        }
        if sum.operations.count() == 0 {
            return Some(format!(
                "No operation was open while {name} was in force; raise --rate or --concurrency."
            ));
        }
        // Where nothing could succeed, what came afterwards shows what was lost.
        let later = self.ok_later > 0 && self.effective().all(|it| it.left_no_majority(nodes));
        if sum.operations.ok == 0 && !later {
            return Some(format!(
                "No operation that was open while {name} was in force succeeded; strike fewer nodes at \
                 once, or raise --time-limit so that it lasts longer than an election."
            ));
        }
        if let Some(problem) = self.one_sided(name, nodes) {
            return Some(problem);
        }
        (leaders && sum.with_leader == 0).then(|| {
            format!(
                "{name} never struck a leader; raise --time-limit, or aim at one (--nemesis \
                 {name}:target=primaries)."
            )
        })
    }

    /// A partition of which only one side was ever asked for anything shows nothing. That a side without a
    /// quorum acknowledges nothing is as it should be: attempts are enough.
    fn one_sided(&self, name: &str, nodes: &Nodes) -> Option<String> {
        let straddled: Vec<bool> = self
            .effective()
            .filter_map(|window| window.straddled(nodes))
            .collect();
        if straddled.is_empty() || straddled.contains(&true) {
            return None;
        }
        let busy: BTreeSet<&Name> = self.effective().flat_map(|it| it.busy(nodes)).collect();
        let busy: Vec<&str> = busy.into_iter().map(|name| &**name).collect();
        let on = match busy.as_slice() {
            [] => "the history does not say on which nodes they were".to_owned(),
            busy => format!("they were on {} alone in each window", busy.join(", ")),
        };
        Some(format!(
            "While {name} was in force, no operations were attempted on both sides of a cut ({on}); have \
             clients on every node (--concurrency 1n or more), and raise --rate or --time-limit."
        ))
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
        let sum = self.sum();
        let mut details = json!({
            "name": name,
            "requested": self.requested,
            "activities": self.activities,
            "effective": sum.effective,
            "skipped": self.skipped,
            "indeterminate": self.indeterminate,
            "with-leader": sum.with_leader,
            "targets": sum.targets,
            "ok": sum.operations.ok,
            "fail": sum.operations.fail,
            "info": sum.operations.info,
            "ok-in-force": sum.operations.ok_in_force,
        });
        if !sum.packets.is_empty() {
            details["packets"] = json!(sum.packets);
        }
        details
    }
}

fn is_stop(f: &str) -> bool {
    // The last one is the interpreter's own, for whatever stands at the end.
    matches!(f, "stop" | "heal")
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

    /// Takes an event of a fault. If it began a window, about how many bytes the one before it takes.
    pub(super) fn take(&mut self, name: &Name, event: &Event) -> Option<usize> {
        let fault = match self.by_name.get_mut(name) {
            Some(fault) => fault,
            None => self.by_name.entry(name.clone()).or_default(),
        };
        let began = fault.take(event);
        began.then(|| fault.windows.iter().rev().nth(1).map_or(0, Window::bytes))
    }

    /// A client's operation ended, or was still open when the history did.
    pub(super) fn operation_ended(&mut self, ended: &Ended<'_>) {
        for fault in self.by_name.values_mut() {
            fault.operation(ended);
        }
    }

    /// The history is over: names the nodes that faults spoke of.
    pub(super) fn name_nodes(&self, nodes: &mut Nodes) {
        let windows = self.by_name.values().flat_map(|fault| &fault.windows);
        windows.for_each(|window| window.name_nodes(nodes));
    }

    pub(super) fn problems(
        &self,
        owes_leader: impl Fn(&str) -> bool,
        nodes: &Nodes,
    ) -> Vec<String> {
        self.by_name
            .iter()
            .filter(|(_, fault)| fault.requested)
            .filter_map(|(name, fault)| fault.problem(name, owes_leader(name), nodes))
            .collect()
    }

    pub(super) fn details(&self) -> Value {
        // What was not asked for and never acted only looks on, as the leader watch does.
        let acts = |fault: &Fault| fault.requested || fault.activities > 0;
        let faults = self.by_name.iter().filter(|(_, fault)| acts(fault));
        faults.map(|(name, fault)| fault.details(name)).collect()
    }

    /// The first windows, one by one in the order in which they began; how many others there were, and
    /// how the operations in them ended.
    pub(super) fn windows(&self, nodes: &Nodes) -> (Vec<WindowReport>, u64, Tally) {
        let faults = self.by_name.iter();
        let mut all: Vec<(&Name, &Window)> = faults
            .flat_map(|(name, fault)| fault.windows.iter().map(move |window| (name, window)))
            .collect();
        all.sort_by_key(|(_, window)| window.from);
        let (mut told, mut sides) = (Vec::new(), 0);
        for (name, window) in all.iter().take(WINDOWS_MAX) {
            let report = window.report(name, nodes);
            sides += report.sides.len();
            if sides > SIDES_MAX {
                break;
            }
            told.push(report);
        }
        let rest = &all[told.len()..];
        let mut operations = Tally::default();
        for (_, window) in rest {
            operations.merge(window.operations().all);
        }
        (told, rest.len() as u64, operations)
    }
}
