//! What a run is: everything needed to run it again. Saved as `test.json` before anything happens, and
//! again when it is known what the nodes are.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use harness::node::facts::Facts;
use nemeses::Zones;
use serde::{Deserialize, Serialize};
use workloads::Options;
use workloads::options::OptionValue;

/// The version of `test.json` and `results.json`.
pub(crate) const FORMAT: u32 = 1;

/// The specification of one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TestSpec {
    /// The version of this format.
    pub(crate) format: u32,
    /// The version of Gainsay.
    pub(crate) gainsay: String,
    /// The system.
    pub(crate) suite: String,
    /// The workload.
    pub(crate) workload: String,
    /// Options of the suite and its workload, defaults filled in.
    pub(crate) options: Options,
    /// Those of them that are of other workloads of the suite only: they have their defaults, and mean nothing here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) foreign_options: Vec<String>,
    /// Faults, as `--nemesis` takes them.
    pub(crate) nemesis: String,
    /// How they go together.
    #[serde(default)]
    pub(crate) composition: nemeses::Composition,
    /// What `--schedule` was given, unless it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) schedule: Option<String>,
    /// Where the nodes come from.
    pub(crate) nodes: NodesSpec,
    /// Which zones they are in.
    #[serde(default, skip_serializing_if = "Zones::is_empty")]
    pub(crate) zones: Zones,
    /// How many client workers.
    pub(crate) workers: usize,
    /// How long the main phase lasts.
    pub(crate) time_limit: Duration,
    /// How long one operation may take.
    pub(crate) op_timeout: Duration,
    /// How long the system may take to recover once all faults are healed.
    pub(crate) recovery_limit: Duration,
    /// Limits of each checker.
    pub(crate) check: CheckLimits,
    /// Whether the main phase ends as soon as a violation is proved.
    #[serde(default)]
    pub(crate) stop_on_violation: bool,
    /// The root of all random choices.
    pub(crate) seed: u64,
    /// Whether the system is left running on the nodes.
    pub(crate) leave_db_running: bool,
    /// When the run began, in UTC.
    pub(crate) started: String,
    /// The command line. It has no secrets: no flag takes one, only the name of a file that holds it.
    pub(crate) command: Vec<String>,
    /// The machine that the clients ran on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) controller: Option<Facts>,
    /// Where the history comes from, if it is no run of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) imported: Option<Imported>,
    /// What was found on each node. Empty before it was set up, and where nodes are simulated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) found: Vec<NodeFound>,
}

/// Where a history comes from that others recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Imported {
    /// The file, as the user named it.
    pub(crate) file: String,
    /// How it was written.
    pub(crate) format: String,
    /// When it was imported, in UTC.
    pub(crate) at: String,
    /// What was mended in it to make it pair, a sentence each.
    pub(crate) notes: Vec<String>,
    /// How many mistakes the linter found in it.
    pub(crate) findings: u64,
}

/// What was found on a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct NodeFound {
    /// The node.
    pub(crate) node: store::Name,
    /// The address that clients and other nodes use.
    pub(crate) address: String,
    /// The system under test and its version, once it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) system: Option<String>,
    /// What the node said of itself.
    #[serde(flatten)]
    pub(crate) facts: Facts,
}

/// Limits of one checker's process.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CheckLimits {
    /// Wall time.
    pub(crate) time: Duration,
    /// Bytes of memory, enforced by the kernel.
    pub(crate) memory: u64,
}

/// Where the nodes of a run come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum NodesSpec {
    /// So many nodes in this process, of a simulated system.
    Simulated(usize),
    /// So many nodes of a local cluster.
    Local(usize),
    /// So many nodes of a local cluster, with kernels of their own.
    LocalMachines(usize),
    /// Hosts reached over SSH.
    Ssh(SshSpec),
    /// Those that a history from elsewhere names. Nobody can reach them.
    Recorded(Vec<String>),
}

/// Hosts reached over SSH, and how. Passwords are never part of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SshSpec {
    /// The hosts, as the user names them.
    pub(crate) hosts: Vec<String>,
    /// The user to log in as; where absent, `~/.ssh/config` or `root`.
    pub(crate) username: Option<String>,
    /// The port; where absent, `~/.ssh/config` or 22.
    pub(crate) port: Option<u16>,
    /// A private key.
    pub(crate) private_key: Option<PathBuf>,
    /// How host keys are checked.
    pub(crate) host_key_checking: HostKeyChecking,
    /// Another OpenSSH configuration than `~/.ssh/config`; `none` for none.
    pub(crate) ssh_config: Option<PathBuf>,
    /// How long connecting may take; where absent, the SSH configuration's or 15 seconds.
    pub(crate) connect_timeout: Option<Duration>,
    /// A command for this machine's shell that turns a node's power `off` or `on`; the node and that word are its arguments.
    #[serde(default)]
    pub(crate) power_command: Option<String>,
}

/// How host keys are checked. A key that changed is refused in every mode but `Off`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum HostKeyChecking {
    /// Unknown hosts are refused.
    #[default]
    Strict,
    /// Unknown hosts are added to the known hosts.
    AcceptNew,
    /// Nothing is checked.
    Off,
}

