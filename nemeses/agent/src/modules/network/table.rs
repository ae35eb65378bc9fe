//! Our table in the firewall: made, changed, counted and deleted through nf_tables' own messages.
//!
//! ```text
//! table inet gainsay {
//!     counter partition_0 { }
//!     chain partition_0 { counter name "partition_0" drop }
//!     chain input { type filter hook input priority -10; meta mark 0x… accept; ip saddr 10.0.0.2 jump partition_0 }
//! }
//! ```
//!
//! Packets are met as they come in (those to clients as they go out), before other filters see them, so that connections that are
//! open already are struck too. Each change is one transaction. The chains that packets come to stay as long as any layer is
//! there: the kernel drops all packets that are held in queues when such a chain goes away, whoever's it is. The format of the
//! messages is that of the kernel's `linux/netfilter/nf_tables.h`.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use super::netlink::{Socket, Writer};
use super::shaper::Queue;
use super::{Counts, MARK, Protocol, Rule, RuleSet, Treatment, Way};

const SUBSYSTEM: u16 = (libc::NFNL_SUBSYS_NFTABLES as u16) << 8;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = SUBSYSTEM;
const GET_TABLE: u16 = SUBSYSTEM | 1;
const DELETE_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const DELETE_CHAIN: u16 = SUBSYSTEM | 5;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const GET_RULE: u16 = SUBSYSTEM | 7;
const DELETE_RULE: u16 = SUBSYSTEM | 8;
const NEW_OBJECT: u16 = SUBSYSTEM | 18;
const GET_OBJECT: u16 = SUBSYSTEM | 19;
const DELETE_OBJECT: u16 = SUBSYSTEM | 20;

const CREATE: u16 = libc::NLM_F_CREATE as u16;
const APPEND: u16 = libc::NLM_F_APPEND as u16;
const ACK: u16 = libc::NLM_F_ACK as u16;
const DUMP: u16 = libc::NLM_F_DUMP as u16;

/// The attribute that has the table's name, in messages of all kinds.
const TABLE: u16 = 1;
/// Our table, and another for trying things out.
const NAME: &str = "gainsay";
const PROBE: &str = "gainsay_probe";
/// Where its chains come in the order of those that packets come to: before filters.
const PRIORITY: i32 = -10;
const INET: u8 = libc::NFPROTO_INET as u8;

const TCP: u8 = libc::IPPROTO_TCP as u8;
const UDP: u8 = libc::IPPROTO_UDP as u8;
const ICMP: u8 = libc::IPPROTO_ICMP as u8;
const ICMPV6: u8 = libc::IPPROTO_ICMPV6 as u8;

/// How packets come to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queueing {
    /// By nf_tables' own word.
    Native,
    /// By the target of iptables, which nf_tables can call where the kernel has no such word.
    Target,
}

/// The way to our table, and what is in it.
pub(super) struct Firewall {
    kernel: Socket,
    layers: BTreeMap<String, Layer>,
}

/// The rules of a layer.
pub(super) struct Layer {
    name: String,
    rules: Vec<Rule>,
    /// By rule, the queue that it has.
    queues: Vec<Option<u16>>,
    queueing: Queueing,
    /// Whether they are in force just now.
    on: bool,
}

impl Firewall {
    pub(super) fn new() -> io::Result<Firewall> {
        Ok(Firewall {
            kernel: Socket::new()?,
            layers: BTreeMap::new(),
        })
    }

    /// Puts a layer there, instead of the one of its name.
    pub(super) fn set(&mut self, layer: Layer) -> io::Result<()> {
        let name = layer.name.clone();
        let before = self.layers.insert(name.clone(), layer);
        let mut done = self.change(&name, before.as_ref());
        if missing(&done) {
            // Somebody else deleted the table. All that belongs there is put there.
            done = self.renew();
        }
        if done.is_err() {
            match before {
                Some(before) => self.layers.insert(name, before),
                None => self.layers.remove(&name),
            };
        }
        done
    }

