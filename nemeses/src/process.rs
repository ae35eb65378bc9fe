//! The faults `kill` and `pause`: signals to the system's processes.
//!
//! They differ in the signal, in what must be seen of the process to prove it (gone, stopped) and in what
//! undoes it (a start, `SIGCONT`); all else is one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use harness::capability::{CapabilityError, Environment, ProcessState, Processes, Signal};
use harness::client::Op;
use harness::fault::{Fault, FaultOutcome};
use harness::options::{OptionKind, OptionSpec};
use harness::seed::Rng;
use harness::time::{Clock, SharedClock, nanos, sleep};
use harness::{Name, OpError, Value};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::build::MakeContext;
use crate::catalogue::{FaultInfo, Made, with_common};
use crate::down::Down;
use crate::grudge::{in_order, to_front};
use crate::outcome::{
    message, not_in_force, over_budget, patience, refused, still_in_force, unavailable, unknown_op,
};
use crate::schedule::{START, STOP, weighted};
use crate::spec::FaultSpec;
use crate::target::{Target, primaries, struck_primary};

const TARGET: &str = "target";
const SIGNAL: &str = "signal";
/// The word for "drawn anew for each activity".
const MIX: &str = "mix";

/// How long to wait for a signal to show its effect: a `TERM` lets a process end in its own time.
const EFFECT_LIMIT: Duration = Duration::from_secs(2);
/// The first pause between two looks at a process; each further one is twice as long.
const FIRST_LOOK: Duration = Duration::from_millis(5);

/// The pause before striking again where nothing was there to be struck.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Targets with their weights, where they are drawn. Those that leave no majority are rare, for they
/// stop everything; but nothing else shows what a whole cluster forgets.
const TARGETS: [(Target, u32); 5] = [
    (Target::One, 8),
    (Target::Primary, 6),
    (Target::Minority, 4),
    (Target::Majority, 1),
    (Target::All, 1),
];

const SIGNALS: [(&str, Signal); 8] = [
    ("KILL", Signal::Kill),
    ("TERM", Signal::Term),
    ("INT", Signal::Int),
    ("QUIT", Signal::Quit),
    ("ABRT", Signal::Abrt),
    ("HUP", Signal::Hup),
    ("USR1", Signal::Usr1),
    ("USR2", Signal::Usr2),
];

/// The fault `kill`, described.
pub(crate) fn kill_info() -> FaultInfo {
    let signals = SIGNALS.map(|(name, _)| name.to_owned()).to_vec();
    let signal = "The signal to send.";
    let signal = OptionSpec::new(SIGNAL, OptionKind::OneOf(signals), Some("KILL"), signal);
    FaultInfo {
        name: Kind::Kill.name(),
        summary: "Kills the system's processes; starts them again at the end.",
        variants: Vec::new(),
        options: with_common(vec![target_option(), signal]),
        evidence: "The process was there and is seen to be gone (for HUP, USR1 and USR2, which need not \
                   end a process: it was there and was signalled).",
        undo: "The system is started again, with the data it has.",
        synthetic: false,
        make: |spec, ctx| make(Kind::Kill, spec, ctx),
    }
}

/// The fault `pause`, described.
pub(crate) fn pause_info() -> FaultInfo {
    FaultInfo {
        name: Kind::Pause.name(),
        summary: "Stops the system's processes (SIGSTOP): they keep memory and sockets, and answer \
                  nobody; lets them go on at the end.",
        variants: Vec::new(),
        options: with_common(vec![target_option()]),
        evidence: "The process was running and is seen stopped.",
        undo: "SIGCONT; the process is seen running.",
        synthetic: false,
        make: |spec, ctx| make(Kind::Pause, spec, ctx),
    }
}

fn target_option() -> OptionSpec {
    let help = "Which nodes: `one`, `minority`, `minority-third`, `majority`, `all`, `primary`, \
                `primaries`, names joined by `+`, or a `mix`, which begins with the primary.";
    OptionSpec::new(TARGET, OptionKind::Text, Some(MIX), help)
}

