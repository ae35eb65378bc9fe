//! A replica: Raft, with its state on disk and in memory kept apart.
//!
//! A replica is a state machine without a clock or a network. It is told the time, what arrives
//! and that time has passed, and says what to send and to answer. What a kill takes is [`Memory`];
//! what it leaves is [`Disk`].
//!
//! This is the algorithm of Ongaro and Ousterhout ("In search of an understandable consensus
//! algorithm", 2014): terms, elections with randomised time-outs, log replication, commitment by
//! counting replicas of entries of the leader's own term. From Ongaro's thesis come linearizable
//! reads by read index (§6.4) and leaders that step down when they lose touch with the majority
//! (§6.2). Not here: membership changes, snapshots, log compaction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use harness::seed::Rng;
use harness::time::Nanos;
use rand::RngExt;

use crate::bug::Bug;
use crate::machine::{Command, Machine};
use crate::message::{Answer, Entry, Index, Message, NodeId, Refusal, RequestId, Term};
use crate::settings::{ELECTION_TIMEOUT, REQUEST_TIMEOUT, Settings};

mod leader;
mod log;

use leader::Leader;
use log::Log;

const NO_LEADER: Refusal = Refusal::never("no-leader", "this node knows of no leader");
const UNANSWERED: Refusal =
    Refusal::unknown("request-timeout", "no answer from the leader in time");

/// What a replica wants done.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Send a message to another node.
    Send(NodeId, Message),
    /// Answer a client of this node.
    Answer(RequestId, Answer),
}

/// What survives a kill.
#[derive(Debug, Default)]
struct Disk {
    term: Term,
    voted_for: Option<NodeId>,
    log: Log,
    /// With [`Bug::SkippedEntry`]: entries that are taken for executed and are not.
    skipped: BTreeSet<Index>,
}

/// What a kill takes.
#[derive(Debug)]
struct Memory {
    role: Role,
    /// The leader of this term, as far as known.
    leader: Option<NodeId>,
    /// When to stand for election, unless a leader is heard before.
    election_at: Nanos,
    commit: Index,
    applied: Index,
    machine: Machine,
    /// Requests of this node's own clients, and until when they wait.
    waiting: BTreeMap<RequestId, Nanos>,
}

#[derive(Debug)]
enum Role {
    Follower,
    /// Asking for votes; by node, who gave one.
    Candidate(Vec<bool>),
    Leader(Leader),
}

/// One member of the cluster.
#[derive(Debug)]
pub(crate) struct Replica {
    id: NodeId,
    nodes: usize,
    settings: Arc<Settings>,
    rng: Rng,
    disk: Disk,
    memory: Memory,
    effects: Vec<Effect>,
}

impl Memory {
    fn fresh(settings: &Settings) -> Memory {
        Memory {
            role: Role::Follower,
            leader: None,
            election_at: 0,
            commit: 0,
            applied: 0,
            machine: Machine::new(settings),
            waiting: BTreeMap::new(),
        }
    }
}

impl Replica {
    /// A member with an empty disk.
    pub(crate) fn new(
        id: NodeId,
        nodes: usize,
        settings: Arc<Settings>,
        rng: Rng,
        now: Nanos,
    ) -> Replica {
        let mut replica = Replica {
            id,
            nodes,
            memory: Memory::fresh(&settings),
            settings,
            rng,
            disk: Disk::default(),
            effects: Vec::new(),
        };
        replica.restart(now);
        replica
    }

    /// Starts again after a kill, with what is on disk.
    pub(crate) fn restart(&mut self, now: Nanos) {
        if self.settings.has(Bug::SkippedEntry) {
            self.disk.skipped.insert(self.memory.applied);
        }
        self.memory = Memory::fresh(&self.settings);
        self.effects.clear();
        self.disk.log.lose_unsynced();
        self.reset_election_timer(now);
    }