    /// Replaces what was there under a name by what is now.
    fn change(&mut self, name: &str, before: Option<&Layer>) -> io::Result<()> {
        if self.layers.len() == 1 && before.is_none() {
            return self.renew();
        }
        let mut batch = Batch::new(&mut self.kernel, NAME);
        hooks(&self.layers, &mut batch);
        if let Some(before) = before {
            before.delete(&mut batch);
        }
        if let Some(layer) = self.layers.get(name) {
            layer.make(&mut batch);
        }
        jumps(&self.layers, &mut batch);
        batch.commit()
    }

    /// Makes the table anew, with all layers.
    fn renew(&mut self) -> io::Result<()> {
        let mut batch = Batch::new(&mut self.kernel, NAME);
        batch.table(NEW_TABLE);
        batch.table(DELETE_TABLE);
        batch.table(NEW_TABLE);
        hooks(&self.layers, &mut batch);
        self.layers
            .values()
            .for_each(|layer| layer.make(&mut batch));
        jumps(&self.layers, &mut batch);
        batch.commit()
    }

    /// Puts a layer's rules into force or out of it, and leaves the counters.
    pub(super) fn switch(&mut self, name: &str, on: bool) -> io::Result<()> {
        if let Some(layer) = self.layers.get_mut(name) {
            layer.on = on;
        }
        let mut batch = Batch::new(&mut self.kernel, NAME);
        hooks(&self.layers, &mut batch);
        jumps(&self.layers, &mut batch);
        batch.commit()
    }

    /// Deletes a layer, if it is there, and with the last one the table, and sees that it is gone.
    pub(super) fn delete(&mut self, name: &str) -> io::Result<()> {
        let before = self.layers.remove(name);
        if self.layers.is_empty() {
            return delete(&mut self.kernel);
        }
        let done = self.change(name, before.as_ref());
        match missing(&done) {
            true => delete(&mut self.kernel),
            false => done,
        }
    }

    /// How many rules the table should have, and how many the kernel says that it has.
    pub(super) fn rules(&mut self) -> io::Result<(usize, usize)> {
        let mut told = 0;
        // The kernel may tell of other tables too.
        ask(&mut self.kernel, (GET_RULE, DUMP), NAME, |message| {
            let ours = message.attributes.text(TABLE) == Some(NAME);
            told += usize::from(message.kind == NEW_RULE && ours);
        })?;
        let expected = self.layers.values().map(Layer::count).sum::<usize>();
        Ok((expected + WAYS.len(), told))
    }

    /// What the rules of a layer counted; none if they are gone.
    pub(super) fn counts(&mut self, name: &str) -> io::Result<Option<Vec<Counts>>> {
        let Some(layer) = self.layers.get(name) else {
            return Ok(None);
        };
        let mut counts = vec![Counts::default(); layer.rules.len()];
        let mut found = layer.rules.is_empty();
        ask(&mut self.kernel, (GET_OBJECT, DUMP), NAME, |message| {
            let told = message.attributes;
            let (Some(counter), Some(data)) = (told.text(2), told.nested(4)) else {
                return;
            };
            let number = counter.rsplit_once('_').filter(|(layer, _)| *layer == name);
            let number = number.and_then(|(_, number)| number.parse().ok());
            let rule = number.and_then(|number: usize| counts.get_mut(number));
            if let (Some(counts), true) = (rule, told.text(TABLE) == Some(NAME)) {
                counts.matched = data.number(2).unwrap_or_default();
                found = true;
            }
        })?;
        Ok(found.then_some(counts))
    }

    /// Makes a table that does nothing, with all words that are needed, and deletes it again in the same transaction.
    pub(super) fn try_out(&mut self, queueing: Option<Queueing>) -> io::Result<()> {
        let mut batch = Batch::new(&mut self.kernel, PROBE);
        batch.table(NEW_TABLE);
        batch.counter(PROBE);
        batch.chain(PROBE, None);
        for way in WAYS {
            let (chain, hook) = hook(way);
            batch.chain(chain, Some(hook));
        }
        let mut words = vec![Word::Protocol(TCP), Word::Counter(PROBE.to_owned())];
        words.push(match queueing {
            // No packet comes here.
            Some(queueing) => Word::Queue(queueing, u16::MAX),
            None => Word::Reject(TCP_RESET),
        });
        batch.rule(PROBE, &words);
        batch.table(DELETE_TABLE);
        batch.commit()
    }
}

