//! Talking to the kernel's packet filter: netlink messages, as bytes.
//!
//! Messages are built and read by hand: the few that are needed are small, and the agent carries no library of C. What they mean
//! is in the kernel's `linux/netlink.h` and `linux/netfilter/nfnetlink.h`.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Room that is asked for in both directions: a rule set for a hundred peers is some hundred kilobytes, and packets come in bursts.
const BUFFER: libc::c_int = 16 << 20;
/// The most that one message of the kernel's takes: a packet with what is said of it.
pub(super) const LONGEST: usize = 70 << 10;

const HEADER: usize = 16;
/// A header, and what all messages to netfilter begin with.
const BEGINNING: usize = HEADER + 4;
const ERROR: u16 = libc::NLMSG_ERROR as u16;
const DONE: u16 = libc::NLMSG_DONE as u16;

/// A socket to netfilter.
pub(super) struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

/// What the kernel said: a message of netfilter's.
pub(super) struct Message<'a> {
    /// The subsystem and the message's number there.
    pub(super) kind: u16,
    /// What the message is about, where the subsystem has numbers of its own for that: a queue.
    pub(super) about: u16,
    pub(super) attributes: Attributes<'a>,
}

/// Something that is read from the socket.
pub(super) enum Said<'a> {
    Message(Message<'a>),
    /// How the message with a number ended: 0, or an error.
    Ended(u32, i32),
}

impl Socket {
    pub(super) fn new() -> io::Result<Socket> {
        // SAFETY: the call takes numbers only, and what it returns is checked and owned from here on.
        let fd = unsafe {
            let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
            let fd = libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_NETFILTER);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        // Some memory limits refuse it; the default does for small things.
        let _ = option(&fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, BUFFER);
        let _ = option(&fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, BUFFER);
        Ok(Socket { fd, sequence: 0 })
    }

    /// Packets that do not fit are missed in silence: their sender's business, as on any full link.
    pub(super) fn forgive_overruns(&self) -> io::Result<()> {
        option(&self.fd, libc::SOL_NETLINK, libc::NETLINK_NO_ENOBUFS, 1)
    }

    pub(super) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// The number of the next message.
    pub(super) fn number(&mut self) -> u32 {
        self.sequence += 1;
        self.sequence
    }

    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        // SAFETY: the pointer and the length are those of a slice.
        let sent =
            unsafe { libc::send(self.fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) };
        match sent {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    /// What came; with `wait`, as soon as something does. Empty if there is nothing, or a signal came first.
    pub(super) fn receive<'a>(&self, buffer: &'a mut [u8], wait: bool) -> io::Result<&'a [u8]> {
        let (place, length) = (buffer.as_mut_ptr().cast(), buffer.len());
        let flags = if wait { 0 } else { libc::MSG_DONTWAIT };
        // SAFETY: the pointer and the length are those of a slice that nobody else uses.
        let got = unsafe { libc::recv(self.fd.as_raw_fd(), place, length, flags) };
        match usize::try_from(got) {
            Ok(got) => Ok(&buffer[..got]),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => Ok(&[]),
                error if error.kind() == io::ErrorKind::WouldBlock && !wait => Ok(&[]),
                error => Err(error),
            },
        }
    }

    /// Sends messages with the numbers from `first` to `last`, of which the last asks for an answer, and reads until that has
    /// come. An error is that of the first message that failed; else there is everything that was said.
    pub(super) fn ask(
        &mut self,
        bytes: &[u8],
        (first, last): (u32, u32),
        mut hear: impl FnMut(&Message<'_>),
    ) -> io::Result<()> {
        self.send(bytes)?;
        let mut buffer = vec![0; LONGEST];
        let mut first_error = 0;
        loop {
            let heard = self.receive(&mut buffer, true)?;
            for said in said(heard) {
                match said {
                    Said::Message(message) => hear(&message),
                    Said::Ended(number, error) if (first..=last).contains(&number) => {
                        if first_error == 0 {
                            first_error = error;
                        }
                        // What is refused as a whole is answered for its first message alone.
                        if number == last || number == first {
                            return ended(first_error);
                        }
                    }
                    Said::Ended(..) => {}
                }
            }
        }
    }
}

/// What an error number of the kernel's messages means.
pub(super) fn ended(error: i32) -> io::Result<()> {
    match error {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(-error)),
    }
}

