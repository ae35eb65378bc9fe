//! The package sources of this machine, as the nodes' base system is built from them.
//!
//! Only the distribution's own entries are taken (the release and its updates and security
//! suites): a vendor's repository that this machine happens to have would make the nodes differ from
//! everybody else's, and one that is out of order would spoil the build. They are normalised to
//! deb822, the one of apt's two formats that can express everything (keys in line, for one).

use std::fs;
use std::path::{Path, PathBuf};

use super::error::{Doing, LocalError};

/// Suites that name a release by its role rather than by its code name.
const ROLES: [&str; 6] = [
    "stable",
    "testing",
    "unstable",
    "sid",
    "oldstable",
    "oldoldstable",
];

/// Where base systems come from.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sources {
    /// The distribution, such as `debian`.
    pub(super) distribution: String,
    /// The suite to build, such as `bookworm`.
    pub(super) release: String,
    /// Where the release itself comes from: the first address of its entry.
    pub(super) mirror: String,
    /// The entries, in deb822 format.
    pub(super) deb822: String,
}

/// Reads the package sources under a root directory (`/`, except in tests).
pub(super) fn read(root: &Path) -> Result<Sources, LocalError> {
    let os_release = fs::read_to_string(root.join("etc/os-release")).unwrap_or_default();
    let told = |what: &str| {
        let mut lines = os_release.lines();
        let value = lines.find_map(|line| line.strip_prefix(what))?;
        Some(value.trim_matches('"').to_owned())
    };
    let codename = told("VERSION_CODENAME=");
    let stanzas = read_stanzas(root)?;
    let release = codename
        .into_iter()
        .chain(ROLES.map(str::to_owned))
        .find(|suite| stanzas.iter().any(|stanza| stanza.serves(suite)))
        .ok_or_else(|| {
            LocalError::Sources(
                "no entry for this machine's own release with component main in /etc/apt/sources.list or \
                 /etc/apt/sources.list.d\n  hint: the nodes' base system is built from this machine's \
                 Debian (or Ubuntu) sources; `apt-get update` must work here"
                    .into(),
            )
        })?;
    let kept = stanzas
        .into_iter()
        .filter_map(|stanza| stanza.restricted_to(&release));
    let kept: Vec<Stanza> = kept.collect();
    let mirror = kept.iter().find(|stanza| stanza.serves(&release));
    let mirror = mirror.and_then(|stanza| stanza.words("URIs").next());
    let mirror = mirror.unwrap_or_default().to_owned();
    let deb822 = kept
        .iter()
        .map(Stanza::to_string)
        .collect::<Vec<_>>()
        .join("\n");
    Ok(Sources {
        distribution: told("ID=").unwrap_or_default(),
        release,
        mirror,
        deb822,
    })
}

/// All enabled entries for binary packages, in apt's order: the main file, then the parts by name.
fn read_stanzas(root: &Path) -> Result<Vec<Stanza>, LocalError> {
    let apt = root.join("etc/apt");
    let mut files = vec![apt.join("sources.list")];
    let mut parts: Vec<PathBuf> = match fs::read_dir(apt.join("sources.list.d")) {
        Ok(entries) => entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect(),
        Err(_) => Vec::new(),
    };
    parts.sort();
    files.extend(parts);
    let mut stanzas = Vec::new();
    for file in files {
        let parse: fn(&str) -> Vec<Stanza> = match file.extension().and_then(|e| e.to_str()) {
            Some("list") => parse_lines,
            Some("sources") => parse_deb822,
            _ => continue,
        };
        if file.exists() {
            let text = fs::read_to_string(&file).doing(|| format!("reading {}", file.display()))?;
            stanzas.extend(parse(&text));
        }
    }
    Ok(stanzas)
}

/// One entry: its fields in order. A value may go on over several lines, kept as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stanza(Vec<(String, String)>);

impl Stanza {
    fn get(&self, field: &str) -> Option<&str> {
        let found = self
            .0
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(field));
        found.map(|(_, value)| value.as_str())
    }

    fn words(&self, field: &str) -> impl Iterator<Item = &str> {
        self.get(field).unwrap_or_default().split_whitespace()
    }

    fn set(&mut self, field: &str, value: &str) {
        self.0.retain(|(name, _)| !name.eq_ignore_ascii_case(field));
        self.0.push((field.to_owned(), value.to_owned()));
    }

    fn usable(&self) -> bool {
        let enabled = self
            .get("Enabled")
            .is_none_or(|value| !value.eq_ignore_ascii_case("no"));
        let optical = self.words("URIs").any(|uri| uri.starts_with("cdrom:"));
        enabled && !optical && self.words("Types").any(|kind| kind == "deb")
    }

    fn serves(&self, suite: &str) -> bool {
        self.words("Suites").any(|word| word == suite)
            && self.words("Components").any(|word| word == "main")
    }

    /// The entry without the suites that are not of this release.
    fn restricted_to(mut self, release: &str) -> Option<Stanza> {
        if !self.words("Components").any(|word| word == "main") {
            return None;
        }
        let belongs = |suite: &&str| {
            suite
                .strip_prefix(release)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '/']))
        };
        let suites: Vec<&str> = self.words("Suites").filter(belongs).collect();
        if suites.is_empty() {
            return None;
        }
        let suites = suites.join(" ");
        self.set("Types", "deb");
        self.set("Suites", &suites);
        Some(self)
    }
}

