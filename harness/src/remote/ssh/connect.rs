//! Opening a session: the way there, the handshake, the host's key, authentication.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{Shutdown, setsockopt, shutdown, sockopt};
use ssh2::{BlockDirections, HashType, MethodType, Session};

use super::Failure;
use super::auth;
use super::config::{Route, Target};
use super::known_hosts::{self, KnownHosts, Verdict};
use super::options::HostKeyPolicy;
use super::proxy::{self, ProxyProcess};

/// How often a handshake is tried that the server broke off, as sshd does when many connect at once
/// (`MaxStartups`).
const HANDSHAKES_MAX: u32 = 3;

/// How long sent bytes may stay unacknowledged before the connection counts as lost.
const UNACKNOWLEDGED: Duration = Duration::from_secs(20);

/// An authenticated session.
pub(super) struct Connection {
    pub(super) session: Session,
    /// The session's socket, to wait for it and to shut it down.
    socket: OwnedFd,
    _proxy: Option<ProxyProcess>,
}

/// Why an operation on a session came to nothing.
#[derive(Debug)]
pub(super) enum Stall {
    /// The deadline passed.
    Late,
    /// The session is of no use any more.
    Broken(String),
}

impl Connection {
    /// Repeats a non-blocking operation until it is done.
    pub(super) fn until<T>(
        &self,
        deadline: Instant,
        mut operation: impl FnMut() -> Result<T, ssh2::Error>,
    ) -> Result<T, Stall> {
        loop {
            match operation() {
                Ok(value) => return Ok(value),
                Err(error) if blocks(&error) => {}
                Err(error) => return Err(Stall::Broken(error.message().to_owned())),
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Stall::Late);
            }
            self.wait(left);
        }
    }

    /// Waits until the socket can do what the session waits for, at most so long.
    pub(super) fn wait(&self, limit: Duration) {
        let flags = match self.session.block_directions() {
            BlockDirections::None | BlockDirections::Inbound => PollFlags::POLLIN,
            BlockDirections::Outbound => PollFlags::POLLOUT,
            BlockDirections::Both => PollFlags::POLLIN | PollFlags::POLLOUT,
        };
        let mut fds = [PollFd::new(self.socket.as_fd(), flags)];
        // A signal that interrupts the wait, or an error of the socket, shows in the next operation.
        let _ = poll(&mut fds, poll_timeout(limit));
    }

    /// The session's socket.
    pub(super) fn socket(&self) -> &OwnedFd {
        &self.socket
    }
}

/// At least a millisecond, so that a wait is never a busy loop.
pub(super) fn poll_timeout(limit: Duration) -> PollTimeout {
    let millis = limit.as_millis().clamp(1, i32::MAX as u128);
    PollTimeout::try_from(millis as i32).unwrap_or(PollTimeout::MAX)
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Freeing sessions and channels says goodbye; over a dead network that would wait.
        self.session.set_blocking(false);
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
    }
}

/// Whether an operation only has to be repeated later.
pub(super) fn blocks(error: &ssh2::Error) -> bool {
    error.code() == ssh2::ErrorCode::Session(-37) // LIBSSH2_ERROR_EAGAIN
}

/// Opens a session by a deadline.
pub(super) fn connect(
    target: &Target,
    password: Option<&str>,
    deadline: Instant,
) -> Result<Connection, Failure> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let (socket, proxy) = open_route(target, deadline)?;
        match handshake(target, socket, proxy, deadline) {
            Ok(connection) => {
                auth::authenticate(&connection.session, target, password, deadline)?;
                connection.session.set_timeout(0);
                connection.session.set_blocking(false);
                return Ok(connection);
            }
            Err(Handshake::Refused(failure)) => return Err(failure),
            Err(Handshake::BrokenOff(failure)) if attempt == HANDSHAKES_MAX => return Err(failure),
            Err(Handshake::BrokenOff(failure)) => {
                let pause = Duration::from_millis(rand::random_range(50..250)) * attempt;
                if Instant::now() + pause >= deadline {
                    return Err(failure);
                }
                std::thread::sleep(pause);
            }
        }
    }
}

fn open_route(
    target: &Target,
    deadline: Instant,
) -> Result<(OwnedFd, Option<ProxyProcess>), Failure> {
    match &target.route {
        Route::Direct => Ok((open_tcp(&target.host, target.port, deadline)?, None)),
        Route::Command(command) => {
            let (socket, process) = proxy::spawn(command)?;
            Ok((socket, Some(process)))
        }
        Route::Jumps(jumps) => Ok((open_jumps(target, jumps, deadline)?, None)),
    }
}

