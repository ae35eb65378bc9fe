//! Machines that end and are back, as the fault does it: seen over sessions of the tests' own.

use std::collections::BTreeMap;
use std::time::Duration;

use harness::Name;
use harness::capability::{
    Bounds, ClockChange, ClockKind, ClockScope, ClockSetting, Ending, Machines as _, ProcessState,
    Signal,
};
use harness::fault::FaultOutcome;
use harness::local::{self, Config};
use harness::node::undo::{Healing, heal_node};
use harness::remote::Command;
use nemeses::ssh::NodeMachines;
use serde_json::Value;

use crate::outside::{Machines, Sleeper, journaled_of};
use crate::stage::stage;

/// How long a machine may take to be back.
const PATIENCE: Duration = Duration::from_secs(100);

fn boot(machines: &Machines, i: usize) -> String {
    machines.says(i, "cat /proc/sys/kernel/random/boot_id")
}

fn runs(machines: &Machines, i: usize) -> String {
    machines.says(i, "pgrep -x sleep -a | grep -c 100000; true")
}

/// An end and a return; what becomes of a file that was not synced. The start's and the stop's values.
fn round(machines: &Machines, spec: &str, kept: bool) -> (Value, Value) {
    let mut stage = stage(machines, Sleeper::system(), spec, None);
    let before = boot(machines, 1);
    let write =
        "rm -f /root/lost; sync; echo a >/root/synced; sync /root/synced /root; echo b >/root/lost";
    machines.says(1, write);
    let started = stage.installed("start");
    assert_eq!(started["targets"], serde_json::json!(["n1"]));
    assert_eq!(started["boots"]["n1"]["boot"], *before);
    let stopped = stage.stopped();
    machines.renew(1);
    let after = boot(machines, 1);
    assert_ne!(before, after);
    assert_eq!(
        (
            stopped["effective"].clone(),
            stopped["boots"]["n1"]["boot"].clone()
        ),
        (true.into(), after.into())
    );
    let expected = if kept { "a\nb" } else { "a" };
    assert_eq!(
        machines.says(1, "cat /root/synced; cat /root/lost 2>/dev/null; true"),
        expected
    );
    // The system runs again, and nobody else was struck.
    assert_eq!(runs(machines, 1), "1");
    assert!(
        machines
            .says(2, "cut -d. -f1 /proc/uptime")
            .parse::<u64>()
            .unwrap()
            > 0
    );
    stage.leave();
    (started, stopped)
}

pub(crate) fn an_orderly_reboot_loses_nothing(machines: &Machines) {
    round(machines, "reboot:orderly:target=n1", true);
}

pub(crate) fn a_hard_reboot_loses_what_was_not_synced(machines: &Machines) {
    round(machines, "reboot:hard:target=n1", false);
}

pub(crate) fn power_is_cut_until_the_end(machines: &Machines) {
    let (started, _) = round(machines, "reboot:off:target=n1", false);
    // Whoever has its power says so.
    assert_eq!(started["effective"], true);
}

