//! The suite `sim`: its options, its world on virtual time, its plan.

use std::sync::Arc;
use std::time::Duration;

use checkers::FINAL_READ;
use harness::client::SharedConnect;
use harness::generator::BoxGenerator;
use harness::time::{VirtualRuntime, nanos};
use workloads::{
    BuildError, BuildRequest, Claim, Generators, NamedChecker, OptionKind, OptionSpec, Options,
    Plan, Suite, WorkloadInfo, World, WorldRequest, append, bank, causal, causal_reverse, counter,
    dirty_read, divergence, long_fork, lost_update, monotonic_reads, register, rw_register, set,
    write_skew,
};

use crate::bug::{Bug, CATALOGUE};
use crate::capabilities::environment;
use crate::client::{Connector, Documents, Renamed};
use crate::cluster::Cluster;
use crate::handle::Handle;
use crate::machine::names;
use crate::settings::{ELECTION_TIMEOUT, Settings};

/// The suite `sim`.
#[derive(Clone, Copy, Debug, Default)]
pub struct SimSuite;

fn options() -> Vec<OptionSpec> {
    let names = CATALOGUE
        .iter()
        .map(|entry| entry.name.to_owned())
        .collect();
    let summaries: Vec<String> = CATALOGUE
        .iter()
        .map(|entry| format!("{}: {}", entry.name, entry.summary))
        .collect();
    let bug = OptionSpec::new(
        "bug",
        OptionKind::OneOf(names),
        None,
        &format!(
            "Plant a bug; without it the store is linearizable, and transactions strictly serializable. {}",
            summaries.join(" ")
        ),
    );
    let latency = OptionSpec::new(
        "latency",
        OptionKind::Duration,
        Some("1500us"),
        "How long a message takes, one way: the median over all links (100us to 5ms)",
    );
    workloads::options::merged([
        vec![bug, latency],
        register::options(),
        append::options(),
        rw_register::options(),
        set::options(),
        bank::options(),
        counter::options(),
        dirty_read::options(),
        lost_update::options(),
        divergence::options(),
        causal::options(),
        causal_reverse::options(),
        long_fork::options(),
        write_skew::options(),
        monotonic_reads::options(),
    ])
}

fn settings(options: &Options) -> Result<Settings, BuildError> {
    let bug = match options.text_if("bug") {
        None => None,
        Some(name) => Some(
            Bug::named(name)
                .ok_or_else(|| BuildError(format!("the simulated store has no bug `{name}`")))?,
        ),
    };
    let latency = options.duration("latency");
    // Beyond this a round trip comes near the heartbeat, and elections never end.
    if !(Duration::from_micros(100)..=Duration::from_millis(5)).contains(&latency) {
        return Err(BuildError(format!(
            "--latency {latency:?} is out of range: 100us to 5ms"
        )));
    }
    Ok(Settings {
        bug,
        latency: nanos(latency),
        accounts: bank::accounts(options),
        negative_balances: options.flag("negative-balances"),
    })
}

/// The level that transactions are judged by.
const ISOLATION: &str = "strict-serializable";

/// A main phase, and what comes when all is healed.
fn both(generators: Generators) -> (BoxGenerator, Option<BoxGenerator>) {
    (generators.main, Some(generators.last))
}

fn unknown(workload: &str) -> BuildError {
    let known: Vec<String> = SimSuite
        .workloads()
        .into_iter()
        .map(|one| one.name)
        .collect();
    BuildError(format!(
        "the simulated store has no workload `{workload}`; it has {}",
        known.join(", ")
    ))
}

impl Suite for SimSuite {
    fn name(&self) -> &str {
        "sim"
    }

    fn summary(&self) -> &str {
        "A replicated store simulated in this process on virtual time, with bugs to switch on"
    }

    fn workloads(&self) -> Vec<WorkloadInfo> {
        vec![
            register::info(),
            append::info(),
            rw_register::info(),
            set::info(),
            bank::info(),
            counter::info(),
            dirty_read::info(),
            lost_update::info(),
            divergence::info(),
            causal::info(),
            causal_reverse::info(),
            long_fork::info(),
            write_skew::info(),
            monotonic_reads::info(),
        ]
    }

    fn options(&self) -> Vec<OptionSpec> {
        options()
    }

    fn is_simulated(&self) -> bool {
        true
    }

    fn claim(&self, workload: &str, _options: &Options) -> Claim {
        let model = match workload {
            register::NAME | set::NAME | counter::NAME | lost_update::NAME => "linearizable",
            dirty_read::NAME => "what is read is committed, and what is acknowledged is not lost",
            divergence::NAME => "all nodes hold the same, and each version has one value",
            causal::NAME => causal::LEVEL,
            monotonic_reads::NAME => "each read of a session shows what the one before did",
            _ => ISOLATION,
        };
        Claim {
            model: model.into(),
            source:
                "gainsay-sim, as it is without a bug: writes are committed by a majority of its \
                     Raft log, reads are served by a read index"
                    .into(),
        }
    }

    fn world(&self, request: &WorldRequest<'_>) -> Result<World, BuildError> {
        let nodes = request.node_names;
        if nodes.is_empty() {
            return Err(BuildError("the simulated store needs a node".into()));
        }
        let runtime = VirtualRuntime::new();
        let cluster = Cluster::new(nodes, settings(request.options)?, request.seed.named("sim"));
        let handle = Handle::new(cluster, Arc::new(runtime.clock()));
        Ok(World::Simulated {
            environment: Box::new(environment(nodes, &handle)),
            connect: Arc::new(Connector(handle)),
            election_timeout: Duration::from_nanos(ELECTION_TIMEOUT.end),
            runtime,
        })
    }