/// The value of a `start`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Start {
    target: Target,
    /// The signal, for `kill`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signal: Option<Signal>,
    order: Vec<Name>,
}

/// What the user left open, and what not.
struct Choice {
    /// `None`: a mix.
    target: Option<Target>,
    signal: Option<Signal>,
    nodes: Vec<Name>,
}

impl Choice {
    fn of(spec: &FaultSpec, nodes: &[Name]) -> Result<Choice, String> {
        let target = match spec.options.text(TARGET) {
            MIX => None,
            text => Some(Target::read(text, nodes, &[MIX])?),
        };
        let named = |text| SIGNALS.iter().find(|(name, _)| *name == text);
        let signal = spec.options.text_if(SIGNAL).and_then(named);
        Ok(Choice {
            target,
            signal: signal.map(|(_, signal)| *signal),
            nodes: nodes.to_vec(),
        })
    }

    fn start(&self, number: u64, rng: &mut Rng) -> Start {
        let drawn = match (number, weighted(&TARGETS, |_| true, rng)) {
            (0, _) => &Target::Primary,
            (_, drawn) => drawn,
        };
        let mut order = self.nodes.clone();
        order.shuffle(rng);
        Start {
            target: self.target.as_ref().unwrap_or(drawn).clone(),
            signal: self.signal,
            order,
        }
    }
}

fn make(kind: Kind, spec: &FaultSpec, ctx: &MakeContext) -> Result<Made, String> {
    let choice = Choice::of(spec, &ctx.nodes)?;
    let fault = ProcessFault {
        kind,
        clock: ctx.clock.clone(),
        patience: patience(ctx.election_timeout),
        needs_primaries: choice.target.as_ref().is_some_and(Target::needs_primaries),
        owes_primary: choice.target.is_none() && !ctx.exact,
        down: ctx.down.clone(),
        standing: BTreeSet::new(),
    };
    Ok(Made {
        fault: Box::new(fault),
        draw: Arc::new(move |number, rng| json!(choice.start(number, rng))),
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Kill,
    Pause,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Kill => "kill",
            Kind::Pause => "pause",
        }
    }

    fn signal(self, chosen: Option<Signal>) -> Signal {
        match self {
            Kind::Kill => chosen.unwrap_or(Signal::Kill),
            Kind::Pause => Signal::Stop,
        }
    }
}

/// Whether a process that was there and is now seen so proves that a signal took effect.
fn proves(signal: Signal, seen: ProcessState) -> bool {
    match signal {
        Signal::Hup | Signal::Usr1 | Signal::Usr2 => true,
        Signal::Stop => seen == ProcessState::Stopped,
        Signal::Cont => seen != ProcessState::Stopped,
        Signal::Kill | Signal::Term | Signal::Int | Signal::Quit | Signal::Abrt => {
            seen == ProcessState::Absent
        }
    }
}

/// What became of one node.
struct Struck {
    node: Name,
    /// What was seen of the process at the end.
    seen: ProcessState,
    /// Whether it is proved that this fault did that.
    effective: bool,
}

/// Sends signals to the system's processes.
struct ProcessFault {
    kind: Kind,
    clock: SharedClock,
    /// How long to wait for a primary to be known, when one is to be struck.
    patience: Duration,
    /// Whether the user chose a target that makes no sense without primaries.
    needs_primaries: bool,
    /// Whether a primary is still to be [struck](struck_primary).
    owes_primary: bool,
    /// Nodes where it is in force, or may be.
    standing: BTreeSet<Name>,
    down: Down,
}

