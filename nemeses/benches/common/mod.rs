//! What benches on a local cluster share.

#[path = "../../tests/common/part.rs"]
pub(crate) mod part;
#[path = "../../tests/common/ssh.rs"]
pub(crate) mod ssh;

use std::time::Duration;

/// Median, 90 % and worst, in milliseconds.
pub(crate) fn quantiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    format!("{:.1} | {:.1} | {:.1}", at(0.5), at(0.9), at(1.0))
}
