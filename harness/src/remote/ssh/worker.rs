//! One session: opened when needed, used for one job after another, reopened when it broke.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ssh2::Channel;

use super::connect::{self, Connection};
use super::exchange::{Attempt, Exchange, Source, Unfinished};
use super::frame::{self, Sink, token};
use super::pool::{Job, Kind, Payload, Profile};
use super::{Failure, refused};
use crate::remote::{Output, RemoteError};

/// How often a job is tried at most, where trying again is safe.
const ATTEMPTS_MAX: u32 = 3;

/// The limit on killing a command that did not end, including a new connection.
const KILLING: Duration = Duration::from_secs(5);

pub(super) struct Worker {
    profile: Arc<Profile>,
    kind: Kind,
    session: Option<Open>,
}

struct Open {
    /// The shell of a quick session, and the token in its command line.
    shell: Option<(Channel, String)>,
    /// The channel of the last script, still to be closed.
    used: Option<Channel>,
    connection: Connection,
    /// See [`Profile::epoch`].
    epoch: u64,
}

/// A script's process group, and a word in the command line of its leader that proves it.
struct Victim {
    group: u32,
    proof: String,
    root: bool,
}

impl Worker {
    pub(super) fn new(profile: Arc<Profile>, kind: Kind) -> Worker {
        Worker {
            profile,
            kind,
            session: None,
        }
    }

    /// Runs a job and answers it.
    pub(super) fn serve(&mut self, job: Job) {
        let result = self.try_job(&job);
        let _ = job.reply.send(result); // whoever asked may have gone
        self.close_used();
    }

    /// Tells the other side, and whatever is in between, that the session is still wanted.
    pub(super) fn keep_alive(&mut self) {
        let Some(open) = &self.session else { return };
        match open.connection.session.keepalive_send() {
            Ok(_) => {}
            Err(error) if connect::blocks(&error) => {}
            Err(_) => self.session = None,
        }
    }

    /// Tries a job, again where that is safe: if it certainly did not start, or is idempotent.
    fn try_job(&mut self, job: &Job) -> Result<Output, RemoteError> {
        let mut deadline = job.queued + job.timeout;
        if Instant::now() >= deadline {
            return Err(self.cannot_connect(Failure::new(
                format!("no session was free within {:?}", job.timeout),
                "the node is slow, or too many commands run on it at once",
            )));
        }
        let mut lost = None;
        let mut broke = String::new();
        for attempt in 1..=ATTEMPTS_MAX {
            if attempt > 1 {
                tracing::debug!(node = %self.profile.node, command = job.label, attempt, broke);
                std::thread::sleep(Duration::from_millis(50) * (attempt - 1));
            }
            let connecting = Instant::now();
            if let Err(failure) = self.ensure_open() {
                return Err(match lost {
                    None => self.cannot_connect(failure),
                    Some(message) => self.lost(job, message),
                });
            }
            deadline += connecting.elapsed();
            match self.attempt(job, deadline)? {
                Attempt::Done(output) => return Ok(output),
                Attempt::Refused(said) => {
                    self.session = None;
                    return Err(refused(&self.profile, &said));
                }
                Attempt::Unfinished(why, _) => return Err(self.unfinished(job, why)),
                Attempt::NotStarted(why) => broke = why,
                Attempt::Lost(why) if job.idempotent => {
                    lost = Some(why.clone());
                    broke = why;
                }
                Attempt::Lost(why) => {
                    self.session = None;
                    return Err(self.lost(job, why));
                }
            }
            self.session = None;
            if Instant::now() >= deadline {
                break;
            }
        }
        Err(match lost {
            Some(message) => self.lost(job, message),
            None => self.cannot_connect(Failure::new(
                format!("the session broke before the command started: {broke}"),
                "sshd's log on the node says more",
            )),
        })
    }

    fn ensure_open(&mut self) -> Result<(), Failure> {
        let epoch = self.profile.epoch();
        if let Some(open) = &mut self.session
            && open.epoch == epoch
            && open.shell_is_alive()
        {
            return Ok(());
        }
        self.session = None;
        let limit = self.profile.target.connect_timeout;
        self.session = Some(Open::new(&self.profile, Instant::now() + limit)?);
        Ok(())
    }

