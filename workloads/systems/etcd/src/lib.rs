//! etcd: installed from the node's own Debian packages, driven over its JSON gateway.
//!
//! `divergence` asks each member for what it has itself, when all is healed: the revision in which a key was written is the same on all of
//! them, or one of them has left something out.
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
    VersionInfo, WorkloadInfo, World, WorldRequest, divergence, kit::OwnFile, options::merged,
    options::of, register,
};

use client::{EtcdConnect, Work};
use db::EtcdDb;
use release::Release;

/// Where clients are served.
const CLIENT_PORT: u16 = 2379;
/// Where members talk to each other.
const PEER_PORT: u16 = 2380;

const VERSION: &str = "version";
const SERIALIZABLE_READS: &str = "serializable-reads";
const COMPARES: &str = "compares";

/// The etcd suite.
pub struct EtcdSuite;

impl Suite for EtcdSuite {
    fn name(&self) -> &str {
        "etcd"
    }

    fn summary(&self) -> &str {
        "etcd, the key-value store of Kubernetes"
    }

    fn workloads(&self) -> Vec<WorkloadInfo> {
        vec![register::info(), divergence::info()]
    }

    fn versions(&self) -> Vec<VersionInfo> {
        release::known()
    }

    fn options(&self) -> Vec<OptionSpec> {
        let version = "Which etcd: `debian` (the nodes' own package), 3.4.0 or later (the project's archive, or else built on this \
                       machine from its Go module), or the path of an etcd program";
        let own = vec![
            OptionSpec::new(VERSION, OptionKind::Text, Some(release::DEBIAN), version),
            OwnFile::option(),
            OptionSpec::flag(
                SERIALIZABLE_READS,
                "Let each node answer reads from its own state, without consensus: stale under a partition",
            ),
        ];
        let compares = OptionSpec::new(
            COMPARES,
            OptionKind::Integer { min: 0, max: 128 },
            Some("0"),
            "How many comparisons come before each write, in one transaction with it: members take longer to apply it",
        );
        merged([
            register::options(),
            divergence::options(),
            of(divergence::NAME, [compares]),
            own,
        ])
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
        let options = request.options;
        let (work, generator, final_generator) = match request.workload {
            divergence::NAME => {
                let work = Work {
                    serializable_reads: true,
                    versions: true,
                    compares: options.integer(COMPARES),
                };
                let generators = divergence::generators(request)?;
                (work, generators.main, Some(generators.last))
            }
            _ => {
                let work = Work {
                    serializable_reads: options.flag(SERIALIZABLE_READS),
                    versions: false,
                    compares: 0,
                };
                (work, register::generator(request)?, None)
            }
        };
        Ok(Plan {
            connect: Arc::new(EtcdConnect::new(request.nodes, request.run, work)),
            generator,
            final_generator,
        })
    }

    fn claim(&self, workload: &str, options: &Options) -> Claim {
        match workload {
            divergence::NAME => Claim {
                model: "all members hold the same, and each revision has one value".to_owned(),
                source: "etcd documentation, KV API guarantees: completed operations are durable, and replicas consistent"
                    .to_owned(),
            },
            _ => claim(options.flag(SERIALIZABLE_READS)),
        }
    }

    fn checkers(
        &self,
        workload: &str,
        _options: &Options,
    ) -> Result<Vec<NamedChecker>, BuildError> {
        Ok(match workload {
            divergence::NAME => divergence::checkers(),
            _ => register::checkers(),
        })
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
