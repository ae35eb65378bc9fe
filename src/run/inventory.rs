//! Where the nodes of a command come from: a local cluster, hosts over SSH, or nowhere.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use futures::future::join_all;
use harness::local::{self, Kernel, LocalCluster};
use harness::remote::ssh::{ConfigFile, HostKeyPolicy, Secret, SshOptions, SshRemote};
use harness::remote::{Command, Node};
use nemeses::ssh::PowerSwitches;
use store::Name;

use super::power;
use crate::cli::{Output, Verbosity};
use crate::spec::{HostKeyChecking, NodesSpec, SshSpec};

/// What a local cluster needs beyond its size.
#[derive(Clone, Debug, Default)]
pub(crate) struct LocalRequest {
    /// Debian packages that the system will install on the nodes.
    pub(crate) packages: Vec<String>,
    /// Whether to install what this machine lacks.
    pub(crate) setup: bool,
}

/// The nodes of a command, for as many runs as it has.
pub(crate) enum Inventory {
    /// None: the system is simulated.
    Simulated,
    /// A local cluster. This process is in its network namespace.
    Local(LocalCluster),
    /// Hosts.
    Ssh(SshSpec, Option<String>),
}

impl Inventory {
    /// Gets the nodes. A local cluster comes up here, and this thread (with all that it starts later)
    /// moves into its network namespace.
    pub(crate) fn acquire(
        nodes: &NodesSpec,
        local: &LocalRequest,
        password: Option<String>,
        output: &Output,
    ) -> Result<Inventory> {
        match nodes {
            NodesSpec::Simulated(_) => Ok(Inventory::Simulated),
            NodesSpec::Ssh(ssh) => Ok(Inventory::Ssh(ssh.clone(), password)),
            NodesSpec::Recorded(_) => {
                bail!("the nodes of a history from elsewhere cannot be reached")
            }
            NodesSpec::Local(count) => Inventory::local(*count, Kernel::Shared, local, output),
            NodesSpec::LocalMachines(count) => Inventory::local(*count, Kernel::Own, local, output),
        }
    }

    fn local(
        count: usize,
        kernel: Kernel,
        local: &LocalRequest,
        output: &Output,
    ) -> Result<Inventory> {
        prepare(kernel, local.setup, output)?;
        let mut config = local::Config::new(count);
        config.kernel = kernel;
        config.packages = local.packages.clone();
        let cluster = up(config, output)?;
        cluster.enter_switch_netns()?;
        Ok(Inventory::Local(cluster))
    }

    /// Opens a session to every node.
    pub(crate) async fn connect(&self, output: &Output) -> Result<Vec<Node>> {
        let nodes = match self {
            Inventory::Simulated => bail!("a simulated system has no nodes to connect to"),
            Inventory::Local(cluster) => local_nodes(cluster)?,
            Inventory::Ssh(spec, password) => ssh_nodes(spec, password.as_deref())?,
        };
        output.say(&format!("connect {}", names(&nodes)));
        let reached = join_all(nodes.iter().map(|node| {
            let probe = Command::new("true").idempotent();
            async { node.remote.exec(probe).await }
        }));
        // All that is wrong, not only the first: a person then mends it in one go.
        let errors: Vec<String> = reached
            .await
            .into_iter()
            .filter_map(|reached| reached.err())
            .map(|e| e.to_string())
            .collect();
        if errors.is_empty() {
            Ok(nodes)
        } else {
            let (lost, all) = (errors.len(), nodes.len());
            let errors = errors.join("\n");
            Err(anyhow!("{lost} of {all} nodes cannot be used\n{errors}"))
        }
    }

    /// The switches of the nodes' power, as far as there are some.
    pub(crate) fn power(&self) -> PowerSwitches {
        match self {
            Inventory::Simulated => PowerSwitches::new(),
            Inventory::Local(cluster) => power::of_cluster(cluster),
            Inventory::Ssh(ssh, _) => power::of_hosts(ssh),
        }
    }

