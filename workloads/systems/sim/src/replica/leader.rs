//! What a leader does: replicate, count, commit, and answer.

use std::collections::BTreeMap;

use harness::time::Nanos;

use super::{Replica, Role};
use crate::bug::Bug;
use crate::machine::{Command, Output};
use crate::message::{Entry, Index, Message, NodeId, Refusal, RequestId};
use crate::settings::{ELECTION_TIMEOUT, HEARTBEAT, MAX_BATCH, MAX_LOG};

const NOT_LEADER: Refusal = Refusal::never("not-leader", "the node asked is not the leader");
const DEPOSED_READ: Refusal = Refusal::never("leader-lost", "deposed before the read was served");
const DEPOSED_WRITE: Refusal = Refusal::unknown(
    "leader-lost",
    "deposed before the entry was known to be committed",
);
const LOG_FULL: Refusal = Refusal::never("log-full", "the log holds as many entries as it may");

/// The state of a leader.
#[derive(Debug)]
pub(super) struct Leader {
    /// By node: the next entry to send. Ahead of what is acknowledged, since sending is pipelined.
    next: Vec<Index>,
    /// By node: up to where its log is known to agree.
    matched: Vec<Index>,
    /// Rounds of messages sent so far.
    round: u64,
    /// By node: the latest round that it echoed.
    echoed: Vec<u64>,
    /// By node: when it was last heard.
    heard: Vec<Nanos>,
    pub(super) next_heartbeat: Nanos,
    /// The no-op of this term. Once it is committed, so is everything that ever was.
    first: Index,
    proposals: BTreeMap<Index, Proposal>,
    reads: Vec<PendingRead>,
}

/// An entry that someone waits for.
#[derive(Debug)]
struct Proposal {
    origin: NodeId,
    request: RequestId,
    /// Its output, once it is executed.
    output: Option<Output>,
}

/// A read that waits for its round to be echoed by a majority, and for what was committed when it
/// came to be executed.
#[derive(Debug)]
struct PendingRead {
    origin: NodeId,
    request: RequestId,
    command: Command,
    round: u64,
    index: Index,
}

impl Leader {
    /// Notes the output of an entry.
    pub(super) fn executed(&mut self, index: Index, output: Output) {
        if let Some(proposal) = self.proposals.get_mut(&index) {
            proposal.output = Some(output);
        }
    }
}

impl Replica {
    /// Begins to lead.
    pub(super) fn lead(&mut self, now: Nanos) {
        let last = self.disk.log.last_index();
        self.memory.leader = Some(self.id);
        self.memory.role = Role::Leader(Leader {
            next: vec![last + 1; self.nodes],
            matched: vec![0; self.nodes],
            round: 0,
            echoed: vec![0; self.nodes],
            heard: vec![now; self.nodes],
            next_heartbeat: now + HEARTBEAT,
            first: last + 1,
            proposals: BTreeMap::new(),
            reads: Vec::new(),
        });
        self.propose(now, 0, Command::Noop);
    }

    /// Executes a request, if this node leads.
    pub(super) fn serve(
        &mut self,
        now: Nanos,
        origin: NodeId,
        request: RequestId,
        mut command: Command,
    ) {
        let full = self.disk.log.last_index() >= MAX_LOG;
        let Role::Leader(leader) = &mut self.memory.role else {
            return self.respond(origin, request, Err(NOT_LEADER));
        };
        if !command.is_read() {
            if full {
                return self.respond(origin, request, Err(LOG_FULL));
            }
            if self.settings.has(Bug::EarlyCheck) {
                command = match self.memory.machine.check_early(command) {
                    Ok(command) => command,
                    Err(refused) => return self.respond(origin, request, Ok(refused)),
                };
            }
            let index = self.disk.log.last_index() + 1;
            let proposal = Proposal {
                origin,
                request,
                output: None,
            };
            leader.proposals.insert(index, proposal);
            return self.propose(now, request, command);
        }
        // A round that begins now proves that nobody else led before the read came.
        let trusting = self.settings.trusts_itself();
        leader.reads.push(PendingRead {
            origin,
            request,
            command,
            round: if trusting { 0 } else { leader.round + 1 },
            index: self.memory.commit.max(leader.first),
        });
        if !trusting {
            self.replicate();
        }
        self.progress();
    }

    fn propose(&mut self, now: Nanos, request: RequestId, command: Command) {
        let term = self.disk.term;
        self.disk.log.push(Entry {
            term,
            request,
            command,
        });
        self.sync(now);
        // Asynchronous replication waits for the next heartbeat.
        if !self.settings.has(Bug::LostWrites) {
            self.replicate();
        }
        self.progress();
    }

