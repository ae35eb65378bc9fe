//! How a script travels over a shell channel, and how its output is told from everything else.
//!
//! Neither the arguments of the login shell nor the exit status of the channel are trusted: login
//! shells differ in quoting, start-up files print, `libssh2` reports status 0 when none came. So the
//! remote side runs `sh`, reads the script from its standard input, and marks where the
//! output of the script begins and ends, on both streams, with an unguessable token:
//!
//! ```text
//! stdout:  noise… TOKEN⏎ data…       TOKEN⏎
//! stderr:  noise… TOKEN 4711⏎ data…  TOKEN 0⏎
//!                       process group      exit status
//! ```
//!
//! A script is run only when all of it arrived, so a connection lost while sending it is a command
//! that certainly did not start. A script that has ended is known to have ended even while its
//! background children keep the streams open.

use std::fs::File;
use std::io::{self, Write};

use memchr::memmem;

use crate::remote::quote;

/// The most output that is kept in memory, per stream.
pub(super) const OUTPUT_LIMIT: usize = 64 << 20;

/// The most noise before the first marker that is kept, for error messages.
const NOISE_LIMIT: usize = 4 << 10;

/// Where administration commands live, which a login user's `PATH` may lack.
const PREPARE: &str = "PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; umask 022; \
    read -r _ _ _ _ gainsay_group _ </proc/$$/stat";

/// An unguessable word: 128 random bits.
pub(super) fn token() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// How a command becomes root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Elevation {
    /// It need not.
    None,
    /// Through `sudo`, which must not ask for a password.
    Sudo,
    /// Through `sudo`, which reads a password from standard input if it wants one.
    SudoPassword,
}

impl Elevation {
    fn prefix(self) -> &'static str {
        match self {
            Elevation::None => "",
            Elevation::Sudo => "sudo -n ",
            Elevation::SudoPassword => "sudo -S -p \"\" ",
        }
    }
}

/// What a channel executes, such that every login shell understands it, and what it must be sent.
pub(super) struct Framed {
    /// The command line for the login shell.
    pub(super) command: String,
    /// What to send before anything else. The script starts once this has arrived.
    pub(super) prologue: Vec<u8>,
}

/// Skips a password that `sudo` did not ask for, up to the token.
const SKIP: &str = r#"while read -r g && [ "$g" != "$1" ]; do :; done; "#;

/// Frames one script for a channel of its own. What follows the prologue is the script's input.
pub(super) fn once(
    script: &str,
    token: &str,
    elevation: Elevation,
    password: Option<&str>,
) -> Framed {
    let body = format!(
        "{PREPARE}\necho {token}; echo {token} $gainsay_group >&2\n( eval {} )\nr=$?\n\
         echo {token}; echo {token} $r >&2; exit $r #{token}",
        always_quote(script)
    );
    // The marker at the end proves that the script is whole; dd, unlike head, never reads more than
    // asked for, whichever implementation it is.
    let run = r##"s=$(dd bs=$2 count=1 iflag=fullblock 2>/dev/null); case $s in *"#$1") eval "$s";; esac; exit 255"##;
    Framed {
        command: format!(
            "exec {}sh -c '{SKIP}{run}' sh {token} {}",
            elevation.prefix(),
            body.len()
        ),
        prologue: [prelude(token, password), body.into_bytes()].concat(),
    }
}

/// Frames a shell that stays open for many scripts, each sent as [`quick`] frames it.
pub(super) fn shell(token: &str, elevation: Elevation, password: Option<&str>) -> Framed {
    Framed {
        command: format!(
            "exec {}sh -c '{SKIP}exec sh -s $1' sh {token}",
            elevation.prefix()
        ),
        prologue: [
            prelude(token, password),
            format!("{PREPARE}\n").into_bytes(),
        ]
        .concat(),
    }
}

