//! When operations come.

use std::time::Duration;

use rand::RngExt;

use super::limits::until;
use super::{BoxGenerator, Context, Generator, Peek, Planned, Update};
use crate::seed::Seed;
use crate::time::{Nanos, nanos};

/// A schedule that is at most this late is caught up with, since timers and busy threads are late by
/// a little all the time. One that is later begins anew: nobody wants a flood after a stall.
const LATENESS_MAX: Nanos = 100_000_000;

/// When the next operation is due.
#[derive(Debug, Default)]
struct Schedule {
    /// `None` before the first.
    due: Option<Nanos>,
}

impl Schedule {
    /// Moves an offer to the time when it is due.
    fn hold(&self, answer: Peek) -> Peek {
        match (answer, self.due) {
            (Peek::Op(planned), Some(due)) => Peek::Op(Planned {
                time: planned.time.max(due),
                ..planned
            }),
            (answer, _) => answer,
        }
    }

    /// An operation was taken, and the next one is due after a gap.
    fn advance(&mut self, taken: Nanos, gap: Nanos) {
        let on_time = self
            .due
            .filter(|due| taken.saturating_sub(*due) <= LATENESS_MAX);
        self.due = Some(on_time.unwrap_or(taken).saturating_add(gap));
    }
}

/// Random gaps between operations.
pub(super) struct Stagger<G> {
    generator: G,
    seed: Seed,
    gap_max: Nanos,
    count: u64,
    schedule: Schedule,
}

impl<G> Stagger<G> {
    pub(super) fn new(generator: G, seed: Seed, mean: Nanos) -> Stagger<G> {
        Stagger {
            generator,
            seed,
            gap_max: mean.saturating_mul(2),
            count: 0,
            schedule: Schedule::default(),
        }
    }
}

impl<G: Generator> Generator for Stagger<G> {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        self.schedule.hold(self.generator.peek(ctx))
    }

    fn accept(&mut self, ctx: &Context<'_>, planned: &Planned) {
        let mut rng = self.seed.child(self.count).rng();
        self.count += 1;
        let gap = rng.random_range(0..=self.gap_max);
        self.schedule.advance(planned.time.max(ctx.time), gap);
        self.generator.accept(ctx, planned);
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        self.generator.update(ctx, update);
    }
}

/// Equal gaps between operations.
pub(super) struct Delay<G> {
    generator: G,
    gap: Nanos,
    schedule: Schedule,
}

impl<G> Delay<G> {
    pub(super) fn new(generator: G, gap: Nanos) -> Delay<G> {
        Delay {
            generator,
            gap,
            schedule: Schedule::default(),
        }
    }
}

impl<G: Generator> Generator for Delay<G> {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        self.schedule.hold(self.generator.peek(ctx))
    }

    fn accept(&mut self, ctx: &Context<'_>, planned: &Planned) {
        self.schedule.advance(planned.time.max(ctx.time), self.gap);
        self.generator.accept(ctx, planned);
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        self.generator.update(ctx, update);
    }
}

/// Generators on a rotating schedule: the first for its time, then the second for its, and so on, and
/// from the beginning. A generator that is not on keeps its state. Done when the one that is on is done.
///
/// The schedule begins when this is first asked. Updates go to all.
pub fn cycle_times<I>(windows: I) -> impl Generator + 'static
where
    I: IntoIterator<Item = (Duration, BoxGenerator)>,
{
    let windows = windows.into_iter();
    let windows: Vec<_> = windows
        .map(|(length, each)| (nanos(length), each))
        .collect();
    CycleTimes {
        period: windows
            .iter()
            .fold(0, |sum, (length, _)| sum.saturating_add(*length)),
        windows,
        begun: None,
        current: 0,
    }
}

struct CycleTimes {
    windows: Vec<(Nanos, BoxGenerator)>,
    period: Nanos,
    begun: Option<Nanos>,
    /// The window of the last question.
    current: usize,
}

impl CycleTimes {
    /// The window at a time, and when it ends.
    fn window(&self, time: Nanos, begun: Nanos) -> (usize, Nanos) {
        let into_period = (time - begun) % self.period;
        let mut end = time - into_period;
        for (at, (length, _)) in self.windows.iter().enumerate() {
            end = end.saturating_add(*length);
            if time < end {
                return (at, end);
            }
        }
        // Only at the end of time, where sums saturate.
        (0, Nanos::MAX)
    }
}

