//! Tests that a machine cannot run.

use std::io::Write;

/// Says loudly that a test does not run, and on CI fails it: all that tests need is installed there.
pub(crate) fn skip(test: &str, why: &str) {
    say(test, why);
    assert!(
        std::env::var_os("CI").is_none(),
        "on CI nothing is skipped: {test}: {why}"
    );
}

/// The same for what needs nodes with kernels of their own, which CI only has where there is one for its kind of processor.
#[allow(dead_code)]
pub(crate) fn skip_own_kernel(test: &str, why: &str) {
    match cfg!(target_arch = "x86_64") {
        true => skip(test, why),
        false => say(test, why),
    }
}

fn say(test: &str, why: &str) {
    // Not `eprintln`, which the test harness swallows.
    let message = format!("\n*** SKIPPED {test}: {why}; it did NOT run ***\n\n");
    let _ = std::io::stderr().write_all(message.as_bytes());
}
