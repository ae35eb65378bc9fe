//! The checker of linearizability, for registers and for any model.

use std::sync::Arc;

use store::Event;
use thiserror::Error;

use crate::budget::Budget;
use crate::{CheckResult, Checker, Feed};

use super::checker::Checking;
use super::models::{self, Model};
use super::object::Typed;
use super::objects::Objects;
use super::options::Options;
use super::registers::Registers;
use super::verify::ModelJudge;

/// Checks that a history is linearizable, key by key.
///
/// With [`Linearizable::new`] a history of registers:
///
/// - `read` returns its result as the value of its `ok`.
/// - `write` has the value to write as the value of its invocation.
/// - `cas` has `[from, to]`. `ok`: it succeeded. `fail`: see [`Options::failed_cas`].
/// - `fail` means that the operation did not happen, `info` or no completion that nobody knows.
///
/// Any other function makes the verdict `unknown`. Other objects are those of [`models`].
///
/// ```
/// use checkers::linearizability::Linearizable;
/// use checkers::{Valid, budget::Unlimited, check};
/// use store::Event;
///
/// let history: Vec<Event> = [
///     r#"{"index":0,"process":0,"type":"invoke","f":"write","value":1}"#,
///     r#"{"index":1,"process":0,"type":"ok","f":"write","value":1}"#,
///     r#"{"index":2,"process":1,"type":"invoke","f":"read","value":null}"#,
///     r#"{"index":3,"process":1,"type":"ok","f":"read","value":2}"#,
/// ]
/// .iter()
/// .map(|line| serde_json::from_str(line).unwrap())
/// .collect();
///
/// let result = check(&mut Linearizable::default(), &history, &Unlimited);
/// assert_eq!(result.valid, Valid::False);
/// ```
pub struct Linearizable {
    checking: Box<dyn Checker>,
}

/// Why there is no checker for a model.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ModelError {
    /// There is no model of that name.
    #[error("there is no model {name:?}; there are {}", names())]
    Unknown {
        /// The name.
        name: String,
    },
    /// The object cannot hold first what the options say.
    #[error("a {name} cannot begin as {initial}")]
    Initial {
        /// The name of the model.
        name: String,
        /// What the options say.
        initial: String,
    },
}

fn names() -> String {
    let names: Vec<&str> = models::BUILT_IN.iter().map(|model| model.name).collect();
    names.join(", ")
}

impl Default for Linearizable {
    /// Registers that begin as `null`; only a failed `cas` of the class `precondition` is an
    /// observation.
    fn default() -> Self {
        Linearizable::new(Options::default())
    }
}

impl Linearizable {
    /// A checker of registers that reads histories as the options say.
    pub fn new(options: Options) -> Linearizable {
        Linearizable {
            checking: Box::new(Checking::new(Registers::new(&options), &options)),
        }
    }

    /// A checker of a built-in model, by its name in [`models::BUILT_IN`].
    ///
    /// # Errors
    /// If there is no such model, or it cannot begin as the options say.
    pub fn named(name: &str, options: &Options) -> Result<Linearizable, ModelError> {
        if matches!(name, "register" | "cas-register") {
            return Ok(Linearizable::new(options.clone()));
        }
        let subject = models::objects(name, options)?;
        Ok(Linearizable {
            checking: Box::new(Checking::new(subject, options)),
        })
    }

    /// A checker of a model of one's own. It is asked for its first state; [`Options::initial`] is not.
    pub fn of<M: Model + Clone>(model: M, options: &Options) -> Linearizable {
        let judge = Arc::new(ModelJudge::new(model.clone()));
        let name = model.name().to_owned();
        let model = Box::new(Typed::new(model));
        let subject = Objects::new(model, &name, &options.initial, judge);
        Linearizable {
            checking: Box::new(Checking::new(subject, options)),
        }
    }
}

impl Checker for Linearizable {
    fn hurry(&mut self) {
        self.checking.hurry();
    }

    fn feed(&mut self, events: &[Event], budget: &dyn Budget) -> Feed {
        self.checking.feed(events, budget)
    }

    fn finish(&mut self, budget: &dyn Budget) -> CheckResult {
        self.checking.finish(budget)
    }
}
