//! Threads that own sessions, and the jobs they take.
//!
//! `libssh2` is not asynchronous, and a session serves one thread at a time. So each session belongs
//! to one thread, which takes jobs from a queue and answers each through a channel that the
//! asynchronous side awaits. A future that is dropped leaves nothing hanging: its ordinary command
//! is killed, its quick one runs to its end, and the thread takes the next.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use store::Name;
use tokio::sync::oneshot;

use super::config::Target;
use super::frame::Elevation;
use super::options::SshOptions;
use super::worker::Worker;
use crate::remote::{Output, RemoteError};

/// How long a session beyond the first may idle before it is closed.
const SPARE_IDLE: Duration = Duration::from_secs(60);

/// What a job moves besides its script's text.
#[derive(Clone, Debug)]
pub(super) enum Payload {
    /// Standard input; output is kept in memory.
    Input(Vec<u8>),
    /// The script reads this local file.
    Upload(PathBuf),
    /// The script writes this local file.
    Download(PathBuf),
}

/// A script to run, and who waits for what it says.
pub(super) struct Job {
    pub(super) script: String,
    /// What the script is called in messages.
    pub(super) label: String,
    pub(super) payload: Payload,
    pub(super) timeout: Duration,
    pub(super) idempotent: bool,
    pub(super) root: bool,
    pub(super) queued: Instant,
    pub(super) reply: oneshot::Sender<Result<Output, RemoteError>>,
}

/// Whether sessions of a pool open a channel for each script, or keep a shell open for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ordinary,
    Quick,
}

/// What all sessions to a node have in common.
pub(super) struct Profile {
    pub(super) node: Name,
    pub(super) target: Target,
    pub(super) options: SshOptions,
    /// How often all sessions were given up: those that were opened before are not used any more.
    epoch: AtomicU64,
}

impl Profile {
    pub(super) fn new(node: Name, target: Target, options: SshOptions) -> Profile {
        Profile {
            node,
            target,
            options,
            epoch: AtomicU64::new(0),
        }
    }

    /// The number of giving up that a session belongs to that is opened now.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Gives up all sessions.
    pub(super) fn renew(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// How a command becomes root, and the password that this takes.
    pub(super) fn elevation(&self, root: bool) -> (Elevation, Option<&str>) {
        if !root || self.target.user == "root" {
            return (Elevation::None, None);
        }
        match &self.options.sudo_password {
            Some(password) => (Elevation::SudoPassword, Some(password.reveal())),
            None => (Elevation::Sudo, None),
        }
    }
}

/// Sessions of one kind to one node, opened as they are needed. Dropping it closes them.
pub(super) struct Pool {
    shared: Arc<Shared>,
    kind: Kind,
    sessions_max: usize,
}

struct Shared {
    profile: Arc<Profile>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    idle: usize,
    workers: usize,
    closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    pub(super) fn new(profile: Arc<Profile>, kind: Kind, sessions_max: usize) -> Pool {
        Pool {
            shared: Arc::new(Shared {
                profile,
                state: Mutex::default(),
                changed: Condvar::new(),
            }),
            kind,
            sessions_max: sessions_max.max(1),
        }
    }

    /// Queues a job. Its reply comes from a session's thread; a job that no thread can take is
    /// dropped, and its reply with it.
    pub(super) fn submit(&self, job: Job) {
        let mut state = self.shared.lock();
        state.jobs.push_back(job);
        if state.idle < state.jobs.len() && state.workers < self.sessions_max {
            match self.start_thread(state.workers) {
                Ok(()) => state.workers += 1,
                Err(error) => {
                    tracing::error!(%error, "no thread for a session");
                    if state.workers == 0 {
                        state.jobs.clear();
                    }
                }
            }
        }
        drop(state);
        self.shared.changed.notify_one();
    }

    fn start_thread(&self, number: usize) -> std::io::Result<()> {
        let seat = Seat {
            shared: Arc::clone(&self.shared),
        };
        let worker = Worker::new(Arc::clone(&self.shared.profile), self.kind);
        let thread = std::thread::Builder::new().name(format!(
            "ssh-{}-{}{number}",
            self.shared.profile.node,
            match self.kind {
                Kind::Ordinary => "",
                Kind::Quick => "q",
            }
        ));
        thread.spawn(move || seat.serve(worker))?;
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.jobs.clear();
        drop(state);
        self.shared.changed.notify_all();
    }
}

/// A thread's place in the pool; given up also when the thread panics.
struct Seat {
    shared: Arc<Shared>,
}

enum Next {
    Job(Box<Job>),
    /// Nothing to do for a while.
    Idle,
    Quit,
}

impl Seat {
    fn serve(self, mut worker: Worker) {
        let mut worked = Instant::now();
        loop {
            match self.next(worked) {
                Next::Job(job) => {
                    worker.serve(*job);
                    worked = Instant::now();
                }
                Next::Idle => worker.keep_alive(),
                Next::Quit => return,
            }
        }
    }

    /// Waits for a job, but not longer than until the session must say that it is alive.
    fn next(&self, worked: Instant) -> Next {
        let keepalive = self.shared.profile.options.keepalive;
        let patience = if keepalive.is_zero() {
            SPARE_IDLE
        } else {
            keepalive
        };
        let since = Instant::now();
        let mut state = self.shared.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Next::Job(Box::new(job));
            }
            let spare = state.workers > 1 && worked.elapsed() >= SPARE_IDLE;
            if state.closed || spare {
                return Next::Quit;
            }
            let left = patience.saturating_sub(since.elapsed());
            if left.is_zero() {
                return Next::Idle;
            }
            state.idle += 1;
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.idle -= 1;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.workers -= 1;
        if state.workers == 0 {
            state.jobs.clear(); // nobody is left to take them; their replies say so
        }
    }
}
