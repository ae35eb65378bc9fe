//! The leader watch: who leads, as the history tells it.
//!
//! Not a fault, though it sits among them: a process `nemesis/leaders` that only looks. Each of its
//! operations `watch` asks again and again who believes to be primary, and ends when the answer is another
//! one than before, or after a second. So the history shows who led when, and the schedules of faults hear
//! of elections.
//!
//! The completion's value has `leaders`, the nodes that say that they lead (none in the midst of an
//! election; two where one does not know yet that it was deposed), and `elected`, those of them that did
//! not lead when anybody last did. That a node did not answer in time looks the same as that it does not
//! lead; a leader that was only slow is not counted as elected anew.

use std::time::Duration;

use async_trait::async_trait;
use harness::capability::Environment;
use harness::client::Op;
use harness::fault::{Fault, FaultOutcome};
use harness::generator::{Context, Generator, Peek, Planned, Update};
use harness::time::{Nanos, SharedClock, nanos};
use harness::{EventType, Name, OpError, Value};
use serde_json::json;

use crate::build::{BuildContext, Package};
use crate::outcome::{refused, unavailable};

/// The name of the leader watch: the process `nemesis/leaders`. No fault has it.
pub const LEADERS: &str = "leaders";
/// Its operation.
pub const WATCH: &str = "watch";

/// How often it asks in the time that an election takes.
const LOOKS: u32 = 4;
/// The shortest time from one question to the next.
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// How long one operation watches at most: as long as the end of a run may have to wait for it.
const WATCH_MAX: Duration = Duration::from_secs(1);

/// The leader watch of a run whose system has leaders. Unlike a fault's, its schedule never ends: give it
/// to [`shortest_any`](harness::generator::shortest_any), beside all that the run does.
pub fn leader_watch(ctx: &BuildContext) -> Package {
    Package {
        name: LEADERS.into(),
        fault: Box::new(LeaderWatch {
            clock: ctx.clock.clone(),
            pause: (ctx.election_timeout / LOOKS).max(PAUSE_MIN),
            known: None,
            led: Vec::new(),
        }),
        schedule: Box::new(Watching {
            limit: nanos(ctx.time_limit),
            began: None,
        }),
        planned: Vec::new(),
        final_ops: Vec::new(),
    }
}

/// Whether a completed operation says that a leader was elected.
pub(crate) fn tells_of_election(ctx: &Context<'_>, update: &Update<'_>) -> bool {
    Some(update.thread) == ctx.roster.nemesis(LEADERS)
        && update.kind == EventType::Ok
        && update.value["elected"]
            .as_array()
            .is_some_and(|elected| !elected.is_empty())
}

struct LeaderWatch {
    clock: SharedClock,
    /// From one question to the next.
    pause: Duration,
    /// Who led when it was last told.
    known: Option<Vec<Name>>,
    /// Who led when anybody last did.
    led: Vec<Name>,
}

impl LeaderWatch {
    async fn watch(&mut self, env: &Environment, lasts: Duration) -> FaultOutcome {
        let Some(primaries) = &env.primaries else {
            return unavailable("this system has no leaders");
        };
        let deadline = self.clock.now().saturating_add(nanos(lasts));
        loop {
            let next = self.clock.now().saturating_add(nanos(self.pause));
            let leaders = primaries.primaries().await;
            if self.known.as_ref() != Some(&leaders) || self.clock.now() >= deadline {
                return FaultOutcome::Installed(self.tell(leaders));
            }
            self.clock.sleep_until(next.min(deadline)).await;
        }
    }

    fn tell(&mut self, leaders: Vec<Name>) -> Value {
        let is_first = self.known.is_none();
        let elected = leaders.iter().filter(|name| !self.led.contains(name));
        let elected: Vec<&Name> = elected.filter(|_| !is_first).collect();
        let value = json!({"leaders": leaders, "elected": elected});
        if !leaders.is_empty() {
            self.led.clone_from(&leaders);
        }
        self.known = Some(leaders);
        value
    }
}

#[async_trait]
impl Fault for LeaderWatch {
    fn name(&self) -> &str {
        LEADERS
    }

    async fn probe(&mut self, _env: &Environment) -> Result<(), String> {
        Ok(())
    }

    async fn invoke(&mut self, env: &Environment, op: &Op) -> FaultOutcome {
        match (&*op.f, op.value["seconds"].as_f64()) {
            (WATCH, Some(seconds)) => {
                let lasts = Duration::try_from_secs_f64(seconds).unwrap_or(WATCH_MAX);
                self.watch(env, lasts.min(WATCH_MAX)).await
            }
            (f, _) => refused(format!("no operation `{f}` with {}", op.value)),
        }
    }

    async fn heal(&mut self, _env: &Environment) -> Result<(), OpError> {
        Ok(())
    }
}

/// One watch after the other, the last to the end of the main phase.
struct Watching {
    /// How long the main phase lasts.
    limit: Nanos,
    /// When it began.
    began: Option<Nanos>,
}

impl Generator for Watching {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        let Some(thread) = ctx.roster.nemesis(LEADERS) else {
            return Peek::Pending;
        };
        let began = *self.began.get_or_insert(ctx.time);
        let left = began.saturating_add(self.limit).saturating_sub(ctx.time);
        let milliseconds = Duration::from_nanos(left).min(WATCH_MAX).as_millis();
        if milliseconds == 0 || !ctx.free.contains(thread) {
            return Peek::Pending;
        }
        let seconds = milliseconds as f64 / 1e3;
        Peek::Op(Planned {
            time: ctx.time,
            thread,
            op: Op::new(WATCH, json!({"seconds": seconds})),
        })
    }

    fn accept(&mut self, _ctx: &Context<'_>, _planned: &Planned) {}
}
