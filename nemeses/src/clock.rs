//! The fault `clock`: clocks that are off, jump, drift or stand still.
//!
//! Amounts are drawn as Jepsen draws them: offsets of ±1.5^6 to ±1.5^31 ms, jumps of 2^2 to 2^18 ms every 1 to 1024 ms, all
//! evenly on a logarithmic scale. Clocks also drift, which real ones do more than they jump. `max` bounds how far off they get.

use std::time::Duration;

use async_trait::async_trait;
use harness::capability::{
    CapabilityError, ClockChange, ClockKind, ClockScope, ClockSeen, ClockSetting, Clocks,
    Environment,
};
use harness::options::{OptionKind, OptionSpec, Options};
use harness::seed::Rng;
use harness::time::SharedClock;
use harness::{Name, Value};
use rand::RngExt;
use serde_json::{Map, json};

use crate::action::{Action, Looks, Proof, Struck, Undone, fields, read};
use crate::build::MakeContext;
use crate::catalogue::{DURATION, FaultInfo, Made, VariantInfo, with_common};
use crate::node_fault::{make, target_option};
use crate::outcome::message;
use crate::schedule::weighted;
use crate::spec::FaultSpec;

/// The fault's name.
pub(crate) const NAME: &str = "clock";
const MAX: &str = "max";
const CLOCKS: &str = "clocks";
const SCOPE: &str = "scope";
const REALTIME: &str = "realtime";
const PROCESS: &str = "process";
const MACHINE: &str = "machine";
const LIBFAKETIME: &str = "libfaketime";

/// Jepsen's largest offset: 1.5^31 ms.
const MAX_DEFAULT: &str = "287626ms";

/// How long to wait for an effect that grows.
const EFFECT_LIMIT: Duration = Duration::from_secs(1);
/// The first pause between two looks; each further one is twice as long.
const FIRST_LOOK: Duration = Duration::from_millis(5);

/// The slowest and the fastest drift, in parts per million.
const DRIFTS: (f64, f64) = (100.0, 500_000.0);

/// The fastest that a kernel's clock can be made to drift, and a hundredth less for its own pace.
const MACHINES_FASTEST: f64 = 99_000.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Skew,
    Strobe,
    Drift,
    Freeze,
}

/// What there is, with its weight where it is drawn.
const KINDS: [(Kind, u32); 4] = [
    (Kind::Skew, 4),
    (Kind::Strobe, 2),
    (Kind::Drift, 2),
    (Kind::Freeze, 1),
];

impl Kind {
    fn variant(self) -> VariantInfo {
        let (name, summary) = match self {
            Kind::Skew => (
                "skew",
                "They are ahead by some time, or behind, all the while.",
            ),
            Kind::Strobe => (
                "strobe",
                "They jump ahead (or behind) and back, many times.",
            ),
            Kind::Drift => ("drift", "They go too fast, or too slow."),
            Kind::Freeze => ("freeze", "They stand still."),
        };
        VariantInfo { name, summary }
    }
}

/// The fault, described.
pub(crate) fn info() -> FaultInfo {
    let max = "How far off they get at most. A drift is so slow, and a standstill drawn only where it is so short, that it is not more \
               by the end of the activity.";
    let words =
        |words: &[&str]| OptionKind::OneOf(words.iter().map(|it| (*it).to_owned()).collect());
    let clocks = "Which clocks: `realtime` tells the time of day; `monotonic` measures time-outs, and in no machine does what this \
                  makes it do, so faults with it are synthetic; or `both`.";
    let scope = "Whose clocks: those of the system's `process`es alone, anywhere, which then wait by them too, as far as they leave it to \
                 the C library (its functions, or its `syscall` for futexes or a sleep), and not where static programs, Go's or `io_uring` \
                 wait until a time; or the `machine`'s own, which needs CAP_SYS_TIME, no NTP daemon, and nodes with a kernel of \
                 their own; or \
                 those of processes that are started under `libfaketime` (skews alone), where processes may not be traced, and which \
                 programs that do not ask the C library for the time, such as Go's, do not notice.";
    FaultInfo {
        name: NAME,
        summary: "Makes clocks go wrong, of the system's processes alone or of the whole machine.",
        variants: KINDS.iter().map(|(kind, _)| kind.variant()).collect(),
        options: with_common(vec![
            target_option(),
            OptionSpec::new(MAX, OptionKind::Duration, Some(MAX_DEFAULT), max),
            OptionSpec::new(
                CLOCKS,
                words(&[REALTIME, "monotonic", "both"]),
                Some(REALTIME),
                clocks,
            ),
            OptionSpec::new(
                SCOPE,
                words(&[PROCESS, MACHINE, LIBFAKETIME]),
                Some(PROCESS),
                scope,
            ),
        ]),
        evidence: "The offset of the clocks, read inside of each process before, during and after. (With libfaketime: that the process has \
                   loaded it, and what time a program is told that has the process's environment.)",
        undo: "The processes have the kernel's own code again, byte for byte, once no thread is in ours, nor in a signal's handler that \
               interrupted it. (Such a handler is seen where its frame is within 64 KiB of the thread's stack, and where it blocks a \
               signal. One that is deeper, or was itself interrupted by a handler on another stack, or runs with SA_NODEFER and blocks \
               none, is not seen: it would return to code that is gone, and the process would crash.) The machine's clock is where it \
               would have been, by the clock that nobody sets. At the end of the run, what the system's programs were started with for it \
               (a library for timed waits, or libfaketime) is taken away; those that run then keep it, with nothing to do, until they end.",
        synthetic: false,
        make: made,
    }
}

