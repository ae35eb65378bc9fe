//! Sequential consistency: an order of all operations that every process's own order agrees with, and
//! such that the objects give the results that were seen (Lamport 1979). Unlike linearizability it does
//! not ask what happened first in real time, and unlike linearizability it cannot be asked key by key: a
//! history can be sequentially consistent for each key and not as a whole.
//!
//! The search is depth first over what each process has done, with memory of what was tried. What only
//! observes is placed as soon as it fits; the operation that began first is tried first. It is exact, and
//! exponential in the number of processes where a history resists; then the verdict is `unknown`.
//!
//! As an operation may take effect long before it began, nothing is certain until the history has ended.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

use rustc_hash::{FxHashMap, FxHashSet, FxHasher};
use serde_json::{Value, json};
use store::{Event, EventType};

use crate::budget::{Budget, Exhausted};
use crate::{CheckResult, Checker, Evidence, Feed, OperationsEvidence, Valid};

use super::intake::client;
use super::linearizable::ModelError;
use super::log::LoggedOp;
use super::meter::Meter;
use super::model::Machine;
use super::models::{self, Touched};
use super::object::ObjectOp;
use super::objects::{Asked, Objects, Told};
use super::options::{FailedCas, Options};
use super::subject::{Landed, Malformed, Subject, is_refused};
use super::verify::{Refutation, prove_sequential};

/// How many nodes of the search are visited at most while a violation is made smaller.
const TRY: usize = 20_000;
/// How many smaller sub-histories are tried at most.
const TRIES: usize = 1_000;

/// An operation of a key.
struct Op {
    key: u32,
    logged: LoggedOp<ObjectOp, Told>,
}

impl Op {
    /// Whether it certainly happened.
    fn is_certain(&self) -> bool {
        self.logged.returned().is_some()
    }
}

/// Checks that a history of a built-in model is sequentially consistent, all keys together.
pub struct SequentiallyConsistent {
    subject: Objects,
    failed_cas: FailedCas,
    keys: FxHashMap<Option<Value>, u32>,
    key_values: Vec<Option<Value>>,
    open: FxHashMap<u64, (u32, Asked, u64, u64)>,
    ops: Vec<Op>,
    malformed: Option<Malformed>,
    exhausted: Option<Exhausted>,
    meter: Meter,
}

/// What a search came to.
enum Found {
    Order,
    NoOrder,
    TooMany,
}

impl SequentiallyConsistent {
    /// A checker of a built-in model, by its name in [`models::BUILT_IN`].
    ///
    /// # Errors
    /// If there is no such model, or it cannot begin as the options say.
    pub fn named(name: &str, options: &Options) -> Result<SequentiallyConsistent, ModelError> {
        Ok(SequentiallyConsistent {
            subject: models::objects(name, options)?,
            failed_cas: options.failed_cas,
            keys: FxHashMap::default(),
            key_values: Vec::new(),
            open: FxHashMap::default(),
            ops: Vec::new(),
            malformed: None,
            exhausted: None,
            meter: Meter::default(),
        })
    }

    fn take(&mut self, event: &Event, process: u64) -> Result<(), Malformed> {
        let index = event.index;
        if event.is_invoke() {
            let asked = self.subject.ask(event, process)?;
            let key = self.key(event.key.as_ref());
            let open = (key, asked, index, event.time);
            return match self.open.insert(process, open) {
                Some(_) => Err(Malformed::Overlap { index, process }),
                None => Ok(()),
            };
        }
        let open = self.open.remove(&process);
        let open = open.ok_or(Malformed::Unmatched { index, process })?;
        let landed = match event.kind {
            EventType::Info => self.subject.unknown(open.1),
            EventType::Fail if !is_refused(event, self.failed_cas) => None,
            _ => self.subject.complete(open.1, event)?,
        };
        self.land(open, process, landed, Some((index, event.time)));
        Ok(())
    }

    fn land(
        &mut self,
        (key, _, invoke, invoke_time): (u32, Asked, u64, u64),
        process: u64,
        landed: Option<Landed<Objects>>,
        complete: Option<(u64, u64)>,
    ) {
        let Some(Landed { op, told, ending }) = landed else {
            return;
        };
        let logged = LoggedOp {
            op,
            told,
            process,
            ending,
            invoke,
            invoke_time,
            complete,
        };
        self.ops.push(Op { key, logged });
    }

