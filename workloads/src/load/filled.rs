//! Operations of which a part depends on all that were begun before: which number is next, which key is in use.
//!
//! What a thread draws is the same whatever the others do; what is next is not. So the former comes from a
//! [stream](super::Streams), with places where the latter belongs, and is filled in here, in the order in which operations begin.

use harness::client::Op;
use harness::generator::{Context, Generator, Peek, Planned, Update};

/// What is told of a state.
type Note<S> = Box<dyn Fn(&S) + Send>;

/// Operations of a generator, with what is missing filled in from a state.
pub(crate) struct Filled<G, S, F> {
    generator: G,
    state: S,
    fill: F,
    /// The state as it is when what was peeked is accepted.
    then: Option<S>,
    note: Option<Note<S>>,
}

impl<G, S, F> Filled<G, S, F> {
    /// `fill` completes an operation, and changes the state to what it is after it.
    pub(crate) fn new(generator: G, state: S, fill: F) -> Filled<G, S, F> {
        Filled {
            generator,
            state,
            fill,
            then: None,
            note: None,
        }
    }

    /// The same, which tells what the state is after each operation that began.
    pub(crate) fn noting(self, note: impl Fn(&S) + Send + 'static) -> Filled<G, S, F> {
        Filled {
            note: Some(Box::new(note)),
            ..self
        }
    }
}

impl<G, S, F> Generator for Filled<G, S, F>
where
    G: Generator,
    S: Clone + Send,
    F: Fn(&mut S, &mut Op) + Send,
{
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        let mut peek = self.generator.peek(ctx);
        if let Peek::Op(planned) = &mut peek {
            let mut state = self.state.clone();
            (self.fill)(&mut state, &mut planned.op);
            self.then = Some(state);
        }
        peek
    }

    fn accept(&mut self, ctx: &Context<'_>, planned: &Planned) {
        if let Some(state) = self.then.take() {
            self.state = state;
            if let Some(note) = &self.note {
                note(&self.state);
            }
        }
        self.generator.accept(ctx, planned);
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        self.generator.update(ctx, update);
    }
}
