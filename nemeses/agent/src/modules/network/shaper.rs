//! Packets that are held back: a thread that has them from the kernel's queues, and lets them go when their time has come.
//!
//! Packets stay in the kernel. Only their numbers come here (and their bytes, where a bit is to be flipped or a copy sent), and verdicts
//! go back. Large packets that the kernel makes of many are taken apart first, so that losses and
//! delays are of packets as they are on a wire. The messages are those of the kernel's
//! `linux/netfilter/nfnetlink_queue.h`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::EventFd;
use nix::sys::time::TimeSpec;

use super::copies::{self, Copies};
use super::netlink::{LONGEST, Message, Said, Socket, Writer, ended, said};
use super::quality::Line;
use super::{Counts, Quality, RuleSet, Treatment};

const SUBSYSTEM: u16 = (libc::NFNL_SUBSYS_QUEUE as u16) << 8;
const PACKET: u16 = SUBSYSTEM;
const VERDICT: u16 = SUBSYSTEM | 1;
const CONFIG: u16 = SUBSYSTEM | 2;
const BIND: u8 = 1;
const UNBIND: u8 = 2;
/// How much of a packet comes here.
const NO_BYTES: (u32, u8) = (0, 1);
const SOME_BYTES: (u32, u8) = (64, 2);
const ALL_BYTES: (u32, u8) = (0xffff, 2);

/// The first queue that is tried. Those that are somebody else's are left out.
const FIRST_QUEUE: u16 = 0x6761;
const QUEUES: u16 = 4096;
/// How many packets a queue holds; more are lost, as on any full link.
const ROOM: u32 = 20_000;
/// The same where the rate is limited: netem's default.
const ROOM_AT_RATE: u32 = 1000;
/// How long the queues are read before one is given up.
const DRAINING: Duration = Duration::from_millis(20);
/// How many packets are taken before those that are due are looked at again.
const AT_ONCE: usize = 64;

/// A queue of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Queue {
    pub(super) number: u16,
    pub(super) rule: usize,
}

type Task = Box<dyn FnOnce(&mut Worker) + Send>;

/// The thread, as the module has it.
pub(super) struct Shaper {
    handle: Handle,
    thread: JoinHandle<()>,
}

/// A way to have the thread do something.
#[derive(Clone)]
pub(super) struct Handle {
    tasks: Sender<Task>,
    wake: Arc<EventFd>,
}

impl Shaper {
    pub(super) fn start() -> io::Result<Shaper> {
        let wake = Arc::new(EventFd::new()?);
        let socket = Socket::new()?;
        socket.forgive_overruns()?;
        let (tasks, queue) = channel();
        let woken = Arc::clone(&wake);
        let thread = thread::Builder::new()
            .name("shaper".to_owned())
            .spawn(move || Worker::new(socket).run(&queue, &woken))?;
        let handle = Handle { tasks, wake };
        Ok(Shaper { handle, thread })
    }

    pub(super) fn lives(&self) -> bool {
        !self.thread.is_finished()
    }

    pub(super) fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Opens a queue for each rule that needs one: all, or none.
    pub(super) fn open(&self, set: &RuleSet) -> io::Result<Vec<Queue>> {
        let needs = set.rules.iter().map(|rule| match &rule.treatment {
            Treatment::Jam => Some(None),
            Treatment::Quality(quality) => Some(Some(quality.clone())),
            Treatment::Drop | Treatment::Reject => None,
        });
        let needs: Vec<_> = needs.collect();
        let seed = set.seed;
        self.handle.run(move |worker| {
            let mut queues = Vec::new();
            let mut numbers = FIRST_QUEUE..FIRST_QUEUE + QUEUES;
            for (rule, quality) in needs.into_iter().enumerate() {
                let Some(quality) = quality else { continue };
                let seed = seed ^ (rule as u64).rotate_left(32);
                match worker.open(&mut numbers, quality, seed) {
                    Ok(number) => queues.push(Queue { number, rule }),
                    Err(error) => {
                        worker.close(&queues)?;
                        return Err(error);
                    }
                }
            }
            Ok(queues)
        })?
    }

    /// Lets go what is held in queues, in its order, and gives them up.
    pub(super) fn close(&self, queues: &[Queue]) -> io::Result<()> {
        let queues = queues.to_vec();
        self.handle.run(move |worker| worker.close(&queues))?
    }