    fn key(&mut self, key: Option<&Value>) -> u32 {
        let key = key.cloned();
        if let Some(number) = self.keys.get(&key) {
            return *number;
        }
        let number = self.key_values.len() as u32;
        self.key_values.push(key.clone());
        self.keys.insert(key, number);
        number
    }

    fn verdict(&mut self, budget: &dyn Budget) -> CheckResult {
        for (process, open) in std::mem::take(&mut self.open) {
            let landed = self.subject.unknown(open.1);
            self.land(open, process, landed, None);
        }
        self.ops.sort_by_key(|op| op.logged.invoke);
        let all: Vec<u32> = (0..self.ops.len() as u32).collect();
        match self.search(&all, usize::MAX, budget) {
            Ok(Found::Order) => CheckResult::new(
                Valid::True,
                format!("all {} operations are sequentially consistent", all.len()),
            ),
            Ok(Found::NoOrder) => self.invalid(all, budget),
            Ok(Found::TooMany) => unknown("too many orders"),
            Err(exhausted) => unknown(&exhausted.to_string()),
        }
    }

    /// Whether some of the operations have an order, if that can be told from so many nodes.
    fn search(
        &mut self,
        members: &[u32],
        nodes: usize,
        budget: &dyn Budget,
    ) -> Result<Found, Exhausted> {
        let mut meter = Meter::default();
        let found = self.search_metered(members, nodes, &mut meter, budget);
        meter.release(budget);
        found
    }

    fn search_metered(
        &mut self,
        members: &[u32],
        nodes: usize,
        meter: &mut Meter,
        budget: &dyn Budget,
    ) -> Result<Found, Exhausted> {
        let mut numbers: FxHashMap<u64, usize> = FxHashMap::default();
        let mut programs: Vec<Vec<&Op>> = Vec::new();
        for op in members.iter().map(|at| &self.ops[*at as usize]) {
            let fresh = programs.len();
            let number = *numbers.entry(op.logged.process).or_insert(fresh);
            if number == fresh {
                programs.push(Vec::new());
            }
            programs[number].push(op);
        }
        let mut objects = Vec::new();
        let mut states = Vec::new();
        for _ in &self.key_values {
            let (object, initial) = self.subject.object();
            objects.push(object);
            states.push(initial);
        }
        let mut node = Node {
            at: vec![0; programs.len()],
            states,
        };
        let mut seen: FxHashSet<(u64, u64)> = FxHashSet::default();
        let mut stack: Vec<(Node, Vec<Move>)> = Vec::new();
        loop {
            node.observe(&programs, &mut objects);
            if node.is_final(&programs) {
                return Ok(Found::Order);
            }
            let moves = match seen.insert(node.hash()) {
                true => node.moves(&programs, &mut objects),
                false => Vec::new(),
            };
            if seen.len() > nodes {
                return Ok(Found::TooMany);
            }
            if seen.len().is_multiple_of(256) {
                let each = size_of::<u64>() * (programs.len() + objects.len());
                let states: usize = objects.iter().map(Machine::bytes).sum();
                meter.hold::<(u64, u64)>(seen.len() * 2, stack.len() * each + states, budget)?;
            }
            stack.push((node, moves));
            node = loop {
                let Some((from, moves)) = stack.last_mut() else {
                    return Ok(Found::NoOrder);
                };
                match moves.pop() {
                    Some(next) => break from.after(next, &programs, &mut objects),
                    None => drop(stack.pop()),
                }
            };
        }
    }

