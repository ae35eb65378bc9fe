//! The clocks of machines, seen by `date` over a session of its own.

use std::time::{Duration, Instant};

use harness::Name;
use harness::capability::{ClockChange, ClockKind, ClockScope, ClockSetting, Clocks};
use harness::db::Db as _;
use harness::node::undo::{Healing, heal_node};
use nemeses::ssh::{Journaled, NodeClocks};

use crate::outside::{Machines, Sleeper, setting_of_our_clock};

/// How exactly a clock is where it is to be, in seconds, beyond what the sessions leave open.
const EXACT: f64 = 0.05;

/// What is tested, and where the clocks were before.
struct Tested<'a> {
    machines: &'a Machines,
    nodes: Vec<Journaled>,
    clocks: NodeClocks,
    before: (f64, f64),
    ours: f64,
}

impl<'a> Tested<'a> {
    fn new(machines: &'a Machines) -> Tested<'a> {
        let nodes = machines.journaled();
        let clocks = NodeClocks::new(&nodes, Sleeper::system());
        machines
            .runtime
            .block_on(clocks.probe(ClockScope::Machine))
            .unwrap();
        let (before, ours) = (machines.ahead(1), setting_of_our_clock());
        Tested {
            machines,
            nodes,
            clocks,
            before,
            ours,
        }
    }

    fn change(&self, change: ClockChange) {
        let setting = ClockSetting {
            scope: ClockScope::Machine,
            clocks: ClockKind::Realtime,
            change,
        };
        let changed = async { self.clocks.change(&n1(), &setting).await };
        let seen = self.machines.runtime.block_on(changed).unwrap();
        assert!(seen.len() == 1 && seen[0].whose == "machine", "{seen:?}");
    }

    /// Whether the first node's clock is so many seconds ahead of where it was.
    fn is_ahead(&self, seconds: f64) -> bool {
        let ((least, most), before) = (self.machines.ahead(1), self.before);
        least - before.1 - EXACT <= seconds && seconds <= most - before.0 + EXACT
    }

    /// Nothing is left of what was done.
    fn assert_back(&self) {
        assert!(
            self.is_ahead(0.0),
            "{:?} {:?}",
            self.machines.ahead(1),
            self.before
        );
        assert!(self.machines.ahead(2).0.abs() < 60.0, "another node's");
        assert!(
            (setting_of_our_clock() - self.ours).abs() < EXACT,
            "this machine's"
        );
        let stands = self
            .machines
            .runtime
            .block_on(self.nodes[0].journal.list())
            .unwrap();
        assert_eq!(stands, []);
        let left = "ls /var/lib/gainsay/machine-clock* 2>/dev/null; true";
        assert_eq!(self.machines.says(1, left), "");
    }

    fn restore(self) {
        let seen = self
            .machines
            .runtime
            .block_on(self.clocks.restore(&n1()))
            .unwrap();
        assert!(
            seen[0].after.unwrap().realtime.abs() < EXACT * 1000.0,
            "{seen:?}"
        );
        self.assert_back();
        self.leave();
    }

    fn leave(self) {
        self.machines
            .runtime
            .block_on(nemeses::ssh::leave(&self.nodes));
    }
}

fn n1() -> Name {
    Name::from("n1")
}

pub(crate) fn clocks_step_and_come_back(machines: &Machines) {
    let tested = Tested::new(machines);
    for seconds in [3600_i64, -7200, 2] {
        tested.change(ClockChange::Skew {
            offset_ms: seconds * 1000,
        });
        assert!(
            tested.is_ahead(seconds as f64),
            "{seconds} {:?}",
            machines.ahead(1)
        );
    }
    assert!(
        (setting_of_our_clock() - tested.ours).abs() < EXACT,
        "this machine's"
    );
    tested.restore();
}

pub(crate) fn clocks_strobe(machines: &Machines) {
    let tested = Tested::new(machines);
    tested.change(ClockChange::Strobe {
        delta_ms: 100_000,
        period_ms: 150,
    });
    for turn in 0..3 {
        for seconds in [100.0, 0.0] {
            machines.until(&format!("turn {turn}, {seconds} s"), || {
                tested.is_ahead(seconds).then_some(())
            });
        }
    }
    tested.restore();
}

pub(crate) fn clocks_drift(machines: &Machines) {
    for ppm in [90_000_i64, -90_000] {
        let tested = Tested::new(machines);
        tested.change(ClockChange::Drift { ppm });
        let (first, began) = (machines.ahead(1), Instant::now());
        // What it gained and how long that took, each between two bounds.
        let (gained, took) = machines.until("a drift that is certain", || {
            let (started, now) = (began.elapsed().as_secs_f64(), machines.ahead(1));
            let gained = (now.0 - first.1, now.1 - first.0);
            let certain = gained.0 > 0.2 || gained.1 < -0.2;
            certain.then(|| (gained, (started, began.elapsed().as_secs_f64())))
        });
        let expected = ppm as f64 / 1e6;
        let longest = (first.1 - first.0) + took.1;
        let [a, b] = [took.0 * expected, longest * expected];
        assert!(
            gained.1 + EXACT >= a.min(b) && gained.0 - EXACT <= a.max(b),
            "{ppm}: {gained:?} in {took:?}"
        );
        tested.restore();
    }
}

pub(crate) fn clocks_freeze(machines: &Machines) {
    let tested = Tested::new(machines);
    tested.change(ClockChange::Freeze);
    let (first, began) = (machines.ahead(1), Instant::now());
    std::thread::sleep(Duration::from_secs(3));
    let (passed, now) = (began.elapsed().as_secs_f64(), machines.ahead(1));
    // It fell behind by all that passed.
    assert!(
        now.0 - first.1 - EXACT <= -passed && now.1 - first.0 < -2.0,
        "{first:?} {now:?} in {passed}"
    );
    tested.restore();
}

pub(crate) fn a_clock_comes_back_when_the_controller_is_gone(machines: &Machines) {
    let tested = Tested::new(machines);
    tested.change(ClockChange::Skew {
        offset_ms: -3_600_000,
    });
    assert!(tested.is_ahead(-3600.0));
    // As for a controller that was killed, its agent's input ends.
    let leaving = nemeses::ssh::leave(&tested.nodes);
    machines.runtime.block_on(leaving);
    machines.until("its end", || tested.is_ahead(0.0).then_some(()));
    assert!(
        (setting_of_our_clock() - tested.ours).abs() < EXACT,
        "this machine's"
    );
    machines
        .runtime
        .block_on(heal_node(&*tested.nodes[0].node.remote))
        .unwrap();
    tested.assert_back();
}

pub(crate) fn heal_brings_back_a_clock_that_nobody_keeps(machines: &Machines) {
    let tested = Tested::new(machines);
    tested.change(ClockChange::Drift { ppm: 90_000 });
    tested.change(ClockChange::Skew {
        offset_ms: 3_600_000,
    });
    let kill = "pids=$(pgrep -f '^/var/lib/gainsay/agent-[0-9a-f]* serve') && kill -9 $pids && while kill -0 $pids 2>/dev/null; do :; done";
    machines.says(1, kill);
    assert!(tested.is_ahead(3600.0) || machines.ahead(1).0 > 3000.0);
    let healed = machines
        .runtime
        .block_on(heal_node(&*tested.nodes[0].node.remote))
        .unwrap();
    assert!(!healed.is_empty());
    assert!(
        healed.iter().all(|it| it.healing == Healing::Undone),
        "{healed:?}"
    );
    tested.assert_back();
    tested.leave();
}

pub(crate) fn systems_are_started_with_what_keeps_their_waits_true(machines: &Machines) {
    let nodes = machines.journaled();
    let clocks = NodeClocks::new(&nodes, Sleeper::system());
    let loaded = |i: usize| machines.says(i, "grep -c waits- /proc/$(pgrep -x sleep)/maps; true");
    let there = |i: usize| {
        machines.says(
            i,
            "ls /var/lib/gainsay | grep -c 'waits-\\|environment'; true",
        )
    };
    let start = |i: usize| {
        let started = async { Sleeper::system().start(&nodes[i - 1].node, &[]).await };
        machines.runtime.block_on(started).unwrap();
    };
    machines
        .runtime
        .block_on(clocks.prepare(ClockScope::Process))
        .unwrap();
    start(1);
    assert_ne!(loaded(1), "0");
    machines.runtime.block_on(clocks.dismantle()).unwrap();
    start(2);
    assert_eq!(
        (loaded(2), there(1), there(2)),
        ("0".into(), "0".into(), "0".into())
    );
    machines.runtime.block_on(async {
        for at in &nodes {
            assert_eq!(at.journal.list().await.unwrap(), []);
            Sleeper::end(&at.node).await;
        }
        nemeses::ssh::leave(&nodes).await;
    });
}