    /// What was done to the packets of queues, by rule.
    pub(super) fn counts(&self, queues: &[Queue]) -> Vec<(usize, Counts)> {
        let queues = queues.to_vec();
        let counts = self.handle.run(move |worker| worker.counts(&queues));
        counts.unwrap_or_default()
    }
}

impl Handle {
    /// Has the thread do something between two packets, and waits for it.
    fn run<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut Worker) -> T + Send + 'static,
    ) -> io::Result<T> {
        let ended = || io::Error::other("the thread that holds packets has ended");
        let (reply, replied) = sync_channel(1);
        let task = Box::new(move |worker: &mut Worker| {
            let _ = reply.send(task(worker));
        });
        self.tasks.send(task).map_err(|_| ended())?;
        self.wake.write(1)?;
        replied.recv().map_err(|_| ended())
    }

    /// Begins to hold packets of queues; or lets them go, those that are held first.
    pub(super) fn hold(&self, queues: &[Queue], on: bool) {
        let queues = queues.to_vec();
        // One that has ended holds nothing.
        let _ = self.run(move |worker| worker.hold(&queues, on));
    }
}

/// What is done to the packets of a queue.
struct Link {
    /// None holds them all.
    line: Option<Line>,
    /// Held without an end that is known.
    jammed: VecDeque<u32>,
    /// Whether nothing is done to them just now.
    open: bool,
    counts: Counts,
}

/// A packet that is held. The first to be let go is the greatest.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    due: Reverse<u64>,
    /// Those that are due at once keep their order.
    order: Reverse<u64>,
    queue: u16,
    packet: Packet,
}

/// A packet on its way.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Packet {
    id: u32,
    came: u64,
    late: bool,
    /// What it is to be replaced by.
    damaged: Option<Vec<u8>>,
    /// What is to be sent besides.
    copy: Option<Vec<u8>>,
}

struct Worker {
    socket: Socket,
    began: Instant,
    links: BTreeMap<u16, Link>,
    held: BinaryHeap<Held>,
    order: u64,
    /// Verdicts that have not been told yet, and copies that go after them.
    verdicts: Writer,
    waiting: Vec<(u16, Vec<u8>)>,
    copies: Copies,
    buffer: Vec<u8>,
}

impl Worker {
    fn new(socket: Socket) -> Worker {
        Worker {
            socket,
            began: Instant::now(),
            links: BTreeMap::new(),
            held: BinaryHeap::new(),
            order: 0,
            verdicts: Writer::default(),
            waiting: Vec::new(),
            copies: Copies::default(),
            buffer: vec![0; LONGEST],
        }
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// Until nobody can give it tasks any more.
    fn run(mut self, tasks: &Receiver<Task>, wake: &EventFd) {
        // A delay is to be kept to the microsecond, not to the 50 that the kernel is free to add.
        // SAFETY: it takes numbers only, and acts on this thread alone.
        unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
        loop {
            if self.wait(wake).is_err() {
                return;
            }
            loop {
                match tasks.try_recv() {
                    Ok(task) => task(&mut self),
                    Err(std::sync::mpsc::TryRecvError::Empty) => break,
                    Err(std::sync::mpsc::TryRecvError::Disconnected) => return,
                }
            }
            if self.take(AT_ONCE).is_err() {
                return;
            }
            self.let_go_due();
            self.flush();
        }
    }

    /// Waits for a packet, a task, or the time of a packet.
    fn wait(&self, wake: &EventFd) -> io::Result<()> {
        let left = self.held.peek().map(|next| {
            let left = next.due.0.saturating_sub(self.now());
            TimeSpec::from(Duration::from_nanos(left))
        });
        let mut fds = [
            PollFd::new(self.socket.fd().as_fd(), PollFlags::POLLIN),
            PollFd::new(wake.as_fd(), PollFlags::POLLIN),
        ];
        match ppoll(&mut fds, left, None) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let woken = fds[1].revents().is_some_and(|it| !it.is_empty());
        if woken {
            wake.read()?;
        }
        Ok(())
    }

    /// Takes packets that are there, so many at most. How many there were.
    fn take(&mut self, most: usize) -> io::Result<usize> {
        for taken in 0..most {
            if self.read(false, |_, _| {})? == 0 {
                return Ok(taken);
            }
        }
        Ok(most)
    }

    /// Reads once: takes the packets, and tells how messages of ours ended. How many bytes there were.
    fn read(&mut self, wait: bool, mut hear: impl FnMut(u32, i32)) -> io::Result<usize> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let read = self.socket.receive(&mut buffer, wait).map(|bytes| {
            for said in said(bytes) {
                match said {
                    Said::Message(message) if message.kind == PACKET => self.packet(&message),
                    Said::Message(_) => {}
                    Said::Ended(number, error) => hear(number, error),
                }
            }
            bytes.len()
        });
        self.buffer = buffer;
        read
    }

