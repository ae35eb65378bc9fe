//! Ctrl-C and its relatives.
//!
//! Once: stop, heal, check what was recorded. Twice: heal and leave. SIGTERM and SIGHUP count as one.

use harness::interpreter::{Stage, Stop};
use nix::sys::signal::{SigSet, Signal};

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
                match handle.escalate() {
                    Stage::Abandon => eprintln!("\ninterrupted again: healing, then leaving"),
                    _ => {
                        eprintln!("\ninterrupted: stopping, healing and checking (again to leave)")
                    }
                }
            }
        })?;
    Ok(stop)
}
