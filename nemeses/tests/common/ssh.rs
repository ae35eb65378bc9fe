//! Local nodes, as a run has them.

use std::sync::Arc;

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
        agent: false,
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