    /// Runs the job's script once. What it leaves unfinished is killed.
    fn attempt(&mut self, job: &Job, deadline: Instant) -> Result<Attempt, RemoteError> {
        let Some(open) = &mut self.session else {
            return Ok(Attempt::NotStarted("no session".into()));
        };
        // A quick command is sooner done than killed.
        let quick = self.kind == Kind::Quick;
        let profile = &self.profile;
        let epoch = open.epoch;
        let given_up = || profile.epoch() != epoch;
        let cancelled = || given_up() || (!quick && job.reply.is_closed());
        let token = token();
        let (attempt, proof) = match (self.kind, &job.payload) {
            (Kind::Quick, Payload::Input(stdin)) => {
                open.quick(profile, job, stdin, &token, deadline, &cancelled)
            }
            (_, payload) => {
                let (source, sink) = open_payload(payload).map_err(|(path, error)| {
                    transfer_failure(profile, &path.to_string_lossy(), &error.to_string())
                })?;
                let (elevation, password) = profile.elevation(job.root);
                let framed = frame::once(&job.script, &token, elevation, password);
                let exchange = Exchange {
                    connection: &open.connection,
                    deadline,
                    cancelled: &cancelled,
                };
                let (attempt, used) = exchange.once(framed, &token, source, sink);
                open.used = used;
                (attempt, token)
            }
        };
        if matches!(attempt, Attempt::Unfinished(Unfinished::Cancelled, _)) && given_up() {
            // Nothing is left there to be killed.
            return Ok(Attempt::Lost("the node was started anew".into()));
        }
        if let Attempt::Unfinished(_, group) = &attempt {
            let victim = group.map(|group| Victim {
                group,
                proof,
                root: job.root,
            });
            self.abandon(victim);
        }
        if let Payload::Download(path) = &job.payload {
            let whole = matches!(&attempt, Attempt::Done(output) if output.status == 0);
            finish_download(path, whole).map_err(|error| {
                transfer_failure(&self.profile, &path.to_string_lossy(), &error.to_string())
            })?;
        }
        Ok(attempt)
    }

    /// Gives up the session, and kills what still runs over a new one.
    fn abandon(&mut self, victim: Option<Victim>) {
        self.session = None;
        let Some(victim) = victim else { return };
        let deadline = Instant::now() + KILLING;
        let Ok(open) = Open::new(&self.profile, deadline) else {
            return; // unreachable; what runs there, runs on
        };
        let (group, proof) = (victim.group, victim.proof);
        let script = format!("grep -qs {proof} /proc/{group}/cmdline && kill -s KILL -- -{group}");
        let (elevation, password) = self.profile.elevation(victim.root);
        let token = token();
        let framed = frame::once(&script, &token, elevation, password);
        let exchange = Exchange {
            connection: &open.connection,
            deadline,
            cancelled: &|| false,
        };
        let nothing = Source::Bytes(Vec::new());
        let (attempt, used) = exchange.once(framed, &token, nothing, Sink::Memory(Vec::new()));
        tracing::debug!(node = %self.profile.node, group, ?attempt, "killed a command");
        self.session = Some(Open { used, ..open });
        self.close_used();
    }

    /// Closes the last script's channel; its answer need not wait for that.
    fn close_used(&mut self) {
        let Some(open) = &mut self.session else {
            return;
        };
        let Some(mut channel) = open.used.take() else {
            return;
        };
        let exchange = Exchange {
            connection: &open.connection,
            deadline: Instant::now(),
            cancelled: &|| false,
        };
        if !exchange.close(&mut channel) {
            self.session = None;
        }
    }

    fn unfinished(&self, job: &Job, why: Unfinished) -> RemoteError {
        let node = self.profile.node.clone();
        let command = job.label.clone();
        match why {
            Unfinished::Late => RemoteError::Timeout {
                node,
                command,
                limit: job.timeout,
            },
            Unfinished::Cancelled => self.lost(job, "cancelled".into()),
            Unfinished::Local(message) => transfer_failure(&self.profile, &command, &message),
        }
    }

