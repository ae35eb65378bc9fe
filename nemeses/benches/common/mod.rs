//! What benches on a local cluster share.

use std::sync::Arc;
use std::time::Duration;

use harness::Name;
use harness::local::SshTarget;
use harness::remote::Node;
use harness::remote::ssh::{ConfigFile, SshOptions, SshRemote};

/// A local node, over real SSH.
pub(crate) fn node(target: SshTarget) -> Node {
    let options = SshOptions {
        user: Some(target.user),
        port: Some(target.port),
        private_keys: vec![target.key],
        known_hosts: vec![target.known_hosts],
        config: ConfigFile::None,
        ..SshOptions::default()
    };
    let address = target.address.to_string();
    let name = Name::from(target.name);
    let remote = SshRemote::new(name.clone(), &address, options).unwrap();
    Node {
        name,
        address,
        remote: Arc::new(remote),
    }
}

/// Median, 90 % and worst, in milliseconds.
pub(crate) fn quantiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    format!("{:.1} | {:.1} | {:.1}", at(0.5), at(0.9), at(1.0))
}