impl ProcessFault {
    async fn start(&mut self, env: &Environment, op: &Op) -> FaultOutcome {
        let Some(processes) = env.processes.as_deref() else {
            return unavailable("processes cannot be acted on here");
        };
        let start: Start = match serde_json::from_value(op.value.clone()) {
            Ok(start) => start,
            Err(error) => return refused(format!("{error} in {}", op.value)),
        };
        // Another fault may have killed what this one aims at, or kill it at the same moment. As with a
        // primary in the midst of an election, it then waits a while for something to strike.
        let deadline = self.clock.now().saturating_add(nanos(self.patience));
        loop {
            let outcome = self.strike_once(env, processes, &start).await;
            if let FaultOutcome::Installed(value) = &outcome {
                self.owes_primary &= !struck_primary(value);
            }
            if took_effect(&outcome) || self.clock.now() >= deadline {
                return outcome;
            }
            sleep(&*self.clock, RETRY_PAUSE).await;
        }
    }

    async fn strike_once(
        &mut self,
        env: &Environment,
        processes: &dyn Processes,
        start: &Start,
    ) -> FaultOutcome {
        let patience = match start.target.needs_primaries() || self.owes_primary {
            true => self.patience,
            false => Duration::ZERO,
        };
        let primaries = primaries(env, &*self.clock, patience).await;
        let known = primaries.as_deref().unwrap_or_default();
        let owed = if self.owes_primary { known } else { &[] };
        let order = to_front(&in_order(&start.order, owed), &start.order);
        let wanted = start.target.resolve(&order, known);
        let targets = self.down.claim(self.kind.name(), &wanted);
        if targets.is_empty() {
            return over_budget(self.down.refusal());
        }
        let signal = self.kind.signal(start.signal);

        // Before acting: if this future is dropped half-way, `heal` still knows.
        self.standing.extend(targets.iter().cloned());
        let clock = &*self.clock;
        let strikes = targets
            .iter()
            .map(|node| strike(processes, clock, node, signal));
        let results = join_all(strikes).await;
        for (node, result) in targets.iter().zip(&results) {
            if matches!(result, Err(CapabilityError::NotDone(_))) {
                self.standing.remove(node);
            }
        }
        self.down.keep(self.kind.name(), &self.standing);
        let leads = |node: &Name| primaries.as_ref().map(|known| known.contains(node));
        summary(&targets, results, leads)
    }

    async fn stop(&mut self, env: &Environment) -> FaultOutcome {
        let Some(processes) = env.processes.as_deref() else {
            return not_in_force();
        };
        if self.standing.is_empty() {
            return not_in_force();
        }
        let kind = self.kind;
        let undo = |node: Name| async move {
            let result = undo(kind, processes, &node).await;
            (node, result)
        };
        let results = join_all(self.standing.iter().cloned().map(undo)).await;
        let mut errors = Vec::new();
        let mut states = BTreeMap::new();
        for (node, result) in results {
            match result {
                Ok(state) => {
                    self.standing.remove(&node);
                    states.insert(node, state);
                }
                Err(error) => errors.push(format!("{node}: {error}")),
            }
        }
        self.down.keep(self.kind.name(), &self.standing);
        match errors.is_empty() {
            true => {
                let targets: Vec<&Name> = states.keys().collect();
                FaultOutcome::Installed(json!({"targets": targets, "states": states}))
            }
            false => still_in_force(errors.join("; ")),
        }
    }
}

/// Whether there is nothing to be gained by striking again: it took effect, or nobody knows.
fn took_effect(outcome: &FaultOutcome) -> bool {
    match outcome {
        FaultOutcome::Installed(value) => value["effective"] == true,
        FaultOutcome::Indeterminate(_) => true,
        FaultOutcome::Skipped(_) => false,
    }
}

/// Signals one node's process, and watches for the effect.
async fn strike(
    processes: &dyn Processes,
    clock: &dyn Clock,
    node: &Name,
    signal: Signal,
) -> Result<Struck, CapabilityError> {
    let before = processes
        .state(node)
        .await
        // Looking changes nothing.
        .map_err(|error| CapabilityError::NotDone(message(error)))?;
    if before == ProcessState::Absent {
        let message = format!("{node}: the process was not there already");
        return Err(CapabilityError::NotDone(message));
    }
    let mut seen = processes.signal(node, signal).await?;
    let deadline = clock.now().saturating_add(nanos(EFFECT_LIMIT));
    let mut pause = FIRST_LOOK;
    while !proves(signal, seen) && clock.now() < deadline {
        sleep(clock, pause).await;
        pause *= 2;
        // It was signalled: not seeing the effect leaves it open.
        seen = processes
            .state(node)
            .await
            .map_err(|error| CapabilityError::Indeterminate(message(error)))?;
    }
    Ok(Struck {
        node: node.clone(),
        seen,
        effective: proves(signal, seen),
    })
}

