//! `gainsay doctor`: what a run needs, here and on the nodes, and how to get what is missing.

use anyhow::{Context, Result};
use clap::{ArgMatches, Command};
use harness::local;
use harness::remote::{self, Node};

use super::output::outln;
use super::{Output, args};
use crate::exit::Exit;
use crate::run;
use crate::suites::Suites;

pub(super) fn command() -> Command {
    Command::new("doctor")
        .about("Say what a run needs, here and on --nodes, and how to get what is missing")
        .args(args::ssh_args())
        .args(args::output_args())
}

/// A finding: what was looked at, and what to do where it is not in order.
struct Finding {
    what: String,
    wrong: Option<String>,
    /// Whether a run can do without.
    optional: bool,
}

impl Finding {
    fn good(what: impl Into<String>) -> Finding {
        Finding {
            what: what.into(),
            wrong: None,
            optional: false,
        }
    }

    fn bad(what: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding {
            what: what.into(),
            wrong: Some(fix.into()),
            optional: false,
        }
    }

    /// What only some runs need.
    fn absent(what: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding {
            optional: true,
            ..Finding::bad(what, fix)
        }
    }
}

pub(super) fn run(suites: &Suites, matches: &ArgMatches) -> Result<Exit> {
    let output = args::output(matches);
    let given = ["nodes", "nodes-file"]
        .iter()
        .any(|name| matches.contains_id(name));
    if given {
        let spec = args::ssh_spec(matches)?;
        let password = args::password(matches)?;
        let nodes = run::ssh_nodes(&spec, password.as_deref())?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the asynchronous runtime")?;
        let mut exit = Exit::Valid;
        for node in &nodes {
            let findings = runtime.block_on(examine(suites, node));
            exit = exit.and(print(&node.name, &findings, &output));
        }
        return Ok(exit);
    }
    Ok(print("this machine, for --local", &here(), &output))
}

fn print(whose: &str, findings: &[Finding], output: &Output) -> Exit {
    outln!("{whose}:");
    let mut exit = Exit::Valid;
    for finding in findings {
        match &finding.wrong {
            None => outln!("  {}  {}", output.paint("32", "ok     "), finding.what),
            Some(fix) if finding.optional => outln!(
                "  {}  {}\n           to have it: {fix}",
                output.paint("33", "absent "),
                finding.what
            ),
            Some(fix) => {
                outln!(
                    "  {}  {}\n           fix: {fix}",
                    output.paint("31", "missing"),
                    finding.what
                );
                exit = Exit::Failure;
            }
        }
    }
    exit
}

/// What a local cluster needs of this machine.
fn here() -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.push(match nix::unistd::geteuid().is_root() {
        true => Finding::good("running as root"),
        false => Finding::bad("local nodes need root", "run with sudo"),
    });
    let missing = local::missing_tools();
    if missing.is_empty() {
        findings.push(Finding::good("the tools that build and connect the nodes"));
    }
    for tool in missing {
        findings.push(Finding::bad(
            run::describe_missing(&tool),
            "add --setup to the test, or install it",
        ));
    }
    findings.extend(own_kernels());
    findings.push(namespaces());
    let cache = local::cache_dir();
    let space = std::fs::create_dir_all(&cache)
        .map_err(|error| error.to_string())
        .and_then(|()| nix::sys::statvfs::statvfs(&cache).map_err(|error| error.to_string()));
    findings.push(match space {
        Ok(stat) => {
            let free = stat.blocks_available() * stat.fragment_size();
            let what = format!("{} MB free in the cache {}", free >> 20, cache.display());
            match free >> 30 {
                0..2 => Finding::bad(
                    what,
                    "free 2 GB there, or set GAINSAY_CACHE to another folder",
                ),
                _ => Finding::good(what),
            }
        }
        Err(error) => Finding::bad(
            format!("the cache {} cannot be used: {error}", cache.display()),
            "set GAINSAY_CACHE to a folder that can be written to",
        ),
    });
    findings
}

