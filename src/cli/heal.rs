//! `gainsay heal`: undoes what a run that was killed has left standing on nodes.

use anyhow::{Context, Result, bail};
use clap::{ArgMatches, Command};
use harness::local;
use harness::node::lock;
use harness::node::undo::{self, Healed, Healing};
use harness::remote::Node;

use super::{Output, args};
use crate::exit::Exit;
use crate::run;

pub(super) fn command() -> Command {
    Command::new("heal")
        .about("Undo what a killed run has left standing: on --nodes, or on the local nodes of this machine")
        .args(args::ssh_args())
        .arg(args::force_unlock())
        .args(args::output_args())
}

pub(super) fn run(matches: &ArgMatches) -> Result<Exit> {
    let output = args::output(matches);
    let force = matches.get_flag("force-unlock");
    let given = ["nodes", "nodes-file"]
        .iter()
        .any(|name| matches.contains_id(name));
    if given {
        let spec = args::ssh_spec(matches)?;
        let password = args::password(matches)?;
        return heal(&run::ssh_nodes(&spec, password.as_deref())?, force, &output);
    }
    let mut exit = Exit::Valid;
    let clusters = local::list()?;
    if clusters.is_empty() {
        output.say("there are no local nodes on this machine; give --nodes for others");
    }
    for cluster in clusters {
        let opened = local::open(&cluster.id)?;
        let nodes = run::local_nodes(&opened)?;
        let healed = opened.in_switch_netns(|| heal(&nodes, force, &output))?;
        exit = exit.and(healed?);
    }
    Ok(exit)
}

fn heal(nodes: &[Node], force: bool, output: &Output) -> Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;
    runtime.block_on(async {
        let mut exit = Exit::Valid;
        for node in nodes {
            if let Err(error) = heal_node(node, force, output).await {
                eprintln!("error: {error:#}");
                exit = Exit::Failure;
            }
        }
        Ok(exit)
    })
}

/// Heals a node and breaks the lock of the run that is gone. A living run's faults are its own business.
async fn heal_node(node: &Node, force: bool, output: &Output) -> Result<()> {
    let holder = lock::holder(&*node.remote).await?;
    if let Some(holder) = holder.as_ref().filter(|holder| !holder.is_gone() && !force) {
        bail!(
            "{}: run {} of {}, process {}, has it since {} and may still be alive: nothing was done\n  \
             hint: stop that run (Ctrl-C heals), or add --force-unlock if it is certainly dead",
            node.name,
            holder.run,
            holder.host,
            holder.pid,
            holder.since
        );
    }
    let healed = undo::heal_node(&*node.remote).await?;
    if healed.is_empty() {
        output.say(&format!("{}: nothing stood", node.name));
    }
    for fault in &healed {
        println!("{}: {}", node.name, run::describe_healed(fault));
    }
    if let Some(holder) = holder {
        lock::break_lock(&*node.remote).await?;
        println!("{}: the lock of run {} is broken", node.name, holder.run);
    }
    let stands = |fault: &&Healed| {
        matches!(
            fault.healing,
            Healing::Stands { .. } | Healing::Unreadable { .. }
        )
    };
    match healed.iter().filter(stands).count() {
        0 => Ok(()),
        standing => bail!("{}: {standing} faults were not undone", node.name),
    }
}
