//! Putting the code into a process, looking at its clocks from inside, and taking it out again.

use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;

use super::setting::{Rule, now};
use super::stub::{self, CODE, Control, PAGE, SCRATCH, SIZE};
use super::tracee::{Held, lives, read};
use super::vdso::{JUMP, Maps, Vdso, jump};
use super::{Look, Reading};

/// How well a clock is to be known, and how often it is looked at for that.
const SHARP_NS: i64 = 100_000;
const LOOKS: usize = 4;

/// The flag that string instructions go backwards, which no function expects.
const DIRECTION: u64 = 1 << 10;

/// The name of the pages' file in `/proc/PID/maps`, but for the tag.
const FILE: &str = "gainsay-clock:";

/// What the pages are called where they are mapped.
pub(super) fn map_name(tag: &str) -> String {
    format!("/memfd:{FILE}{tag} (deleted)")
}

/// The pages of a process and of the children that it forked, as this process has them.
pub(super) struct Pages {
    /// The number of their file.
    pub(super) inode: u64,
    memory: NonNull<u8>,
}

impl Pages {
    fn map(file: &File) -> Result<Pages, String> {
        let text = |error: std::io::Error| format!("the page cannot be shared: {error}");
        file.set_len(SIZE as u64).map_err(text)?;
        let inode = std::os::unix::fs::MetadataExt::ino(&file.metadata().map_err(text)?);
        // SAFETY: a new mapping.
        let memory = unsafe {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            let null = std::ptr::null_mut();
            libc::mmap(null, SIZE, access, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        match NonNull::new(memory.cast::<u8>()) {
            Some(place) if memory != libc::MAP_FAILED => Ok(Pages {
                inode,
                memory: place,
            }),
            _ => Err(text(std::io::Error::last_os_error())),
        }
    }

    fn control(&mut self) -> &mut Control {
        // SAFETY: a page of ours that is as large and aligned; others only read it, and only whole words that they check.
        unsafe { self.memory.cast().as_mut() }
    }

    fn write(&mut self, at: u64, bytes: &[u8]) {
        // SAFETY: only places inside of the pages are given.
        unsafe {
            let place = self.memory.as_ptr().add(at as usize);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len());
        }
    }

    /// Makes the clocks go so from now on: a store.
    pub(super) fn set(&mut self, rule: &Rule) {
        self.control().set(rule);
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: it was mapped by us, and nobody refers to it any more.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), SIZE) };
    }
}

/// What makes changes in processes.
pub(super) struct Surgeon {
    vdso: Vdso,
    tag: String,
}

/// Where things are in a process that is changed.
struct Places {
    vdso: u64,
    pages: u64,
}

impl Surgeon {
    pub(super) fn new(tag: &str) -> Result<Surgeon, String> {
        Ok(Surgeon {
            vdso: Vdso::own()?,
            tag: tag.to_owned(),
        })
    }

    /// Where the pages are in a process, and the number of their file; none if it is as it was.
    pub(super) fn changed(&self, pid: i32) -> Option<(u64, u64)> {
        let maps = Maps::of(pid).ok()?;
        let name = map_name(&self.tag);
        let first = maps.named(&name).next()?;
        Some((first.place.start, first.inode))
    }

    /// Changes a process: its clocks go by the rule from now on. What they said before, and what they say now.
    pub(super) fn change(&self, pid: i32, rule: &Rule) -> Result<(Pages, Look, Look), String> {
        self.change_held(&Held::all(pid)?, rule)
    }

    /// Changes a process whose threads are all held.
    pub(super) fn change_held(
        &self,
        held: &Held,
        rule: &Rule,
    ) -> Result<(Pages, Look, Look), String> {
        let maps = Maps::of(held.pid())?;
        let vdso = self.same_vdso(held.pid(), &maps)?;
        let room = maps.room(SIZE as u64);
        let places = Places {
            vdso,
            pages: room.ok_or("there is no room near its vDSO")?,
        };
        // Nobody may be between the bytes that are about to be one jump.
        let inside: Vec<Range<u64>> = self
            .functions()
            .map(|function| vdso + function + 1..vdso + function + JUMP)
            .collect();
        held.leave(&inside)?;
        let mut pages = self.map(held, &places)?;
        let changed = self.replace(held, &places, &mut pages, rule);
        if changed.is_err() {
            self.put_back(held, &places)?;
            self.unmap(held, &places)?;
        }
        let (before, after) = changed?;
        Ok((pages, before, after))
    }

    fn functions(&self) -> impl Iterator<Item = u64> {
        let functions = self.vdso.functions.iter().flatten();
        functions.map(|function| *function as u64)
    }