    fn plan(&self, world: &World, request: &BuildRequest<'_>) -> Result<Plan, BuildError> {
        let World::Simulated { connect, .. } = world else {
            return Err(BuildError(
                "the simulated store runs in its own world".into(),
            ));
        };
        let (main, last) = match request.workload {
            register::NAME => (register::generator(request)?, None),
            append::NAME => (append::generator(request)?, None),
            rw_register::NAME => (rw_register::generator(request)?, None),
            set::NAME => {
                let last = set::final_generator(request);
                (set::generator(request)?, Some(last))
            }
            bank::NAME => (bank::generator(request)?, None),
            counter::NAME => {
                let last = counter::final_generator(request);
                (counter::generator(request)?, Some(last))
            }
            dirty_read::NAME => {
                let last = dirty_read::final_generator(request);
                (dirty_read::generator(request)?, Some(last))
            }
            lost_update::NAME => both(lost_update::generators(request)?),
            divergence::NAME => both(divergence::generators(request)?),
            causal::NAME => (causal::generator(request)?, None),
            causal_reverse::NAME => (causal_reverse::generator(request)?, None),
            long_fork::NAME => (long_fork::generator(request)?, None),
            write_skew::NAME => (write_skew::generator(request)?, None),
            monotonic_reads::NAME => both(monotonic_reads::generators(request)?),
            other => return Err(unknown(other)),
        };
        let renamed = |names| {
            let connect = connect.clone();
            Arc::new(Renamed { connect, names }) as SharedConnect
        };
        Ok(Plan {
            connect: match request.workload {
                bank::NAME => renamed(&[("read", names::BALANCES)]),
                counter::NAME => renamed(&[
                    ("add", names::INCREASE),
                    ("read", names::COUNT),
                    (FINAL_READ, names::COUNT),
                ]),
                dirty_read::NAME => renamed(&[
                    ("write", "add"),
                    ("read", names::CONTAINS),
                    (dirty_read::STRONG_READ, "read"),
                ]),
                divergence::NAME => renamed(&[
                    ("write", names::PUT),
                    ("read", names::GET_LOCAL),
                    (FINAL_READ, names::GET_LOCAL),
                ]),
                lost_update::NAME | monotonic_reads::NAME => Arc::new(Documents(connect.clone())),
                set::NAME => renamed(&[(FINAL_READ, "read")]),
                _ => connect.clone(),
            },
            generator: main,
            final_generator: last,
        })
    }

    fn checkers(&self, workload: &str, options: &Options) -> Result<Vec<NamedChecker>, BuildError> {
        match workload {
            register::NAME => Ok(register::checkers()),
            append::NAME => append::checkers(ISOLATION),
            rw_register::NAME => rw_register::checkers(ISOLATION),
            set::NAME => Ok(set::linearizable_checkers()),
            bank::NAME => Ok(bank::checkers(options)),
            counter::NAME => Ok(counter::linearizable_checkers()),
            dirty_read::NAME => Ok(dirty_read::checkers()),
            lost_update::NAME => Ok(lost_update::linearizable_checkers()),
            divergence::NAME => Ok(divergence::checkers()),
            causal::NAME => causal::checkers(),
            causal_reverse::NAME => causal_reverse::checkers(),
            long_fork::NAME => long_fork::checkers(ISOLATION),
            write_skew::NAME => write_skew::checkers(ISOLATION),
            monotonic_reads::NAME => Ok(monotonic_reads::checkers()),
            other => Err(unknown(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use harness::seed::Seed;
    use store::Name;

    use super::*;

    fn world(given: &[(&str, &str)], nodes: &[&str]) -> Result<World, String> {
        let options =
            Options::read(&SimSuite.options(), given.iter().copied()).map_err(|e| e.to_string())?;
        let node_names: Vec<Name> = nodes.iter().map(|name| (*name).into()).collect();
        let request = WorldRequest {
            options: &options,
            node_names: &node_names,
            seed: Seed::new(1),
        };
        SimSuite.world(&request).map_err(|e| e.to_string())
    }

    #[test]
    fn worlds_have_the_nodes_and_capabilities_that_faults_need() {
        let Ok(World::Simulated { environment, .. }) = world(&[], &["x", "y"]) else {
            panic!("no simulated world");
        };
        assert_eq!(environment.nodes, ["x".into(), "y".into()] as [Name; 2]);
        assert!(environment.network.is_some());
        assert!(environment.processes.is_some());
        assert!(environment.primaries.is_some());
    }

    #[test]
    fn every_bug_can_be_switched_on_by_its_name() {
        for entry in CATALOGUE {
            assert!(world(&[("bug", entry.name)], &["n1"]).is_ok());
            assert_eq!(Bug::named(entry.name), Some(entry.bug));
            assert_eq!(entry.bug.name(), entry.name);
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = |given, nodes| world(given, nodes).err().unwrap();
        assert!(refused(&[("bug", "nonsense")], &["n1"]).contains("stale-reads"));
        assert!(refused(&[("latency", "1s")], &["n1"]).contains("100us to 5ms"));
        assert!(refused(&[], &[]).contains("a node"));
        let unknown = SimSuite
            .checkers("queue", &Options::default())
            .err()
            .unwrap();
        assert!(unknown.to_string().contains("register"));
    }
}
