//! What objects a history can be of: [`Model`], and those that are built in.
//!
//! A model says what a *sequential* object does: one operation after another, no clients, no time.
//! The checker then asks whether the clients' overlapping operations can be put in an order in which
//! such an object gives the results that they saw.
//!
//! | model | operations | a state is |
//! | --- | --- | --- |
//! | `register`, `cas-register` | `read`, `write`, `cas` | a value |
//! | `map` | `get`, `put`, `append`, `delete`, `cas`, key by key | a value of each key |
//! | `multi-register` | `txn` of reads and writes of several registers | a value of each register |
//! | `versioned-register` | `read`, `write`, `cas`, with the version that each saw or made | version, value |
//! | `mutex`, `reentrant-lock`, `fenced-lock`, `reentrant-fenced-lock` | `acquire`, `release` | owner, depth, fences |
//! | `semaphore` | `acquire`, `release` of permits | permits free and held |
//! | `set`, `multiset` | `add`, `remove`, `contains`, `read` | the elements |
//! | `counter` | `add`, `increment`, `decrement`, `read`, `add-and-get`, `get-and-add` | a number |
//! | `unordered-queue`, `queue`, `stack` | `enqueue`/`push`, `dequeue`/`pop`, `peek` | the elements, in order |
//! | `priority-queue`, `min-priority-queue` | `insert`, `poll`, `peek` of whole numbers | the elements, sorted |
//! | `list` | `append`, `read` of everything | the elements, in order |
//! | `log` | `append` with its offset, `read` at an offset | the entries, in order |
//!
//! The modules of the models say which values the operations have. For all of them:
//!
//! - `ok`: it happened, with this result.
//! - `fail` with the error class [`precondition`](store::OpError::PRECONDITION): the object refused,
//!   which is an observation (the queue was empty, the lock was held, the value was different). For
//!   `cas` [`FailedCas`](super::FailedCas) can say otherwise. Any other `fail`: it did not happen.
//! - `info`, or no completion: nobody knows. It may have happened at any time after it began, with any
//!   result that the object could give, or not at all. What its completion has as a value says nothing.

mod container;
mod counter;
mod list;
mod lock;
mod map;
mod monitored;
mod multi_register;
mod semaphore;
mod set;
mod versioned;

use std::hash::Hash;
use std::sync::Arc;

use serde_json::Value;

pub use container::{Container, Discipline};
pub use counter::Counter;
pub use list::{List, Offsets};
pub use lock::Lock;
pub use map::Map;
pub use monitored::{Monitored, Role};
pub use multi_register::MultiRegister;
pub use semaphore::Semaphore;
pub use set::{Repeats, Set};
pub use versioned::VersionedRegister;

pub use super::values::Values;

use super::linearizable::ModelError;
use super::object::Typed;
use super::objects::Objects;
use super::options::Options;
use super::verify::Reference;

/// A model that is built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelInfo {
    /// What it is called.
    pub name: &'static str,
    /// What it is, in a few words.
    pub summary: &'static str,
    /// Its functions.
    pub functions: &'static str,
    /// What [`Options::initial`] can say that it holds first.
    pub initial: &'static str,
}

const fn info(
    name: &'static str,
    summary: &'static str,
    functions: &'static str,
    initial: &'static str,
) -> ModelInfo {
    ModelInfo {
        name,
        summary,
        functions,
        initial,
    }
}

const ANY: &str = "any value [default: null]";
const LIST: &str = "a list of elements [default: none]";
const NOTHING: &str = "nothing: it is free";

