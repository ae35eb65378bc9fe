//! The vDSO: the kernel's own library, which every process has, and whose functions tell the time.
//!
//! All processes have the same one, at different places, so ours says what is where in theirs.

use std::fs;
use std::ops::Range;

use super::stub::{FUNCTIONS, WAY};

/// The vDSO, as the kernel made it.
pub(super) struct Vdso {
    /// Its bytes.
    pub(super) image: Vec<u8>,
    /// Where [`FUNCTIONS`] are in it.
    pub(super) functions: [Option<usize>; 3],
    /// Where it has an instruction `syscall`.
    pub(super) syscall: usize,
}

impl Vdso {
    /// This process's.
    pub(super) fn own() -> Result<Vdso, String> {
        let maps = Maps::of(std::process::id() as i32)?;
        let place = maps.vdso().ok_or("this kernel gives processes no vDSO")?;
        // SAFETY: it is mapped for as long as this process lives, and never written.
        let image = unsafe {
            let length = (place.end - place.start) as usize;
            std::slice::from_raw_parts(place.start as *const u8, length).to_vec()
        };
        Vdso::of(image)
    }

    fn of(image: Vec<u8>) -> Result<Vdso, String> {
        let functions = FUNCTIONS.map(|name| symbol(&image, name));
        if functions[0].is_none() {
            return Err(format!("this kernel's vDSO has no {}", FUNCTIONS[0]));
        }
        Ok(Vdso {
            functions,
            syscall: syscall(&image).ok_or("this kernel's vDSO makes no system calls")?,
            image,
        })
    }

    /// The first eight bytes of a function.
    pub(super) fn beginning(&self, function: usize) -> [u8; 8] {
        let mut bytes = [0; 8];
        let there = self.image.get(function..function + 8);
        bytes.copy_from_slice(there.unwrap_or(&[0; 8]));
        bytes
    }

    /// Code for a place, which does what `clock_gettime` does in a vDSO at `vdso`.
    ///
    /// The original's first instructions stand there, and go on in it behind those that are overwritten; where they are not
    /// of the few kinds that are known, the system call is made.
    pub(super) fn way(&self, vdso: u64, place: u64) -> [u8; WAY] {
        let function = self.functions[0].unwrap_or(0);
        let moved = moved(&self.image[function..], vdso + function as u64, place);
        let code = moved.unwrap_or_else(|| vec![0xb8, 228, 0, 0, 0, 0x0f, 0x05, 0xc3]);
        let mut way = [0xcc; WAY];
        way[..code.len()].copy_from_slice(&code);
        way
    }
}

/// The bytes that a jump takes.
pub(super) const JUMP: u64 = 5;

/// A jump from one place to another, if it is near enough.
pub(super) fn jump(from: u64, to: u64) -> Option<[u8; JUMP as usize]> {
    let distance = (to as i64).wrapping_sub((from + JUMP) as i64);
    let [a, b, c, d] = i32::try_from(distance).ok()?.to_le_bytes();
    Some([0xe9, a, b, c, d])
}

/// The first instructions of a function that is at `from`, as they are to be at `to`, with a jump to those that follow. None if an
/// instruction is not known.
fn moved(code: &[u8], from: u64, to: u64) -> Option<Vec<u8>> {
    let mut out: Vec<u8> = Vec::new();
    let mut at = 0;
    while at < JUMP as usize {
        let rest = code.get(at..at + 8)?;
        let plain = match rest {
            // endbr64
            [0xf3, 0x0f, 0x1e, 0xfa, ..] => 4,
            // push
            [0x50..=0x57, ..] => 1,
            [0x41, 0x50..=0x57, ..] => 2,
            // mov, xor and test of registers
            [0x48, 0x89 | 0x31 | 0x85, 0xc0..=0xff, ..] => 3,
            [0x89 | 0x31 | 0x85, 0xc0..=0xff, ..] => 2,
            // add, or, and, sub, cmp of a register and a byte
            [0x48, 0x83, 0xc0..=0xff, ..] => 4,
            [0x83, 0xc0..=0xff, ..] => 3,
            // nop
            [0x90, ..] => 1,
            _ => 0,
        };
        if plain > 0 {
            out.extend_from_slice(&rest[..plain]);
            at += plain;
            continue;
        }
        let here = to + out.len() as u64;
        let target = |length: usize, distance: i64| {
            (from + (at + length) as u64).wrapping_add_signed(distance)
        };
        let four = |at: usize| {
            Some(i64::from(i32::from_le_bytes(
                rest[at..at + 4].try_into().ok()?,
            )))
        };
        match rest {
            [0xe9, ..] => {
                out.extend(jump(here, target(5, four(1)?))?);
                return Some(out);
            }
            [0xeb, distance, ..] => {
                out.extend(jump(here, target(2, i64::from(*distance as i8)))?);
                return Some(out);
            }
            [0x70..=0x7f, distance, ..] => {
                let there = target(2, i64::from(*distance as i8));
                let [_, distance @ ..] = jump(here + 1, there)?;
                out.extend([0x0f, rest[0] + 0x10]);
                out.extend(distance);
                at += 2;
            }
            [0x0f, condition @ 0x80..=0x8f, ..] => {
                let [_, distance @ ..] = jump(here + 1, target(6, four(2)?))?;
                out.extend([0x0f, *condition]);
                out.extend(distance);
                at += 6;
            }
            _ => return None,
        }
    }
    let here = to + out.len() as u64;
    out.extend(jump(here, from + at as u64)?);
    (out.len() <= WAY).then_some(out)
}