/// Whether no machine's clocks could do so: its monotonic clock is never wrong by more than a kernel's pace.
pub(crate) fn is_synthetic(options: &Options) -> bool {
    options.text(CLOCKS) != REALTIME
}

/// Whose clocks it changes.
pub(crate) fn scope(options: &Options) -> ClockScope {
    match options.text(SCOPE) {
        MACHINE => ClockScope::Machine,
        LIBFAKETIME => ClockScope::Libfaketime,
        _ => ClockScope::Process,
    }
}

/// What the user chose.
struct Choice {
    kind: Option<Kind>,
    scope: ClockScope,
    clocks: ClockKind,
    max: Duration,
    /// The longest that an activity may last.
    longest: Duration,
}

fn made(spec: &FaultSpec, ctx: &MakeContext) -> Result<Made, String> {
    let chosen = |variant: &String| {
        let kinds = KINDS.iter().map(|(kind, _)| *kind);
        kinds
            .into_iter()
            .find(|kind| kind.variant().name == variant)
    };
    let word = |name| spec.options.text(name);
    let duration = spec.options.duration_if(DURATION);
    let choice = Choice {
        kind: spec.variant.as_ref().and_then(chosen),
        scope: scope(&spec.options),
        clocks: match word(CLOCKS) {
            "monotonic" => ClockKind::Monotonic,
            "both" => ClockKind::Both,
            _ => ClockKind::Realtime,
        },
        max: spec.options.duration_if(MAX).unwrap_or_default(),
        longest: duration.unwrap_or(ctx.election_timeout * 10),
    };
    if choice.max < Duration::from_millis(1) {
        return Err(format!("option `{MAX}`: at least 1ms expected"));
    }
    if choice.scope != ClockScope::Process && choice.clocks != ClockKind::Realtime {
        return Err(
            "monotonic clocks are changed inside of processes alone: write scope=process"
                .to_owned(),
        );
    }
    if choice.scope == ClockScope::Libfaketime && choice.kind.is_some_and(|kind| kind != Kind::Skew)
    {
        return Err("libfaketime skews, and does nothing else: write scope=process".to_owned());
    }
    let action = Changing {
        scope: choice.scope,
        clock: ctx.clock.clone(),
    };
    let draw = move |_, rng: &mut Rng| fields(&choice.draw(rng));
    make(action, spec, ctx, Box::new(draw))
}

impl Choice {
    fn draw(&self, rng: &mut Rng) -> ClockSetting {
        let max = self.max.as_secs_f64() * 1000.0;
        let kind = self.kind.unwrap_or_else(|| {
            let possible = |kind: &Kind| match self.scope {
                ClockScope::Libfaketime => *kind == Kind::Skew,
                _ => *kind != Kind::Freeze || self.longest <= self.max,
            };
            *weighted(&KINDS, possible, rng)
        });
        // All are drawn, so that each is the same whatever the others are.
        let skew = amount(1.5_f64.powi(6), 1.5_f64.powi(31).min(max), rng);
        let delta = amount(4.0, 262_144.0_f64.min(max), rng);
        let period = amount(1.0, 1024.0, rng).unsigned_abs();
        let fastest = match self.scope {
            ClockScope::Machine => MACHINES_FASTEST,
            _ => DRIFTS.1,
        };
        let fastest = fastest.min(max / 1000.0 / self.longest.as_secs_f64() * 1e6);
        let ppm = amount(DRIFTS.0, fastest, rng);
        let change = match kind {
            Kind::Skew => ClockChange::Skew { offset_ms: skew },
            Kind::Strobe => ClockChange::Strobe {
                delta_ms: delta,
                period_ms: period as u32,
            },
            Kind::Drift => ClockChange::Drift { ppm },
            Kind::Freeze => ClockChange::Freeze,
        };
        ClockSetting {
            scope: self.scope,
            clocks: self.clocks,
            change,
        }
    }
}

/// A number between two, or one below the lower if the upper is, on a logarithmic scale, with either sign; never 0.
fn amount(least: f64, most: f64, rng: &mut Rng) -> i64 {
    let exponent: f64 = rng.random_range(0.0..1.0);
    let behind = rng.random_bool(0.5);
    let least = least.min(most).max(1.0);
    let amount = (least * (most.max(1.0) / least).powf(exponent)).round() as i64;
    if behind { -amount } else { amount }
}

/// Makes clocks go wrong.
struct Changing {
    scope: ClockScope,
    clock: SharedClock,
}

