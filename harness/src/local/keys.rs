//! The SSH keys of a cluster: one for the controller, one for each node as a host.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::error::{Doing, LocalError};
use super::plan::{self, Spec};

/// The controller's private key, in the directory of keys; `.pub` is the public one.
pub(super) const USER_KEY: &str = "id_ed25519";

/// The nodes' public keys, as OpenSSH's `known_hosts`.
pub(super) const KNOWN_HOSTS: &str = "known_hosts";

/// Makes all keys, and the file of known hosts.
pub(super) fn generate(spec: &Spec) -> Result<(), LocalError> {
    let dir = spec.keys();
    let doing = || "making SSH keys";
    DirBuilder::new().mode(0o700).create(&dir).doing(doing)?;
    let base = spec.base_root();
    let nodes: Vec<String> = (1..=spec.nodes).map(plan::name).collect();
    let mut running = Vec::new();
    for name in [USER_KEY]
        .into_iter()
        .chain(nodes.iter().map(String::as_str))
    {
        running.push(ssh_keygen(&base, &dir, name).spawn().doing(doing)?);
    }
    for child in running {
        let output = child.wait_with_output().doing(doing)?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr);
            return Err(LocalError::Start(format!(
                "ssh-keygen failed: {}",
                message.trim()
            )));
        }
    }
    let mut known_hosts = String::new();
    for node in 1..=spec.nodes {
        let name = plan::name(node);
        let public = fs::read_to_string(dir.join(format!("{name}.pub"))).doing(doing)?;
        known_hosts.push_str(&format!("{name},{} {public}", plan::address(node)));
    }
    fs::write(dir.join(KNOWN_HOSTS), known_hosts).doing(doing)
}

/// The base system's own `ssh-keygen`, since this machine may have none. It changes its root to the base
/// and keeps its working directory, the directory of keys, which is outside: it can write there by a
/// relative path, and the base, which other clusters share, stays as it is.
fn ssh_keygen(base: &Path, dir: &Path, name: &str) -> Command {
    let mut command = Command::new("/usr/bin/ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", name]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .env_clear();
    command.current_dir(dir);
    let base = base.to_owned();
    // SAFETY: chroot(2) is async-signal-safe, and the path's conversion stays on the stack.
    unsafe {
        command.pre_exec(move || Ok(nix::unistd::chroot(&base)?));
    }
    command
}
