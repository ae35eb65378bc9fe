//! Where files of a system come from, and how each kind is got.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use harness::local;
use tokio::process::Command;

use super::tool::Tool;
use super::unpack::{place, unpack};
use super::{GoProgram, KitError, here, sum};

/// Where files come from. Each is got with the ordinary client of its kind, as this machine is set up for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A program of a Go module, built on this machine.
    Go(GoProgram),
    /// A file on this machine: unpacked if it is an archive, else as it is.
    File(PathBuf),
    /// A file of the vendor's: unpacked if it is an archive, else as it is.
    Url {
        /// Its address.
        url: String,
        /// Its SHA-256, in hexadecimal digits.
        sha256: String,
    },
    /// A wheel, unpacked. Others that it asks for are not got.
    Wheel {
        /// The package.
        package: String,
        /// Its version.
        version: String,
    },
    /// A Maven artefact: unpacked if it is a zip, else as it is.
    Maven {
        /// `group:artefact:version`, or `group:artefact:extension:version`.
        artifact: String,
        /// Whether what it needs at run time is got, too.
        dependencies: bool,
    },
    /// A package of a release of Debian, unpacked and not installed.
    Debian {
        /// The release, such as `bullseye`.
        release: String,
        /// The package.
        package: String,
    },
}

impl Source {
    /// What it is, in words.
    pub fn describe(&self) -> String {
        match self {
            Source::Go(program) => format!("the Go module {} {}", program.module, program.version),
            Source::File(file) => format!("the file {}", file.display()),
            Source::Url { url, .. } => url.clone(),
            Source::Wheel { package, version } => format!("the Python wheel {package} {version}"),
            Source::Maven { artifact, .. } => format!("the Maven artefact {artifact}"),
            Source::Debian { release, package } => format!("Debian {release}'s package {package}"),
        }
    }

    /// Gets the files into a folder.
    pub(super) async fn get(&self, into: &Path) -> Result<(), KitError> {
        fs::create_dir_all(into).map_err(|error| here("making", into, error))?;
        let beside = into.parent().unwrap_or(into);
        let scratch =
            tempfile::tempdir_in(beside).map_err(|error| here("writing to", beside, error))?;
        let scratch = scratch.path();
        match self {
            Source::Go(program) => program.build(scratch, into).await,
            Source::File(file) => local_file(file, into).await,
            Source::Url { url, sha256 } => download(url, sha256, scratch, into).await,
            Source::Wheel { package, version } => wheel(package, version, scratch, into).await,
            Source::Maven {
                artifact,
                dependencies,
            } => maven(artifact, *dependencies, scratch, into).await,
            Source::Debian { release, package } => debian(release, package, scratch, into).await,
        }
    }
}

async fn local_file(file: &Path, into: &Path) -> Result<(), KitError> {
    let missing = |error| KitError::Here {
        doing: format!("looking at {}", file.display()),
        error,
        hint: "give the path of a program for the nodes' architecture, or of an archive",
    };
    let meta = fs::metadata(file).map_err(missing)?;
    match meta.is_file() {
        true => place(file, into).await,
        false => Err(missing(io::ErrorKind::IsADirectory.into())),
    }
}

async fn download(url: &str, sha256: &str, scratch: &Path, into: &Path) -> Result<(), KitError> {
    let name = url.rsplit('/').next().filter(|name| !name.is_empty());
    let file = scratch.join(name.unwrap_or("download"));
    let mut curl = Command::new("curl");
    curl.args([
        "--fail",
        "--location",
        "--silent",
        "--show-error",
        "--output",
    ])
    .args([file.as_os_str(), url.as_ref()]);
    let tool = Tool {
        what: url.to_owned(),
        folder: scratch,
        absent: "install curl",
        failed: "does this machine reach that address? or give a file that you have with --package",
    };
    tool.run(curl).await?;
    let is = sum(&file).map_err(|error| here("reading", &file, error))?;
    if is != sha256.to_ascii_lowercase() {
        return Err(KitError::Tool {
            what: url.to_owned(),
            said: format!("its SHA-256 is {is}, not {sha256}"),
            hint: "somebody sends something else than what is known under this address; nothing of it was used",
        });
    }
    place(&file, into).await
}

