//! Taking nodes out and bringing them in, in a world in memory.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use harness::capability::{
    CapabilityError, Environment, Membership, ProcessState, Processes, Signal,
};
use harness::client::Op;
use harness::fault::FaultOutcome;
use harness::seed::Seed;
use harness::time::VirtualRuntime;
use harness::{Name, Value, json};
use nemeses::{BuildContext, Composition, build, parse};

/// A system that agrees at once.
#[derive(Default)]
struct System {
    members: Vec<Name>,
    /// Nodes that do not answer.
    silent: BTreeSet<Name>,
    done: Vec<String>,
    /// The next change is made, and nobody hears of it.
    lose_answer: bool,
    /// The next change is not made, and nobody hears of that either.
    lose_request: bool,
    /// Nodes of which it is written down how they are brought in again.
    noted: BTreeSet<Name>,
    /// The next node that is taken in runs, and does not answer.
    deafen: bool,
    deaf: BTreeSet<Name>,
    /// So many changes are refused.
    refuse: usize,
}

#[derive(Clone, Default)]
struct World(Arc<Mutex<System>>);

impl World {
    fn change(&self, what: &str, node: &Name) -> Result<(), CapabilityError> {
        let mut system = self.0.lock().unwrap();
        if system.refuse > 0 {
            system.refuse -= 1;
            return Err(CapabilityError::NotDone("not now".to_owned()));
        }
        if what != "add" {
            system.noted.insert(node.clone());
        }
        if std::mem::take(&mut system.lose_request) {
            return Err(CapabilityError::Indeterminate("no answer".to_owned()));
        }
        system.done.push(format!("{what} {node}"));
        match what {
            "remove" => {
                system.members.retain(|member| member != node);
                system.deaf.remove(node);
            }
            "clear" => {
                system.silent.insert(node.clone());
            }
            _ => {
                system.silent.remove(node);
                system.members.push(node.clone());
                if std::mem::take(&mut system.deafen) {
                    system.deaf.insert(node.clone());
                }
            }
        }
        match std::mem::take(&mut system.lose_answer) {
            true => Err(CapabilityError::Indeterminate("no answer".to_owned())),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Membership for World {
    async fn probe(&self) -> Result<(), String> {
        Ok(())
    }

    async fn views(&self) -> BTreeMap<Name, Vec<Name>> {
        let system = self.0.lock().unwrap();
        let answering = system
            .members
            .iter()
            .filter(|name| !system.silent.contains(*name) && !system.deaf.contains(*name));
        answering
            .map(|name| (name.clone(), system.members.clone()))
            .collect()
    }

    async fn remove(&self, node: &Name) -> Result<(), CapabilityError> {
        self.change("remove", node)
    }

    async fn clear(&self, node: &Name) -> Result<(), CapabilityError> {
        self.change("clear", node)
    }

    async fn add(&self, node: &Name) -> Result<(), CapabilityError> {
        self.change("add", node)
    }

    async fn settle(&self, node: &Name) -> Result<(), CapabilityError> {
        self.0.lock().unwrap().noted.remove(node);
        Ok(())
    }
}

#[async_trait]
impl Processes for World {
    async fn signal(&self, _: &Name, _: Signal) -> Result<ProcessState, CapabilityError> {
        unreachable!("nobody is signalled")
    }

    async fn start(&self, node: &Name) -> Result<ProcessState, CapabilityError> {
        let mut system = self.0.lock().unwrap();
        system.silent.remove(node);
        system.done.push(format!("start {node}"));
        Ok(ProcessState::Running)
    }

    async fn state(&self, node: &Name) -> Result<ProcessState, CapabilityError> {
        let system = self.0.lock().unwrap();
        Ok(match system.silent.contains(node) {
            true => ProcessState::Absent,
            false => ProcessState::Running,
        })
    }
}

fn names(count: usize) -> Vec<Name> {
    (1..=count).map(|i| Name::from(format!("n{i}"))).collect()
}

/// An operation, and what happens before it.
type Step = (&'static str, fn(&mut System));

/// What becomes of operations of a fault on so many nodes, one after the other, each after something has happened.
fn outcomes(fault: &str, count: usize, steps: &[Step]) -> (Vec<FaultOutcome>, Vec<String>) {
    let runtime = VirtualRuntime::new();
    let world = World::default();
    *world.0.lock().unwrap() = System {
        members: names(count),
        ..System::default()
    };
    let env = Environment {
        nodes: names(count),
        membership: Some(Arc::new(world.clone())),
        processes: Some(Arc::new(world.clone())),
        ..Environment::default()
    };
    let ctx = BuildContext {
        seed: Seed::new(3),
        time_limit: Duration::from_secs(600),
        election_timeout: Duration::from_millis(100),
        leaders: false,
        nodes: names(count),
        zones: nemeses::Zones::default(),
        clock: Arc::new(runtime.clock()),
        composition: Composition::default(),
    };
    let mut package = build(&parse(fault).unwrap(), &ctx).unwrap().remove(0);
    let outcomes = runtime
        .block_on(async {
            package.fault.probe(&env).await.unwrap();
            let mut outcomes = Vec::new();
            for ((f, before), planned) in steps.iter().zip(package.planned.iter().cycle()) {
                before(&mut world.0.lock().unwrap());
                let op = Op::new(*f, planned.value.clone());
                outcomes.push(package.fault.invoke(&env, &op).await);
            }
            outcomes
        })
        .unwrap();
    let system = world.0.lock().unwrap();
    // What is undone leaves nothing for others to undo.
    if let (Some(("stop", _)), Some(FaultOutcome::Installed(_))) = (steps.last(), outcomes.last()) {
        assert_eq!(system.noted, BTreeSet::new());
    }
    (outcomes, system.done.clone())
}

fn installed(outcome: &FaultOutcome) -> &Value {
    match outcome {
        FaultOutcome::Installed(value) => value,
        other => panic!("{other:?}"),
    }
}

fn nothing(_: &mut System) {}

#[test]
fn a_member_leaves_and_comes_back() {
    let (outcomes, done) = outcomes(
        "membership:shrink:target=n2",
        5,
        &[("start", nothing), ("stop", nothing)],
    );
    let value = installed(&outcomes[0]);
    assert_eq!(value["effective"], true);
    assert_eq!(value["targets"], json!(["n2"]));
    assert_eq!(
        value["changes"]["n2"]["members"]["n1"],
        json!(["n1", "n3", "n4", "n5"])
    );
    let value = installed(&outcomes[1]);
    let members = value["changes"]["n2"]["members"]["n1"].as_array().unwrap();
    assert_eq!(members.len(), 5);
    assert_eq!(done, ["remove n2", "clear n2", "add n2"]);
}

#[test]
fn a_member_is_replaced() {
    let (outcomes, done) = outcomes(
        "membership:replace:target=n2",
        5,
        &[("start", nothing), ("stop", nothing)],
    );
    assert_eq!(installed(&outcomes[0])["effective"], true);
    installed(&outcomes[1]);
    assert_eq!(done, ["remove n2", "clear n2", "add n2"]);
}

#[test]
fn never_are_fewer_than_three_left() {
    let (outcomes, done) = outcomes(
        "membership:shrink:target=all",
        5,
        &[("start", nothing), ("stop", nothing)],
    );
    let value = installed(&outcomes[0]);
    assert_eq!(value["targets"].as_array().unwrap().len(), 2);
    assert_eq!(value["skipped"].as_array().unwrap().len(), 3);
    assert_eq!(done.len(), 6);
    installed(&outcomes[1]);
}

#[test]
fn nobody_is_taken_out_while_others_are_silent() {
    let silence = |system: &mut System| {
        system.silent = ["n3", "n4"].map(Name::from).into();
    };
    let (outcomes, done) = outcomes("membership:shrink:target=n2", 5, &[("start", silence)]);
    let FaultOutcome::Skipped(error) = &outcomes[0] else {
        panic!("{outcomes:?}");
    };
    assert!(
        error.message.contains("2 of the others do not answer"),
        "{error:?}"
    );
    assert!(done.is_empty());
}

#[test]
fn of_a_change_of_which_nobody_heard_the_others_tell() {
    let lose = |system: &mut System| system.lose_answer = true;
    let steps: [Step; 3] = [("start", lose), ("stop", nothing), ("stop", nothing)];
    let (outcomes, done) = outcomes("membership:shrink:target=n2", 5, &steps);
    // The others told that it was made, so the rest was done.
    assert_eq!(installed(&outcomes[0])["effective"], true);
    installed(&outcomes[1]);
    assert!(matches!(outcomes[2], FaultOutcome::Skipped(_)));
    assert_eq!(done, ["remove n2", "clear n2", "add n2"]);
}

#[test]
fn a_change_that_was_not_made_and_nobody_heard_of_leaves_nothing() {
    let lose = |system: &mut System| system.lose_request = true;
    let steps: [Step; 2] = [("start", lose), ("stop", nothing)];
    let (outcomes, done) = outcomes("membership:shrink:target=n2", 5, &steps);
    assert!(matches!(outcomes[0], FaultOutcome::Indeterminate(_)));
    installed(&outcomes[1]);
    assert_eq!(done, [""; 0]);
}

#[test]
fn what_is_refused_for_a_while_is_asked_for_again() {
    let refuse = |system: &mut System| system.refuse = 7;
    let steps: [Step; 2] = [("start", nothing), ("stop", refuse)];
    let (outcomes, done) = outcomes("membership:shrink:target=n2", 5, &steps);
    installed(&outcomes[1]);
    assert_eq!(done, ["remove n2", "clear n2", "add n2"]);
}

#[test]
fn a_member_that_lost_its_disk_joins_anew() {
    let steps: [Step; 2] = [("start", nothing), ("stop", nothing)];
    let (outcomes, done) = outcomes("membership:rejoin:target=n2", 3, &steps);
    let value = installed(&outcomes[0]);
    assert_eq!(value["effective"], true);
    // It is still known to the others, and silent.
    assert_eq!(
        value["changes"]["n2"]["members"]["n1"],
        json!(["n1", "n2", "n3"])
    );
    assert!(value["changes"]["n2"]["members"].get("n2").is_none());
    installed(&outcomes[1]);
    assert_eq!(done, ["clear n2", "remove n2", "add n2"]);
}

#[test]
fn a_new_member_that_does_not_run_is_started() {
    let ended = |system: &mut System| {
        system.silent.insert("n2".into());
    };
    let steps: [Step; 2] = [("start", nothing), ("stop", ended)];
    let (outcomes, done) = outcomes("membership:replace:target=n2", 5, &steps);
    installed(&outcomes[1]);
    assert_eq!(done, ["remove n2", "clear n2", "add n2", "start n2"]);
}

#[test]
fn a_new_member_that_runs_and_knows_nobody_is_brought_in_anew() {
    let deafen = |system: &mut System| system.deafen = true;
    let steps: [Step; 3] = [("start", nothing), ("stop", deafen), ("stop", nothing)];
    let (outcomes, done) = outcomes("membership:shrink:target=n2", 5, &steps);
    assert!(
        matches!(outcomes[1], FaultOutcome::Indeterminate(_)),
        "{outcomes:?}"
    );
    installed(&outcomes[2]);
    assert_eq!(
        done,
        ["remove n2", "clear n2", "add n2", "remove n2", "add n2"]
    );
}

#[test]
fn of_three_members_two_that_answer_are_a_majority() {
    let few = |system: &mut System| {
        system
            .members
            .retain(|name| **name != *"n4" && **name != *"n5");
        system.silent.insert("n2".into());
    };
    // n4 and n5 are out, n2 has lost its disk: the two others say what there is to say.
    let steps: [Step; 2] = [("start", few), ("stop", nothing)];
    let (outcomes, _) = outcomes("membership:rejoin:target=n2", 5, &steps);
    installed(&outcomes[0]);
    installed(&outcomes[1]);
}

#[test]
fn members_that_lost_their_disks_go_before_any_comes_back() {
    let steps: [Step; 2] = [("start", nothing), ("stop", nothing)];
    let (outcomes, done) = outcomes("membership:rejoin:target=n2+n3", 5, &steps);
    installed(&outcomes[0]);
    installed(&outcomes[1]);
    let changes = done.iter().filter(|it| !it.starts_with("clear"));
    let verbs: Vec<&str> = changes.filter_map(|it| it.split(' ').next()).collect();
    assert_eq!(verbs, ["remove", "remove", "add", "add"]);
}
