//! Finding out what is wrong with a generator.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::{Context, Generator, Peek, Planned, Update};

/// Panics on answers that break the contract of generators.
pub(super) struct Validate<G> {
    pub(super) generator: G,
}

/// What is wrong with an answer.
pub(crate) fn problem(ctx: &Context<'_>, answer: &Peek) -> Option<&'static str> {
    match answer {
        Peek::Op(planned) if !ctx.threads.contains(planned.thread) => {
            Some("the operation's thread is not one that the generator may use")
        }
        Peek::Op(planned) if !ctx.free.contains(planned.thread) => {
            Some("the operation's thread is busy")
        }
        Peek::Op(planned) if planned.op.f.is_empty() => {
            Some("the operation's function has no name")
        }
        Peek::Wait(time) if *time <= ctx.time => Some("it waits for a time that has come already"),
        _ => None,
    }
}

impl<G: Generator> Generator for Validate<G> {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        let answer = self.generator.peek(ctx);
        if let Some(problem) = problem(ctx, &answer) {
            panic!("a generator gave a wrong answer: {problem}.\n  answer: {answer:?}\n  {ctx:?}");
        }
        answer
    }

    fn accept(&mut self, ctx: &Context<'_>, planned: &Planned) {
        self.generator.accept(ctx, planned);
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        self.generator.update(ctx, update);
    }
}

/// Says which generator panicked, and when.
pub(super) struct Friendly<G> {
    pub(super) generator: G,
    pub(super) name: String,
}

impl<G: Generator> Friendly<G> {
    fn watch<T>(&mut self, ctx: &Context<'_>, doing: &str, act: impl FnOnce(&mut G) -> T) -> T {
        // The panic goes on, so nobody sees what it left half done.
        let result = catch_unwind(AssertUnwindSafe(|| act(&mut self.generator)));
        result.unwrap_or_else(|panic| {
            tracing::error!(
                generator = self.name,
                ?ctx,
                "the generator panicked when {doing}"
            );
            resume_unwind(panic)
        })
    }
}

impl<G: Generator> Generator for Friendly<G> {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        self.watch(ctx, "asked for an operation", |generator| {
            generator.peek(ctx)
        })
    }

    fn accept(&mut self, ctx: &Context<'_>, planned: &Planned) {
        let doing = format!("told that {planned:?} was taken");
        self.watch(ctx, &doing, |generator| generator.accept(ctx, planned));
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        let doing = format!("told of {update:?}");
        self.watch(ctx, &doing, |generator| generator.update(ctx, update));
    }
}

/// Logs everything that a generator is asked, answers and is told.
pub(super) struct Trace<G> {
    pub(super) generator: G,
    pub(super) name: String,
}

impl<G: Generator> Generator for Trace<G> {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        let answer = self.generator.peek(ctx);
        tracing::info!(generator = self.name, ?ctx, ?answer, "asked");
        answer
    }

    fn accept(&mut self, ctx: &Context<'_>, planned: &Planned) {
        tracing::info!(generator = self.name, ?ctx, ?planned, "taken");
        self.generator.accept(ctx, planned);
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        tracing::info!(generator = self.name, ?ctx, ?update, "updated");
        self.generator.update(ctx, update);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::client::Op;
    use crate::generator::simulate::{perfect, quick};
    use crate::generator::testing::{call, many};
    use crate::generator::{GeneratorExt, Thread};
    use crate::time::Nanos;
    use store::json;

    /// Answers what it is told to.
    struct Always(Peek);

    impl Generator for Always {
        fn peek(&mut self, _: &Context<'_>) -> Peek {
            self.0.clone()
        }
        fn accept(&mut self, _: &Context<'_>, _: &Planned) {}
    }

    fn planned(time: Nanos, thread: Thread, op: Op) -> Always {
        Always(Peek::Op(Planned { time, thread, op }))
    }

    #[test]
    #[should_panic(expected = "the operation's thread is busy")]
    fn busy_threads_are_found() {
        perfect(2, planned(0, 1, call("a")).limit(2));
    }

    #[test]
    #[should_panic(expected = "not one that the generator may use")]
    fn unknown_threads_are_found() {
        perfect(2, planned(0, 2, call("a")).validate().clients());
    }

    #[test]
    #[should_panic(expected = "has no name")]
    fn nameless_functions_are_found() {
        perfect(2, planned(0, 0, Op::new("", json!(null))));
    }

    #[test]
    #[should_panic(expected = "a time that has come already")]
    fn waits_for_the_past_are_found() {
        perfect(2, Always(Peek::Wait(0)));
    }

    #[test]
    #[should_panic(expected = "asked again, it says something else")]
    fn fickle_answers_are_found() {
        struct Fickle(u64);
        impl Generator for Fickle {
            fn peek(&mut self, _: &Context<'_>) -> Peek {
                self.0 += 1;
                Peek::Wait(self.0)
            }
            fn accept(&mut self, _: &Context<'_>, _: &Planned) {}
        }
        perfect(2, Fickle(0));
    }

    #[test]
    fn checks_change_nothing() {
        let plain = quick(2, many("a").limit(10));
        let checked = many("a")
            .trace("inner")
            .validate()
            .friendly("outer")
            .limit(10);
        assert_eq!(quick(2, checked), plain);
    }

    #[test]
    #[should_panic(expected = "out of ideas")]
    fn friendly_lets_panics_through() {
        struct Panics;
        impl Generator for Panics {
            fn peek(&mut self, _: &Context<'_>) -> Peek {
                panic!("out of ideas")
            }
            fn accept(&mut self, _: &Context<'_>, _: &Planned) {}
        }
        perfect(2, Panics.friendly("panics"));
    }
}