/// What local nodes with kernels of their own need besides.
fn own_kernels() -> Vec<Finding> {
    let missing = local::missing_for_own_kernels();
    let mut findings: Vec<Finding> = missing
        .iter()
        .map(|tool| {
            let what = format!("for --kernel own: {}", run::describe_missing(tool));
            let fix = format!(
                "add --setup to the test, or apt-get install {}",
                tool.package
            );
            Finding::absent(what, fix)
        })
        .collect();
    if let Err(error) = std::fs::File::options().write(true).open("/dev/net/tun") {
        findings.push(Finding::absent(
            format!("for --kernel own: /dev/net/tun: {error}"),
            "modprobe tun; give a container the device",
        ));
    }
    if !cfg!(target_arch = "x86_64") {
        findings = vec![Finding::absent(
            "for --kernel own: user-mode Linux",
            "there is none for this kind of processor",
        )];
    }
    if findings.is_empty() {
        findings.push(Finding::good("user-mode Linux, for --kernel own"));
    }
    findings
}

/// Whether namespaces can be made, tried on a thread of its own, which takes them along when it ends.
fn namespaces() -> Finding {
    use nix::sched::{CloneFlags, unshare};
    let tried = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC)
    });
    match tried.join() {
        Ok(Ok(())) => Finding::good("the kernel gives namespaces"),
        Ok(Err(error)) => Finding::bad(
            format!("the kernel gives no namespaces: {error}"),
            "run as root outside of a container, or give the container CAP_SYS_ADMIN",
        ),
        Err(_) => Finding::bad(
            "the kernel could not be asked for namespaces",
            "report this",
        ),
    }
}

/// What a run needs of a node.
async fn examine(suites: &Suites, node: &Node) -> Vec<Finding> {
    let mut findings = Vec::new();
    let reached = node
        .remote
        .exec(remote::Command::new("id -u").idempotent())
        .await;
    match reached {
        Ok(output) if output.text() == "0" => findings.push(Finding::good("SSH, and root there")),
        Ok(_) => findings.push(Finding::bad(
            "commands do not run as root",
            "log in as root (--username root), or allow the user sudo",
        )),
        Err(error) => {
            findings.push(Finding::bad(error.to_string(), "see the hint above"));
            return findings;
        }
    }
    let packages: Vec<String> = suites.iter().flat_map(|suite| suite.packages()).collect();
    let mut asked = vec![
        (
            "command -v apt-get dpkg >/dev/null".to_owned(),
            "a Debian system".to_owned(),
            "suites install from Debian's packages: use a Debian node".to_owned(),
        ),
        (
            "command -v start-stop-daemon >/dev/null".to_owned(),
            "start-stop-daemon".to_owned(),
            "apt-get install dpkg".to_owned(),
        ),
        (
            "command -v nft >/dev/null && nft list tables >/dev/null".to_owned(),
            "nft, for partitions".to_owned(),
            "apt-get install nftables, and a kernel with nf_tables".to_owned(),
        ),
        (
            "test $(df -Pk /var/lib | awk 'NR==2 {print $4}') -gt 1048576".to_owned(),
            "1 GB free in /var/lib".to_owned(),
            "free space there".to_owned(),
        ),
    ];
    for package in packages {
        asked.push((
            format!("apt-cache show {} >/dev/null 2>&1", remote::quote(&package)),
            format!("the package {package} in the node's package sources"),
            "apt-get update there; see /etc/apt/sources.list".to_owned(),
        ));
    }
    for (script, what, fix) in asked {
        let answer = node
            .remote
            .run(remote::Command::new(script).idempotent())
            .await;
        findings.push(match answer {
            Ok(output) if output.status == 0 => Finding::good(what),
            Ok(_) => Finding::bad(what, fix),
            Err(error) => Finding::bad(what, error.to_string()),
        });
    }
    findings
}
