//! Threads split into parts that take turns.

use super::choices::{earlier, idle};
use super::{Context, Peek, Planned, Thread, ThreadSet};

/// Disjoint sets of threads, each of which has a generator of its own somewhere.
///
/// Combinators that split their threads keep one of these and answer for one part at a time; this
/// decides which part to ask. The part whose thread's turn it is is asked first, and one that can begin
/// at once is taken at once, so with hundreds of parts usually one is asked.
#[derive(Debug)]
pub(super) struct Partition {
    parts: Vec<ThreadSet>,
    /// The part of each thread.
    part_of: Vec<Option<u32>>,
    /// The threads of the parts that are not done.
    live: ThreadSet,
    /// The part whose operation was last answered.
    chosen: usize,
    /// Sets that are rebuilt with every question; kept for their memory.
    unasked: ThreadSet,
    free: ThreadSet,
}

impl Partition {
    pub(super) fn new(parts: Vec<ThreadSet>) -> Partition {
        let mut part_of = Vec::new();
        let mut live = ThreadSet::default();
        for (part, threads) in parts.iter().enumerate() {
            for thread in threads.iter() {
                if thread >= part_of.len() {
                    part_of.resize(thread + 1, None);
                }
                part_of[thread] = Some(part as u32);
                live.insert(thread);
            }
        }
        Partition {
            parts,
            part_of,
            live,
            chosen: 0,
            unasked: ThreadSet::default(),
            free: ThreadSet::default(),
        }
    }

    /// Every thread by itself, part by part ascending.
    pub(super) fn singletons(threads: &ThreadSet) -> Partition {
        let alone = |thread| ThreadSet::from_iter([thread]);
        Partition::new(threads.iter().map(alone).collect())
    }

    pub(super) fn parts(&self) -> &[ThreadSet] {
        &self.parts
    }

    pub(super) fn part_of(&self, thread: Thread) -> Option<usize> {
        let part = *self.part_of.get(thread)?;
        part.map(|part| part as usize)
    }

    /// Asks parts for their next operation, in the narrower context of each, and answers with the
    /// soonest. A part that answers `Done` is not asked again.
    pub(super) fn peek(
        &mut self,
        ctx: &Context<'_>,
        mut ask: impl FnMut(usize, &Context<'_>) -> Peek,
    ) -> Peek {
        let mut best: Option<Planned> = None;
        let mut wake = None;
        self.unasked.assign_intersection(ctx.free, &self.live);
        while let Some(thread) = self.unasked.next_from(ctx.next) {
            let Some(part) = self.part_of(thread) else {
                self.unasked.remove(thread);
                continue;
            };
            let threads = &self.parts[part];
            self.unasked.subtract(threads);
            self.free.assign_intersection(ctx.free, threads);
            let narrow = Context {
                threads,
                free: &self.free,
                ..*ctx
            };
            match ask(part, &narrow) {
                Peek::Done => self.live.subtract(threads),
                Peek::Pending => {}
                Peek::Wait(time) => wake = earlier(wake, time),
                Peek::Op(planned) => {
                    let at_once = planned.time <= ctx.time;
                    // On a tie the one whose turn comes first stays.
                    if at_once || best.as_ref().is_none_or(|best| planned.time < best.time) {
                        self.chosen = part;
                        best = Some(planned);
                    }
                    if at_once {
                        break;
                    }
                }
            }
        }
        match best {
            Some(planned) => Peek::Op(planned),
            None if self.live.is_empty() => Peek::Done,
            None => idle(wake),
        }
    }

    /// The part whose operation was answered last, and its context.
    pub(super) fn chosen<'a>(&'a mut self, ctx: &Context<'a>) -> (usize, Context<'a>) {
        (self.chosen, self.narrow(self.chosen, ctx))
    }

    /// The context of a part.
    pub(super) fn narrow<'a>(&'a mut self, part: usize, ctx: &Context<'a>) -> Context<'a> {
        let threads = &self.parts[part];
        self.free.assign_intersection(ctx.free, threads);
        Context {
            threads,
            free: &self.free,
            ..*ctx
        }
    }
}
