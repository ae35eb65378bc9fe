//! Isolation of transactions: which consistency models a history shows, and which it disproves.
//!
//! A transaction is a list of reads and writes of many objects. What a database promises of many of them at once is its
//! *isolation level*, and each level can be said by what it rules out (Adya 1999): transactions depend on each other, and
//! certain cycles of dependencies must not be there.
//!
//! What makes the dependencies visible from outside is the choice of the objects. In *list-append* histories (Kingsbury
//! and Alvaro 2020) each object is a list, each write appends an element that no other write does, and so each read shows all
//! writes before it, in their order:
//!
//! | dependency | from | to |
//! | --- | --- | --- |
//! | `ww` | the writer of an element | the writer of the next |
//! | `wr` | the writer of the last element of a list | its reader |
//! | `rw` | the reader of a list | the writer of the element that comes next |
//! | process | a transaction | the next of its process |
//! | real time | a transaction | all that begin after its end |
//!
//! Of *registers*, reads show less, and more is inferred: [`RwRegister`].
//!
//! The way from events to a verdict, of lists:
//!
//! ```text
//! events ── intake: columns of numbers; a list that was read is its length
//!             └── versions: the order of each key, who wrote what, who committed
//!                   ├── scan: anomalies of single reads and of pairs
//!                   └── graph, components, search: shortest cycles of each class; shapes: those that tell weaker models apart
//!                         └── prove: evidence, explain: sentences, verify: proves it again
//!                               └── models: which hold, which are violated; unread: what hangs on the order of appends that nobody read
//!                                     └── fewest: evidence without what it does not need
//! ```
//!
//! While the history is still being made, each event moreover goes through `online`, which knows without judging all again when
//! something is to be suspected (`watch`: the dependencies closed a cycle). What is suspected is then judged in this way (`feeding`).
//!
//! # What is taken for true
//!
//! - A transaction that is `ok` happened, one that failed did not. One of unknown outcome happened if a transaction that
//!   is `ok` read an append of it, and is left out otherwise.
//! - An append that nobody read comes after all that were read, if its transaction happened: the longest list would show it.
//! - What a transaction reads of a list to which it has appended is what was there before, followed by its own appends. Only the
//!   former is evidence of others.
//! - Where lists of a key contradict each other, only the part that they share is an order. Where an element was appended
//!   twice, the key tells nothing, and the verdict is at best `unknown`.

mod anomaly;
mod argument;
mod cast;
mod checker;
mod collected;
mod components;
mod conclude;
mod counters;
mod deciding;
mod edges;
mod evidence;
mod explain;
mod feeding;
mod fewest;
mod graph;
mod history;
mod intake;
pub mod models;
mod online;
pub mod polygraph;
mod predicates;
mod prove;
mod registers;
mod scan;
mod search;
mod sets;
mod shapes;
mod telling;
mod timestamps;
mod unread;
pub(crate) mod values;
pub mod verify;
mod versions;
mod watch;

pub use anomaly::{Anomaly, Base, Class, View};
pub use checker::{ListAppend, Options};
pub use counters::CounterInc;
pub use evidence::{
    AnomalyEvidence, Cycle, Follows, Impossible, Objects, PassedOver, Relation, Step,
    TransactionView, VersionOrder,
};
pub use models::{LEVELS, Level};
pub use predicates::ClosedPredicate;
pub use registers::{Assumptions, RwRegister};
pub use sets::SetAdd;
pub use timestamps::{TIMESTAMPED, Timestamps};
