//! One generator after another.

use super::{BoxGenerator, Context, Generator, GeneratorExt, Peek, Planned, Update};

/// How many generators in a row may be done at once before a sequence is taken to be endless and
/// empty.
const EMPTY_MAX: usize = 100_000;

/// The same for the rounds of a cycle. Fewer, since an empty cycle in an empty cycle takes as many as
/// the product.
const EMPTY_ROUNDS_MAX: usize = 64;

/// Everything of the first generator, then everything of the second, and so on.
///
/// The next one begins when the last has nothing more to emit, also while operations are in flight;
/// see [`phases`]. The sequence may be infinite; each is made when it is reached. Updates go to the
/// current one.
pub fn concat<I>(generators: I) -> impl Generator + 'static
where
    I: IntoIterator<Item = BoxGenerator>,
    I::IntoIter: Send + 'static,
{
    Concat {
        current: None,
        rest: Some(generators.into_iter()),
        empty_max: EMPTY_MAX,
    }
}

/// Like [`concat()`], with a barrier before each: it begins when all threads are free.
pub fn phases<I>(generators: I) -> impl Generator + 'static
where
    I: IntoIterator<Item = BoxGenerator>,
    I::IntoIter: Send + 'static,
{
    let generators = generators.into_iter();
    concat(generators.map(|generator| generator.synchronize().boxed()))
}

/// Begins again whenever it is done, for ever: with the generator that the function makes for round
/// 0, 1, 2 … It ends, and the log says so, if 64 rounds in a row are empty.
pub fn cycle<F, G>(make: F) -> impl Generator + 'static
where
    F: FnMut(u64) -> G + Send + 'static,
    G: Generator + 'static,
{
    cycle_n(u64::MAX, make)
}

/// Like [`cycle`], for this many rounds.
pub fn cycle_n<F, G>(rounds: u64, mut make: F) -> impl Generator + 'static
where
    F: FnMut(u64) -> G + Send + 'static,
    G: Generator + 'static,
{
    Concat {
        current: None,
        rest: Some((0..rounds).map(move |round| make(round).boxed())),
        empty_max: EMPTY_ROUNDS_MAX,
    }
}

struct Concat<I> {
    current: Option<BoxGenerator>,
    /// `None` when it has ended.
    rest: Option<I>,
    empty_max: usize,
}

impl<I: Iterator<Item = BoxGenerator> + Send> Generator for Concat<I> {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        for _ in 0..self.empty_max {
            if self.current.is_none() {
                self.current = self.rest.as_mut().and_then(Iterator::next);
            }
            let Some(current) = &mut self.current else {
                self.rest = None;
                return Peek::Done;
            };
            match current.peek(ctx) {
                Peek::Done => self.current = None,
                answer => return answer,
            }
        }
        tracing::error!(
            "{} generators in a row emitted nothing; their sequence ends here",
            self.empty_max
        );
        self.rest = None;
        Peek::Done
    }

    fn accept(&mut self, ctx: &Context<'_>, planned: &Planned) {
        if let Some(current) = &mut self.current {
            current.accept(ctx, planned);
        }
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        if let Some(current) = &mut self.current {
            current.update(ctx, update);
        }
    }
}

/// Waits for all threads to be free before the first operation.
pub(super) struct Synchronize<G> {
    generator: G,
    begun: bool,
}

impl<G: Generator> Synchronize<G> {
    pub(super) fn new(generator: G) -> Synchronize<G> {
        Synchronize {
            generator,
            begun: false,
        }
    }
}

impl<G: Generator> Generator for Synchronize<G> {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        if !self.begun && !ctx.all_free() {
            return Peek::Pending;
        }
        let answer = self.generator.peek(ctx);
        // A mere offer does not open the barrier: another generator's may be taken instead.
        self.begun |= matches!(answer, Peek::Wait(_) | Peek::Done);
        answer
    }

    fn accept(&mut self, ctx: &Context<'_>, planned: &Planned) {
        self.begun = true;
        self.generator.accept(ctx, planned);
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        self.generator.update(ctx, update);
    }
}