/// All models that are built in.
pub const BUILT_IN: &[ModelInfo] = &[
    info("register", "a value", "read write cas", ANY),
    info("cas-register", "the same", "read write cas", ANY),
    info(
        "map",
        "a value for each key",
        "get put append delete cas",
        ANY,
    ),
    info(
        "multi-register",
        "values read and written together",
        "txn",
        "an object {register: value} [default: all null]",
    ),
    info(
        "versioned-register",
        "a value that counts its writes",
        "read write cas",
        ANY,
    ),
    info("mutex", "a lock", "acquire release", NOTHING),
    info(
        "reentrant-lock",
        "a lock that its holder can take again",
        "acquire release",
        NOTHING,
    ),
    info(
        "fenced-lock",
        "a lock with ever larger fences",
        "acquire release",
        NOTHING,
    ),
    info("reentrant-fenced-lock", "both", "acquire release", NOTHING),
    info(
        "semaphore",
        "permits",
        "acquire release",
        "the number of permits [default: 1]",
    ),
    info(
        "set",
        "elements, each once",
        "add remove contains read",
        LIST,
    ),
    info(
        "multiset",
        "elements, counted",
        "add remove contains read",
        LIST,
    ),
    info(
        "counter",
        "a number",
        "add increment decrement add-and-get get-and-add read",
        "a whole number [default: 0]",
    ),
    info(
        "unordered-queue",
        "elements that come out in any order",
        "enqueue dequeue peek",
        LIST,
    ),
    info("queue", "first in, first out", "enqueue dequeue peek", LIST),
    info("stack", "last in, first out", "push pop peek", LIST),
    info(
        "priority-queue",
        "the largest first",
        "insert poll peek",
        "a list of whole numbers [default: none]",
    ),
    info(
        "min-priority-queue",
        "the smallest first",
        "insert poll peek",
        "a list of whole numbers [default: none]",
    ),
    info(
        "list",
        "elements in order, read together",
        "append read",
        LIST,
    ),
    info("log", "elements with offsets", "append read", LIST),
];

/// Histories of a built-in model. Registers are the `map` of one key.
pub(super) fn objects(name: &str, options: &Options) -> Result<Objects, ModelError> {
    let Some(known) = BUILT_IN.iter().find(|model| model.name == name) else {
        return Err(ModelError::Unknown {
            name: name.to_owned(),
        });
    };
    start(known.name, options).ok_or_else(|| ModelError::Initial {
        name: name.to_owned(),
        initial: options.initial.to_string(),
    })
}

fn start(name: &'static str, options: &Options) -> Option<Objects> {
    let Options {
        initial, null_read, ..
    } = options;
    let container = |discipline| {
        let model = Container::new(discipline, initial)?;
        known(name, model, options)
    };
    let lock = |lock: Lock| known(name, initial.is_null().then_some(lock)?, options);
    match name {
        "multi-register" => known(name, MultiRegister::new(initial, *null_read)?, options),
        "versioned-register" => known(name, VersionedRegister::new(initial, *null_read), options),
        "mutex" => lock(Lock::mutex()),
        "reentrant-lock" => lock(Lock::mutex().reentrant()),
        "fenced-lock" => lock(Lock::mutex().fenced()),
        "reentrant-fenced-lock" => lock(Lock::mutex().reentrant().fenced()),
        "semaphore" => known(name, Semaphore::new(initial)?, options),
        "set" => known(name, Set::new(Repeats::Never, initial)?, options),
        "multiset" => known(name, Set::new(Repeats::Counted, initial)?, options),
        "counter" => known(name, Counter::new(initial)?, options),
        "unordered-queue" => container(Discipline::Any),
        "queue" => container(Discipline::First),
        "stack" => container(Discipline::Last),
        "priority-queue" => container(Discipline::Largest),
        "min-priority-queue" => container(Discipline::Smallest),
        "list" => known(name, List::new(Offsets::Hidden, initial)?, options),
        "log" => known(name, List::new(Offsets::Told, initial)?, options),
        _ => known("map", Map::new(initial, *null_read), options),
    }
}

/// Histories of a model that the verifier knows by the name.
fn known<M: Model>(name: &str, model: M, options: &Options) -> Option<Objects> {
    let judge = Arc::new(Reference::new(name, options)?);
    let model = Box::new(Typed::new(model));
    Some(Objects::new(model, name, &options.initial, judge))
}

