//! Programs and archives of the user's own: files on this machine, or under an address with its sum.

use std::fmt;
use std::path::PathBuf;

use super::{Checksum, Source, here, sum};
use crate::options::{OptionKind, OptionSpec, Options};

/// The option that names one.
const PACKAGE: &str = "package";
/// Between an address and its sum.
const SUM: &str = "#sha256=";
/// How many digits of a sum name a file.
const NAMING: usize = 12;

/// A file that `--package` or `--version` names, and what names its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnFile {
    /// What the user wrote.
    text: String,
    source: Source,
    /// The first digits of its sum: `file-ba7816bf8f01`. So another file is another version.
    pub name: String,
}

impl OwnFile {
    /// The option `--package`.
    pub fn option() -> OptionSpec {
        OptionSpec::new(
            PACKAGE,
            OptionKind::Text,
            None,
            "A program or archive of your own, instead of a known version: a file on this machine, or ADDRESS#sha256=SUM for \
             one that is fetched (http or https; SUM in hexadecimal digits)",
        )
    }

    /// What a suite is to take: the file of `--package`, with a slash in it, or else what the option called `version` says.
    pub fn or_version(options: &Options, version: &str) -> String {
        match options.text_if(PACKAGE) {
            Some(file) if file.contains('/') => file.to_owned(),
            Some(file) => format!("./{file}"),
            None => options.text(version).to_owned(),
        }
    }

    /// Reads what the user wrote, if it is a path or an address: it has a slash in it.
    ///
    /// # Errors
    /// If the file cannot be read, or the address is without a sum.
    pub fn read(text: &str) -> Result<Option<OwnFile>, String> {
        if !text.contains('/') {
            return Ok(None);
        }
        let (source, sum) = match text.starts_with("http://") || text.starts_with("https://") {
            true => address(text)?,
            false => {
                let file = PathBuf::from(text);
                let sum = sum(&file).map_err(|error| here("reading", &file, error).to_string())?;
                (Source::File(file), sum)
            }
        };
        Ok(Some(OwnFile {
            text: text.to_owned(),
            source,
            name: format!("file-{}", &sum[..NAMING]),
        }))
    }

    /// As where something comes from.
    pub fn source(&self) -> Source {
        self.source.clone()
    }
}

/// An address with a sum.
fn address(text: &str) -> Result<(Source, String), String> {
    let parts = text.split_once(SUM);
    let is_sum = |sum: &str| sum.len() == 64 && sum.bytes().all(|byte| byte.is_ascii_hexdigit());
    match parts.filter(|(_, sum)| is_sum(sum)) {
        Some((url, sum)) => {
            let sum = sum.to_ascii_lowercase();
            let source = Source::Url {
                url: url.to_owned(),
                checksum: Checksum::Known(sum.clone()),
            };
            Ok((source, sum))
        }
        None => Err(format!(
            "`{text}`: an address needs the sum of what is there: ADDRESS{SUM} and 64 hexadecimal digits"
        )),
    }
}

impl fmt::Display for OwnFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use super::*;
    use crate::options::OptionValue;

    #[test]
    fn files_and_addresses_are_told_from_versions() {
        assert_eq!(OwnFile::read("3.5.2"), Ok(None));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        std::fs::write(&file, "abc").unwrap();
        let own = OwnFile::read(file.to_str().unwrap()).unwrap().unwrap();
        assert_eq!(own.name, "file-ba7816bf8f01");
        assert_eq!(own.source(), Source::File(file));
        let sum = "BA7816BF".repeat(8);
        let text = format!("https://host/a.tar.gz#sha256={sum}");
        let own = OwnFile::read(&text).unwrap().unwrap();
        assert_eq!(own.name, "file-ba7816bfba78");
        assert_eq!(own.to_string(), text);
        assert_eq!(own.source().describe(), "https://host/a.tar.gz");
        for wrong in [
            "/nonexistent/file",
            "https://host/a.tar.gz",
            "https://host/a.tar.gz#sha256=abc",
        ] {
            assert!(OwnFile::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_package_comes_before_a_version() {
        let text = |text: &str| OptionValue::Text(text.to_owned());
        let mut options = BTreeMap::from([("version".to_owned(), text("3.5.2"))]);
        let asked = |options: &BTreeMap<String, OptionValue>| {
            OwnFile::or_version(&Options(options.clone()), "version")
        };
        assert_eq!(asked(&options), "3.5.2");
        options.insert(PACKAGE.to_owned(), text("etcd.tar.gz"));
        assert_eq!(asked(&options), "./etcd.tar.gz");
        options.insert(PACKAGE.to_owned(), text("/tmp/etcd"));
        assert_eq!(asked(&options), "/tmp/etcd");
    }
}
