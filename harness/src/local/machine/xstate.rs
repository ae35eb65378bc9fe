//! Loaded into user-mode Linux by the dynamic linker (`LD_PRELOAD`), on processors that have more registers than it knows of.
//!
//! Kernels refuse to set the extended registers of a process from a buffer that has not room for all that the processor has
//! (`PTRACE_SETREGSET` with `NT_X86_XSTATE`, EFAULT). User-mode Linux before 6.13 has room for 2696 bytes, which ends at AVX-512; with AMX
//! there are 11 KB, and it panics with "ptrace set fp regs failed". So its buffer is laid over what the process has.
//!
//! Not a module of the library: `build.rs` makes a shared object of it. It has no runtime and asks for nothing but `syscall(3)` and `memcpy(3)`.

#![no_std]

use core::cell::UnsafeCell;
use core::ffi::{c_int, c_long, c_void};
use core::panic::PanicInfo;
use core::ptr;

const SYS_PTRACE: c_long = 101;
const PEEK: core::ops::RangeInclusive<c_long> = 1..=3;
const GET_REGISTERS: c_long = 0x4204;
const SET_REGISTERS: c_long = 0x4205;
const X86_XSTATE: usize = 0x202;

/// More than any processor's registers.
const ROOM: usize = 1 << 16;

/// `struct iovec`.
#[repr(C)]
struct Vector {
    base: *mut u8,
    length: usize,
}

#[repr(align(64))]
struct Buffer(UnsafeCell<[u8; ROOM]>);

// SAFETY: one thread of user-mode Linux, and one only, speaks to ptrace.
unsafe impl Sync for Buffer {}

/// Not on the stack: that is a kernel's, and small.
static BUFFER: Buffer = Buffer(UnsafeCell::new([0; ROOM]));

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}

/// ptrace(2), as the C library has it.
///
/// # Safety
/// As ptrace.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ptrace(request: c_long, pid: c_int, address: *mut c_void, data: *mut c_void) -> c_long {
    // SAFETY: the caller's arguments, handed on; and buffers that are as long as they are said to be.
    unsafe {
        if request == SET_REGISTERS && address as usize == X86_XSTATE {
            let given = data as *const Vector;
            let whole = BUFFER.0.get() as *mut u8;
            let mut vector = Vector { base: whole, length: ROOM };
            let got = syscall(SYS_PTRACE, GET_REGISTERS, pid as c_long, address, &raw mut vector);
            if got < 0 {
                return got;
            }
            let length = if (*given).length < vector.length { (*given).length } else { vector.length };
            ptr::copy_nonoverlapping((*given).base, whole, length);
            return syscall(SYS_PTRACE, request, pid as c_long, address, &raw mut vector);
        }
        if PEEK.contains(&request) {
            // The system call stores the word where the library returns it.
            let mut word: c_long = 0;
            let got = syscall(SYS_PTRACE, request, pid as c_long, address, &raw mut word);
            return if got < 0 { got } else { word };
        }
        syscall(SYS_PTRACE, request, pid as c_long, address, data)
    }
}