fn clocks(env: &Environment) -> Result<&dyn Clocks, String> {
    let missing = "clocks cannot be changed here";
    env.clocks.as_deref().ok_or_else(|| missing.to_owned())
}

/// Whether what was seen on a node proves the fault: all that is there shows it.
fn proves(seen: &[ClockSeen]) -> bool {
    !seen.is_empty() && seen.iter().all(|seen| seen.effective)
}

#[async_trait]
impl Action for Changing {
    fn name(&self) -> &str {
        NAME
    }

    async fn probe(&self, env: &Environment) -> Result<(), String> {
        clocks(env)?.probe(self.scope).await
    }

    async fn strike(
        &self,
        env: &Environment,
        node: &Name,
        what: &Map<String, Value>,
    ) -> Result<Struck, CapabilityError> {
        let clocks = clocks(env).map_err(CapabilityError::NotDone)?;
        let setting: ClockSetting = read(what)?;
        let mut seen = clocks.change(node, &setting).await?;
        // What is off by more and more is not at first by more than can be told.
        let grows = matches!(
            setting.change,
            ClockChange::Drift { .. } | ClockChange::Freeze
        );
        let mut looks = Looks::new(&*self.clock, FIRST_LOOK, EFFECT_LIMIT);
        while grows && !proves(&seen) && looks.again().await {
            let again = clocks.look(node).await;
            let again = again.map_err(|error| CapabilityError::Indeterminate(message(error)))?;
            let before = |whose: &str| seen.iter().find(|it| it.whose == whose)?.before;
            seen = again
                .into_iter()
                .map(|it| ClockSeen {
                    before: before(&it.whose),
                    ..it
                })
                .collect();
        }
        Ok(Struck {
            effective: match proves(&seen) {
                false if grows => Proof::AtEnd,
                proved => proved.into(),
            },
            seen: json!(seen),
            free: false,
        })
    }

    async fn undo(
        &self,
        env: &Environment,
        node: &Name,
        _: Option<&Name>,
    ) -> Result<Undone, String> {
        let seen = clocks(env)?.restore(node).await.map_err(message)?;
        Ok(Undone {
            effective: (!seen.is_empty()).then(|| proves(&seen)),
            seen: json!(seen),
        })
    }

    fn takes_down(&self) -> bool {
        false
    }

    fn evidence(&self) -> &'static str {
        "clocks"
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use harness::seed::Seed;

    use super::*;

    fn choice(kind: Option<Kind>, max: Duration) -> Choice {
        Choice {
            kind,
            scope: ClockScope::Process,
            clocks: ClockKind::Realtime,
            max,
            longest: Duration::from_secs(10),
        }
    }

    #[test]
    fn amounts_are_jepsens_and_within_bounds() {
        let mut rng = Seed::new(7).rng();
        let (mut small, mut large, mut behind) = (0, 0, 0);
        for _ in 0..2000 {
            let setting = choice(Some(Kind::Skew), Duration::from_secs(3600)).draw(&mut rng);
            let ClockChange::Skew { offset_ms } = setting.change else {
                panic!("{setting:?}");
            };
            assert!((11..=287_627).contains(&offset_ms.abs()), "{offset_ms}");
            small += u32::from(offset_ms.abs() < 1000);
            large += u32::from(offset_ms.abs() > 60_000);
            behind += u32::from(offset_ms < 0);
        }
        assert!(small > 500 && large > 200 && (800..1200).contains(&behind));
        for max in [1, 5, 100, 2000] {
            let max = Duration::from_millis(max);
            for _ in 0..1000 {
                match choice(None, max).draw(&mut rng).change {
                    ClockChange::Skew { offset_ms: by }
                    | ClockChange::Strobe { delta_ms: by, .. } => {
                        assert!(by != 0 && by.unsigned_abs() <= max.as_millis() as u64);
                    }
                    ClockChange::Drift { ppm } => {
                        assert!(ppm != 0 && ppm.abs() as f64 * 10.0 <= max.as_micros() as f64);
                    }
                    ClockChange::Freeze => panic!("it would be ten seconds behind in the end"),
                }
            }
        }
    }

    #[test]
    fn libfaketime_is_asked_for_what_it_can() {
        let mut rng = Seed::new(1).rng();
        let mut choice = choice(None, Duration::from_secs(60));
        choice.scope = ClockScope::Libfaketime;
        for _ in 0..100 {
            let change = choice.draw(&mut rng).change;
            assert!(matches!(change, ClockChange::Skew { .. }), "{change:?}");
        }
    }

    #[test]
    fn a_setting_is_read_as_it_is_written() {
        let mut rng = Seed::new(1).rng();
        for _ in 0..100 {
            let setting = choice(None, Duration::from_secs(60)).draw(&mut rng);
            let value = json!(setting);
            assert!(value["change"].is_string() && value["scope"] == "process");
            assert_eq!(
                serde_json::from_value::<ClockSetting>(value).unwrap(),
                setting
            );
        }
    }
}
