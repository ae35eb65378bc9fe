//! The machinery of a run: time, generators, the interpreter, sessions to nodes, the local cluster,
//! and the traits that systems, clients and faults implement.
//!
//! | to | see |
//! | --- | --- |
//! | bring a system to nodes | the trait [`db::Db`], and helpers in [`node`] |
//! | speak to it | the traits [`client::Connect`] and [`client::Client`] |
//! | break it | the trait [`fault::Fault`], and what it may ask of the world in [`capability`] |
//! | say which operation comes when | [`generator`] |
//! | have operations performed and recorded | [`interpreter`] |
//! | prove that a healed system works again | [`recovery`] |
//! | wait, on real or virtual time | [`time`] |
//! | draw random numbers that repeat | [`seed`] |
//! | run commands on a node | [`remote`] |
//! | have nodes on this machine | [`local`] |
//! | have options | [`options`] |
//!
//! It does not know how a history is judged: checkers read what it recorded, afterwards.

pub mod capability;
pub mod client;
pub mod db;
pub mod fault;
pub mod generator;
pub mod interpreter;
pub mod links;
pub mod local;
pub mod node;
pub mod options;
pub mod recovery;
pub mod remote;
pub mod seed;
pub mod time;

pub use store::{Event, EventType, Name, OpError, Process, Value, json};