/// Frames a script for an open shell: one compound command, which the shell does not begin to
/// execute before it has read all of it. It runs in a subshell and cannot disturb the next.
pub(super) fn quick(script: &str, stdin: &[u8], token: &str) -> Vec<u8> {
    let mut line = format!("{{ echo {token}; echo {token} $gainsay_group >&2\n").into_bytes();
    if !stdin.is_empty() {
        line.extend_from_slice(b"printf '");
        for &byte in stdin {
            match byte {
                b'\'' | b'\\' | b'%' | b'-' | 0..=9 | 11..=31 | 127.. => {
                    line.extend_from_slice(format!("\\{byte:03o}").as_bytes());
                }
                _ => line.push(byte),
            }
        }
        line.extend_from_slice(b"' | ");
    }
    line.extend_from_slice(format!("( eval {} )", always_quote(script)).as_bytes());
    if stdin.is_empty() {
        line.extend_from_slice(b" </dev/null");
    }
    line.extend_from_slice(format!("\nr=$?; echo {token}; echo {token} $r >&2; }}\n").as_bytes());
    line
}

fn prelude(token: &str, password: Option<&str>) -> Vec<u8> {
    match password {
        Some(password) => format!("{password}\n{token}\n"),
        None => format!("{token}\n"),
    }
    .into_bytes()
}

/// `eval` needs one argument even for an empty script.
fn always_quote(script: &str) -> String {
    match quote(script) {
        std::borrow::Cow::Borrowed(plain) => format!("'{plain}'"),
        std::borrow::Cow::Owned(quoted) => quoted,
    }
}

/// Where a script's output goes.
pub(super) enum Sink {
    /// Into memory, up to [`OUTPUT_LIMIT`].
    Memory(Vec<u8>),
    /// Into a file.
    File(File),
}

impl Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Sink::Memory(kept) if kept.len() + bytes.len() > OUTPUT_LIMIT => Err(io::Error::other(
                format!("more than {} MiB of output", OUTPUT_LIMIT >> 20),
            )),
            Sink::Memory(kept) => {
                kept.extend_from_slice(bytes);
                Ok(())
            }
            Sink::File(file) => file.write_all(bytes),
        }
    }
}

/// One stream of a channel, cut at the markers.
pub(super) struct Section {
    token: Vec<u8>,
    pending: Vec<u8>,
    noise: Vec<u8>,
    begin: Option<String>,
    end: Option<String>,
    sink: Sink,
}

impl Section {
    pub(super) fn new(token: &str, sink: Sink) -> Section {
        Section {
            token: token.as_bytes().to_vec(),
            pending: Vec::new(),
            noise: Vec::new(),
            begin: None,
            end: None,
            sink,
        }
    }

