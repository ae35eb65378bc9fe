//! The suite `sim`: its options, its world on virtual time, its plan.

use std::sync::Arc;
use std::time::Duration;

use harness::time::{VirtualRuntime, nanos};
use workloads::{
    BuildError, BuildRequest, Claim, NamedChecker, OptionKind, OptionSpec, Options, Plan, Suite,
    WorkloadInfo, World, WorldRequest, append, bank, register, rw_register, set,
};

use crate::bug::{Bug, CATALOGUE};
use crate::capabilities::environment;
use crate::client::{Bank, Connector};
use crate::cluster::Cluster;
use crate::handle::Handle;
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
            register::NAME | set::NAME => "linearizable",
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
        let generator = match request.workload {
            register::NAME => register::generator(request),
            append::NAME => append::generator(request),
            rw_register::NAME => rw_register::generator(request),
            set::NAME => set::generator(request),
            bank::NAME => bank::generator(request),
            other => Err(unknown(other)),
        };
        Ok(Plan {
            connect: match request.workload {
                bank::NAME => Arc::new(Bank(connect.clone())),
                _ => connect.clone(),
            },
            generator: generator?,
            final_generator: (request.workload == set::NAME).then(|| set::final_generator(request)),
        })
    }

    fn checkers(&self, workload: &str, options: &Options) -> Result<Vec<NamedChecker>, BuildError> {
        match workload {
            register::NAME => Ok(register::checkers()),
            append::NAME => append::checkers(ISOLATION),
            rw_register::NAME => rw_register::checkers(ISOLATION),
            set::NAME => Ok(set::linearizable_checkers()),
            bank::NAME => Ok(bank::checkers(options)),
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