const WAYS: [Way; 2] = [Way::In, Way::Out];

/// Whether something was not done because what it is about is not there.
fn missing(done: &io::Result<()>) -> bool {
    let error = done.as_ref().err().and_then(io::Error::raw_os_error);
    error == Some(libc::ENOENT)
}

/// The chains that packets come to, emptied.
fn hooks(layers: &BTreeMap<String, Layer>, batch: &mut Batch<'_>) {
    if layers.is_empty() {
        return;
    }
    for way in WAYS {
        let (chain, hook) = hook(way);
        batch.chain(chain, Some(hook));
        batch.flush(chain);
        batch.rule(chain, &[Word::Mark, Word::Verdict(ACCEPT)]);
    }
}

/// From there to what is decided of each peer. What drops comes before what holds: no packet is held that is to be dropped.
fn jumps(layers: &BTreeMap<String, Layer>, batch: &mut Batch<'_>) {
    let holds = |layer: &&Layer| layer.queues.iter().any(Option::is_some);
    let (held, dropped): (Vec<&Layer>, Vec<&Layer>) = layers.values().partition(holds);
    for layer in dropped.into_iter().chain(held).filter(|layer| layer.on) {
        layer.jumps(batch);
    }
}

/// Deletes the table, if it is there, and sees that it is gone.
fn delete(kernel: &mut Socket) -> io::Result<()> {
    let mut batch = Batch::new(kernel, NAME);
    batch.table(DELETE_TABLE);
    let deleted = batch.commit();
    if !missing(&deleted) {
        deleted?;
    }
    let seen = ask(kernel, (GET_TABLE, ACK), NAME, |_| {});
    match missing(&seen) {
        true => Ok(()),
        false => seen.and(Err(io::Error::other(format!(
            "table {NAME} is still there"
        )))),
    }
}

impl Layer {
    pub(super) fn new(set: &RuleSet, queues: &[Queue], queueing: Queueing) -> Layer {
        let queue = |rule| queues.iter().find(|it| it.rule == rule);
        let numbers = (0..set.rules.len()).map(|rule| queue(rule).map(|it| it.number));
        Layer {
            name: set.layer.clone(),
            queues: numbers.collect(),
            rules: set.rules.clone(),
            queueing,
            on: true,
        }
    }

    /// The chain and the counter of a rule.
    fn chain(&self, rule: usize) -> String {
        format!("{}_{rule}", self.name)
    }

    fn make(&self, batch: &mut Batch<'_>) {
        for rule in 0..self.rules.len() {
            let chain = self.chain(rule);
            batch.counter(&chain);
            batch.chain(&chain, None);
            for words in self.decided(rule) {
                batch.rule(&chain, &words);
            }
        }
    }

    fn delete(&self, batch: &mut Batch<'_>) {
        for rule in 0..self.rules.len() {
            let chain = self.chain(rule);
            batch.flush(&chain);
            batch.message(DELETE_CHAIN, 0, |it| it.text(3, &chain));
            batch.message(DELETE_OBJECT, 0, |it| {
                it.text(2, &chain);
                it.u32(3, 1);
            });
        }
    }

    /// How many rules it has.
    fn count(&self) -> usize {
        let peers = self.rules.iter().map(|rule| rule.peer.len()).sum::<usize>();
        let decided = (0..self.rules.len()).map(|rule| self.decided(rule).len());
        decided.sum::<usize>() + if self.on { peers } else { 0 }
    }

    fn jumps(&self, batch: &mut Batch<'_>) {
        for (number, rule) in self.rules.iter().enumerate() {
            for peer in &rule.peer {
                let jump = Word::Jump(self.chain(number));
                batch.rule(hook(rule.way).0, &[Word::Peer(rule.way, *peer), jump]);
            }
        }
    }

