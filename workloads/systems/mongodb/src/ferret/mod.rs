//! FerretDB: MongoDB's wire protocol, by a server that keeps its data in SQLite. One node; the client is MongoDB's.
//!
//! It has no transactions, and takes read and write concerns without a word: there is one server, and one copy. So an operation is asked
//! for as on MongoDB at its strongest, and judged the same.

mod db;

use std::io;
use std::path::Path;
use std::sync::Arc;

use workloads::kit::{Bundle, Finish, GoProgram, OwnFile, Shelf, Source, find_program};
use workloads::options::merged;
use workloads::{
    BuildError, BuildRequest, Claim, NamedChecker, OptionKind, OptionSpec, Options, Plan, Suite,
    VersionInfo, WorkloadInfo, World, WorldRequest, append, register, set,
};

use crate::client::{MongoConnect, Work};
use crate::settings::Settings;
use db::FerretDb;

const VERSION: &str = "version";
/// The version that is known.
const KNOWN: &str = "1.24.0";
/// What its program is called.
const PROGRAM: &str = "ferretdb";
/// What lists of transactions of one operation are judged by: each happens at a moment.
const CONSISTENCY: &str = "strict-serializable";

/// The FerretDB suite.
pub struct FerretSuite;

/// A version of FerretDB, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Release {
    /// The one that is known.
    Known,
    /// A program on this machine.
    File(OwnFile),
}

impl Release {
    /// Reads what the user wrote. The error says what there is.
    fn read(text: &str) -> Result<Release, String> {
        if let Some(own) = OwnFile::read(text)? {
            return Ok(Release::File(own));
        }
        match text {
            KNOWN => Ok(Release::Known),
            _ => Err(format!(
                "no FerretDB `{text}` is known; there are: {KNOWN}, or (with --package) the path of a ferretdb program"
            )),
        }
    }

    fn label(&self) -> String {
        match self {
            Release::Known => format!("ferretdb-{KNOWN}"),
            Release::File(own) => format!("ferretdb-{}", own.name),
        }
    }

    fn bundle(&self) -> Bundle {
        let module = "github.com/FerretDB/FerretDB";
        let source = match self {
            Release::Known => Source::Go(GoProgram {
                name: PROGRAM.to_owned(),
                module: module.to_owned(),
                version: format!("v{KNOWN}"),
                package: format!("{module}/cmd/ferretdb"),
                // Made by its build; without it the program ends at once.
                adds: vec![("build/version/version.txt".to_owned(), format!("v{KNOWN}"))],
            }),
            Release::File(own) => own.source(),
        };
        let finish: Vec<Finish> = match self {
            Release::Known => Vec::new(),
            Release::File(_) => vec![find],
        };
        Bundle::of(self.label(), vec![source], finish)
    }

    /// Where its program is on nodes.
    fn program(&self) -> String {
        format!("{}/{PROGRAM}", Shelf::place(&self.label()))
    }
}

fn find(folder: &Path) -> io::Result<()> {
    find_program(folder, PROGRAM)
}

/// Options of transactions, for a server without any: each is one operation.
fn single(mut option: OptionSpec) -> OptionSpec {
    if option.name.ends_with("-txn-length") {
        option.kind = OptionKind::Integer { min: 1, max: 1 };
        option.default = Some("1".to_owned());
        option.help = "There are no transactions: one operation at a time".to_owned();
    }
    option
}

impl Suite for FerretSuite {
    fn name(&self) -> &str {
        "ferretdb"
    }

    fn summary(&self) -> &str {
        "FerretDB, MongoDB's wire protocol over SQLite (1.24; one node)"
    }

    fn workloads(&self) -> Vec<WorkloadInfo> {
        vec![append::info(), register::info(), set::info()]
    }

    fn versions(&self) -> Vec<VersionInfo> {
        vec![
            VersionInfo::new(KNOWN, "built on this machine from the Go module"),
            VersionInfo::new(
                "FILE",
                "a ferretdb program; also as --package, which takes addresses, too",
            ),
        ]
    }

    fn options(&self) -> Vec<OptionSpec> {
        let version = format!("Which FerretDB: {KNOWN}, or the path of a ferretdb program");
        let version = OptionSpec::new(VERSION, OptionKind::Text, Some(KNOWN), &version);
        let lists = append::options().into_iter().map(single).collect();
        merged([
            register::options(),
            lists,
            set::options(),
            vec![version, OwnFile::option()],
        ])
    }

    fn has_leaders(&self) -> bool {
        false
    }

    fn world(&self, request: &WorldRequest<'_>) -> Result<World, BuildError> {
        let release = Release::read(&OwnFile::or_version(request.options, VERSION));
        let release = release.map_err(|why| BuildError(format!("--{VERSION}: {why}")))?;
        match request.node_names {
            [_] => Ok(World::Nodes(Arc::new(FerretDb::new(release)))),
            nodes => Err(BuildError(format!(
                "FerretDB over SQLite has no replicas: give one node (--local 1), not {}",
                nodes.len()
            ))),
        }
    }

    fn plan(&self, _world: &World, request: &BuildRequest<'_>) -> Result<Plan, BuildError> {
        let (work, generator, final_generator) = match request.workload {
            register::NAME => (Work::Register, register::generator(request)?, None),
            set::NAME => (
                Work::Set,
                set::generator(request)?,
                Some(set::final_generator(request)),
            ),
            _ => (Work::Append, append::generator(request)?, None),
        };
        let settings = Settings::of_one_server(request.run, request.op_timeout);
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

    fn claim(&self, workload: &str, _options: &Options) -> Claim {
        let (model, says) = match workload {
            set::NAME => (
                "acknowledged elements stay",
                "an acknowledged insert is stored",
            ),
            append::NAME => (
                CONSISTENCY,
                "each operation on a single document is atomic (Atomicity and Transactions)",
            ),
            _ => (
                "linearizable",
                "each operation on a single document is atomic (Atomicity and Transactions), and with linearizable read concern and \
                 majority write concern, which are accepted here, as if a single thread performed them in real time",
            ),
        };
        Claim {
            model: model.to_owned(),
            source: format!(
                "FerretDB calls itself a drop-in replacement for MongoDB, whose manual says: {says}"
            ),
        }
    }

    fn checkers(
        &self,
        workload: &str,
        _options: &Options,
    ) -> Result<Vec<NamedChecker>, BuildError> {
        match workload {
            register::NAME => Ok(register::checkers()),
            set::NAME => Ok(set::checkers()),
            _ => append::checkers(CONSISTENCY),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn versions_are_read() {
        let release = Release::read(KNOWN).unwrap();
        assert_eq!(release.program(), "/opt/gainsay/ferretdb-1.24.0/ferretdb");
        for text in ["1.0.0", "2", "", "/nonexistent/ferretdb"] {
            assert!(Release::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_transaction_is_one_operation() {
        let options = FerretSuite.options();
        let given = |value| Options::read(&options, [("max-txn-length", value)]);
        assert_eq!(given("1").unwrap().integer("min-txn-length"), 1);
        assert!(given("2").is_err());
    }
}
