//! System calls that programs make by the C library's `syscall`, as Rust's and C++'s own libraries do to wait. They are made here,
//! without the C library: it may be asked for one before it is ready to look up functions, by an allocator that begins.

use core::ffi::{c_int, c_long};
use core::ptr::from_ref;

use crate::real::{MONOTONIC, REALTIME, kernels};
use crate::{Timespec, waits_until};

#[cfg(target_arch = "x86_64")]
mod numbers {
    pub(super) const FUTEX: i64 = 202;
    pub(super) const CLOCK_NANOSLEEP: i64 = 230;
    pub(crate) const CLOCK_GETTIME: i64 = 228;
}
#[cfg(target_arch = "aarch64")]
mod numbers {
    pub(super) const FUTEX: i64 = 98;
    pub(super) const CLOCK_NANOSLEEP: i64 = 115;
    pub(crate) const CLOCK_GETTIME: i64 = 113;
}
/// The same everywhere.
const FUTEX_WAITV: i64 = 449;

pub(crate) use numbers::CLOCK_GETTIME;
use numbers::{CLOCK_NANOSLEEP, FUTEX};

/// Makes a system call. An error is its negative number.
///
/// # Safety
/// As the call's.
pub(crate) unsafe fn call(number: i64, [a, b, c, d, e, f]: [isize; 6]) -> isize {
    let result: isize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as promised; the kernel changes no other registers.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as promised; the kernel changes no other registers.
    unsafe {
        core::arch::asm!(
            "svc 0",
            in("x8") number, inlateout("x0") a => result,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
            options(nostack),
        );
    }
    result
}

/// The C library's `syscall`. It takes as many arguments as a call has; more than were given are whatever is there, here as in the C
/// library.
///
/// # Safety
/// As the call's.
#[unsafe(no_mangle)]
unsafe extern "C" fn syscall(
    number: c_long,
    a: isize,
    b: isize,
    c: isize,
    d: isize,
    e: isize,
    f: isize,
) -> c_long {
    unsafe extern "C" {
        fn __errno_location() -> *mut c_int;
    }
    let mut arguments = [a, b, c, d, e, f];
    let until = waits(number, &arguments);
    // SAFETY: where a call takes a time it is null or one.
    let kernels = until.and_then(|(clock, at)| unsafe {
        let time = kernels(clock, arguments[at] as *const Timespec)?;
        Some((at, time))
    });
    if let Some((at, time)) = &kernels {
        arguments[*at] = from_ref(time) as isize;
    }
    // SAFETY: as promised.
    let result = unsafe { call(number, arguments) };
    if (-4095..0).contains(&result) {
        // SAFETY: each thread has its own.
        unsafe { *__errno_location() = -result as c_int };
        return -1;
    }
    result as c_long
}

/// By which clock a call waits until a time, and which of its arguments that is.
fn waits(number: c_long, arguments: &[isize; 6]) -> Option<(c_int, usize)> {
    match number {
        FUTEX => {
            let realtime = waits_until(arguments[1] as i32)?;
            Some((if realtime { REALTIME } else { MONOTONIC }, 3))
        }
        CLOCK_NANOSLEEP => (arguments[1] & 1 != 0).then_some((arguments[0] as c_int, 2)),
        FUTEX_WAITV => Some((arguments[4] as c_int, 3)),
        _ => None,
    }
}
