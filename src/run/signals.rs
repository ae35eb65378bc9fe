//! Ctrl-C and its relatives.
//!
//! Once: stop, heal, check what was recorded. Twice: heal and leave. A third time, for those whose nodes
//! do not answer any more: leave. SIGTERM and SIGHUP count as one.

use harness::interpreter::{Stage, Stop};
use nix::sys::signal::{SigSet, Signal};

use crate::exit::Exit;

/// Takes over the process's signals. Call it before any other thread starts: threads inherit what is
/// blocked, and only the thread started here receives.
pub(crate) fn watch() -> std::io::Result<Stop> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block()?;
    let stop = Stop::new();
    let handle = stop.clone();
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            while signals.wait().is_ok() {
                if handle.stage() == Stage::Abandon {
                    eprintln!(
                        "\ninterrupted a third time: leaving at once; `gainsay heal` undoes what stands on \
                         the nodes"
                    );
                    std::process::exit(Exit::Interrupted.code().into());
                }
                match handle.escalate() {
                    Stage::Abandon => {
                        eprintln!("\ninterrupted again: healing, then leaving (again to leave at once)")
                    }
                    _ => {
                        eprintln!("\ninterrupted: stopping, healing and checking (again to leave)")
                    }
                }
            }
        })?;
    Ok(stop)
}
