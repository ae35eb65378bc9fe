//! The flags of `test`, and the specification that they make.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use harness::local::Kernel;
use nemeses::Zones;
use rand::Rng;
use workloads::{OptionKind, OptionSpec, Options, Suite};

use super::faults::Faults;
use super::{BadArguments, Output, Verbosity};
use crate::spec::{
    self, CheckLimits, FORMAT, HostKeyChecking, NodesSpec, SshSpec, TestSpec, parse_concurrency,
};

const NODES: &str = "Nodes";
const TEST: &str = "Test";
const CHECKING: &str = "Checking";
const OUTPUT: &str = "Output";

/// The `test` subcommand of one suite.
pub(super) fn suite_command(suite: &dyn Suite) -> Command {
    let workloads = suite.workloads();
    let names: Vec<String> = workloads
        .iter()
        .map(|workload| workload.name.clone())
        .collect();
    let mut summary = String::from("Workloads:\n");
    for workload in &workloads {
        summary.push_str(&format!("  {:<12} {}\n", workload.name, workload.summary));
    }
    let mut command = Command::new(suite.name().to_owned())
        .about(suite.summary().to_owned())
        .after_help(summary)
        .arg(
            Arg::new("workload")
                .short('w')
                .long("workload")
                .value_name("NAME")
                .help("What is asked of the system")
                .default_value(names.first().cloned().unwrap_or_default())
                .value_parser(clap::builder::PossibleValuesParser::new(names))
                .env("GAINSAY_WORKLOAD")
                .help_heading(TEST),
        );
    command = match suite.is_simulated() {
        true => command.args(simulated_args()),
        false => command.args(node_args()),
    };
    command = command
        .args(test_args())
        .args(check_args())
        .args(output_args())
        .arg(super::junit_arg())
        .arg(super::compare_arg());
    for option in suite.options() {
        command = command.arg(option_arg(&option, "Options of the system"));
    }
    command
}

fn duration(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("DURATION")
        .default_value(default)
        .value_parser(spec::parse_duration)
        .help(help)
}

fn simulated_args() -> Vec<Arg> {
    vec![
        Arg::new("node-count")
            .long("node-count")
            .value_name("N")
            .default_value("3")
            .value_parser(value_parser!(u64).range(1..=100))
            .help("How many simulated nodes")
            .env("GAINSAY_NODE_COUNT")
            .help_heading(NODES),
    ]
}

/// The flag that says whose kernel local nodes run.
pub(super) fn kernel_arg() -> Arg {
    Arg::new("kernel")
        .long("kernel")
        .value_name("WHOSE")
        .value_parser(["shared", "own"])
        .default_value("shared")
        .help(
            "Whose kernel local nodes run: this machine's, shared by all, or each its own (user-mode Linux), \
             so that they can be rebooted and their clocks set",
        )
}

/// Whose kernel local nodes run.
pub(super) fn kernel(matches: &ArgMatches) -> Kernel {
    match matches.get_one::<String>("kernel").map(String::as_str) {
        Some("own") => Kernel::Own,
        _ => Kernel::Shared,
    }
}