/// A sequential object.
///
/// Deterministic: an operation with its result leads from a state to one state, or cannot happen
/// there. A nondeterministic object is modelled by the set of the states in which it can be.
///
/// ```
/// use checkers::linearizability::{Linearizable, Options};
/// use checkers::linearizability::models::{Call, Model, Outcome, Values};
/// use serde_json::{Value, json};
///
/// /// A flag that is raised once and stays raised.
/// #[derive(Clone)]
/// struct Flag;
///
/// #[derive(Clone, PartialEq, Eq, Hash)]
/// enum Op {
///     Raise,
///     Saw(bool),
/// }
///
/// impl Model for Flag {
///     type State = bool;
///     type Op = Op;
///
///     fn name(&self) -> &str {
///         "flag"
///     }
///     fn initial(&self, _: &mut Values) -> bool {
///         false
///     }
///     fn read(&self, call: &Call<'_>, _: &mut Values) -> Result<Option<Op>, String> {
///         match (call.f, call.outcome) {
///             ("raise", Outcome::Refused) => Ok(None),
///             ("raise", _) => Ok(Some(Op::Raise)),
///             ("look", Outcome::Ok(seen)) => Ok(Some(Op::Saw(seen == true))),
///             ("look", _) => Ok(None),
///             _ => Err(call.unknown_function("raise and look")),
///         }
///     }
///     fn step(&self, raised: &bool, op: &Op) -> Option<bool> {
///         match op {
///             Op::Raise => Some(true),
///             Op::Saw(seen) => (seen == raised).then_some(*raised),
///         }
///     }
///     fn is_observation(&self, op: &Op) -> bool {
///         matches!(op, Op::Saw(_))
///     }
///     fn describe(&self, raised: &bool, _: &Values) -> Value {
///         json!(raised)
///     }
/// }
///
/// let checker = Linearizable::of(Flag, &Options::default());
/// # let _ = checker;
/// ```
pub trait Model: Send + Sync + 'static {
    /// A state. Equal states must allow the same future.
    type State: Clone + Eq + Hash + Send + Sync;
    /// An operation with its result.
    type Op: Clone + Eq + Hash + Send + Sync;

    /// The name that a person knows it by.
    fn name(&self) -> &str;

    /// The state before the first operation.
    fn initial(&self, values: &mut Values) -> Self::State;

    /// Reads an operation whose outcome is known. `None` if it says nothing: it changed nothing, or
    /// did not happen, and shows nothing of the state.
    ///
    /// Also called as each operation begins, with the outcome unknown.
    ///
    /// # Errors
    /// A sentence on what is wrong with it, without its place.
    fn read(&self, call: &Call<'_>, values: &mut Values) -> Result<Option<Self::Op>, String>;

    /// The state after the operation, or `None` if it cannot happen with this result in `state`.
    ///
    /// Must not panic in any state that can be reached by any order of operations.
    fn step(&self, state: &Self::State, op: &Self::Op) -> Option<Self::State>;

    /// Whether [`Model::step`] is something. Models whose states are large can be quicker about it.
    fn accepts(&self, state: &Self::State, op: &Self::Op) -> bool {
        self.step(state, op).is_some()
    }

    /// Whether the operation never changes a state. Saying so where it is true is what makes a search
    /// fast; saying so where it is not makes it wrong.
    fn is_observation(&self, op: &Self::Op) -> bool;

    /// Whether the operation is possible in every state and always leaves the same state.
    fn is_overwrite(&self, _op: &Self::Op) -> bool {
        false
    }

    /// Whether any number of such operations leads to few states, as writes do and increments do not.
    /// Where nobody knows the outcome of many of them, it is quicker not to count them, and exact only
    /// if that leaves a doubt.
    fn is_repeatable(&self, _op: &Self::Op) -> bool {
        false
    }

    /// What the operation leaves for others and needs from others, for finding a small part of a
    /// history that is impossible on its own.
    fn touches(&self, op: &Self::Op) -> Touches {
        Touches {
            provides: match self.is_observation(op) {
                true => Touched::Nothing,
                false => Touched::Everything,
            },
            needs: Touched::Everything,
        }
    }

    /// Where the object is many objects that do not know of each other: which of them the operation is
    /// on.
    ///
    /// Such a history is searched one object at a time, until an operation concerns them all.
    fn part(&self, _op: &Self::Op) -> Part {
        Part::All
    }

    /// The operation as it is when only some elements of the object are looked at, and it was empty at first. `None` if it
    /// has to do with none of them, and for objects that have no elements which do not know of each other.
    ///
    /// The rule that a model must keep: in any legal sequence of operations, look at some elements only; then that is a legal
    /// sequence too.
    fn restrict(&self, _op: &Self::Op, _elements: &[u32]) -> Option<Self::Op> {
        None
    }

    /// Which of the [monitors](super::monitors) knows such objects, if one does. It is asked where the search gets wide,
    /// and decides where values are unique.
    fn monitored(&self) -> Option<Monitored> {
        None
    }

    /// What an operation is to the monitor. `None` if the monitor does not know it.
    fn role(&self, _op: &Self::Op) -> Option<Role> {
        None
    }

    /// About how many bytes a state takes, for keeping within a budget.
    fn bytes(&self, _state: &Self::State) -> usize {
        size_of::<Self::State>()
    }

    /// A state as a person reads it.
    fn describe(&self, state: &Self::State, values: &Values) -> Value;
}

