//! Ending the machines that nodes are, and having them back.
//!
//! An end cannot be taken back, and is over when the machine is there again. What is written into the undo journal starts the system again,
//! and survives the end. What other faults had written there is taken out when the machine is back, as far as a boot undoes it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::future::try_join_all;
use harness::Name;
use harness::capability::{CapabilityError, Ended, Ending, Machines, PowerSwitch, Returned};
use harness::db::Db;
use harness::node::BOOT_RECORDS;
use harness::node::undo::{Undo, forget_rebooted_in};
use harness::remote::{Command, Node, Remote, quote};

use super::journaled::{Journaled, Standing, find, no_answer, succeeded};
use super::revival;
use crate::outcome::message;

/// What names the time since a machine was started.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";
/// How long a machine may take to say that.
const ANSWER: Duration = Duration::from_secs(5);
/// How long it is watched for going down.
const GOING: Duration = Duration::from_secs(5);
/// How long a machine may take to end in order, and at once.
const ORDERLY: Duration = Duration::from_secs(180);
const AT_ONCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

/// The switches of machines' power, by node.
pub type PowerSwitches = BTreeMap<Name, Arc<dyn PowerSwitch>>;

/// The machines that nodes are.
pub struct NodeMachines {
    nodes: Vec<Journaled>,
    db: Arc<dyn Db>,
    power: PowerSwitches,
    /// Those whose systems are to be started again.
    standing: Standing,
    /// Those that were ended and are not back yet, with the boots that ended.
    ended: Mutex<BTreeMap<Name, Before>>,
}

/// A machine that was told to end.
#[derive(Clone, Debug)]
struct Before {
    /// What it was then.
    boot: String,
    /// When it was told, and how long it may take. One that is still the same then has not heard it.
    told: Instant,
    takes: Duration,
}

/// What a machine says of itself.
struct Facts {
    boot: String,
    up_ms: u64,
}

impl NodeMachines {
    /// The machines of these nodes, and the switches of the power of those that have one.
    pub fn new(nodes: &[Journaled], db: Arc<dyn Db>, power: PowerSwitches) -> NodeMachines {
        NodeMachines {
            nodes: nodes.to_vec(),
            db,
            power,
            standing: Standing::default(),
            ended: Mutex::default(),
        }
    }

    fn ended(&self) -> MutexGuard<'_, BTreeMap<Name, Before>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn facts(&self, at: &Journaled) -> Result<Facts, CapabilityError> {
        let look = Command::new(format!("cat {BOOT} /proc/uptime"));
        let look = look.quick().idempotent().timeout(ANSWER);
        let said = at.node.remote.exec(look).await.map_err(no_answer)?;
        let text = said.text();
        let (boot, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let up = rest
            .split(' ')
            .next()
            .and_then(|seconds| seconds.parse().ok());
        let up: f64 = up.unwrap_or_default();
        Ok(Facts {
            boot: boot.to_owned(),
            up_ms: (up * 1000.0) as u64,
        })
    }

    /// Does something on a node that it may not come back from by itself, with how the system is started again written down before.
    async fn act(&self, at: &Journaled, command: Command) -> Result<(), CapabilityError> {
        let nodes: Vec<Node> = self.nodes.iter().map(|at| at.node.clone()).collect();
        let Some(revive) = revival::revive(&*self.db, &at.node, &nodes) else {
            let done = at.node.remote.exec(command).await;
            return done.map(drop).map_err(no_answer);
        };
        let undo = Undo {
            fault: "reboot".to_owned(),
            undo: revive,
            verify: ":".to_owned(),
            survives_reboot: true,
            process: None,
        };
        let output = self.standing.act(at, &undo, command).await?;
        succeeded(at, &output)
    }

    /// A node's boot, if it is a machine that can be ended so. The error says why not.
    async fn probe_one(&self, at: &Journaled, ending: Ending) -> Result<String, String> {
        let name = &at.node.name;
        let boot = self.facts(at).await.map_err(message)?.boot;
        if ending == Ending::Off && !self.power.contains_key(name) {
            return Err(format!(
                "{name}: nobody here can give it power again\n  hint: --power-command names a program that can, and local nodes with \
                 --kernel own have a switch; or write reboot:hard"
            ));
        }
        let can = Command::new(format!("{CAN_END}\n{}", can_script(ending))).idempotent();
        let said = at.node.remote.run(can).await.map_err(|it| it.to_string())?;
        match said.status {
            0 => Ok(boot),
            _ => Err(format!("{name}: {}", said.text().trim())),
        }
    }

    /// Waits until a machine that was told to end is not what it was, for a while. Whether it has booted anew.
    async fn watch(&self, at: &Journaled, boot: &str) -> bool {
        let deadline = Instant::now() + GOING;
        while Instant::now() < deadline {
            tokio::time::sleep(PAUSE).await;
            match tokio::time::timeout(GOING, self.facts(at)).await {
                Ok(Ok(facts)) if facts.boot == boot => {}
                Ok(Ok(_)) => return true,
                Ok(Err(_)) | Err(_) => break,
            }
        }
        false
    }

    /// What a machine that is back says, or why it is not.
    async fn look(&self, at: &Journaled, before: Option<&Before>) -> Result<Facts, String> {
        let facts = self.facts(at).await.map_err(message)?;
        let may_end =
            |before: &Before| facts.boot == before.boot && before.told.elapsed() < before.takes;
        match before.is_some_and(may_end) {
            true => Err("it has not ended yet".to_owned()),
            false => Ok(facts),
        }
    }
}

