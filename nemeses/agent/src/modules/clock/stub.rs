//! The code that runs in a skewed process in place of its vDSO's functions, and the page that tells it what to do.
//!
//! Three pages are mapped into the process, next to one another: the **control** page, which says how its clocks are to go and
//! what stood where before; the **code**, which is copied from here; and a page to **scratch** on. The code finds the control
//! page by its distance from itself, so it runs wherever it is put. Control and scratch are shared memory: a change of how a clock goes is a
//! store by the agent into the one, and children that are forked share it.
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
