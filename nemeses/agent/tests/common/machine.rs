//! A machine with a kernel of its own that does nothing but run a script: user-mode Linux, with this machine's files, which it cannot
//! write to.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::skip::skip_own_kernel;

/// How long the machine may live.
const LIFE: Duration = Duration::from_secs(400);

/// Where the processor's state is larger than what user-mode Linux expects, its kernel does not start: this makes up the difference.
const PRELOADED: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>
static long call(long request, pid_t pid, void *address, void *data) {
  return syscall(SYS_ptrace, request, pid, address, data);
}
long ptrace(int request, ...) {
  va_list rest;
  va_start(rest, request);
  pid_t pid = va_arg(rest, pid_t);
  void *address = va_arg(rest, void *), *data = va_arg(rest, void *);
  va_end(rest);
  static char state[65536];
  if (request == 0x4205 && (long)address == 0x202) {
    struct iovec *given = data, whole = {state, sizeof state};
    if (call(0x4204, pid, address, &whole) < 0) return -1;
    memcpy(state, given->iov_base, given->iov_len < whole.iov_len ? given->iov_len : whole.iov_len);
    return call(request, pid, address, &whole);
  }
  if (request >= 1 && request <= 3) {
    long word;
    if (call(request, pid, address, &word) < 0) return -1;
    errno = 0;
    return word;
  }
  return call(request, pid, address, data);
}
"#;

/// Runs a script as all that a machine does, with more arguments of its kernel; what it says. None where there is no such machine.
pub(crate) fn on_a_machine(
    test: &str,
    folder: &Path,
    script: &str,
    arguments: &[String],
) -> Option<String> {
    let (source, library) = (folder.join("state.c"), folder.join("state.so"));
    fs::write(&source, PRELOADED).unwrap();
    let compiled = Command::new("cc")
        .args(["-O1", "-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .status();
    if !compiled.is_ok_and(|status| status.success()) {
        skip_own_kernel(test, "there is no cc");
        return None;
    }
    let init = folder.join("init");
    fs::write(&init, script).unwrap();
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).unwrap();
    let mut machine = Command::new("linux.uml");
    machine
        .args([
            "mem=256M",
            "rootfstype=hostfs",
            "rootflags=/",
            "ro",
            "quiet",
            "panic=-1",
        ])
        .args(["con=null", "con0=null,fd:1", "con1=null", "umid=gainsay"])
        .arg(format!("uml_dir={}/", folder.display()))
        .arg(format!("init={}", init.display()))
        .args(arguments)
        .env("LD_PRELOAD", &library)
        .env("TMPDIR", folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let Ok(mut machine) = machine.spawn() else {
        skip_own_kernel(test, "there is no linux.uml (Debian: user-mode-linux)");
        return None;
    };
    let mut output = machine.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut said = Vec::new();
        let _ = output.read_to_end(&mut said);
        String::from_utf8_lossy(&said).into_owned()
    });
    let began = Instant::now();
    while machine.try_wait().unwrap().is_none() {
        if began.elapsed() > LIFE {
            let _ = machine.kill();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Some(reader.join().unwrap())
}
