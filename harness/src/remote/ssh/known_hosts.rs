//! Known-hosts files: is this server who it was the last time?
//!
//! `libssh2` hashes names and compares keys; we go line by line, so that a message can name the
//! file and the line, and so that patterns and `@revoked` markers, which it lacks, are honoured.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ssh2::{CheckResult, KnownHostFileKind, Session};

/// Host key algorithms, best first, without certificates (which are not supported).
const ALGORITHMS: [&str; 7] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
    "ssh-rsa",
];

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: PathBuf,
    pub(super) line: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// What the files say of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the host's.
    Known,
    /// The host is not in any file.
    Unknown,
    /// The host had another key.
    Changed(Place),
    /// The key was revoked.
    Revoked(Place),
}

struct Entry {
    place: Place,
    revoked: bool,
    hosts: String,
    algorithm: String,
    key: String,
}

/// The entries of all files, in order.
pub(super) struct KnownHosts {
    entries: Vec<Entry>,
}

impl KnownHosts {
    /// Reads the files; those that do not exist are empty.
    pub(super) fn read(files: &[PathBuf]) -> KnownHosts {
        let entries = files.iter().flat_map(|file| {
            let text = fs::read(file).unwrap_or_default();
            parse(&String::from_utf8_lossy(&text), file)
        });
        KnownHosts {
            entries: entries.collect(),
        }
    }

    /// The one key that is accepted, whatever the host: `ssh-ed25519 AAAA…`.
    pub(super) fn exactly(key: &str) -> KnownHosts {
        KnownHosts {
            entries: parse(&format!("* {key}"), Path::new("expected host key")),
        }
    }

    /// Whether there is no entry at all.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The host key algorithms to ask for: those of the keys that are known first, or else a server
    /// with several keys might show one that we cannot judge.
    pub(super) fn algorithms(&self, session: &Session, host: &str, port: u16) -> String {
        let names = names(host, port);
        let known: Vec<&str> = self
            .entries
            .iter()
            .filter(|entry| names.iter().any(|name| entry.check(session, name, b"?").0))
            .map(|entry| entry.algorithm.as_str())
            .collect();
        let is_known = |algorithm: &&str| match *algorithm {
            "rsa-sha2-512" | "rsa-sha2-256" => known.contains(&"ssh-rsa"),
            other => known.contains(&other),
        };
        let (first, then): (Vec<&str>, Vec<&str>) = ALGORITHMS.into_iter().partition(is_known);
        [first, then].concat().join(",")
    }

    /// Judges a key.
    pub(super) fn judge(&self, session: &Session, host: &str, port: u16, key: &[u8]) -> Verdict {
        let names = names(host, port);
        let mut verdict = Verdict::Unknown;
        for entry in &self.entries {
            for (at, name) in names.iter().enumerate() {
                let (host_matches, key_matches) = entry.check(session, name, key);
                match (host_matches, key_matches, entry.revoked) {
                    (true, true, true) => return Verdict::Revoked(entry.place.clone()),
                    (true, true, false) => verdict = Verdict::Known,
                    // A key for the host's usual port says nothing about another port.
                    (true, false, false) if at == 0 && verdict == Verdict::Unknown => {
                        verdict = Verdict::Changed(entry.place.clone());
                    }
                    _ => {}
                }
            }
        }
        verdict
    }
}

/// The names under which a host may be listed: the exact one first.
fn names(host: &str, port: u16) -> Vec<String> {
    let host = host.to_ascii_lowercase();
    if port == 22 {
        vec![host]
    } else {
        vec![format!("[{host}]:{port}"), host]
    }
}

