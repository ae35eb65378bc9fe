//! `gainsay heal`: undoes what a run that was killed has left standing on nodes.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Arg, ArgMatches, Command};
use futures::future::join_all;
use harness::local::{self, ClusterInfo};
use harness::node::lock::{self, Holder};
use harness::node::undo::{self, Healed, Healing};
use harness::remote::{Node, RemoteError};
use nemeses::ssh::PowerSwitches;
use tokio::time::Instant;

use super::output::outln;
use super::{Output, args};
use crate::exit::Exit;
use crate::run;
use crate::spec;

/// How long a machine that was given power may take to answer.
const BOOT: Duration = Duration::from_secs(180);

/// Between two tries to reach a node.
const PAUSE: Duration = Duration::from_millis(500);

pub(super) fn command() -> Command {
    let wait = Arg::new("wait")
        .long("wait")
        .value_name("DURATION")
        .value_parser(spec::parse_duration)
        .help("How long a node that does not answer is waited for, as it may be booting [default: 3m if it was given power, else 0s]");
    Command::new("heal")
        .about("Undo what a killed run has left standing: on --nodes, or on the local nodes of this machine")
        .args(args::ssh_args())
        .arg(args::power_arg(
            "Gives power to nodes that do not answer, as after reboot:off",
        ))
        .arg(wait)
        .args(args::output_args())
}

pub(super) fn run(matches: &ArgMatches) -> Result<Exit> {
    let output = args::output(matches);
    let wait = matches.get_one::<Duration>("wait").copied();
    let given = ["nodes", "nodes-file"]
        .iter()
        .any(|name| matches.contains_id(name));
    if given {
        let spec = args::ssh_spec(matches)?;
        let password = args::password(matches)?;
        let site = Site {
            nodes: run::ssh_nodes(&spec, password.as_deref())?,
            power: run::power::of_hosts(&spec),
            wait,
        };
        return heal(&site, &output);
    }
    let mut exit = Exit::Valid;
    let clusters = local::list()?;
    if clusters.is_empty() {
        output.say("there are no local nodes on this machine; give --nodes for others");
    }
    for cluster in clusters {
        let opened = local::open(&cluster.id)?;
        let site = Site {
            nodes: run::local_nodes(&opened)?,
            power: match is_at_work(&cluster) {
                true => PowerSwitches::new(),
                false => run::power::of_cluster(&opened),
            },
            wait,
        };
        let healed = opened.in_switch_netns(|| heal(&site, &output))?;
        exit = exit.and(healed?);
    }
    Ok(exit)
}

/// Whether the run that has brought a cluster up lives. It gives its nodes power itself.
fn is_at_work(cluster: &ClusterInfo) -> bool {
    cluster.owner.is_some() && !cluster.orphaned
}

/// What is to be healed.
struct Site {
    nodes: Vec<Node>,
    /// The switches of the power of those that have one.
    power: PowerSwitches,
    /// How long one that does not answer is waited for, if that was said.
    wait: Option<Duration>,
}

fn heal(site: &Site, output: &Output) -> Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;
    let healed = runtime.block_on(site.heal(output));
    let mut exit = Exit::Valid;
    for (node, healed) in site.nodes.iter().zip(healed) {
        let healed = match healed {
            Ok(healed) => healed,
            Err(message) => {
                eprintln!("error: {message}");
                exit = Exit::Failure;
                continue;
            }
        };
        if healed.faults.is_empty() {
            output.say(&format!("{}: nothing stood", node.name));
        }
        for fault in healed.faults {
            outln!("{}: {}", node.name, run::describe_healed(&fault));
            if let Healing::Stands { .. } | Healing::Unreadable { .. } = fault.healing {
                exit = Exit::Failure;
            }
        }
        if let Some(run) = healed.unlocked {
            outln!(
                "{}: the lock of run {run}, which is gone, is broken",
                node.name
            );
        }
    }
    Ok(exit)
}

/// What was done on a node.
struct OnNode {
    faults: Vec<Healed>,
    /// The run whose lock was broken.
    unlocked: Option<String>,
}

/// Who holds a node, or why that is not known.
type Held = Result<Option<Holder>, RemoteError>;

impl Site {
    /// Heals all nodes at once: what stands on one may be in the way of what must be done on another.
    async fn heal(&self, output: &Output) -> Vec<Result<OnNode, String>> {
        let asked = self.nodes.iter().map(|node| lock::holder(&*node.remote));
        let held = join_all(asked).await;
        let lives = |held: &Held| matches!(held, Ok(Some(holder)) if holder.lives());
        // A run that is at work has taken the power away itself, and gives it back.
        let at_work = held.iter().any(lives);
        let heal = |(node, held): (_, Held)| async move {
            let held = match held {
                Err(error) if error.unanswered() => {
                    self.bring_back(node, at_work, error, output).await
                }
                held => held.map_err(|error| error.to_string()),
            };
            heal_node(node, held?).await
        };
        join_all(self.nodes.iter().zip(held).map(heal)).await
    }

    /// Gives a node that does not answer power, if somebody can and no run is at work, and waits for it. Who holds it then.
    async fn bring_back(
        &self,
        node: &Node,
        at_work: bool,
        error: RemoteError,
        output: &Output,
    ) -> Result<Option<Holder>, String> {
        let name = &node.name;
        let switch = self.power.get(name).filter(|_| !at_work);
        let (done, patience) = match switch {
            None => ("", self.wait.unwrap_or_default()),
            Some(switch) => {
                let on = switch.on().await;
                on.map_err(|why| format!("{name}: it does not answer, and got no power: {why}"))?;
                ("was given power, and ", self.wait.unwrap_or(BOOT))
            }
        };
        if patience.is_zero() {
            return Err(format!(
                "{error}\n  hint: a node that boots is waited for with --wait 3m; one that has no power gets it with --power-command"
            ));
        }
        output.say(&format!(
            "{name}: does not answer; it {done}is waited for, {patience:?} at most"
        ));
        let held = come(node, patience).await;
        held.map_err(|error| error.to_string())
    }
}

/// Asks a node that does not answer who holds it, again and again while it boots.
async fn come(node: &Node, patience: Duration) -> Held {
    let deadline = Instant::now() + patience;
    loop {
        node.remote.renew();
        match lock::holder(&*node.remote).await {
            // While it boots, it may refuse who is welcome later.
            Err(error) if error.not_run() && Instant::now() < deadline => {}
            held => return held,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn heal_node(node: &Node, holder: Option<Holder>) -> Result<OnNode, String> {
    let remote = &*node.remote;
    if let Some(holder) = holder.as_ref().filter(|holder| holder.lives()) {
        return Err(format!(
            "{}: run {} is at work there, process {}; nothing was undone\n  \
             hint: it heals its nodes itself when it ends; Ctrl-C there, or kill -INT {}, ends it",
            node.name, holder.run, holder.pid, holder.pid
        ));
    }
    let faults = undo::heal_node(remote).await.map_err(|it| it.to_string())?;
    let gone = holder.filter(Holder::is_gone);
    if gone.is_some() {
        let broken = lock::break_lock(remote).await;
        broken.map_err(|it| it.to_string())?;
    }
    Ok(OnNode {
        faults,
        unlocked: gone.map(|holder| holder.run.to_string()),
    })
}
