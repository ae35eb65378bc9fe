//! Running one script over a session: what is sent, what comes back, and the clock.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use ssh2::Channel;

use super::connect::{Connection, Stall, blocks};
use super::frame::{Framed, Section, Sink};
use crate::remote::Output;

/// How often a waiting command looks whether anybody still wants its answer.
const GLANCE: Duration = Duration::from_millis(100);

/// How long opening a channel may take before a new session is tried: the other side may have
/// vanished without a word, and nothing is lost by asking again.
const OPENING: Duration = Duration::from_secs(10);

/// How long closing a channel may take before the session is given up instead.
const CLOSING: Duration = Duration::from_secs(2);

/// What became of an attempt to run a script.
#[derive(Debug)]
pub(super) enum Attempt {
    /// It ran.
    Done(Output),
    /// The session failed before the script was whole on the other side: it did not run.
    NotStarted(String),
    /// The other side would not run it: no shell, no `sudo`. What it said.
    Refused(String),
    /// It was left unfinished. Its process group, if known.
    Unfinished(Unfinished, Option<u32>),
    /// The session failed while it ran.
    Lost(String),
}

/// Why a script was left unfinished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unfinished {
    /// Its time was up.
    Late,
    /// Nobody waits for it any more.
    Cancelled,
    /// A local file failed, or the output was too large.
    Local(String),
}

/// What a script reads.
pub(super) enum Source {
    Bytes(Vec<u8>),
    /// Exactly so many bytes of a file.
    File(File, u64),
}

impl Source {
    fn next_chunk(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Source::Bytes(bytes) => Ok(std::mem::take(bytes)),
            Source::File(_, 0) => Ok(Vec::new()),
            Source::File(file, left) => {
                let mut chunk = vec![0; (*left).min(256 << 10) as usize];
                let count = file.read(&mut chunk)?;
                if count == 0 {
                    return Err(io::Error::other("the local file became shorter"));
                }
                chunk.truncate(count);
                *left -= count as u64;
                Ok(chunk)
            }
        }
    }
}

/// What to send, and how much of it was.
struct Outgoing {
    chunk: Vec<u8>,
    sent: usize,
    source: Source,
    /// Whether the script itself is on its way, so that it may run.
    started: bool,
    /// Whether an end of file is still due.
    eof_due: bool,
    /// The other side takes no more.
    deaf: bool,
}

impl Outgoing {
    /// Sends what the channel takes. Whether anything moved. An error is the local file's: what
    /// goes wrong with the channel shows when reading.
    fn step(&mut self, channel: &mut Channel) -> io::Result<bool> {
        let mut moved = false;
        while !self.deaf {
            if self.sent == self.chunk.len() {
                self.chunk = self.source.next_chunk()?;
                self.sent = 0;
            }
            if self.chunk.is_empty() {
                break;
            }
            match channel.write(&self.chunk[self.sent..]) {
                Ok(0) => return Ok(moved),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(moved),
                Err(_) => self.deaf = true,
            }
            moved = true;
            self.started |= self.sent == self.chunk.len();
        }
        if self.eof_due {
            self.eof_due = channel.send_eof().is_err_and(|error| blocks(&error));
        }
        Ok(moved)
    }
}

/// One run of a script over a channel.
pub(super) struct Exchange<'a> {
    pub(super) connection: &'a Connection,
    pub(super) deadline: Instant,
    /// Whether nobody waits for the answer any more.
    pub(super) cancelled: &'a dyn Fn() -> bool,
}

