//! The code that runs in a skewed process in place of its vDSO's functions, and the page that tells it what to do.
//!
//! Three pages are mapped into the process, next to one another: the **control** page, which says how its clocks are to go; the
//! **code**, which is copied from here; and a page to **scratch** on. The code finds the control page by its distance from
//! itself, so it runs wherever it is put. They are shared memory: a change of how a clock goes is a store by the agent, and
//! children that are forked share it.
//!
//! What the code does to a time `t` of a clock that the control page names: with `e = t - base`, the time since the change by that
//! very clock,
//!
//! ```text
//! t + offset + e * rate / 2^32 + (delta if e / period is even, where there is a period)
//! ```
//!
//! A clock that stands still has the rate -1, so there is no case of its own for it. There are two sets of these numbers. The
//! lowest bit of the generation says which is in force; the other is written, then the generation counts up. So a reader is
//! never in the way of a writer, and a writer that dies in the middle has changed nothing.

use std::arch::global_asm;
use std::sync::atomic::{AtomicU64, Ordering};

use super::setting::{CLOCKS, Rule};

/// The size of a page.
pub(super) const PAGE: usize = 4096;
/// How much is mapped: control, code, scratch.
pub(super) const SIZE: usize = 3 * PAGE;
/// Where the code begins.
pub(super) const CODE: u64 = PAGE as u64;
/// Where the page to scratch on begins.
pub(super) const SCRATCH: u64 = 2 * PAGE as u64;

/// How the clocks go.
#[repr(C, align(256))]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Set {
    offset: i64,
    /// In 2^-32.
    rate: i64,
    period: i64,
    delta: i64,
    /// A bit for each clock that is meant.
    mask: u64,
    base: [i64; CLOCKS],
}

impl From<&Rule> for Set {
    fn from(rule: &Rule) -> Set {
        Set {
            offset: rule.offset,
            rate: rule.rate,
            period: rule.period,
            delta: rule.delta,
            mask: rule.mask,
            base: rule.base,
        }
    }
}

/// The control page.
#[repr(C)]
pub(super) struct Control {
    generation: AtomicU64,
    sets: [Set; 2],
}

impl Control {
    /// Makes the clocks go so from now on. One writer at a time.
    pub(super) fn set(&mut self, rule: &Rule) {
        let next = self.generation.load(Ordering::Relaxed).wrapping_add(1);
        // Nobody reads it: the other one is in force. One who read it long ago sees by the generation that it is old.
        let spare: *mut Set = &mut self.sets[(next & 1) as usize];
        // SAFETY: a place of our own; volatile, as others map it too.
        unsafe { spare.write_volatile(Set::from(rule)) };
        self.generation.store(next, Ordering::Release);
    }
}

// The offsets that the code has as numbers.
const _: () = {
    use std::mem::offset_of;
    assert!(offset_of!(Control, generation) == 0);
    assert!(offset_of!(Control, sets) == 256 && size_of::<Set>() == 256);
    assert!(offset_of!(Set, mask) == 32 && offset_of!(Set, base) == 40);
    assert!(size_of::<Control>() <= PAGE);
};

/// How long the way back into the original function may be at most.
pub(super) const WAY: usize = 48;

