//! PostgreSQL: one server of any release, or a primary with streaming standbys.
//!
//! At `serializable` PostgreSQL promises serializable transactions, at `repeatable read` snapshot isolation (its documentation names it), and
//! at `read committed` just that. Each is judged by what it promises, and not by more: none of them promises real time across sessions.

mod bank;
mod client;
mod db;
mod errors;
mod isolation;
mod probe;
#[cfg(test)]
mod real;
mod release;
mod session;
mod txn;

use std::sync::Arc;

use workloads::{
    BuildError, BuildRequest, Claim, NamedChecker, OptionKind, OptionSpec, Options, Plan, Suite,
    VersionInfo, WorkloadInfo, World, WorldRequest, append, bank as transfers, kit::OwnFile,
    long_fork, options::merged, rw_register, write_skew,
};

use client::{PgConnect, Work};
use db::PgDb;
use isolation::Isolation;
use release::Release;
use txn::Rows;

/// Where clients are served.
const PORT: u16 = 5432;
/// The system user that runs the server, and the role of all clients.
const USER: &str = "gainsay";
/// The database that every server has.
const DATABASE: &str = "postgres";

const VERSION: &str = "version";
const ISOLATION: &str = "isolation";
const STANDBY_READS: &str = "standby-reads";
const ON_CONFLICT: &str = "on-conflict";
const TABLES: &str = "tables";
const ROWS_BEFORE: &str = "rows-before";
const JUDGED_BY: &str = "judged-by";

/// The PostgreSQL suite.
pub struct PostgresSuite;

impl Suite for PostgresSuite {
    fn name(&self) -> &str {
        "postgres"
    }

    fn summary(&self) -> &str {
        "PostgreSQL: one server of any release, or Debian's as a primary with streaming standbys"
    }

    fn workloads(&self) -> Vec<WorkloadInfo> {
        vec![
            append::info(),
            rw_register::info(),
            long_fork::info(),
            write_skew::info(),
            transfers::info(),
        ]
    }

    fn versions(&self) -> Vec<VersionInfo> {
        release::known()
    }

    fn options(&self) -> Vec<OptionSpec> {
        let levels = isolation::ALL.map(|level| level.name().to_owned());
        let version = "Which PostgreSQL: `debian` (the nodes' own package), a release such as 12.3 or 18.6 (embedded binaries from Maven; one node), \
                       or the path of their jar or of an archive";
        let own = vec![
            OptionSpec::new(VERSION, OptionKind::Text, Some(release::DEBIAN), version),
            OwnFile::option(),
            OptionSpec::new(
                ISOLATION,
                OptionKind::OneOf(levels.to_vec()),
                Some(Isolation::Serializable.name()),
                "The level of isolation of all transactions; it is also what they are judged by, repeatable-read as snapshot isolation",
            ),
            OptionSpec::flag(
                STANDBY_READS,
                "Send transactions that only read to the worker's own node, also if it is a standby, which shows an older state",
            ),
            OptionSpec::flag(
                ON_CONFLICT,
                "Write with INSERT … ON CONFLICT DO UPDATE, instead of with UPDATE, and INSERT where there is no row",
            ),
            OptionSpec::new(
                TABLES,
                OptionKind::Integer { min: 1, max: 1_000 },
                Some("3"),
                "Over how many tables the rows of transactions are spread: with more, fewer of them are neighbours on a page, and \
                 conflict for that alone",
            ),
            OptionSpec::new(
                ROWS_BEFORE,
                OptionKind::Integer {
                    min: 0,
                    max: 1_000_000,
                },
                Some("0"),
                "Rows that are in each table of transactions from the beginning, and that nobody uses: so that no index is empty",
            ),
            OptionSpec::new(
                JUDGED_BY,
                OptionKind::OneOf(isolation::MODELS.map(str::to_owned).to_vec()),
                None,
                "Judge transactions by this model on purpose, instead of by what the level of isolation promises",
            ),
        ];
        merged([
            append::options(),
            rw_register::options(),
            long_fork::options(),
            write_skew::options(),
            transfers::options(),
            own,
        ])
    }

    fn packages(&self) -> Vec<String> {
        vec![db::PACKAGE.to_owned()]
    }

    fn world(&self, request: &WorldRequest<'_>) -> Result<World, BuildError> {
        let read = Release::read(&OwnFile::or_version(request.options, VERSION));
        let release = read.map_err(|why| BuildError(format!("--{VERSION}: {why}")))?;
        if request.node_names.len() > 1 && !release.makes_standbys() {
            return Err(BuildError(format!(
                "--{VERSION} {release}: these binaries have no pg_basebackup, so there is no standby: give one node, or --{VERSION} {}",
                release::DEBIAN
            )));
        }
        let options = request.options;
        if options.flag(STANDBY_READS) && level(options) == Isolation::Serializable {
            return Err(BuildError(format!(
                "--{STANDBY_READS}: a standby refuses serializable transactions: give --{ISOLATION} {}",
                Isolation::RepeatableRead.name()
            )));
        }
        Ok(World::Nodes(Arc::new(PgDb::new(release))))
    }

    fn plan(&self, _world: &World, request: &BuildRequest<'_>) -> Result<Plan, BuildError> {
        let options = request.options;
        let isolation = level(options);
        let rows = |rows| {
            Work::Transactions(txn::Settings {
                prefix: format!("gainsay_{:x}_txn", request.run),
                rows,
                isolation,
                on_conflict: options.flag(ON_CONFLICT),
                tables: options.integer(TABLES),
                rows_before: options.integer(ROWS_BEFORE),
            })
        };
        let (work, generator) = match request.workload {
            append::NAME => (rows(Rows::Lists), append::generator(request)?),
            rw_register::NAME => (rows(Rows::Registers), rw_register::generator(request)?),
            long_fork::NAME => (rows(Rows::Registers), long_fork::generator(request)?),
            write_skew::NAME => (rows(Rows::Registers), write_skew::generator(request)?),
            transfers::NAME => {
                let settings = bank::Settings {
                    table: format!("gainsay_{:x}_bank", request.run),
                    isolation,
                    accounts: transfers::accounts(options),
                };
                (Work::Bank(settings), transfers::generator(request)?)
            }
            other => return Err(no_workload(other)),
        };
        let standby_reads = options.flag(STANDBY_READS);
        Ok(Plan {
            connect: Arc::new(PgConnect::new(
                request.nodes,
                request.run,
                work,
                standby_reads,
            )),
            generator,
            final_generator: None,
        })
    }

    fn claim(&self, _workload: &str, options: &Options) -> Claim {
        let judged_by = options.text_if(JUDGED_BY);
        level(options).claim(options.flag(STANDBY_READS), judged_by)
    }

    fn checkers(&self, workload: &str, options: &Options) -> Result<Vec<NamedChecker>, BuildError> {
        let judged_by = options.text_if(JUDGED_BY);
        let model = judged_by.unwrap_or(level(options).model());
        match workload {
            append::NAME => append::checkers(model),
            rw_register::NAME => rw_register::checkers(model),
            long_fork::NAME => long_fork::checkers(model),
            write_skew::NAME => write_skew::checkers(model),
            transfers::NAME if judged_by.is_some() => Err(BuildError(format!(
                "--{JUDGED_BY}: {workload} is judged by the money that is there, not by a model"
            ))),
            transfers::NAME => Ok(transfers::checkers(options)),
            other => Err(no_workload(other)),
        }
    }
}

fn level(options: &Options) -> Isolation {
    Isolation::named(options.text(ISOLATION))
}

fn no_workload(name: &str) -> BuildError {
    BuildError(format!("postgres has no workload {name}"))
}