    /// Takes in what arrived. An error is the sink's.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.end.is_some() {
            return Ok(()); // a background child of the script; nobody waits for its words
        }
        self.pending.extend_from_slice(bytes);
        while self.end.is_none() {
            let Some(at) = memmem::find(&self.pending, &self.token) else {
                let settled = self.pending.len().saturating_sub(self.token.len() - 1);
                return self.settle(settled);
            };
            self.settle(at)?;
            let Some(newline) = memchr::memchr(b'\n', &self.pending) else {
                return Ok(());
            };
            let line: Vec<u8> = self.pending.drain(..=newline).collect();
            let said = String::from_utf8_lossy(&line[self.token.len()..])
                .trim()
                .to_owned();
            match self.begin {
                None => self.begin = Some(said),
                Some(_) => self.end = Some(said),
            }
        }
        self.pending = Vec::new();
        Ok(())
    }

    /// Passes on the first bytes of what is pending, which hold no marker.
    fn settle(&mut self, count: usize) -> io::Result<()> {
        let settled = self.pending.drain(..count);
        if self.begin.is_some() {
            self.sink.write(settled.as_slice())
        } else {
            let room = NOISE_LIMIT.saturating_sub(self.noise.len());
            self.noise.extend(settled.take(room));
            Ok(())
        }
    }

    /// What the begin marker said, once it was seen.
    pub(super) fn begun(&self) -> Option<&str> {
        self.begin.as_deref()
    }

    /// What the end marker said, once it was seen.
    pub(super) fn ended(&self) -> Option<&str> {
        self.end.as_deref()
    }

    /// What came before the begin marker.
    pub(super) fn noise(&self) -> String {
        let all = [&self.noise[..], &self.pending[..]].concat();
        let noise = if self.begin.is_some() {
            &self.noise
        } else {
            &all
        };
        String::from_utf8_lossy(noise).trim().to_owned()
    }

    /// The output that was kept in memory, with what is pending if the stream broke off.
    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        if self.begin.is_some() && self.end.is_none() {
            let rest = self.pending.len();
            let _ = self.settle(rest); // a full sink has been reported by then
        }
        match self.sink {
            Sink::Memory(kept) => kept,
            Sink::File(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    fn section() -> Section {
        Section::new("TOKEN", Sink::Memory(Vec::new()))
    }

    #[test]
    fn output_is_what_lies_between_the_markers() {
        let mut section = section();
        section
            .feed(b"motd\nTOKEN 77\nTOKE\x00NTOKEN 3\nlate")
            .unwrap();
        assert_eq!(section.begun(), Some("77"));
        assert_eq!(section.ended(), Some("3"));
        assert_eq!(section.noise(), "motd");
        assert_eq!(section.into_bytes(), b"TOKE\x00N");
    }

    #[test]
    fn a_stream_that_breaks_off_keeps_what_came() {
        let mut section = section();
        section.feed(b"TOKEN 1\nabcTOK").unwrap();
        assert_eq!(section.ended(), None);
        assert_eq!(section.into_bytes(), b"abcTOK");
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(
            data in proptest::collection::vec(any::<u8>(), 0..200),
            cuts in proptest::collection::vec(1usize..40, 1..20),
        ) {
            let wire = [&b"noise TOKEN\n"[..], &data, b"TOKEN 0\n"].concat();
            let mut section = section();
            let mut rest = &wire[..];
            for cut in cuts.iter().cycle() {
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                section.feed(now).unwrap();
                rest = later;
                if rest.is_empty() { break; }
            }
            prop_assert_eq!(section.ended(), Some("0"));
            prop_assert_eq!(section.into_bytes(), data);
        }

        /// The oracle is the shell itself.
        #[test]
        fn the_shell_sees_the_same_bytes(data in proptest::collection::vec(any::<u8>(), 1..300)) {
            let mut sent = shell("SHELL", Elevation::None, None).prologue;
            sent.drain(..=memchr::memchr(b'\n', &sent).unwrap());
            sent.extend(quick("cat; exit 7", &data, "TOKEN"));
            let output = sh(&["-s"], &sent);
            let mut section = section();
            section.feed(&output.0).unwrap();
            prop_assert_eq!(section.into_bytes(), data);
            let mut errors = Section::new("TOKEN", Sink::Memory(Vec::new()));
            errors.feed(&output.1).unwrap();
            prop_assert_eq!(errors.ended(), Some("7"));
        }
    }

    fn sh(args: &[&str], input: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let mut child = Command::new("sh")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.stdout, output.stderr)
    }

    fn run_once(script: &str, input: &[u8], keep: usize) -> (Vec<u8>, Section) {
        let framed = once(script, "TOKEN", Elevation::None, Some("a password"));
        let sent = [&framed.prologue[..], input].concat();
        let (stdout, stderr) = sh(&["-c", &framed.command], &sent[..sent.len().min(keep)]);
        let mut section = section();
        section.feed(&stderr).unwrap();
        (stdout, section)
    }

    #[test]
    fn a_script_runs_only_when_whole() {
        let script = "cat; echo it\\'s $$ >/dev/null\nexit 3";
        let (stdout, stderr) = run_once(script, b"in\0put", usize::MAX);
        assert_eq!(stdout, b"TOKEN\nin\0putTOKEN\n");
        assert_eq!(stderr.ended(), Some("3"));

        let whole = once(script, "TOKEN", Elevation::None, Some("a password"));
        for keep in [
            0,
            5,
            20,
            whole.prologue.len() - 40,
            whole.prologue.len() - 1,
        ] {
            let (stdout, stderr) = run_once(script, b"", keep);
            assert_eq!(stdout, b"", "of {keep} bytes");
            assert_eq!(stderr.begun(), None);
        }
    }

    #[test]
    fn a_broken_script_breaks_nothing_else() {
        let mut sent = b"gainsay_group=1\n".to_vec();
        sent.extend(quick("if then fi '", b"", "A1"));
        sent.extend(quick("cd /tmp; x=1", b"", "A2"));
        sent.extend(quick("echo ${x-unset}", b"", "A3"));
        let (stdout, stderr) = sh(&["-s"], &sent);
        assert_eq!(stdout, b"A1\nA1\nA2\nA2\nA3\nunset\nA3\n");
        assert!(String::from_utf8(stderr).unwrap().contains("A1 2\n"));
    }
}