/// An instruction `syscall`, at best one behind an instruction that loads a system call's number.
fn syscall(image: &[u8]) -> Option<usize> {
    let at = |pattern: &[u8]| image.windows(pattern.len()).position(|it| it == pattern);
    let loaded = |number: u8| Some(at(&[0xb8, number, 0, 0, 0, 0x0f, 0x05])? + 5);
    let (clock_gettime, gettimeofday, clock_getres) = (228, 96, 229);
    loaded(clock_gettime)
        .or_else(|| loaded(gettimeofday))
        .or_else(|| loaded(clock_getres))
        .or_else(|| at(&[0x0f, 0x05]))
}

/// Where a function is in an ELF image.
fn symbol(image: &[u8], name: &str) -> Option<usize> {
    let number = |at: usize, size: usize| {
        let bytes = image.get(at..at + size)?;
        let number = bytes
            .iter()
            .rev()
            .fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
        usize::try_from(number).ok()
    };
    // The section headers: their place, size and number.
    let (headers, size, count) = (number(40, 8)?, number(58, 2)?, number(60, 2)?);
    const DYNSYM: usize = 11;
    let header = |index: usize| headers + index * size;
    let symbols = (0..count)
        .map(header)
        .find(|at| number(at + 4, 4) == Some(DYNSYM))?;
    let strings = number(header(number(symbols + 40, 4)?) + 24, 8)?;
    let (start, length) = (number(symbols + 24, 8)?, number(symbols + 32, 8)?);
    (start..start + length).step_by(24).find_map(|symbol| {
        let text = image.get(strings + number(symbol, 4)?..)?;
        let is_it = text.strip_prefix(name.as_bytes())?.first() == Some(&0);
        is_it.then(|| number(symbol + 8, 8)).flatten()
    })
}

/// What a process has mapped.
pub(super) struct Maps(Vec<Map>);

/// A mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Map {
    pub(super) place: Range<u64>,
    /// The file's number.
    pub(super) inode: u64,
    pub(super) name: String,
}

/// How far a jump reaches, and some room.
const NEAR: u64 = (1 << 31) - (1 << 20);
/// Where processes' memory ends.
const END: u64 = (1 << 47) - 4096;
/// No process has anything below.
const START: u64 = 1 << 16;

impl Maps {
    /// A process's.
    pub(super) fn of(pid: i32) -> Result<Maps, String> {
        let text = fs::read(format!("/proc/{pid}/maps"));
        let text = text.map_err(|error| format!("process {pid}: {error}"))?;
        let text = String::from_utf8_lossy(&text);
        Ok(Maps(text.lines().filter_map(parse_map).collect()))
    }

    /// Where the vDSO is.
    pub(super) fn vdso(&self) -> Option<Range<u64>> {
        let is_it = |map: &&Map| map.name == "[vdso]";
        Some(self.0.iter().find(is_it)?.place.clone())
    }

    /// The mappings of a file, as it is named here.
    pub(super) fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Map> {
        self.0.iter().filter(move |map| map.name == name)
    }

