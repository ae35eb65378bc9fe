//! The C library's functions that wait until a time, as programs find them first. Each is the C library's own, of a time by the kernel's
//! clock.

use core::ffi::{c_char, c_int, c_uint, c_void};
use core::mem::transmute;
use core::panic::PanicInfo;
use core::ptr::from_ref;

use crate::Timespec;
use crate::real::{Function, REALTIME, clock_of, clock_of_file, kernels};
use crate::timers::Timers;

/// Those of this process.
static TIMERS: Timers = Timers::new();

/// `ENOSYS`.
const NO_SUCH_FUNCTION: c_int = 38;
/// `TIMER_ABSTIME` and `TFD_TIMER_ABSTIME`.
const ABSOLUTE: c_int = 1;

type Place = *mut c_void;
type Until = *const Timespec;

/// When a timer goes off, and how often from then on.
#[repr(C)]
#[derive(Clone, Copy)]
struct Timer {
    interval: Timespec,
    value: Timespec,
}

/// Nothing here does.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        fn abort() -> !;
    }
    // SAFETY: it takes nothing.
    unsafe { abort() }
}

/// What unwinds a thread that is cancelled while it waits asks this of each function of Rust's on its way: to go on
/// (`_URC_CONTINUE_UNWIND`). It is what the standard library would define.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() -> c_int {
    8
}

/// A function that waits until a time by the clock `$clock`, which is its last argument.
macro_rules! waits {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty, $clock:expr;)*) => {$(
        /// # Safety
        /// As the C library's.
        #[unsafe(no_mangle)]
        unsafe extern "C-unwind" fn $name($($argument: $type,)* until: Until) -> $result {
            type Signature = unsafe extern "C-unwind" fn($($type,)* Until) -> $result;
            const NAME: &core::ffi::CStr = match core::ffi::CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                Ok(name) => name,
                Err(_) => c"",
            };
            static REAL: Function = Function::new(NAME);
            let real = REAL.address();
            if real.is_null() {
                return NO_SUCH_FUNCTION as $result;
            }
            // SAFETY: the arguments are as the C library's function takes them, and it has this signature.
            unsafe {
                let real: Signature = transmute(real);
                let kernels = kernels($clock, until);
                real($($argument,)* kernels.as_ref().map_or(until, from_ref))
            }
        }
    )*};
}

