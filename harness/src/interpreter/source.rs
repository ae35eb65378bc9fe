//! The generator of a phase, held so that a panic in it does not take the run down.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::InterpreterError;
use super::attempt::panic_message;
use super::outbox::Completed;
use crate::generator::{BoxGenerator, Context, Generator, Peek, Planned, Update};

/// A generator that is not called again after it has panicked.
pub(super) struct Source {
    generator: BoxGenerator,
    panicked: Option<String>,
}

impl Source {
    pub(super) fn new(generator: BoxGenerator) -> Source {
        Source {
            generator,
            panicked: None,
        }
    }

    pub(super) fn peek(&mut self, ctx: &Context<'_>) -> Result<Peek, InterpreterError> {
        let peeked = self.call(|generator| generator.peek(ctx));
        self.check()?;
        Ok(peeked.unwrap_or(Peek::Done))
    }

    pub(super) fn accept(
        &mut self,
        ctx: &Context<'_>,
        planned: &Planned,
    ) -> Result<(), InterpreterError> {
        self.call(|generator| generator.accept(ctx, planned));
        self.check()
    }

    pub(super) fn update(&mut self, ctx: &Context<'_>, completed: &Completed) {
        let update = Update {
            thread: completed.thread,
            op: &completed.op,
            kind: completed.kind,
            value: &completed.value,
            error: completed.error.as_ref().map(|error| &*error.class),
        };
        self.call(|generator| generator.update(ctx, &update));
    }

    /// Whether it has panicked.
    pub(super) fn check(&self) -> Result<(), InterpreterError> {
        match &self.panicked {
            Some(message) => Err(InterpreterError::GeneratorPanicked(message.clone())),
            None => Ok(()),
        }
    }

    fn call<T>(&mut self, f: impl FnOnce(&mut BoxGenerator) -> T) -> Option<T> {
        if self.panicked.is_some() {
            return None;
        }
        let generator = &mut self.generator;
        // A generator that panicked is not called again, so a broken state of it is not seen.
        match catch_unwind(AssertUnwindSafe(|| f(generator))) {
            Ok(result) => Some(result),
            Err(panic) => {
                self.panicked = Some(panic_message(&*panic));
                None
            }
        }
    }
}
