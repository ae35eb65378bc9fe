//! Lines from a file descriptor, each waited for no longer than so long.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A line, without its end.
    Line(Vec<u8>),
    /// Nothing, for so long.
    Silence,
    /// The end.
    End,
}

/// The longest line that is taken.
const LONGEST: usize = 64 << 20;

/// Reads lines.
pub(crate) struct Lines<F> {
    file: F,
    buffer: Vec<u8>,
    /// How much of the buffer is known to have no end of a line.
    searched: usize,
}

impl<F: AsFd> Lines<F> {
    pub(crate) fn new(file: F) -> Lines<F> {
        Lines {
            file,
            buffer: Vec::new(),
            searched: 0,
        }
    }

    /// The next line, if it comes in time.
    pub(crate) fn next(&mut self, patience: Duration) -> io::Result<Heard> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(at) = self.buffer[self.searched..]
                .iter()
                .position(|it| *it == b'\n')
            {
                let rest = self.buffer.split_off(self.searched + at + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                line.pop();
                self.searched = 0;
                return Ok(Heard::Line(line));
            }
            self.searched = self.buffer.len();
            if self.searched > LONGEST {
                return Err(io::Error::other("a line without end"));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Heard::Silence);
            }
            let millis = left.as_millis().clamp(1, i32::MAX as u128) as i32;
            let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, timeout) {
                Ok(0) | Err(Errno::EINTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            let mut chunk = [0; 16 << 10];
            match nix::unistd::read(self.file.as_fd(), &mut chunk) {
                Ok(0) => return Ok(Heard::End),
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;

    use super::*;

    #[test]
    fn lines_silence_and_the_end() {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut lines = Lines::new(reader);
        let short = Duration::from_millis(20);
        writer.write_all(b"one\ntwo\nthr").unwrap();
        assert_eq!(lines.next(short).unwrap(), Heard::Line(b"one".to_vec()));
        assert_eq!(lines.next(short).unwrap(), Heard::Line(b"two".to_vec()));
        assert_eq!(lines.next(short).unwrap(), Heard::Silence);
        writer.write_all(b"ee\nrest").unwrap();
        drop(writer);
        assert_eq!(lines.next(short).unwrap(), Heard::Line(b"three".to_vec()));
        assert_eq!(lines.next(short).unwrap(), Heard::End);
    }
}
