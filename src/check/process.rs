//! The parent's side of a checker's process.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use checkers::{CheckResult, Valid};
use harness::interpreter::{Stage, Stop};
use serde::de::DeserializeOwned;

use super::worker::{Request, WORKER_ARGUMENT};

/// How long after its own time limit a checker is killed.
const GRACE: Duration = Duration::from_secs(10);

/// The niceness of what runs in the background.
const LOWEST_PRIORITY: i32 = 19;

/// How often it is looked whether a check is abandoned.
const GLANCE: Duration = Duration::from_millis(100);

/// A process that answers requests until it dies.
pub(crate) struct CheckerProcess {
    child: Child,
    stdin: Option<ChildStdin>,
    answers: Receiver<String>,
}

impl CheckerProcess {
    /// Starts one, limited to so many bytes of memory.
    pub(crate) fn start(memory: u64) -> Result<CheckerProcess, String> {
        CheckerProcess::start_at(memory, 0)
    }

    /// Starts one that takes only what others leave of the processors.
    pub(crate) fn start_in_background(memory: u64) -> Result<CheckerProcess, String> {
        CheckerProcess::start_at(memory, LOWEST_PRIORITY)
    }

    fn start_at(memory: u64, niceness: i32) -> Result<CheckerProcess, String> {
        let start = || -> std::io::Result<CheckerProcess> {
            let mut command = Command::new(std::env::current_exe()?);
            command
                .arg(WORKER_ARGUMENT)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped());
            // Ctrl-C is for the controller, which decides what becomes of a check.
            command.process_group(0);
            // SAFETY: these are system calls and nothing more, and nothing else happens between fork and exec.
            unsafe {
                command.pre_exec(move || {
                    use nix::sys::resource::{Resource, setrlimit};
                    setrlimit(Resource::RLIMIT_DATA, memory, memory)?;
                    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
                    // Where it is refused, the checker is in nobody's way yet.
                    libc::setpriority(libc::PRIO_PROCESS, 0, niceness);
                    // A checker does not outlive its controller.
                    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
                    Ok(())
                });
            }
            let mut child = command.spawn()?;
            let stdin = child.stdin.take();
            let (send, answers) = channel();
            if let Some(stdout) = child.stdout.take() {
                std::thread::spawn(move || {
                    let mut lines = BufReader::new(stdout).lines();
                    while let Some(Ok(line)) = lines.next() {
                        if send.send(line).is_err() {
                            break;
                        }
                    }
                });
            }
            Ok(CheckerProcess {
                child,
                stdin,
                answers,
            })
        };
        start().map_err(|error| format!("the checker's process did not start: {error}"))
    }

    /// Asks for one check. An error says why there is no answer; the process is then gone. It is killed
    /// when `stop` says to abandon.
    pub(crate) fn ask<T: DeserializeOwned>(
        &mut self,
        request: &Request,
        limit: Duration,
        stop: Option<&Stop>,
    ) -> Result<T, String> {
        let mut line = serde_json::to_vec(request).map_err(|error| error.to_string())?;
        line.push(b'\n');
        let sent = match self.stdin.as_mut() {
            Some(stdin) => stdin.write_all(&line).and_then(|()| stdin.flush()),
            None => return Err("the checker's process is gone".to_owned()),
        };
        if sent.is_err() {
            return Err(self.reap());
        }
        match self.answer(limit + GRACE, stop) {
            Ok(line) => serde_json::from_str(&line)
                .map_err(|error| format!("the checker's answer makes no sense: {error}")),
            Err(RecvTimeoutError::Disconnected) => Err(self.reap()),
            Err(RecvTimeoutError::Timeout) => {
                self.kill();
                if stop.is_some_and(abandoned) {
                    return Err("interrupted".to_owned());
                }
                Err(format!(
                    "out of budget: the checker did not stop within {limit:?} and was killed"
                ))
            }
        }
    }

    /// Waits for the answer until the time is up or the check is abandoned.
    fn answer(&self, limit: Duration, stop: Option<&Stop>) -> Result<String, RecvTimeoutError> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.answers.recv_timeout(left.min(GLANCE)) {
                Err(RecvTimeoutError::Timeout) if left > GLANCE && !stop.is_some_and(abandoned) => {
                }
                answer => return answer,
            }
        }
    }

    fn kill(&mut self) {
        self.stdin = None;
        // The child is ours and not yet reaped, so its pid is still its own.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn reap(&mut self) -> String {
        self.stdin = None;
        match self.child.wait() {
            Ok(status) => epitaph(status),
            Err(error) => format!("the checker's process was lost: {error}"),
        }
    }
}

impl Drop for CheckerProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

fn abandoned(stop: &Stop) -> bool {
    stop.stage() == Stage::Abandon
}

fn epitaph(status: ExitStatus) -> String {
    match status.signal() {
        // The allocator aborts when the kernel refuses memory.
        Some(libc_abort) if libc_abort == nix::sys::signal::Signal::SIGABRT as i32 => {
            "out of budget: the checker reached its memory limit (raise --check-memory)".to_owned()
        }
        Some(signal) => format!("the checker was killed by signal {signal}"),
        None => format!("the checker's process ended without an answer ({status})"),
    }
}

/// What stands in the results where there is no answer.
pub(super) fn no_answer(reason: String) -> CheckResult {
    CheckResult::new(Valid::Unknown, reason)
}
