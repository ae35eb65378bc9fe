//! Files under an address, held to a sum: one that is known, or the one that their vendor publishes beside them.
//!
//! A published sum comes from where the file comes from. It finds what was damaged or cut off on the way; that it is the vendor who
//! sends both is the matter of `https`, which curl sees to.

use std::fs;
use std::path::{Path, PathBuf};

use sha1::Sha1;
use sha2::{Sha256, Sha512};
use tokio::process::Command;

use super::tool::Tool;
use super::unpack::place;
use super::{KitError, aside, digest, here};

/// How long an address may take until it answers, in seconds.
const CONNECT_LIMIT: &str = "15";
/// A download that brings less than this many bytes a second…
const SLOWEST: &str = "1000";
/// …for so many seconds is given up.
const SLOW_FOR: &str = "60";

/// How many hexadecimal digits a sum has tells which kind it is.
const SHA1_DIGITS: usize = 40;
const SHA256_DIGITS: usize = 64;
const SHA512_DIGITS: usize = 128;

/// What a file is held to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Checksum {
    /// Its SHA-256, in hexadecimal digits.
    Known(String),
    /// The address of a file that has its SHA-1, SHA-256 or SHA-512, as `sha256sum` writes it, among others' or alone.
    Published(String),
}

/// Gets a file, holds it to its sum, and puts what is in it into a folder.
pub(super) async fn download(
    url: &str,
    checksum: &Checksum,
    scratch: &Path,
    into: &Path,
) -> Result<(), KitError> {
    let name = name_of(url);
    let (sum, said_by) = match checksum {
        Checksum::Known(sum) => (sum.to_ascii_lowercase(), None),
        Checksum::Published(address) => {
            let file = fetch(address, scratch, "sums").await?;
            let text = fs::read(&file).map_err(|error| here("reading", &file, error))?;
            let sum = sum_of(&String::from_utf8_lossy(&text), name);
            let sum = sum.ok_or_else(|| KitError::Tool {
                what: url.to_owned(),
                said: format!("there is no sum of {name} in {address}"),
                hint: "give a file that you have with --package",
            })?;
            (sum, Some(address))
        }
    };
    tracing::info!("fetching {url}");
    let file = fetch(url, scratch, name).await?;
    let (read, digits) = (file.clone(), sum.len());
    let is = aside(move || match digits {
        SHA1_DIGITS => digest::<Sha1>(&read),
        SHA256_DIGITS => digest::<Sha256>(&read),
        _ => digest::<Sha512>(&read),
    });
    let is = is.await.map_err(|error| here("reading", &file, error))?;
    if is != sum {
        let by = said_by.map_or_else(String::new, |address| format!(" as {address} says"));
        return Err(KitError::Tool {
            what: url.to_owned(),
            said: format!("its sum is {is}, not {sum}{by}"),
            hint: "somebody sends something else than what is known under this address; nothing of it was used",
        });
    }
    place(&file, into).await
}

/// What a file is called by the end of its address.
fn name_of(url: &str) -> &str {
    let name = url.rsplit('/').next().filter(|name| !name.is_empty());
    name.unwrap_or("download")
}

async fn fetch(url: &str, folder: &Path, name: &str) -> Result<PathBuf, KitError> {
    let file = folder.join(name);
    let mut curl = Command::new("curl");
    curl.args(["--fail", "--location", "--silent", "--show-error"])
        .args(["--connect-timeout", CONNECT_LIMIT])
        .args(["--speed-limit", SLOWEST, "--speed-time", SLOW_FOR]);
    if url.starts_with("https:") {
        // Nobody is to lead it to where it could be changed on the way.
        curl.args(["--proto-redir", "=https"]);
    }
    curl.arg("--output").args([file.as_os_str(), url.as_ref()]);
    let tool = Tool {
        what: url.to_owned(),
        folder,
        absent: "install curl",
        failed: "does this machine reach that address? or give a file that you have with --package",
    };
    tool.run(curl).await?;
    Ok(file)
}