pub(crate) fn what_stood_on_a_machine_is_gone_with_it(machines: &Machines) {
    let mut stage = stage(
        machines,
        Sleeper::system(),
        "reboot:hard:target=n1,kill:target=n2",
        Some(1),
    );
    let (n1, env) = (Name::from("n1"), stage.env.clone());
    let clocks = env.clocks.clone().unwrap();
    let processes = env.processes.clone().unwrap();
    let confinement = env.confinement.clone().unwrap();
    let setting = ClockSetting {
        scope: ClockScope::Machine,
        clocks: ClockKind::Realtime,
        change: ClockChange::Skew {
            offset_ms: 3_600_000,
        },
    };
    let frozen = Bounds {
        freeze: true,
        ..Bounds::default()
    };
    let freezes = machines.runtime.block_on(async {
        clocks.probe(ClockScope::Machine).await.unwrap();
        clocks.change(&n1, &setting).await.unwrap();
        processes.signal(&n1, Signal::STOP).await.unwrap();
        let possible = confinement.probe(&frozen).await;
        if possible.is_ok() {
            confinement.confine("freeze", &n1, &frozen).await.unwrap();
        }
        possible
    });
    assert!(machines.ahead(1).0 > 3000.0);
    machines.says(1, "sync");
    stage.installed("start");
    // One may be down at once, and one is.
    let other = &Name::from("n2");
    let over = stage.invoke_of(1, "start");
    assert!(
        matches!(&over, FaultOutcome::Skipped(error) if error.message.contains("n1")),
        "{over:?}"
    );
    let stopped = stage.stopped();
    machines.renew(1);
    let gone: Vec<&str> = stopped["boots"]["n1"]["ended"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let expected = ["freeze", "pause", "machine-clock"];
    let expected = if freezes.is_ok() {
        &expected[..]
    } else {
        &expected[1..]
    };
    assert_eq!(gone, expected);
    assert!(machines.ahead(1).1.abs() < 60.0);
    assert_eq!(
        machines
            .says(
                1,
                "ls /var/lib/gainsay; ls /var/lib/gainsay/undo 2>/dev/null; true"
            )
            .matches("clock")
            .count(),
        0
    );
    // Their own ends find nothing left, and say so.
    machines.runtime.block_on(async {
        clocks.restore(&n1).await.unwrap();
        assert_eq!(
            processes.signal(&n1, Signal::CONT).await.unwrap(),
            ProcessState::Running
        );
        if freezes.is_ok() {
            confinement.release("freeze", &n1).await.unwrap();
        }
        assert_eq!(processes.state(other).await.unwrap(), ProcessState::Running);
        // The agent is there again, for whoever wants something.
        clocks.change(&n1, &setting).await.unwrap();
    });
    assert!(machines.ahead(1).0 > 3000.0);
    machines.runtime.block_on(clocks.restore(&n1)).unwrap();
    assert!(machines.ahead(1).1.abs() < 60.0);
    stage.leave();
}

pub(crate) fn a_node_that_shares_its_kernel_is_refused(_: &Machines) {
    let mut config = Config::new(1);
    config.owner = local::Owner::ThisProcess;
    let cluster = local::up(&config, &mut |line| eprintln!("  {line}")).unwrap();
    let refused = |ending| {
        cluster
            .in_switch_netns(|| {
                let runtime = tokio::runtime::Runtime::new().unwrap();
                let machines =
                    NodeMachines::new(&journaled_of(&cluster), Sleeper::system(), BTreeMap::new());
                runtime.block_on(machines.probe(ending)).unwrap_err()
            })
            .unwrap()
    };
    for ending in [Ending::Orderly, Ending::Hard] {
        let why = refused(ending);
        assert!(
            why.starts_with("n1") && why.contains("--kernel own"),
            "{why}"
        );
    }
    let why = refused(Ending::Off);
    assert!(why.contains("--power-command"), "{why}");
    cluster.down().unwrap();
}

pub(crate) fn one_that_was_not_ended_is_there(machines: &Machines) {
    let nodes = NodeMachines::new(&machines.journaled(), Sleeper::system(), BTreeMap::new());
    let returned = machines
        .runtime
        .block_on(nodes.back(&"n2".into(), PATIENCE))
        .unwrap();
    assert_eq!(returned.before, returned.boot);
}

pub(crate) fn heal_starts_what_a_dead_controller_ended(machines: &Machines) {
    let stage = stage(machines, Sleeper::system(), "reboot:hard:target=n1", None);
    let (n1, before) = (Name::from("n1"), boot(machines, 1));
    let nodes = stage.env.machines.clone().unwrap();
    machines
        .runtime
        .block_on(async { nodes.end(&n1, Ending::Hard).await })
        .unwrap();
    drop(nodes);
    machines.renew(1);
    machines.until("it is back", || {
        let command = Command::new("cat /proc/sys/kernel/random/boot_id").idempotent();
        let remote = &stage.nodes[0].node.remote;
        let said = machines.runtime.block_on(remote.exec(command)).ok()?;
        (said.text() != before).then_some(())
    });
    assert_eq!(runs(machines, 1), "0");
    let healed = machines
        .runtime
        .block_on(heal_node(&*stage.nodes[0].node.remote))
        .unwrap();
    assert_eq!(healed.len(), 1, "{healed:?}");
    assert_eq!(
        (&*healed[0].fault, &healed[0].healing),
        ("reboot", &Healing::Undone)
    );
    assert_eq!(runs(machines, 1), "1");
    stage.leave();
}