    /// `false`, if it can be proved independently.
    fn invalid(&mut self, all: Vec<u32>, budget: &dyn Budget) -> CheckResult {
        let members = self.reduce(all, budget);
        let inside: BTreeSet<u64> = members
            .iter()
            .map(|at| self.ops[*at as usize].logged.invoke)
            .collect();
        let views: Vec<_> = self
            .ops
            .iter()
            .map(|op| (op.key, self.subject.view(&op.logged)))
            .collect();
        let proved = prove_sequential(&inside, &views, self.subject.judge.as_ref());
        debug_assert!(
            matches!(proved, Ok(()) | Err(Refutation::TooHard(_))),
            "the verifier disagrees: {proved:?}"
        );
        if let Err(refutation) = proved {
            return unknown(&format!(
                "the history seems not to be sequentially consistent, but the independent verifier \
                 could not prove it: {refutation}"
            ));
        }
        let kept = members.iter().map(|at| &self.ops[*at as usize].logged);
        let mut events: Vec<u64> = kept
            .flat_map(|op| [Some(op.invoke), op.complete.map(|(index, _)| index)])
            .flatten()
            .collect();
        events.sort_unstable();
        let explanation = format!(
            "These {} operations of {} processes have no order in which each process's own order is \
             kept and all results are possible. Nothing that was left out makes a difference to them.",
            members.len(),
            self.processes(&members)
        );
        let mut result = CheckResult::new(
            Valid::False,
            format!(
                "not sequentially consistent: {} operations, the first at event {}, have no order",
                members.len(),
                events.first().copied().unwrap_or_default()
            ),
        );
        let evidence = OperationsEvidence {
            explanation,
            events,
        };
        result.evidence.push(Evidence::Operations(evidence));
        result
    }

    fn processes(&self, members: &[u32]) -> usize {
        let processes = members
            .iter()
            .map(|at| self.ops[*at as usize].logged.process);
        processes.collect::<BTreeSet<u64>>().len()
    }

    /// A smaller part that is impossible on its own, as far as that is found quickly: by leaving out
    /// smaller and smaller pieces.
    fn reduce(&mut self, all: Vec<u32>, budget: &dyn Budget) -> Vec<u32> {
        let mut best = all;
        let mut piece = best.len();
        let mut tries = 0;
        loop {
            piece = (piece / 2).max(1);
            let mut smaller = false;
            for chunk in best.clone().chunks(piece) {
                let left_out = |at: &u32| chunk.binary_search(at).is_ok();
                if !best.iter().any(left_out) {
                    continue;
                }
                tries += 1;
                let mut rest: Vec<u32> = best.iter().copied().filter(|at| !left_out(at)).collect();
                self.shrink(&mut rest);
                match self.search(&rest, TRY, budget) {
                    Ok(Found::NoOrder) => {
                        best = rest;
                        smaller = true;
                    }
                    Ok(Found::Order | Found::TooMany) => {}
                    Err(_) => return best,
                }
                if tries == TRIES {
                    return best;
                }
            }
            if piece == 1 && !smaller {
                return best;
            }
        }
    }

    /// Drops members that need something that is not a member.
    fn shrink(&self, members: &mut Vec<u32>) {
        let touches = |at: u32| {
            let op = &self.ops[at as usize];
            (op.key, self.subject.model.touches(op.logged.op))
        };
        let mut everything: FxHashSet<u32> = FxHashSet::default();
        let mut these: FxHashSet<(u32, u64)> = FxHashSet::default();
        let mut some: FxHashSet<u32> = FxHashSet::default();
        let mut leave = |(key, touches): (u32, models::Touches), check: bool| -> bool {
            let needed = match &touches.needs {
                Touched::Nothing => false,
                Touched::These(parts) => {
                    everything.contains(&key) || parts.iter().any(|it| these.contains(&(key, *it)))
                }
                Touched::Everything => some.contains(&key),
            };
            if check && !needed {
                return false;
            }
            match touches.provides {
                Touched::Nothing => return true,
                Touched::These(parts) => these.extend(parts.iter().map(|part| (key, *part))),
                Touched::Everything => drop(everything.insert(key)),
            }
            some.insert(key);
            true
        };
        for at in 0..self.ops.len() as u32 {
            if members.binary_search(&at).is_err() {
                leave(touches(at), false);
            }
        }
        loop {
            let before = members.len();
            members.retain(|at| !leave(touches(*at), true));
            if members.len() == before {
                return;
            }
        }
    }
}

/// What may come next: the next operation of a process, or that it never happens.
#[derive(Clone, Copy)]
struct Move {
    process: usize,
    happens: bool,
}

#[derive(Clone)]
struct Node {
    /// By process: how many of its operations are behind us.
    at: Vec<u32>,
    /// By key.
    states: Vec<u32>,
}