    fn packet(&mut self, message: &Message<'_>) {
        let Some(header) = message.attributes.get(1).and_then(|it| it.get(..4)) else {
            return;
        };
        let id = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
        let queue = message.about;
        let now = self.now();
        let mut packet = Packet {
            id,
            came: now,
            late: false,
            damaged: None,
            copy: None,
        };
        let Some(link) = self.links.get_mut(&queue).filter(|link| !link.open) else {
            return self.let_go(queue, packet, now);
        };
        let Some(line) = &mut link.line else {
            link.counts.held += 1;
            link.jammed.push_back(id);
            return;
        };
        let bytes = message.attributes.get(10).unwrap_or_default();
        let length = message.attributes.number(13);
        let fate = line.next(now, length.map_or(bytes.len(), |length| length as usize));
        link.counts.lost += u64::from(fate.lost);
        link.counts.reordered += u64::from(fate.overtakes);
        let mut dropped = fate.lost;
        if let Some(which) = fate.flip {
            let mut damaged = bytes.to_vec();
            link.counts.corrupted += 1;
            match copies::flip(&mut damaged, which) {
                true => packet.damaged = Some(damaged),
                false => dropped = true,
            }
        }
        if dropped {
            return self.verdict(queue, id, libc::NF_DROP, None);
        }
        packet.copy = fate.duplicate.then(|| bytes.to_vec());
        if fate.due <= now {
            return self.let_go(queue, packet, now);
        }
        packet.late = true;
        self.order += 1;
        self.held.push(Held {
            due: Reverse(fate.due),
            order: Reverse(self.order),
            queue,
            packet,
        });
    }

    fn let_go_due(&mut self) {
        while let Some(next) = self.held.peek() {
            let now = self.now();
            if next.due.0 > now {
                return;
            }
            if let Some(next) = self.held.pop() {
                self.let_go(next.queue, next.packet, now);
            }
        }
    }

    fn let_go(&mut self, queue: u16, packet: Packet, now: u64) {
        if let Some(link) = self.links.get_mut(&queue) {
            if packet.late {
                link.counts.delayed += 1;
                link.counts.delay_us += (now - packet.came) / 1000;
            }
            if let Some(copy) = packet.copy {
                self.waiting.push((queue, copy));
            }
        }
        self.verdict(queue, packet.id, libc::NF_ACCEPT, packet.damaged.as_deref());
    }

    fn verdict(&mut self, queue: u16, id: u32, verdict: i32, replaced: Option<&[u8]>) {
        self.verdicts.message((VERDICT, 0, 0), (0, queue), |it| {
            let mut header = (verdict as u32).to_be_bytes().to_vec();
            header.extend(id.to_be_bytes());
            it.attribute(2, &header);
            if let Some(bytes) = replaced {
                it.attribute(10, bytes);
            }
        });
    }

    /// Tells the verdicts, and sends the copies.
    fn flush(&mut self) {
        if !self.verdicts.is_empty() {
            // A queue that is gone has no packets.
            let _ = self.socket.send(self.verdicts.bytes());
            self.verdicts.clear();
        }
        for (queue, copy) in std::mem::take(&mut self.waiting) {
            if self.copies.send(&copy).is_ok()
                && let Some(link) = self.links.get_mut(&queue)
            {
                link.counts.duplicated += 1;
            }
        }
    }

    /// Asks the kernel something, and goes on taking packets until it has answered.
    fn ask(&mut self, queue: u16, attributes: impl FnOnce(&mut Writer)) -> io::Result<()> {
        let number = self.socket.number();
        let mut writer = Writer::default();
        let flags = libc::NLM_F_ACK as u16;
        writer.message((CONFIG, flags, number), (0, queue), attributes);
        self.socket.send(writer.bytes())?;
        let mut answer = None;
        while answer.is_none() {
            self.read(true, |ended, error| {
                if ended == number {
                    answer = Some(error);
                }
            })?;
        }
        self.flush();
        ended(answer.unwrap_or_default())
    }