global_asm!(
    ".pushsection .rodata.gainsay_clock, \"a\", @progbits",
    ".irp symbol, begin, gettime, gettimeofday, time, probe, way, end",
    ".globl gainsay_clock_\\symbol",
    ".hidden gainsay_clock_\\symbol",
    ".endr",
    ".balign 16",
    "gainsay_clock_begin:",
    // int clock_gettime(clockid_t, struct timespec *)
    "gainsay_clock_gettime:",
    "push rbx",
    "push r12",
    "sub rsp, 8",
    "mov ebx, edi",
    "mov r12, rsi",
    "call 20f",
    "test eax, eax",
    "jnz 2f",
    "mov edi, ebx",
    "mov rsi, r12",
    "call 30f",
    "2:",
    "add rsp, 8",
    "pop r12",
    "pop rbx",
    "ret",
    // int gettimeofday(struct timeval *, struct timezone *)
    ".balign 16",
    "gainsay_clock_gettimeofday:",
    "push rbx",
    "push r12",
    "sub rsp, 24",
    "mov rbx, rdi",
    "mov r12, rsi",
    "test rbx, rbx",
    "jz 3f",
    "xor edi, edi",
    "mov rsi, rsp",
    "call 20f",
    "xor edi, edi",
    "mov rsi, rsp",
    "call 30f",
    "mov rax, [rsp]",
    "mov [rbx], rax",
    "mov rax, [rsp + 8]",
    "xor edx, edx",
    "mov ecx, 1000",
    "div rcx",
    "mov [rbx + 8], rax",
    "3:",
    "xor eax, eax",
    "test r12, r12",
    "jz 4f",
    // The time zone is the kernel's to tell.
    "mov eax, 96",
    "xor edi, edi",
    "mov rsi, r12",
    "syscall",
    "4:",
    "add rsp, 24",
    "pop r12",
    "pop rbx",
    "ret",
    // time_t time(time_t *), of the coarse clock as the original is
    ".balign 16",
    "gainsay_clock_time:",
    "push rbx",
    "sub rsp, 16",
    "mov rbx, rdi",
    "mov edi, 5",
    "mov rsi, rsp",
    "call 20f",
    "mov edi, 5",
    "mov rsi, rsp",
    "call 30f",
    "mov rax, [rsp]",
    "test rbx, rbx",
    "jz 5f",
    "mov [rbx], rax",
    "5:",
    "add rsp, 16",
    "pop rbx",
    "ret",
    // Calls the function in rax, and stops.
    ".balign 16",
    "gainsay_clock_probe:",
    "call rax",
    "int3",
    // The way back into the original clock_gettime, written when it is known.
    ".balign 16",
    "20:",
    "gainsay_clock_way:",
    ".fill 48, 1, 0xcc",
    // edi: the clock; rsi: its time, which is changed. Returns 0.
    ".balign 16",
    "30:",
    "cmp edi, 16",
    "jae 9f",
    "mov edi, edi",
    "lea r8, [rip + gainsay_clock_begin - 4096]",
    "6:",
    "mov r9, [r8]",
    "mov ecx, r9d",
    "and ecx, 1",
    "shl ecx, 8",
    "lea rcx, [r8 + rcx + 256]",
    "mov rax, [rcx + 32]",
    "bt rax, rdi",
    "jnc 8f",
    "mov r10, [rsi]",
    "imul r10, r10, 1000000000",
    "add r10, [rsi + 8]",
    "mov r11, r10",
    "sub r10, [rcx + 40 + rdi * 8]",
    "add r11, [rcx]",
    "mov rax, [rcx + 8]",
    "imul r10",
    "shrd rax, rdx, 32",
    "add r11, rax",
    "cmp qword ptr [rcx + 16], 0",
    "jle 7f",
    "xor edx, edx",
    "mov rax, r10",
    "test rax, rax",
    "cmovs rax, rdx",
    "div qword ptr [rcx + 16]",
    "test al, 1",
    "jnz 7f",
    "add r11, [rcx + 24]",
    "7:",
    "cmp r9, [r8]",
    "jne 6b",
    "xor edx, edx",
    "test r11, r11",
    "cmovs r11, rdx",
    "mov rax, r11",
    "mov ecx, 1000000000",
    "div rcx",
    "mov [rsi], rax",
    "mov [rsi + 8], rdx",
    "jmp 9f",
    "8:",
    "cmp r9, [r8]",
    "jne 6b",
    "9:",
    "xor eax, eax",
    "ret",
    "gainsay_clock_end:",
    ".popsection",
);

unsafe extern "C" {
    static gainsay_clock_begin: u8;
    static gainsay_clock_gettime: u8;
    static gainsay_clock_gettimeofday: u8;
    static gainsay_clock_time: u8;
    static gainsay_clock_probe: u8;
    static gainsay_clock_way: u8;
    static gainsay_clock_end: u8;
}

/// The names of the vDSO's functions that are replaced. The first is the one that the others' replacements use.
pub(super) const FUNCTIONS: [&str; 3] =
    ["__vdso_clock_gettime", "__vdso_gettimeofday", "__vdso_time"];

fn distance(from: &'static u8, to: &'static u8) -> usize {
    std::ptr::from_ref(to) as usize - std::ptr::from_ref(from) as usize
}

/// The code's bytes.
pub(super) fn code() -> &'static [u8] {
    // SAFETY: the symbols bound the code above, which is read as bytes.
    unsafe {
        let begin = &gainsay_clock_begin;
        let length = distance(begin, &gainsay_clock_end);
        std::slice::from_raw_parts(std::ptr::from_ref(begin), length)
    }
}

/// Where the replacements of [`FUNCTIONS`] begin, from the beginning of the code.
pub(super) fn replacements() -> [u64; 3] {
    // SAFETY: only addresses are taken.
    unsafe {
        [
            &gainsay_clock_gettime,
            &gainsay_clock_gettimeofday,
            &gainsay_clock_time,
        ]
        .map(|symbol| distance(&gainsay_clock_begin, symbol) as u64)
    }
}

/// Where the code is that calls a function and stops.
pub(super) fn probe() -> u64 {
    // SAFETY: only addresses are taken.
    unsafe { distance(&gainsay_clock_begin, &gainsay_clock_probe) as u64 }
}

