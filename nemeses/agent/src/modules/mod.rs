//! What an agent can do: a module for each kind of fault.
//!
//! A module's requests and answers are types of its own, which the controller uses too.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub mod backup;
pub mod clock;
pub mod confine;
pub mod corrupt;
pub mod disk;
pub mod load;
pub mod machine_clock;
pub mod network;
pub mod processes;
pub mod script;

/// The module that does nothing, for notes of what the controller does itself.
pub const NOTE: &str = "note";

/// Why a request was not done, or perhaps not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// It was not done, for certain.
    NotDone(String),
    /// It may have been done, in part or whole.
    Indeterminate(String),
}

/// A kind of fault. It has a thread of its own, from its first request to the end of the agent.
pub(crate) trait Module {
    /// Does something.
    fn handle(&mut self, request: Value) -> Result<Value, Failure>;
}

/// The module of a name, with the folder of the node's records.
pub(crate) fn make(name: &str, folder: &Path) -> Option<Box<dyn Module>> {
    match name {
        clock::NAME => Some(Box::<clock::Clock>::default()),
        confine::NAME => Some(Box::new(confine::Confine::new(folder))),
        network::NAME => Some(Box::<network::Network>::default()),
        machine_clock::NAME => Some(Box::new(machine_clock::MachineClock::new(folder))),
        backup::NAME => Some(Box::new(Typed(backup::handle))),
        corrupt::NAME => Some(Box::new(Typed(corrupt::handle))),
        load::NAME => Some(Box::new(load::Loads::new(folder))),
        disk::NAME => Some(Box::new(Typed(disk::handle))),
        script::NAME => Some(Box::new(Typed(script::handle))),
        processes::NAME => Some(Box::new(Typed(processes::handle))),
        NOTE => Some(Box::new(Typed(|(): ()| Ok(())))),
        _ => None,
    }
}

/// A module without a memory: a function of its own types.
struct Typed<Q, A>(fn(Q) -> Result<A, Failure>);

impl<Q: DeserializeOwned, A: Serialize> Module for Typed<Q, A> {
    fn handle(&mut self, request: Value) -> Result<Value, Failure> {
        answer(self.0(understand(request)?)?)
    }
}

/// A request in a module's own terms.
fn understand<Q: DeserializeOwned>(request: Value) -> Result<Q, Failure> {
    serde_json::from_value(request)
        .map_err(|error| Failure::NotDone(format!("a request that is not understood: {error}")))
}

/// An answer for the controller.
fn answer(answer: impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(answer)
        .map_err(|error| Failure::Indeterminate(format!("an answer that cannot be told: {error}")))
}

/// A file without a name in a folder: it is gone with who has it open. It is opened with these flags besides.
fn nameless(folder: &Path, flags: i32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    let mut without = options.clone();
    without.custom_flags(libc::O_TMPFILE | flags);
    if let Ok(file) = without.open(folder) {
        return Ok(file);
    }
    // Some file systems know no such files.
    let (process, thread) = (std::process::id(), std::thread::current().id());
    let place = folder.join(format!(".gainsay-{process}-{thread:?}"));
    let file = options.create_new(true).custom_flags(flags).open(&place)?;
    std::fs::remove_file(place)?;
    Ok(file)
}
