//! From [`Model`]s to what the search works with: states and operations as numbers.
//!
//! All keys of a history share the table of operations. Each has its own table of states, in which
//! equal states are one, and remembers the transitions that it has seen. From time to time the states
//! that no configuration has any more are dropped, so that memory follows the width of a history and
//! not its length.

use std::collections::hash_map::Entry;
use std::sync::{Arc, PoisonError, RwLock};

use indexmap::IndexSet;
use rustc_hash::{FxBuildHasher, FxHashMap};
use serde_json::Value;

use super::model::Machine;
use super::models::{Call, Model, Monitored, Part, Role, Touches, Values};

/// An operation with its result, by its number in the table. Three bits say what the search asks most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ObjectOp(u32);

const OBSERVATION: u32 = 1 << 31;
const OVERWRITE: u32 = 1 << 30;
const REPEATABLE: u32 = 1 << 29;

impl ObjectOp {
    fn number(self) -> usize {
        (self.0 & !(OBSERVATION | OVERWRITE | REPEATABLE)) as usize
    }

    /// Whether it never changes a state.
    pub(super) fn is_observation(self) -> bool {
        self.0 & OBSERVATION != 0
    }
}

/// A model of any kind, with the operations that were read.
pub(super) trait AnyModel: Send {
    fn name(&self) -> &str;
    /// Whether an operation can be read.
    fn check(&self, call: &Call<'_>, values: &mut Values) -> Result<(), String>;
    fn read(&self, call: &Call<'_>, values: &mut Values) -> Result<Option<ObjectOp>, String>;
    /// A new object, and the number of its first state.
    fn object(&self, values: &mut Values) -> (Object, u32);
    fn touches(&self, op: ObjectOp) -> Touches;
    fn part(&self, op: ObjectOp) -> Part;
    fn restrict(&self, op: ObjectOp, elements: &[u32]) -> Option<ObjectOp>;
    fn monitored(&self) -> Option<Monitored>;
    fn role(&self, op: ObjectOp) -> Option<Role>;
    /// About how many bytes the operations take.
    fn bytes(&self) -> usize;
}

/// The model of all keys, and its operations by number.
struct Shared<M: Model> {
    model: M,
    ops: RwLock<IndexSet<M::Op, FxBuildHasher>>,
}

impl<M: Model> Shared<M> {
    /// What `look` makes of an operation.
    fn with<R>(&self, op: ObjectOp, look: impl FnOnce(&M, &M::Op) -> R) -> R {
        // Nothing that is done under the lock leaves the table half changed.
        let ops = self.ops.read().unwrap_or_else(PoisonError::into_inner);
        look(&self.model, &ops[op.number()])
    }

    /// The number of an operation: the same for equal ones.
    fn number(&self, op: M::Op) -> ObjectOp {
        let mut bits = 0;
        if self.model.is_observation(&op) {
            bits |= OBSERVATION;
        } else if self.model.is_overwrite(&op) {
            bits |= OVERWRITE;
        }
        if self.model.is_repeatable(&op) {
            bits |= REPEATABLE;
        }
        let mut ops = self.ops.write().unwrap_or_else(PoisonError::into_inner);
        ObjectOp(ops.insert_full(op).0 as u32 | bits)
    }
}

/// A [`Model`] as an [`AnyModel`].
pub(super) struct Typed<M: Model>(Arc<Shared<M>>);

impl<M: Model> Typed<M> {
    pub(super) fn new(model: M) -> Typed<M> {
        Typed(Arc::new(Shared {
            model,
            ops: RwLock::default(),
        }))
    }
}

impl<M: Model> AnyModel for Typed<M> {
    fn name(&self) -> &str {
        self.0.model.name()
    }

    fn check(&self, call: &Call<'_>, values: &mut Values) -> Result<(), String> {
        self.0.model.read(call, values).map(drop)
    }

    fn read(&self, call: &Call<'_>, values: &mut Values) -> Result<Option<ObjectOp>, String> {
        let op = self.0.model.read(call, values)?;
        Ok(op.map(|op| self.0.number(op)))
    }

    fn object(&self, values: &mut Values) -> (Object, u32) {
        let mut states = States {
            shared: Arc::clone(&self.0),
            states: Vec::new(),
            numbers: FxHashMap::default(),
            free: Vec::new(),
            bytes: 0,
        };
        let initial = states.number(self.0.model.initial(values));
        let object = Object {
            memory: FxHashMap::default(),
            crowded: CROWDED,
            states: Box::new(states),
        };
        (object, initial)
    }

    fn touches(&self, op: ObjectOp) -> Touches {
        self.0.with(op, M::touches)
    }

    fn part(&self, op: ObjectOp) -> Part {
        self.0.with(op, M::part)
    }

    fn restrict(&self, op: ObjectOp, elements: &[u32]) -> Option<ObjectOp> {
        let restricted = self.0.with(op, |model, op| model.restrict(op, elements))?;
        Some(self.0.number(restricted))
    }

    fn monitored(&self) -> Option<Monitored> {
        self.0.model.monitored()
    }

    fn role(&self, op: ObjectOp) -> Option<Role> {
        self.0.with(op, M::role)
    }

    fn bytes(&self) -> usize {
        let ops = self.0.ops.read().unwrap_or_else(PoisonError::into_inner);
        // With its hash and its place in a table.
        ops.capacity() * (size_of::<M::Op>() + 2 * size_of::<u64>())
    }
}

/// The states of one object.
trait AnyStates: Send {
    fn step(&mut self, state: u32, op: ObjectOp) -> Option<u32>;
    fn accepts(&self, state: u32, op: ObjectOp) -> bool;
    fn len(&self) -> usize;
    fn bytes(&self) -> usize;
    /// Drops all but some, which are ascending.
    fn retain(&mut self, live: &[u32]);
    fn describe(&self, state: u32, values: &Values) -> Value;
    fn fresh(&self) -> Box<dyn AnyStates>;
}

struct States<M: Model> {
    shared: Arc<Shared<M>>,
    /// By number; `None` where one was dropped.
    states: Vec<Option<Arc<M::State>>>,
    numbers: FxHashMap<Arc<M::State>, u32>,
    free: Vec<u32>,
    bytes: usize,
}

/// What a state takes beside itself: two references, two numbers, a counter.
const OVERHEAD: usize = 64;

impl<M: Model> States<M> {
    fn number(&mut self, state: M::State) -> u32 {
        match self.numbers.entry(Arc::new(state)) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                self.bytes += self.shared.model.bytes(new.key()) + OVERHEAD;
                let state = Some(Arc::clone(new.key()));
                let number = match self.free.pop() {
                    Some(number) => {
                        self.states[number as usize] = state;
                        number
                    }
                    None => {
                        self.states.push(state);
                        (self.states.len() - 1) as u32
                    }
                };
                *new.insert(number)
            }
        }
    }
}

