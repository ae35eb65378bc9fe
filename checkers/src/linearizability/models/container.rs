//! Queues, stacks and priority queues.
//!
//! | function | invocation | `ok` |
//! | --- | --- | --- |
//! | `enqueue`, `push`, `insert`, `add` | the element | anything |
//! | `dequeue`, `pop`, `poll` | `null` | the element that was taken out, or `null`: there was none |
//! | `peek` | `null` | the element that would be next, or `null`: there was none |
//!
//! A `dequeue` that failed with the class `precondition` found nothing. One of unknown outcome may have
//! taken whatever was next at any later time. The elements of priority queues are whole numbers.

use std::cmp::Ordering;

use serde_json::Value;

use super::super::monitors::collection::{CollectionKind, Order};
use super::{Call, Model, Monitored, Outcome, Part, Role, Touched, Touches, Values};

/// Which element is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discipline {
    /// Any.
    Any,
    /// The one that has been in it longest.
    First,
    /// The one that came last.
    Last,
    /// The largest.
    Largest,
    /// The smallest.
    Smallest,
}

/// An object from which elements are taken out one by one.
#[derive(Clone, Debug)]
pub struct Container {
    discipline: Discipline,
    initial: Vec<Value>,
}

/// An element: the number of its value, or for priority queues the value itself.
type Element = i64;

/// What [`Touched`] calls the absence of everything: no element, as their numbers are not that large.
const NOTHING: u64 = 1 << 63;

/// What is in a container.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Contents {
    /// In order of arrival, or sorted, unless every order is the same.
    elements: Box<[Element]>,
    /// With [`Discipline::Any`]: how many of the elements have been taken out, nobody knows which.
    ///
    /// An operation of unknown outcome has no last moment, so what it took can be decided as late as
    /// possible: never, unless the container is seen to be empty. Always fewer than there are elements.
    owed: u32,
}

/// An operation with its result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ContainerOp {
    /// The element was put in.
    Put(Element),
    /// The element was taken out.
    Took(Element),
    /// Something was taken out, but nobody knows what.
    TookSomething,
    /// The element was next.
    Saw(Element),
    /// There was none.
    SawNothing,
}

impl Container {
    /// A container that holds these elements first. `None` if they cannot be in it.
    pub fn new(discipline: Discipline, initial: &Value) -> Option<Container> {
        let container = Container {
            discipline,
            initial: super::elements(initial)?.to_vec(),
        };
        let numbers = container.initial.iter().all(Value::is_i64);
        (numbers || !container.is_sorted()).then_some(container)
    }

    /// Whether elements are in order of their values.
    fn is_sorted(&self) -> bool {
        matches!(self.discipline, Discipline::Largest | Discipline::Smallest)
    }

    fn element(&self, value: &Value, values: &mut Values) -> Result<Element, String> {
        if !self.is_sorted() {
            return Ok(Element::from(values.number(value)));
        }
        let number = value.as_i64();
        number.ok_or_else(|| {
            format!("the elements of a priority queue are whole numbers, not {value}")
        })
    }

    /// The position of the next element, if it can be this one.
    fn find(&self, elements: &[Element], element: Element) -> Option<usize> {
        let next = match self.discipline {
            Discipline::Any => return elements.binary_search(&element).ok(),
            Discipline::First | Discipline::Smallest => 0,
            Discipline::Last | Discipline::Largest => elements.len().checked_sub(1)?,
        };
        (elements.get(next) == Some(&element)).then_some(next)
    }

    fn put(&self, contents: &Contents, element: Element) -> Contents {
        let elements = &contents.elements;
        let at = match self.discipline {
            Discipline::First | Discipline::Last => elements.len(),
            _ => elements.partition_point(|other| *other <= element),
        };
        let mut more = Vec::with_capacity(elements.len() + 1);
        more.extend_from_slice(&elements[..at]);
        more.push(element);
        more.extend_from_slice(&elements[at..]);
        Contents {
            elements: more.into(),
            owed: contents.owed,
        }
    }

    fn take(contents: &Contents, at: usize) -> Option<Contents> {
        let mut elements = contents.elements.to_vec();
        elements.remove(at);
        Contents::settled(elements, contents.owed)
    }

    fn take_something(&self, contents: &Contents) -> Option<Contents> {
        let length = contents.elements.len();
        let next = match self.discipline {
            Discipline::Any => {
                let more = contents.owed + 1;
                return (length > 0)
                    .then(|| Contents::settled(contents.elements.to_vec(), more))
                    .flatten();
            }
            Discipline::First | Discipline::Smallest => 0,
            Discipline::Last | Discipline::Largest => length.checked_sub(1)?,
        };
        (next < length)
            .then(|| Container::take(contents, next))
            .flatten()
    }
}

impl Contents {
    /// What is left when so many of the elements have been taken out as well. `None` if there are not
    /// that many.
    fn settled(elements: Vec<Element>, owed: u32) -> Option<Contents> {
        match (owed as usize).cmp(&elements.len()) {
            Ordering::Less => Some(Contents {
                elements: elements.into(),
                owed,
            }),
            Ordering::Equal => Some(Contents {
                elements: Box::new([]),
                owed: 0,
            }),
            Ordering::Greater => None,
        }
    }
}

impl Model for Container {
    type State = Contents;
    type Op = ContainerOp;

    fn name(&self) -> &str {
        match self.discipline {
            Discipline::Any => "unordered queue",
            Discipline::First => "queue",
            Discipline::Last => "stack",
            Discipline::Largest | Discipline::Smallest => "priority queue",
        }
    }

