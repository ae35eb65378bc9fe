//! After the faults: whether the system recovers, of itself, within its time, and who did when.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use harness::recovery::{Pace, Proof, RecoveryProbe};
use harness::time::{Clock, Nanos, timeout};
use serde::{Deserialize, Serialize};
use store::Name;

/// Waits until every node runs and says that it is healthy; the error says which does not.
pub(super) type Restart<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// How the system came back after the last heal. Times are in seconds since that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RecoveryReport {
    /// What proves it.
    pub(crate) proof: RecoveryProof,
    /// When all nodes had recovered, and stayed so; absent where they did not in time.
    pub(crate) recovered_after: Option<f64>,
    /// When each node had; `null` where it did not.
    pub(crate) nodes: BTreeMap<Name, Option<f64>>,
}

/// What proves that a system recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RecoveryProof {
    /// Fresh values, written through every node and seen on every node.
    FreshWrites,
    /// The nodes' own word: this system has no means to prove it.
    Health,
}

/// What recovery needs.
pub(super) struct Recovery<'a> {
    pub(super) nodes: Vec<Name>,
    /// Ends by itself within the limit.
    pub(super) restart: Restart<'a>,
    pub(super) probe: Option<Arc<dyn RecoveryProbe>>,
    /// For all of it.
    pub(super) limit: Duration,
    pub(super) pace: Pace,
}

impl Recovery<'_> {
    /// Waits until the system has recovered. The error says what has not.
    pub(super) async fn wait(self, clock: &dyn Clock) -> (RecoveryReport, Result<(), String>) {
        let healed = clock.now();
        let since = |at: Nanos| (at.saturating_sub(healed) / 1_000_000) as f64 / 1e3;
        let restarted = self.restart.await;
        let at = restarted.is_ok().then(|| since(clock.now()));
        let mut report = RecoveryReport {
            proof: RecoveryProof::Health,
            recovered_after: at,
            nodes: self.nodes.iter().map(|node| (node.clone(), at)).collect(),
        };
        let Some(probe) = self.probe else {
            return (report, restarted);
        };
        report.proof = RecoveryProof::FreshWrites;
        if restarted.is_err() {
            return (report, restarted);
        }
        let mut proof = Proof::new(&self.nodes);
        let left = self
            .limit
            .saturating_sub(Duration::from_nanos(clock.now() - healed));
        let proved = timeout(clock, left, proof.run(&*probe, clock, self.pace)).await;
        report.recovered_after = proved.map(|()| since(clock.now()));
        let times = proof.nodes().iter();
        let times =
            times.map(|(node, passed)| (node.clone(), passed.as_ref().ok().copied().map(since)));
        report.nodes = times.collect();
        let ended = match proved {
            Some(()) => Ok(()),
            None => Err(not_proved(&proof, self.limit)),
        };
        (report, ended)
    }
}

fn not_proved(proof: &Proof, limit: Duration) -> String {
    let nodes = proof.nodes().iter();
    let late = nodes.filter_map(|(node, passed)| Some((node, passed.as_ref().err()?)));
    let late: Vec<String> = late
        .map(|(node, error)| format!("{node}: {error}"))
        .collect();
    let what = match late.is_empty() {
        true => "what all nodes could do at last was not confirmed in time".to_owned(),
        false => late.join("; "),
    };
    format!("the healed system did not recover within {limit:?}: {what}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use async_trait::async_trait;
    use harness::time::VirtualRuntime;

    use super::*;

    /// Takes writes, and never shows them.
    struct Forgetful;

    #[async_trait]
    impl RecoveryProbe for Forgetful {
        async fn write(&self, _node: &Name, _value: u64) -> Result<(), String> {
            Ok(())
        }

        async fn read(&self, _node: &Name) -> Result<Option<u64>, String> {
            Err("no leader".to_owned())
        }

        async fn read_local(&self, _node: &Name, _owner: &Name) -> Result<Option<u64>, String> {
            Ok(None)
        }
    }

    fn wait(
        restart: Result<(), String>,
        probe: Option<Arc<dyn RecoveryProbe>>,
    ) -> (RecoveryReport, Result<(), String>) {
        let runtime = VirtualRuntime::new();
        let clock = runtime.clock();
        let slow = clock.clone();
        let recovery = Recovery {
            nodes: vec!["n1".into(), "n2".into()],
            restart: Box::pin(async move {
                harness::time::sleep(&slow, Duration::from_millis(1500)).await;
                restart
            }),
            probe,
            limit: Duration::from_secs(5),
            pace: Pace {
                call: Duration::from_secs(1),
                confirm: Duration::from_secs(1),
            },
        };
        runtime.block_on(recovery.wait(&clock)).unwrap()
    }

    #[test]
    fn without_a_probe_health_is_all_there_is() {
        let (report, ended) = wait(Ok(()), None);
        assert_eq!(ended, Ok(()));
        let object = serde_json::to_value(&report).unwrap();
        assert_eq!(
            object,
            serde_json::json!({
                "proof": "health",
                "recovered_after": 1.5,
                "nodes": {"n1": 1.5, "n2": 1.5},
            })
        );
    }

    #[test]
    fn who_does_not_recover_is_told_with_the_reason() {
        let (report, ended) = wait(Ok(()), Some(Arc::new(Forgetful)));
        assert_eq!(
            (report.proof, report.recovered_after),
            (RecoveryProof::FreshWrites, None)
        );
        assert_eq!(report.nodes["n2"], None);
        let why = ended.unwrap_err();
        assert!(
            why.contains("within 5s") && why.contains("n1: reading back"),
            "{why}"
        );

        let (report, ended) = wait(Err("n2 is gone".to_owned()), Some(Arc::new(Forgetful)));
        assert_eq!(ended, Err("n2 is gone".to_owned()));
        assert_eq!(report.nodes["n1"], None);
    }
}
