//! A semaphore.
//!
//! | function | invocation | `ok` |
//! | --- | --- | --- |
//! | `acquire` | how many permits, or `null` for one, or `{"client": …, "permits": …}` | anything |
//! | `release` | the same | anything |
//!
//! There are as many permits as the object holds first, 1 unless said otherwise. Permits belong to the
//! `client` that the value names, and only it can release them; where no client is named, they are
//! anybody's. An `acquire` that failed with the class `precondition` found too few permits free, such a
//! `release` that the client did not hold so many.

use serde_json::{Value, json};

use super::{Call, Model, Outcome, Values, named_client};

/// A semaphore with so many permits.
#[derive(Clone, Copy, Debug)]
pub struct Semaphore {
    permits: u64,
}

/// Which permits are held.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Permits {
    free: u64,
    /// By the number of the client's value, ascending; never 0.
    held: Box<[(u32, u64)]>,
}

/// An operation with its result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SemaphoreOp {
    /// The client acquired permits.
    Acquired(u32, u64),
    /// The client released permits.
    Released(u32, u64),
    /// There were not so many free.
    TooFew(u64),
    /// The client did not hold so many.
    NotHeld(u32, u64),
}

impl Semaphore {
    /// A semaphore with a number of permits; `null` is 1. `None` if it is something else.
    pub fn new(permits: &Value) -> Option<Semaphore> {
        match permits {
            Value::Null => Some(Semaphore { permits: 1 }),
            value => value.as_u64().map(|permits| Semaphore { permits }),
        }
    }
}

impl Permits {
    fn held_by(&self, client: u32) -> u64 {
        let mut held = self.held.iter();
        held.find(|(owner, _)| *owner == client)
            .map_or(0, |(_, permits)| *permits)
    }

    fn with(&self, client: u32, permits: u64, free: u64) -> Permits {
        let others = self.held.iter().filter(|(owner, _)| *owner != client);
        let mut held: Vec<(u32, u64)> = others.copied().collect();
        if permits > 0 {
            held.push((client, permits));
            held.sort_unstable();
        }
        Permits {
            free,
            held: held.into(),
        }
    }
}

fn permits(call: &Call<'_>) -> Result<u64, String> {
    let permits = match call.value {
        Value::Object(fields) => fields.get("permits").unwrap_or(&Value::Null),
        other => other,
    };
    match permits {
        Value::Null => Ok(1),
        value => value
            .as_u64()
            .ok_or_else(|| format!("permits are a whole number, not {value}")),
    }
}

impl Model for Semaphore {
    type State = Permits;
    type Op = SemaphoreOp;

    fn name(&self) -> &str {
        "semaphore"
    }

    fn initial(&self, _values: &mut Values) -> Permits {
        Permits {
            free: self.permits,
            held: Box::new([]),
        }
    }

    fn read(&self, call: &Call<'_>, values: &mut Values) -> Result<Option<SemaphoreOp>, String> {
        let permits = permits(call)?;
        let client = values.number(&named_client(call).unwrap_or_default());
        Ok(Some(match (call.f, call.outcome) {
            ("acquire", Outcome::Refused) => SemaphoreOp::TooFew(permits),
            ("release", Outcome::Refused) => SemaphoreOp::NotHeld(client, permits),
            ("acquire", _) => SemaphoreOp::Acquired(client, permits),
            ("release", _) => SemaphoreOp::Released(client, permits),
            _ => return Err(call.unknown_function("acquire and release")),
        }))
    }

    fn step(&self, state: &Permits, op: &SemaphoreOp) -> Option<Permits> {
        match *op {
            SemaphoreOp::Acquired(client, permits) => {
                let free = state.free.checked_sub(permits)?;
                Some(state.with(client, state.held_by(client) + permits, free))
            }
            SemaphoreOp::Released(client, permits) => {
                let held = state.held_by(client).checked_sub(permits)?;
                Some(state.with(client, held, state.free + permits))
            }
            SemaphoreOp::TooFew(permits) => (state.free < permits).then(|| state.clone()),
            SemaphoreOp::NotHeld(client, permits) => {
                (state.held_by(client) < permits).then(|| state.clone())
            }
        }
    }

    fn is_observation(&self, op: &SemaphoreOp) -> bool {
        matches!(op, SemaphoreOp::TooFew(_) | SemaphoreOp::NotHeld(..))
    }

    fn is_repeatable(&self, _op: &SemaphoreOp) -> bool {
        true
    }

    fn bytes(&self, state: &Permits) -> usize {
        size_of::<Permits>() + size_of_val(&*state.held)
    }

    fn describe(&self, state: &Permits, values: &Values) -> Value {
        let held = state.held.iter();
        let named = held.filter(|(client, _)| !values.value(*client).is_null());
        let named: Vec<Value> = named
            .map(|(client, permits)| json!({"client": values.value(*client), "permits": permits}))
            .collect();
        match named.is_empty() {
            true => json!({"free": state.free}),
            false => json!({"free": state.free, "held": named}),
        }
    }
}
