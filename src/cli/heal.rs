//! `gainsay heal`: undoes what a run that was killed has left standing on nodes.

use anyhow::{Context, Result};
use clap::{ArgMatches, Command};
use harness::local;
use harness::node::lock;
use harness::node::undo::{self, Healing};
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
    runtime.block_on(async {
        let mut exit = Exit::Valid;
        for node in nodes {
            let holder = match lock::holder(&*node.remote).await {
                Ok(holder) => holder,
                Err(error) => {
                    eprintln!("error: {error}");
                    exit = Exit::Failure;
                    continue;
                }
            };
            if let Some(holder) = holder.as_ref().filter(|holder| holder.lives()) {
                eprintln!(
                    "error: {}: run {} is at work there, process {}; nothing was undone\n  \
                     hint: it heals its nodes itself when it ends; Ctrl-C there, or kill -INT {}, ends it",
                    node.name, holder.run, holder.pid, holder.pid
                );
                exit = Exit::Failure;
                continue;
            }
            match undo::heal_node(&*node.remote).await {
                Ok(healed) if healed.is_empty() => {
                    output.say(&format!("{}: nothing stood", node.name))
                }
                Ok(healed) => {
                    for fault in healed {
                        outln!("{}: {}", node.name, run::describe_healed(&fault));
                        if matches!(
                            fault.healing,
                            Healing::Stands { .. } | Healing::Unreadable { .. }
                        ) {
                            exit = Exit::Failure;
                        }
                    }
                }
                Err(error) => {
                    eprintln!("error: {error}");
                    exit = Exit::Failure;
                    continue;
                }
            }
            if let Some(holder) = holder.filter(lock::Holder::is_gone) {
                lock::break_lock(&*node.remote).await?;
                outln!(
                    "{}: the lock of run {}, which is gone, is broken",
                    node.name, holder.run
                );
            }
        }
        Ok(exit)
    })
}
