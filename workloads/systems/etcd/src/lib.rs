//! etcd: installed from the node's own Debian packages, driven over its JSON gateway.
//!
//! etcd promises linearizability for all operations but *serializable* reads, which a member
//! answers from its own state: with `--serializable-reads` a partition shows them stale.

mod client;
mod db;
mod errors;
mod membership;
mod probe;
mod release;

use std::sync::Arc;

use workloads::{
    BuildError, BuildRequest, Claim, NamedChecker, OptionKind, OptionSpec, Options, Plan, Suite,
    VersionInfo, WorkloadInfo, World, WorldRequest, kit::OwnFile, register,
};

use client::EtcdConnect;
use db::EtcdDb;
use release::Release;

/// Where clients are served.
const CLIENT_PORT: u16 = 2379;
/// Where members talk to each other.
const PEER_PORT: u16 = 2380;

const VERSION: &str = "version";
const SERIALIZABLE_READS: &str = "serializable-reads";

/// The etcd suite.
pub struct EtcdSuite;

impl Suite for EtcdSuite {
    fn name(&self) -> &str {
        "etcd"
    }

    fn summary(&self) -> &str {
        "etcd, the key-value store of Kubernetes (Debian's etcd-server)"
    }

    fn workloads(&self) -> Vec<WorkloadInfo> {
        vec![register::info()]
    }

    fn versions(&self) -> Vec<VersionInfo> {
        release::known()
    }

    fn options(&self) -> Vec<OptionSpec> {
        let mut options = register::options();
        let version = "Which etcd: `debian` (the nodes' own package), 3.5.0 or later (built on this machine from its Go \
                       module, and sent to the nodes), or the path of an etcd program";
        options.push(OptionSpec::new(
            VERSION,
            OptionKind::Text,
            Some(release::DEBIAN),
            version,
        ));
        options.push(OwnFile::option());
        options.push(OptionSpec::flag(
            SERIALIZABLE_READS,
            "Let each node answer reads from its own state, without consensus: stale under a partition",
        ));
        options
    }

    fn packages(&self) -> Vec<String> {
        vec![db::PACKAGE.to_owned()]
    }

    fn world(&self, request: &WorldRequest<'_>) -> Result<World, BuildError> {
        let release = Release::read(&OwnFile::or_version(request.options, VERSION));
        let release = release.map_err(|why| BuildError(format!("--{VERSION}: {why}")))?;
        Ok(World::Nodes(Arc::new(EtcdDb::new(release))))
    }

    fn plan(&self, _world: &World, request: &BuildRequest<'_>) -> Result<Plan, BuildError> {
        let serializable = request.options.flag(SERIALIZABLE_READS);
        Ok(Plan {
            connect: Arc::new(EtcdConnect::new(request.nodes, request.run, serializable)),
            generator: register::generator(request)?,
            final_generator: None,
        })
    }

    fn claim(&self, _workload: &str, options: &Options) -> Claim {
        claim(options.flag(SERIALIZABLE_READS))
    }

    fn checkers(
        &self,
        _workload: &str,
        _options: &Options,
    ) -> Result<Vec<NamedChecker>, BuildError> {
        Ok(register::checkers())
    }
}

fn claim(serializable_reads: bool) -> Claim {
    let source = match serializable_reads {
        false => {
            "etcd documentation, KV API guarantees: all operations but serializable reads are linearizable"
        }
        true => {
            "asked of it on purpose: etcd promises linearizability for all operations except \
             serializable reads, which this run uses"
        }
    };
    Claim {
        model: "linearizable".to_owned(),
        source: source.to_owned(),
    }
}
