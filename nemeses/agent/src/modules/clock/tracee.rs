//! Threads of other processes, held still by ptrace for a moment.
//!
//! Nothing here leaves anybody stopped: threads are let go when what holds them is dropped, and by the kernel when this process
//! ends. While a thread runs code of ours its signals are blocked, so that no handler runs in the middle of it.

use std::cell::RefCell;
use std::fs;
use std::ops::Range;
use std::thread::sleep;
use std::time::{Duration, Instant};

use libc::{c_int, c_void, pid_t, user_regs_struct};
use nix::errno::Errno;

/// How long a thread may take to stop.
const STOPPING: Duration = Duration::from_secs(3);
/// How long code of ours may run.
const RUNNING: Duration = Duration::from_secs(3);
/// The first pause between two looks; each further one is twice as long, up to a millisecond.
const LOOK: Duration = Duration::from_micros(5);
/// How long threads may take to get out of a place.
const LEAVING: Duration = Duration::from_secs(3);
/// All signals but SIGTRAP.
const ALL_BUT_TRAP: u64 = !(1 << (libc::SIGTRAP - 1));
/// How much of a thread's stack is searched for interrupted code: more than what a handler uses.
const DEEP: usize = 64 << 10;

/// What a thread that was waited for did.
enum Event {
    /// It is gone.
    Gone,
    /// It stopped: the signal, and ptrace's event.
    Stop(c_int, c_int),
}

/// Some threads of a process, held still. They go on when this is dropped.
pub(super) struct Held {
    pid: pid_t,
    threads: Vec<pid_t>,
}

/// A thread that did not stop in time, as one that is frozen by a control group, or waits for a disk. It still will, and must be let
/// go then: as it was, where it was made to run code of ours.
struct Late {
    thread: pid_t,
    registers: Option<user_regs_struct>,
    mask: Option<u64>,
}

impl Late {
    fn new(thread: pid_t) -> Late {
        Late {
            thread,
            registers: None,
            mask: None,
        }
    }

    /// Whether it is still to be waited for.
    fn remains(&self) -> bool {
        match wait(self.thread, Instant::now()) {
            Ok(Event::Stop(..)) => {
                if let Some(registers) = &self.registers {
                    let _ = set_registers(self.thread, registers);
                }
                if let Some(mask) = self.mask {
                    let _ = signal_mask(libc::PTRACE_SETSIGMASK, self.thread, &mut { mask });
                }
                request(libc::PTRACE_DETACH, self.thread, 0, 0).is_err()
            }
            Ok(Event::Gone) => false,
            Err(error) => error == Errno::ETIMEDOUT,
        }
    }
}

thread_local! {
    static LATE: RefCell<Vec<Late>> = const { RefCell::new(Vec::new()) };
}

/// Lets threads go that stopped only after nobody waited for them any more. To be called now and then while it says that there are some.
pub(super) fn let_late_ones_go() -> bool {
    LATE.with_borrow_mut(|late| {
        late.retain(Late::remains);
        !late.is_empty()
    })
}

/// The first that is known of a thread stays: it knows how the thread is to be.
fn is_late(late: Late) {
    LATE.with_borrow_mut(|all| {
        if all.iter().all(|known| known.thread != late.thread) {
            all.push(late);
        }
    });
}

impl Drop for Held {
    fn drop(&mut self) {
        for thread in &self.threads {
            // One that was killed meanwhile must be waited for: its process has not ended before, for nobody else.
            if request(libc::PTRACE_DETACH, *thread, 0, 0).is_err() {
                is_late(Late::new(*thread));
            }
        }
    }
}

impl Held {
    /// Holds all threads of a process.
    pub(super) fn all(pid: pid_t) -> Result<Held, String> {
        let mut held = Held {
            pid,
            threads: Vec::new(),
        };
        // Threads that still run may make new ones, until none does.
        loop {
            let new: Vec<pid_t> = threads(pid)
                .into_iter()
                .filter(|thread| !held.threads.contains(thread))
                .collect();
            let before = held.threads.len();
            for thread in new {
                held.hold(thread)?;
            }
            if held.threads.len() == before {
                break;
            }
        }
        match held.threads.is_empty() {
            true => Err(format!("process {pid} is gone")),
            false => Ok(held),
        }
    }

