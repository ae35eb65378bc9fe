//! The few operations that show why a register is impossible.

use super::NEVER;
use super::history::Stop;
use super::lives::NONE;
use super::register::{Op, Register, RegisterKind, RegisterReason, Run};

/// Looks for operations of a register.
pub(super) struct Proof<'a> {
    register: &'a Register<'a>,
}

/// A place in a block: the number of the cluster, and whether it is of a read.
type Level = (u32, bool);

/// An operation of a block, with its level.
type Member = (Level, u32);

/// The operations of a block, ascending.
type Members = Vec<Member>;

impl<'a> Proof<'a> {
    pub(super) fn new(register: &'a Register<'a>) -> Proof<'a> {
        Proof { register }
    }

    /// The value that an operation wrote.
    pub(super) fn writes(op: &Op) -> Option<u32> {
        match op.kind {
            RegisterKind::Write => Some(op.value),
            RegisterKind::Cas { from } => (from != op.value).then_some(op.value),
            RegisterKind::Read | RegisterKind::Differs => None,
        }
    }

    fn op(&self, at: u32) -> &Op {
        &self.register.history.ops[at as usize]
    }

    fn all(&self) -> impl Iterator<Item = (u32, &Op)> {
        (0..).zip(self.register.history.ops.iter())
    }

    /// Whether an operation saw a value and completed.
    fn reads(op: &Op, value: u32) -> bool {
        let sees = match op.kind {
            RegisterKind::Read => true,
            RegisterKind::Cas { from } => from == op.value,
            RegisterKind::Write | RegisterKind::Differs => false,
        };
        sees && op.value == value && op.complete != NEVER
    }

    /// Observations which show that those of some operations that have no answer happened.
    pub(super) fn happened(&self, ops: impl IntoIterator<Item = u32>) -> Vec<u32> {
        let mut shown = Vec::new();
        for mut at in ops {
            while self.op(at).complete == NEVER {
                let value = self.op(at).value;
                let read = self.all().find(|(_, op)| Proof::reads(op, value));
                let next = self.register.clusters[value as usize].next;
                let observer = read.map_or(next, |(at, _)| at);
                if observer == NONE || shown.contains(&observer) {
                    break;
                }
                shown.push(observer);
                at = observer;
            }
        }
        shown
    }

    pub(super) fn never_written(&self, value: u32) -> Stop<RegisterReason> {
        let read = self.all().find(|(_, op)| Proof::reads(op, value));
        let next = self.register.clusters[value as usize].next;
        let observer = read.map_or(next, |(at, _)| at);
        let happened = self.happened([observer]);
        Stop::Violation(RegisterReason::NeverWritten { observer, happened })
    }

    /// Compare-and-sets in a circle: there is one if some clusters are in no block.
    pub(super) fn circle(&self) -> Stop<RegisterReason> {
        let clusters = &self.register.clusters;
        let mut in_block = vec![false; clusters.len()];
        for (value, cluster) in clusters.iter().enumerate() {
            let writer = cluster.writer;
            if value == 0 || (writer != NONE && self.op(writer).kind == RegisterKind::Write) {
                for value in self.register.chain(value as u32) {
                    in_block[value as usize] = true;
                }
            }
        }
        let lost = |value: &usize| !in_block[*value] && clusters[*value].next != NONE;
        let mut links = Vec::new();
        if let Some(begin) = (0..clusters.len()).find(lost) {
            let mut value = begin as u32;
            loop {
                let link = clusters[value as usize].next;
                links.push(link);
                value = self.op(link).value;
                if value as usize == begin {
                    break;
                }
            }
        }
        let happened = self.happened(links.clone());
        Stop::Violation(RegisterReason::Circle { links, happened })
    }

    /// The operations of a block, ascending.
    fn members(&self, begin: u32) -> Members {
        let mut number = vec![NONE; self.register.clusters.len()];
        for (at, value) in (0..).zip(self.register.chain(begin)) {
            number[value as usize] = at;
        }
        let mut members = Vec::new();
        for (at, op) in self.all() {
            let number = number[op.value as usize];
            if number == NONE {
                continue;
            }
            if Proof::reads(op, op.value) {
                members.push(((number, true), at));
            } else if Proof::writes(op).is_some() {
                members.push(((number, false), at));
            }
        }
        members.sort_unstable();
        members
    }

    /// The compare-and-sets between two levels of a block: those that write the clusters after the first, up to the one
    /// that the second is of, or that it replaces.
    fn links(&self, members: &Members, first: Level, second: Level) -> Vec<u32> {
        let end = if second.1 { second.0 + 1 } else { second.0 };
        let between = |(level, _): &&Member| !level.1 && level.0 > first.0 && level.0 < end;
        members.iter().filter(between).map(|(_, at)| *at).collect()
    }

    /// An operation of a block was invoked at a position, after one completed that must come later.
    pub(super) fn backwards(&self, begin: u32, invoke: u32) -> Stop<RegisterReason> {
        let members = self.members(begin);
        let mut found = None;
        if let Some((level, first)) = members.iter().find(|(_, at)| self.op(*at).invoke == invoke) {
            // The nearest, so that the chain between them is short.
            let late = |(other, at): &&Member| other > level && self.op(*at).complete < invoke;
            found = members
                .iter()
                .find(late)
                .map(|second| (*level, *first, *second));
        }
        let Some((level, first, (other, second))) = found else {
            return Stop::NotApplicable(super::NotApplicable::NoProof);
        };
        let links = self.links(&members, level, other);
        let happened = self.happened(links.iter().copied().chain([first, second]));
        Stop::Violation(RegisterReason::Backwards {
            first,
            second,
            links,
            happened,
        })
    }

    /// Two blocks, neither of which can come first.
    pub(super) fn entangled(&self, one: u32, other: u32) -> Stop<RegisterReason> {
        let (ones, others) = (self.members(one), self.members(other));
        let last = |members: &Members| members.iter().map(|(_, at)| self.op(*at).invoke).max();
        let first = |members: &Members| members.iter().map(|(_, at)| self.op(*at).complete).min();
        let (Some(other_last), Some(other_first)) = (last(&others), first(&others)) else {
            return Stop::NotApplicable(super::NotApplicable::NoProof);
        };
        let Some(one_ends) = self.ends(&ones, other_first, other_last, one == 0) else {
            return Stop::NotApplicable(super::NotApplicable::NoProof);
        };
        let before = self.op(one_ends.1.1).invoke;
        let other_ends = match one_ends.0 {
            Some((_, at)) => self.ends(&others, self.op(at).complete, before, false),
            // The other need only have something before it.
            None => {
                let completed = |(_, at): &&Member| self.op(*at).complete < before;
                others.iter().find(completed).map(|one| (Some(*one), *one))
            }
        };
        let Some(other_ends) = other_ends else {
            return Stop::NotApplicable(super::NotApplicable::NoProof);
        };
        let (one, other) = (self.run(&ones, one_ends), self.run(&others, other_ends));
        let all = [&one, &other];
        let ends = all
            .iter()
            .flat_map(|run| run.links.iter().copied().chain([run.invoked]));
        let happened = self.happened(ends);
        Stop::Violation(RegisterReason::Entangled {
            one,
            other,
            happened,
        })
    }

    /// Of a block: the last operation that completed before `before`, and the first that was invoked after `after`.
    fn ends(
        &self,
        members: &Members,
        after: u32,
        before: u32,
        is_initial: bool,
    ) -> Option<(Option<Member>, Member)> {
        let completed = |(_, at): &&Member| self.op(*at).complete < before;
        let invoked = |(_, at): &&Member| self.op(*at).invoke > after;
        let completed = members.iter().rev().find(completed).copied();
        if completed.is_none() && !is_initial {
            return None;
        }
        Some((completed, members.iter().find(invoked).copied()?))
    }

    fn run(&self, members: &Members, ends: (Option<Member>, Member)) -> Run {
        let (completed, (level, invoked)) = ends;
        let links = match completed {
            Some((_, at)) if at == invoked => Vec::new(),
            Some((other, _)) => self.links(members, other.min(level), other.max(level)),
            None => self.links(members, (0, false), level),
        };
        Run {
            completed: completed.map(|(_, at)| at),
            invoked,
            links,
        }
    }

    pub(super) fn not_different(&self, operation: u32) -> Stop<RegisterReason> {
        let failed = *self.op(operation);
        let value = failed.value;
        let cluster = &self.register.clusters[value as usize];
        let mine = |op: &Op| Proof::writes(op) == Some(value) || Proof::reads(op, value);
        let before = self
            .all()
            .find(|(_, op)| mine(op) && op.complete < failed.invoke);
        let read = |op: &Op| Proof::reads(op, value) && op.invoke > failed.complete;
        let after = self.all().find(|(_, op)| read(op));
        let after = after.map_or(cluster.next, |(at, _)| at);
        Stop::Violation(RegisterReason::NotDifferent {
            before: before.map(|(at, _)| at),
            operation,
            after,
            happened: self.happened([after]),
        })
    }
}