fn node_args() -> Vec<Arg> {
    let args = [
        Arg::new("local")
            .long("local")
            .value_name("N")
            .value_parser(value_parser!(u64).range(1..=50))
            .conflicts_with_all(["nodes", "nodes-file"])
            .env("GAINSAY_LOCAL")
            .help("Use N nodes on this machine, made for the run and removed after it (needs root)"),
        kernel_arg().env("GAINSAY_KERNEL"),
        Arg::new("setup").long("setup").action(ArgAction::SetTrue).help(
            "Install what this machine lacks for local nodes, from its own Debian package sources",
        ),
        Arg::new("nodes")
            .short('n')
            .long("nodes")
            .visible_alias("node")
            .value_name("HOST,…")
            .value_delimiter(',')
            .action(ArgAction::Append)
            .env("GAINSAY_NODES")
            .help("Hosts to test on, reached over SSH"),
        Arg::new("nodes-file")
            .long("nodes-file")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .env("GAINSAY_NODES_FILE")
            .help("A file with a host a line; added to --nodes"),
        Arg::new("username")
            .long("username")
            .value_name("NAME")
            .env("GAINSAY_USERNAME")
            .help("Whom to log in as [default: ~/.ssh/config, or root]; others than root need sudo"),
        Arg::new("ssh-port")
            .long("ssh-port")
            .value_name("PORT")
            .value_parser(value_parser!(u16).range(1..))
            .env("GAINSAY_SSH_PORT")
            .help("The port of the SSH servers [default: ~/.ssh/config, or 22]"),
        Arg::new("ssh-private-key")
            .long("ssh-private-key")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .env("GAINSAY_SSH_PRIVATE_KEY")
            .help("The private key to log in with [default: agent, ~/.ssh/config, ~/.ssh/id_*]"),
        Arg::new("host-key-checking")
            .long("host-key-checking")
            .value_name("MODE")
            .default_value("strict")
            .value_parser(value_parser!(HostKeyChecking))
            .env("GAINSAY_HOST_KEY_CHECKING")
            .help("What to do with hosts that are not among the known hosts"),
        Arg::new("ssh-config")
            .long("ssh-config")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .env("GAINSAY_SSH_CONFIG")
            .help("An OpenSSH configuration to use instead of ~/.ssh/config; `none` for none"),
        Arg::new("connect-timeout")
            .long("connect-timeout")
            .value_name("DURATION")
            .value_parser(spec::parse_duration)
            .env("GAINSAY_CONNECT_TIMEOUT")
            .help("How long connecting to a node may take [default: ~/.ssh/config, or 15s]"),
        power_arg("For the fault reboot:off"),
        Arg::new("password-file")
            .long("password-file")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .env("GAINSAY_PASSWORD_FILE")
            .help("A file that holds the password to log in with and for sudo"),
        force_unlock(),
        Arg::new("leave-db-running")
            .long("leave-db-running")
            .action(ArgAction::SetTrue)
            .help("Leave the system running on the nodes after the run"),
    ];
    args.into_iter()
        .map(|arg| arg.help_heading(NODES))
        .collect()
}

/// The flag that names who has the nodes' power, with what it is for.
pub(super) fn power_arg(what_for: &str) -> Arg {
    Arg::new("power-command")
        .long("power-command")
        .value_name("COMMAND")
        .env("GAINSAY_POWER_COMMAND")
        .help(format!(
            "{what_for}: a command for this machine's shell that turns a node's power off and on; the node and `off` or `on` follow it as \
             arguments, and `on` does nothing to one that has power"
        ))
}

fn test_args() -> Vec<Arg> {
    let args = [
        Arg::new("nemesis")
            .long("nemesis")
            .value_name("FAULT,…")
            .default_value("none")
            .env("GAINSAY_NEMESIS")
            .help("Faults: NAME[:VARIANT][:key=value]… with commas between them; see `gainsay list faults`"),
        Arg::new("zone")
            .long("zone")
            .value_name("NODE=ZONE,…")
            .value_delimiter(',')
            .action(ArgAction::Append)
            .env("GAINSAY_ZONE")
            .help("Which zone nodes are in, for faults that strike zones: n1=a,n2=b or, with regions, n1=eu/a,n2=us/a"),
        Arg::new("schedule")
            .long("schedule")
            .value_name("overlapping|alternating|FILE|RUN")
            .env("GAINSAY_SCHEDULE")
            .help(
                "When faults act: each on a schedule of its own, one at a time, as a file says, or exactly as in an earlier \
                 run [default: overlapping]",
            ),
        Arg::new("quiet-periods")
            .long("quiet-periods")
            .value_name("EVERY/LENGTH")
            .env("GAINSAY_QUIET_PERIODS")
            .help("No fault is in force at the end of each period: 30s/5s for the last five seconds of each thirty"),
        Arg::new("max-down")
            .long("max-down")
            .value_name("N|minority")
            .env("GAINSAY_MAX_DOWN")
            .help("How many nodes may be killed, paused or cut off from the majority at once [default: no limit]"),
        duration("time-limit", "60s", "How long operations and faults go on")
            .env("GAINSAY_TIME_LIMIT"),
        Arg::new("concurrency")
            .short('c')
            .long("concurrency")
            .value_name("N|Nn")
            .default_value("2n")
            .env("GAINSAY_CONCURRENCY")
            .help("How many clients work at once: a number, or 2n for two a node"),
        duration("op-timeout", "2s", "How long one operation may take before its outcome is unknown")
            .env("GAINSAY_OP_TIMEOUT"),
        duration("recovery-limit", "60s", "How long the system may take to recover after the faults")
            .env("GAINSAY_RECOVERY_LIMIT"),
        Arg::new("stop-on-violation")
            .long("stop-on-violation")
            .action(ArgAction::SetTrue)
            .env("GAINSAY_STOP_ON_VIOLATION")
            .help(
                "Follow the history with the checkers, and end the run when a violation is proved that nothing \
                 after it can retract",
            ),
        Arg::new("seed")
            .long("seed")
            .value_name("N")
            .value_parser(value_parser!(u64))
            .env("GAINSAY_SEED")
            .help("The root of all random choices [default: a new one, printed]"),
        Arg::new("test-count")
            .long("test-count")
            .value_name("N")
            .default_value("1")
            .value_parser(value_parser!(u64).range(1..=1_000_000))
            .help("How many runs, each with the next seed; stops at the first that is not valid"),
        label_arg().env("GAINSAY_LABEL"),
    ];
    args.into_iter().map(|arg| arg.help_heading(TEST)).collect()
}