    pub(super) fn heartbeat(&mut self, now: Nanos) {
        let Role::Leader(leader) = &mut self.memory.role else {
            return;
        };
        leader.next_heartbeat = now + HEARTBEAT;
        let id = self.id;
        let silent = |node: NodeId| node != id && now > leader.heard[node] + ELECTION_TIMEOUT.end;
        let reachable = (0..self.nodes).filter(|node| !silent(*node)).count();
        if reachable < self.majority() && !self.settings.trusts_itself() {
            self.step_down(now);
        } else {
            self.replicate();
        }
    }

    /// Begins a round: sends each follower what it does not have, or a heartbeat.
    fn replicate(&mut self) {
        if let Role::Leader(leader) = &mut self.memory.role {
            leader.round += 1;
        }
        for node in self.others() {
            self.send_entries(node);
        }
    }

    fn send_entries(&mut self, to: NodeId) {
        let Role::Leader(leader) = &mut self.memory.role else {
            return;
        };
        let prev_index = leader.next[to] - 1;
        let entries = self.disk.log.after(prev_index, MAX_BATCH).to_vec();
        leader.next[to] += entries.len();
        let message = Message::Append {
            term: self.disk.term,
            prev_index,
            prev_term: self.disk.log.term_at(prev_index).unwrap_or(0),
            entries,
            commit: self.memory.commit,
            round: leader.round,
        };
        self.send(to, message);
    }

    /// A follower answered in our term.
    pub(super) fn appended(
        &mut self,
        now: Nanos,
        from: NodeId,
        result: Result<Index, Index>,
        round: u64,
    ) {
        let last = self.disk.log.last_index();
        let Role::Leader(leader) = &mut self.memory.role else {
            return;
        };
        leader.heard[from] = now;
        leader.echoed[from] = leader.echoed[from].max(round);
        match result {
            Ok(index) => {
                leader.matched[from] = leader.matched[from].max(index);
                leader.next[from] = leader.next[from].max(index + 1);
            }
            // Something on the way was lost; what is known to agree still does.
            Err(index) => leader.next[from] = index.max(leader.matched[from]) + 1,
        }
        if leader.next[from] <= last {
            self.send_entries(from);
        }
        self.progress();
    }

    /// Commits what a majority has, executes it, and answers whoever waited for it.
    fn progress(&mut self) {
        self.advance_commit();
        self.apply();
        self.answer_proposals();
        self.answer_reads();
    }

    fn advance_commit(&mut self) {
        let last = self.disk.log.last_index();
        let copies = match self.settings.has(Bug::LostWrites) {
            true => 1,
            false => self.majority(),
        };
        let Role::Leader(leader) = &mut self.memory.role else {
            return;
        };
        leader.matched[self.id] = last;
        let index = kth_largest(&leader.matched, copies);
        // Only entries of the own term are committed by counting (figure 8 of the paper).
        if index > self.memory.commit && self.disk.log.term_at(index) == Some(self.disk.term) {
            self.memory.commit = index;
        }
    }

    fn answer_proposals(&mut self) {
        let commit = self.memory.commit;
        let Role::Leader(leader) = &mut self.memory.role else {
            return;
        };
        let waiting = leader.proposals.split_off(&(commit + 1));
        let committed = std::mem::replace(&mut leader.proposals, waiting);
        for proposal in committed.into_values() {
            if let Some(output) = proposal.output {
                self.respond(proposal.origin, proposal.request, Ok(output));
            }
        }
    }

    fn answer_reads(&mut self) {
        let majority = self.majority();
        let (commit, applied) = (self.memory.commit, self.memory.applied);
        let Role::Leader(leader) = &mut self.memory.role else {
            return;
        };
        leader.echoed[self.id] = leader.round;
        let proven = kth_largest(&leader.echoed, majority);
        let ready = |read: &mut PendingRead| {
            read.round <= proven && read.index <= commit && read.index <= applied
        };
        let reads: Vec<PendingRead> = leader.reads.extract_if(.., ready).collect();
        for read in reads {
            let output = self.memory.machine.apply(&read.command);
            self.respond(read.origin, read.request, Ok(output));
        }
    }

    /// Tells those who wait that this node leads no more.
    pub(super) fn abandon(&mut self, leader: Leader) {
        for proposal in leader.proposals.into_values() {
            self.respond(proposal.origin, proposal.request, Err(DEPOSED_WRITE));
        }
        for read in leader.reads {
            self.respond(read.origin, read.request, Err(DEPOSED_READ));
        }
    }
}

/// The k-th largest of some numbers, from 1: what at least k of them have reached.
fn kth_largest<T: Copy + Ord>(numbers: &[T], k: usize) -> T {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    sorted[k - 1]
}