/// The sum of a file in a list of sums, or the only one there is, if it has no name.
fn sum_of(text: &str, name: &str) -> Option<String> {
    let sums = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let sum = words.next()?;
        let is_sum = [SHA1_DIGITS, SHA256_DIGITS, SHA512_DIGITS].contains(&sum.len())
            && sum.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_sum.then(|| (sum.to_ascii_lowercase(), words.next()))
    });
    let sums: Vec<_> = sums.collect();
    // A star before a name says that the file was read as it is; some name it by where it was.
    let is_it = |file: &str| name_of(file.trim_start_matches('*')) == name;
    match &sums[..] {
        [(sum, None)] => Some(sum.clone()),
        all => all
            .iter()
            .find(|(_, file)| file.is_some_and(is_it))
            .map(|(sum, _)| sum.clone()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::super::Source;
    use super::*;

    /// Serves files to whoever asks for them, until the test ends; its address.
    async fn serve(files: BTreeMap<&'static str, Vec<u8>>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut asked = [0; 1024];
                let read = stream.read(&mut asked).await.unwrap();
                let asked = String::from_utf8_lossy(&asked[..read]);
                let path = asked.split_whitespace().nth(1).unwrap_or_default();
                let file = files.get(path.trim_start_matches('/'));
                let head = match file {
                    Some(file) => {
                        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", file.len())
                    }
                    None => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
                };
                let body = file.map_or(&[][..], |file| file);
                let answer = [head.as_bytes(), body].concat();
                stream.write_all(&answer).await.unwrap();
            }
        });
        address
    }

    /// An archive with a program in it.
    fn archive(folder: &Path) -> Vec<u8> {
        let made = folder.join("etcd-v1");
        fs::create_dir(&made).unwrap();
        fs::write(made.join("etcd"), "program").unwrap();
        let archive = folder.join("made.tar.gz");
        let mut tar = std::process::Command::new("tar");
        tar.arg("-czf").arg(&archive).arg("-C").arg(folder);
        assert!(tar.arg("etcd-v1").status().unwrap().success());
        fs::read(&archive).unwrap()
    }

    async fn get(url: String, checksum: Checksum) -> Result<Vec<u8>, String> {
        let folder = tempfile::tempdir().unwrap();
        let into = folder.path().join("into");
        let source = Source::Url { url, checksum };
        let got = source.get(&into).await;
        let program = fs::read(into.join("etcd-v1/etcd"));
        // Nothing of what is refused is there.
        assert_eq!(got.is_ok(), program.is_ok());
        got.map_err(|error| error.to_string())
            .map(|()| program.unwrap())
    }

    #[tokio::test]
    async fn archives_are_fetched_and_held_to_their_sum() {
        let folder = tempfile::tempdir().unwrap();
        let content = archive(folder.path());
        let made = folder.path().join("made.tar.gz");
        let sums = [
            digest::<Sha1>(&made).unwrap(),
            digest::<Sha256>(&made).unwrap(),
            digest::<Sha512>(&made).unwrap(),
        ];
        let other = "0".repeat(SHA256_DIGITS);
        let files = BTreeMap::from([
            ("etcd.tar.gz", content),
            ("sha1.txt", sums[0].clone().into_bytes()),
            (
                "SHA256SUMS",
                format!("{other}  other.tar.gz\n{}  etcd.tar.gz\n", sums[1]).into_bytes(),
            ),
            (
                "sha512",
                format!("{}  etcd.tar.gz\n", sums[2].to_uppercase()).into_bytes(),
            ),
            ("wrong", format!("{other} *etcd.tar.gz\n").into_bytes()),
            ("others", format!("{other}  other.tar.gz\n").into_bytes()),
            ("page", b"<html>".to_vec()),
        ]);
        let address = serve(files).await;
        let etcd = || format!("{address}/etcd.tar.gz");
        let published = |name: &str| Checksum::Published(format!("{address}/{name}"));

        let known = Checksum::Known(sums[1].to_uppercase());
        assert_eq!(get(etcd(), known.clone()).await.unwrap(), b"program");
        for list in ["sha1.txt", "SHA256SUMS", "sha512"] {
            assert_eq!(
                get(etcd(), published(list)).await.unwrap(),
                b"program",
                "{list}"
            );
        }
        // Another sum.
        let error = get(etcd(), Checksum::Known(other.clone()))
            .await
            .unwrap_err();
        assert!(
            error.contains(&sums[1]) && error.contains(&other),
            "{error}"
        );
        let error = get(etcd(), published("wrong")).await.unwrap_err();
        assert!(
            error.contains(&sums[1]) && error.contains("/wrong says"),
            "{error}"
        );
        // None at all, or nothing there.
        for list in ["others", "page"] {
            let error = get(etcd(), published(list)).await.unwrap_err();
            assert!(
                error.contains("there is no sum of etcd.tar.gz in"),
                "{error}"
            );
        }
        let error = get(etcd(), published("none")).await.unwrap_err();
        assert!(error.contains("404") && error.contains("/none"), "{error}");
        let error = get(format!("{address}/none.tar.gz"), known)
            .await
            .unwrap_err();
        assert!(error.contains("404"), "{error}");
    }

    #[test]
    fn sums_are_found_as_vendors_write_them() {
        let sum = "Ab".repeat(32);
        let found = Some("ab".repeat(32));
        for text in [
            format!("{sum}  a.tgz"),
            format!("{sum} *a.tgz\r\n"),
            format!("{sum}  ./release/a.tgz\n"),
            format!("{sum}\n"),
            format!("### SHA256SUMS\n{}  b.tgz\n{sum}  a.tgz\n", "0".repeat(64)),
        ] {
            assert_eq!(sum_of(&text, "a.tgz"), found, "{text}");
        }
        for text in [
            format!("{sum}  b.tgz"),
            format!("{sum}\n{sum}\n"),
            "abc".to_owned(),
        ] {
            assert_eq!(sum_of(&text, "a.tgz"), None, "{text}");
        }
    }
}
