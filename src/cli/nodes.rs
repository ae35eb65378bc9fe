//! `gainsay nodes up|down|list|power`: local nodes that outlive a run.

use anyhow::{Result, bail};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use harness::local::{self, ClusterInfo, ClusterState, Kernel, LocalNode, Owner};

use super::args;
use super::output::outln;
use crate::exit::Exit;
use crate::run;
use crate::suites::Suites;

pub(super) fn command() -> Command {
    let up = Command::new("up")
        .about("Bring local nodes up, to stay until they are taken down")
        .arg(
            Arg::new("count")
                .value_name("N")
                .default_value("5")
                .value_parser(value_parser!(u64).range(1..=local::MAX_NODES as u64)),
        )
        .arg(args::kernel_arg())
        .arg(
            Arg::new("setup")
                .long("setup")
                .action(ArgAction::SetTrue)
                .help("Install what this machine lacks, from its own Debian package sources"),
        );
    let down = Command::new("down")
        .about("Take local nodes down, and remove what they wrote")
        .arg(
            Arg::new("id")
                .value_name("ID")
                .help("Which cluster [default: all that are to stay or are orphans]"),
        );
    let required =
        |id: &'static str, name: &'static str| Arg::new(id).value_name(name).required(true);
    let power = Command::new("power")
        .about("Turn the power of a node with a kernel of its own off or on; `gainsay nodes power ID` is a --power-command")
        .arg(required("id", "ID").help("Which cluster"))
        .arg(required("node", "NODE").help("Its name or address"))
        .arg(required("state", "STATE").value_parser(["off", "on"]));
    Command::new("nodes")
        .about("Local nodes that outlive a run")
        .subcommand_required(true)
        .subcommand(up.args(args::output_args()))
        .subcommand(down.args(args::output_args()))
        .subcommand(power.args(args::output_args()))
        .subcommand(
            Command::new("list")
                .about("List local clusters")
                .args(args::output_args()),
        )
}

pub(super) fn run(suites: &Suites, matches: &ArgMatches) -> Result<Exit> {
    match matches.subcommand() {
        Some(("up", matches)) => up(suites, matches),
        Some(("down", matches)) => down(matches),
        Some(("power", matches)) => power(matches),
        Some(("list", _)) => list(),
        _ => unreachable!("clap requires a subcommand"),
    }
}

fn up(suites: &Suites, matches: &ArgMatches) -> Result<Exit> {
    let output = args::output(matches);
    let kernel = args::kernel(matches);
    run::prepare(kernel, matches.get_flag("setup"), &output)?;
    let count = *matches.get_one::<u64>("count").expect("it has a default");
    let mut config = local::Config::new(count as usize);
    config.kernel = kernel;
    config.owner = Owner::Nobody;
    config.packages = suites.iter().flat_map(|suite| suite.packages()).collect();
    let cluster = run::up(config, &output)?;
    outln!("{}", cluster.id());
    for target in cluster.ssh_targets() {
        outln!(
            "{}  {}  nsenter --net=/proc/{}/ns/net ssh -i {} -o UserKnownHostsFile={} {}@{}",
            target.name,
            target.address,
            cluster.switch_pid(),
            target.key.display(),
            target.known_hosts.display(),
            target.user,
            target.address,
        );
    }
    Ok(Exit::Valid)
}

/// The clusters that no living run owns.
fn ownerless() -> Result<Vec<ClusterInfo>> {
    let all = local::list()?.into_iter();
    Ok(all
        .filter(|cluster| cluster.owner.is_none() || cluster.orphaned)
        .collect())
}

fn down(matches: &ArgMatches) -> Result<Exit> {
    let output = args::output(matches);
    let ids = match matches.get_one::<String>("id") {
        Some(id) => vec![id.clone()],
        None => ownerless()?.into_iter().map(|cluster| cluster.id).collect(),
    };
    if ids.is_empty() {
        output.say("there are no local nodes to take down");
    }
    for id in ids {
        local::down(&id)?;
        output.say(&format!("{id} is down"));
    }
    Ok(Exit::Valid)
}

fn power(matches: &ArgMatches) -> Result<Exit> {
    let given = |id| matches.get_one::<String>(id).expect("it is required");
    let (id, wanted) = (given("id"), given("node"));
    let cluster = local::open(id)?;
    let Some(switches) = cluster.power() else {
        bail!(
            "the nodes of {id} share this machine's kernel, and have no power of their own\n  hint: gainsay nodes up --kernel own"
        );
    };
    let nodes = cluster.nodes();
    let is_wanted = |node: &LocalNode| node.name == *wanted || node.address.to_string() == *wanted;
    let Some(at) = nodes.iter().position(is_wanted) else {
        bail!("{id} has no node {wanted}; it has n1 to n{}", nodes.len());
    };
    match given("state").as_str() {
        "off" => switches[at].cut()?,
        _ => switches[at].on()?,
    }
    Ok(Exit::Valid)
}

fn list() -> Result<Exit> {
    for cluster in local::list()? {
        let state = match cluster.state {
            ClusterState::Starting => "starting",
            ClusterState::Up => "up",
            ClusterState::Broken => "broken",
        };
        let kernels = match cluster.kernel {
            Kernel::Shared => "",
            Kernel::Own => " with kernels of their own",
        };
        let owner = match (cluster.owner, cluster.orphaned) {
            (_, true) => "its run is gone".to_owned(),
            (Some(pid), false) => format!("of process {pid}"),
            (None, false) => "to stay".to_owned(),
        };
        outln!(
            "{}  {} nodes{kernels}  {state}  {owner}  since {}",
            cluster.id,
            cluster.nodes,
            cluster.created
        );
    }
    Ok(Exit::Valid)
}