/// The store.
pub(super) fn store(matches: &ArgMatches) -> &Path {
    let store = matches.get_one::<PathBuf>("store");
    store.map_or(Path::new("runs"), PathBuf::as_path)
}

/// The text of an argument; empty where there is none.
pub(super) fn text<'m>(matches: &'m ArgMatches, name: &str) -> &'m str {
    matches.get_one::<String>(name).map_or("", String::as_str)
}

/// The flag that gives a run labels.
pub(super) fn label_arg() -> Arg {
    Arg::new("label")
        .long("label")
        .value_name("NAME")
        .value_delimiter(',')
        .action(ArgAction::Append)
        .value_parser(|text: &str| store::check_label(text).map(|()| text.to_owned()))
        .help("A word to find the run by, kept in its folder; may be given several times")
}

pub(super) fn check_args() -> Vec<Arg> {
    let args = [
        duration("check-time-limit", "5m", "How long each checker may take")
            .env("GAINSAY_CHECK_TIME_LIMIT"),
        Arg::new("check-memory")
            .long("check-memory")
            .value_name("SIZE")
            .default_value("4GB")
            .value_parser(spec::parse_bytes)
            .env("GAINSAY_CHECK_MEMORY")
            .help("How much memory each checker may use"),
    ];
    args.into_iter()
        .map(|arg| arg.help_heading(CHECKING))
        .collect()
}

pub(super) fn store_arg() -> Arg {
    Arg::new("store")
        .long("store")
        .value_name("DIR")
        .default_value("runs")
        .value_parser(value_parser!(PathBuf))
        .env("GAINSAY_STORE")
        .help("Where run folders are kept")
        .help_heading(OUTPUT)
}

pub(super) fn output_args() -> Vec<Arg> {
    let args = [
        store_arg(),
        Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("Defaults for flags [default: gainsay.toml here, if it is there]"),
        Arg::new("json")
            .long("json")
            .action(ArgAction::SetTrue)
            .help("Print the result as one JSON object a run on standard output"),
        Arg::new("quiet")
            .short('q')
            .long("quiet")
            .action(ArgAction::SetTrue)
            .help("Print the result only"),
        Arg::new("verbose")
            .short('v')
            .long("verbose")
            .action(ArgAction::Count)
            .help("Say more; twice for every command that a node runs"),
    ];
    args.into_iter()
        .map(|arg| arg.help_heading(OUTPUT))
        .collect()
}

/// A flag made from an option of a suite.
fn option_arg(option: &OptionSpec, heading: &'static str) -> Arg {
    let name = option.name.clone();
    let variable = format!("GAINSAY_{}", name.to_ascii_uppercase().replace('-', "_"));
    let help = match option.workloads.as_slice() {
        [] => option.help.clone(),
        some => format!("{} [workloads: {}]", option.help, some.join(", ")),
    };
    let arg = Arg::new(name.clone())
        .long(name)
        .help(help)
        .env(variable)
        .help_heading(heading);
    if option.kind == OptionKind::Flag {
        return arg.action(ArgAction::SetTrue);
    }
    let parsed = option.clone();
    let arg = arg
        .value_name(match &option.kind {
            OptionKind::Duration => "DURATION",
            OptionKind::OneOf(_) => "NAME",
            OptionKind::Text => "TEXT",
            _ => "N",
        })
        .value_parser(move |text: &str| parsed.parse(text).map(|_| text.to_owned()));
    match &option.default {
        Some(default) => arg.default_value(default.clone()),
        None => arg,
    }
}