impl Exchange<'_> {
    /// Runs a framed script on a channel of its own. The channel is given back, to be closed.
    pub(super) fn once(
        &self,
        framed: Framed,
        token: &str,
        source: Source,
        sink: Sink,
    ) -> (Attempt, Option<Channel>) {
        match self.open(&framed.command) {
            Err(attempt) => (attempt, None),
            Ok(mut channel) => {
                let attempt = self.run(&mut channel, framed.prologue, source, true, token, sink);
                (attempt, Some(channel))
            }
        }
    }

    /// Opens a channel that executes a command.
    pub(super) fn open(&self, command: &str) -> Result<Channel, Attempt> {
        let stalled = |stall| match stall {
            Stall::Late => Attempt::NotStarted("no channel in time".into()),
            Stall::Broken(why) => Attempt::NotStarted(why),
        };
        let connection = self.connection;
        let deadline = self.deadline.min(Instant::now() + OPENING);
        let mut channel = connection
            .until(deadline, || connection.session.channel_session())
            .map_err(stalled)?;
        connection
            .until(deadline, || channel.exec(command))
            .map_err(stalled)?;
        Ok(channel)
    }

    /// Sends a script, and takes in what comes back until both streams have ended.
    pub(super) fn run(
        &self,
        channel: &mut Channel,
        head: Vec<u8>,
        source: Source,
        with_eof: bool,
        token: &str,
        sink: Sink,
    ) -> Attempt {
        let mut outgoing = Outgoing {
            chunk: head,
            sent: 0,
            source,
            started: false,
            eof_due: with_eof,
            deaf: false,
        };
        let mut stdout = Section::new(token, sink);
        let mut stderr = Section::new(token, Sink::Memory(Vec::new()));
        let group = |stderr: &Section| stderr.begun().and_then(|group| group.parse().ok());
        loop {
            let moved = match self.step(channel, &mut outgoing, &mut stdout, &mut stderr) {
                Ok(moved) => moved,
                Err(Stop::Local(error)) => {
                    let why = Unfinished::Local(error.to_string());
                    return Attempt::Unfinished(why, group(&stderr));
                }
                Err(Stop::Broken(why)) if outgoing.started => return Attempt::Lost(why),
                Err(Stop::Broken(why)) => return Attempt::NotStarted(why),
            };
            if let (Some(_), Some(status)) = (stdout.ended(), stderr.ended()) {
                return match status.parse() {
                    Ok(status) => Attempt::Done(output(status, stdout, stderr)),
                    Err(_) => Attempt::Lost(format!("not an exit status: {status:?}")),
                };
            }
            if moved || channel.read_window().available > 0 {
                continue;
            }
            if channel.eof() {
                return self.broken_off(channel, outgoing.started, stdout, stderr);
            }
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Attempt::Unfinished(Unfinished::Late, group(&stderr));
            }
            if (self.cancelled)() {
                return Attempt::Unfinished(Unfinished::Cancelled, group(&stderr));
            }
            self.connection.wait(left.min(GLANCE));
        }
    }

    /// Sends and reads what can be now. Whether anything moved.
    fn step(
        &self,
        channel: &mut Channel,
        outgoing: &mut Outgoing,
        stdout: &mut Section,
        stderr: &mut Section,
    ) -> Result<bool, Stop> {
        let mut moved = outgoing.step(channel).map_err(Stop::Local)?;
        for (stream, section) in [(0, stdout), (1, stderr)] {
            let mut buffer = [0; 32 << 10];
            match channel.stream(stream).read(&mut buffer) {
                Ok(0) => {}
                Ok(count) => {
                    section.feed(&buffer[..count]).map_err(Stop::Local)?;
                    moved = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(Stop::Broken(error.to_string())),
            }
        }
        Ok(moved)
    }

    /// The channel ended before the script did: it was killed together with its shell, or never
    /// ran.
    fn broken_off(
        &self,
        channel: &mut Channel,
        started: bool,
        stdout: Section,
        stderr: Section,
    ) -> Attempt {
        if !self.close(channel) {
            let why = "the connection broke".to_owned();
            return if started {
                Attempt::Lost(why)
            } else {
                Attempt::NotStarted(why)
            };
        }
        let signal = channel.exit_signal().ok().and_then(|exit| exit.exit_signal);
        let status = match &signal {
            Some(name) => 128 + signal_number(name),
            None => channel.exit_status().unwrap_or(0),
        };
        if stderr.begun().is_none() && stdout.begun().is_none() {
            let said = [stderr.noise(), stdout.noise()].join("\n");
            let said = said.trim();
            return Attempt::Refused(if said.is_empty() {
                format!("the login shell ended with exit code {status}")
            } else {
                said.to_owned()
            });
        }
        // libssh2 says 0 when it was told nothing; a script that ended well said so itself.
        match status {
            0 => Attempt::Lost("the channel was closed".into()),
            _ => Attempt::Done(output(status, stdout, stderr)),
        }
    }

    /// Closes a channel. Whether the other side agreed in time.
    pub(super) fn close(&self, channel: &mut Channel) -> bool {
        let deadline = Instant::now() + CLOSING;
        self.connection.until(deadline, || channel.close()).is_ok()
    }
}

/// Why an exchange cannot go on.
enum Stop {
    Local(io::Error),
    Broken(String),
}

fn output(status: i32, stdout: Section, stderr: Section) -> Output {
    Output {
        status,
        stdout: stdout.into_bytes(),
        stderr: stderr.into_bytes(),
    }
}

/// The number of a signal by its name in the SSH protocol, on Linux.
fn signal_number(name: &str) -> i32 {
    match name.parse::<nix::sys::signal::Signal>() {
        Ok(signal) => signal as i32,
        Err(_) => format!("SIG{name}")
            .parse::<nix::sys::signal::Signal>()
            .map_or(0, |signal| signal as i32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_their_numbers() {
        assert_eq!(signal_number("KILL"), 9);
        assert_eq!(signal_number("TERM"), 15);
        assert_eq!(signal_number("NONSENSE"), 0);
    }
}
