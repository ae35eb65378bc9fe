//! What must stand on the nodes before the system starts, because a fault that was asked for needs it.

use harness::capability::{CapabilityError, ClockScope, Environment};

use crate::outcome::message;
use crate::spec::FaultSpec;
use crate::{clock, disk, power, rolling};

/// Sets up what the faults need, after earlier data is wiped and before the system starts. The error says what cannot be had, and what
/// would help.
pub async fn prepare(specs: &[FaultSpec], env: &Environment) -> Result<(), String> {
    bring_versions(specs, env).await?;
    prepare_clocks(specs, env).await?;
    interpose(specs, env).await
}

/// What programs must find when they start, for their clocks to be changed.
async fn prepare_clocks(specs: &[FaultSpec], env: &Environment) -> Result<(), String> {
    let Some(clocks) = &env.clocks else {
        // Its own probe says so.
        return Ok(());
    };
    let of_clocks = specs.iter().filter(|spec| spec.name == clock::NAME);
    let scopes = of_clocks.map(|spec| (spec, clock::scope(&spec.options)));
    let mut scopes = scopes.filter(|(_, scope)| *scope != ClockScope::Machine);
    let Some((spec, scope)) = scopes.next() else {
        return Ok(());
    };
    if scopes.any(|(_, other)| other != scope) {
        return Err("a process's clocks are changed in one way in a run: scope=process or scope=libfaketime".to_owned());
    }
    let prepared = clocks.prepare(scope).await;
    prepared.map_err(|error| cannot(spec, error))
}

fn cannot(spec: &FaultSpec, error: CapabilityError) -> String {
    format!(
        "the fault {} cannot act here: {}",
        spec.name,
        message(error)
    )
}

/// Versions that nodes are given later. To build one takes minutes, which are none of the run's.
async fn bring_versions(specs: &[FaultSpec], env: &Environment) -> Result<(), String> {
    let Some(rolling) = &env.rolling else {
        // Its own probe says so.
        return Ok(());
    };
    for version in specs.iter().filter_map(rolling::version) {
        rolling.probe(Some(version)).await?;
    }
    Ok(())
}

/// A file system between the system and its data.
async fn interpose(specs: &[FaultSpec], env: &Environment) -> Result<(), String> {
    let through_disks = |spec: &&FaultSpec| [disk::NAME, power::NAME].contains(&&*spec.name);
    let Some(spec) = specs.iter().find(through_disks) else {
        return Ok(());
    };
    let Some(disks) = &env.disks else {
        return Err(format!(
            "the fault {} needs disks of the system's own",
            spec.name
        ));
    };
    disks.probe().await?;
    let interposed = disks.interpose().await;
    interposed.map_err(|error| cannot(spec, error))
}

/// Takes away what was set up. The system may still run: what it has open, it keeps.
pub async fn dismantle(env: &Environment) -> Result<(), String> {
    let clocks = match &env.clocks {
        Some(clocks) => clocks.dismantle().await.map_err(message),
        None => Ok(()),
    };
    let disks = match &env.disks {
        Some(disks) => disks.withdraw().await.map_err(message),
        None => Ok(()),
    };
    clocks.and(disks)
}