    /// What is decided of one peer's packets: rules, as lists of words.
    fn decided(&self, number: usize) -> Vec<Vec<Word>> {
        let rule = &self.rules[number];
        let mut rules = Vec::new();
        if let Some(port) = rule.spare {
            let side = match rule.way {
                Way::In => DESTINATION,
                Way::Out => SOURCE,
            };
            let words = vec![Word::Protocol(TCP), Word::Port(side, port)];
            rules.push(finished(words, [Word::Verdict(RETURN)]));
        }
        if rule.treatment == Treatment::Reject {
            // What says that something was rejected goes through: it is how the other end knows.
            let word = Word::Verdict(RETURN);
            rules.push(vec![Word::Protocol(TCP), Word::Reset, word.clone()]);
            for (protocol, kind) in [(ICMP, 3), (ICMPV6, 1)] {
                let kind = Word::Icmp(kind);
                rules.push(vec![Word::Protocol(protocol), kind, word.clone()]);
            }
        }
        let counter = Word::Counter(self.chain(number));
        for traffic in alternatives(rule) {
            match (&rule.treatment, self.queues[number]) {
                (Treatment::Drop, _) => {
                    rules.push(finished(traffic, [counter.clone(), Word::Verdict(DROP)]));
                }
                (Treatment::Reject, _) => {
                    let of_tcp = traffic.iter().find_map(|word| match word {
                        Word::Protocol(protocol) => Some(*protocol == TCP),
                        _ => None,
                    });
                    if of_tcp != Some(false) {
                        let tcp = of_tcp.is_none().then_some(Word::Protocol(TCP));
                        let words = traffic.iter().cloned().chain(tcp).collect();
                        rules.push(finished(words, [counter.clone(), Word::Reject(TCP_RESET)]));
                    }
                    if of_tcp != Some(true) {
                        let unreachable = Word::Reject(PORT_UNREACHABLE);
                        rules.push(finished(traffic, [counter.clone(), unreachable]));
                    }
                }
                (Treatment::Jam | Treatment::Quality(_), Some(queue)) => {
                    let queue = Word::Queue(self.queueing, queue);
                    rules.push(finished(traffic, [counter.clone(), queue]));
                }
                // Without a queue it could only pass.
                (Treatment::Jam | Treatment::Quality(_), None) => {}
            }
        }
        rules
    }
}

/// The chain of a hook, the hook's number, and the chain's place there.
fn hook(way: Way) -> (&'static str, (u32, i32)) {
    match way {
        Way::In => ("input", (1, PRIORITY)),
        Way::Out => ("output", (3, PRIORITY)),
    }
}

/// Which packets are meant: lists of words, one of which has to fit.
fn alternatives(rule: &Rule) -> Vec<Vec<Word>> {
    let protocols: &[u8] = match (rule.traffic.protocol, rule.traffic.ports.is_empty()) {
        (None, true) => return vec![Vec::new()],
        (None, false) => &[TCP, UDP],
        (Some(Protocol::Tcp), _) => &[TCP],
        (Some(Protocol::Udp), _) => &[UDP],
        (Some(Protocol::Icmp), _) => &[ICMP, ICMPV6],
    };
    let ports = &rule.traffic.ports;
    let sides = ports
        .iter()
        .flat_map(|port| [Word::Port(SOURCE, *port), Word::Port(DESTINATION, *port)]);
    let sides: Vec<Word> = sides.collect();
    let with = |protocol: u8| match sides.is_empty() {
        true => vec![vec![Word::Protocol(protocol)]],
        false => sides
            .iter()
            .map(|side| vec![Word::Protocol(protocol), side.clone()])
            .collect(),
    };
    protocols.iter().flat_map(|it| with(*it)).collect()
}

fn finished<const N: usize>(mut words: Vec<Word>, end: [Word; N]) -> Vec<Word> {
    words.extend(end);
    words
}

const ACCEPT: i32 = libc::NF_ACCEPT;
const DROP: i32 = libc::NF_DROP;
const JUMP: i32 = -3;
const RETURN: i32 = -5;

/// Where a port is in the header of TCP and UDP.
const SOURCE: u32 = 0;
const DESTINATION: u32 = 2;

