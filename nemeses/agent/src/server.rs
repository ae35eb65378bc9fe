//! The agent's life: takes requests until the controller is gone, and leaves nothing standing.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::journal::Journal;
use crate::lines::{Heard, Lines};
#[cfg(target_arch = "x86_64")]
use crate::modules::clock;
use crate::modules::{self, Failure, confine, load, machine_clock};
use crate::protocol::{ALIVE, Hello, Outcome, Reply, Request};
use crate::shell::be_spared;

const USAGE: &str = "usage: gainsay-agent serve FOLDER LEASE_SECONDS
       gainsay-agent release|released FOLDER NAME
       gainsay-agent write-beside PARENT FOLDER GROUP
       gainsay-agent work-load PARENT
       gainsay-agent end-load|load-ended FOLDER NAME
       gainsay-agent change-clocks|undo-clocks TAG
       gainsay-agent restore-machine-clock FOLDER
       gainsay-agent disk serve FOLDER SOCKET
       gainsay-agent disk calm SOCKET";

/// Runs the agent as its arguments say.
pub fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", folder, lease] => match lease.parse() {
            Ok(seconds) => serve(PathBuf::from(folder), Duration::from_secs(seconds)),
            Err(_) => usage(),
        },
        [machine_clock::RESTORE, folder] => succeeded(machine_clock::restore(folder.as_ref())),
        #[cfg(target_arch = "x86_64")]
        [clock::RESIDENT, tag] => clock::serve(tag),
        #[cfg(target_arch = "x86_64")]
        [clock::UNDO, tag] => clock::undo(tag),
        ["write-beside", parent, folder, group] => {
            confine::write_beside(parent, folder.as_ref(), group.as_ref())
        }
        ["work-load", parent] => load::work(parent),
        ["end-load", folder, name] => succeeded(load::end(folder.as_ref(), name)),
        ["load-ended", folder, name] => passed(load::is_ended(folder.as_ref(), name)),
        ["release", folder, name] => succeeded(confine::release(folder.as_ref(), name)),
        ["released", folder, name] => passed(confine::is_released(folder.as_ref(), name)),
        ["disk", ref words @ ..] => crate::disk::command(words).unwrap_or_else(usage),
        _ => usage(),
    }
}

fn succeeded<T>(done: Result<T, impl std::fmt::Display>) -> ExitCode {
    match done {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn passed(is_so: bool) -> ExitCode {
    match is_so {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(254)
}

/// What the threads share.
struct Shared {
    folder: PathBuf,
    journal: Mutex<Journal>,
    /// Whether the controller can still be told something.
    output: Mutex<io::Stdout>,
}

impl Shared {
    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, what: &impl serde::Serialize) {
        let Ok(mut line) = serde_json::to_vec(what) else {
            return;
        };
        line.push(b'\n');
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        // A controller that is gone is seen by the end of its requests.
        let _ = output.write_all(&line).and_then(|()| output.flush());
    }
}

fn serve(folder: PathBuf, lease: Duration) -> ExitCode {
    // What it holds must not end because memory is short, a fault of its own included.
    be_spared();
    let shared = Arc::new(Shared {
        folder: folder.clone(),
        journal: Mutex::new(Journal::new(&folder)),
        output: Mutex::new(io::stdout()),
    });
    shared.say(&Hello {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
    });
    let mut desks = Desks {
        shared: Arc::clone(&shared),
        desks: HashMap::new(),
    };
    let mut lines = Lines::new(io::stdin());
    // Silence, the end and an error all mean that nobody is there any more.
    while let Ok(Heard::Line(line)) = lines.next(lease) {
        match serde_json::from_slice(&line) {
            Ok(request) => desks.hand_in(request),
            Err(error) => {
                eprintln!("not a request: {error}");
                break;
            }
        }
    }
    desks.close();
    if !shared.journal().undo_all() {
        return ExitCode::FAILURE;
    }
    leave(&folder);
    ExitCode::SUCCESS
}

/// Removes this program, and the folders that are empty without it.
fn leave(folder: &std::path::Path) {
    if let Ok(program) = std::env::current_exe() {
        let _ = fs::remove_file(&program);
    }
    let _ = fs::remove_dir(folder);
}

/// One thread for each module that was asked for something.
struct Desks {
    shared: Arc<Shared>,
    desks: HashMap<String, (Sender<Request>, JoinHandle<()>)>,
}

impl Desks {
    fn hand_in(&mut self, request: Request) {
        if request.module == ALIVE {
            let id = request.id;
            let outcome = finish(&self.shared, &request, Ok(serde_json::Value::Null));
            return self.shared.say(&Reply { id, outcome });
        }
        let (id, name) = (request.id, request.module.clone());
        let shared = &self.shared;
        let desk =
            (self.desks.entry(name.clone())).or_insert_with(|| open(name, Arc::clone(shared)));
        if desk.0.send(request).is_err() {
            let outcome = Outcome::NotDone("the module has ended".to_owned());
            self.shared.say(&Reply { id, outcome });
        }
    }

    /// Lets all of them finish what they have begun.
    fn close(&mut self) {
        for (_, (sender, thread)) in self.desks.drain() {
            drop(sender);
            let _ = thread.join();
        }
    }
}

fn open(name: String, shared: Arc<Shared>) -> (Sender<Request>, JoinHandle<()>) {
    let (sender, requests) = channel::<Request>();
    let thread = thread::spawn(move || {
        let mut module = modules::make(&name, &shared.folder);
        for request in requests {
            let id = request.id;
            let outcome = match &mut module {
                None => Outcome::NotDone(format!("this agent has no module `{name}`")),
                Some(module) => perform(&shared, request, module.as_mut()),
            };
            shared.say(&Reply { id, outcome });
        }
    });
    (sender, thread)
}

/// Notes, then the deed, then what there is to forget.
fn perform(shared: &Shared, request: Request, module: &mut dyn modules::Module) -> Outcome {
    if let Err(error) = shared.journal().write(&request.notes) {
        return Outcome::NotWritten(error.to_string());
    }
    let deed = request.request.clone();
    let done = catch_unwind(AssertUnwindSafe(|| module.handle(deed)));
    let done = done.unwrap_or_else(|_| Err(Failure::Indeterminate("the agent failed".to_owned())));
    finish(shared, &request, done)
}

fn finish(shared: &Shared, request: &Request, done: Result<serde_json::Value, Failure>) -> Outcome {
    let mut journal = shared.journal();
    match done {
        Ok(value) => {
            request.forget.iter().for_each(|id| journal.forget(id));
            Outcome::Done(value)
        }
        Err(Failure::NotDone(message)) => {
            request
                .notes
                .iter()
                .for_each(|note| journal.forget(&note.id));
            Outcome::NotDone(message)
        }
        Err(Failure::Indeterminate(message)) => Outcome::Indeterminate(message),
    }
}