async fn wheel(package: &str, version: &str, scratch: &Path, into: &Path) -> Result<(), KitError> {
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--quiet",
        "--dest",
    ])
    .args([
        scratch.as_os_str(),
        format!("{package}=={version}").as_ref(),
    ]);
    let tool = Tool {
        what: format!("Python wheel {package} {version}"),
        folder: scratch,
        absent: "install Python with pip (Debian: python3-pip)",
        failed: "is pip there (Debian: python3-pip)? does it reach its index? a wheel is for one architecture and kind of system",
    };
    tool.run(pip).await?;
    for file in files_of(scratch)? {
        unpack(&file, into).await?;
    }
    Ok(())
}

async fn maven(
    artifact: &str,
    dependencies: bool,
    scratch: &Path,
    into: &Path,
) -> Result<(), KitError> {
    let tool = Tool {
        what: format!("Maven artefact {artifact}"),
        folder: scratch,
        absent: "install Maven (Debian: maven)",
        failed: "is there such a version? does mvn reach its repository (~/.m2/settings.xml)?",
    };
    let parts: Vec<&str> = artifact.split(':').collect();
    let (group, name, extension, version) = match parts[..] {
        [group, name, version] => (group, name, "jar", version),
        [group, name, extension, version] => (group, name, extension, version),
        _ => {
            return Err(KitError::Tool {
                what: tool.what,
                said: "it is neither group:artefact:version nor group:artefact:extension:version"
                    .to_owned(),
                hint: "this is a mistake of the suite",
            });
        }
    };
    let got = scratch.join("got");
    fs::create_dir(&got).map_err(|error| here("making", &got, error))?;
    let mut mvn = Command::new("mvn");
    mvn.args(["--quiet", "--batch-mode"]);
    let to = format!("-DoutputDirectory={}", got.display());
    if dependencies {
        let pom = format!(
            "<project><modelVersion>4.0.0</modelVersion><groupId>gainsay</groupId><artifactId>get</artifactId><version>1</version>\
             <dependencies><dependency><groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version>\
             <type>{extension}</type></dependency></dependencies></project>"
        );
        let file = scratch.join("pom.xml");
        fs::write(&file, pom).map_err(|error| here("writing", &file, error))?;
        mvn.args([
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
            &to,
        ]);
    } else {
        let coordinates = format!("-Dartifact={group}:{name}:{version}:{extension}");
        mvn.args(["dependency:copy", &coordinates, &to]);
    }
    tool.run(mvn).await?;
    for file in files_of(&got)? {
        match file.extension().is_some_and(|extension| extension == "zip") {
            true => unpack(&file, into).await?,
            false => move_into(&file, into)?,
        }
    }
    Ok(())
}

async fn debian(release: &str, package: &str, scratch: &Path, into: &Path) -> Result<(), KitError> {
    let mirror = local::mirror().map_err(|error| KitError::Tool {
        what: format!("Debian {release}'s {package}"),
        said: error.to_string(),
        hint: "this machine's own Debian mirror is where other releases are looked for",
    })?;
    let list = scratch.join("sources.list");
    let entry = format!(
        "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {mirror} {release} main\n"
    );
    fs::write(&list, entry).map_err(|error| here("writing", &list, error))?;
    for folder in ["lists/partial", "cache/archives/partial", "got"] {
        fs::create_dir_all(scratch.join(folder)).map_err(|error| here("making", scratch, error))?;
    }
    let got = scratch.join("got");
    let apt = || {
        let mut apt = Command::new("apt-get");
        let settings = [
            ("Dir::Etc::sourcelist", list.display().to_string()),
            ("Dir::Etc::sourceparts", "-".to_owned()),
            (
                "Dir::State::lists",
                scratch.join("lists").display().to_string(),
            ),
            ("Dir::State::status", "/dev/null".to_owned()),
            ("Dir::Cache", scratch.join("cache").display().to_string()),
            ("APT::Sandbox::User", "root".to_owned()),
        ];
        for (name, value) in settings {
            apt.arg("-o").arg(format!("{name}={value}"));
        }
        apt.arg("--quiet");
        apt
    };
    let tool = Tool {
        what: format!("Debian {release}'s {package}"),
        folder: &got,
        absent: "this is got with apt-get: run Gainsay on a Debian machine",
        failed: "does this machine's mirror (/etc/apt/sources.list) still have that release, and debian-archive-keyring its keys?",
    };
    let mut update = apt();
    update.arg("update");
    tool.run(update).await?;
    let mut fetch = apt();
    fetch.args(["download", package]);
    tool.run(fetch).await?;
    for file in files_of(&got)? {
        unpack(&file, into).await?;
    }
    Ok(())
}