    /// Holds one thread of a process: the first that lives.
    pub(super) fn one(pid: pid_t) -> Result<Held, String> {
        let mut held = Held {
            pid,
            threads: Vec::new(),
        };
        for thread in threads(pid) {
            held.hold(thread)?;
            if !held.threads.is_empty() {
                return Ok(held);
            }
        }
        Err(format!("process {pid} is gone"))
    }

    /// A thread that is about to begin another program, held when it has: `go` lets it begin. None if the program was not begun.
    pub(super) fn after_exec(thread: pid_t, go: impl FnOnce()) -> Result<Option<Held>, String> {
        let seized = seize(thread, libc::PTRACE_O_TRACEEXEC);
        if seized.is_ok() {
            let _ = request(libc::PTRACE_INTERRUPT, thread, 0, 0);
        }
        go();
        seized?;
        let mut begun = false;
        let deadline = Instant::now() + STOPPING;
        // A thread that is not its process's first takes over the first one's number.
        let mut pid = thread;
        loop {
            let event = match wait(pid, deadline) {
                Ok(event) => event,
                Err(Errno::ECHILD) if pid == thread => {
                    pid = process_of(thread).unwrap_or(thread);
                    Event::Gone
                }
                Err(error) => {
                    is_late(Late::new(pid));
                    return Err(format!("process {pid} did not begin its program: {error}"));
                }
            };
            match event {
                Event::Gone if pid == thread => return Ok(None),
                Event::Gone => {}
                Event::Stop(_, libc::PTRACE_EVENT_EXEC) => {
                    // It is still inside of the call, which will overwrite registers.
                    begun = true;
                    let _ = request(libc::PTRACE_INTERRUPT, pid, 0, 0);
                    let _ = request(libc::PTRACE_CONT, pid, 0, 0);
                }
                Event::Stop(_, libc::PTRACE_EVENT_STOP) => {
                    let held = Held {
                        pid,
                        threads: vec![pid],
                    };
                    return Ok(begun.then_some(held));
                }
                Event::Stop(signal, _) => {
                    let _ = request(libc::PTRACE_CONT, pid, 0, signal as usize);
                }
            }
        }
    }

    fn hold(&mut self, thread: pid_t) -> Result<(), String> {
        // A filter that ends the process for a call of ours must not see it.
        let filtered = status_field(thread, "Seccomp:").is_some_and(|mode| mode != "0");
        let options = if filtered {
            libc::PTRACE_O_SUSPEND_SECCOMP
        } else {
            0
        };
        match seize(thread, options) {
            Ok(()) => {}
            Err(_) if !lives(thread) => return Ok(()),
            Err(error) => return Err(error),
        }
        let _ = request(libc::PTRACE_INTERRUPT, thread, 0, 0);
        let deadline = Instant::now() + STOPPING;
        loop {
            match wait(thread, deadline) {
                Ok(Event::Gone) => return Ok(()),
                Ok(Event::Stop(_, libc::PTRACE_EVENT_STOP)) => break,
                Ok(Event::Stop(signal, _)) => {
                    let _ = request(libc::PTRACE_CONT, thread, 0, signal as usize);
                }
                Err(error) => {
                    let state = status_field(thread, "State:").unwrap_or_default();
                    is_late(Late::new(thread));
                    return Err(format!(
                        "thread {thread} does not stop ({error}; its state is {state})"
                    ));
                }
            }
        }
        self.threads.push(thread);
        Ok(())
    }

    /// The process.
    pub(super) fn pid(&self) -> pid_t {
        self.pid
    }