/// Kinds of rejections: the kind, and the code.
const TCP_RESET: (u32, u8) = (1, 0);
const PORT_UNREACHABLE: (u32, u8) = (2, 1);

/// A part of a rule.
#[derive(Clone, Debug)]
enum Word {
    /// The packet is a copy of ours.
    Mark,
    /// The packet is of a peer.
    Peer(Way, IpAddr),
    Protocol(u8),
    /// The port at a place of the header.
    Port(u32, u16),
    /// It is a TCP reset.
    Reset,
    /// It is ICMP of a kind.
    Icmp(u8),
    Counter(String),
    Verdict(i32),
    Jump(String),
    Reject((u32, u8)),
    Queue(Queueing, u16),
}

const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;
const META_MARK: u32 = 3;
const META_FAMILY: u32 = 15;
const META_PROTOCOL: u32 = 16;
const EQUAL: u32 = 0;
const DIFFERENT: u32 = 1;

impl Word {
    fn write(&self, it: &mut Writer) {
        match self {
            Word::Mark => {
                meta(it, META_MARK);
                compare(it, EQUAL, &MARK.to_ne_bytes());
            }
            Word::Peer(way, address) => {
                let (family, bytes, source) = match address {
                    IpAddr::V4(four) => (libc::NFPROTO_IPV4, four.octets().to_vec(), 12),
                    IpAddr::V6(six) => (libc::NFPROTO_IPV6, six.octets().to_vec(), 8),
                };
                let length = bytes.len() as u32;
                let place = match way {
                    Way::In => source,
                    Way::Out => source + length,
                };
                meta(it, META_FAMILY);
                compare(it, EQUAL, &[family as u8]);
                payload(it, NETWORK, place, length);
                compare(it, EQUAL, &bytes);
            }
            Word::Protocol(protocol) => {
                meta(it, META_PROTOCOL);
                compare(it, EQUAL, &[*protocol]);
            }
            Word::Port(place, port) => {
                payload(it, TRANSPORT, *place, 2);
                compare(it, EQUAL, &port.to_be_bytes());
            }
            Word::Reset => {
                payload(it, TRANSPORT, 13, 1);
                expression(it, "bitwise", |it| {
                    it.u32(1, 1);
                    it.u32(2, 1);
                    it.u32(3, 1);
                    it.nest(4, |it| it.attribute(1, &[4]));
                    it.nest(5, |it| it.attribute(1, &[0]));
                });
                compare(it, DIFFERENT, &[0]);
            }
            Word::Icmp(kind) => {
                payload(it, TRANSPORT, 0, 1);
                compare(it, EQUAL, &[*kind]);
            }
            Word::Counter(name) => expression(it, "objref", |it| {
                it.u32(1, 1);
                it.text(2, name);
            }),
            Word::Verdict(verdict) => immediate(it, |it| it.u32(1, *verdict as u32)),
            Word::Jump(chain) => immediate(it, |it| {
                it.u32(1, JUMP as u32);
                it.text(2, chain);
            }),
            Word::Reject((kind, code)) => expression(it, "reject", |it| {
                it.u32(1, *kind);
                it.attribute(2, &[*code]);
            }),
            Word::Queue(Queueing::Native, number) => expression(it, "queue", |it| {
                it.u16(1, *number);
                it.u16(2, 1);
                // Packets pass if nobody listens.
                it.u16(3, 1);
            }),
            Word::Queue(Queueing::Target, number) => expression(it, "target", |it| {
                it.text(1, "NFQUEUE");
                it.u32(2, 2);
                // The number, how many queues, and that packets pass if nobody listens; made up to eight bytes.
                let words = [*number, 1, 1, 0];
                let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
                it.attribute(3, &bytes);
            }),
        }
    }
}

fn expression(it: &mut Writer, name: &str, data: impl FnOnce(&mut Writer)) {
    it.nest(1, |it| {
        it.text(1, name);
        it.nest(2, data);
    });
}

/// Loads something that the kernel knows of a packet.
fn meta(it: &mut Writer, key: u32) {
    expression(it, "meta", |it| {
        it.u32(1, 1);
        it.u32(2, key);
    });
}