impl Node {
    fn next<'a>(&self, process: usize, programs: &[Vec<&'a Op>]) -> Option<&'a Op> {
        programs[process].get(self.at[process] as usize).copied()
    }

    /// Places everything that only observes and fits.
    fn observe(&mut self, programs: &[Vec<&Op>], objects: &mut [impl Machine<Op = ObjectOp>]) {
        for process in 0..programs.len() {
            while let Some(op) = self.next(process, programs)
                && op.logged.op.is_observation()
                && objects[op.key as usize].accepts(self.states[op.key as usize], op.logged.op)
            {
                self.at[process] += 1;
            }
        }
    }

    /// Whether nothing is left that certainly happened.
    fn is_final(&self, programs: &[Vec<&Op>]) -> bool {
        let rest = self.at.iter().zip(programs);
        rest.into_iter()
            .all(|(at, program)| program[*at as usize..].iter().all(|op| !op.is_certain()))
    }

    /// What may come next, that which began first last.
    fn moves(
        &self,
        programs: &[Vec<&Op>],
        objects: &mut [impl Machine<Op = ObjectOp>],
    ) -> Vec<Move> {
        let mut moves: Vec<(bool, u64, Move)> = Vec::new();
        for process in 0..programs.len() {
            let Some(op) = self.next(process, programs) else {
                continue;
            };
            let (uncertain, began) = (!op.is_certain(), op.logged.invoke);
            let observes = op.logged.op.is_observation();
            if !observes
                && objects[op.key as usize].accepts(self.states[op.key as usize], op.logged.op)
            {
                let happens = true;
                moves.push((uncertain, began, Move { process, happens }));
            }
            let is_last = self.at[process] as usize + 1 == programs[process].len();
            if uncertain && !is_last {
                let happens = false;
                moves.push((true, began, Move { process, happens }));
            }
        }
        moves.sort_by_key(|(uncertain, began, _)| std::cmp::Reverse((*uncertain, *began)));
        moves.into_iter().map(|(.., next)| next).collect()
    }

    fn after(
        &self,
        next: Move,
        programs: &[Vec<&Op>],
        objects: &mut [impl Machine<Op = ObjectOp>],
    ) -> Node {
        let mut node = self.clone();
        if let Some(op) = self.next(next.process, programs).filter(|_| next.happens) {
            let state = &mut node.states[op.key as usize];
            if let Some(after) = objects[op.key as usize].apply(*state, op.logged.op) {
                *state = after;
            }
        }
        node.at[next.process] += 1;
        node
    }

    /// Two hashes: equal ones of different nodes are not to be expected, and would at worst make a
    /// verdict of `false` fail its proof.
    fn hash(&self) -> (u64, u64) {
        let hash = |seed: u64| {
            let mut hasher = FxHasher::default();
            (seed, &self.at, &self.states).hash(&mut hasher);
            hasher.finish()
        };
        (hash(0), hash(0x9e37_79b9_7f4a_7c15))
    }
}

fn unknown(why: &str) -> CheckResult {
    CheckResult::new(Valid::Unknown, why)
}

impl Checker for SequentiallyConsistent {
    fn feed(&mut self, events: &[Event], budget: &dyn Budget) -> Feed {
        for event in events {
            if self.malformed.is_some() || self.exhausted.is_some() {
                break;
            }
            let Some(process) = client(event) else {
                continue;
            };
            self.malformed = self.take(event, process).err();
            if self.ops.len().is_multiple_of(256) {
                self.exhausted = self.meter.hold::<Op>(self.ops.len(), 0, budget).err();
            }
        }
        match self.exhausted {
            Some(_) => Feed::Exhausted,
            None => Feed::Continue,
        }
    }

    fn finish(&mut self, budget: &dyn Budget) -> CheckResult {
        let mut result = match (&self.malformed, self.exhausted) {
            (Some(malformed), _) => unknown(&malformed.to_string()),
            (None, Some(exhausted)) => unknown(&exhausted.to_string()),
            (None, None) => self.verdict(budget),
        };
        let counts = [
            ("keys", json!(self.key_values.len())),
            ("operations", json!(self.ops.len())),
        ];
        let counts = counts.map(|(name, count): (&str, Value)| (name.to_owned(), count));
        result.details.extend(counts);
        self.meter.release(budget);
        result
    }
}
