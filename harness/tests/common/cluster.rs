//! What tests of local clusters share: running without a harness of their own, and talking to nodes by the plain `ssh`.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use harness::local::{LocalCluster, SshTarget, run_helper_if_asked};

/// The argument that makes this executable a controller to be killed.
pub(crate) const CONTROLLER: &str = "controller-to-be-killed";

/// Runs the tests that the arguments select by parts of their names, or all; or is a controller, where it was started as one. Where they
/// cannot run, says so loudly.
pub(crate) fn run(
    tests: &[(&str, fn())],
    be_a_controller: fn(),
    missing: impl FnOnce() -> Option<&'static str>,
) {
    run_helper_if_asked();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == CONTROLLER) {
        return be_a_controller();
    }
    if let Some(missing) = missing() {
        eprintln!("\n*** SKIPPED: {missing}, and did NOT run ***\n");
        // There is no kernel for nodes' own on other kinds of processors.
        let installed = cfg!(target_arch = "x86_64") || !missing.contains("user-mode");
        assert!(
            !installed || std::env::var_os("CI").is_none(),
            "on CI nothing is skipped: {missing}"
        );
        return;
    }
    let wanted: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    for &(name, test) in tests {
        if wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str())) {
            let begin = Instant::now();
            eprint!("test {name} ... ");
            test();
            eprintln!("ok ({:.1} s)", begin.elapsed().as_secs_f64());
        }
    }
}

/// Runs a script on a node, by the plain `ssh` of this machine, host keys checked.
pub(crate) fn ssh(cluster: &LocalCluster, node: usize, script: &str) -> Output {
    let SshTarget {
        address,
        user,
        key,
        known_hosts,
        ..
    } = cluster.ssh_targets().remove(node - 1);
    let mut command = Command::new("ssh");
    command.args(["-F", "none", "-i"]).arg(key);
    for option in [
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        "IdentitiesOnly=yes",
        "ConnectTimeout=10",
        "ServerAliveInterval=2",
        &format!("UserKnownHostsFile={}", known_hosts.display()),
    ] {
        command.args(["-o", option]);
    }
    command
        .arg(format!("{user}@{address}"))
        .arg(script)
        .stdin(Stdio::null());
    cluster
        .in_switch_netns(|| command.output().unwrap())
        .unwrap()
}

/// As [`ssh`], for scripts that must succeed; returns their output.
pub(crate) fn says(cluster: &LocalCluster, node: usize, script: &str) -> String {
    let output = ssh(cluster, node, script);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "n{node}: {script}: {} {errors}",
        output.status
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A controller of its own process.
pub(crate) fn controller() -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("controller").arg(CONTROLLER);
    command
}

/// The line that a controller said before it was killed.
pub(crate) fn last_words() -> String {
    let mut controller = controller().stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(controller.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    controller.kill().unwrap();
    controller.wait().unwrap();
    line.trim().to_owned()
}
