//! `gainsay heal`: undoes what a run that was killed has left standing on nodes.

use anyhow::{Context, Result};
use clap::{ArgMatches, Command};
use futures::future::join_all;
use harness::local;
use harness::node::lock;
use harness::node::undo::{self, Healed, Healing};
use harness::remote::Node;

use super::output::outln;
use super::{Output, args};
use crate::exit::Exit;
use crate::run;

pub(super) fn command() -> Command {
    Command::new("heal")
        .about("Undo what a killed run has left standing: on --nodes, or on the local nodes of this machine")
        .args(args::ssh_args())
        .args(args::output_args())
}

pub(super) fn run(matches: &ArgMatches) -> Result<Exit> {
    let output = args::output(matches);
    let given = ["nodes", "nodes-file"]
        .iter()
        .any(|name| matches.contains_id(name));
    if given {
        let spec = args::ssh_spec(matches)?;
        let password = args::password(matches)?;
        return heal(&run::ssh_nodes(&spec, password.as_deref())?, &output);
    }
    let mut exit = Exit::Valid;
    let clusters = local::list()?;
    if clusters.is_empty() {
        output.say("there are no local nodes on this machine; give --nodes for others");
    }
    for cluster in clusters {
        let opened = local::open(&cluster.id)?;
        let nodes = run::local_nodes(&opened)?;
        let healed = opened.in_switch_netns(|| heal(&nodes, &output))?;
        exit = exit.and(healed?);
    }
    Ok(exit)
}

fn heal(nodes: &[Node], output: &Output) -> Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;
    // At once: what stands on one may be in the way of what must be done on another.
    let healed = runtime.block_on(join_all(nodes.iter().map(heal_node)));
    let mut exit = Exit::Valid;
    for (node, healed) in nodes.iter().zip(healed) {
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

async fn heal_node(node: &Node) -> Result<OnNode, String> {
    let remote = &*node.remote;
    let holder = lock::holder(remote).await.map_err(|it| it.to_string())?;
    if let Some(holder) = holder.as_ref().filter(|holder| holder.lives()) {
        return Err(format!(
            "{}: run {} is at work there, process {}; nothing was undone\n  \
             hint: it heals its nodes itself when it ends; Ctrl-C there, or kill -INT {}, ends it",
            node.name, holder.run, holder.pid, holder.pid
        ));
    }
    let faults = undo::heal_node(remote).await.map_err(|it| it.to_string())?;
    let gone = holder.filter(lock::Holder::is_gone);
    if gone.is_some() {
        let broken = lock::break_lock(remote).await;
        broken.map_err(|it| it.to_string())?;
    }
    Ok(OnNode {
        faults,
        unlocked: gone.map(|holder| holder.run.to_string()),
    })
}