    fn initial(&self, values: &mut Values) -> Contents {
        let elements = self.initial.iter();
        let mut elements: Vec<Element> = elements
            .filter_map(|value| self.element(value, values).ok())
            .collect();
        if !matches!(self.discipline, Discipline::First | Discipline::Last) {
            elements.sort_unstable();
        }
        Contents {
            elements: elements.into(),
            owed: 0,
        }
    }

    fn read(&self, call: &Call<'_>, values: &mut Values) -> Result<Option<ContainerOp>, String> {
        let takes = match call.f {
            "enqueue" | "push" | "insert" | "add" => {
                let element = self.element(call.value, values)?;
                let refused = call.outcome == Outcome::Refused;
                return Ok((!refused).then_some(ContainerOp::Put(element)));
            }
            "dequeue" | "pop" | "poll" => true,
            "peek" => false,
            _ => {
                let known = "enqueue (push, insert, add), dequeue (pop, poll) and peek";
                return Err(call.unknown_function(known));
            }
        };
        Ok(match call.outcome {
            Outcome::Ok(Value::Null) | Outcome::Refused => Some(ContainerOp::SawNothing),
            Outcome::Ok(value) if takes => Some(ContainerOp::Took(self.element(value, values)?)),
            Outcome::Ok(value) => Some(ContainerOp::Saw(self.element(value, values)?)),
            Outcome::Unknown => takes.then_some(ContainerOp::TookSomething),
        })
    }

    fn step(&self, contents: &Contents, op: &ContainerOp) -> Option<Contents> {
        match *op {
            ContainerOp::Put(element) => Some(self.put(contents, element)),
            ContainerOp::Took(element) => {
                Container::take(contents, self.find(&contents.elements, element)?)
            }
            ContainerOp::TookSomething => self.take_something(contents),
            ContainerOp::Saw(element) => {
                let found = self.find(&contents.elements, element);
                found.map(|_| contents.clone())
            }
            ContainerOp::SawNothing => contents.elements.is_empty().then(|| contents.clone()),
        }
    }

    fn accepts(&self, contents: &Contents, op: &ContainerOp) -> bool {
        let elements = &contents.elements;
        match *op {
            ContainerOp::Put(_) => true,
            // Never more are owed than are left.
            ContainerOp::Took(element) | ContainerOp::Saw(element) => {
                self.find(elements, element).is_some()
            }
            ContainerOp::TookSomething => !elements.is_empty(),
            ContainerOp::SawNothing => elements.is_empty(),
        }
    }

    fn is_observation(&self, op: &ContainerOp) -> bool {
        matches!(op, ContainerOp::Saw(_) | ContainerOp::SawNothing)
    }

    /// The operations on an element can be left out together: what remains of the order in which the
    /// others come and go is the same, and what was empty is so without them. What one of unknown
    /// outcome took may have made way for anything, but where any element is next, only for nothing.
    fn touches(&self, op: &ContainerOp) -> Touches {
        let one = |element: Element| Touched::These(Box::new([element as u64]));
        match *op {
            ContainerOp::Put(element) | ContainerOp::Took(element) => Touches::both(one(element)),
            ContainerOp::Saw(element) => Touches::needs(one(element)),
            ContainerOp::SawNothing => Touches::needs(Touched::These(Box::new([NOTHING]))),
            ContainerOp::TookSomething => Touches {
                provides: match self.discipline {
                    Discipline::Any => Touched::These(Box::new([NOTHING])),
                    _ => Touched::Everything,
                },
                needs: Touched::Nothing,
            },
        }
    }

    /// While nobody sees that there is nothing, elements of an unordered queue have nothing to do with
    /// each other, and it does not matter what operations of unknown outcome took.
    fn part(&self, op: &ContainerOp) -> Part {
        match *op {
            _ if self.discipline != Discipline::Any => Part::All,
            ContainerOp::Put(element) | ContainerOp::Took(element) | ContainerOp::Saw(element) => {
                Part::One(element as u32)
            }
            ContainerOp::TookSomething => Part::None,
            ContainerOp::SawNothing => Part::All,
        }
    }

    fn monitored(&self) -> Option<Monitored> {
        let order = match self.discipline {
            Discipline::Any => Order::Any,
            Discipline::First => Order::First,
            Discipline::Last => Order::Last,
            Discipline::Largest => Order::Greatest,
            Discipline::Smallest => Order::Least,
        };
        let empty = self.initial.is_empty();
        empty.then_some(Monitored::Collection(order))
    }

    fn role(&self, op: &ContainerOp) -> Option<Role> {
        let (kind, element) = match *op {
            ContainerOp::Put(element) => (CollectionKind::Insert, element),
            ContainerOp::Took(element) => (CollectionKind::Remove, element),
            ContainerOp::TookSomething => (CollectionKind::Remove, 0),
            ContainerOp::Saw(element) => (CollectionKind::Peek, element),
            ContainerOp::SawNothing => (CollectionKind::Empty, 0),
        };
        Some(Role::Collection(kind, element))
    }

    fn is_repeatable(&self, op: &ContainerOp) -> bool {
        !matches!(op, ContainerOp::Put(_))
    }

    fn bytes(&self, contents: &Contents) -> usize {
        size_of::<Contents>() + size_of_val(&*contents.elements)
    }

    fn describe(&self, contents: &Contents, values: &Values) -> Value {
        let elements = contents.elements.iter();
        if self.is_sorted() {
            return elements.copied().map(Value::from).collect();
        }
        elements
            .map(|number| values.value(*number as u32).clone())
            .collect()
    }
}