/// Reads the options of a suite, and names those that mean nothing in a workload. One of these is refused where it was given as a
/// flag, and else has its default: an environment and a file may hold options of many runs.
fn suite_options(
    suite: &dyn Suite,
    workload: &str,
    matches: &ArgMatches,
) -> Result<(Options, Vec<String>)> {
    let (mut options, mut foreign) = (Options::default(), Vec::new());
    for option in suite.options() {
        let is_foreign = !option.is_of(workload);
        if is_foreign && matches.value_source(&option.name) == Some(ValueSource::CommandLine) {
            let of = option.workloads.join(", ");
            let name = option.name;
            return Err(BadArguments(format!("--{name} is of {of}, not of {workload}")).into());
        }
        let text = match option.kind {
            _ if is_foreign => None,
            OptionKind::Flag => Some(matches.get_flag(&option.name).to_string()),
            _ => matches.get_one::<String>(&option.name).cloned(),
        };
        let value = match text {
            Some(text) => Some(
                option
                    .parse(&text)
                    .map_err(|error| BadArguments(format!("--{}: {error}", option.name)))?,
            ),
            None => option.default_value(),
        };
        if is_foreign {
            foreign.push(option.name.clone());
        }
        options.0.extend(value.map(|value| (option.name, value)));
    }
    Ok((options, foreign))
}

/// Reads the limits of checkers.
pub(super) fn check_limits(matches: &ArgMatches) -> CheckLimits {
    CheckLimits {
        time: get_duration(matches, "check-time-limit"),
        memory: *matches.get_one("check-memory").expect("it has a default"),
    }
}

/// How to talk to the user.
pub(super) fn output(matches: &ArgMatches) -> Output {
    let verbosity = match (matches.get_flag("quiet"), matches.get_count("verbose")) {
        (true, _) => Verbosity::Quiet,
        (false, 0) => Verbosity::Normal,
        (false, 1) => Verbosity::Verbose,
        (false, _) => Verbosity::Trace,
    };
    Output::new(verbosity, matches.get_flag("json"))
}

fn get_duration(matches: &ArgMatches, name: &str) -> Duration {
    *matches.get_one(name).expect("it has a default")
}

/// What `test` was asked for, besides the specification.
pub(super) struct TestArgs {
    pub(super) spec: TestSpec,
    pub(super) labels: Vec<String>,
    pub(super) count: u64,
    pub(super) setup: bool,
    pub(super) force_unlock: bool,
    pub(super) password: Option<String>,
    pub(super) store: PathBuf,
    pub(super) output: Output,
}

/// Reads the flags of `test SUITE`.
pub(super) fn test_args_of(
    suite: &dyn Suite,
    matches: &ArgMatches,
    arguments: &[String],
) -> Result<TestArgs> {
    let nodes = match suite.is_simulated() {
        true => {
            NodesSpec::Simulated(*matches.get_one::<u64>("node-count").expect("default") as usize)
        }
        false => nodes_spec(matches)?,
    };
    let count = nodes.names().len();
    let labels = strings(matches, "zone");
    let zones = Zones::read(labels.iter().map(String::as_str), &nodes.names())
        .map_err(|error| BadArguments(format!("--zone: {error}")))?;
    let concurrency: &String = matches.get_one("concurrency").expect("it has a default");
    let workers =
        parse_concurrency(concurrency, count).map_err(|error| BadArguments(error.to_string()))?;
    let seed = match matches.get_one::<u64>("seed") {
        Some(seed) => *seed,
        // Short enough to be typed again.
        None => rand::rng().next_u64() >> 24,
    };
    let flag = |name| {
        matches
            .try_get_one::<bool>(name)
            .ok()
            .flatten()
            .copied()
            .unwrap_or(false)
    };
    let faults = Faults::read(matches, count)?;
    let workload = matches.get_one::<String>("workload").cloned();
    let workload = workload.unwrap_or_default();
    let (options, foreign_options) = suite_options(suite, &workload, matches)?;
    let spec = TestSpec {
        format: FORMAT,
        gainsay: env!("CARGO_PKG_VERSION").to_owned(),
        suite: suite.name().to_owned(),
        options,
        foreign_options,
        workload,
        nemesis: faults.nemesis,
        composition: faults.composition,
        schedule: faults.schedule,
        nodes,
        zones,
        workers,
        time_limit: get_duration(matches, "time-limit"),
        op_timeout: get_duration(matches, "op-timeout"),
        recovery_limit: get_duration(matches, "recovery-limit"),
        check: check_limits(matches),
        stop_on_violation: flag("stop-on-violation"),
        seed,
        leave_db_running: flag("leave-db-running"),
        started: String::new(),
        command: arguments.to_vec(),
        controller: None,
        imported: None,
        found: Vec::new(),
    };
    Ok(TestArgs {
        spec,
        labels: strings(matches, "label"),
        count: *matches.get_one("test-count").expect("it has a default"),
        setup: flag("setup"),
        force_unlock: flag("force-unlock"),
        password: password(matches)?,
        store: matches
            .get_one::<PathBuf>("store")
            .expect("it has a default")
            .clone(),
        output: output(matches),
    })
}