/// Where the way back into the original function is to be written; [`WAY`] bytes.
pub(super) fn way() -> u64 {
    // SAFETY: only addresses are taken.
    unsafe { distance(&gainsay_clock_begin, &gainsay_clock_way) as u64 }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The pages, in this process, with an original that always tells one time.
    struct Pages(*mut u8);

    impl Drop for Pages {
        fn drop(&mut self) {
            // SAFETY: it was mapped below, and nobody refers to it any more.
            unsafe { libc::munmap(self.0.cast(), SIZE) };
        }
    }

    impl Pages {
        fn new() -> Pages {
            // SAFETY: a new mapping; the code is copied to where there is room for it.
            unsafe {
                let access = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
                let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
                let pages: *mut u8 =
                    libc::mmap(std::ptr::null_mut(), SIZE, access, flags, -1, 0).cast();
                let place = pages.add(CODE as usize);
                std::ptr::copy_nonoverlapping(code().as_ptr(), place, code().len());
                Pages(pages)
            }
        }

        fn set(&mut self, rule: &Rule) {
            // SAFETY: the page is as large, and zeros are a control page.
            unsafe { &mut *self.0.cast::<Control>() }.set(rule);
        }

        /// Makes the original tell a time: `mov rax, seconds; mov [rsi], rax; mov rax, nanos; mov [rsi + 8], rax; xor eax, eax; ret`.
        fn truly(&mut self, time: i64) {
            let mut way = vec![0x48, 0xb8];
            way.extend((time / 1_000_000_000).to_le_bytes());
            way.extend([0x48, 0x89, 0x06, 0x48, 0xb8]);
            way.extend((time % 1_000_000_000).to_le_bytes());
            way.extend([0x48, 0x89, 0x46, 0x08, 0x31, 0xc0, 0xc3]);
            assert!(way.len() <= WAY);
            // SAFETY: there is room for as much.
            unsafe {
                let place = self.0.add((CODE + super::way()) as usize);
                std::ptr::copy_nonoverlapping(way.as_ptr(), place, way.len());
            }
        }

        fn function<F: Copy>(&self, index: usize) -> F {
            let place = self.0 as u64 + CODE + replacements()[index];
            // SAFETY: the callers name the functions' types.
            unsafe { std::mem::transmute_copy(&place) }
        }

        fn clock_gettime(&self, clock: i32) -> i64 {
            let function: extern "C" fn(i32, *mut libc::timespec) -> i32 = self.function(0);
            let mut time = libc::timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
            assert_eq!(function(clock, &mut time), 0);
            assert!((0..1_000_000_000).contains(&time.tv_nsec));
            time.tv_sec * 1_000_000_000 + time.tv_nsec
        }

        fn gettimeofday(&self) -> i64 {
            let function: extern "C" fn(*mut libc::timeval, *mut libc::timezone) -> i32 =
                self.function(1);
            let mut time = libc::timeval {
                tv_sec: 0,
                tv_usec: 0,
            };
            let mut zone: libc::timezone = unsafe { std::mem::zeroed() };
            assert_eq!(function(&mut time, &mut zone), 0);
            assert_eq!(function(std::ptr::null_mut(), std::ptr::null_mut()), 0);
            time.tv_sec * 1_000_000 + time.tv_usec
        }

        fn time(&self) -> i64 {
            let function: extern "C" fn(*mut i64) -> i64 = self.function(2);
            let mut time = 0;
            assert_eq!(function(&mut time), function(std::ptr::null_mut()));
            time
        }
    }

    /// Numbers that are the same each time.
    struct Numbers(u64);

    impl Numbers {
        fn up_to(&mut self, most: i64) -> i64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            // The large ones less often than evenly.
            let shift = (self.0 >> 8) % 40;
            ((self.0 >> 1) as i64 % most) >> shift
        }

        fn signed(&mut self, most: i64) -> i64 {
            let number = self.up_to(most);
            if self.0 & 1 == 0 { number } else { -number }
        }
    }

    #[test]
    fn the_code_tells_what_the_rule_says() {
        const YEAR: i64 = 365 * 24 * 3600 * 1_000_000_000;
        let mut pages = Pages::new();
        let mut numbers = Numbers(42);
        for _ in 0..20_000 {
            let mut rule = Rule {
                offset: numbers.signed(YEAR),
                rate: numbers.signed(100 << 32),
                period: numbers.up_to(YEAR),
                delta: numbers.signed(YEAR),
                mask: numbers.up_to(1 << 16) as u64,
                ..Rule::default()
            };
            let time = 50 * YEAR + numbers.signed(YEAR);
            rule.base.fill(time - numbers.signed(YEAR / 200));
            pages.set(&rule);
            pages.truly(time);
            for clock in [-3, 0, 1, 5, 7, 11, 15, 16, 40] {
                let told = rule.tells(clock, time);
                assert_eq!(pages.clock_gettime(clock), told, "{clock} {time} {rule:?}");
            }
            assert_eq!(pages.gettimeofday(), rule.tells(0, time) / 1000);
            assert_eq!(pages.time(), rule.tells(5, time) / 1_000_000_000);
        }
    }

    #[test]
    fn a_clock_that_stands_still_stands_exactly() {
        let mut pages = Pages::new();
        let mut rule = Rule {
            rate: -(1 << 32),
            mask: 1,
            ..Rule::default()
        };
        rule.base[0] = 1_700_000_000_123_456_789;
        pages.set(&rule);
        for later in [0, 1, 999, 123_456_789_012] {
            pages.truly(rule.base[0] + later);
            assert_eq!(pages.clock_gettime(0), rule.base[0]);
        }
    }

    #[test]
    fn a_clock_is_never_before_1970() {
        let mut pages = Pages::new();
        pages.set(&Rule {
            offset: -10_000,
            mask: 1,
            ..Rule::default()
        });
        pages.truly(5000);
        assert_eq!(pages.clock_gettime(0), 0);
    }
}
