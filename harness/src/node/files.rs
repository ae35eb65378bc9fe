//! Files on a node. See also [`Remote::write`], which replaces a file atomically.

use crate::remote::{Command, Remote, RemoteError, quote};

/// Whether there is anything at a path.
pub async fn exists(remote: &dyn Remote, path: &str) -> Result<bool, RemoteError> {
    // A test that ends with 1 is an answer; all else is an error.
    let script = format!("[ -e {} ] && echo yes || echo no", quote(path));
    let output = remote.exec(Command::new(script).quick().idempotent()).await;
    Ok(output?.text() == "yes")
}

/// The size of a file in bytes, if there is one.
pub async fn size(remote: &dyn Remote, path: &str) -> Result<Option<u64>, RemoteError> {
    let script = format!("[ ! -e {0} ] || stat -L -c %s -- {0}", quote(path));
    let output = remote
        .exec(Command::new(script).quick().idempotent())
        .await?;
    Ok(output.text().parse().ok())
}

/// The contents of a file, up to 64 MiB; [`Remote::download`] takes larger ones.
pub async fn read(remote: &dyn Remote, path: &str) -> Result<Vec<u8>, RemoteError> {
    let script = format!("cat -- {}", quote(path));
    let output = remote.exec(Command::new(script).idempotent()).await;
    Ok(output?.stdout)
}

/// Makes a directory and those above it. One that exists is fine.
pub async fn mkdir(remote: &dyn Remote, path: &str) -> Result<(), RemoteError> {
    let script = format!("mkdir -p -- {}", quote(path));
    let command = Command::new(script).quick().idempotent();
    remote.exec(command).await.map(drop)
}

/// Removes a file, or a directory with all that is in it. What is not there is fine. Top-level
/// directories and relative paths are refused. Directories that something is mounted on are emptied, and stay; no power cut
/// brings back what was in them.
pub async fn remove(remote: &dyn Remote, path: &str) -> Result<(), RemoteError> {
    if !removable(path) {
        return Err(RemoteError::Refused {
            node: remote.node().clone(),
            message: format!("{path:?} is not removed"),
            hint: "give an absolute path below a top-level directory, without ..".into(),
        });
    }
    let path = quote(path);
    let script = format!(
        "rm -rf -- {path} || {{ grep -qF \" \"{path} /proc/self/mounts && [ -z \"$(find {path} ! -type d)\" ]; }} || exit\n\
         [ ! -d {path} ] || find {path} -type d -exec sync {{}} +"
    );
    remote
        .exec(Command::new(script).idempotent())
        .await
        .map(drop)
}

fn removable(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    path.starts_with('/') && parts.len() >= 2 && !parts.contains(&"..") && !parts.contains(&".")
}

/// Appends to a file, which is created if need be.
pub async fn append(remote: &dyn Remote, path: &str, bytes: &[u8]) -> Result<(), RemoteError> {
    let command = Command::new(format!("cat >>{}", quote(path))).stdin(bytes);
    remote.exec(command).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_deeper_is_removed() {
        for path in ["/var/lib/etcd", "/tmp/x", "/opt//db/"] {
            assert!(removable(path), "{path}");
        }
        for path in [
            "",
            "/",
            "//",
            "/var",
            "/var/",
            "var/lib",
            "/var/lib/..",
            "/./x",
        ] {
            assert!(!removable(path), "{path}");
        }
    }
}
