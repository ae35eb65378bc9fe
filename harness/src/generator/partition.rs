//! Threads split into parts that take turns.

use super::choices::{earlier, soonest};
use super::{Context, Peek, Planned, Thread, ThreadSet};
use crate::time::Nanos;

/// Disjoint sets of threads, each of which has a generator of its own somewhere.
///
/// Combinators that split their threads keep one of these and answer for one part at a time; this
/// decides which part to ask. The part whose thread's turn it is is asked first, and one that can begin
/// at once is taken at once, so with hundreds of parts usually one is asked. What a part of one thread
/// answered is remembered until something happens to it, so that hundreds of threads that each keep a
/// pace of their own are not all asked for every operation.
#[derive(Debug)]
pub(super) struct Partition {
    parts: Vec<ThreadSet>,
    /// The part of each thread.
    part_of: Vec<Option<u32>>,
    /// What the last answer of each part means for the time to come.
    known: Vec<Known>,
    /// The threads of the parts that are not done.
    live: ThreadSet,
    /// The part whose operation was last answered.
    chosen: usize,
    /// Sets that are rebuilt with every question; kept for their memory.
    unasked: ThreadSet,
    free: ThreadSet,
}

/// What is known of a part without asking it.
#[derive(Clone, Copy, Debug)]
enum Known {
    /// It must be asked.
    Nothing,
    /// It has nothing until something happens to it.
    Pending,
    /// It has nothing before a time.
    Wait(Nanos),
    /// It has an operation for a time.
    Op(Nanos),
}

/// An operation that a part has, as far as it is known.
struct Offer {
    time: Nanos,
    part: usize,
    planned: Option<Planned>,
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
            known: vec![Known::Nothing; parts.len()],
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
        loop {
            let mut best: Option<Offer> = None;
            let mut wake = None;
            self.unasked.assign_intersection(ctx.free, &self.live);
            while let Some(thread) = self.unasked.next_from(ctx.next) {
                let Some(part) = self.part_of(thread) else {
                    self.unasked.remove(thread);
                    continue;
                };
                self.unasked.subtract(&self.parts[part]);
                let offer = match self.known[part] {
                    Known::Pending => continue,
                    Known::Wait(time) if ctx.time < time => {
                        wake = earlier(wake, time);
                        continue;
                    }
                    Known::Op(time) if ctx.time < time => Offer {
                        time,
                        part,
                        planned: None,
                    },
                    _ => match self.ask(part, ctx, &mut ask) {
                        Peek::Done | Peek::Pending => continue,
                        Peek::Wait(time) => {
                            wake = earlier(wake, time);
                            continue;
                        }
                        Peek::Op(planned) => Offer {
                            time: planned.time,
                            part,
                            planned: Some(planned),
                        },
                    },
                };
                let at_once = offer.time <= ctx.time;
                // On a tie the one whose turn comes first stays.
                if at_once || best.as_ref().is_none_or(|best| offer.time < best.time) {
                    best = Some(offer);
                }
                if at_once {
                    break;
                }
            }
            let best = best.filter(|best| wake.is_none_or(|wake| best.time <= wake));
            let Some(Offer { part, planned, .. }) = best else {
                return match wake {
                    None if self.live.is_empty() => Peek::Done,
                    wake => soonest(None, wake),
                };
            };
            self.chosen = part;
            if let Some(planned) = planned {
                return Peek::Op(planned);
            }
            if let Peek::Op(planned) = self.ask(part, ctx, &mut ask) {
                return Peek::Op(planned);
            }
            // It came to its end meanwhile. Now that this is known, ask again.
        }
    }

    /// Asks one part, and remembers its answer.
    fn ask(
        &mut self,
        part: usize,
        ctx: &Context<'_>,
        ask: &mut impl FnMut(usize, &Context<'_>) -> Peek,
    ) -> Peek {
        let threads = &self.parts[part];
        self.free.assign_intersection(ctx.free, threads);
        let narrow = Context {
            threads,
            free: &self.free,
            ..*ctx
        };
        let answer = ask(part, &narrow);
        self.known[part] = match &answer {
            Peek::Done => {
                self.live.subtract(threads);
                Known::Nothing
            }
            // Of several threads, others may be free next time.
            _ if threads.len() > 1 => Known::Nothing,
            Peek::Pending => Known::Pending,
            Peek::Wait(time) => Known::Wait(*time),
            Peek::Op(planned) => Known::Op(planned.time),
        };
        answer
    }

    /// The part whose operation was answered last, and its context, to tell it that the operation is
    /// taken.
    pub(super) fn chosen<'a>(&'a mut self, ctx: &Context<'a>) -> (usize, Context<'a>) {
        (self.chosen, self.narrow(self.chosen, ctx))
    }

    /// The context of a part, to tell it what happened.
    pub(super) fn narrow<'a>(&'a mut self, part: usize, ctx: &Context<'a>) -> Context<'a> {
        self.known[part] = Known::Nothing;
        let threads = &self.parts[part];
        self.free.assign_intersection(ctx.free, threads);
        Context {
            threads,
            free: &self.free,
            ..*ctx
        }
    }
}