/// Ends with a word where a machine is not one of its own.
const CAN_END: &str = "\
if [ ! -w /proc/sysrq-trigger ]; then
    echo 'it shares its kernel with others (its /proc/sysrq-trigger cannot be written to), so it cannot be rebooted'
    echo '  hint: local nodes have kernels of their own with --kernel own; containers have none'
    exit 1
fi";

/// Ends with a word where a machine cannot be told to end.
fn can_script(ending: Ending) -> &'static str {
    match ending {
        Ending::Orderly => {
            "command -v systemctl >/dev/null || command -v reboot >/dev/null || { echo 'it has neither systemctl nor reboot'; exit 1; }"
        }
        // What was installed for the run is not what a fault is to take: elsewhere it was written long ago.
        Ending::Hard | Ending::Off => "sync",
    }
}

/// Says which boot ends, and ends it a moment later, when that was heard.
fn end_script(ending: Ending) -> String {
    let act = match ending {
        Ending::Orderly => "if [ -d /run/systemd/system ]; then systemctl reboot; else reboot; fi",
        Ending::Hard | Ending::Off => "echo 1 >/proc/sys/kernel/sysrq; echo b >/proc/sysrq-trigger",
    };
    let later = quote(act).into_owned();
    format!(
        "cat {BOOT} && {{ setsid sh -c 'sleep 0.2; eval \"$0\"' {later} </dev/null >/dev/null 2>&1 & }}"
    )
}

#[async_trait]
impl Machines for NodeMachines {
    async fn probe(&self, ending: Ending) -> Result<(), String> {
        let probes = self.nodes.iter().map(|at| self.probe_one(at, ending));
        let boots = try_join_all(probes).await?;
        let here = std::fs::read_to_string(BOOT).unwrap_or_default();
        for (index, (at, boot)) in self.nodes.iter().zip(&boots).enumerate() {
            let name = &at.node.name;
            if *boot == here.trim() {
                return Err(format!(
                    "{name} has this machine's own kernel, and cannot be ended alone\n  hint: local nodes have kernels of their own \
                     with --kernel own"
                ));
            }
            if let Some(other) = boots[..index].iter().position(|other| other == boot) {
                let other = &self.nodes[other].node.name;
                return Err(format!(
                    "{name} and {other} are one machine, and cannot be ended alone"
                ));
            }
        }
        Ok(())
    }

    async fn end(&self, node: &Name, ending: Ending) -> Result<Ended, CapabilityError> {
        let at = find(&self.nodes, node)?;
        // Looking changes nothing.
        let not_done = |error| CapabilityError::NotDone(message(error));
        let boot = self.facts(at).await.map_err(not_done)?.boot;
        let before = Before {
            boot: boot.clone(),
            told: Instant::now(),
            takes: match ending {
                Ending::Orderly => ORDERLY,
                Ending::Hard | Ending::Off => AT_ONCE,
            },
        };
        self.ended().insert(node.clone(), before);
        let mut certain = false;
        if ending == Ending::Off {
            let missing = || CapabilityError::NotDone(format!("{node}: nobody has its power"));
            let power = self.power.get(node).ok_or_else(missing)?;
            self.act(at, Command::new(":").timeout(ANSWER)).await?;
            power.cut().await.map_err(CapabilityError::Indeterminate)?;
            certain = true;
        } else {
            let end = Command::new(end_script(ending)).timeout(ANSWER);
            self.act(at, end).await?;
            certain |= self.watch(at, &boot).await;
        }
        at.node.remote.renew();
        at.agent.forget().await;
        Ok(Ended { boot, certain })
    }

    async fn back(&self, node: &Name, patience: Duration) -> Result<Returned, CapabilityError> {
        let at = find(&self.nodes, node)?;
        let unknown = |why: String| CapabilityError::Indeterminate(format!("{node}: {why}"));
        let before = self.ended().get(node).cloned();
        let deadline = Instant::now() + patience;
        if let Some(power) = self.power.get(node) {
            power.on().await.map_err(unknown)?;
        }
        let facts = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let why = match tokio::time::timeout(left, self.look(at, before.as_ref())).await {
                Ok(Ok(facts)) => break facts,
                Ok(Err(why)) => why,
                Err(_) => "no answer".to_owned(),
            };
            if Instant::now() >= deadline {
                let why =
                    format!("it is not back within {patience:?}, and is waited for again: {why}");
                return Err(unknown(why));
            }
            tokio::time::sleep(PAUSE).await;
        };
        let remote: &dyn Remote = &*at.node.remote;
        remote.renew();
        at.agent.forget().await;
        // Of another boot, whose processes and groups are gone.
        let folder = quote(&at.folder);
        let records = BOOT_RECORDS.map(|files| format!("{folder}/{files}"));
        let remove = format!("rm -f -- {}", records.join(" "));
        let cleared = remote.exec(Command::new(remove).idempotent()).await;
        cleared.map_err(no_answer)?;
        let ended = forget_rebooted_in(remote, &at.folder)
            .await
            .map_err(no_answer)?;
        self.ended().remove(node);
        Ok(Returned {
            before: before.map_or_else(|| facts.boot.clone(), |before| before.boot),
            boot: facts.boot,
            up_ms: facts.up_ms,
            ended,
        })
    }

    async fn settle(&self, node: &Name) -> Result<(), CapabilityError> {
        self.standing.settle(find(&self.nodes, node)?).await
    }
}