/// All values of a flag.
pub(super) fn strings(matches: &ArgMatches, name: &str) -> Vec<String> {
    let values = matches.get_many::<String>(name).into_iter().flatten();
    values.cloned().collect()
}

/// Reads a file that a flag names.
fn read_named(flag: &str, file: &Path) -> Result<String> {
    std::fs::read_to_string(file).map_err(|error| unreadable(flag, file, &error))
}

fn unreadable(flag: &str, file: &Path, error: &std::io::Error) -> anyhow::Error {
    BadArguments(format!("--{flag}: cannot read {}: {error}", file.display())).into()
}

/// A file that a flag names and that is read later: what is wrong with it is told now.
fn readable(matches: &ArgMatches, flag: &str) -> Result<Option<PathBuf>> {
    let Some(file) = matches.get_one::<PathBuf>(flag) else {
        return Ok(None);
    };
    // `none` is no file, where there may be none.
    if flag != "ssh-config" || file.as_os_str() != "none" {
        File::open(file).map_err(|error| unreadable(flag, file, &error))?;
    }
    Ok(Some(file.clone()))
}

/// Reads the password file, if one is named.
pub(super) fn password(matches: &ArgMatches) -> Result<Option<String>> {
    let Ok(Some(file)) = matches.try_get_one::<PathBuf>("password-file") else {
        return Ok(None);
    };
    let text = read_named("password-file", file)?;
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}

fn nodes_spec(matches: &ArgMatches) -> Result<NodesSpec> {
    let explicit_hosts = matches.value_source("nodes") == Some(ValueSource::CommandLine);
    if let Some(local) = matches.get_one::<u64>("local")
        && !explicit_hosts
    {
        let count = *local as usize;
        return Ok(match kernel(matches) {
            Kernel::Shared => NodesSpec::Local(count),
            Kernel::Own => NodesSpec::LocalMachines(count),
        });
    }
    Ok(NodesSpec::Ssh(ssh_spec(matches)?))
}

/// Reads the flags that name hosts and how to reach them.
pub(super) fn ssh_spec(matches: &ArgMatches) -> Result<SshSpec> {
    let mut hosts = strings(matches, "nodes");
    if let Some(file) = matches.get_one::<PathBuf>("nodes-file") {
        let text = read_named("nodes-file", file)?;
        let lines = text
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default().trim());
        hosts.extend(lines.filter(|line| !line.is_empty()).map(str::to_owned));
    }
    hosts.retain(|host| !host.is_empty());
    if hosts.is_empty() {
        return Err(BadArguments(
            "no nodes: give --local N for nodes on this machine, or --nodes HOST,… for your own"
                .to_owned(),
        )
        .into());
    }
    for (at, host) in hosts.iter().enumerate() {
        if hosts[..at].contains(host) {
            return Err(BadArguments(format!("the node {host} is given twice")).into());
        }
    }
    Ok(SshSpec {
        hosts,
        username: matches.get_one::<String>("username").cloned(),
        port: matches.get_one::<u16>("ssh-port").copied(),
        private_key: readable(matches, "ssh-private-key")?,
        host_key_checking: *matches
            .get_one("host-key-checking")
            .expect("it has a default"),
        ssh_config: readable(matches, "ssh-config")?,
        connect_timeout: matches.get_one::<Duration>("connect-timeout").copied(),
        // What only looks at nodes has no such flag.
        power_command: matches
            .try_get_one::<String>("power-command")
            .ok()
            .flatten()
            .cloned(),
    })
}

/// The flag that takes nodes from a run that is dead.
pub(super) fn force_unlock() -> Arg {
    Arg::new("force-unlock")
        .long("force-unlock")
        .action(ArgAction::SetTrue)
        .help("Take over nodes that another run has locked. Only when that run is certainly dead")
}

