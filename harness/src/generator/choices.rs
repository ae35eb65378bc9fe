//! Several generators for the same threads.

use rand::RngExt;
use smallvec::SmallVec;

use super::counts::Counts;
use super::{BoxGenerator, Context, Generator, Peek, Planned, Thread, Update};
use crate::seed::{Rng, Seed};
use crate::time::Nanos;

/// The earlier of two times to ask again, of which the first may be none.
pub(super) fn earlier(wake: Option<Nanos>, time: Nanos) -> Option<Nanos> {
    Some(wake.map_or(time, |wake| wake.min(time)))
}

/// The answer of several together: their soonest operation, unless one of them is to be asked again
/// before that.
pub(super) fn soonest(best: Option<Planned>, wake: Option<Nanos>) -> Peek {
    match (best, wake) {
        (Some(best), Some(wake)) if wake < best.time => Peek::Wait(wake),
        (Some(best), _) => Peek::Op(best),
        (None, Some(wake)) => Peek::Wait(wake),
        (None, None) => Peek::Pending,
    }
}

/// One of several generators. It hears of completions also when it is done, since its last operations
/// end only then.
struct Member {
    generator: BoxGenerator,
    done: bool,
}

fn members(generators: impl IntoIterator<Item = BoxGenerator>) -> Vec<Member> {
    let member = |generator| Member {
        generator,
        done: false,
    };
    generators.into_iter().map(member).collect()
}

/// Operations from any of the generators, the soonest first; done when all are done. Updates go to all.
///
/// Of operations for the same time, the one goes first whose thread's turn it is; between several for
/// that thread, chance decides, from the seed and the thread's own count.
pub fn any<I>(seed: Seed, generators: I) -> impl Generator + 'static
where
    I: IntoIterator<Item = BoxGenerator>,
{
    Any::new(seed, generators, false)
}

/// Like [`any`], but done as soon as one of the generators is done.
pub fn shortest_any<I>(seed: Seed, generators: I) -> impl Generator + 'static
where
    I: IntoIterator<Item = BoxGenerator>,
{
    Any::new(seed, generators, true)
}

pub(super) struct Any {
    seed: Seed,
    members: Vec<Member>,
    shortest: bool,
    counts: Counts,
    chosen: usize,
}

impl Any {
    pub(super) fn new<I>(seed: Seed, generators: I, shortest: bool) -> Any
    where
        I: IntoIterator<Item = BoxGenerator>,
    {
        Any {
            seed,
            members: members(generators),
            shortest,
            counts: Counts::default(),
            chosen: 0,
        }
    }

    fn rng(&self, thread: Thread) -> Rng {
        let count = self.counts.get(thread);
        self.seed.child(thread as u64).child(count).rng()
    }
}

/// The best offer so far.
struct Best {
    planned: Planned,
    rank: (Nanos, bool, Thread),
    /// Offers as good as this one, itself included, and the chance that decides between them.
    ties: u32,
    rng: Option<Rng>,
}

impl Generator for Any {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        let mut best: Option<Best> = None;
        let mut wake = None;
        let mut done = true;
        for at in 0..self.members.len() {
            let member = &mut self.members[at];
            if member.done {
                if self.shortest {
                    return Peek::Done;
                }
                continue;
            }
            match member.generator.peek(ctx) {
                Peek::Done => {
                    member.done = true;
                    if self.shortest {
                        return Peek::Done;
                    }
                    continue;
                }
                Peek::Pending => {}
                Peek::Wait(time) => wake = earlier(wake, time),
                Peek::Op(planned) => {
                    let thread = planned.thread;
                    let rank = (planned.time.max(ctx.time), thread < ctx.next, thread);
                    match &mut best {
                        Some(best) if best.rank < rank => {}
                        Some(best) if best.rank == rank => {
                            best.ties += 1;
                            let rng = best.rng.get_or_insert_with(|| self.rng(thread));
                            // Each of k equal offers ends up chosen with a chance of 1/k.
                            if rng.random_range(0..best.ties) == 0 {
                                best.planned = planned;
                                self.chosen = at;
                            }
                        }
                        _ => {
                            best = Some(Best {
                                planned,
                                rank,
                                ties: 1,
                                rng: None,
                            });
                            self.chosen = at;
                        }
                    }
                }
            }
            done = false;
        }
        if done {
            return Peek::Done;
        }
        soonest(best.map(|best| best.planned), wake)
    }

    fn accept(&mut self, ctx: &Context<'_>, planned: &Planned) {
        self.counts.add(planned.thread);
        self.members[self.chosen].generator.accept(ctx, planned);
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        for member in &mut self.members {
            member.generator.update(ctx, update);
        }
    }
}

/// A uniformly random mixture: each operation comes from one of the generators, chosen from the seed,
/// the thread and the thread's own count. Done when all are done.
///
/// A generator that has nothing for the thread now (it is pending, sleeps or is done) is passed over
/// for another. One whose operation is planned for later is waited for, so that the mixture stays as
/// it was drawn. Updates go to all.
pub fn mix<I>(seed: Seed, generators: I) -> impl Generator + 'static
where
    I: IntoIterator<Item = BoxGenerator>,
{
    Mix {
        seed,
        members: members(generators),
        counts: Counts::default(),
        chosen: 0,
    }
}