    /// Lets the nodes go: a local cluster is removed.
    pub(crate) fn release(self, output: &Output) -> Result<()> {
        if let Inventory::Local(cluster) = self {
            let started = Instant::now();
            cluster
                .down()
                .context("the local cluster was not removed; `gainsay nodes down` does")?;
            if output.verbosity >= Verbosity::Verbose {
                output.say(&format!("nodes   removed in {:?}", started.elapsed()));
            }
        }
        Ok(())
    }
}

/// Brings up a local cluster, whose nodes are offered what faults install, too; and says so.
pub(crate) fn up(mut config: local::Config, output: &Output) -> Result<LocalCluster> {
    config
        .packages
        .extend(nemeses::ssh::PACKAGES.map(str::to_owned));
    let started = Instant::now();
    let mut progress = |line: &str| output.say(&format!("nodes   {line}"));
    let cluster = local::up(&config, &mut progress)?;
    output.say(&format!(
        "nodes   {} local nodes up in {:.1?}",
        config.nodes,
        started.elapsed()
    ));
    Ok(cluster)
}

/// Sees that this machine has what local nodes need, and installs it if that was asked for.
pub(crate) fn prepare(kernel: Kernel, setup: bool, output: &Output) -> Result<()> {
    let mut missing = local::missing_tools();
    if kernel == Kernel::Own {
        missing.extend(local::missing_for_own_kernels());
    }
    if missing.is_empty() {
        return Ok(());
    }
    if !setup {
        let lines: Vec<String> = missing.iter().map(describe_missing).collect();
        bail!(
            "this machine lacks what local nodes need:\n  {}\nadd --setup to have it installed",
            lines.join("\n  ")
        );
    }
    let mut progress = |line: &str| output.say(&format!("setup   {line}"));
    local::install_tools(&missing, &mut progress)?;
    Ok(())
}

/// A tool that this machine lacks, for a person.
pub(crate) fn describe_missing(missing: &local::Missing) -> String {
    format!(
        "{} (Debian package {}): {}",
        missing.tool, missing.package, missing.why
    )
}

fn names(nodes: &[Node]) -> String {
    let names: Vec<&str> = nodes.iter().map(|node| &*node.name).collect();
    names.join(" ")
}

/// The nodes of a local cluster, for a process in its network namespace.
pub(crate) fn local_nodes(cluster: &LocalCluster) -> Result<Vec<Node>> {
    let node = |target: local::SshTarget| {
        let options = SshOptions {
            user: Some(target.user),
            port: Some(target.port),
            private_keys: vec![target.key],
            agent: false,
            host_keys: Some(HostKeyPolicy::Strict),
            known_hosts: vec![target.known_hosts],
            config: ConfigFile::None,
            ..SshOptions::default()
        };
        let address = target.address.to_string();
        let name: Name = target.name.into();
        let remote = SshRemote::new(name.clone(), &address, options)?;
        Ok(Node {
            name,
            address,
            remote: Arc::new(remote),
        })
    };
    cluster.ssh_targets().into_iter().map(node).collect()
}

/// Hosts over SSH. No session is opened yet.
pub(crate) fn ssh_nodes(spec: &SshSpec, password: Option<&str>) -> Result<Vec<Node>> {
    let secret = password.map(Secret::new);
    let options = SshOptions {
        user: spec.username.clone(),
        port: spec.port,
        private_keys: spec.private_key.iter().cloned().collect(),
        password: secret.clone(),
        sudo_password: secret,
        // Where the user did not say otherwise, `~/.ssh/config` may.
        host_keys: match spec.host_key_checking {
            HostKeyChecking::Strict => None,
            HostKeyChecking::AcceptNew => Some(HostKeyPolicy::AcceptNew),
            HostKeyChecking::Off => Some(HostKeyPolicy::Off),
        },
        config: match &spec.ssh_config {
            None => ConfigFile::Default,
            Some(file) if file.as_os_str() == "none" => ConfigFile::None,
            Some(file) => ConfigFile::Path(file.clone()),
        },
        connect_timeout: spec.connect_timeout,
        ..SshOptions::default()
    };
    let node = |host: &String| {
        let name: Name = host.as_str().into();
        let remote = SshRemote::new(name.clone(), host, options.clone())?;
        Ok(Node {
            name,
            address: remote.host().to_owned(),
            remote: Arc::new(remote),
        })
    };
    spec.hosts.iter().map(node).collect()
}