/// The flags that name hosts and how to reach them, for commands other than `test`.
pub(super) fn ssh_args() -> Vec<Arg> {
    let wanted = [
        "nodes",
        "nodes-file",
        "username",
        "ssh-port",
        "ssh-private-key",
        "host-key-checking",
        "ssh-config",
        "connect-timeout",
        "password-file",
    ];
    let args = node_args()
        .into_iter()
        .filter(|arg| wanted.contains(&arg.get_id().as_str()));
    args.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::Value;

    use super::*;
    use crate::report;
    use crate::suites::Suites;

    /// A specification without its command line, and the command that makes it again, as a shell reads it.
    fn spec_and_again(words: &[String]) -> (Value, Vec<String>) {
        let suites = Suites::new(crate::suites());
        let suite = suites.get(&words[2]).unwrap();
        let matches = suite_command(suite.as_ref())
            .try_get_matches_from(&words[2..])
            .unwrap();
        let spec = test_args_of(suite.as_ref(), &matches, words).unwrap().spec;
        let script = format!("printf '%s\\n' {}", report::again(&spec));
        let said = std::process::Command::new("sh")
            .args(["-c", &script])
            .output()
            .unwrap();
        let again = String::from_utf8(said.stdout).unwrap();
        let mut spec = serde_json::to_value(spec).unwrap();
        spec.as_object_mut().unwrap().remove("command");
        (spec, again.lines().map(str::to_owned).collect())
    }

    #[test]
    fn the_command_that_a_report_gives_makes_the_same_run() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("a key");
        let password = folder.path().join("password");
        std::fs::write(&key, "").unwrap();
        std::fs::write(&password, "secret").unwrap();
        let (key, password) = (key.to_str().unwrap(), password.to_str().unwrap());
        let commands: [&[&str]; 4] = [
            &["sim"],
            &[
                "sim",
                "--nemesis",
                "kill,pause:alone=true",
                "--schedule",
                "alternating",
                "--quiet-periods",
                "30s/5s",
                "--max-down",
                "minority",
            ],
            &[
                "etcd",
                "--local",
                "5",
                "--kernel",
                "own",
                "--nemesis",
                "partition:one:interval=5s,kill",
                "--zone",
                "n1=eu/a,n2=us/b",
                "--serializable-reads",
                "--time-limit",
                "90",
                "--op-timeout",
                "1s 500ms",
                "--concurrency",
                "3n",
                "--rate",
                "12.5",
                "--group-size",
                "5",
                "--leave-db-running",
                "--test-count",
                "3",
                "--seed",
                "7",
            ],
            &[
                "etcd",
                "--nodes",
                "a,b",
                "--nodes",
                "c",
                "--username",
                "o'brien",
                "--ssh-port",
                "2222",
                "--ssh-private-key",
                key,
                "--host-key-checking",
                "accept-new",
                "--ssh-config",
                "none",
                "--connect-timeout",
                "3s",
                "--power-command",
                "ipmi --quiet",
                "--password-file",
                password,
            ],
        ];
        for command in commands {
            let words: Vec<String> = ["/usr/bin/gainsay", "test"]
                .iter()
                .chain(command)
                .map(|word| (*word).to_owned())
                .collect();
            let (spec, again) = spec_and_again(&words);
            assert_eq!(again[..3], ["gainsay", "test", command[0]]);
            let (same, fixed) = spec_and_again(&again);
            assert_eq!(spec, same);
            assert_eq!(again, fixed);
            assert!(!again.iter().any(|word| word == "secret"));
        }
    }

    #[test]
    fn an_option_of_another_workload_is_refused_and_not_recorded() {
        let suites = Suites::new(crate::suites());
        let suite = suites.get("sim").unwrap();
        let read = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let matches = suite_command(suite.as_ref()).try_get_matches_from(&words);
            test_args_of(suite.as_ref(), &matches.unwrap(), &words).map(|args| args.spec)
        };
        let bank = read(&[
            "sim",
            "--workload",
            "bank",
            "--accounts",
            "3",
            "--bug",
            "stale-reads",
        ]);
        let spec = bank.unwrap();
        let own: Vec<&str> = spec.own_options().map(|(name, _)| name.as_str()).collect();
        assert_eq!(spec.options.integer("accounts"), 3);
        assert!(own.contains(&"bug") && own.contains(&"accounts") && !own.contains(&"ops-per-key"));
        assert_eq!(spec.options.integer("ops-per-key"), 300);
        assert!(!report::again(&spec).contains("ops-per-key"));
        let refused = read(&["sim", "--workload", "register", "--accounts", "3"]);
        assert_eq!(
            refused.unwrap_err().to_string(),
            "--accounts is of bank, not of register"
        );
    }
}
