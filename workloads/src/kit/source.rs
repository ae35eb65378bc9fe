//! Where files of a system come from, and how each kind is got.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use harness::local;
use tokio::process::Command;

use super::download::{Checksum, download};
use super::tool::Tool;
use super::unpack::{place, unpack};
use super::{GoProgram, KitError, aside, here};

/// Where files come from. Each is got with the ordinary client of its kind, as this machine is set up for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A program of a Go module, built on this machine.
    Go(GoProgram),
    /// A file on this machine: unpacked if it is an archive, else as it is.
    File(PathBuf),
    /// A file under an address, such as the vendor's: unpacked if it is an archive, else as it is.
    Url {
        /// Its address.
        url: String,
        /// What it is held to.
        checksum: Checksum,
    },
    /// A wheel, unpacked. Others that it asks for are not got.
    Wheel {
        /// The package.
        package: String,
        /// Its version.
        version: String,
    },
    /// Maven artefacts: unpacked if they are zips, else as they are.
    Maven {
        /// Each is `group:artefact:version`, or `group:artefact:extension:version`.
        artifacts: Vec<String>,
        /// Whether what they need at run time is got, too.
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
            Source::Maven { artifacts, .. } => format!("from Maven {}", artifacts.join(" and ")),
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
            Source::Url { url, checksum } => download(url, checksum, scratch, into).await,
            Source::Wheel { package, version } => wheel(package, version, scratch, into).await,
            Source::Maven {
                artifacts,
                dependencies,
            } => maven(artifacts, *dependencies, scratch, into).await,
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

/// The coordinates of a Maven artefact.
struct Artifact<'a> {
    group: &'a str,
    name: &'a str,
    extension: &'a str,
    version: &'a str,
}

impl Artifact<'_> {
    fn read(text: &str) -> Result<Artifact<'_>, KitError> {
        let parts: Vec<&str> = text.split(':').collect();
        let (group, name, extension, version) = match parts[..] {
            [group, name, version] => (group, name, "jar", version),
            [group, name, extension, version] => (group, name, extension, version),
            _ => {
                return Err(KitError::Tool {
                    what: format!("Maven artefact {text}"),
                    said:
                        "it is neither group:artefact:version nor group:artefact:extension:version"
                            .to_owned(),
                    hint: "this is a mistake of the suite",
                });
            }
        };
        Ok(Artifact {
            group,
            name,
            extension,
            version,
        })
    }

    /// As the command that copies one has it.
    fn coordinates(&self) -> String {
        [self.group, self.name, self.version, self.extension].join(":")
    }

    /// As a project's file has it.
    fn dependency(&self) -> String {
        let tag = |name: &str, text: &str| format!("<{name}>{text}</{name}>");
        let parts = [
            tag("groupId", self.group),
            tag("artifactId", self.name),
            tag("version", self.version),
            tag("type", self.extension),
        ];
        tag("dependency", &parts.concat())
    }
}

async fn maven(
    artifacts: &[String],
    dependencies: bool,
    scratch: &Path,
    into: &Path,
) -> Result<(), KitError> {
    let tool = Tool {
        what: format!("Maven artefact {}", artifacts.join(" and ")),
        folder: scratch,
        absent: "install Maven (Debian: maven)",
        failed: "is there such a version? does mvn reach its repository (~/.m2/settings.xml)?",
    };
    let artifacts = artifacts.iter().map(|text| Artifact::read(text));
    let artifacts = artifacts.collect::<Result<Vec<_>, _>>()?;
    let got = scratch.join("got");
    fs::create_dir(&got).map_err(|error| here("making", &got, error))?;
    let mvn = || {
        let mut mvn = Command::new("mvn");
        mvn.args(["--quiet", "--batch-mode"])
            .arg(format!("-DoutputDirectory={}", got.display()));
        mvn
    };
    if dependencies {
        let wanted: String = artifacts.iter().map(Artifact::dependency).collect();
        let pom = format!(
            "<project><modelVersion>4.0.0</modelVersion><groupId>gainsay</groupId><artifactId>get</artifactId><version>1</version>\
             <dependencies>{wanted}</dependencies></project>"
        );
        let file = scratch.join("pom.xml");
        fs::write(&file, pom).map_err(|error| here("writing", &file, error))?;
        let mut mvn = mvn();
        mvn.args(["dependency:copy-dependencies", "-DincludeScope=runtime"]);
        tool.run(mvn).await?;
    } else {
        for artifact in &artifacts {
            let mut mvn = mvn();
            mvn.arg("dependency:copy")
                .arg(format!("-Dartifact={}", artifact.coordinates()));
            tool.run(mvn).await?;
        }
    }
    for file in files_of(&got)? {
        match file.extension().is_some_and(|extension| extension == "zip") {
            true => unpack(&file, into).await?,
            false => move_into(&file, into)?,
        }
    }
    Ok(())
}

async fn debian(release: &str, package: &str, scratch: &Path, into: &Path) -> Result<(), KitError> {
    let (of, name, folder) = (release.to_owned(), package.to_owned(), scratch.to_owned());
    let fetched = aside(move || {
        // Local nodes have no way out, and we may be among them.
        let fetched = local::outside(|| {
            let system = local::System::debian(&of)?;
            local::fetch_alone(&system, &name, &folder)
        })?;
        fetched.map_err(io::Error::other)
    });
    let file: PathBuf = fetched.await.map_err(|error| KitError::Tool {
        what: format!("Debian {release}'s {package}"),
        said: error.to_string(),
        hint: "this is got with apt-get: run Gainsay on a Debian machine, with its debian-archive-keyring",
    })?;
    unpack(&file, into).await
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
    use super::*;

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
            artifacts: vec!["org.slf4j:slf4j-simple:1.7.36".to_owned()],
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