struct Mix {
    seed: Seed,
    members: Vec<Member>,
    counts: Counts,
    chosen: usize,
}

impl Mix {
    fn done(&self) -> bool {
        self.members.iter().all(|member| member.done)
    }

    /// Asks the generators in the thread's random order until one has an operation for it. If none has,
    /// but one has an operation for another thread, that is the error.
    fn draw(&mut self, ctx: &Context<'_>, thread: Thread) -> Result<Peek, (usize, Planned)> {
        let count = self.counts.get(thread);
        let mut rng = self.seed.child(thread as u64).child(count).rng();
        // Generators that are done are drawn, too, and passed over: so the choices do not depend on
        // when one ended.
        let mut untried: SmallVec<[u32; 16]> = (0..self.members.len() as u32).collect();
        let mut wake = None;
        let mut other: Option<(usize, Planned)> = None;
        while !untried.is_empty() {
            let at = untried.swap_remove(rng.random_range(0..untried.len())) as usize;
            let member = &mut self.members[at];
            if member.done {
                continue;
            }
            match member.generator.peek(ctx) {
                Peek::Done => member.done = true,
                Peek::Pending => {}
                Peek::Wait(time) => wake = earlier(wake, time),
                Peek::Op(planned) if planned.thread == thread => {
                    self.chosen = at;
                    return Ok(Peek::Op(planned));
                }
                Peek::Op(planned) => {
                    other.get_or_insert((at, planned));
                }
            }
        }
        match other {
            Some(other) => Err(other),
            None if self.done() => Ok(Peek::Done),
            None => Ok(soonest(None, wake)),
        }
    }
}

