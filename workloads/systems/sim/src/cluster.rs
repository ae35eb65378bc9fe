//! The cluster: replicas, their processes, the messages on their way, and the time.
//!
//! A discrete-event simulation. [`Cluster::advance`] brings it up to a moment by taking one event
//! after the other from a queue that is ordered by time and, at one time, by the order of
//! scheduling. It knows nothing of tasks or clocks; the module `handle` ties it to
//! them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::task::Waker;

use harness::capability::{Grudge, ProcessState, Signal};
use harness::seed::Seed;
use harness::time::Nanos;
use store::Name;

use crate::bug::Bug;
use crate::machine::{Command, Key};
use crate::message::{Answer, Message, NodeId, Refusal, RequestId};
use crate::network::Links;
use crate::replica::{Effect, Replica};
use crate::settings::{MAX_INBOX, RESENT_AFTER, RESENT_SHARE, Settings};

const REFUSED: Refusal =
    Refusal::never("connection-refused", "nothing listens on the node").said_by_nobody();
const RESET: Refusal = Refusal::unknown("connection-reset", "the node went away").said_by_nobody();

/// Something that happens at a time.
#[derive(Debug)]
enum Occurrence {
    /// A message arrives.
    Message {
        from: NodeId,
        to: NodeId,
        message: Message,
    },
    /// A client's request arrives.
    Request {
        node: NodeId,
        request: RequestId,
        command: Command,
    },
    /// An answer arrives at a client.
    Answer { request: RequestId, answer: Answer },
    /// A replica's timer rings.
    Timer { node: NodeId },
}

/// An entry of the queue.
#[derive(Debug)]
struct Scheduled {
    at: Nanos,
    sequence: u64,
    occurrence: Box<Occurrence>,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.sequence) == (other.at, other.sequence)
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

/// A replica and the process that it runs in.
#[derive(Debug)]
struct Member {
    replica: Replica,
    state: ProcessState,
    /// What arrived while the process was stopped: the sockets' buffers.
    inbox: Vec<Occurrence>,
    /// A signal that ends the process when it goes on.
    doomed: bool,
    /// When the earliest timer in the queue rings.
    timer: Nanos,
}

/// A request whose client still waits.
#[derive(Debug)]
struct Outstanding {
    node: NodeId,
    answer: Option<Answer>,
    waker: Option<Waker>,
}

/// The simulated cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    names: Vec<Name>,
    settings: Arc<Settings>,
    now: Nanos,
    queue: BinaryHeap<Reverse<Scheduled>>,
    sequence: u64,
    members: Vec<Member>,
    links: Links,
    outstanding: BTreeMap<RequestId, Outstanding>,
    last_request: RequestId,
}

impl Cluster {
    /// Fresh nodes, all started at time 0.
    pub(crate) fn new(names: &[Name], settings: Settings, seed: Seed) -> Cluster {
        let nodes = names.len();
        let links = Links::new(nodes, settings.latency, seed.named("links"));
        let settings = Arc::new(settings);
        let seeds = seed.named("replicas");
        let member = |id: NodeId| Member {
            replica: Replica::new(id, nodes, settings.clone(), seeds.child(id as u64).rng(), 0),
            state: ProcessState::Running,
            inbox: Vec::new(),
            doomed: false,
            timer: Nanos::MAX,
        };
        let mut cluster = Cluster {
            names: names.to_vec(),
            now: 0,
            settings: settings.clone(),
            queue: BinaryHeap::new(),
            sequence: 0,
            members: (0..nodes).map(member).collect(),
            links,
            outstanding: BTreeMap::new(),
            last_request: 0,
        };
        (0..nodes).for_each(|node| cluster.settle(node));
        cluster
    }

    /// When something happens next.
    pub(crate) fn next_event(&self) -> Option<Nanos> {
        self.queue.peek().map(|Reverse(next)| next.at)
    }

    /// Lets everything happen that happens up to a moment.
    pub(crate) fn advance(&mut self, to: Nanos) {
        while self.next_event().is_some_and(|at| at <= to) {
            self.step();
        }
        self.now = self.now.max(to);
    }

    /// Lets the next thing happen.
    pub(crate) fn step(&mut self) {
        if let Some(Reverse(next)) = self.queue.pop() {
            self.now = next.at;
            self.happen(*next.occurrence);
        }
    }

