//! A fault's activity as a window of time, and what operations came to in it, by side.
//!
//! A window lasts from the completion of a `start`, when the fault is in force, to the invocation of
//! the `stop` (or `heal`) that ends it. While it is being undone nobody knows on which nodes it still
//! acts, so what begins then is in no window. An operation belongs to every window in which it was
//! open, however it ended later; what succeeded before the window's end is counted apart.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{Event, EventType, Name};

use super::nodes::Nodes;
use super::sides::{Grudge, Side};

/// What a fault may say that it did to packets, as numbers by node.
const PACKETS: [&str; 8] = [
    "dropped",
    "rejected",
    "held",
    "delayed",
    "lost",
    "corrupted",
    "duplicated",
    "reordered",
];

/// Packets, by what was done to them.
pub(super) type Packets = BTreeMap<&'static str, u64>;

/// How operations ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tally {
    /// They happened.
    pub ok: u64,
    /// Of these, those acknowledged before the fault began to be undone.
    pub ok_in_force: u64,
    /// They did not happen.
    pub fail: u64,
    /// Nobody knows, those that never ended included.
    pub info: u64,
}

/// How operations ended, all together and by function.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tallies {
    /// All together.
    #[serde(flatten)]
    pub all: Tally,
    /// By function.
    pub by_f: BTreeMap<String, Tally>,
}

/// What operations came to on one side of a fault.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SideReport {
    /// Its nodes.
    pub nodes: Vec<String>,
    /// Whether they were the ones struck, where the fault cut no links.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub struck: bool,
    /// Nodes of other sides that they exchanged packets with: a bridge, a ring.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sees: Vec<String>,
    /// Nodes of other sides whose packets came, while theirs did not get there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hears: Vec<String>,
    /// Nodes of other sides to whom their packets came, but not back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heard_by: Vec<String>,
    /// Operations on these nodes that were open in the window.
    #[serde(flatten)]
    pub operations: Tallies,
}

/// What happened while an activity of a fault was in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WindowReport {
    /// The fault.
    pub fault: String,
    /// When its start had completed, in nanoseconds since the run began.
    pub from: u64,
    /// When its stop was asked for; `None` if it never was.
    pub to: Option<u64>,
    /// Whether it was proved to have acted.
    pub effective: bool,
    /// The nodes struck, as the fault says.
    pub targets: Vec<String>,
    /// What it did to packets, if it says so: how many it dropped, delayed and so on, on all nodes together.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub packets: BTreeMap<String, u64>,
    /// Operations that were open in it.
    #[serde(flatten)]
    pub operations: Tallies,
    /// The same by side; of a fault that cuts no links, the nodes struck and the others. Operations of
    /// which the history does not tell the node are on none.
    pub sides: Vec<SideReport>,
}

/// An operation that ended, or was still open at the end.
pub(super) struct Ended<'a> {
    /// The index of the event that began it.
    pub(super) invoke: u64,
    pub(super) f: &'a Name,
    /// `Info` where it never ended.
    pub(super) kind: EventType,
    /// Its node, if that is known.
    pub(super) node: Option<usize>,
}

impl Tally {
    fn add(&mut self, kind: EventType, in_force: bool) {
        match kind {
            EventType::Ok => {
                self.ok += 1;
                self.ok_in_force += u64::from(in_force);
            }
            EventType::Fail => self.fail += 1,
            EventType::Info => self.info += 1,
            EventType::Invoke => {}
        }
    }

    pub(super) fn merge(&mut self, other: Tally) {
        self.ok += other.ok;
        self.ok_in_force += other.ok_in_force;
        self.fail += other.fail;
        self.info += other.info;
    }

    /// How many operations there were.
    pub fn count(&self) -> u64 {
        self.ok + self.fail + self.info
    }
}

impl Tallies {
    fn add(&mut self, f: &str, tally: Tally) {
        self.all.merge(tally);
        match self.by_f.get_mut(f) {
            Some(sum) => sum.merge(tally),
            None => {
                self.by_f.insert(f.to_owned(), tally);
            }
        }
    }
}

/// From a `start` that may have done something until it is undone.
#[derive(Debug, Default)]
pub(super) struct Window {
    pub(super) from: u64,
    to: Option<u64>,
    /// The event that began to end it; `None` while it is in force.
    stopped: Option<u64>,
    /// Whether a stop succeeded, so that it is over for good.
    closed: bool,
    pub(super) effective: bool,
    pub(super) leader: bool,
    /// Whether its targets were down.
    down: bool,
    pub(super) targets: BTreeSet<Name>,
    pub(super) packets: Packets,
    grudge: Option<Grudge>,
    /// By function and node: place 0 for operations of unknown nodes, place `n + 1` for node `n`.
    by_f: BTreeMap<Name, Vec<Tally>>,
}

impl Window {
    /// What a start begins.
    pub(super) fn new(start: &Event) -> Window {
        let mut window = Window {
            from: start.time,
            grudge: start.value.get("grudge").and_then(Grudge::read),
            ..Window::default()
        };
        window.learn(&start.value);
        window
    }

    /// Something begins to end it.
    pub(super) fn end_at(&mut self, event: &Event) {
        if self.stopped.is_none() {
            self.stopped = Some(event.index);
            self.to = Some(event.time);
        }
    }

    /// A stop ended.
    pub(super) fn stop_ended(&mut self, stop: &Event) {
        if self.closed {
            return;
        }
        self.learn(&stop.value);
        match stop.kind {
            EventType::Ok => self.closed = true,
            // It could not be stopped, so it goes on.
            EventType::Fail => (self.stopped, self.to) = (None, None),
            EventType::Info | EventType::Invoke => {}
        }
    }

