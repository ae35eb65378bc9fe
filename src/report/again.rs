//! How to run a run again.

use harness::options::OptionValue;
use harness::remote::quote;

use crate::spec::{HostKeyChecking, NodesSpec, SshSpec, TestSpec};

/// A command line for a shell.
pub(super) fn command(words: &[String]) -> String {
    let words: Vec<_> = words.iter().map(|word| quote(word)).collect();
    words.join(" ")
}

/// The command line that makes the same run, with its seed. It says everything, so that it means the same
/// under another environment, another `gainsay.toml` and other defaults.
///
/// What others recorded nobody here can do again: it can be imported again.
pub(crate) fn again(spec: &TestSpec) -> String {
    if let Some(imported) = &spec.imported {
        return command(&["gainsay", "import", &imported.file].map(str::to_owned));
    }
    let program = spec
        .command
        .first()
        .and_then(|path| path.rsplit('/').next());
    let mut words: Vec<String> = [program.unwrap_or("gainsay"), "test", &spec.suite]
        .map(str::to_owned)
        .to_vec();
    let mut flag = |name: &str, value: &str| words.extend([format!("--{name}"), value.to_owned()]);
    let duration = |duration| humantime::format_duration(duration).to_string();
    if !spec.workload.is_empty() {
        flag("workload", &spec.workload);
    }
    match &spec.nodes {
        NodesSpec::Simulated(n) => flag("node-count", &n.to_string()),
        NodesSpec::Local(n) => flag("local", &n.to_string()),
        NodesSpec::LocalMachines(n) => {
            flag("local", &n.to_string());
            flag("kernel", "own");
        }
        NodesSpec::Ssh(ssh) => hosts(ssh, &mut flag),
        NodesSpec::Recorded(_) => {}
    }
    // Its name alone is known, and only if it was given as a flag.
    let mut given = spec.command.iter();
    if given.by_ref().any(|word| word == "--password-file")
        && let Some(file) = given.next()
    {
        flag("password-file", file);
    }
    flag("nemesis", &spec.nemesis);
    if !spec.zones.is_empty() {
        flag("zone", &spec.zones.labels().collect::<Vec<_>>().join(","));
    }
    if let Some(schedule) = &spec.schedule {
        flag("schedule", schedule);
    }
    if let Some(quiet) = spec.composition.quiet {
        let periods = [quiet.every, quiet.lasts].map(duration).join("/");
        flag("quiet-periods", &periods);
    }
    if let Some(most) = spec.composition.max_down {
        flag("max-down", &most.to_string());
    }
    flag("concurrency", &spec.workers.to_string());
    flag("time-limit", &duration(spec.time_limit));
    flag("op-timeout", &duration(spec.op_timeout));
    flag("recovery-limit", &duration(spec.recovery_limit));
    flag("seed", &spec.seed.to_string());
    let (flags, values): (Vec<_>, Vec<_>) = spec
        .own_options()
        .partition(|(_, value)| matches!(value, OptionValue::Flag(_)));
    for (name, value) in values {
        flag(name, &value.to_string());
    }
    let on = flags
        .into_iter()
        .filter(|(_, value)| **value == OptionValue::Flag(true));
    words.extend(on.map(|(name, _)| format!("--{name}")));
    if spec.leave_db_running {
        words.push("--leave-db-running".to_owned());
    }
    command(&words)
}

fn hosts(ssh: &SshSpec, flag: &mut impl FnMut(&str, &str)) {
    flag("nodes", &ssh.hosts.join(","));
    if let Some(name) = &ssh.username {
        flag("username", name);
    }
    if let Some(port) = ssh.port {
        flag("ssh-port", &port.to_string());
    }
    if let Some(key) = &ssh.private_key {
        flag("ssh-private-key", &key.to_string_lossy());
    }
    match ssh.host_key_checking {
        HostKeyChecking::Strict => {}
        HostKeyChecking::AcceptNew => flag("host-key-checking", "accept-new"),
        HostKeyChecking::Off => flag("host-key-checking", "off"),
    }
    if let Some(file) = &ssh.ssh_config {
        flag("ssh-config", &file.to_string_lossy());
    }
    if let Some(command) = &ssh.power_command {
        flag("power-command", command);
    }
    if let Some(limit) = ssh.connect_timeout {
        flag(
            "connect-timeout",
            &humantime::format_duration(limit).to_string(),
        );
    }
}
