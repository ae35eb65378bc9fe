//! Elasticsearch, the search engine: in the versions of the published analyses of 2014, 2015 and 2016, and newer ones.
//!
//! A document is written through any node, which sends it to the node with the *primary* of its shard, and that one to the *replicas*.
//! Its own documentation promises that what was acknowledged is not lost, and lists the cases where it was.

mod client;
mod config;
mod db;
mod documents;
mod errors;
mod faults;
mod index;
mod patch;
mod probe;
#[cfg(test)]
mod provoked;
mod release;

use std::sync::Arc;

use harness::db::DbFault;
use workloads::kit::OwnFile;
use workloads::options::{merged, of};
use workloads::{
    BuildError, BuildRequest, Claim, NamedChecker, OptionKind, OptionSpec, Options, Plan, Suite,
    VersionInfo, WorkloadInfo, World, WorldRequest, dirty_read, divergence, lost_update, register,
    set,
};

use client::{ElasticsearchConnect, Work};
use db::ElasticsearchDb;
use index::Settings;

/// Where clients are served.
const HTTP_PORT: u16 = 9200;
/// Where nodes talk to each other.
const TRANSPORT_PORT: u16 = 9300;

const VERSION: &str = "version";
const SHARDS: &str = "shards";
const REPLICAS: &str = "replicas";
const REFRESH: &str = "refresh";
const WRITE_CONSISTENCY: &str = "write-consistency";
const READ_FROM: &str = "read-from";
const ACTIVE_SHARDS: &str = "wait-for-active-shards";
const IN_ONE: &str = "in-one-document";

/// Workloads that leave copies of documents to Elasticsearch: all but the one that asks each node for its own.
const USUAL: [&str; 4] = [
    set::NAME,
    register::NAME,
    dirty_read::NAME,
    lost_update::NAME,
];

/// The Elasticsearch suite.
pub struct ElasticsearchSuite;

impl Suite for ElasticsearchSuite {
    fn name(&self) -> &str {
        "elasticsearch"
    }

    fn summary(&self) -> &str {
        "Elasticsearch, the search engine, from 1.1.0 to 8.19"
    }

    fn workloads(&self) -> Vec<WorkloadInfo> {
        vec![
            set::info(),
            register::info(),
            dirty_read::info(),
            lost_update::info(),
            divergence::info(),
        ]
    }