impl std::fmt::Display for Stanza {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0
            .iter()
            .try_for_each(|(name, value)| writeln!(f, "{name}: {value}"))
    }
}

fn parse_deb822(text: &str) -> Vec<Stanza> {
    let mut stanzas = vec![Stanza(Vec::new())];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if line.trim().is_empty() {
            stanzas.push(Stanza(Vec::new()));
            continue;
        }
        let Some(Stanza(fields)) = stanzas.last_mut() else {
            continue;
        };
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push('\n');
                value.push_str(line);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    stanzas.retain(Stanza::usable);
    stanzas
}

fn parse_lines(text: &str) -> Vec<Stanza> {
    text.lines()
        .filter_map(parse_line)
        .filter(Stanza::usable)
        .collect()
}

/// `deb [option=value …] uri suite component…`
fn parse_line(line: &str) -> Option<Stanza> {
    let line = line.split('#').next()?.trim();
    let (kind, rest) = line.split_once(char::is_whitespace)?;
    let rest = rest.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let (uri, suite) = (words.next()?, words.next()?);
    let mut stanza = Stanza(vec![
        ("Types".into(), kind.into()),
        ("URIs".into(), uri.into()),
        ("Suites".into(), suite.into()),
        ("Components".into(), words.collect::<Vec<_>>().join(" ")),
    ]);
    for (name, value) in options
        .split_whitespace()
        .filter_map(|option| option.split_once('='))
    {
        // The two formats name these three differently; all other options have one name.
        let field = match name {
            "arch" => "Architectures",
            "lang" => "Languages",
            "target" => "Targets",
            other => other,
        };
        stanza.set(field, &value.replace(',', " "));
    }
    Some(stanza)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    const BOOKWORM: (&str, &str) = ("etc/os-release", "ID=debian\nVERSION_CODENAME=bookworm\n");

    #[test]
    fn one_line_entries() {
        let root = root(&[
            BOOKWORM,
            (
                "etc/apt/sources.list",
                "# comment\n\
                 deb http://deb.debian.org/debian bookworm main contrib # why\n\
                 deb-src http://deb.debian.org/debian bookworm main\n\
                 deb cdrom:[Debian]/ bookworm main\n\
                 deb [ arch=amd64,i386 signed-by=/k.gpg ] http://security.example bookworm-security main\n\
                 deb http://other.example bookwormish main\n",
            ),
            (
                "etc/apt/sources.list.d/docker.list",
                "deb https://docker.example bookworm stable\n",
            ),
            (
                "etc/apt/sources.list.d/off.list.disabled",
                "deb http://x bookworm main\n",
            ),
        ]);
        let sources = read(root.path()).unwrap();
        assert_eq!(sources.distribution, "debian");
        assert_eq!(sources.release, "bookworm");
        assert_eq!(sources.mirror, "http://deb.debian.org/debian");
        assert_eq!(
            sources.deb822,
            "URIs: http://deb.debian.org/debian\nComponents: main contrib\nTypes: deb\nSuites: bookworm\n\n\
             URIs: http://security.example\nComponents: main\nArchitectures: amd64 i386\n\
             signed-by: /k.gpg\nTypes: deb\nSuites: bookworm-security\n"
        );
    }

    #[test]
    fn deb822_entries_with_a_key_in_line() {
        let text = "Types: deb deb-src\n# comment\nURIs: http://a\nSuites: bookworm bookworm-updates other\n\
                    Components: main\nSigned-By:\n -----BEGIN\n .\n abc\n\n\
                    Enabled: no\nTypes: deb\nURIs: http://b\nSuites: bookworm\nComponents: main\n";
        let root = root(&[BOOKWORM, ("etc/apt/sources.list.d/debian.sources", text)]);
        assert_eq!(
            read(root.path()).unwrap().deb822,
            "URIs: http://a\nComponents: main\nSigned-By: \n -----BEGIN\n .\n abc\n\
             Types: deb\nSuites: bookworm bookworm-updates\n"
        );
    }

    #[test]
    fn a_release_named_by_its_role() {
        let root = root(&[
            BOOKWORM,
            (
                "etc/apt/sources.list",
                "deb http://a stable main\ndeb http://a stable/updates main",
            ),
        ]);
        let sources = read(root.path()).unwrap();
        assert_eq!(sources.release, "stable");
        assert!(sources.deb822.contains("stable/updates"));
    }

    #[test]
    fn no_sources_is_an_error_that_helps() {
        let root = root(&[
            BOOKWORM,
            ("etc/apt/sources.list", "deb http://a trixie main\n"),
        ]);
        assert!(read(root.path()).unwrap_err().to_string().contains("hint"));
    }
}