    fn lost(&self, job: &Job, message: String) -> RemoteError {
        RemoteError::Lost {
            node: self.profile.node.clone(),
            command: job.label.clone(),
            message,
        }
    }

    fn cannot_connect(&self, failure: Failure) -> RemoteError {
        failure.into_error(&self.profile.node)
    }
}

/// An authenticated session that says that it is alive as often as the options want it.
pub(super) fn open_connection(profile: &Profile, deadline: Instant) -> Result<Connection, Failure> {
    let password = profile.options.password.as_ref();
    let password = password.map(|password| password.reveal());
    let connection = connect::connect(&profile.target, password, deadline)?;
    let interval = profile.options.keepalive.as_secs() as u32;
    connection.session.set_keepalive(false, interval);
    Ok(connection)
}

impl Open {
    fn new(profile: &Profile, deadline: Instant) -> Result<Open, Failure> {
        // Before connecting: what is given up meanwhile is this one too.
        let epoch = profile.epoch();
        Ok(Open {
            shell: None,
            used: None,
            connection: open_connection(profile, deadline)?,
            epoch,
        })
    }

    /// Whether an open shell still listens. What its earlier scripts' children said since is
    /// dropped. A session without a shell is taken to be alive: opening a channel shows it.
    fn shell_is_alive(&mut self) -> bool {
        let Some((channel, _)) = &mut self.shell else {
            return true;
        };
        let mut buffer = [0; 4096];
        for stream in [0, 1] {
            loop {
                match io::Read::read(&mut channel.stream(stream), &mut buffer) {
                    Ok(0) => return false,
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) => return false,
                }
            }
        }
        true
    }

    /// Runs a script in the open shell. With it comes the word that proves its process group.
    fn quick(
        &mut self,
        profile: &Profile,
        job: &Job,
        stdin: &[u8],
        token: &str,
        deadline: Instant,
        cancelled: &dyn Fn() -> bool,
    ) -> (Attempt, String) {
        let exchange = Exchange {
            connection: &self.connection,
            deadline,
            cancelled,
        };
        let mut head = Vec::new();
        let (mut channel, proof) = match self.shell.take() {
            Some(shell) => shell,
            None => {
                let proof = frame::token();
                let (elevation, password) = profile.elevation(true);
                let framed = frame::shell(&proof, elevation, password);
                head = framed.prologue;
                match exchange.open(&framed.command) {
                    Ok(channel) => (channel, proof),
                    Err(attempt) => return (attempt, proof),
                }
            }
        };
        head.extend(frame::quick(&job.script, stdin, token));
        let nothing = Source::Bytes(Vec::new());
        let sink = Sink::Memory(Vec::new());
        let attempt = exchange.run(&mut channel, head, nothing, false, token, sink);
        self.shell = Some((channel, proof.clone()));
        (attempt, proof)
    }
}

fn transfer_failure(profile: &Profile, path: &str, message: &str) -> RemoteError {
    RemoteError::Transfer {
        node: profile.node.clone(),
        path: path.to_owned(),
        message: message.to_owned(),
    }
}

type Opened = Result<(Source, Sink), (PathBuf, io::Error)>;

fn open_payload(payload: &Payload) -> Opened {
    let memory = Sink::Memory(Vec::new());
    match payload {
        Payload::Input(bytes) => Ok((Source::Bytes(bytes.clone()), memory)),
        Payload::Upload(path) => {
            let open = || {
                let file = File::open(path)?;
                let size = file.metadata()?.len();
                Ok(Source::File(file, size))
            };
            open()
                .map(|source| (source, memory))
                .map_err(|error| (path.clone(), error))
        }
        Payload::Download(path) => {
            let partial = partial(path);
            let create = || {
                if let Some(folder) = path.parent() {
                    fs::create_dir_all(folder)?;
                }
                File::create(&partial)
            };
            create()
                .map(|file| (Source::Bytes(Vec::new()), Sink::File(file)))
                .map_err(|error| (partial.clone(), error))
        }
    }
}

/// Where a download is kept until it is whole.
fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

fn finish_download(path: &Path, whole: bool) -> io::Result<()> {
    if whole {
        fs::rename(partial(path), path)
    } else {
        fs::remove_file(partial(path))
    }
}
