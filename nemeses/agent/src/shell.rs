//! Shell scripts that the agent runs: with the paths that root has, and as likely to be killed for want of memory as what the agent was
//! begun by.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

const SCORE: &str = "/proc/self/oom_score_adj";

/// What this process was begun with.
static ORDINARY: OnceLock<String> = OnceLock::new();

/// Keeps this process from being killed for want of memory. What it starts by [`shell`] is not kept from that: it may start the system
/// again, and nobody else who does would spare it.
pub(crate) fn be_spared() {
    let before = fs::read_to_string(SCORE).unwrap_or_default();
    let _ = ORDINARY.set(before.trim().to_owned());
    let _ = fs::write(SCORE, "-1000");
}

/// A script for `sh`, without input.
pub(crate) fn shell(script: &str) -> Command {
    let score = match ORDINARY.get() {
        // Builtin, and so by the shell itself.
        Some(before) if !before.is_empty() => format!("echo {before} 2>/dev/null >{SCORE}\n"),
        _ => String::new(),
    };
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!(
            "PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin\n{score}{script}"
        ))
        .stdin(Stdio::null());
    command
}