fn parse(text: &str, file: &Path) -> Vec<Entry> {
    let entry = |(number, line): (usize, &str)| {
        let mut words = line.split_ascii_whitespace().peekable();
        let marker = words.next_if(|word| word.starts_with('@'));
        let hosts = words.next().filter(|word| !word.starts_with('#'))?;
        let (algorithm, key) = (words.next()?, words.next()?);
        matches!(marker, None | Some("@revoked")).then(|| Entry {
            place: Place {
                file: file.to_owned(),
                line: number + 1,
            },
            revoked: marker.is_some(),
            hosts: hosts.to_owned(),
            algorithm: algorithm.to_owned(),
            key: key.to_owned(),
        })
    };
    text.lines().enumerate().filter_map(entry).collect()
}

impl Entry {
    /// Whether the host is meant, and whether the key is the same.
    fn check(&self, session: &Session, name: &str, key: &[u8]) -> (bool, bool) {
        let hashed = self.hosts.starts_with('|');
        if !hashed && !matches_list(&self.hosts, name) {
            return (false, false);
        }
        let hosts = if hashed { &self.hosts } else { name };
        let line = format!("{hosts} {} {}", self.algorithm, self.key);
        let Ok(mut known) = session.known_hosts() else {
            return (!hashed, false);
        };
        if known.read_str(&line, KnownHostFileKind::OpenSSH).is_err() {
            return (!hashed, false); // a kind of key that libssh2 does not know
        }
        match known.check(name, key) {
            CheckResult::Match => (true, true),
            CheckResult::Mismatch => (true, false),
            CheckResult::NotFound | CheckResult::Failure => (!hashed, false),
        }
    }
}

/// A list of patterns as OpenSSH has them: `*`, `?`, and `!` for exceptions.
fn matches_list(list: &str, name: &str) -> bool {
    let mut matched = false;
    for pattern in list.split(',') {
        match pattern.strip_prefix('!') {
            Some(exception) if glob(exception, name) => return false,
            Some(_) => {}
            None => matched |= glob(pattern, name),
        }
    }
    matched
}

fn glob(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.to_ascii_lowercase().into_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                p = at + 1;
                n = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// Adds a key to a known-hosts file, which is created if need be.
pub(super) fn remember(
    session: &Session,
    file: &Path,
    host: &str,
    port: u16,
    key: &[u8],
    kind: ssh2::HostKeyType,
) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let name = names(host, port).remove(0);
    let mut known = session.known_hosts().map_err(|error| failed(&error))?;
    known
        .add(&name, key, "", kind.into())
        .map_err(|error| failed(&error))?;
    let hosts = known.hosts().map_err(|error| failed(&error))?;
    let entry = hosts.first().ok_or_else(|| failed(&"no entry"))?;
    let line = known
        .write_string(entry, KnownHostFileKind::OpenSSH)
        .map_err(|error| failed(&error))?;
    if let Some(folder) = file.parent() {
        let mut builder = fs::DirBuilder::new();
        let _ = builder.recursive(true).mode(0o700).create(folder); // opening says what is wrong
    }
    let mut options = fs::OpenOptions::new();
    let opened = options.create(true).append(true).mode(0o600).open(file);
    let line = format!("{}\n", line.trim_end());
    opened
        .and_then(|mut open| open.write_all(line.as_bytes()))
        .map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        assert!(matches_list("a.b,*.example.org", "n1.example.org"));
        assert!(!matches_list("*.example.org,!n1.*", "n1.example.org"));
        assert!(matches_list("[10.0.0.?]:2222", "[10.0.0.7]:2222"));
        assert!(!matches_list("n1", "n10"));
        assert!(glob("*", "anything") && glob("a*c*e", "abcde") && !glob("a*d", "abc"));
    }

    #[test]
    fn lines() {
        let text = "# comment\n\nn1 ssh-ed25519 AAAA me\n@revoked * ssh-rsa BBBB\n\
                    @cert-authority * ssh-rsa CCCC\nbroken\n";
        let entries = parse(text, Path::new("f"));
        let seen: Vec<_> = entries
            .iter()
            .map(|entry| (entry.place.line, entry.revoked, entry.hosts.as_str()))
            .collect();
        assert_eq!(seen, [(3, false, "n1"), (4, true, "*")]);
    }
}
