//! A channel as a socket: bytes moved between it and a socket pair, on a thread of its own.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, poll};
use ssh2::{BlockDirections, Channel};

use super::connect::{Connection, poll_timeout};

/// Moves bytes between a channel and our half of a socket pair.
pub(super) struct Pump {
    channel: Channel,
    local: UnixStream,
    connection: Connection,
    outbound: Pipe,
    inbound: Pipe,
}

/// Bytes on their way.
struct Pipe {
    buffer: Box<[u8]>,
    from: usize,
    to: usize,
    ended: bool,
}

/// What came of moving bytes.
enum Step {
    /// Some moved.
    Moved,
    /// None could.
    Stuck,
}

/// Whether anybody still uses the other half.
#[derive(PartialEq)]
enum Local {
    There,
    Gone,
}

impl Pipe {
    fn new() -> Pipe {
        Pipe {
            buffer: vec![0; 32 << 10].into(),
            from: 0,
            to: 0,
            ended: false,
        }
    }

    fn is_empty(&self) -> bool {
        self.from == self.to
    }

    fn step(&mut self, source: &mut impl Read, target: &mut impl Write) -> io::Result<Step> {
        let mut step = Step::Stuck;
        if self.is_empty() && !self.ended {
            match source.read(&mut self.buffer) {
                Ok(0) => self.ended = true,
                Ok(count) => (self.from, self.to, step) = (0, count, Step::Moved),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        if !self.is_empty() {
            match target.write(&self.buffer[self.from..self.to]) {
                Ok(count) => (self.from, step) = (self.from + count, Step::Moved),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(step)
    }
}

impl Pump {
    pub(super) fn new(
        connection: Connection,
        channel: Channel,
        local: UnixStream,
    ) -> io::Result<Pump> {
        local.set_nonblocking(true)?;
        Ok(Pump {
            channel,
            local,
            connection,
            outbound: Pipe::new(),
            inbound: Pipe::new(),
        })
    }

    /// Until either side ends.
    pub(super) fn run(mut self) {
        loop {
            // An end or an error of either side shows to the other as a closed connection.
            let out = self.outbound.step(&mut self.local, &mut self.channel);
            let back = self.inbound.step(&mut self.channel, &mut self.local);
            let (Ok(out), Ok(back)) = (out, back) else {
                return;
            };
            let over = |pipe: &Pipe| pipe.ended && pipe.is_empty();
            if over(&self.outbound) || over(&self.inbound) {
                return;
            }
            let stuck = matches!((out, back), (Step::Stuck, Step::Stuck));
            if stuck && !self.readable_now() && self.wait() == Local::Gone {
                return;
            }
        }
    }

    /// Whether the session has already read more for us.
    fn readable_now(&self) -> bool {
        self.inbound.is_empty() && self.channel.read_window().available > 0
    }

    fn wait(&self) -> Local {
        let mut remote = PollFlags::POLLIN;
        if matches!(
            self.connection.session.block_directions(),
            BlockDirections::Outbound | BlockDirections::Both
        ) {
            remote |= PollFlags::POLLOUT;
        }
        let mut local = PollFlags::empty();
        if self.outbound.is_empty() {
            local |= PollFlags::POLLIN;
        }
        if !self.inbound.is_empty() {
            local |= PollFlags::POLLOUT;
        }
        let mut fds = [
            PollFd::new(self.connection.socket().as_fd(), remote),
            PollFd::new(self.local.as_fd(), local),
        ];
        let _ = poll(&mut fds, poll_timeout(Duration::from_secs(10))); // then look again
        match fds[1].revents() {
            Some(events) if events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR) => {
                Local::Gone
            }
            _ => Local::There,
        }
    }
}