/// An operation as the history has it.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The function.
    pub f: &'a str,
    /// What was asked: the value of the invocation.
    pub value: &'a Value,
    /// How it ended.
    pub outcome: Outcome<'a>,
    /// Who asked.
    pub process: u64,
}

impl Call<'_> {
    /// What is wrong with a function that a model does not know.
    pub fn unknown_function(&self, known: &str) -> String {
        format!("this model knows {known}, but not {:?}", self.f)
    }
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome<'a> {
    /// It happened, with the value of its completion.
    Ok(&'a Value),
    /// It did not happen, because the object's state did not allow it.
    Refused,
    /// Nobody knows.
    Unknown,
}

impl<'a> Outcome<'a> {
    /// The value of the completion, if it happened.
    pub fn ok(self) -> Option<&'a Value> {
        match self {
            Outcome::Ok(value) => Some(value),
            Outcome::Refused | Outcome::Unknown => None,
        }
    }
}

/// Which of the objects that an object consists of an operation is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// All of them, or they cannot be told apart.
    All,
    /// This one. It must not matter to any other, nor any other to it.
    One(u32),
    /// None, until an operation concerns all of them. Only for operations of unknown outcome.
    None,
}

/// What of an object's state an operation leaves for others, and what it needs from others.
///
/// Whether an operation can be left out of a history without making it impossible, that is, whether
/// what is impossible without it is impossible with it: it can if what it `provides` is `needed` by
/// nothing that stays. So the rule that a model must keep: in any legal sequence of operations, strike
/// out some of them, such that nothing that they provide is needed by what stays; then that is a legal
/// sequence too. Striking out operations that nobody knows the outcome of, and that do not stay, is
/// always allowed afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touches {
    /// What it leaves for others.
    pub provides: Touched,
    /// What it needs from others.
    pub needs: Touched,
}

impl Touches {
    /// Of an operation that leaves nothing for others.
    pub(super) fn needs(needs: Touched) -> Touches {
        Touches {
            provides: Touched::Nothing,
            needs,
        }
    }

    /// Of an operation that needs what it leaves.
    pub(super) fn both(touched: Touched) -> Touches {
        Touches {
            provides: touched.clone(),
            needs: touched,
        }
    }
}

/// Some part of an object's state, in numbers that only the model knows the meaning of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touched {
    /// None of it.
    Nothing,
    /// These parts, ascending.
    These(Box<[u64]>),
    /// All of it.
    Everything,
}

impl Touched {
    /// One part.
    pub fn one(part: u32) -> Touched {
        Touched::These(Box::new([u64::from(part)]))
    }
}

/// The elements that an option or a completion lists; `null` is none.
fn elements(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Null => Some(&[]),
        Value::Array(elements) => Some(elements),
        _ => None,
    }
}

/// Who a lock or a permit belongs to: the `client` that the value names, if it does.
fn named_client(call: &Call<'_>) -> Option<Value> {
    call.value.get("client").cloned()
}