fn option(
    fd: &OwnedFd,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the value is an integer that lives through the call, of the length that is told.
    let done = unsafe {
        let value = (&raw const value).cast();
        libc::setsockopt(fd.as_raw_fd(), level, name, value, length)
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The messages in what came.
pub(super) fn said(mut bytes: &[u8]) -> impl Iterator<Item = Said<'_>> {
    std::iter::from_fn(move || {
        loop {
            let length = u32_of(bytes.get(..4)?) as usize;
            let (kind, number) = (u16_of(bytes.get(4..6)?), u32_of(bytes.get(8..12)?));
            if length < HEADER || length > bytes.len() {
                return None;
            }
            let (message, rest) = bytes.split_at(length);
            bytes = rest.get(aligned(length) - length..).unwrap_or_default();
            match kind {
                ERROR | DONE => {
                    let error = message.get(HEADER..HEADER + 4).map_or(0, u32_of);
                    return Some(Said::Ended(number, error as i32));
                }
                kind if kind < 16 || length < BEGINNING => continue,
                kind => {
                    return Some(Said::Message(Message {
                        kind,
                        about: u16::from_be_bytes([message[HEADER + 2], message[HEADER + 3]]),
                        attributes: Attributes(&message[BEGINNING..]),
                    }));
                }
            }
        }
    })
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn u16_of(bytes: &[u8]) -> u16 {
    u16::from_ne_bytes([bytes[0], bytes[1]])
}

fn u32_of(bytes: &[u8]) -> u32 {
    u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// The attributes of a message.
#[derive(Clone, Copy)]
pub(super) struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    pub(super) fn iter(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let mut bytes = self.0;
        std::iter::from_fn(move || {
            let length = u16_of(bytes.get(..2)?) as usize;
            // The upper two bits are flags.
            let kind = u16_of(bytes.get(2..4)?) & 0x3fff;
            if length < 4 || length > bytes.len() {
                return None;
            }
            let value = &bytes[4..length];
            bytes = bytes.get(aligned(length)..).unwrap_or_default();
            Some((kind, value))
        })
    }

    pub(super) fn get(self, kind: u16) -> Option<&'a [u8]> {
        self.iter().find(|(it, _)| *it == kind).map(|(_, it)| it)
    }

    pub(super) fn nested(self, kind: u16) -> Option<Attributes<'a>> {
        self.get(kind).map(Attributes)
    }

    /// A number in the order of the network.
    pub(super) fn number(self, kind: u16) -> Option<u64> {
        let bytes = self.get(kind)?;
        let fold = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(bytes.iter().fold(0, fold))
    }

    pub(super) fn text(self, kind: u16) -> Option<&'a str> {
        let bytes = self.get(kind)?;
        let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
        std::str::from_utf8(bytes).ok()
    }
}

/// Messages that are being written.
#[derive(Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// A message of netfilter's: its kind, flags and number, the family and what it is about.
    pub(super) fn message(
        &mut self,
        (kind, flags, number): (u16, u16, u32),
        (family, about): (u8, u16),
        attributes: impl FnOnce(&mut Writer),
    ) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes
            .extend_from_slice(&(flags | libc::NLM_F_REQUEST as u16).to_ne_bytes());
        self.bytes.extend_from_slice(&number.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&[family, 0]);
        self.bytes.extend_from_slice(&about.to_be_bytes());
        attributes(self);
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// Adds flags to the message that begins at a place.
    pub(super) fn set_flags(&mut self, place: usize, flags: u16) {
        let flags = u16_of(&self.bytes[place + 6..]) | flags;
        self.bytes[place + 6..place + 8].copy_from_slice(&flags.to_ne_bytes());
    }

    pub(super) fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = (value.len() + 4) as u16;
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(aligned(self.bytes.len()), 0);
    }

    pub(super) fn u32(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_be_bytes());
    }

    pub(super) fn u16(&mut self, kind: u16, value: u16) {
        self.attribute(kind, &value.to_be_bytes());
    }

    pub(super) fn text(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes);
    }

    pub(super) fn nest(&mut self, kind: u16, attributes: impl FnOnce(&mut Writer)) {
        let start = self.bytes.len();
        let kind = kind | libc::NLA_F_NESTED as u16;
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        attributes(self);
        let length = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let mut writer = Writer::default();
        for number in [7, 8] {
            writer.message((0x0a12, 0, number), (1, 3), |it| {
                it.text(1, "r1");
                it.nest(4, |it| it.attribute(2, &258u64.to_be_bytes()));
            });
        }
        let messages: Vec<_> = said(writer.bytes()).collect();
        assert_eq!(messages.len(), 2);
        let Said::Message(message) = &messages[1] else {
            panic!("a message");
        };
        assert_eq!((message.kind, message.about), (0x0a12, 3));
        assert_eq!(message.attributes.text(1), Some("r1"));
        let nested = message.attributes.nested(4).unwrap();
        assert_eq!(nested.number(2), Some(258));
        assert_eq!(nested.number(3), None);
    }

    #[test]
    fn nonsense_is_read_as_nothing() {
        assert_eq!(said(&[1, 2, 3]).count(), 0);
        assert_eq!(said(&[255; 40]).count(), 0);
        assert_eq!(Attributes(&[200, 0, 1, 0]).iter().count(), 0);
    }
}