impl<M: Model> AnyStates for States<M> {
    fn step(&mut self, state: u32, op: ObjectOp) -> Option<u32> {
        let before = self.states[state as usize].as_deref()?;
        let after = self.shared.with(op, |model, op| model.step(before, op))?;
        Some(self.number(after))
    }

    fn accepts(&self, state: u32, op: ObjectOp) -> bool {
        let state = self.states[state as usize].as_deref();
        state.is_some_and(|state| {
            let accepts = |model: &M, op: &M::Op| model.accepts(state, op);
            self.shared.with(op, accepts)
        })
    }

    fn len(&self) -> usize {
        self.numbers.len()
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn retain(&mut self, live: &[u32]) {
        for (number, state) in self.states.iter_mut().enumerate() {
            if live.binary_search(&(number as u32)).is_err()
                && let Some(state) = state.take()
            {
                self.bytes -= self.shared.model.bytes(&state) + OVERHEAD;
                self.numbers.remove(&state);
                self.free.push(number as u32);
            }
        }
    }

    fn describe(&self, state: u32, values: &Values) -> Value {
        let state = self.states[state as usize].as_deref();
        state.map_or(Value::Null, |state| {
            self.shared.model.describe(state, values)
        })
    }

    fn fresh(&self) -> Box<dyn AnyStates> {
        Box::new(States {
            shared: Arc::clone(&self.shared),
            states: self.states.clone(),
            numbers: self.numbers.clone(),
            free: self.free.clone(),
            bytes: self.bytes,
        })
    }
}

/// An object of any model, as the search moves it.
pub(super) struct Object {
    /// What came of an operation in a state.
    memory: FxHashMap<(u32, ObjectOp), Option<u32>>,
    /// So many states and transitions are worth dropping some.
    crowded: usize,
    states: Box<dyn AnyStates>,
}

/// The least number of states and transitions that is worth dropping.
const CROWDED: usize = 1 << 12;

impl Object {
    /// A state as a person reads it.
    pub(super) fn describe(&self, state: u32, values: &Values) -> Value {
        self.states.describe(state, values)
    }
}

impl Clone for Object {
    /// The same states by the same numbers, without the memory of transitions.
    fn clone(&self) -> Object {
        Object {
            memory: FxHashMap::default(),
            crowded: self.crowded,
            states: self.states.fresh(),
        }
    }
}

impl Machine for Object {
    type Op = ObjectOp;

    fn apply(&mut self, state: u32, op: ObjectOp) -> Option<u32> {
        match self.memory.entry((state, op)) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => *new.insert(self.states.step(state, op)),
        }
    }

    fn is_observation(&self, op: ObjectOp) -> bool {
        op.is_observation()
    }

    fn is_overwrite(&self, op: ObjectOp) -> bool {
        op.0 & OVERWRITE != 0
    }

    fn accepts(&mut self, state: u32, op: ObjectOp) -> bool {
        match self.memory.get(&(state, op)) {
            Some(known) => known.is_some(),
            None => self.states.accepts(state, op),
        }
    }

    fn is_repeatable(&self, op: ObjectOp) -> bool {
        op.0 & REPEATABLE != 0
    }

    /// A frontier is rarely wider, and to ask of a state costs more than for registers.
    fn places(&self) -> usize {
        1 << 6
    }

    fn bytes(&self) -> usize {
        self.states.bytes() + self.memory.len() * size_of::<(u32, ObjectOp, Option<u32>)>()
    }

    fn is_crowded(&self) -> bool {
        self.memory.len() + self.states.len() > self.crowded
    }

    fn retain(&mut self, live: &[u32]) {
        self.memory = FxHashMap::default();
        self.states.retain(live);
        self.crowded = CROWDED.max(self.states.len() * 4);
    }
}
