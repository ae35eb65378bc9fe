//! The faults `kill` and `pause`: signals to the system's processes.
//!
//! They differ in the signal, in what must be seen of the process to prove it (gone, stopped) and in what
//! undoes it (a start, `SIGCONT`); all else is one.

use std::time::Duration;

use async_trait::async_trait;
use harness::capability::{CapabilityError, Environment, ProcessState, Signal};
use harness::options::{OptionKind, OptionSpec};
use harness::time::SharedClock;
use harness::{Name, Value};
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use crate::action::{Action, Looks, Struck, Undone, fields, present, processes, read, start_again};
use crate::build::MakeContext;
use crate::catalogue::{FaultInfo, Made, with_common};
use crate::holds::Hold;
use crate::node_fault::{make, target_option};
use crate::outcome::message;
use crate::spec::FaultSpec;

const SIGNAL: &str = "signal";
const RESTART: &str = "restart";

/// How long to wait for a signal to show its effect: a `TERM` lets a process end in its own time.
const EFFECT_LIMIT: Duration = Duration::from_secs(2);
/// The first pause between two looks at a process; each further one is twice as long.
const FIRST_LOOK: Duration = Duration::from_millis(5);

/// A signal that a kill can be: one that ends a process which does not handle it.
fn lethal(text: &str) -> Result<Signal, String> {
    let signal: Signal = text.parse()?;
    let why = match signal {
        Signal::STOP | Signal::TSTP | Signal::TTIN | Signal::TTOU => {
            "it stops processes, and ends none\n  hint: the fault `pause` stops them, and lets them go on"
        }
        Signal::CONT => "it lets processes go on, and ends none",
        Signal::CHLD | Signal::URG | Signal::WINCH => {
            "a process that does not handle it never notices"
        }
        _ => return Ok(signal),
    };
    Err(format!("{signal} is no kill: {why}"))
}

/// The fault `kill`, described.
pub(crate) fn kill_info() -> FaultInfo {
    let signal = "The signal to send: a name of signal(7), with or without `SIG` (`TERM`, `SIGSEGV`, `RTMIN+3`), or a number from 1 to \
                  64. Not those that end no process: STOP, TSTP, TTIN, TTOU, CONT, CHLD, URG and WINCH.";
    let signal = OptionSpec::new(SIGNAL, OptionKind::Text, Some("KILL"), signal);
    FaultInfo {
        name: Kind::Kill.name(),
        summary: "Kills the system's processes; starts them again at the end.",
        variants: Vec::new(),
        options: with_common(vec![target_option(), signal, restart_option()]),
        evidence: "The process was there and is seen to be gone (for HUP, USR1 and USR2, which need not \
                   end a process: it was there and was signalled).",
        undo: "The system is started again, with the data it has. What was told to end and has not yet is killed first (not so for HUP, \
               USR1 and USR2).",
        synthetic: false,
        make: |spec, ctx| made(Kind::Kill, spec, ctx),
    }
}

/// The option that says when a system is started again.
pub(crate) fn restart_option() -> OptionSpec {
    let words = Restart::ALL
        .map(|restart| restart.word().to_owned())
        .to_vec();
    let help = "When the system is started again: at the `end` of the activity, or at `once`. With `once` and a short \
                `interval` it crashes again and again.";
    OptionSpec::new(RESTART, OptionKind::OneOf(words), Some("end"), help)
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
        make: |spec, ctx| made(Kind::Pause, spec, ctx),
    }
}

/// What a `start` says besides whom it strikes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct What {
    /// The signal, for `kill`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signal: Option<Signal>,
    /// When it is started again, for `kill`.
    #[serde(default, skip_serializing_if = "Restart::is_end")]
    restart: Restart,
}

/// When a system that was killed is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Restart {
    /// When the activity ends.
    #[default]
    End,
    /// As soon as it is gone.
    Once,
}

impl Restart {
    const ALL: [Restart; 2] = [Restart::End, Restart::Once];

    fn word(self) -> &'static str {
        match self {
            Restart::End => "end",
            Restart::Once => "once",
        }
    }

    /// As the user chose; where the option is not, at the end.
    pub(crate) fn of(spec: &FaultSpec) -> Restart {
        let word = spec.options.text_if(RESTART);
        let chosen = Restart::ALL.into_iter().find(|it| Some(it.word()) == word);
        chosen.unwrap_or_default()
    }

    pub(crate) fn is_end(&self) -> bool {
        *self == Restart::End
    }
}