    fn schedule(&mut self, at: Nanos, occurrence: Occurrence) {
        self.sequence += 1;
        self.queue.push(Reverse(Scheduled {
            at,
            sequence: self.sequence,
            occurrence: Box::new(occurrence),
        }));
    }

    fn happen(&mut self, occurrence: Occurrence) {
        match occurrence {
            Occurrence::Answer { request, answer } => self.deliver_answer(request, answer),
            Occurrence::Timer { node } => {
                let member = &mut self.members[node];
                // Only the timer set last counts; a later one was set before it.
                if member.timer == self.now {
                    member.timer = Nanos::MAX;
                    if member.state == ProcessState::Running {
                        member.replica.tick(self.now);
                        self.settle(node);
                    }
                }
            }
            Occurrence::Message { from, to, .. } => {
                if !self.links.drops(from, to) {
                    self.deliver(to, occurrence);
                }
            }
            Occurrence::Request { node, .. } => self.deliver(node, occurrence),
        }
    }

    /// Gives a message or request to the process of a node.
    fn deliver(&mut self, node: NodeId, occurrence: Occurrence) {
        let member = &mut self.members[node];
        match (member.state, occurrence) {
            (ProcessState::Stopped, occurrence) if member.inbox.len() < MAX_INBOX => {
                member.inbox.push(occurrence);
            }
            (ProcessState::Stopped, _) => {}
            (ProcessState::Running, occurrence) => {
                self.handle(node, occurrence);
                self.settle(node);
            }
            (ProcessState::Absent, Occurrence::Request { request, .. }) => {
                self.answer(node, request, Err(REFUSED));
            }
            (ProcessState::Absent, _) => {}
        }
    }

    fn handle(&mut self, node: NodeId, occurrence: Occurrence) {
        let (now, replica) = (self.now, &mut self.members[node].replica);
        match occurrence {
            Occurrence::Message { from, message, .. } => replica.receive(now, from, message),
            Occurrence::Request {
                request, command, ..
            } => replica.request(now, request, command),
            Occurrence::Answer { .. } | Occurrence::Timer { .. } => {}
        }
    }

    /// Does what a replica wants done, and sets its timer.
    fn settle(&mut self, node: NodeId) {
        let effects: Vec<Effect> = self.members[node].replica.drain_effects().collect();
        for effect in effects {
            match effect {
                Effect::Send(to, message) => {
                    self.send(node, to, message);
                }
                Effect::Answer(request, answer) => self.answer(node, request, answer),
            }
        }
        let member = &mut self.members[node];
        let tick = member.replica.next_tick();
        // An earlier timer that is in the queue already will set the next one.
        if tick < member.timer {
            member.timer = tick;
            self.schedule(tick, Occurrence::Timer { node });
        }
    }

    /// Sends a message on its way.
    fn send(&mut self, from: NodeId, to: NodeId, message: Message) {
        let at = self.links.arrival(self.now, from, to);
        if self.settings.has(Bug::DuplicateApply)
            && let Message::Forward { request, .. } = &message
            && request.is_multiple_of(RESENT_SHARE)
        {
            let message = message.clone();
            self.schedule(at + RESENT_AFTER, Occurrence::Message { from, to, message });
        }
        self.schedule(at, Occurrence::Message { from, to, message });
    }

    /// Sends an answer to a client on its way.
    fn answer(&mut self, node: NodeId, request: RequestId, answer: Answer) {
        let at = self.now + self.links.client_latency(node);
        self.schedule(at, Occurrence::Answer { request, answer });
    }

    fn deliver_answer(&mut self, request: RequestId, answer: Answer) {
        // A client that hung up is not there any more; of several answers the first counts.
        let Some(outstanding) = self.outstanding.get_mut(&request) else {
            return;
        };
        outstanding.answer.get_or_insert(answer);
        if let Some(waker) = outstanding.waker.take() {
            waker.wake();
        }
    }

    /// A client sends a request to a node.
    pub(crate) fn submit(&mut self, node: NodeId, command: Command) -> RequestId {
        self.last_request += 1;
        let request = self.last_request;
        let outstanding = Outstanding {
            node,
            answer: None,
            waker: None,
        };
        self.outstanding.insert(request, outstanding);
        let at = self.now + self.links.client_latency(node);
        self.schedule(
            at,
            Occurrence::Request {
                node,
                request,
                command,
            },
        );
        request
    }

