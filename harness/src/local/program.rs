//! Running the programs that build a base system: output line by line, a time limit, and death
//! together with the controller.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};

use super::Progress;
use super::error::{Doing, LocalError};

/// How many of a program's last lines an error shows.
const TAIL_LINES: usize = 15;

/// What a program is run for.
pub(super) struct Job<'a> {
    /// For messages: "downloading packages".
    pub(super) doing: &'a str,
    /// It is killed after that.
    pub(super) limit: Duration,
    /// What to check when it fails.
    pub(super) hint: &'a str,
}

/// Runs a program, hands on each line that it writes, and requires that it succeeds.
pub(super) fn run(
    mut command: Command,
    job: &Job<'_>,
    progress: Progress<'_>,
) -> Result<(), LocalError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let doing = || format!("{}: {program}", job.doing);
    let (reader, writer) = io::pipe().doing(doing)?;
    let errors = writer.try_clone().doing(doing)?;
    command.stdin(Stdio::null()).stdout(writer).stderr(errors);
    // Translations would make the messages unreadable in a bug report.
    command.env("LC_ALL", "C.UTF-8");
    prepare(&mut command);
    let mut child = command.spawn().doing(doing)?;
    // The command holds our ends of the pipe; without this the reader never sees its end.
    drop(command);

    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
            let line = last_state(&String::from_utf8_lossy(&line)).to_owned();
            if !line.is_empty() && sender.send(line).is_err() {
                break;
            }
        }
    });
    let mut tail = VecDeque::new();
    let in_time = follow(&lines, job.limit, &mut tail, progress);
    let text = |tail: VecDeque<String>| Vec::from(tail).join("\n");
    if !in_time {
        end(&mut child);
        let (doing, limit) = (job.doing.to_owned(), job.limit);
        return Err(LocalError::TooLong {
            doing,
            program,
            limit,
            tail: text(tail),
        });
    }
    let status = child.wait().doing(doing)?;
    if status.success() {
        return Ok(());
    }
    Err(LocalError::Program {
        doing: job.doing.to_owned(),
        program,
        status: status.to_string(),
        tail: text(tail),
        hint: job.hint.to_owned(),
    })
}

/// Hands on lines until there are no more; false when the time is up before that.
fn follow(
    lines: &Receiver<String>,
    limit: Duration,
    tail: &mut VecDeque<String>,
    progress: Progress<'_>,
) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                progress(&line);
                if tail.len() == TAIL_LINES {
                    tail.pop_front();
                }
                tail.push_back(line);
            }
            Err(RecvTimeoutError::Disconnected) => return true,
            Err(RecvTimeoutError::Timeout) => return false,
        }
    }
}

fn end(child: &mut Child) {
    // Both fail only if it is gone already.
    let _ = child.kill();
    let _ = child.wait();
}

/// Has the kernel kill the program when the thread that starts it is gone: a build must not outlive a
/// killed controller, since the next one would start it again beside it. And makes what it builds
/// readable to the users of a node, whatever the umask of who runs the controller.
fn prepare(command: &mut Command) {
    // SAFETY: prctl(2) and umask(2) are async-signal-safe and touch no memory.
    unsafe {
        command.pre_exec(|| {
            umask(Mode::from_bits_truncate(0o022));
            Ok(prctl::set_pdeathsig(Signal::SIGKILL)?)
        });
    }
}

/// What a line came to that was written over again and again, as counters of progress are.
fn last_state(line: &str) -> &str {
    let line = line.trim_end();
    line.rsplit('\r').next().unwrap_or(line)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shell(script: &str, limit: Duration) -> (Result<(), LocalError>, Vec<String>) {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let mut lines = Vec::new();
        let job = Job {
            doing: "testing",
            limit,
            hint: "none",
        };
        let result = run(command, &job, &mut |line| lines.push(line.to_owned()));
        (result, lines)
    }

    #[test]
    fn lines_of_both_outputs_are_handed_on() {
        let (result, lines) = shell(
            "echo a; echo b >&2; echo; printf c",
            Duration::from_secs(60),
        );
        result.unwrap();
        assert_eq!(lines, ["a", "b", "c"]);
    }

    #[test]
    fn failure_shows_the_tail() {
        let (result, _) = shell("seq 100; exit 3", Duration::from_secs(60));
        let message = result.unwrap_err().to_string();
        assert!(
            message.contains("exit status: 3") && message.contains("\n100\n"),
            "{message}"
        );
        assert!(
            !message.contains("\n85\n") && message.contains("\n86\n"),
            "{message}"
        );
    }

    #[test]
    fn too_long_is_killed() {
        let (result, _) = shell("echo a; exec sleep 1000", Duration::from_millis(300));
        assert!(matches!(result, Err(LocalError::TooLong { .. })));
    }

    #[test]
    fn of_a_line_that_is_written_over_the_last_state_counts() {
        assert_eq!(
            last_state("(Reading ... \r(Reading ... 5%\r(Reading ... done.\r\n"),
            "(Reading ... done."
        );
        assert_eq!(last_state("plain"), "plain");
        assert_eq!(last_state(""), "");
    }
}