    fn faults(&self) -> &'static [DbFault] {
        faults::FAULTS
    }

    fn options(&self) -> Vec<OptionSpec> {
        let words = |words: &[&str]| {
            OptionKind::OneOf(words.iter().map(|word| (*word).to_owned()).collect())
        };
        let own = vec![
            OwnFile::option(),
            OptionSpec::new(
                VERSION,
                OptionKind::Text,
                Some(release::DEFAULT),
                &format!(
                    "Which Elasticsearch: {}, another release up to 8, or the path of an archive. A class of 1.x is changed, so that it runs on a newer Java",
                    release::TRIED.join(", ")
                ),
            ),
            OptionSpec::new(
                SHARDS,
                OptionKind::Integer { min: 1, max: 100 },
                None,
                "How many shards the index has; by default as many as Elasticsearch makes (5 before 7.0, then 1)",
            ),
            OptionSpec::new(
                REFRESH,
                words(&["false", "true", "wait_for"]),
                Some("false"),
                "Whether a write makes searches see it before it is acknowledged (`wait_for`: since 5.0)",
            ),
            OptionSpec::new(
                WRITE_CONSISTENCY,
                words(&["one", "quorum", "all"]),
                None,
                "How many copies of a shard must be there for a write to begin (before 5.0; Elasticsearch's default: quorum)",
            ),
            OptionSpec::new(
                ACTIVE_SHARDS,
                OptionKind::Text,
                None,
                "How many copies of a shard must be there for a write to begin: a number or `all` (since 5.0; Elasticsearch's default: 1)",
            ),
        ];
        let mut usual = vec![
            OptionSpec::new(
                REPLICAS,
                OptionKind::Integer { min: 0, max: 100 },
                None,
                "How many copies each shard has besides its primary; by default as many as Elasticsearch makes (1)",
            ),
            OptionSpec::new(
                READ_FROM,
                words(&["any", "primary"]),
                Some("any"),
                "Which copy of a document is read by its id: any, as Elasticsearch does it, or the `primary` (before 7.0)",
            ),
        ];
        for option in &mut usual {
            option.workloads = USUAL.map(str::to_owned).to_vec();
        }
        let in_one = OptionSpec::flag(
            IN_ONE,
            "Keep the whole set in one document, which is read, and written back if its version is still the same",
        );
        merged([
            set::options(),
            register::options(),
            dirty_read::options(),
            lost_update::options(),
            divergence::options(),
            of(set::NAME, [in_one]),
            usual,
            own,
        ])
    }

    fn versions(&self) -> Vec<VersionInfo> {
        release::known()
    }

    fn packages(&self) -> Vec<String> {
        vec![db::JAVA_PACKAGE.to_owned()]
    }

    fn world(&self, request: &WorldRequest<'_>) -> Result<World, BuildError> {
        let settings = Settings::read(request.options, request.node_names.len())?;
        Ok(World::Nodes(Arc::new(ElasticsearchDb::new(
            settings.release,
            request.node_names.len(),
        ))))
    }

    fn plan(&self, _world: &World, request: &BuildRequest<'_>) -> Result<Plan, BuildError> {
        let options = request.options;
        let settings = Settings::read(options, request.node_names.len())?;
        let (work, generator, last) = match request.workload {
            register::NAME => (Work::Register, register::generator(request)?, None),
            dirty_read::NAME => {
                let last = dirty_read::final_generator(request);
                (Work::DirtyRead, dirty_read::generator(request)?, Some(last))
            }
            lost_update::NAME => {
                let all = lost_update::generators(request)?;
                (Work::LostUpdate, all.main, Some(all.last))
            }
            divergence::NAME => {
                let all = divergence::generators(request)?;
                (Work::Divergence, all.main, Some(all.last))
            }
            _ => {
                let work = match options.flag(IN_ONE) {
                    true => Work::SetInDocument,
                    false => Work::Set,
                };
                let last = set::final_generator(request);
                (work, set::generator(request)?, Some(last))
            }
        };
        let settings = match work {
            Work::Divergence => settings.on_every_node(request.node_names.len()),
            _ => settings,
        };
        Ok(Plan {
            connect: Arc::new(ElasticsearchConnect::new(
                request.nodes,
                request.run,
                settings,
                work,
            )),
            generator,
            final_generator: last,
        })
    }

    fn claim(&self, workload: &str, _options: &Options) -> Claim {
        let (model, source) = match workload {
            register::NAME => (
                "linearizable",
                "asked of it on purpose: Elasticsearch promises that a write conditional on a version or sequence number is \
                 refused if the document has changed, but its documentation (Reading and writing documents) warns of \
                 stale reads and of reads that are never acknowledged",
            ),
            dirty_read::NAME => (
                "what is read is committed, and what is acknowledged is not lost",
                "the first is asked of it on purpose: its documentation (Reading and writing documents) warns that a primary that is cut \
                 off shows writes that are never acknowledged; the second is Elasticsearch's Resiliency Status page",
            ),
            lost_update::NAME => (
                "acknowledged changes are not lost",
                "Elasticsearch documentation, Optimistic concurrency control (a write conditional on a version or sequence number never \
                 overwrites a change that it does not know of), and Resiliency Status",
            ),
            divergence::NAME => (
                "all copies of a document end up the same, and each version of it has one value",
                "Elasticsearch documentation, Reading and writing documents: a primary and its in-sync copies hold the same, and a \
                 sequence number with its primary's term names one change; Resiliency Status lists the versions in which copies differed",
            ),
            _ => (
                "acknowledged documents are not lost",
                "Elasticsearch documentation, Resiliency Status page (what is acknowledged is meant to be durable; it lists the \
                 versions in which it was not), and Reading and writing documents",
            ),
        };
        Claim {
            model: model.to_owned(),
            source: source.to_owned(),
        }
    }

    fn checkers(
        &self,
        workload: &str,
        _options: &Options,
    ) -> Result<Vec<NamedChecker>, BuildError> {
        Ok(match workload {
            register::NAME => register::checkers(),
            dirty_read::NAME => dirty_read::checkers(),
            lost_update::NAME => lost_update::checkers(),
            divergence::NAME => divergence::checkers(),
            _ => set::checkers(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_of_the_workloads_that_they_mean_something_in() {
        let options = ElasticsearchSuite.options();
        let is_of = |option: &str, workload: &str| {
            let known = options.iter().find(|known| known.name == option);
            known.is_some_and(|known| known.is_of(workload))
        };
        assert!(is_of(IN_ONE, set::NAME) && !is_of(IN_ONE, register::NAME));
        // Each node is asked for its own copy.
        assert!(is_of(REPLICAS, lost_update::NAME) && !is_of(REPLICAS, divergence::NAME));
        assert!(is_of(READ_FROM, dirty_read::NAME) && !is_of(READ_FROM, divergence::NAME));
        assert!(is_of(REFRESH, divergence::NAME) && is_of("package", set::NAME));
        for workload in ElasticsearchSuite.workloads() {
            assert!(USUAL.contains(&&*workload.name) || workload.name == divergence::NAME);
        }
    }
}