/// An operation of the first, one of the second, one of the first, and so on; done as soon as the one
/// whose turn it is is done.
pub fn flip_flop(a: impl Generator + 'static, b: impl Generator + 'static) -> impl Generator {
    FlipFlop {
        generators: [a.boxed(), b.boxed()],
        turn: 0,
    }
}

struct FlipFlop {
    generators: [BoxGenerator; 2],
    turn: usize,
}

impl Generator for FlipFlop {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        self.generators[self.turn].peek(ctx)
    }

    fn accept(&mut self, ctx: &Context<'_>, planned: &Planned) {
        self.generators[self.turn].accept(ctx, planned);
        self.turn = 1 - self.turn;
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        for generator in &mut self.generators {
            generator.update(ctx, update);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::generator::simulate::{Ending, imperfect, perfect, roster, simulate};
    use crate::generator::testing::{call, fs, integers, many, ns, rows, times, values};
    use crate::generator::{Occupancy, log, nothing, op, ops, sleep};
    use crate::generators;
    use store::EventType;

    #[test]
    fn concat_runs_one_after_another_without_barriers() {
        let abc = || {
            generators![
                ops([call("a"), call("b")]),
                many("c").limit(1),
                op(call("d"))
            ]
        };
        assert_eq!(fs(&perfect(2, concat(abc()))), ["a", "b", "c", "d"]);
        assert_eq!(
            times(&perfect(3, concat(abc()))),
            [(0, "a"), (0, "b"), (0, "c"), (0, "d")]
        );
        assert_eq!(perfect(2, concat([])), []);
        let nested = concat(generators![
            concat(abc()),
            nothing(),
            concat(generators![concat(abc())])
        ]);
        assert_eq!(
            fs(&perfect(2, nested)),
            ["a", "b", "c", "d", "a", "b", "c", "d"]
        );
    }

    #[test]
    fn updates_go_to_the_current_one() {
        // Both fail; then one succeeds, and while the other is in flight the next generator begins.
        let retry = concat(generators![many("read").until_ok(), op(call("done"))]).clients();
        let mut kinds = [
            EventType::Fail,
            EventType::Fail,
            EventType::Ok,
            EventType::Ok,
        ]
        .into_iter();
        let steps = simulate(roster(2), retry, |_| Ending {
            latency: 10,
            kind: kinds.next().unwrap_or(EventType::Info),
        });
        let steps = steps.unwrap();
        let rows: Vec<_> = steps.iter().map(|s| (s.time, &*s.op.f, s.kind)).collect();
        let expected = [
            (0, "read", EventType::Invoke),
            (0, "read", EventType::Invoke),
            (10, "read", EventType::Fail),
            (10, "read", EventType::Invoke),
            (10, "read", EventType::Fail),
            (10, "read", EventType::Invoke),
            (20, "read", EventType::Ok),
            (20, "done", EventType::Invoke),
            (20, "read", EventType::Ok),
            (30, "done", EventType::Info),
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn phases_wait_for_each_other() {
        let abc = generators![many("a").limit(2), op(call("b")), many("c").limit(3)];
        let steps = perfect(2, phases(abc).clients());
        let expected = [
            ("a", 0, 0),
            ("a", 1, 0),
            ("b", 0, 10),
            ("c", 1, 20),
            ("c", 0, 20),
            ("c", 1, 30),
        ];
        assert_eq!(rows(&steps), expected);
    }

    #[test]
    fn a_barrier_waits_for_the_slowest_thread() {
        let two = ops([call("a"), call("a"), call("a")]).then(many("b").limit(3));
        let mut latencies = [30, 10, 20].into_iter();
        let steps = simulate(roster(2), two, |_| Ending {
            latency: latencies.next().unwrap_or(1),
            kind: EventType::Ok,
        });
        let steps = steps.unwrap();
        let begun: Vec<_> = steps
            .iter()
            .filter(|s| s.kind == EventType::Invoke)
            .collect();
        let begun: Vec<_> = begun.iter().map(|s| (&*s.op.f, s.thread, s.time)).collect();
        let all = [
            ("a", 0, 0),
            ("a", 1, 0),
            ("a", 2, 0),
            ("b", 0, 30),
            ("b", 1, 30),
            ("b", 2, 30),
        ];
        assert_eq!(begun, all);
    }

    #[test]
    fn an_offer_does_not_pass_a_barrier_but_an_operation_does() {
        let mut barrier = many("a").synchronize();
        let mut occupancy = Occupancy::new(roster(2));
        let Peek::Op(planned) = barrier.peek(&occupancy.context(0)) else {
            panic!("all are free");
        };
        // Another generator is quicker.
        occupancy.begin(0);
        assert_eq!(barrier.peek(&occupancy.context(0)), Peek::Pending);
        occupancy.end(0, false);
        assert!(matches!(barrier.peek(&occupancy.context(5)), Peek::Op(_)));
        barrier.accept(&occupancy.context(5), &planned);
        occupancy.begin(0);
        assert!(matches!(barrier.peek(&occupancy.context(5)), Peek::Op(_)));
    }

    #[test]
    fn then_is_a_barrier_between_two() {
        let steps = perfect(3, many("w").limit(3).then(op(call("r"))).clients());
        assert_eq!(times(&steps), [(0, "w"), (0, "w"), (0, "w"), (10, "r")]);
        assert_eq!(
            times(&perfect(1, nothing().then(op(call("r"))))),
            [(0, "r")]
        );
        assert_eq!(
            times(&perfect(1, op(call("w")).then(nothing()))),
            [(0, "w")]
        );
    }

    #[test]
    fn a_sleep_as_a_phase() {
        let steps = perfect(
            2,
            phases(generators![
                many("a").limit(3),
                sleep(ns(90)),
                many("b").limit(2)
            ]),
        );
        assert_eq!(
            times(&steps),
            [(0, "a"), (0, "a"), (0, "a"), (100, "b"), (100, "b")]
        );
    }

    #[test]
    fn cycle_begins_again() {
        let round = |_| phases(generators![many("a").limit(3), op(call("b"))]);
        let steps = perfect(2, cycle_n(2, round).clients());
        let once = |at| [(at, "a"), (at, "a"), (at + 10, "a"), (at + 20, "b")];
        assert_eq!(times(&steps), [once(0), once(30)].concat());
        assert_eq!(perfect(2, cycle(round).limit(103)).len(), 103);
        assert_eq!(perfect(2, cycle_n(0, round)), []);
        let counted = cycle_n(3, |round| op(crate::client::Op::new("r", round.into())));
        assert_eq!(values(&perfect(1, counted)), [0, 1, 2]);
    }

    #[test]
    fn an_empty_cycle_ends() {
        assert_eq!(perfect(2, cycle(|_| nothing())), []);
        assert_eq!(perfect(2, cycle(|_| log("again and again")).limit(2)), []);
        let nested = cycle(|_| cycle(|_| cycle(|_| nothing())));
        assert_eq!(
            times(&perfect(2, concat(generators![nested, op(call("a"))]))),
            [(0, "a")]
        );
    }

    #[test]
    fn flip_flop_alternates_and_ends_with_either() {
        let both = flip_flop(integers("write"), ops([call("read"), call("finalize")]));
        let steps = perfect(2, both.limit(10).clients());
        assert_eq!(fs(&steps), ["write", "read", "write", "finalize", "write"]);
        assert_eq!(values(&steps), [0, 1, 2]);
    }

    #[test]
    fn flip_flop_hears_of_completions() {
        let both = flip_flop(many("a").until_ok(), many("b"));
        let steps = imperfect(1, both.clients());
        let begun = steps.iter().filter(|s| s.kind == EventType::Invoke);
        // a fails, b is unknown, a succeeds, b fails, and a is done.
        assert_eq!(
            begun.map(|s| &*s.op.f).collect::<Vec<_>>(),
            ["a", "b", "a", "b"]
        );
    }
}
