//! apt on this machine, working for the nodes' base system.
//!
//! Packages are fetched by this machine's apt with this machine's keys, proxies and passwords, so that
//! whatever works here works for the nodes; the nodes themselves have no way out, and get none of it.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;

use super::error::{Doing, LocalError};

/// Settings that decide whether a download works. The rest of a machine's configuration (hooks, what
/// to keep, what to install) is about that machine.
const DOWNLOAD_SETTINGS: [&str; 9] = [
    "Acquire::http",
    "Acquire::ftp",
    "Acquire::Check-",
    "Acquire::Max-",
    "Acquire::Retries",
    "Acquire::Force",
    "Acquire::Allow",
    "Acquire::Proxy",
    "Acquire::Queue-Mode",
];

/// This machine's architecture as dpkg calls it, such as `amd64`.
pub(super) fn architecture() -> Result<String, LocalError> {
    output(Command::new("dpkg").arg("--print-architecture"))
}

/// This machine's settings for downloads, as lines of apt configuration.
pub(super) fn download_settings() -> Result<String, LocalError> {
    let mut settings = select(&output(Command::new("apt-config").arg("dump"))?);
    // Where passwords of package sources are. They are read there, never copied.
    settings.push_str("Dir::Etc::netrc \"/etc/apt/auth.conf\";\n");
    settings.push_str("Dir::Etc::netrcparts \"/etc/apt/auth.conf.d\";\n");
    Ok(settings)
}

fn select(dump: &str) -> String {
    let wanted = |line: &&str| {
        DOWNLOAD_SETTINGS
            .iter()
            .any(|prefix| line.starts_with(prefix))
    };
    dump.lines()
        .filter(wanted)
        .map(|line| format!("{line}\n"))
        .collect()
}

/// Writes a file that only root may read: a proxy's address may carry a password.
pub(super) fn write_private(path: &Path, text: &str) -> Result<(), LocalError> {
    let doing = || format!("writing {}", path.display());
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .doing(doing)?;
    file.write_all(text.as_bytes()).doing(doing)
}

/// The system that apt works for: another than this machine, whose files it must not touch.
pub(super) struct Target<'a> {
    /// As dpkg calls it.
    pub(super) architecture: &'a str,
    /// The file that says where packages come from.
    pub(super) sources: &'a Path,
    /// The folder of package lists.
    pub(super) lists: &'a Path,
    /// The file that says what is installed.
    pub(super) status: &'a Path,
    /// The folder that downloads go to; made.
    pub(super) archives: &'a Path,
}

/// Writes apt's configuration for a system.
pub(super) fn write_config(path: &Path, target: &Target<'_>) -> Result<(), LocalError> {
    let partial = target.archives.join("partial");
    fs::create_dir_all(partial).doing(|| "making a place for packages")?;
    let text = format!(
        "APT::Architecture \"{architecture}\";\n\
         APT::Architectures {{ \"{architecture}\"; }};\n\
         APT::Sandbox::User \"root\";\n\
         Debug::NoLocking \"true\";\n\
         Dir::Etc::main \"/dev/null\";\n\
         Dir::Etc::parts \"/dev/null\";\n\
         Dir::Etc::preferences \"/dev/null\";\n\
         Dir::Etc::preferencesparts \"/dev/null\";\n\
         Dir::Etc::sourcelist \"{sources}\";\n\
         Dir::Etc::sourceparts \"/dev/null\";\n\
         Dir::Etc::trusted \"/etc/apt/trusted.gpg\";\n\
         Dir::Etc::trustedparts \"/etc/apt/trusted.gpg.d\";\n\
         Dir::State::lists \"{lists}\";\n\
         Dir::State::status \"{status}\";\n\
         Dir::State::extended_states \"/dev/null\";\n\
         Dir::Cache::archives \"{archives}\";\n\
         Dir::Cache::pkgcache \"\";\n\
         Dir::Cache::srcpkgcache \"\";\n\
         Dir::Log \"/dev/null\";\n\
         {settings}",
        architecture = target.architecture,
        sources = target.sources.display(),
        lists = target.lists.display(),
        status = target.status.display(),
        archives = target.archives.display(),
        settings = download_settings()?,
    );
    write_private(path, &text)
}

/// apt-get, as such a file configures it.
pub(super) fn get(config: &Path) -> Command {
    let mut command = Command::new("apt-get");
    command
        .env("APT_CONFIG", config)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["--quiet", "--yes"]);
    command
}

/// What a program writes to standard output, which must succeed.
pub(super) fn output(command: &mut Command) -> Result<String, LocalError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().doing(|| format!("running {program}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(LocalError::Program {
        doing: "asking this machine's package manager".into(),
        program,
        status: output.status.to_string(),
        tail: text(&output.stderr),
        hint: "a local cluster's nodes are Debian systems built from this machine's own".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_settings_of_downloads_are_taken() {
        let dump = "Acquire::http::Proxy \"http://p:3142\";\nAcquire::GzipIndexes \"true\";\n\
                    Acquire::https::Verify-Peer \"false\";\nDPkg::Post-Invoke:: \"rm\";\n\
                    Acquire::Retries \"3\";\nAPT::Install-Recommends \"1\";\n";
        assert_eq!(
            select(dump),
            "Acquire::http::Proxy \"http://p:3142\";\nAcquire::https::Verify-Peer \"false\";\n\
             Acquire::Retries \"3\";\n"
        );
    }
}