/// Connects to each jump host through the one before it, then to the target through the last.
fn open_jumps(target: &Target, jumps: &[Target], deadline: Instant) -> Result<OwnedFd, Failure> {
    let mut through: Option<Connection> = None;
    for jump in jumps {
        let via = |failure: Failure| failure.via(&format!("jump host {jump}"));
        let connection = match through.take() {
            None => connect(jump, None, deadline).map_err(via)?,
            Some(before) => {
                let socket = proxy::tunnel(before, &jump.host, jump.port, deadline).map_err(via)?;
                let connection = handshake(jump, socket, None, deadline)
                    .map_err(|error| via(error.into_failure()))?;
                auth::authenticate(&connection.session, jump, None, deadline).map_err(via)?;
                connection
            }
        };
        connection.session.set_blocking(false);
        through = Some(connection);
    }
    match through {
        Some(last) => proxy::tunnel(last, &target.host, target.port, deadline),
        None => open_tcp(&target.host, target.port, deadline),
    }
}

fn open_tcp(host: &str, port: u16, deadline: Instant) -> Result<OwnedFd, Failure> {
    let mut last = None;
    for address in look_up(host, port, deadline)? {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => {
                // Sessions work without these; they only make loss visible sooner.
                let _ = stream.set_nodelay(true);
                let _ = setsockopt(&stream, sockopt::KeepAlive, &true);
                let _ = setsockopt(&stream, sockopt::TcpKeepIdle, &10);
                let _ = setsockopt(&stream, sockopt::TcpKeepInterval, &5);
                let _ = setsockopt(&stream, sockopt::TcpKeepCount, &3);
                let limit = UNACKNOWLEDGED.as_millis() as u32;
                let _ = setsockopt(&stream, sockopt::TcpUserTimeout, &limit);
                return Ok(stream.into());
            }
            Err(error) => last = Some((address, error)),
        }
    }
    let failure = match last {
        Some((address, error)) => tcp_failure(host, address, &error),
        None => Failure::new(
            format!("no answer from {host} port {port} in time"),
            "check the network, or allow more time with --connect-timeout",
        ),
    };
    Err(failure.unanswered())
}

fn tcp_failure(host: &str, address: SocketAddr, error: &io::Error) -> Failure {
    let port = address.port();
    let place = if host == address.ip().to_string() {
        format!("{host} port {port}")
    } else {
        format!("{host} ({}) port {port}", address.ip())
    };
    match error.kind() {
        ErrorKind::ConnectionRefused => Failure::new(
            format!("connection refused by {place}"),
            format!(
                "is sshd running there, and on port {port}? Try: nc -vz {host} {port}; \
                 another port is set with --ssh-port, or in ~/.ssh/config"
            ),
        ),
        ErrorKind::TimedOut => Failure::new(
            format!("no answer from {place} in time"),
            "the host is down, or a firewall drops packets; try: ping, or --connect-timeout",
        ),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Failure::new(
            format!("no route to {place}"),
            "check the address and this machine's network: ip route get ADDRESS",
        ),
        _ => Failure::new(
            format!("{place}: {error}"),
            "check the address and the network",
        ),
    }
}

/// Resolves a name, on a thread of its own since `getaddrinfo` knows no deadline.
fn look_up(host: &str, port: u16, deadline: Instant) -> Result<Vec<SocketAddr>, Failure> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let hint = format!(
        "check the spelling, /etc/hosts and DNS (getent hosts {host}), or give HostName in \
         ~/.ssh/config"
    );
    let (send, receive) = mpsc::channel();
    let name = host.to_owned();
    std::thread::spawn(move || {
        let found = (name.as_str(), port)
            .to_socket_addrs()
            .map(|addresses| addresses.collect::<Vec<_>>());
        let _ = send.send(found); // nobody waits any more after the deadline
    });
    match receive.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
        Ok(Ok(_)) => Err(Failure::new(format!("{host} has no address"), hint)),
        Ok(Err(error)) => Err(Failure::new(
            format!("the name {host} cannot be resolved: {error}"),
            hint,
        )),
        Err(_) => Err(Failure::new(
            format!("the name {host} was not resolved in time"),
            hint,
        )),
    }
}

/// Why a handshake failed.
enum Handshake {
    /// The server went away. Another try may succeed.
    BrokenOff(Failure),
    /// The server's key, say.
    Refused(Failure),
}

impl Handshake {
    fn into_failure(self) -> Failure {
        match self {
            Handshake::BrokenOff(failure) | Handshake::Refused(failure) => failure,
        }
    }
}

