//! Elasticsearch, the search engine: in the versions of the published analyses of 2014, 2015 and 2016, and newer ones.
//!
//! A document is written through any node, which sends it to the node with the *primary* of its shard, and that one to the *replicas*.
//! Its own documentation promises that what was acknowledged is not lost, and lists the cases where it was.

mod client;
mod config;
mod db;
mod errors;
mod faults;
mod index;
mod patch;
mod probe;
mod release;

use std::sync::Arc;

use harness::db::DbFault;
use workloads::options::merged;
use workloads::{
    BuildError, BuildRequest, Claim, NamedChecker, OptionKind, OptionSpec, Options, Plan, Suite,
    VersionInfo, WorkloadInfo, World, WorldRequest, register, set,
};

use client::ElasticsearchConnect;
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

/// The Elasticsearch suite.
pub struct ElasticsearchSuite;

impl Suite for ElasticsearchSuite {
    fn name(&self) -> &str {
        "elasticsearch"
    }

    fn summary(&self) -> &str {
        "Elasticsearch, the search engine, from 1.1.0 to 8.19 (from Maven's central repository)"
    }

    fn workloads(&self) -> Vec<WorkloadInfo> {
        vec![set::info(), register::info()]
    }

    fn faults(&self) -> &'static [DbFault] {
        faults::FAULTS
    }

    fn options(&self) -> Vec<OptionSpec> {
        let words = |words: &[&str]| {
            OptionKind::OneOf(words.iter().map(|word| (*word).to_owned()).collect())
        };
        let own = vec![
            OptionSpec::new(
                VERSION,
                OptionKind::Text,
                Some(release::DEFAULT),
                &format!(
                    "Which Elasticsearch: one of {}. A class of 1.x is changed, so that it runs on a newer Java",
                    release::KNOWN.join(", ")
                ),
            ),
            OptionSpec::new(
                SHARDS,
                OptionKind::Integer { min: 1, max: 100 },
                None,
                "How many shards the index has; by default as many as Elasticsearch makes (5 before 7.0, then 1)",
            ),
            OptionSpec::new(
                REPLICAS,
                OptionKind::Integer { min: 0, max: 100 },
                None,
                "How many copies each shard has besides its primary; by default as many as Elasticsearch makes (1)",
            ),
            OptionSpec::new(
                REFRESH,
                words(&["false", "true", "wait_for"]),
                Some("false"),
                "Whether a write makes searches see it before it is acknowledged (`wait_for`: since 5.0)",
            ),
            OptionSpec::new(
                READ_FROM,
                words(&["any", "primary"]),
                Some("any"),
                "Which copy of a document is read by its id: any, as Elasticsearch does it, or the `primary` (before 7.0)",
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
        merged([register::options(), set::options(), own])
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
        let settings = Settings::read(request.options, request.node_names.len())?;
        let (generator, final_generator) = match request.workload {
            register::NAME => (register::generator(request)?, None),
            _ => (
                set::generator(request)?,
                Some(set::final_generator(request)),
            ),
        };
        Ok(Plan {
            connect: Arc::new(ElasticsearchConnect::new(
                request.nodes,
                request.run,
                settings,
            )),
            generator,
            final_generator,
        })
    }

    fn claim(&self, workload: &str, _options: &Options) -> Claim {
        match workload {
            register::NAME => Claim {
                model: "linearizable".to_owned(),
                source: "asked of it on purpose: Elasticsearch promises that a write conditional on a version or sequence number is \
                         refused if the document has changed, but its documentation (Reading and writing documents) warns of \
                         stale reads and of reads that are never acknowledged"
                    .to_owned(),
            },
            _ => Claim {
                model: "acknowledged documents are not lost".to_owned(),
                source: "Elasticsearch documentation, Resiliency Status page (what is acknowledged is meant to be durable; it lists the \
                         versions in which it was not), and Reading and writing documents"
                    .to_owned(),
            },
        }
    }

    fn checkers(
        &self,
        workload: &str,
        _options: &Options,
    ) -> Result<Vec<NamedChecker>, BuildError> {
        Ok(match workload {
            register::NAME => register::checkers(),
            _ => set::checkers(),
        })
    }
}