    /// Opens the first queue that is free.
    fn open(
        &mut self,
        numbers: &mut std::ops::Range<u16>,
        quality: Option<Quality>,
        seed: u64,
    ) -> io::Result<u16> {
        let command = |command: u8| [command, 0, 0, 0];
        let number = loop {
            let number = numbers
                .next()
                .ok_or_else(|| io::Error::other("all queues are somebody else's"))?;
            match self.ask(number, |it| it.attribute(1, &command(BIND))) {
                Ok(()) => break number,
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
                // So says a kernel of a queue that another process has.
                Err(error) if error.raw_os_error() == Some(libc::EPERM) => {}
                Err(error) => return Err(error),
            }
        };
        let needs_bytes = |it: &Quality| it.corrupt.is_some() || it.duplicate.is_some();
        let (range, mode) = match &quality {
            Some(quality) if needs_bytes(quality) => ALL_BYTES,
            Some(quality) if quality.rate.is_some() => SOME_BYTES,
            _ => NO_BYTES,
        };
        let at_rate = quality.as_ref().is_some_and(|it| it.rate.is_some());
        let room = if at_rate { ROOM_AT_RATE } else { ROOM };
        let set = self.ask(number, |it| {
            let mut parameters = range.to_be_bytes().to_vec();
            parameters.push(mode);
            it.attribute(2, &parameters);
            it.u32(3, room);
        });
        let link = Link {
            line: quality.map(|quality| Line::new(&quality, seed)),
            jammed: VecDeque::new(),
            open: false,
            counts: Counts::default(),
        };
        self.links.insert(number, link);
        match set {
            Ok(()) => Ok(number),
            Err(error) => {
                self.close(&[Queue { number, rule: 0 }])?;
                Err(error)
            }
        }
    }

    fn hold(&mut self, queues: &[Queue], on: bool) {
        for Queue { number, .. } in queues {
            if let Some(link) = self.links.get_mut(number) {
                link.open = !on;
            }
        }
        if !on {
            self.release(queues);
            self.flush();
        }
    }

    /// Lets go what is held, in its order.
    fn release(&mut self, queues: &[Queue]) {
        let now = self.now();
        for Queue { number, .. } in queues {
            let Some(link) = self.links.get_mut(number) else {
                continue;
            };
            for id in std::mem::take(&mut link.jammed) {
                self.verdict(*number, id, libc::NF_ACCEPT, None);
            }
        }
        let concerned = |held: &Held| queues.iter().any(|queue| queue.number == held.queue);
        let all = std::mem::take(&mut self.held).into_sorted_vec();
        for held in all.into_iter().rev() {
            match concerned(&held) {
                true => self.let_go(held.queue, held.packet, now),
                false => self.held.push(held),
            }
        }
    }

    fn close(&mut self, queues: &[Queue]) -> io::Result<()> {
        self.hold(queues, false);
        // What came before the rules were gone. Other queues may be so busy that there is always more.
        let began = Instant::now();
        while self.take(AT_ONCE)? > 0 && began.elapsed() < DRAINING {
            self.flush();
        }
        self.flush();
        let mut result = Ok(());
        for Queue { number, .. } in queues {
            let unbound = self.ask(*number, |it| it.attribute(1, &[UNBIND, 0, 0, 0]));
            self.links.remove(number);
            result = result.and(unbound);
        }
        result
    }

    fn counts(&self, queues: &[Queue]) -> Vec<(usize, Counts)> {
        let overrun = overrun();
        let counts = queues.iter().filter_map(|queue| {
            let mut counts = self.links.get(&queue.number)?.counts;
            counts.lost += overrun.get(&queue.number).copied().unwrap_or_default();
            Some((queue.rule, counts))
        });
        counts.collect()
    }
}

/// How many packets the kernel has lost because a queue was full, by queue.
fn overrun() -> BTreeMap<u16, u64> {
    let text = fs::read_to_string("/proc/net/netfilter/nfnetlink_queue").unwrap_or_default();
    let line = |line: &str| {
        let words: Vec<u64> = line
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        let number = u16::try_from(*words.first()?).ok()?;
        Some((number, words.get(5)? + words.get(6)?))
    };
    text.lines().filter_map(line).collect()
}
