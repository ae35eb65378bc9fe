//! The machinery of a run: time, generators, the interpreter, sessions to nodes, the local cluster,
//! and the traits that systems, clients and faults implement.

pub mod capability;
pub mod client;
pub mod db;
pub mod fault;
pub mod generator;
pub mod interpreter;
pub mod local;
pub mod node;
pub mod options;
pub mod remote;
pub mod seed;
pub mod time;

pub use store::{Event, EventType, Name, OpError, Process, Value, json};