    /// What is to be done since the last call.
    pub(crate) fn drain_effects(&mut self) -> std::vec::Drain<'_, Effect> {
        self.effects.drain(..)
    }

    /// What was executed here led to this.
    pub(crate) fn machine(&self) -> &Machine {
        &self.memory.machine
    }

    /// When [`Replica::tick`] is to be called next, at the latest.
    pub(crate) fn next_tick(&self) -> Nanos {
        let role = match &self.memory.role {
            Role::Leader(leader) => leader.next_heartbeat,
            _ => self.memory.election_at,
        };
        let requests = self.memory.waiting.values().copied();
        requests.fold(role, Nanos::min)
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Nanos) {
        self.expire_requests(now);
        match &self.memory.role {
            Role::Leader(leader) if now >= leader.next_heartbeat => self.heartbeat(now),
            Role::Leader(_) => {}
            _ if now >= self.memory.election_at => self.stand_for_election(now),
            _ => {}
        }
    }

    /// A client of this node asks for something.
    pub(crate) fn request(&mut self, now: Nanos, request: RequestId, command: Command) {
        let alone = command.is_read() && self.settings.has(Bug::StaleReads);
        if alone || command.is_local() {
            let answer = Ok(self.memory.machine.apply(&command));
            self.effects.push(Effect::Answer(request, answer));
            return;
        }
        let Some(leader) = self.memory.leader else {
            self.effects.push(Effect::Answer(request, Err(NO_LEADER)));
            return;
        };
        self.memory.waiting.insert(request, now + REQUEST_TIMEOUT);
        if leader == self.id {
            self.serve(now, self.id, request, command);
        } else {
            self.send(leader, Message::Forward { request, command });
        }
    }

    /// Answers a request: of a client of this node, or of the node that passed it on.
    fn respond(&mut self, origin: NodeId, request: RequestId, answer: Answer) {
        if origin != self.id {
            self.send(origin, Message::Answered { request, answer });
        } else if self.memory.waiting.remove(&request).is_some() {
            self.effects.push(Effect::Answer(request, answer));
        }
    }

    fn expire_requests(&mut self, now: Nanos) {
        let waiting = self.memory.waiting.iter();
        let due: Vec<RequestId> = waiting
            .filter(|(_, deadline)| **deadline <= now)
            .map(|(request, _)| *request)
            .collect();
        for request in due {
            self.respond(self.id, request, Err(UNANSWERED));
        }
    }

    /// A message arrives.
    pub(crate) fn receive(&mut self, now: Nanos, from: NodeId, message: Message) {
        match message {
            Message::Forward { request, command } => self.serve(now, from, request, command),
            Message::Answered { request, answer } => self.respond(self.id, request, answer),
            Message::RequestVote {
                term,
                last_index,
                last_term,
            } => {
                self.observe_term(now, term);
                self.vote(now, from, term, (last_term, last_index));
            }
            Message::Vote { term, granted } => {
                self.observe_term(now, term);
                self.count_vote(now, from, term, granted);
            }
            Message::Append {
                term,
                prev_index,
                prev_term,
                entries,
                commit,
                round,
            } => {
                self.observe_term(now, term);
                let result = if term == self.disk.term {
                    self.follow(now, from);
                    self.append(now, (prev_index, prev_term), entries, commit)
                } else {
                    Err(0)
                };
                let term = self.disk.term;
                let reply = Message::Appended {
                    term,
                    result,
                    round,
                };
                self.send(from, reply);
            }
            Message::Appended {
                term,
                result,
                round,
            } => {
                self.observe_term(now, term);
                if term == self.disk.term {
                    self.appended(now, from, result, round);
                }
            }
        }
    }

    /// A later term than ours has begun: whatever we were, we are followers in it.
    fn observe_term(&mut self, now: Nanos, term: Term) {
        if term > self.disk.term {
            self.step_down(now);
            self.disk.term = term;
            self.disk.voted_for = None;
        }
    }

    /// Stops leading or standing. Proposals may still be committed by others.
    fn step_down(&mut self, now: Nanos) {
        self.memory.leader = None;
        match std::mem::replace(&mut self.memory.role, Role::Follower) {
            Role::Leader(leader) => {
                self.reset_election_timer(now);
                self.abandon(leader);
            }
            Role::Candidate(_) => self.reset_election_timer(now),
            Role::Follower => {}
        }
    }

    fn follow(&mut self, now: Nanos, leader: NodeId) {
        if !matches!(self.memory.role, Role::Follower) {
            self.step_down(now);
        }
        self.memory.leader = Some(leader);
        self.reset_election_timer(now);
    }

    fn reset_election_timer(&mut self, now: Nanos) {
        self.memory.election_at = now + self.rng.random_range(ELECTION_TIMEOUT);
    }

    fn stand_for_election(&mut self, now: Nanos) {
        self.step_down(now);
        self.reset_election_timer(now);
        self.disk.term += 1;
        self.disk.voted_for = Some(self.id);
        self.memory.role = Role::Candidate(vec![false; self.nodes]);
        self.broadcast(&Message::RequestVote {
            term: self.disk.term,
            last_index: self.disk.log.last_index(),
            last_term: self.disk.log.last_term(),
        });
        self.count_vote(now, self.id, self.disk.term, true);
    }

    /// Gives the vote of this term to the first who asks and whose log is not behind ours.
    fn vote(&mut self, now: Nanos, candidate: NodeId, term: Term, theirs: (Term, Index)) {
        let ours = (self.disk.log.last_term(), self.disk.log.last_index());
        let free = self.disk.voted_for.is_none_or(|node| node == candidate);
        let granted = term == self.disk.term && free && theirs >= ours;
        if granted {
            self.disk.voted_for = Some(candidate);
            self.reset_election_timer(now);
        }
        let term = self.disk.term;
        self.send(candidate, Message::Vote { term, granted });
    }

    fn count_vote(&mut self, now: Nanos, from: NodeId, term: Term, granted: bool) {
        let majority = self.majority();
        let Role::Candidate(votes) = &mut self.memory.role else {
            return;
        };
        if granted && term == self.disk.term {
            votes[from] = true;
            if votes.iter().filter(|vote| **vote).count() >= majority {
                self.lead(now);
            }
        }
    }

    /// Takes a leader's entries. Says up to where the logs agree now, or might.
    fn append(
        &mut self,
        now: Nanos,
        (prev_index, prev_term): (Index, Term),
        entries: Vec<Entry>,
        leader_commit: Index,
    ) -> Result<Index, Index> {
        let log = &mut self.disk.log;
        match log.term_at(prev_index) {
            None => return Err(log.last_index()),
            Some(term) if term != prev_term => {
                return Err(log.first_of_term_at(prev_index) - 1);
            }
            Some(_) => {}
        }
        let mut index = prev_index;
        for entry in entries {
            index += 1;
            // Messages may be old: what agrees already stays, with all that follows it.
            match self.disk.log.term_at(index) {
                Some(term) if term == entry.term => {}
                None => self.disk.log.push(entry),
                Some(_) => {
                    self.truncate(index - 1);
                    self.disk.log.push(entry);
                }
            }
        }
        self.sync(now);
        self.memory.commit = self.memory.commit.max(leader_commit.min(index));
        self.apply();
        Ok(index)
    }

    /// Drops the log after a position. Without a bug nothing applied is ever dropped; with one it may
    /// be, and is then rolled back.
    fn truncate(&mut self, index: Index) {
        self.disk.log.truncate(index);
        self.memory.commit = self.memory.commit.min(index);
        if self.memory.applied > index {
            self.memory.applied = 0;
            self.memory.machine = Machine::new(&self.settings);
            self.apply();
        }
    }

    /// Executes what may be executed and was not yet.
    fn apply(&mut self) {
        let memory = &mut self.memory;
        let upto = match &memory.role {
            Role::Leader(_) if self.settings.has(Bug::DirtyReads) => self.disk.log.last_index(),
            _ => memory.commit,
        };
        while memory.applied < upto {
            let Some(entry) = self.disk.log.get(memory.applied + 1) else {
                break;
            };
            memory.applied += 1;
            if self.disk.skipped.contains(&memory.applied) {
                continue;
            }
            let output = memory.machine.apply(&entry.command);
            if let Role::Leader(leader) = &mut memory.role {
                leader.executed(memory.applied, output);
            }
        }
    }

    fn sync(&mut self, now: Nanos) {
        let lazy = self.settings.has(Bug::UnsyncedLog);
        self.disk.log.sync(now, lazy);
    }

    fn majority(&self) -> usize {
        self.nodes / 2 + 1
    }

    fn others(&self) -> impl Iterator<Item = NodeId> + use<> {
        let id = self.id;
        (0..self.nodes).filter(move |node| *node != id)
    }

    fn send(&mut self, to: NodeId, message: Message) {
        self.effects.push(Effect::Send(to, message));
    }

    fn broadcast(&mut self, message: &Message) {
        for node in self.others() {
            self.send(node, message.clone());
        }
    }

    /// Whether this node believes to be the leader.
    pub(crate) fn is_leader(&self) -> bool {
        matches!(self.memory.role, Role::Leader(_))
    }
}

/// What tests look at.
#[cfg(test)]
impl Replica {
    pub(crate) fn term(&self) -> Term {
        self.disk.term
    }

    /// The log up to what is committed.
    pub(crate) fn committed(&self) -> &[Entry] {
        self.disk.log.after(0, self.memory.commit)
    }

    /// The whole log.
    pub(crate) fn entries(&self) -> &[Entry] {
        self.disk.log.after(0, usize::MAX)
    }

    /// What was executed, and the state that it led to.
    pub(crate) fn executed(&self) -> (&[Entry], &Machine) {
        (
            self.disk.log.after(0, self.memory.applied),
            &self.memory.machine,
        )
    }
}