/// The files of a folder, by name.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>, KitError> {
    let read = || -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_file() {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    };
    read().map_err(|error| here("reading", folder, error))
}

fn move_into(file: &Path, into: &Path) -> Result<(), KitError> {
    let name = file.file_name().unwrap_or(file.as_os_str());
    fs::rename(file, into.join(name)).map_err(|error| here("moving", file, error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Serves a file to whoever asks for it, until the test ends; its address.
    async fn serve(content: Vec<u8>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/etcd.tar.gz", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut asked = [0; 1024];
                let read = stream.read(&mut asked).await.unwrap();
                let head = match asked[..read].starts_with(b"GET /etcd.tar.gz ") {
                    true => format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                        content.len()
                    ),
                    false => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
                };
                let body: &[u8] = if head.contains(" 200 ") {
                    &content
                } else {
                    &[]
                };
                stream
                    .write_all(&[head.as_bytes(), body].concat())
                    .await
                    .unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn archives_are_fetched_and_held_to_their_sum() {
        let folder = tempfile::tempdir().unwrap();
        let made = folder.path().join("etcd-v1");
        fs::create_dir(&made).unwrap();
        fs::write(made.join("etcd"), "program").unwrap();
        let archive = folder.path().join("made.tar.gz");
        let mut tar = std::process::Command::new("tar");
        tar.arg("-czf").arg(&archive).arg("-C").arg(folder.path());
        assert!(tar.arg("etcd-v1").status().unwrap().success());
        let url = serve(fs::read(&archive).unwrap()).await;
        let sum = sum(&archive).unwrap();
        let get = async |url: &str, sum: &str| {
            let into = folder.path().join(format!("into-{}", &sum[..8]));
            let source = Source::Url {
                url: url.to_owned(),
                sha256: sum.to_owned(),
            };
            source.get(&into).await.map(|()| into)
        };
        let got = get(&url, &sum.to_uppercase()).await.unwrap();
        assert_eq!(fs::read(got.join("etcd-v1/etcd")).unwrap(), b"program");
        // Another sum: nothing of it is used.
        let other = "0".repeat(64);
        let error = get(&url, &other).await.unwrap_err().to_string();
        assert!(error.contains(&sum) && error.contains(&other), "{error}");
        assert!(!folder.path().join("into-00000000/etcd-v1").exists());
        // Nothing there.
        let error = get(&url.replace("etcd.tar", "none.tar"), &sum)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("404"), "{error}");
    }

    /// Gets small things from everywhere. Asked for by `GAINSAY_REGISTRIES=1`, for it needs the network and all the clients.
    #[tokio::test]
    async fn registries_give_what_is_asked_for() {
        if std::env::var_os("GAINSAY_REGISTRIES").is_none() {
            eprintln!("SKIPPED: GAINSAY_REGISTRIES=1 gets something from each registry");
            return;
        }
        let wheel = Source::Wheel {
            package: "six".to_owned(),
            version: "1.16.0".to_owned(),
        };
        let jar = |dependencies| Source::Maven {
            artifact: "org.slf4j:slf4j-simple:1.7.36".to_owned(),
            dependencies,
        };
        let library = Source::Debian {
            release: "bullseye".to_owned(),
            package: "libssl1.1".to_owned(),
        };
        let here = "usr/lib/x86_64-linux-gnu/libssl.so.1.1";
        let cases: [(Source, &[&str]); 4] = [
            (wheel, &["six.py"]),
            (jar(false), &["slf4j-simple-1.7.36.jar"]),
            (
                jar(true),
                &["slf4j-simple-1.7.36.jar", "slf4j-api-1.7.36.jar"],
            ),
            (library, &[here]),
        ];
        for (source, files) in cases {
            let folder = tempfile::tempdir().unwrap();
            let into = folder.path().join("into");
            source.get(&into).await.unwrap();
            for file in files {
                assert!(into.join(file).exists(), "{}: {file}", source.describe());
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let none = Source::Wheel {
            package: "six".to_owned(),
            version: "0.0.1.dev99".to_owned(),
        };
        let error = none.get(&folder.path().join("into")).await.unwrap_err();
        assert!(error.to_string().contains("six"), "{error}");
    }
}