    /// Lets every thread that is in one of these places, or returns into one from a signal's handler, go on step by step, until none
    /// is nor does.
    pub(super) fn leave(&self, places: &[Range<u64>]) -> Result<(), String> {
        let deadline = Instant::now() + LEAVING;
        let inside = |rip: u64| places.iter().any(|place| place.contains(&rip));
        for thread in &self.threads {
            loop {
                let now = registers(*thread)?;
                if inside(now.rip) {
                    let quiet = Quiet::new(*thread)?;
                    let stepped = step(*thread, |rip| !inside(rip), deadline);
                    stepped.inspect_err(|_| quiet.is_late())?;
                } else if self.returns_into(*thread, &now, places)? {
                    // The handler's return also restores which signals are blocked: nothing is changed of that here.
                    step(*thread, inside, deadline).inspect_err(|_| is_late(Late::new(*thread)))?;
                } else {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Whether a thread is in a signal's handler that will return into one of these places.
    fn returns_into(
        &self,
        thread: pid_t,
        registers: &user_regs_struct,
        places: &[Range<u64>],
    ) -> Result<bool, String> {
        let mut mask = 0;
        signal_mask(libc::PTRACE_GETSIGMASK, thread, &mut mask)?;
        let mut stack = vec![0; DEEP];
        let read = read(self.pid, registers.rsp, &mut stack).unwrap_or(0);
        Ok(has_frame_in(&stack[..read], places, mask))
    }

    /// Does a system call in the process, whose instruction is at `place`. The result may be an error's negative number.
    pub(super) fn call(&self, place: u64, number: i64, arguments: [u64; 6]) -> Result<i64, String> {
        let set = |registers: &mut user_regs_struct| {
            let [a, b, c, d, e, f] = arguments;
            registers.rip = place;
            registers.rax = number as u64;
            (registers.rdi, registers.rsi, registers.rdx) = (a, b, c);
            (registers.r10, registers.r8, registers.r9) = (d, e, f);
        };
        let after = self.with(set, libc::PTRACE_SINGLESTEP)?;
        match after.rip == place + 2 {
            true => Ok(after.rax as i64),
            false => Err("the system call's instruction is none".to_owned()),
        }
    }

    /// Runs code in the process from registers that `set` sets, until its breakpoint. Returns what is in rax then.
    pub(super) fn execute(&self, set: impl FnOnce(&mut user_regs_struct)) -> Result<i64, String> {
        Ok(self.with(set, libc::PTRACE_CONT)?.rax as i64)
    }

    /// Runs the first thread with other registers, which it has again afterwards.
    fn with(
        &self,
        set: impl FnOnce(&mut user_regs_struct),
        how: u32,
    ) -> Result<user_regs_struct, String> {
        let thread = *self.threads.first().ok_or("nobody is held")?;
        let before = registers(thread)?;
        let mut registers_then = before;
        set(&mut registers_then);
        // No system call is under way that could be begun again.
        registers_then.orig_rax = u64::MAX;
        let quiet = Quiet::new(thread)?;
        set_registers(thread, &registers_then)?;
        if let Err(unfinished) = run(thread, how) {
            // Where it has stopped, it is as it was; else it will be when it does.
            if set_registers(thread, &before).is_err() {
                let mask = Some(quiet.mask);
                let registers = Some(before);
                is_late(Late {
                    thread,
                    registers,
                    mask,
                });
            }
            return Err(unfinished);
        }
        let ran = registers(thread);
        set_registers(thread, &before)?;
        ran
    }

    /// Overwrites eight bytes, whatever the protection of their page.
    pub(super) fn poke(&self, address: u64, bytes: [u8; 8]) -> Result<(), String> {
        let thread = *self.threads.first().ok_or("nobody is held")?;
        let word = u64::from_le_bytes(bytes) as usize;
        request(libc::PTRACE_POKEDATA, thread, address as usize, word)
            .map_err(|error| format!("process {}: writing at {address:#x}: {error}", self.pid))
    }
}

/// A thread whose signals wait.
struct Quiet {
    thread: pid_t,
    mask: u64,
}

impl Quiet {
    fn new(thread: pid_t) -> Result<Quiet, String> {
        let mut mask = 0_u64;
        signal_mask(libc::PTRACE_GETSIGMASK, thread, &mut mask)?;
        signal_mask(libc::PTRACE_SETSIGMASK, thread, &mut { ALL_BUT_TRAP })?;
        Ok(Quiet { thread, mask })
    }

    /// It runs, and its signals wait no longer than until it stops.
    fn is_late(&self) {
        is_late(Late {
            mask: Some(self.mask),
            ..Late::new(self.thread)
        });
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = signal_mask(libc::PTRACE_SETSIGMASK, self.thread, &mut self.mask.clone());
    }
}

/// Lets a thread go on step by step, until it is where it is to be.
fn step(thread: pid_t, there: impl Fn(u64) -> bool, deadline: Instant) -> Result<(), String> {
    while !there(registers(thread)?.rip) {
        if Instant::now() > deadline {
            return Err(format!("thread {thread} does not leave the vDSO"));
        }
        run(thread, libc::PTRACE_SINGLESTEP)?;
    }
    Ok(())
}

/// Lets a thread go on until a trap of ours.
fn run(thread: pid_t, how: u32) -> Result<(), String> {
    let mut signal = 0;
    let deadline = Instant::now() + RUNNING;
    loop {
        request(how, thread, 0, signal as usize).map_err(|error| describe(thread, error))?;
        match wait(thread, deadline).map_err(|error| describe(thread, error))? {
            Event::Gone => return Err(format!("thread {thread} is gone")),
            Event::Stop(libc::SIGTRAP, 0) => return Ok(()),
            Event::Stop(it @ (libc::SIGSEGV | libc::SIGILL | libc::SIGBUS | libc::SIGFPE), 0) => {
                return Err(format!("thread {thread} got signal {it} in code of ours"));
            }
            // Somebody stops it for good meanwhile: it stops once it is let go.
            Event::Stop(_, libc::PTRACE_EVENT_STOP) => signal = 0,
            Event::Stop(it, _) => signal = it,
        }
    }
}

fn describe(thread: pid_t, error: Errno) -> String {
    format!("thread {thread}: {error}")
}

/// Whether a stack has a frame of a signal's handler that will return into one of these places.
///
/// What is left of frames of handlers that have returned may still lie there. While one runs, some signal is blocked that was not
/// before. So a handler that blocks nothing (`SA_NODEFER`) is not seen, nor one whose frame is deeper than what is given, or on another
/// stack than the one that runs now.
fn has_frame_in(stack: &[u8], places: &[Range<u64>], blocked: u64) -> bool {
    /// Where a `ucontext` has the instruction, the segments and the blocked signals.
    const RIP: usize = 40 + 16 * 8;
    const SEGMENTS: usize = 40 + 18 * 8;
    const BLOCKED: usize = 40 + 256;
    const USER_CODE: u64 = 0x33;
    let word = |at: usize| {
        let bytes = stack.get(at..at + 8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    };
    (0..stack.len()).step_by(8).any(|at| {
        let rip = word(at + RIP).unwrap_or(0);
        places.iter().any(|place| place.contains(&rip))
            && word(at + SEGMENTS).is_some_and(|it| it & 0xffff == USER_CODE)
            && word(at).is_some_and(|flags| flags <= 0xf)
            && word(at + BLOCKED).is_some_and(|before| before != blocked)
    })
}

/// A thread's registers.
fn registers(thread: pid_t) -> Result<user_regs_struct, String> {
    // SAFETY: plain numbers, for which zeros are fine.
    let mut registers: user_regs_struct = unsafe { std::mem::zeroed() };
    let place = std::ptr::from_mut(&mut registers) as usize;
    request(libc::PTRACE_GETREGS, thread, 0, place).map_err(|error| describe(thread, error))?;
    Ok(registers)
}

fn set_registers(thread: pid_t, registers: &user_regs_struct) -> Result<(), String> {
    let place = std::ptr::from_ref(registers) as usize;
    request(libc::PTRACE_SETREGS, thread, 0, place).map_err(|error| describe(thread, error))
}

fn signal_mask(what: u32, thread: pid_t, mask: &mut u64) -> Result<(), String> {
    let place = std::ptr::from_mut(mask) as usize;
    request(what, thread, size_of::<u64>(), place).map_err(|error| describe(thread, error))
}

fn seize(thread: pid_t, options: c_int) -> Result<(), String> {
    let seized = request(libc::PTRACE_SEIZE, thread, 0, options as usize);
    seized.map_err(|error| {
        let tracer = status_field(thread, "TracerPid:").unwrap_or_default();
        let why = match (error, tracer.as_str()) {
            (Errno::EPERM, tracer) if !["", "0"].contains(&tracer) => {
                format!("process {tracer} (a debugger?) traces it already")
            }
            (Errno::EPERM, _) => {
                "ptrace is not permitted: it needs root, CAP_SYS_PTRACE and a kernel.yama.ptrace_scope below 3".to_owned()
            }
            _ => error.to_string(),
        };
        format!("thread {thread} cannot be held: {why}")
    })
}

fn request(what: u32, thread: pid_t, address: usize, data: usize) -> Result<(), Errno> {
    // SAFETY: what is written, is written into places that the callers above own.
    let done = unsafe { libc::ptrace(what, thread, address as *mut c_void, data as *mut c_void) };
    Errno::result(done).map(drop)
}

/// Waits for a thread that is traced.
fn wait(thread: pid_t, deadline: Instant) -> Result<Event, Errno> {
    let mut pause = LOOK;
    loop {
        let mut status = 0;
        // SAFETY: it writes into that one.
        let got = unsafe { libc::waitpid(thread, &mut status, libc::__WALL | libc::WNOHANG) };
        match Errno::result(got) {
            Ok(0) if Instant::now() >= deadline => return Err(Errno::ETIMEDOUT),
            Ok(0) => {
                sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(1));
            }
            Ok(_) if libc::WIFSTOPPED(status) => {
                return Ok(Event::Stop(libc::WSTOPSIG(status), status >> 16));
            }
            Ok(_) => return Ok(Event::Gone),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads a process's memory: as many bytes as are there.
pub(super) fn read(pid: pid_t, address: u64, into: &mut [u8]) -> Result<usize, String> {
    use std::os::unix::fs::FileExt;
    let file = fs::File::open(format!("/proc/{pid}/mem"));
    let read = file.and_then(|file| file.read_at(into, address));
    read.map_err(|error| format!("process {pid}: reading at {address:#x}: {error}"))
}

/// The threads of a process that live, its first one first.
fn threads(pid: pid_t) -> Vec<pid_t> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut threads: Vec<pid_t> = names.filter(|thread| lives(*thread)).collect();
    threads.sort_by_key(|thread| (*thread != pid, *thread));
    threads
}

/// Whether a thread is there and not only waits to be reaped.
pub(super) fn lives(thread: pid_t) -> bool {
    status_field(thread, "State:").is_some_and(|state| !state.starts_with(['Z', 'X', 'x']))
}

fn process_of(thread: pid_t) -> Option<pid_t> {
    status_field(thread, "Tgid:")?.parse().ok()
}

/// A field of what `/proc` has of a thread.
pub(super) fn status_field(thread: pid_t, name: &str) -> Option<String> {
    let status = fs::read(format!("/proc/{thread}/status")).ok()?;
    let status = String::from_utf8_lossy(&status);
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    /// Its parent is told of its end only when we have been.
    #[test]
    fn a_process_that_is_killed_while_it_is_held_ends() {
        let script = ["-c", "sleep 60 & echo $!; wait $!"];
        let mut shell = Command::new("sh")
            .args(script)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(shell.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let pid: pid_t = line.trim().parse().unwrap();
        let held = match Held::all(pid) {
            Ok(held) => held,
            Err(why) => {
                let _ = nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(pid),
                    nix::sys::signal::SIGKILL,
                );
                shell.wait().unwrap();
                eprintln!("\n*** SKIPPED a_process_that_is_killed_while_it_is_held: {why} ***\n");
                assert!(std::env::var_os("CI").is_none(), "on CI nothing is skipped");
                return;
            }
        };
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).unwrap();
        while lives(pid) {
            sleep(Duration::from_millis(1));
        }
        drop(held);
        let deadline = Instant::now() + Duration::from_secs(20);
        while shell.try_wait().unwrap().is_none() {
            let_late_ones_go();
            assert!(Instant::now() < deadline, "it has not ended for its parent");
            sleep(Duration::from_millis(5));
        }
        assert!(!let_late_ones_go());
    }
}
