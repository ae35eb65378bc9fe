//! Packets that come twice, and packets that come damaged.
//!
//! The kernel lets a packet pass or not; it does not let it pass twice. So a second one is sent from here, as it was: through a raw
//! socket that leaves its header alone. What comes in is sent to the node itself, and arrives by way of the loopback
//! interface. It bears a mark, by which our own rules know it and leave it alone.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::MARK;

const TCP: u8 = libc::IPPROTO_TCP as u8;
const UDP: u8 = libc::IPPROTO_UDP as u8;
const ICMP: u8 = libc::IPPROTO_ICMP as u8;
const ICMPV6: u8 = libc::IPPROTO_ICMPV6 as u8;

/// The sockets for copies, opened when the first is sent.
#[derive(Default)]
pub(super) struct Copies {
    four: Option<OwnedFd>,
    six: Option<OwnedFd>,
}

impl Copies {
    /// Sends a packet, header and all, to whom it is addressed.
    pub(super) fn send(&mut self, packet: &[u8]) -> io::Result<()> {
        let to = destination(packet).ok_or(io::ErrorKind::InvalidData)?;
        let (socket, family) = match to {
            IpAddr::V4(_) => (&mut self.four, libc::AF_INET),
            IpAddr::V6(_) => (&mut self.six, libc::AF_INET6),
        };
        let socket = match socket {
            Some(socket) => socket,
            none => none.insert(open(family)?),
        };
        let sent = match to {
            IpAddr::V4(four) => {
                // SAFETY: all fields are numbers, for which zero is right.
                let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
                address.sin_family = family as u16;
                address.sin_addr.s_addr = u32::from(four).to_be();
                send_to(socket, packet, &address)
            }
            IpAddr::V6(six) => {
                // SAFETY: all fields are numbers, for which zero is right.
                let mut address: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
                address.sin6_family = family as u16;
                address.sin6_addr.s6_addr = six.octets();
                send_to(socket, packet, &address)
            }
        };
        match sent {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }
}

fn open(family: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: the calls take numbers, and a pointer to one that lives through the call; what is opened is owned from here on.
    unsafe {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        let fd = libc::socket(family, kind, libc::IPPROTO_RAW);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let fd = OwnedFd::from_raw_fd(fd);
        let mark = MARK;
        let (value, length) = ((&raw const mark).cast(), size_of::<u32>() as u32);
        let (level, name) = (libc::SOL_SOCKET, libc::SO_MARK);
        match libc::setsockopt(fd.as_raw_fd(), level, name, value, length) {
            0 => Ok(fd),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

fn send_to<A>(socket: &OwnedFd, packet: &[u8], address: &A) -> isize {
    let length = size_of::<A>() as libc::socklen_t;
    let address: *const A = address;
    // SAFETY: pointers and lengths are those of the slice and of the address.
    unsafe {
        let (place, bytes) = (packet.as_ptr().cast(), packet.len());
        libc::sendto(
            socket.as_raw_fd(),
            place,
            bytes,
            libc::MSG_DONTWAIT,
            address.cast(),
            length,
        )
    }
}

fn destination(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => {
            let bytes: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
            Some(Ipv4Addr::from(bytes).into())
        }
        6 => {
            let bytes: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

/// Flips a bit of a packet where a checksum notices it: behind the header, of a packet that has a checksum there. False if there is
/// no such place: a packet without a checksum that is damaged does not come at all, since links have checksums of their own.
pub(super) fn flip(packet: &mut [u8], which: u64) -> bool {
    let Some(start) = checked(packet) else {
        return false;
    };
    let bits = (packet.len().saturating_sub(start) * 8) as u64;
    if bits == 0 {
        return false;
    }
    let bit = (which % bits) as usize;
    packet[start + bit / 8] ^= 1 << (bit % 8);
    true
}

/// Where what the checksum covers begins.
fn checked(packet: &[u8]) -> Option<usize> {
    let (protocol, start) = match packet.first()? >> 4 {
        4 => (*packet.get(9)?, usize::from(packet[0] & 15) * 4),
        6 => (*packet.get(6)?, 40),
        _ => return None,
    };
    let body = packet.get(start..)?;
    match protocol {
        TCP | ICMP | ICMPV6 => Some(start),
        // Zero means that it has none.
        UDP if body.get(6..8)? != [0, 0] => Some(start),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// A UDP packet from 10.0.0.1 to 10.0.0.2.
    fn packet(checksum: u16) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 32, 0, 0, 0, 0, 64, UDP, 0, 0];
        packet.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        packet.extend([1, 2, 3, 4, 0, 12]);
        packet.extend(checksum.to_be_bytes());
        packet.extend(b"data");
        packet
    }

    #[test]
    fn one_bit_behind_the_header_is_flipped() {
        let before = packet(0x1234);
        for which in 0..200 {
            let mut after = before.clone();
            assert!(flip(&mut after, which));
            assert_eq!(before[..20], after[..20]);
            let pairs = before.iter().zip(&after);
            let flipped: u32 = pairs.map(|(a, b)| (a ^ b).count_ones()).sum();
            assert_eq!(flipped, 1);
        }
    }

    #[test]
    fn what_no_checksum_would_notice_is_not_damaged() {
        assert!(!flip(&mut packet(0), 3));
        let mut other = packet(0x1234);
        other[9] = 132;
        assert!(!flip(&mut other, 3));
        assert!(!flip(&mut [], 3));
        assert!(!flip(&mut [0x45; 5], 3));
    }

    #[test]
    fn who_is_meant() {
        assert_eq!(destination(&packet(0)), Some("10.0.0.2".parse().unwrap()));
        assert_eq!(destination(&[0x60; 39]), None);
    }
}