/// Undoes what was done to one node's process. The error says what still stands.
async fn undo(kind: Kind, processes: &dyn Processes, node: &Name) -> Result<ProcessState, String> {
    let (result, undone): (_, fn(ProcessState) -> bool) = match kind {
        Kind::Kill => (processes.start(node).await, |state| {
            state == ProcessState::Running
        }),
        // A process that was paused and is gone is not paused.
        Kind::Pause => (processes.signal(node, Signal::Cont).await, |state| {
            state != ProcessState::Stopped
        }),
    };
    match result {
        Ok(state) if undone(state) => Ok(state),
        Ok(state) => Err(format!("the process is seen {}", word(state))),
        Err(error) => Err(message(error)),
    }
}

fn word(state: ProcessState) -> &'static str {
    match state {
        ProcessState::Running => "running",
        ProcessState::Stopped => "stopped",
        ProcessState::Absent => "absent",
    }
}

/// What became of all targets: indeterminate if one is, skipped if all were.
fn summary(
    targets: &[Name],
    results: Vec<Result<Struck, CapabilityError>>,
    leads: impl Fn(&Name) -> Option<bool>,
) -> FaultOutcome {
    let (mut states, mut skipped, mut unknown) = (BTreeMap::new(), Vec::new(), Vec::new());
    let (mut effective, mut leader) = (false, targets.first().and_then(&leads).map(|_| false));
    for result in results {
        match result {
            Ok(struck) => {
                effective |= struck.effective;
                if struck.effective && leads(&struck.node) == Some(true) {
                    leader = Some(true);
                }
                states.insert(struck.node, struck.seen);
            }
            Err(CapabilityError::NotDone(message)) => skipped.push(message),
            Err(CapabilityError::Indeterminate(message)) => unknown.push(message),
        }
    }
    if !unknown.is_empty() {
        return FaultOutcome::Indeterminate(OpError::new("indeterminate", unknown.join("; ")));
    }
    if states.is_empty() {
        return FaultOutcome::Skipped(OpError::new("not-done", skipped.join("; ")));
    }
    let targets: Vec<&Name> = states.keys().collect();
    let mut value = json!({"effective": effective, "targets": targets, "states": states});
    if let Some(leader) = leader {
        value["leader"] = leader.into();
    }
    if !skipped.is_empty() {
        value["skipped"] = Value::from(skipped);
    }
    FaultOutcome::Installed(value)
}

#[async_trait]
impl Fault for ProcessFault {
    fn name(&self) -> &str {
        self.kind.name()
    }

    async fn probe(&mut self, env: &Environment) -> Result<(), String> {
        let Some(processes) = &env.processes else {
            return Err("processes cannot be acted on here".to_owned());
        };
        processes.probe().await?;
        if self.needs_primaries && env.primaries.is_none() {
            return Err("this system has no primaries to target".to_owned());
        }
        Ok(())
    }

    async fn invoke(&mut self, env: &Environment, op: &Op) -> FaultOutcome {
        match &*op.f {
            START => self.start(env, op).await,
            STOP => self.stop(env).await,
            other => unknown_op(other),
        }
    }

    async fn heal(&mut self, env: &Environment) -> Result<(), OpError> {
        match self.stop(env).await {
            FaultOutcome::Indeterminate(error) => Err(error),
            FaultOutcome::Installed(_) | FaultOutcome::Skipped(_) => Ok(()),
        }
    }
}
