//! Loads in the simulator of generators, on five nodes.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

pub(crate) use harness::generator::simulate::roster;
use harness::generator::simulate::{Ending, Step, simulate};
use harness::generator::{BoxGenerator, GeneratorExt};
use harness::seed::Seed;
use harness::time::VirtualRuntime;
use store::{EventType, Name};

use crate::options::{OptionSpec, Options};
use crate::{BuildError, BuildRequest};

pub(crate) const MILLISECOND: u64 = 1_000_000;

/// What was asked for.
pub(crate) struct Asked {
    options: Options,
}

impl Asked {
    pub(crate) fn of(known: &[OptionSpec], given: &[(&str, &str)]) -> Asked {
        Asked {
            options: Options::read(known, given.iter().copied()).unwrap(),
        }
    }

    /// What a workload makes of it.
    pub(crate) fn build(
        &self,
        workers: usize,
        make: impl FnOnce(&BuildRequest<'_>) -> Result<BoxGenerator, BuildError>,
    ) -> Result<BoxGenerator, BuildError> {
        let nodes: Vec<Name> = roster(workers).nodes;
        make(&BuildRequest {
            workload: "",
            options: &self.options,
            nodes: &[],
            node_names: &nodes,
            workers,
            time_limit: Duration::from_secs(10),
            op_timeout: Duration::from_secs(5),
            seed: Seed::new(1),
            run: 0,
            clock: Arc::new(VirtualRuntime::new().clock()),
        })
    }

    /// The invocations of a run of ten seconds. Operations take 5 ms and succeed.
    pub(crate) fn invocations(
        &self,
        workers: usize,
        make: impl FnOnce(&BuildRequest<'_>) -> Result<BoxGenerator, BuildError>,
    ) -> Vec<Step> {
        self.invocations_but(workers, make, usize::MAX)
    }

    /// The same; those of one thread fail.
    pub(crate) fn invocations_but(
        &self,
        workers: usize,
        make: impl FnOnce(&BuildRequest<'_>) -> Result<BoxGenerator, BuildError>,
        unlucky: usize,
    ) -> Vec<Step> {
        let load = self.build(workers, make).unwrap();
        let load = load.clients().time_limit(Duration::from_secs(10));
        let steps = simulate(roster(workers), load, |step| Ending {
            latency: 5 * MILLISECOND,
            kind: match step.thread == unlucky {
                true => EventType::Fail,
                false => EventType::Ok,
            },
        });
        let steps = steps.unwrap().into_iter();
        steps
            .filter(|step| step.kind == EventType::Invoke)
            .collect()
    }
}
