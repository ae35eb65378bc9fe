//! MongoDB: replica sets of the real server, in versions whose bugs are known and in newer ones.
//!
//! What MongoDB promises depends on what is asked of it: how many nodes must have a write (`--write-concern`), and what a read may see
//! (`--read-concern`). By default this suite asks for the most, `majority` and `linearizable`; with less, acknowledged writes are lost
//! and reads are stale, as its manual says. `docs/systems/mongodb.md` says what was seen.
//!
//! Sharding is left out: it needs another program, `mongos`.

mod admin;
mod client;
mod db;
mod errors;
mod faults;
mod ferret;
mod membership;
mod probe;
#[cfg(test)]
mod provoked;
mod release;
mod rollback;
mod session;
mod settings;
mod txn;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use harness::db::DbFault;
use workloads::kit::OwnFile;
use workloads::options::merged;
use workloads::{
    BuildError, BuildRequest, Claim, NamedChecker, OptionKind, OptionSpec, Options, Plan, Suite,
    VersionInfo, WorkloadInfo, World, WorldRequest, append, bank, causal, divergence, long_fork,
    monotonic_reads, register, rw_register, set, write_skew,
};

pub use ferret::FerretSuite;

use client::{MongoConnect, Work};
use db::MongoDb;
use release::Release;
use settings::Settings;

/// Where servers listen.
const PORT: u16 = 27017;

const VERSION: &str = "version";
const HIDDEN: &str = "hidden";

/// The MongoDB suite.
pub struct MongoSuite;

impl Suite for MongoSuite {
    fn name(&self) -> &str {
        "mongodb"
    }

    fn summary(&self) -> &str {
        "MongoDB, replica sets (4.2 and later)"
    }

    fn workloads(&self) -> Vec<WorkloadInfo> {
        vec![
            register::info(),
            append::info(),
            rw_register::info(),
            set::info(),
            bank::info(),
            causal::info(),
            monotonic_reads::info(),
            divergence::info(),
            long_fork::info(),
            write_skew::info(),
        ]
    }

    fn versions(&self) -> Vec<VersionInfo> {
        release::listed()
    }

    fn faults(&self) -> &'static [DbFault] {
        faults::FAULTS
    }

    fn options(&self) -> Vec<OptionSpec> {
        let version = format!(
            "Which MongoDB: {}, another release since 4.2.0, or the path of a mongod program or of an archive with one; got by this machine and sent to \
             the nodes",
            release::versions().join(", ")
        );
        let version = OptionSpec::new(VERSION, OptionKind::Text, Some(release::DEFAULT), &version);
        let hidden = OptionSpec::new(
            HIDDEN,
            OptionKind::Integer { min: 0, max: 48 },
            Some("0"),
            "How many nodes, the last ones, are hidden members: they have the data, and neither vote nor lead",
        );
        merged([
            register::options(),
            append::options(),
            rw_register::options(),
            set::options(),
            bank::options(),
            causal::options(),
            monotonic_reads::options(),
            divergence::options(),
            long_fork::options(),
            write_skew::options(),
            settings::options(),
            vec![version, OwnFile::option(), hidden],
        ])
    }

    fn packages(&self) -> Vec<String> {
        vec![release::CURL.to_owned()]
    }

    fn world(&self, request: &WorldRequest<'_>) -> Result<World, BuildError> {
        let release = Release::read(&OwnFile::or_version(request.options, VERSION));
        let release = release.map_err(|why| BuildError(format!("--{VERSION}: {why}")))?;
        // What is wrong with other options is said before anything is set up.
        Settings::read(request.options, 0, Duration::ZERO)?;
        let hidden = usize::try_from(request.options.integer(HIDDEN)).unwrap_or_default();
        if hidden >= request.node_names.len() {
            return Err(BuildError(format!(
                "--{HIDDEN} {hidden}: of {} nodes one at least must vote and lead",
                request.node_names.len()
            )));
        }
        Ok(World::Nodes(Arc::new(MongoDb::new(release, hidden))))
    }

    fn plan(&self, _world: &World, request: &BuildRequest<'_>) -> Result<Plan, BuildError> {
        let settings = Settings::read(request.options, request.run, request.op_timeout)?;
        let (work, generator, final_generator) = match request.workload {
            append::NAME => (Work::Append, append::generator(request)?, None),
            rw_register::NAME => (Work::Registers, rw_register::generator(request)?, None),
            long_fork::NAME => (Work::Registers, long_fork::generator(request)?, None),
            write_skew::NAME => (Work::Registers, write_skew::generator(request)?, None),
            causal::NAME => {
                settings::check_causal(request.options)?;
                (Work::Causal, causal::generator(request)?, None)
            }
            set::NAME => (
                Work::Set,
                set::generator(request)?,
                Some(set::final_generator(request)),
            ),
            bank::NAME => (
                Work::Bank(bank::accounts(request.options)),
                bank::generator(request)?,
                None,
            ),
            monotonic_reads::NAME => {
                let all = monotonic_reads::generators(request)?;
                (Work::Lists, all.main, Some(all.last))
            }
            divergence::NAME => {
                let all = divergence::generators(request)?;
                (Work::Records, all.main, Some(all.last))
            }
            _ => (Work::Register, register::generator(request)?, None),
        };
        Ok(Plan {
            connect: Arc::new(MongoConnect::new(
                request.nodes,
                settings,
                work,
                request.run,
            )),
            generator,
            final_generator,
        })
    }

    fn claim(&self, workload: &str, options: &Options) -> Claim {
        settings::claim(workload, options)
    }

    fn checkers(&self, workload: &str, options: &Options) -> Result<Vec<NamedChecker>, BuildError> {
        match workload {
            append::NAME => append::checkers(settings::TXN_CONSISTENCY),
            rw_register::NAME => rw_register::checkers(settings::TXN_CONSISTENCY),
            set::NAME => Ok(set::checkers()),
            bank::NAME => Ok(bank::checkers(options)),
            causal::NAME => causal::checkers(),
            monotonic_reads::NAME => Ok(monotonic_reads::checkers()),
            divergence::NAME => Ok(divergence::checkers()),
            long_fork::NAME => long_fork::checkers(settings::TXN_CONSISTENCY),
            write_skew::NAME => write_skew::checkers(settings::WRITE_SKEW_CONSISTENCY),
            _ => Ok(register::checkers()),
        }
    }
}