    /// Where a process's vDSO is, which must be as the kernel made it.
    fn same_vdso(&self, pid: i32, maps: &Maps) -> Result<u64, String> {
        let place = maps.vdso().ok_or(format!("process {pid} has no vDSO"))?;
        let mut image = vec![0; self.vdso.image.len()];
        let length = (place.end - place.start) as usize;
        if length != image.len() || read(pid, place.start, &mut image)? != length {
            return Err(format!(
                "process {pid} has a vDSO of another kind (a 32-bit program?)"
            ));
        }
        match image == self.vdso.image {
            true => Ok(place.start),
            false => Err(format!(
                "somebody else has changed the vDSO of process {pid}"
            )),
        }
    }

    /// Maps the pages into a process, and into this one.
    fn map(&self, held: &Held, places: &Places) -> Result<Pages, String> {
        let syscall = places.vdso + self.vdso.syscall as u64;
        let call = |what: &str, number: i64, arguments: [u64; 6]| {
            let result = held.call(syscall, number, arguments)?;
            match (-4095..0).contains(&result) {
                true => Err(format!(
                    "process {}: {what}: {}",
                    held.pid(),
                    std::io::Error::from_raw_os_error(-result as i32)
                )),
                false => Ok(result as u64),
            }
        };
        let mmap = |place: u64, size: usize, access: i32, flags: i32, fd: u64, from: u64| {
            let arguments = [place, size as u64, access as u64, flags as u64, fd, from];
            call("mmap", libc::SYS_mmap, arguments)
        };
        let fixed = libc::MAP_FIXED_NOREPLACE | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let (writable, runnable) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::PROT_READ | libc::PROT_EXEC,
        );
        let start = mmap(places.pages, SIZE, writable, fixed, u64::MAX, 0)?;
        if start != places.pages {
            let _ = call("munmap", libc::SYS_munmap, [start, SIZE as u64, 0, 0, 0, 0]);
            return Err(
                "the kernel does not map where it is told to (older than 4.17?)".to_owned(),
            );
        }
        // The file's name must be in the process's memory.
        let mut name = format!("{FILE}{}", self.tag).into_bytes();
        name.resize(name.len() / 8 * 8 + 8, 0);
        let shared = || {
            for (at, word) in name.chunks_exact(8).enumerate() {
                let word = word.try_into().unwrap_or_default();
                held.poke(start + at as u64 * 8, word)?;
            }
            let flags = u64::from(libc::MFD_CLOEXEC);
            let create = [start, flags, 0, 0, 0, 0];
            let fd = call("memfd_create", libc::SYS_memfd_create, create)?;
            let shared = self.share(held.pid(), fd, |place, size, access, from| {
                let access = if access { writable } else { runnable };
                let flags = libc::MAP_FIXED | libc::MAP_SHARED;
                mmap(start + place, size, access, flags, fd, from).map(drop)
            });
            call("close", libc::SYS_close, [fd, 0, 0, 0, 0, 0])?;
            shared
        };
        let pages = shared();
        if pages.is_err() {
            self.unmap(held, places)?;
        }
        pages
    }

    /// Maps a process's file here, and there.
    fn share(
        &self,
        pid: i32,
        fd: u64,
        mmap: impl Fn(u64, usize, bool, u64) -> Result<(), String>,
    ) -> Result<Pages, String> {
        let path = format!("/proc/{pid}/fd/{fd}");
        let file = OpenOptions::new().read(true).write(true).open(&path);
        let pages = Pages::map(&file.map_err(|error| format!("{path}: {error}"))?)?;
        mmap(0, 2 * PAGE, false, 0)?;
        mmap(SCRATCH, PAGE, true, SCRATCH)?;
        Ok(pages)
    }

    /// Writes the pages, and puts the jumps into the functions.
    fn replace(
        &self,
        held: &Held,
        places: &Places,
        pages: &mut Pages,
        rule: &Rule,
    ) -> Result<(Look, Look), String> {
        let code = places.pages + CODE;
        pages.write(CODE, stub::code());
        let way = self.vdso.way(places.vdso, code + stub::way());
        pages.write(CODE + stub::way(), &way);
        pages.set(rule);
        let before = self.look_held(held, places)?;
        for (function, replacement) in self.vdso.functions.iter().zip(stub::replacements()) {
            let Some(function) = function else { continue };
            let address = places.vdso + *function as u64;
            let jump = jump(address, code + replacement).ok_or("the code is out of reach")?;
            let mut bytes = self.vdso.beginning(*function);
            bytes[..JUMP as usize].copy_from_slice(&jump);
            held.poke(address, bytes)?;
        }
        Ok((before, self.look_held(held, places)?))
    }

    /// Looks at the clocks of a process that was changed, from inside.
    pub(super) fn look(&self, pid: i32) -> Result<Look, String> {
        let maps = Maps::of(pid)?;
        let places = self
            .places(pid, &maps)?
            .ok_or(format!("process {pid} is as it was"))?;
        self.look_held(&Held::one(pid)?, &places)
    }

    /// Has a thread ask for the time, as the process itself would.
    fn look_held(&self, held: &Held, places: &Places) -> Result<Look, String> {
        let function = places.vdso + self.vdso.functions[0].unwrap_or(0) as u64;
        let look = |clock: i32| {
            let earliest = now(clock);
            let result = held.execute(|registers| {
                registers.rip = places.pages + CODE + stub::probe();
                registers.rax = function;
                registers.rdi = clock as u64;
                registers.rsi = places.pages + SCRATCH;
                // A stack of its own: the thread's may be near its end.
                registers.rsp = places.pages + SCRATCH + PAGE as u64 - 64;
                registers.eflags &= !DIRECTION;
            })?;
            let latest = now(clock);
            if result as i32 != 0 {
                return Err(format!("process {} cannot tell the time", held.pid()));
            }
            let mut time = [0; 16];
            read(held.pid(), places.pages + SCRATCH, &mut time)?;
            let [seconds, nanos] = [&time[..8], &time[8..]]
                .map(|word| i64::from_le_bytes(word.try_into().unwrap_or_default()));
            let true_time = earliest + (latest - earliest) / 2;
            Ok(Reading {
                true_ns: true_time,
                ahead_ns: seconds * 1_000_000_000 + nanos - true_time,
                within_ns: (latest - earliest) / 2 + 1,
            })
        };
        // On a busy machine looking may take long; another look is then better.
        let best = |clock: i32| {
            let mut best = look(clock)?;
            for _ in 1..LOOKS {
                if best.within_ns > SHARP_NS {
                    let again = look(clock)?;
                    best = if again.within_ns < best.within_ns {
                        again
                    } else {
                        best
                    };
                }
            }
            Ok::<Reading, String>(best)
        };
        Ok(Look {
            realtime: best(libc::CLOCK_REALTIME)?,
            monotonic: best(libc::CLOCK_MONOTONIC)?,
        })
    }

    /// Makes a process as it was. What its clocks say then; none if it was so, or is gone.
    pub(super) fn restore(&self, pid: i32) -> Result<Option<Look>, String> {
        let Ok(maps) = Maps::of(pid) else {
            return Ok(None);
        };
        match self.places(pid, &maps)? {
            Some(places) => match self.restore_at(pid, &places) {
                Err(_) if !lives(pid) => Ok(None),
                look => look.map(Some),
            },
            None => Ok(None),
        }
    }

    fn restore_at(&self, pid: i32, places: &Places) -> Result<Look, String> {
        let held = Held::all(pid)?;
        // Nobody may be in what is about to go, nor in what returns to it.
        let inside = [
            places.vdso..places.vdso + self.vdso.image.len() as u64,
            places.pages..places.pages + SIZE as u64,
        ];
        held.leave(&inside)?;
        self.put_back(&held, places)?;
        let look = self.look_held(&held, places)?;
        self.unmap(&held, places)?;
        self.same_vdso(pid, &Maps::of(pid)?)?;
        Ok(look)
    }

    /// Makes the functions as they were.
    fn put_back(&self, held: &Held, places: &Places) -> Result<(), String> {
        self.functions().try_for_each(|function| {
            let original = self.vdso.beginning(function as usize);
            held.poke(places.vdso + function, original)
        })
    }

    fn unmap(&self, held: &Held, places: &Places) -> Result<(), String> {
        let syscall = places.vdso + self.vdso.syscall as u64;
        let arguments = [places.pages, SIZE as u64, 0, 0, 0, 0];
        match held.call(syscall, libc::SYS_munmap, arguments)? {
            0 => Ok(()),
            error => Err(format!(
                "process {}: munmap: {}",
                held.pid(),
                std::io::Error::from_raw_os_error(-error as i32)
            )),
        }
    }

    fn places(&self, pid: i32, maps: &Maps) -> Result<Option<Places>, String> {
        let Some(first) = maps
            .named(&map_name(&self.tag))
            .next()
            .map(|map| map.place.start)
        else {
            return Ok(None);
        };
        let vdso = maps.vdso().ok_or(format!("process {pid} has no vDSO"))?;
        Ok(Some(Places {
            vdso: vdso.start,
            pages: first,
        }))
    }
}

/// All processes here that are changed under a tag.
pub(super) fn changed(surgeon: &Surgeon) -> Vec<i32> {
    // This one shares their pages, and is not changed.
    let others = processes().filter(|pid| *pid != std::process::id() as i32);
    others
        .filter(|pid| surgeon.changed(*pid).is_some())
        .collect()
}

/// All processes here.
pub(super) fn processes() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}
