//! What is behind this library: the kernel's clocks, and the C library's own functions.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::mem::transmute;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use crate::raw::{CLOCK_GETTIME, call};
use crate::{Looks, Timespec};

unsafe extern "C" {
    fn clock_gettime(clock: c_int, time: *mut Timespec) -> c_int;
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    fn dlvsym(handle: *mut c_void, name: *const c_char, version: *const c_char) -> *mut c_void;
}

/// `CLOCK_REALTIME`.
pub(crate) const REALTIME: c_int = 0;
/// `CLOCK_MONOTONIC`.
pub(crate) const MONOTONIC: c_int = 1;

/// `RTLD_NEXT`.
const NEXT: *mut c_void = -1_isize as *mut c_void;

/// A time of the process's clock, by the kernel's; none stays none.
///
/// # Safety
/// It is null or points to a time.
pub(crate) unsafe fn kernels(clock: c_int, until: *const Timespec) -> Option<Timespec> {
    // SAFETY: as promised.
    let until = *unsafe { until.as_ref() }?;
    Some(match looks(clock) {
        Some(looks) => looks.kernels(until),
        None => until,
    })
}

fn looks(clock: c_int) -> Option<Looks> {
    let mut times = [Timespec {
        seconds: 0,
        nanos: 0,
    }; 3];
    let [earliest, told, latest] = &mut times;
    // SAFETY: each writes into a time of its own.
    let failed = unsafe {
        let kernels = |time: &mut Timespec| {
            let clock = clock as isize;
            call(CLOCK_GETTIME, [clock, &raw mut *time as isize, 0, 0, 0, 0])
        };
        kernels(earliest) != 0 || clock_gettime(clock, told) != 0 || kernels(latest) != 0
    };
    let [earliest, told, latest] = times;
    (!failed).then_some(Looks {
        earliest,
        told,
        latest,
    })
}

/// A function of the C library, looked up when it is first needed.
pub(crate) struct Function {
    name: &'static CStr,
    found: AtomicPtr<c_void>,
}

impl Function {
    pub(crate) const fn new(name: &'static CStr) -> Function {
        Function {
            name,
            found: AtomicPtr::new(core::ptr::null_mut()),
        }
    }

    /// Its address, or null where this C library has none.
    pub(crate) fn address(&self) -> *mut c_void {
        let found = self.found.load(Ordering::Relaxed);
        if !found.is_null() {
            return found;
        }
        // Condition variables, and timers, have an older version too, on x86, that is not what programs are linked with.
        let newer = [c"GLIBC_2.3.2", c"GLIBC_2.3.3"];
        // SAFETY: names that end with a zero.
        let versions = newer
            .iter()
            .map(|version| unsafe { dlvsym(NEXT, self.name.as_ptr(), version.as_ptr()) });
        let found = versions.into_iter().find(|found| !found.is_null());
        // SAFETY: as above.
        let found = found.unwrap_or_else(|| unsafe { dlsym(NEXT, self.name.as_ptr()) });
        self.found.store(found, Ordering::Relaxed);
        found
    }
}

/// By which clock a condition variable waits.
///
/// # Safety
/// It points to a condition variable.
pub(crate) unsafe fn clock_of(condition: *const c_void) -> c_int {
    static MARK: AtomicUsize = AtomicUsize::new(0);
    let mut mark = MARK.load(Ordering::Relaxed);
    if mark == 0 {
        mark = FOUND | monotonic_mark();
        MARK.store(mark, Ordering::Relaxed);
    }
    let (at, bit) = ((mark >> 8) & 0xff, mark as u8);
    // SAFETY: a byte within the condition variable.
    let byte = unsafe { condition.cast::<u8>().add(at).read_volatile() };
    match byte & bit {
        0 => REALTIME,
        _ => MONOTONIC,
    }
}

/// That it was looked for.
const FOUND: usize = 1 << 16;

/// Which bit of a condition variable says that it waits by the monotonic clock: the number of its byte, times 256, and the bit; none where
/// all wait by the time of day. The C library does not tell, so two are made and compared.
fn monotonic_mark() -> usize {
    unsafe extern "C" {
        fn pthread_condattr_init(attributes: *mut c_void) -> c_int;
        fn pthread_condattr_setclock(attributes: *mut c_void, clock: c_int) -> c_int;
    }
    type Init = unsafe extern "C" fn(*mut c_void, *const c_void) -> c_int;
    static INIT: Function = Function::new(c"pthread_cond_init");
    let init = INIT.address();
    if init.is_null() {
        return 0;
    }
    const SIZE: usize = 48;
    #[repr(align(16))]
    struct Room([u8; 2 * SIZE]);
    let made = |clock| {
        let (mut attributes, mut condition) = (Room([0; 2 * SIZE]), Room([0; 2 * SIZE]));
        // SAFETY: there is room for more than either is, and nobody ever waits.
        unsafe {
            let init: Init = transmute(init);
            let attributes: *mut c_void = (&raw mut attributes).cast();
            pthread_condattr_init(attributes);
            pthread_condattr_setclock(attributes, clock);
            init((&raw mut condition).cast(), attributes);
        }
        condition.0
    };
    let (realtime, monotonic) = (made(REALTIME), made(MONOTONIC));
    let mut pairs = realtime.iter().zip(&monotonic).take(SIZE).enumerate();
    let different = pairs.find(|(_, (realtime, monotonic))| realtime != monotonic);
    different.map_or(0, |(at, (realtime, monotonic))| {
        at << 8 | usize::from(realtime ^ monotonic)
    })
}

/// By which clock a timer goes that is a file.
pub(crate) fn clock_of_file(fd: c_int) -> Option<c_int> {
    unsafe extern "C" {
        fn open(path: *const c_char, flags: c_int, ...) -> c_int;
        fn read(fd: c_int, buffer: *mut c_void, length: usize) -> isize;
        fn close(fd: c_int) -> c_int;
    }
    /// `O_RDONLY | O_CLOEXEC`.
    const READING: c_int = 0o2_000_000;
    const FOLDER: &[u8] = b"/proc/self/fdinfo/";
    let mut path = [0_u8; 32];
    path.iter_mut()
        .zip(FOLDER)
        .for_each(|(to, from)| *to = *from);
    let mut left = u32::try_from(fd).ok()?;
    let digits = left.checked_ilog10().unwrap_or(0) as usize + 1;
    for place in path.iter_mut().skip(FOLDER.len()).take(digits).rev() {
        *place = b'0' + (left % 10) as u8;
        left /= 10;
    }
    let mut text = [0_u8; 512];
    // SAFETY: a path that ends with a zero, and no more is read than there is room for.
    let length = unsafe {
        let file = open(path.as_ptr().cast(), READING);
        if file < 0 {
            return None;
        }
        let length = read(file, text.as_mut_ptr().cast(), text.len());
        close(file);
        length
    };
    let text = text.get(..usize::try_from(length).ok()?)?;
    let mut lines = text.split(|byte| *byte == b'\n');
    let line = lines.find_map(|line| line.strip_prefix(b"clockid:"))?;
    core::str::from_utf8(line).ok()?.trim().parse().ok()
}