    /// Takes the answer to a request, or remembers whom to wake when it comes.
    pub(crate) fn poll_answer(&mut self, request: RequestId, waker: &Waker) -> Option<Answer> {
        let outstanding = self.outstanding.get_mut(&request)?;
        if let Some(answer) = outstanding.answer.take() {
            self.outstanding.remove(&request);
            return Some(answer);
        }
        outstanding.waker = Some(waker.clone());
        None
    }

    /// A client no longer waits. Its request goes on without it.
    pub(crate) fn hang_up(&mut self, request: RequestId) {
        self.outstanding.remove(&request);
    }

    /// Whether any client waits for an answer.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.outstanding.is_empty()
    }

    /// Sends a signal to the process of a node.
    pub(crate) fn signal(&mut self, node: NodeId, signal: Signal) -> ProcessState {
        match (signal, self.members[node].state) {
            (_, ProcessState::Absent) | (Signal::HUP | Signal::USR1 | Signal::USR2, _) => {}
            (Signal::KILL, _) => self.end(node),
            (Signal::STOP, _) => self.members[node].state = ProcessState::Stopped,
            (Signal::CONT, ProcessState::Running) => {}
            (Signal::CONT, ProcessState::Stopped) => self.resume(node),
            // It handles no other, and faults send none that would do nothing then.
            (_, ProcessState::Running) => self.end(node),
            (_, ProcessState::Stopped) => self.members[node].doomed = true,
        }
        self.members[node].state
    }

    /// The process ends, and its clients' connections are reset.
    fn end(&mut self, node: NodeId) {
        let member = &mut self.members[node];
        member.state = ProcessState::Absent;
        member.inbox.clear();
        member.doomed = false;
        let cut_off: Vec<RequestId> = (self.outstanding.iter())
            .filter(|(_, outstanding)| outstanding.node == node)
            .map(|(request, _)| *request)
            .collect();
        for request in cut_off {
            self.answer(node, request, Err(RESET));
        }
    }

    /// A stopped process goes on: it reads what is in its sockets, then looks at its timers.
    fn resume(&mut self, node: NodeId) {
        let member = &mut self.members[node];
        member.state = ProcessState::Running;
        if member.doomed {
            return self.end(node);
        }
        for occurrence in std::mem::take(&mut self.members[node].inbox) {
            self.handle(node, occurrence);
        }
        self.members[node].replica.tick(self.now);
        self.settle(node);
    }

    /// Starts the process of a node, if there is none.
    pub(crate) fn start(&mut self, node: NodeId) -> ProcessState {
        let member = &mut self.members[node];
        if member.state == ProcessState::Absent {
            member.state = ProcessState::Running;
            member.replica.restart(self.now);
            self.settle(node);
        }
        self.members[node].state
    }

    /// The state of the process of a node.
    pub(crate) fn state(&self, node: NodeId) -> ProcessState {
        self.members[node].state
    }

    /// The nodes that would say that they lead, if asked.
    pub(crate) fn primaries(&self) -> Vec<Name> {
        let leads =
            |member: &Member| member.state == ProcessState::Running && member.replica.is_leader();
        (self.names.iter().zip(&self.members))
            .filter(|(_, member)| leads(member))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// What a node that runs has in a register itself.
    pub(crate) fn local_value(&self, node: NodeId, key: Key) -> Option<i64> {
        let member = &self.members[node];
        match member.state {
            ProcessState::Running => member.replica.machine().value(key),
            ProcessState::Stopped | ProcessState::Absent => None,
        }
    }

    /// The number of the node with a name.
    pub(crate) fn node(&self, name: &str) -> Option<NodeId> {
        self.names.iter().position(|node| &**node == name)
    }

    /// Replaces all cuts.
    pub(crate) fn cut(&mut self, grudge: &Grudge) {
        self.links.cut(&self.names, grudge);
    }

    /// Removes all cuts, and says what they dropped.
    pub(crate) fn heal(&mut self) -> BTreeMap<Name, u64> {
        let dropped = self.links.heal();
        self.names.iter().cloned().zip(dropped).collect()
    }

    /// What cuts dropped since the last heal.
    pub(crate) fn dropped(&self) -> BTreeMap<Name, u64> {
        let dropped = self.links.dropped().iter().copied();
        self.names.iter().cloned().zip(dropped).collect()
    }
}

/// What tests look at.
#[cfg(test)]
impl Cluster {
    pub(crate) fn now(&self) -> Nanos {
        self.now
    }

    pub(crate) fn replicas(&self) -> impl Iterator<Item = &Replica> {
        self.members.iter().map(|member| &member.replica)
    }
}