fn made(kind: Kind, spec: &FaultSpec, ctx: &MakeContext) -> Result<Made, String> {
    let signal = spec.options.text_if(SIGNAL).map(lethal).transpose()?;
    let what = What {
        signal,
        restart: Restart::of(spec),
    };
    let what = fields(&what);
    let action = Signalling {
        kind,
        clock: ctx.clock.clone(),
    };
    make(action, spec, ctx, Box::new(move |_, _| what.clone()))
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
            Kind::Kill => chosen.unwrap_or(Signal::KILL),
            Kind::Pause => Signal::STOP,
        }
    }
}

/// Whether a process that was there and is now seen so proves that a signal took effect.
fn proves(signal: Signal, seen: ProcessState) -> bool {
    match signal {
        signal if signal.need_not_end() => true,
        Signal::STOP => seen == ProcessState::Stopped,
        Signal::CONT => seen != ProcessState::Stopped,
        _ => seen == ProcessState::Absent,
    }
}

/// Sends signals to the system's processes.
struct Signalling {
    kind: Kind,
    clock: SharedClock,
}

#[async_trait]
impl Action for Signalling {
    fn name(&self) -> &str {
        self.kind.name()
    }

    async fn probe(&self, env: &Environment) -> Result<(), String> {
        processes(env)?.probe().await
    }

    /// Signals the node's process, and watches for the effect.
    async fn strike(
        &self,
        env: &Environment,
        node: &Name,
        what: &Map<String, Value>,
    ) -> Result<Struck, CapabilityError> {
        let processes = processes(env).map_err(CapabilityError::NotDone)?;
        let what: What = read(what)?;
        let signal = self.kind.signal(what.signal);
        present(processes, node).await?;
        let mut seen = processes.signal(node, signal).await?;
        let mut looks = Looks::new(&*self.clock, FIRST_LOOK, EFFECT_LIMIT);
        while !proves(signal, seen) && looks.again().await {
            // It was signalled: not seeing the effect leaves it open.
            seen = processes
                .state(node)
                .await
                .map_err(|error| CapabilityError::Indeterminate(message(error)))?;
        }
        let effective = proves(signal, seen);
        let at_once = what.restart == Restart::Once && seen == ProcessState::Absent;
        if at_once {
            // That it does not come up again is told when it is to be undone.
            let _ = processes.start(node).await;
        }
        Ok(Struck {
            seen: json!(seen),
            effective: effective.into(),
            free: at_once,
        })
    }

    async fn undo(
        &self,
        env: &Environment,
        node: &Name,
        holder: Option<&Name>,
    ) -> Result<Undone, String> {
        if self.kind == Kind::Kill {
            return start_again(env, node, holder).await.map(Undone::from);
        }
        match processes(env)?.signal(node, Signal::CONT).await {
            Ok(ProcessState::Stopped) => Err("the process is seen stopped".to_owned()),
            // A process that was paused and is gone is not paused.
            Ok(state) => Ok(json!(state).into()),
            Err(error) => Err(message(error)),
        }
    }

    fn hold(&self, _: &Map<String, Value>) -> Hold {
        match self.kind {
            Kind::Kill => Hold::Stopped,
            Kind::Pause => Hold::Free,
        }
    }

    fn takes_down(&self) -> bool {
        true
    }

    fn evidence(&self) -> &'static str {
        "states"
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_ends_nothing_is_no_kill() {
        for (text, number) in [("KILL", 9), ("sigsegv", 11), ("33", 33), ("RTMIN+3", 37)] {
            assert_eq!(lethal(text).unwrap().number(), number);
        }
        for (text, why) in [
            ("SIGSTOP", "STOP is no kill: it stops"),
            ("20", "TSTP is no kill"),
            ("CONT", "lets processes go on"),
            ("SIGURG", "never notices"),
            ("17", "CHLD is no kill"),
            ("65", "no signal `65`"),
            ("KILLER", "no signal `KILLER`"),
        ] {
            let error = lethal(text).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