waits! {
    pthread_cond_timedwait(condition: Place, mutex: Place) -> c_int, clock_of(condition);
    pthread_cond_clockwait(condition: Place, mutex: Place, clock: c_int) -> c_int, clock;
    pthread_mutex_timedlock(mutex: Place) -> c_int, REALTIME;
    pthread_mutex_clocklock(mutex: Place, clock: c_int) -> c_int, clock;
    pthread_rwlock_timedrdlock(lock: Place) -> c_int, REALTIME;
    pthread_rwlock_timedwrlock(lock: Place) -> c_int, REALTIME;
    pthread_rwlock_clockrdlock(lock: Place, clock: c_int) -> c_int, clock;
    pthread_rwlock_clockwrlock(lock: Place, clock: c_int) -> c_int, clock;
    pthread_timedjoin_np(thread: usize, result: Place) -> c_int, REALTIME;
    pthread_clockjoin_np(thread: usize, result: Place, clock: c_int) -> c_int, clock;
    sem_timedwait(semaphore: Place) -> c_int, REALTIME;
    sem_clockwait(semaphore: Place, clock: c_int) -> c_int, clock;
    cnd_timedwait(condition: Place, mutex: Place) -> c_int, REALTIME;
    mtx_timedlock(mutex: Place) -> c_int, REALTIME;
    mq_timedsend(queue: c_int, message: *const c_char, length: usize, priority: c_uint) -> c_int, REALTIME;
    mq_timedreceive(queue: c_int, message: *mut c_char, length: usize, priority: *mut c_uint) -> isize, REALTIME;
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn clock_nanosleep(
    clock: c_int,
    flags: c_int,
    time: Until,
    left: *mut Timespec,
) -> c_int {
    type Signature = unsafe extern "C-unwind" fn(c_int, c_int, Until, *mut Timespec) -> c_int;
    static REAL: Function = Function::new(c"clock_nanosleep");
    let real = REAL.address();
    if real.is_null() {
        return NO_SUCH_FUNCTION;
    }
    // SAFETY: the arguments are as the C library's function takes them, and it has this signature.
    unsafe {
        let real: Signature = transmute(real);
        let kernels = match flags & ABSOLUTE {
            0 => None,
            _ => kernels(clock, time),
        };
        real(clock, flags, kernels.as_ref().map_or(time, from_ref), left)
    }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn timerfd_settime(
    fd: c_int,
    flags: c_int,
    new: *const Timer,
    old: *mut Timer,
) -> c_int {
    type Signature = unsafe extern "C-unwind" fn(c_int, c_int, *const Timer, *mut Timer) -> c_int;
    static REAL: Function = Function::new(c"timerfd_settime");
    let real = REAL.address();
    if real.is_null() {
        return -1;
    }
    // SAFETY: the arguments are as the C library's function takes them, and it has this signature.
    unsafe {
        let real: Signature = transmute(real);
        let kernels = set_by(flags, new, || clock_of_file(fd));
        real(fd, flags, kernels.as_ref().map_or(new, from_ref), old)
    }
}

/// What a timer is set to by the kernel's clock, if it is set to a time.
///
/// # Safety
/// It is null or points to what a timer is set to.
unsafe fn set_by(
    flags: c_int,
    new: *const Timer,
    clock: impl FnOnce() -> Option<c_int>,
) -> Option<Timer> {
    // SAFETY: as promised.
    let timer = unsafe { new.as_ref() }.filter(|_| flags & ABSOLUTE != 0)?;
    // All zeros disarm it.
    let armed = timer.value.seconds != 0 || timer.value.nanos != 0;
    let clock = armed.then(clock).flatten()?;
    // SAFETY: it is a time.
    let mut value = unsafe { kernels(clock, &raw const timer.value) }?;
    if value.seconds == 0 && value.nanos == 0 {
        value.nanos = 1;
    }
    Some(Timer { value, ..*timer })
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn timer_create(clock: c_int, event: Place, timer: *mut usize) -> c_int {
    type Signature = unsafe extern "C-unwind" fn(c_int, Place, *mut usize) -> c_int;
    static REAL: Function = Function::new(c"timer_create");
    let real = REAL.address();
    if real.is_null() {
        return -1;
    }
    // SAFETY: the arguments are as the C library's function takes them, and it has this signature; it writes the timer if it makes one.
    unsafe {
        let real: Signature = transmute(real);
        let result = real(clock, event, timer);
        if let (0, Some(timer)) = (result, timer.as_ref()) {
            TIMERS.keep(*timer, clock);
        }
        result
    }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn timer_delete(timer: usize) -> c_int {
    type Signature = unsafe extern "C-unwind" fn(usize) -> c_int;
    static REAL: Function = Function::new(c"timer_delete");
    let real = REAL.address();
    if real.is_null() {
        return -1;
    }
    // Before another can have its number.
    TIMERS.forget(timer);
    // SAFETY: the argument is as the C library's function takes it, and it has this signature.
    unsafe {
        let real: Signature = transmute(real);
        real(timer)
    }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn timer_settime(
    timer: usize,
    flags: c_int,
    new: *const Timer,
    old: *mut Timer,
) -> c_int {
    type Signature = unsafe extern "C-unwind" fn(usize, c_int, *const Timer, *mut Timer) -> c_int;
    static REAL: Function = Function::new(c"timer_settime");
    let real = REAL.address();
    if real.is_null() {
        return -1;
    }
    // SAFETY: the arguments are as the C library's function takes them, and it has this signature.
    unsafe {
        let real: Signature = transmute(real);
        let kernels = set_by(flags, new, || TIMERS.clock_of(timer));
        real(timer, flags, kernels.as_ref().map_or(new, from_ref), old)
    }
}
