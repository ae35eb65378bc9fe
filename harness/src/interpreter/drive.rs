//! The interpreter's loop: from generator to workers, and from workers to generator.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use store::EventType;

use super::desk::{Assignment, Job};
use super::outbox::Completed;
use super::source::Source;
use super::stop::Stage;
use super::{GRACE, Interpreter, InterpreterError};
use crate::generator::{Context, Peek, Planned, Thread, problem};
use crate::time::{Nanos, nanos};

/// How many operations are handed out before others get their turn on this thread.
const BURST: usize = 128;
/// How often the recorder is asked whether it can still write.
const RECORDER_CHECK: Duration = Duration::from_millis(100);

/// What the generator has for now.
enum Next {
    /// An operation, which is under way now.
    Begun,
    /// Nothing until something completes, or this time comes.
    Wait(Option<Nanos>),
    /// Nothing more.
    Done,
}

/// Who is told of completed operations.
pub(super) type Tell<'a> = &'a mut (dyn FnMut(&Context<'_>, &Completed) + Send);

/// Whether [`Stop::abandon`] is heeded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Abandoning {
    Allowed,
    Refused,
}

impl Interpreter {
    /// Has operations performed until the generator has no more (`true`), or the run is stopped.
    pub(super) async fn drive(
        &mut self,
        source: &mut Source,
        ends_at: Stage,
    ) -> Result<bool, InterpreterError> {
        let mut burst = 0;
        loop {
            self.tick();
            self.receive(&mut |ctx, completed| source.update(ctx, completed));
            let stage = self.stop.stage();
            if stage >= ends_at {
                return Ok(false);
            }
            match self.next(source)? {
                Next::Done => return Ok(true),
                Next::Begun if burst < BURST => burst += 1,
                Next::Begun => {
                    burst = 0;
                    yield_now().await;
                }
                Next::Wait(until) => {
                    burst = 0;
                    let until = earlier(until, self.backoff.next());
                    if until.is_none() && self.outstanding == 0 {
                        return Err(InterpreterError::Stuck);
                    }
                    self.wait(until, stage).await;
                }
            }
        }
    }

    /// Begins the next operation, if it is time.
    fn next(&mut self, source: &mut Source) -> Result<Next, InterpreterError> {
        if self.time >= self.recorder_check {
            self.recorder_check = self.time.saturating_add(nanos(RECORDER_CHECK));
            self.check_recorder()?;
        }
        if self.occupancy.free().is_empty() {
            return Ok(Next::Wait(None));
        }
        let ctx = self.occupancy.context(self.time);
        let answer = source.peek(&ctx)?;
        if let Some(problem) = problem(&ctx, &answer) {
            return Err(InterpreterError::WrongAnswer(problem));
        }
        let planned = match answer {
            Peek::Done => return Ok(Next::Done),
            Peek::Pending => return Ok(Next::Wait(None)),
            Peek::Wait(until) => return Ok(Next::Wait(Some(until))),
            // It is peeked again when its time has come: a completion may change the plan.
            Peek::Op(planned) if planned.time > ctx.time => {
                return Ok(Next::Wait(Some(planned.time)));
            }
            Peek::Op(planned) => planned,
        };
        source.accept(&ctx, &planned)?;
        self.begin(planned);
        Ok(Next::Begun)
    }

    fn begin(&mut self, planned: Planned) {
        let Planned { time, thread, op } = planned;
        self.put(
            thread,
            Job::Perform(Assignment {
                op,
                planned: time,
                due: time.max(self.free_since[thread]),
            }),
        );
    }

    pub(super) fn put(&mut self, thread: Thread, job: Job) {
        self.occupancy.begin(thread);
        self.busy.insert(thread);
        self.outstanding += 1;
        self.desks[thread].put(job);
    }

    /// Takes what has completed, in order, and tells of each.
    fn receive(&mut self, tell: Tell<'_>) {
        while let Some((since, thread)) = self.backoff.rested(self.time) {
            self.occupancy.rested(thread);
            self.free_since[thread] = since;
        }
        let mut batch = std::mem::take(&mut self.batch);
        self.outbox.take(&mut batch);
        for completed in batch.drain(..) {
            if self.busy.contains(completed.thread) {
                self.finished(&completed);
                tell(&self.occupancy.context(self.time), &completed);
            }
            // Else its thread was given up as unresponsive, and answered after all: too late.
        }
        self.batch = batch;
    }

    fn finished(&mut self, completed: &Completed) {
        let Completed {
            thread,
            kind,
            times,
            refused,
            ..
        } = *completed;
        self.busy.remove(thread);
        self.outstanding -= 1;
        self.occupancy.end(thread, kind == EventType::Info);
        self.free_since[thread] = times.completed;
        if thread < self.roster.workers {
            self.counts.add(kind);
            self.meter.add(kind, &times);
        }
        if !refused {
            self.backoff.answered(thread);
        } else if self.backoff.refused(thread, times.invoked, self.time) {
            self.occupancy.rest(thread);
        }
    }

    /// Waits until all operations under way have ended; makes them end when the run is abandoned, and
    /// then returns `true`.
    pub(super) async fn settle(
        &mut self,
        abandoning: Abandoning,
        tell: Tell<'_>,
    ) -> Result<bool, InterpreterError> {
        let mut deadline = self.tick().saturating_add(nanos(self.limit + GRACE));
        let mut abandoned = false;
        loop {
            self.tick();
            self.receive(tell);
            if self.outstanding == 0 {
                return Ok(abandoned);
            }
            let stage = self.stop.stage();
            if stage == Stage::Abandon && abandoning == Abandoning::Allowed && !abandoned {
                abandoned = true;
                deadline = deadline.min(self.time.saturating_add(nanos(GRACE)));
                self.busy
                    .iter()
                    .for_each(|thread| self.desks[thread].abandon());
            }
            if self.time >= deadline {
                return Err(self.give_up());
            }
            self.wait(Some(deadline), stage).await;
        }
    }

    /// Leaves threads to themselves that do not answer.
    fn give_up(&mut self) -> InterpreterError {
        let silent: Vec<Thread> = self.busy.iter().collect();
        for thread in &silent {
            self.occupancy.lose(*thread);
            self.busy.remove(*thread);
        }
        self.outstanding = 0;
        InterpreterError::Unresponsive(silent)
    }

    /// Waits until something completes, the stage is another, or a time comes.
    async fn wait(&mut self, until: Option<Nanos>, stage: Stage) {
        let Interpreter {
            timer,
            clock,
            outbox,
            stop,
            ..
        } = self;
        if timer.as_ref().map(|(at, _)| *at) != until {
            *timer = until.map(|at| (at, clock.sleep_until(at)));
        }
        poll_fn(|cx| {
            // First register, then look.
            outbox.wakes(cx.waker());
            stop.wakes(cx.waker());
            if outbox.is_filled() || stop.stage() != stage {
                return Poll::Ready(());
            }
            match timer {
                Some((_, sleep)) => sleep.as_mut().poll(cx).map(|()| *timer = None),
                None => Poll::Pending,
            }
        })
        .await;
    }

    pub(super) fn tick(&mut self) -> Nanos {
        self.time = self.time.max(self.clock.now());
        self.time
    }

    pub(super) fn check_recorder(&self) -> Result<(), InterpreterError> {
        self.outbox
            .error()
            .map_or(Ok(()), |error| Err(error.into()))
    }
}

fn earlier(a: Option<Nanos>, b: Option<Nanos>) -> Option<Nanos> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Lets other tasks run.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