/// Loads bytes of a packet.
fn payload(it: &mut Writer, header: u32, place: u32, length: u32) {
    expression(it, "payload", |it| {
        it.u32(1, 1);
        it.u32(2, header);
        it.u32(3, place);
        it.u32(4, length);
    });
}

fn compare(it: &mut Writer, how: u32, bytes: &[u8]) {
    expression(it, "cmp", |it| {
        it.u32(1, 1);
        it.u32(2, how);
        it.nest(3, |it| it.attribute(1, bytes));
    });
}

fn immediate(it: &mut Writer, verdict: impl FnOnce(&mut Writer)) {
    expression(it, "immediate", |it| {
        it.u32(1, 0);
        it.nest(2, |it| it.nest(2, verdict));
    });
}

/// Asks for something of a table.
fn ask(
    kernel: &mut Socket,
    (kind, flags): (u16, u16),
    table: &str,
    hear: impl FnMut(&super::netlink::Message<'_>),
) -> io::Result<()> {
    let number = kernel.number();
    let mut writer = Writer::default();
    writer.message((kind, flags, number), (INET, 0), |it| it.text(TABLE, table));
    kernel.ask(writer.bytes(), (number, number), hear)
}

/// A transaction: all of it is done, or nothing.
struct Batch<'a> {
    kernel: &'a mut Socket,
    table: &'a str,
    writer: Writer,
    first: u32,
    /// The last message: where it begins, and its number.
    last: (usize, u32),
}

impl<'a> Batch<'a> {
    fn new(kernel: &'a mut Socket, table: &'a str) -> Batch<'a> {
        let mut batch = Batch {
            kernel,
            table,
            writer: Writer::default(),
            first: 0,
            last: (0, 0),
        };
        batch.first = batch.kernel.number() + 1;
        batch.edge(BATCH_BEGIN);
        batch
    }

    fn edge(&mut self, kind: u16) {
        let (number, about) = (self.kernel.number(), libc::NFNL_SUBSYS_NFTABLES as u16);
        self.writer
            .message((kind, 0, number), (libc::AF_UNSPEC as u8, about), |_| {});
    }

    fn message(&mut self, kind: u16, flags: u16, attributes: impl FnOnce(&mut Writer)) {
        self.last = (self.writer.bytes().len(), self.kernel.number());
        let table = self.table;
        self.writer
            .message((kind, flags, self.last.1), (INET, 0), |it| {
                it.text(TABLE, table);
                attributes(it);
            });
    }

    fn table(&mut self, kind: u16) {
        let flags = if kind == NEW_TABLE { CREATE } else { 0 };
        self.message(kind, flags, |_| {});
    }

    fn counter(&mut self, name: &str) {
        self.message(NEW_OBJECT, CREATE, |it| {
            it.text(2, name);
            it.u32(3, 1);
            it.nest(4, |_| {});
        });
    }

    /// A chain; with the number of a hook and the place in its order, one that packets come to.
    fn chain(&mut self, name: &str, hook: Option<(u32, i32)>) {
        self.message(NEW_CHAIN, CREATE, |it| {
            it.text(3, name);
            if let Some((hook, priority)) = hook {
                it.nest(4, |it| {
                    it.u32(1, hook);
                    it.u32(2, priority as u32);
                });
                it.u32(5, ACCEPT as u32);
                it.text(7, "filter");
            }
        });
    }

    fn flush(&mut self, chain: &str) {
        self.message(DELETE_RULE, 0, |it| it.text(2, chain));
    }

    fn rule(&mut self, chain: &str, words: &[Word]) {
        self.message(NEW_RULE, CREATE | APPEND, |it| {
            it.text(2, chain);
            it.nest(4, |it| words.iter().for_each(|word| word.write(it)));
        });
    }

    fn commit(mut self) -> io::Result<()> {
        let (place, number) = self.last;
        self.writer.set_flags(place, ACK);
        self.edge(BATCH_END);
        self.kernel
            .ask(self.writer.bytes(), (self.first, number), |_| {})
    }
}
