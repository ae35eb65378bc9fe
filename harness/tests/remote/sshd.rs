//! A private SSH server on a port of its own, with its own keys, gone when dropped.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use harness::remote::ssh::{ConfigFile, HostKeyPolicy, SshOptions, SshRemote};

pub(crate) struct Sshd {
    child: Child,
    pub(crate) port: u16,
    pub(crate) folder: tempfile::TempDir,
}

/// Whether such servers can run here. Says so loudly if not.
pub(crate) fn can_run(test: &str) -> bool {
    let missing = if !nix::unistd::geteuid().is_root() {
        Some("needs root")
    } else if !Path::new("/usr/sbin/sshd").exists() {
        Some("needs /usr/sbin/sshd (apt-get install openssh-server)")
    } else {
        None
    };
    if let Some(why) = missing {
        eprintln!("SKIPPED: {test}: {why}");
    }
    missing.is_none()
}

pub(crate) fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {said}");
}

pub(crate) fn keygen(path: &Path, kind: &str, passphrase: &str) {
    let file = path.to_str().unwrap();
    run(
        "ssh-keygen",
        &["-q", "-t", kind, "-N", passphrase, "-f", file],
    );
}

impl Sshd {
    pub(crate) fn start() -> Sshd {
        Sshd::start_with("")
    }

    /// Starts a server with more lines for its configuration.
    pub(crate) fn start_with(more: &str) -> Sshd {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        // Other login users read the list of keys.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        keygen(&at("host"), "ed25519", "");
        keygen(&at("user"), "ed25519", "");
        fs::copy(at("user.pub"), at("authorized_keys")).unwrap();
        fs::create_dir_all("/run/sshd").unwrap();
        // Another test may be quicker and get the port.
        let listening = (0..10).find_map(|_| Sshd::listen(folder.path(), free_port(), more));
        let (child, port) = listening.expect("sshd finds a port");
        let sshd = Sshd {
            child,
            port,
            folder,
        };
        sshd.write_known_hosts(&sshd.at("host.pub"));
        sshd
    }

    /// Starts a server, unless somebody else has the port. It takes connections when this returns.
    fn listen(folder: &Path, port: u16, more: &str) -> Option<(Child, u16)> {
        let at = |name: &str| folder.join(name);
        let config = format!(
            "{more}\nPort {port}\nListenAddress 127.0.0.1\nHostKey {host}\nPidFile none\n\
             AuthorizedKeysFile {keys}\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n\
             KbdInteractiveAuthentication no\nPasswordAuthentication no\nMaxStartups 100\n\
             SetEnv SHLVL=2\n", // bash then leaves root's start-up file, whatever it does, alone
            host = at("host").display(),
            keys = at("authorized_keys").display(),
        );
        fs::write(at("sshd_config"), config).unwrap();
        let log = fs::File::create(at("log")).unwrap();
        let mut child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f", at("sshd_config").to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let said = fs::read_to_string(at("log")).unwrap_or_default();
            if said.contains("Server listening on") {
                return Some((child, port));
            }
            if child.try_wait().unwrap().is_some() {
                assert!(said.contains("in use"), "sshd does not start: {said}");
                return None;
            }
            assert!(Instant::now() < deadline, "sshd does not start: {said}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Lists a public key as this server's.
    pub(crate) fn write_known_hosts(&self, public_key: &Path) {
        let key = fs::read_to_string(public_key).unwrap();
        let line = format!("# comment\n[127.0.0.1]:{} {key}", self.port);
        fs::write(self.at("known_hosts"), line).unwrap();
    }

    pub(crate) fn options(&self) -> SshOptions {
        SshOptions {
            port: Some(self.port),
            private_keys: vec![self.at("user")],
            agent: false,
            known_hosts: vec![self.at("known_hosts")],
            host_keys: Some(HostKeyPolicy::Strict),
            config: ConfigFile::None,
            ..SshOptions::default()
        }
    }

    pub(crate) fn remote(&self) -> SshRemote {
        self.remote_with(|_| {})
    }

    pub(crate) fn remote_with(&self, change: impl FnOnce(&mut SshOptions)) -> SshRemote {
        let mut options = self.options();
        change(&mut options);
        SshRemote::new("n1".into(), "127.0.0.1", options).unwrap()
    }

    /// The processes that serve this server's sessions.
    pub(crate) fn sessions(&self) -> Vec<i32> {
        let pid = self.child.id();
        fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
            .unwrap()
            .split_whitespace()
            .map(|pid| pid.parse().unwrap())
            .collect()
    }

    /// Stops the server and the processes that serve its sessions, until the guard is dropped.
    pub(crate) fn freeze(&self) -> Frozen {
        let mut pids = vec![self.child.id() as i32];
        pids.extend(self.sessions());
        signal_all(&pids, Signal::SIGSTOP);
        Frozen(pids)
    }

    /// Kills the processes that serve its sessions.
    pub(crate) fn kill_sessions(&self) -> usize {
        let sessions = self.sessions();
        signal_all(&sessions, Signal::SIGKILL);
        sessions.len()
    }
}

/// Processes that go on when this is dropped.
pub(crate) struct Frozen(Vec<i32>);

impl Drop for Frozen {
    fn drop(&mut self) {
        signal_all(&self.0, Signal::SIGCONT);
    }
}

/// Sends a signal to processes of ours, those that have just ended excepted.
fn signal_all(pids: &[i32], signal: Signal) {
    for pid in pids {
        let _ = kill(Pid::from_raw(*pid), signal);
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