impl NodesSpec {
    /// The names of the nodes.
    pub(crate) fn names(&self) -> Vec<store::Name> {
        let numbered = |n: &usize| (1..=*n).map(|i| format!("n{i}").into()).collect();
        match self {
            NodesSpec::Simulated(n) | NodesSpec::Local(n) | NodesSpec::LocalMachines(n) => {
                numbered(n)
            }
            NodesSpec::Ssh(ssh) => ssh.hosts.iter().map(|host| host.as_str().into()).collect(),
            NodesSpec::Recorded(names) => names.iter().map(|name| name.as_str().into()).collect(),
        }
    }
}

/// Parses `30`, `30s`, `500ms`, `2m`: a number without a unit means seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string());
    }
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write a duration like 500ms, 30s or 2m"))
}

/// Parses a size such as `512MB`, `4GB` or a number of bytes.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number
        .parse()
        .map_err(|_| "write a size like 512MB or 4GB".to_owned())?;
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        other => {
            return Err(format!(
                "unknown unit {other:?}; write a size like 512MB or 4GB"
            ));
        }
    };
    number
        .checked_mul(factor)
        .ok_or_else(|| "too large".to_owned())
}

/// Parses `--concurrency`: a number of workers, or `3n` for three a node.
pub(crate) fn parse_concurrency(text: &str, nodes: usize) -> Result<usize> {
    let (number, factor) = match text.strip_suffix('n') {
        Some(number) => (if number.is_empty() { "1" } else { number }, nodes),
        None => (text, 1),
    };
    match number.parse::<usize>() {
        Ok(number) if number > 0 && number.saturating_mul(factor) <= 100_000 => Ok(number * factor),
        _ => bail!(
            "--concurrency {text}: write a number of workers such as 10, or 2n for two a node"
        ),
    }
}

impl TestSpec {
    /// The options that mean something in this run.
    pub(crate) fn own_options(&self) -> impl Iterator<Item = (&String, &OptionValue)> {
        let options = self.options.0.iter();
        options.filter(|(name, _)| !self.foreign_options.contains(name))
    }

    /// The specification of a history that others recorded: what is known of it, and else nothing.
    pub(crate) fn of_imported(suite: &str, workload: &str, imported: Imported) -> TestSpec {
        TestSpec {
            format: FORMAT,
            gainsay: env!("CARGO_PKG_VERSION").to_owned(),
            suite: suite.to_owned(),
            workload: workload.to_owned(),
            options: Options::default(),
            foreign_options: Vec::new(),
            nemesis: "none".to_owned(),
            composition: nemeses::Composition::default(),
            schedule: None,
            nodes: NodesSpec::Recorded(Vec::new()),
            zones: Zones::default(),
            workers: 0,
            time_limit: Duration::ZERO,
            op_timeout: Duration::ZERO,
            recovery_limit: Duration::ZERO,
            check: CheckLimits {
                time: Duration::from_secs(300),
                memory: 4 << 30,
            },
            stop_on_violation: false,
            seed: 0,
            leave_db_running: false,
            started: imported.at.clone(),
            command: Vec::new(),
            controller: None,
            imported: Some(imported),
            found: Vec::new(),
        }
    }
}

/// Specifications for tests.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A plain run of three simulated nodes, that began now.
    pub(crate) fn spec(suite: &str, workload: &str) -> TestSpec {
        let imported = Imported {
            file: String::new(),
            format: String::new(),
            at: jiff::Timestamp::now().to_string(),
            notes: Vec::new(),
            findings: 0,
        };
        TestSpec {
            nodes: NodesSpec::Simulated(3),
            workers: 6,
            time_limit: Duration::from_secs(60),
            op_timeout: Duration::from_secs(2),
            recovery_limit: Duration::from_secs(60),
            seed: 1,
            command: ["gainsay", "test", suite].map(str::to_owned).to_vec(),
            imported: None,
            ..TestSpec::of_imported(suite, workload, imported)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn durations_sizes_and_concurrency() {
        assert_eq!(parse_duration("30").unwrap(), Duration::from_secs(30));
        assert_eq!(parse_duration("1.5").unwrap(), Duration::from_millis(1500));
        assert_eq!(parse_duration("500ms").unwrap(), Duration::from_millis(500));
        assert!(parse_duration("-1").is_err());
        assert!(parse_duration("soon").unwrap_err().contains("30s"));
        assert_eq!(parse_bytes("4GB").unwrap(), 4 << 30);
        assert_eq!(parse_bytes("12").unwrap(), 12);
        assert!(parse_bytes("4 parsecs").is_err());
        assert_eq!(parse_concurrency("3n", 5).unwrap(), 15);
        assert_eq!(parse_concurrency("n", 5).unwrap(), 5);
        assert_eq!(parse_concurrency("7", 5).unwrap(), 7);
        assert!(parse_concurrency("0", 5).is_err());
        assert!(parse_concurrency("3m", 5).is_err());
    }
}