impl Generator for CycleTimes {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        if self.period == 0 {
            return Peek::Done;
        }
        let begun = *self.begun.get_or_insert(ctx.time);
        let (current, end) = self.window(ctx.time, begun);
        self.current = current;
        until(self.windows[current].1.peek(ctx), end)
    }

    fn accept(&mut self, ctx: &Context<'_>, planned: &Planned) {
        self.windows[self.current].1.accept(ctx, planned);
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        for (_, generator) in &mut self.windows {
            generator.update(ctx, update);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::generator::simulate::{Ending, perfect, roster, simulate};
    use crate::generator::testing::{integers, many, ns, rows, secs, values};
    use crate::generator::{GeneratorExt, concat, op, sleep};
    use crate::{client::Op, generators};
    use store::{EventType, json};

    #[test]
    fn delay_is_exact_and_catches_up() {
        let steps = perfect(2, many("w").delay(ns(3)).limit(5));
        // Due at 9 and 12, but all threads are busy: 9 comes at 10, and 12 when the next is free.
        assert_eq!(
            rows(&steps),
            [
                ("w", 0, 0),
                ("w", 1, 3),
                ("w", 2, 6),
                ("w", 0, 10),
                ("w", 1, 13)
            ]
        );
        let steps = perfect(9, many("w").delay(ns(100)).limit(1000));
        assert_eq!(steps.last().map(|step| step.time), Some(99_900));
    }

    #[test]
    fn a_little_lateness_is_made_up_for() {
        // One thread, 1 µs apart, and every operation that is a multiple of 10 takes 5 µs.
        let paced = integers("w").delay(ns(1000)).limit(100).clients();
        let steps = simulate(roster(1), paced, |step| Ending {
            latency: if step.op.value.as_u64().unwrap() % 10 == 0 {
                5000
            } else {
                10
            },
            kind: EventType::Ok,
        });
        let begun: Vec<_> = steps
            .unwrap()
            .into_iter()
            .filter(|s| s.kind == EventType::Invoke)
            .collect();
        assert_eq!(begun[9].time, 9000);
        assert_eq!(begun[99].time, 99_000);
    }

    #[test]
    fn a_stall_makes_no_flood() {
        let paced = many("w").delay(secs(1)).limit(4).clients();
        let mut latencies = [secs(10)].into_iter();
        let steps = simulate(roster(1), paced, |_| Ending {
            latency: nanos(latencies.next().unwrap_or(ns(10))),
            kind: EventType::Ok,
        });
        let begun: Vec<_> = steps
            .unwrap()
            .into_iter()
            .filter(|s| s.kind == EventType::Invoke)
            .collect();
        let seconds: Vec<_> = begun.iter().map(|step| step.time / 1_000_000_000).collect();
        assert_eq!(seconds, [0, 10, 11, 12]);
    }

    #[test]
    fn stagger_has_the_mean_rate() {
        for (workers, latency) in [(2, 10), (2, 25), (30, 400)] {
            let paced = integers("w").stagger(Seed::new(5), ns(20)).limit(2000);
            let steps = simulate(roster(workers), paced, |_| Ending {
                latency,
                kind: EventType::Ok,
            });
            let steps = steps.unwrap();
            let begun = steps.iter().filter(|s| s.kind == EventType::Invoke);
            let rate = 2000.0 / begun.map(|s| s.time).max().unwrap() as f64;
            assert!((0.95..1.05).contains(&(rate * 20.0)), "{rate}");
        }
    }

    #[test]
    fn stagger_gaps_are_spread_from_nothing_to_twice_the_mean() {
        let steps = perfect(50, many("w").stagger(Seed::new(1), ns(1000)).limit(5000));
        let gaps: Vec<_> = steps
            .windows(2)
            .map(|pair| pair[1].time - pair[0].time)
            .collect();
        let below = |limit| gaps.iter().filter(|gap| **gap < limit).count();
        assert_eq!(below(2001), 4999);
        for quarter in 1..4 {
            let share = below(quarter * 500) as f64 / 4999.0;
            assert!((share - quarter as f64 / 4.0).abs() < 0.03, "{share}");
        }
        let again = perfect(50, many("w").stagger(Seed::new(1), ns(1000)).limit(5000));
        assert_eq!(steps, again);
        let other = perfect(50, many("w").stagger(Seed::new(2), ns(1000)).limit(5000));
        assert_ne!(steps, other);
    }

    #[test]
    fn cycle_times_rotates_and_keeps_state() {
        let windows = [
            (secs(5), integers("a").delay(secs(1)).boxed()),
            (secs(10), integers("b").delay(secs(3)).limit(5).boxed()),
        ];
        let steps = perfect(2, cycle_times(windows).clients());
        let seconds: Vec<_> = steps
            .iter()
            .map(|s| (s.time / 1_000_000_000, &*s.op.f))
            .collect();
        let a = |from: u64| (from..from + 5).map(|second| (second, "a"));
        let b = [5, 8, 11, 14].map(|second| (second, "b"));
        // At 20 the last b comes; then b is done, and so is all.
        let expected: Vec<_> = a(0).chain(b).chain(a(15)).chain([(20, "b")]).collect();
        assert_eq!(seconds, expected);
        assert_eq!(
            values(&steps),
            [0, 1, 2, 3, 4, 0, 1, 2, 3, 5, 6, 7, 8, 9, 4]
        );
    }

    #[test]
    fn cycle_times_comes_back_to_what_waits() {
        let nap = concat(generators![
            sleep(secs(7)),
            op(Op::new("late", json!(null)))
        ]);
        let windows = [
            (secs(2), many("a").delay(secs(1)).boxed()),
            (secs(3), nap.boxed()),
        ];
        let steps = perfect(1, cycle_times(windows).clients());
        let seconds: Vec<_> = steps
            .iter()
            .map(|s| (s.time / 1_000_000_000, &*s.op.f))
            .collect();
        // The sleep begins at 2 and is over at 9, in its own window; then that one is done.
        assert_eq!(
            seconds,
            [(0, "a"), (1, "a"), (5, "a"), (6, "a"), (9, "late")]
        );
        assert_eq!(perfect(1, cycle_times([])), []);
    }
}