    /// Takes what a completion says.
    fn learn(&mut self, value: &Value) {
        let says = |field: &str| value.get(field).and_then(Value::as_bool) == Some(true);
        self.effective |= says("effective");
        self.leader |= says("leader");
        self.down |= says("down");
        let targets = value.get("targets").and_then(Value::as_array);
        let names = targets.into_iter().flatten().filter_map(Value::as_str);
        self.targets.extend(names.map(Name::from));
        for kind in PACKETS {
            let by_node = value.get(kind).and_then(Value::as_object);
            let counts = by_node.into_iter().flat_map(|it| it.values());
            let sum = counts.filter_map(Value::as_u64).sum::<u64>();
            if sum > 0 {
                // The stop counts again what the start counted first.
                let known = self.packets.entry(kind).or_default();
                *known = sum.max(*known);
            }
        }
    }

    /// Takes an operation that ended after the window began. False if it began after its end.
    pub(super) fn take(&mut self, ended: &Ended<'_>) -> bool {
        if self.is_before(ended) {
            return false;
        }
        let place = ended.node.map_or(0, |node| node + 1);
        let row = match self.by_f.get_mut(ended.f) {
            Some(row) => row,
            None => self.by_f.entry(ended.f.clone()).or_default(),
        };
        if row.len() <= place {
            row.resize(place + 1, Tally::default());
        }
        row[place].add(ended.kind, self.stopped.is_none());
        true
    }

    /// About how many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        let tallies = self
            .by_f
            .values()
            .map(|row| 64 + size_of_val(row.as_slice()));
        let grudge = self.grudge.as_ref().map_or(0, Grudge::bytes);
        size_of::<Window>() + tallies.sum::<usize>() + grudge + 64 * self.targets.len()
    }

    /// Names the nodes that it speaks of.
    pub(super) fn name_nodes(&self, nodes: &mut Nodes) {
        let grudge = self.grudge.iter().flat_map(Grudge::names);
        for name in self.targets.iter().chain(grudge) {
            nodes.learn(name);
        }
    }

    /// All operations that were open in it.
    pub(super) fn operations(&self) -> Tallies {
        self.sum(|_| true)
    }

    /// Whether an operation began after its end.
    pub(super) fn is_before(&self, ended: &Ended<'_>) -> bool {
        self.stopped.is_some_and(|stopped| stopped < ended.invoke)
    }

    /// Whether so many nodes were down that no majority was left, so that nothing could succeed in it.
    pub(super) fn left_no_majority(&self, nodes: &Nodes) -> bool {
        self.down && nodes.given() > 0 && self.targets.len() * 2 >= nodes.given()
    }

    /// Whether links were cut, and if so, whether operations were open on nodes that were thereby cut
    /// off from each other.
    pub(super) fn straddled(&self, nodes: &Nodes) -> Option<bool> {
        let grudge = self.grudge.as_ref()?;
        Some(grudge.separates(&self.busy(nodes)))
    }

    /// The nodes that had operations.
    pub(super) fn busy<'a>(&self, nodes: &'a Nodes) -> Vec<&'a Name> {
        let had = |at: usize| {
            let mut rows = self.by_f.values();
            rows.any(|row| row.get(at + 1).is_some_and(|tally| tally.count() > 0))
        };
        let all = nodes.names().iter().enumerate();
        all.filter(|(at, _)| had(*at))
            .map(|(_, name)| name)
            .collect()
    }

    fn sum(&self, of: impl Fn(usize) -> bool) -> Tallies {
        let mut sum = Tallies::default();
        for (f, row) in &self.by_f {
            let mut tally = Tally::default();
            for (_, part) in row.iter().enumerate().filter(|(place, _)| of(*place)) {
                tally.merge(*part);
            }
            if tally.count() > 0 {
                sum.add(f, tally);
            }
        }
        sum
    }

    pub(super) fn report(&self, fault: &str, nodes: &Nodes) -> WindowReport {
        let names = |numbers: &[usize]| -> Vec<String> {
            let names = numbers.iter().map(|at| nodes.names()[*at].to_string());
            names.collect()
        };
        let side = |side: &Side, struck: bool| SideReport {
            nodes: names(&side.nodes),
            struck,
            sees: names(&side.sees),
            hears: names(&side.hears),
            heard_by: names(&side.heard_by),
            operations: self.sum(|place| {
                let node = place.checked_sub(1);
                node.is_some_and(|node| side.nodes.contains(&node))
            }),
        };
        let sides = match &self.grudge {
            Some(grudge) => grudge
                .sides(nodes)
                .iter()
                .map(|it| side(it, false))
                .collect(),
            None => {
                let all = 0..nodes.names().len();
                let (struck, others): (Vec<usize>, Vec<usize>) =
                    all.partition(|at| self.targets.contains(&nodes.names()[*at]));
                let sides = [(struck, true), (others, false)].into_iter();
                let sides = sides.filter(|(nodes, _)| !nodes.is_empty());
                let whole = |nodes| Side {
                    nodes,
                    ..Side::default()
                };
                sides
                    .map(|(nodes, struck)| side(&whole(nodes), struck))
                    .collect()
            }
        };
        WindowReport {
            fault: fault.to_owned(),
            from: self.from,
            to: self.to,
            effective: self.effective,
            targets: self.targets.iter().map(|name| name.to_string()).collect(),
            packets: self
                .packets
                .iter()
                .map(|(kind, count)| ((*kind).to_owned(), *count))
                .collect(),
            operations: self.operations(),
            sides,
        }
    }
}
