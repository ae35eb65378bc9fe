//! Locks: plain, reentrant, fenced.
//!
//! | function | invocation | `ok` of a plain or reentrant lock | `ok` of a fenced lock |
//! | --- | --- | --- | --- |
//! | `acquire` (`lock`) | `null`, or `{"client": …}` | anything | the fence, or `{"fence": …}`, or `null`: not known |
//! | `release` (`unlock`) | `null`, or `{"client": …}` | anything | anything |
//!
//! Who holds a lock is the `client` that the value names. Where it names none, a plain lock is anybody's
//! (any process may release it, as in Knossos' mutex), and others are the process's.
//!
//! A lock is acquired when nobody holds it, a reentrant one also by its holder, and is free when it has
//! been released as often as it was acquired. A *fence* is a whole number above 0 that is larger with
//! each acquisition of a free lock, and the same while it is held; 0 is none, as `null` is. An `acquire` that failed with the class
//! `precondition` found the lock held (a reentrant one: by another), such a `release` that the client did
//! not hold it.

use serde_json::{Value, json};

use super::{Call, Model, Outcome, Values, named_client};

/// A lock.
#[derive(Clone, Copy, Debug)]
pub struct Lock {
    reentrant: bool,
    fenced: bool,
}

/// Who holds a lock, and what is known of its fences.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Held {
    /// The number of the client's value.
    owner: Option<u32>,
    /// How often the owner has acquired it.
    depth: u32,
    /// Whether the fence of the owner is exactly `fence`. It may be larger where nobody saw it.
    exact: bool,
    /// The largest fence so far, or the least that it can be.
    fence: i64,
}

/// An operation with its result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LockOp {
    /// The client acquired the lock, with the fence if anybody saw it.
    Acquired(u32, Option<i64>),
    /// The client released the lock.
    Released(u32),
    /// The client could not acquire the lock.
    Busy(u32),
    /// The client could not release the lock.
    NotHeld(u32),
}

impl Lock {
    /// A lock that can be acquired once at a time, without fences.
    pub fn mutex() -> Lock {
        Lock {
            reentrant: false,
            fenced: false,
        }
    }

    /// The same, but its holder can acquire it again.
    pub fn reentrant(self) -> Lock {
        Lock {
            reentrant: true,
            ..self
        }
    }

    /// The same, but acquisitions have fences.
    pub fn fenced(self) -> Lock {
        Lock {
            fenced: true,
            ..self
        }
    }

    fn client(self, call: &Call<'_>, values: &mut Values) -> u32 {
        let anybody = !self.reentrant && !self.fenced;
        let client = named_client(call).unwrap_or_else(|| match anybody {
            true => Value::Null,
            false => json!(["process", call.process]),
        });
        values.number(&client)
    }

    fn acquire(self, held: &Held, client: u32, seen: Option<i64>) -> Option<Held> {
        let again = match held.owner {
            None => false,
            Some(owner) if self.reentrant && owner == client => true,
            Some(_) => return None,
        };
        let mut after = Held {
            owner: Some(client),
            depth: held.depth.checked_add(1)?,
            ..held.clone()
        };
        if !self.fenced {
            return Some(after);
        }
        match (again, seen) {
            (true, None) => {}
            (true, Some(seen)) => {
                let fits = match held.exact {
                    true => held.fence == seen,
                    false => held.fence <= seen,
                };
                if !fits {
                    return None;
                }
                (after.fence, after.exact) = (seen, true);
            }
            (false, None) => {
                // The least that it can be leaves the most for later.
                after.fence = held.fence.saturating_add(1);
                after.exact = false;
            }
            (false, Some(seen)) => {
                if held.fence >= seen {
                    return None;
                }
                (after.fence, after.exact) = (seen, true);
            }
        }
        Some(after)
    }

    fn release(held: &Held, client: u32) -> Option<Held> {
        if held.owner != Some(client) {
            return None;
        }
        let depth = held.depth - 1;
        Some(Held {
            owner: held.owner.filter(|_| depth > 0),
            depth,
            exact: held.exact && depth > 0,
            fence: held.fence,
        })
    }

    /// Whether the client cannot acquire the lock.
    fn is_busy(self, held: &Held, client: u32) -> bool {
        held.owner
            .is_some_and(|owner| !(self.reentrant && owner == client))
    }
}

/// The fence that an acquisition returned, if it returned one.
fn fence(seen: &Value) -> Result<Option<i64>, String> {
    let fence = match seen {
        Value::Object(fields) => fields.get("fence").unwrap_or(&Value::Null),
        other => other,
    };
    match fence {
        Value::Null => Ok(None),
        fence => match fence.as_i64() {
            Some(number) => Ok(Some(number).filter(|number| *number != 0)),
            None => Err(format!("a fence is a whole number, not {fence}")),
        },
    }
}

impl Model for Lock {
    type State = Held;
    type Op = LockOp;

    fn name(&self) -> &str {
        match (self.reentrant, self.fenced) {
            (false, false) => "mutex",
            (true, false) => "reentrant lock",
            (false, true) => "fenced lock",
            (true, true) => "reentrant fenced lock",
        }
    }

    fn initial(&self, _values: &mut Values) -> Held {
        Held::default()
    }

    fn read(&self, call: &Call<'_>, values: &mut Values) -> Result<Option<LockOp>, String> {
        let client = self.client(call, values);
        Ok(Some(match (call.f, call.outcome) {
            ("acquire" | "lock", Outcome::Ok(seen)) if self.fenced => {
                LockOp::Acquired(client, fence(seen)?)
            }
            ("acquire" | "lock", Outcome::Refused) => LockOp::Busy(client),
            ("acquire" | "lock", _) => LockOp::Acquired(client, None),
            ("release" | "unlock", Outcome::Refused) => LockOp::NotHeld(client),
            ("release" | "unlock", _) => LockOp::Released(client),
            _ => return Err(call.unknown_function("acquire and release")),
        }))
    }

    fn step(&self, held: &Held, op: &LockOp) -> Option<Held> {
        match *op {
            LockOp::Acquired(client, fence) => self.acquire(held, client, fence),
            LockOp::Released(client) => Lock::release(held, client),
            LockOp::Busy(client) => self.is_busy(held, client).then(|| held.clone()),
            LockOp::NotHeld(client) => (held.owner != Some(client)).then(|| held.clone()),
        }
    }

    fn is_observation(&self, op: &LockOp) -> bool {
        matches!(op, LockOp::Busy(_) | LockOp::NotHeld(_))
    }

    fn is_repeatable(&self, _op: &LockOp) -> bool {
        !self.reentrant && !self.fenced
    }

    fn describe(&self, held: &Held, values: &Values) -> Value {
        let Some(owner) = held.owner else {
            return match self.fenced && held.fence > 0 {
                true => json!({"free": true, "last-fence": held.fence}),
                false => json!("free"),
            };
        };
        let mut held_by = serde_json::Map::new();
        match values.value(owner) {
            Value::Null => return json!("held"),
            owner => held_by.insert("held-by".to_owned(), owner.clone()),
        };
        if self.reentrant {
            held_by.insert("times".to_owned(), held.depth.into());
        }
        if self.fenced {
            let name = if held.exact { "fence" } else { "least-fence" };
            held_by.insert(name.to_owned(), held.fence.into());
        }
        held_by.into()
    }
}
