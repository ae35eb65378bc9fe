//! Debian packages.
//!
//! They come from the node's own package sources. A node that has none, or cannot reach them, gets them from this machine: it fetches
//! what the node lacks ([`local::fetch_missing`]), keeps it in its cache, and sends it. Services of the packages are not started.

use std::path::PathBuf;
use std::time::Duration;

use crate::local::{self, System};
use crate::remote::{Command, Remote, RemoteError, quote};

/// The limit on one run of apt, downloads included.
const APT_TIMEOUT: Duration = Duration::from_secs(600);

/// Waits for whoever else holds apt's lock, asks nothing, keeps configuration files that were
/// changed, and does without `fsync` where the file system is thrown away anyway.
const APT: &str = "export DEBIAN_FRONTEND=noninteractive; \
    set -- -o DPkg::Lock::Timeout=60 -o Dpkg::Use-Pty=0 -o Acquire::Retries=3 \
    -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold; \
    [ \"$(stat -f -c %T /)\" = overlayfs ] && set -- \"$@\" \
    -o Dpkg::Options::=--force-unsafe-io; ";

/// The installed version of a package.
pub async fn installed_version(
    remote: &dyn Remote,
    package: &str,
) -> Result<Option<String>, RemoteError> {
    let script = format!(
        "dpkg-query -W -f '${{db:Status-Status}} ${{Version}}' {} 2>/dev/null || true",
        quote(package)
    );
    let output = remote.exec(Command::new(script).idempotent()).await?;
    let text = output.text();
    Ok(text.strip_prefix("installed ").map(str::to_owned))
}

/// Keeps Debian's packages from starting their services: suites start what they test themselves, and a
/// service of the package would take its ports. A policy that the node has of its own is left alone.
const NO_SERVICES: &str = "\
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  printf '#!/bin/sh\\nexit 101\\n' >$policy && chmod 755 $policy && trap 'rm -f $policy' EXIT
fi
";

/// Where packages that are sent to a node lie until they are installed.
const SENT: &str = "/var/tmp/gainsay-packages";

/// Installs packages, written `name` or `name=version`. Those that are there are left as they are.
///
/// # Errors
/// If neither the node nor this machine can get them.
pub async fn install(remote: &dyn Remote, packages: &[&str]) -> Result<(), RemoteError> {
    let mut missing = Vec::new();
    for package in packages {
        let (name, version) = match package.split_once('=') {
            Some((name, version)) => (name, Some(version)),
            None => (*package, None),
        };
        match installed_version(remote, name).await? {
            Some(installed) if version.is_none_or(|version| version == installed) => {}
            _ => missing.push((*package).to_owned()),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let refused = match from_own_sources(remote, &missing).await {
        Err(error @ (RemoteError::Failed { .. } | RemoteError::Timeout { .. })) => error,
        result => return result,
    };
    let names = missing.join(" ");
    tracing::info!(node = %remote.node(), %refused, "{names}: the node cannot get this by itself; it is fetched here and sent");
    match fetched_here(remote, missing).await? {
        Ok(files) => from_here(remote, &files).await,
        Err(error) => Err(both(refused, &error)),
    }
}

fn apt_install(what: &[String]) -> Command {
    let what: Vec<String> = what.iter().map(|one| quote(one).into_owned()).collect();
    let script = format!(
        "{NO_SERVICES}{APT} apt-get install -y --no-install-recommends --allow-downgrades \"$@\" -- {} </dev/null",
        what.join(" ")
    );
    Command::new(script).timeout(APT_TIMEOUT)
}

/// Installs from where the node gets its packages. The lists are updated only if it does not work without.
async fn from_own_sources(remote: &dyn Remote, packages: &[String]) -> Result<(), RemoteError> {
    let install = apt_install(packages);
    let first = remote.run(install.clone()).await?;
    if first.status == 0 {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&first.stderr);
    tracing::debug!(node = %remote.node(), %stderr, "packages not found; updating the lists");
    if stderr.contains("dpkg --configure -a") {
        // An installation that was killed, ours perhaps, is finished first, as dpkg asks.
        let finish =
            format!("{NO_SERVICES}export DEBIAN_FRONTEND=noninteractive; dpkg --configure -a");
        let finish = Command::new(format!(
            "{finish} --force-confdef --force-confold </dev/null"
        ));
        remote.exec(finish.timeout(APT_TIMEOUT)).await?;
    }
    let update = Command::new(format!("{APT} apt-get update \"$@\" </dev/null"));
    remote.exec(update.timeout(APT_TIMEOUT)).await?;
    remote.exec(install).await.map(drop)
}

/// Fetches what a node lacks, here: files, or why there are none.
async fn fetched_here(
    remote: &dyn Remote,
    packages: Vec<String>,
) -> Result<Result<Vec<PathBuf>, String>, RemoteError> {
    let ask = "(. /etc/os-release && echo \"$ID $VERSION_CODENAME $(dpkg --print-architecture)\") && cat /var/lib/dpkg/status";
    let told = remote.run(Command::new(ask).idempotent()).await?;
    let told = match told.status {
        0 => told.text().into_owned(),
        _ => return Ok(Err("the node has no dpkg".to_owned())),
    };
    let (system, status) = told.split_once('\n').unwrap_or((&told, ""));
    let [distribution, release, architecture] = system.split(' ').collect::<Vec<_>>()[..] else {
        return Ok(Err(format!("its system is not known: {system}")));
    };
    let system = System {
        distribution: distribution.to_owned(),
        release: release.to_owned(),
        architecture: architecture.to_owned(),
    };
    let status = status.to_owned();
    let node = remote.node().clone();
    let fetched = tokio::task::spawn_blocking(move || {
        // Local nodes have no way out, and we may be among them.
        local::outside(|| {
            let mut progress = |line: &str| tracing::debug!(%node, "{line}");
            local::fetch_missing(&system, &packages, &status, &mut progress)
        })
    });
    Ok(match fetched.await {
        Ok(Ok(fetched)) => fetched.map_err(|error| error.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    })
}

/// Sends packages to a node and installs them there.
async fn from_here(remote: &dyn Remote, files: &[PathBuf]) -> Result<(), RemoteError> {
    let make = format!("rm -rf {SENT} && mkdir -m 755 {SENT}");
    remote.exec(Command::new(make).idempotent()).await?;
    let mut sent = Vec::new();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let place = format!("{SENT}/{name}");
        remote.upload(file, &place, 0o644).await?;
        sent.push(place);
    }
    let installed = remote.exec(apt_install(&sent)).await;
    let remove = Command::new(format!("rm -rf {SENT}")).idempotent();
    remote.exec(remove).await?;
    installed.map(drop)
}

/// What the node said, and what this machine did.
fn both(refused: RemoteError, here: &str) -> RemoteError {
    let message = format!("this machine cannot fetch it for the node, either: {here}");
    match refused {
        RemoteError::Failed {
            node,
            command,
            status,
            stderr,
        } => RemoteError::Failed {
            node,
            command,
            status,
            stderr: format!("{}\n{message}", stderr.trim_end()),
        },
        other => {
            tracing::warn!("{message}");
            other
        }
    }
}