impl Generator for Mix {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        let Some(thread) = ctx.turn() else {
            return if self.done() {
                Peek::Done
            } else {
                Peek::Pending
            };
        };
        let drawn = self.draw(ctx, thread).or_else(|(_, planned)| {
            // None serves that thread, so it is another's turn: by the chances of that one.
            let next = planned.thread;
            self.draw(&Context { next, ..*ctx }, next)
        });
        drawn.unwrap_or_else(|(at, planned)| {
            self.chosen = at;
            Peek::Op(planned)
        })
    }

    fn accept(&mut self, ctx: &Context<'_>, planned: &Planned) {
        self.counts.add(planned.thread);
        self.members[self.chosen].generator.accept(ctx, planned);
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        for member in &mut self.members {
            member.generator.update(ctx, update);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::generator::simulate::{Step, perfect, quick};
    use crate::generator::testing::{call, count, fs, many, ns, rows, secs, times};
    use crate::generator::{GeneratorExt, concat, nothing, op, sleep};
    use crate::generators;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// `a` on thread 0 and `b` on thread 1, every 20 ns each.
    fn apart() -> Vec<BoxGenerator> {
        generators![
            many("a").delay(ns(20)).on_threads(|thread, _| thread == 0),
            many("b").delay(ns(20)).on_threads(|thread, _| thread == 1),
        ]
    }

    #[test]
    fn any_takes_the_soonest() {
        let steps = perfect(2, any(Seed::new(1), apart()).limit(4));
        assert_eq!(
            rows(&steps),
            [("a", 0, 0), ("b", 1, 0), ("a", 0, 20), ("b", 1, 20)]
        );
        let steps = perfect(
            2,
            any(
                Seed::new(1),
                generators![nothing(), op(call("x")), nothing()],
            ),
        );
        assert_eq!(fs(&steps), ["x"]);
        assert_eq!(perfect(2, any(Seed::new(1), [])), []);
    }

    #[test]
    fn any_asks_again_when_a_sleep_is_over() {
        let first = op(call("x")).once();
        let slow = many("a").delay(ns(60)).limit(2);
        let nap = || concat(generators![sleep(ns(30)), op(call("b"))]);
        let steps = perfect(
            3,
            any(Seed::new(1), generators![first, slow, nap()]).clients(),
        );
        let mut expected = [(0, "x"), (0, "a"), (30, "b"), (60, "a")];
        expected[..2].copy_from_slice(&times(&steps)[..2]);
        assert_eq!(times(&steps), expected);
    }

    #[test]
    fn any_decides_ties_by_chance_and_evenly() {
        let three = || generators![many("a"), many("b"), many("c")];
        let steps = perfect(4, any(Seed::new(1), three()).limit(3000));
        for f in ["a", "b", "c"] {
            let n = count(&steps, f);
            assert!((900..1100).contains(&n), "{f}: {n}");
        }
        let other = perfect(4, any(Seed::new(2), three()).limit(3000));
        assert_ne!(fs(&steps), fs(&other));
    }

    fn mean_gap(steps: &[Step], f: &str) -> f64 {
        let times: Vec<_> = steps
            .iter()
            .filter(|s| *s.op.f == *f)
            .map(|s| s.time)
            .collect();
        (times[times.len() - 1] - times[0]) as f64 / (times.len() - 1) as f64 / 1e9
    }

    #[test]
    fn any_starves_no_stagger() {
        let both = generators![
            many("a").stagger(Seed::new(1), secs(3)),
            many("b").stagger(Seed::new(2), secs(5)),
        ];
        let steps = perfect(2, any(Seed::new(3), both).limit(1000).clients());
        assert_eq!(steps.len(), 1000);
        assert!((2.7..3.3).contains(&mean_gap(&steps, "a")));
        assert!((4.5..5.5).contains(&mean_gap(&steps, "b")));
    }

    #[test]
    fn shortest_any_ends_with_the_first() {
        let [a, b]: [BoxGenerator; 2] = apart().try_into().map_err(|_| "two").unwrap();
        let steps = perfect(2, shortest_any(Seed::new(1), generators![a.limit(2), b]));
        assert_eq!(rows(&steps), [("a", 0, 0), ("b", 1, 0), ("a", 0, 20)]);
        assert_eq!(
            perfect(
                2,
                shortest_any(Seed::new(1), generators![nothing(), many("a")])
            ),
            []
        );
    }

    #[test]
    fn shortest_any_runs_a_load_for_as_long_as_the_faults() {
        let faults = concat(generators![sleep(ns(50)), op(call("start")), sleep(ns(50))]).nemeses();
        let steps = perfect(
            2,
            shortest_any(Seed::new(1), generators![faults, many("r").clients()]),
        );
        assert!(rows(&steps).contains(&("start", 2, 50)));
        // The load goes on until the last sleep is over: 50 + 10 + 50.
        let last = steps.iter().map(|step| step.time).max();
        assert_eq!(last, Some(100));
        assert_eq!(count(&steps, "r"), 2 * 11);
    }

    #[test]
    fn mix_is_uniform_and_uses_everything_up() {
        let both = generators![many("a").limit(50), many("b").limit(100)];
        let steps = perfect(2, mix(Seed::new(1), both));
        assert_eq!((count(&steps, "a"), count(&steps, "b")), (50, 100));
        let a_early = count(&steps[..50], "a");
        assert!((15..35).contains(&a_early), "{a_early}");
        let three = generators![many("a"), many("b"), many("c")];
        let steps = perfect(5, mix(Seed::new(1), three).limit(3000));
        for f in ["a", "b", "c"] {
            let n = count(&steps, f);
            assert!((900..1100).contains(&n), "{f}: {n}");
        }
        assert_eq!(perfect(2, mix(Seed::new(1), [])), []);
    }

    #[test]
    fn members_hear_of_their_last_operations() {
        let counted = |f: &str| {
            let heard = Arc::new(AtomicUsize::new(0));
            let count = heard.clone();
            let member = many(f).limit(3).on_update(move |_, _, _| {
                count.fetch_add(1, Ordering::Relaxed);
            });
            (member.boxed(), heard)
        };
        let ((a, by_a), (b, by_b)) = (counted("a"), counted("b"));
        assert_eq!(perfect(1, any(Seed::new(1), [a, b])).len(), 6);
        let ((c, by_c), (d, by_d)) = (counted("c"), counted("d"));
        assert_eq!(perfect(1, mix(Seed::new(1), [c, d])).len(), 6);
        let heard = [by_a, by_b, by_c, by_d].map(|heard| heard.load(Ordering::Relaxed));
        assert_eq!(heard, [6; 4]);
    }

    #[test]
    fn mix_does_not_wait_for_what_is_pending() {
        // The first is pending while anything is in flight, the second sleeps for ever.
        let stuck = generators![
            many("a").synchronize(),
            concat(generators![sleep(secs(1_000_000)), many("z")]),
            many("b"),
            many("c"),
        ];
        let steps = quick(2, mix(Seed::new(3), stuck).limit(1000));
        assert_eq!(steps.len(), 1000);
        assert_eq!(count(&steps, "z"), 0);
        let (b, c) = (count(&steps, "b"), count(&steps, "c"));
        assert!(b > 250 && b.abs_diff(c) < 120, "{b} {c}");
    }

    #[test]
    fn mix_serves_members_that_serve_some_threads_only() {
        let both = generators![many("a").nemeses(), many("b").clients()];
        let steps = perfect(3, mix(Seed::new(1), both).limit(100));
        assert!(steps.iter().all(|s| (*s.op.f == *"a") == (s.thread == 3)));
        assert_eq!(count(&steps, "a"), 25);
    }

    #[test]
    fn mix_waits_for_a_member_that_is_not_due() {
        let both = generators![many("a").delay(ns(1000)), many("b").delay(ns(1000))];
        let steps = perfect(2, mix(Seed::new(1), both).limit(20));
        let times = times(&steps);
        // As drawn: what comes is not always what would be soonest.
        assert!(times.windows(2).any(|pair| pair[0].1 == pair[1].1));
        assert!(times.last().unwrap().0 >= 9000);
    }
}