fn handshake(
    target: &Target,
    socket: OwnedFd,
    proxy: Option<ProxyProcess>,
    deadline: Instant,
) -> Result<Connection, Handshake> {
    let local = |error: &dyn std::fmt::Display| {
        Handshake::Refused(Failure::new(
            format!("cannot set up a session: {error}"),
            "this machine may be out of memory or file descriptors (ulimit -n)",
        ))
    };
    let mut session = Session::new().map_err(|error| local(&error))?;
    let stream = socket.try_clone().map_err(|error| local(&error))?;
    session.set_tcp_stream(stream);
    let known = match &target.host_keys {
        HostKeyPolicy::Exactly(key) => KnownHosts::exactly(key),
        _ => KnownHosts::read(&target.known_hosts),
    };
    let algorithms = known.algorithms(&session, &target.key_name, target.port);
    session
        .method_pref(MethodType::HostKey, &algorithms)
        .map_err(|error| local(&error))?;
    let mut connection = Connection {
        session,
        socket,
        _proxy: proxy,
    };
    limit(&connection.session, deadline);
    if let Err(error) = connection.session.handshake() {
        let mut message = format!(
            "{target} does not complete an SSH handshake: {}",
            error.message()
        );
        if let Some(proxy) = &connection._proxy {
            message.push_str(&proxy.complaint());
        }
        let hint = format!(
            "is it an SSH server? Try: ssh -v -p {} {}@{}; sshd's log on the host says more",
            target.port, target.user, target.host
        );
        let failure = Failure::new(message, hint).unanswered();
        return Err(Handshake::BrokenOff(failure));
    }
    check_host_key(&connection.session, target, &known).map_err(Handshake::Refused)?;
    Ok(connection)
}

/// Lets blocking calls on a session take no longer than until the deadline.
pub(super) fn limit(session: &Session, deadline: Instant) {
    let left = deadline.saturating_duration_since(Instant::now());
    session.set_blocking(true);
    session.set_timeout(left.as_millis().clamp(1, u32::MAX as u128) as u32);
}

fn check_host_key(session: &Session, target: &Target, known: &KnownHosts) -> Result<(), Failure> {
    if target.host_keys == HostKeyPolicy::Off {
        return Ok(());
    }
    let (name, port) = (&target.key_name, target.port);
    let Some((key, kind)) = session.host_key() else {
        return Err(Failure::new(
            format!("{target} showed no host key"),
            "is it an SSH server?",
        ));
    };
    match (
        known.judge(session, name, port, key),
        &target.host_keys,
        target.known_hosts.first(),
    ) {
        (Verdict::Known, ..) => Ok(()),
        (Verdict::Unknown, HostKeyPolicy::AcceptNew, Some(file)) => {
            known_hosts::remember(session, file, name, port, key, kind).map_err(|message| {
                Failure::new(
                    format!("the key of {name} cannot be remembered: {message}"),
                    "make the known-hosts file writable, or name another",
                )
            })
        }
        (Verdict::Unknown, HostKeyPolicy::AcceptNew, None) => Ok(()),
        (Verdict::Unknown, policy, _) => Err(unknown_key(session, target, policy, known)),
        (Verdict::Changed(place), HostKeyPolicy::Exactly(_), _) => Err(Failure::new(
            format!("the host key of {name} is not the expected one ({place})"),
            "the node was rebuilt, or another host answers at its address",
        )),
        (Verdict::Changed(place), ..) => Err(Failure::new(
            format!(
                "THE HOST KEY OF {name} HAS CHANGED to {}; the one it had is at {place}",
                fingerprint(session)
            ),
            format!(
                "either the host was reinstalled or somebody is in between. If you know why, remove \
                 the old key: ssh-keygen -f {} -R '{}', and add the new one: {}",
                place.file.display(),
                known_name(name, port),
                keyscan(name, port, &place.file)
            ),
        )),
        (Verdict::Revoked(place), ..) => Err(Failure::new(
            format!("the host key of {name} was revoked at {place}"),
            "give the host a new key",
        )),
    }
}

fn unknown_key(
    session: &Session,
    target: &Target,
    policy: &HostKeyPolicy,
    known: &KnownHosts,
) -> Failure {
    let (name, port) = (&target.key_name, target.port);
    if matches!(policy, HostKeyPolicy::Exactly(_)) && known.is_empty() {
        return Failure::new(
            format!("the expected host key of {name} is not a public key"),
            "write it as in a .pub file: ssh-ed25519 AAAA…",
        );
    }
    let file = target.known_hosts.first();
    let file = file
        .cloned()
        .unwrap_or_else(|| PathBuf::from("known_hosts"));
    Failure::new(
        format!(
            "the host key of {name} is not known: {}",
            fingerprint(session)
        ),
        format!(
            "compare it with what the host's console says, and add it: {}; or accept the keys of \
             new hosts with --host-key-checking accept-new",
            keyscan(name, port, &file)
        ),
    )
}

/// A key as `ssh-keygen -l` shows it.
fn fingerprint(session: &Session) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let hash = session.host_key_hash(HashType::Sha256).unwrap_or_default();
    let mut shown = "SHA256:".to_owned();
    for bytes in hash.chunks(3) {
        let word = bytes
            .iter()
            .fold(0, |word, &byte| word << 8 | u32::from(byte));
        let word = word << (8 * (3 - bytes.len()));
        for digit in 0..=bytes.len() {
            shown.push(DIGITS[(word >> (18 - 6 * digit)) as usize & 63].into());
        }
    }
    shown
}

fn known_name(name: &str, port: u16) -> String {
    if port == 22 {
        name.to_owned()
    } else {
        format!("[{name}]:{port}")
    }
}

fn keyscan(name: &str, port: u16, file: &std::path::Path) -> String {
    format!("ssh-keyscan -p {port} {name} >> {}", file.display())
}
