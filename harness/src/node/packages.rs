//! Debian packages.
//!
//! Only the node's own package sources are used. Services of the packages are not started.

use std::time::Duration;

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

/// Installs packages, written `name` or `name=version`. Those that are there are left as they are.
/// The package lists are updated only if it does not work without.
pub async fn install(remote: &dyn Remote, packages: &[&str]) -> Result<(), RemoteError> {
    let mut missing = Vec::new();
    for package in packages {
        let (name, version) = match package.split_once('=') {
            Some((name, version)) => (name, Some(version)),
            None => (*package, None),
        };
        match installed_version(remote, name).await? {
            Some(installed) if version.is_none_or(|version| version == installed) => {}
            _ => missing.push(quote(package)),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let install = Command::new(format!(
        "{NO_SERVICES}{APT} apt-get install -y --no-install-recommends --allow-downgrades \"$@\" -- {} </dev/null",
        missing.join(" ")
    ))
    .timeout(APT_TIMEOUT);
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
