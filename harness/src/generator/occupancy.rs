//! Which threads are busy, and under which process each works.

use store::Process;

use super::{Context, Roster, Thread, ThreadSet};
use crate::time::Nanos;

/// Owns what a [`Context`] shows, for whoever drives a generator.
#[derive(Clone, Debug)]
pub struct Occupancy {
    roster: Roster,
    threads: ThreadSet,
    free: ThreadSet,
    next: Thread,
    processes: Vec<u64>,
}

impl Occupancy {
    /// All threads of a roster, free; each worker's process has the worker's number.
    pub fn new(roster: Roster) -> Occupancy {
        let threads = ThreadSet::first(roster.threads());
        Occupancy {
            free: threads.clone(),
            threads,
            next: 0,
            processes: (0..roster.workers as u64).collect(),
            roster,
        }
    }

    /// What a generator sees at a time.
    pub fn context(&self, time: Nanos) -> Context<'_> {
        Context {
            time,
            threads: &self.threads,
            free: &self.free,
            next: self.next,
            roster: &self.roster,
            processes: &self.processes,
        }
    }

    /// A thread begins an operation. The turn passes to the thread after it.
    pub fn begin(&mut self, thread: Thread) {
        debug_assert!(self.free.contains(thread), "thread {thread} is busy");
        self.free.remove(thread);
        self.next = thread + 1;
    }

    /// A thread's operation ended. If it `crashed` (ended `info`), a worker goes on under a process
    /// that was never used before; a fault's process stays.
    pub fn end(&mut self, thread: Thread, crashed: bool) {
        debug_assert!(!self.free.contains(thread), "thread {thread} is free");
        self.free.insert(thread);
        if crashed && let Some(process) = self.processes.get_mut(thread) {
            *process += self.roster.workers as u64;
        }
    }

    /// A free thread takes a rest: nobody's turn passes.
    pub fn rest(&mut self, thread: Thread) {
        self.free.remove(thread);
    }

    /// A thread that rested is free again.
    pub fn rested(&mut self, thread: Thread) {
        self.free.insert(thread);
    }

    /// A busy thread is given up. Only between generators: their threads stay the same.
    pub fn lose(&mut self, thread: Thread) {
        self.threads.remove(thread);
    }

    /// The process that a thread works under now.
    pub fn process(&self, thread: Thread) -> Process {
        self.context(0).process(thread)
    }

    /// All threads.
    pub fn threads(&self) -> &ThreadSet {
        &self.threads
    }

    /// The threads that are free.
    pub fn free(&self) -> &ThreadSet {
        &self.free
    }
}