    /// A place for so many bytes that jumps reach from the vDSO, with a page free on both sides.
    pub(super) fn room(&self, size: u64) -> Option<u64> {
        const PAGE: u64 = 4096;
        let vdso = self.vdso()?;
        let low = vdso.start.saturating_sub(NEAR).max(START);
        let high = vdso.end.saturating_add(NEAR).min(END);
        let mut rooms = Vec::new();
        let mut before = START;
        for map in &self.0 {
            // The stack grows downwards; what is below it is its.
            if map.name != "[stack]" {
                rooms.push((before.max(low), map.place.start.min(high)));
            }
            before = map.place.end;
        }
        rooms.push((before.max(low), END.min(high)));
        let fits = rooms
            .iter()
            .filter(|(start, end)| end.saturating_sub(*start) >= size + 2 * PAGE);
        // The nearest to the vDSO.
        let nearest = fits.min_by_key(|(start, end)| match *start >= vdso.end {
            true => start - vdso.end,
            false => vdso.start.saturating_sub(*end),
        });
        nearest.map(|(start, end)| match *start >= vdso.end {
            true => start + PAGE,
            false => end - PAGE - size,
        })
    }
}

fn parse_map(line: &str) -> Option<Map> {
    let mut words = line.splitn(6, ' ');
    let (start, end) = words.next()?.split_once('-')?;
    let inode = words.nth(3)?.parse().ok()?;
    let hex = |text| u64::from_str_radix(text, 16).ok();
    Some(Map {
        place: hex(start)?..hex(end)?,
        inode,
        name: words.next().unwrap_or_default().trim_start().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ours_has_what_is_needed() {
        let vdso = Vdso::own().unwrap();
        assert!(vdso.functions.iter().all(Option::is_some));
        assert_eq!(&vdso.image[vdso.syscall..vdso.syscall + 2], [0x0f, 0x05]);
        // It tells the time: called where the symbol says.
        let maps = Maps::of(std::process::id() as i32).unwrap();
        let place = maps.vdso().unwrap().start as usize + vdso.functions[0].unwrap();
        // SAFETY: the function's type is the kernel's promise.
        let function: extern "C" fn(i32, *mut libc::timespec) -> i32 =
            unsafe { std::mem::transmute(place) };
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        assert_eq!(function(libc::CLOCK_REALTIME, &mut time), 0);
        assert!(time.tv_sec > 1_600_000_000);
        let room = maps.room(3 * 4096).unwrap();
        assert!(jump(maps.vdso().unwrap().end, room).is_some());
        assert!(
            maps.0
                .iter()
                .all(|map| map.place.end < room || map.place.start > room + 3 * 4096)
        );
    }

    fn padded(code: &[u8]) -> Vec<u8> {
        let mut code = code.to_vec();
        code.resize(32, 0xcc);
        code
    }

    #[test]
    fn first_instructions_are_moved_with_where_they_lead() {
        let (from, to) = (0x7000_0000, 0x7000_5000);
        let moved = |code: &[u8]| moved(&padded(code), from, to);
        let jump_to = |at: u64, target: u64| jump(to + at, target).unwrap().to_vec();
        // push rbp; mov rbp, rsp; push r14
        let plain = [0x55, 0x48, 0x89, 0xe5, 0x41, 0x56];
        let expected = [&plain[..], &jump_to(6, from + 6)].concat();
        assert_eq!(moved(&plain), Some(expected));
        // endbr64; jmp
        let code = [0xf3, 0x0f, 0x1e, 0xfa, 0xe9, 0x10, 0, 0, 0];
        let expected = [&code[..4], &jump_to(4, from + 9 + 0x10)].concat();
        assert_eq!(moved(&code), Some(expected));
        // cmp edi, 23; ja +0x40
        let code = [0x83, 0xff, 0x17, 0x77, 0x40];
        let distance = (from + 5 + 0x40) as i64 - (to + 3 + 6) as i64;
        let mut expected = vec![0x83, 0xff, 0x17, 0x0f, 0x87];
        expected.extend((distance as i32).to_le_bytes());
        expected.extend(jump_to(9, from + 5));
        assert_eq!(moved(&code), Some(expected));
        // What reads from beside itself cannot be moved.
        assert_eq!(moved(&[0x81, 0x3d, 1, 2, 3, 4, 5, 6, 7, 8]), None);
    }

    #[test]
    fn maps_are_read_with_their_names() {
        let map =
            parse_map("7f10a000-7f10c000 r-xp 00001000 00:01 1234       /memfd:a b (deleted)")
                .unwrap();
        assert_eq!(
            (map.place, map.inode, &*map.name),
            (0x7f10_a000..0x7f10_c000, 1234, "/memfd:a b (deleted)")
        );
        assert_eq!(
            parse_map("7f10a000-7f10c000 rw-p 00000000 00:00 0")
                .unwrap()
                .name,
            ""
        );
    }
}
