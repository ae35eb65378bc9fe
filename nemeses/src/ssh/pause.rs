//! Letting paused processes go on, as shell scripts: what is written down on a node before a pause.

/// A script that lets processes go on. Harmless for those that run, and for those that are gone.
pub(super) fn undo(pids: &str) -> String {
    format!("for pid in $({pids}); do kill -CONT \"$pid\" 2>/dev/null; done; true")
}

/// A script that succeeds if none of the processes is stopped.
pub(super) fn verify(pids: &str) -> String {
    // The state comes after the command, which is in parentheses and may have any letters.
    format!(
        "for pid in $({pids}); do case $(sed 's/^.*) //' \"/proc/$pid/stat\" 2>/dev/null) in \
         T*) exit 1;; esac; done; true"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::process::{Child, Command};
    use std::time::Duration;

    use super::*;

    /// A process, ended with the test.
    struct Sleeper(Child);

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn succeeds(script: &str) -> bool {
        Command::new("sh")
            .args(["-c", script])
            .status()
            .unwrap()
            .success()
    }

    #[test]
    fn stopped_processes_are_seen_and_go_on() {
        let sleepers = [(); 2].map(|()| Sleeper(Command::new("sleep").arg("60").spawn().unwrap()));
        let pids = sleepers.each_ref().map(|sleeper| sleeper.0.id());
        let script = format!("echo {}; echo {}", pids[0], pids[1]);
        assert!(succeeds(&verify(&script)));
        assert!(succeeds(&format!("kill -STOP {}", pids[1])));
        // A process stops when it is next scheduled, not when it is told to.
        let stopped = (0..1000).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            !succeeds(&verify(&script))
        });
        assert!(stopped);
        assert!(succeeds(&undo(&script)));
        assert!(succeeds(&verify(&script)));
    }

    #[test]
    fn nothing_there_is_nothing_stopped() {
        for pids in ["true", "echo 4194304"] {
            assert!(succeeds(&undo(pids)));
            assert!(succeeds(&verify(pids)));
        }
    }
}
