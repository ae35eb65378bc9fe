//! What programs of a system find in their environment when they start: a library that they load before all others. Put on nodes before
//! the system starts.

use std::time::Duration;

use agent::modules::NOTE;
use harness::capability::CapabilityError;
use harness::node::daemon::ENVIRONMENT;
use harness::node::packages;
use harness::node::undo::Undo;
use harness::remote::{Command, quote};

use super::journaled::{Journaled, Standing, no_answer};

/// How long the agent may take to note something.
const PATIENCE: Duration = Duration::from_secs(10);

/// The library that keeps timed waits true, for machines of this one's kind. What it does is in its own documentation.
const WAITS: &[u8] = include_bytes!(env!("GAINSAY_WAITS"));
/// What names it, so that another version's is never mistaken for it.
const WAITS_HASH: &str = env!("GAINSAY_WAITS_HASH");

/// The package of libfaketime.
const FAKETIME: &str = "libfaketime";
/// Debian packages that faults install on nodes: local nodes, which have no network but their own, must be offered them.
pub const PACKAGES: [&str; 1] = [FAKETIME];
/// It keeps two files in memory for each process, which stay where a process is killed, and let none start that gets the same number.
const FAKETIME_LEFT: &str = r#"for f in /dev/shm/faketime_shm_* /dev/shm/sem.faketime_sem_*; do
    [ ! -O "$f" ] || [ -e "/proc/${f##*_}" ] || rm -f -- "$f"
done"#;
/// What it says, where nothing is changed.
pub(super) const TRUE_TIME: &str = "+0";

/// Has programs that start from now on wait as long as their own clocks say.
pub(super) async fn keep_waits(standing: &Standing, at: &Journaled) -> Result<(), CapabilityError> {
    // It refuses machines of another kind.
    at.agent.start().await?;
    let library = format!("{}/waits-{WAITS_HASH}.so", at.folder);
    let lines = format!("export LD_PRELOAD={}", quote(&library));
    put(
        standing,
        at,
        "waits by the clocks of processes",
        &library,
        WAITS,
        &lines,
    )
    .await
}

/// Has programs that start from now on ask libfaketime for the time of day.
pub(super) async fn load_faketime(
    standing: &Standing,
    at: &Journaled,
) -> Result<(), CapabilityError> {
    let remote = &*at.node.remote;
    packages::install(remote, &[FAKETIME])
        .await
        .map_err(no_answer)?;
    // The one for programs with threads, wherever this kind of machine has it.
    let find = format!("dpkg -L {FAKETIME} | grep -m 1 '/libfaketimeMT[.]so'");
    let found = remote.exec(Command::new(find).idempotent()).await;
    let library = found.map_err(no_answer)?.text().trim().to_owned();
    let time = faked_time(at);
    // It looks at the file each time that it is asked, and leaves the clocks that measure time-outs alone.
    let lines = format!(
        "{FAKETIME_LEFT}\nexport LD_PRELOAD={} FAKETIME_TIMESTAMP_FILE={} FAKETIME_NO_CACHE=1 DONT_FAKE_MONOTONIC=1",
        quote(&library),
        quote(&time)
    );
    put(
        standing,
        at,
        "programs under libfaketime",
        &time,
        TRUE_TIME.as_bytes(),
        &lines,
    )
    .await
}

/// The file by which libfaketime goes.
pub(super) fn faked_time(at: &Journaled) -> String {
    format!("{}/faketime", at.folder)
}

/// Takes away whatever is there. Programs that run keep what they have loaded, and libfaketime then tells the true time.
pub(super) async fn remove(standing: &Standing, at: &Journaled) -> Result<(), CapabilityError> {
    if !standing.has(&at.node.name) {
        return Ok(());
    }
    let remove = Command::new(remove_script(at)).idempotent();
    at.node.remote.exec(remove).await.map_err(no_answer)?;
    standing.take_back(at, NOTE, &(), PATIENCE).await
}

/// First what asks for the rest.
fn remove_script(at: &Journaled) -> String {
    let folder = quote(&at.folder);
    format!("rm -f -- {folder}/{ENVIRONMENT} && rm -f -- {folder}/waits-*.so {folder}/faketime")
}

/// Puts a file on a node, and lines for the shell that every daemon is started after.
async fn put(
    standing: &Standing,
    at: &Journaled,
    what: &str,
    file: &str,
    content: &[u8],
    lines: &str,
) -> Result<(), CapabilityError> {
    let environment = format!("{}/{ENVIRONMENT}", at.folder);
    let (file, environment) = (quote(file), quote(&environment));
    let undo = Undo {
        fault: what.to_owned(),
        undo: remove_script(at),
        verify: format!("[ ! -e {file} ] && [ ! -e {environment} ]"),
        survives_reboot: true,
        process: None,
    };
    let put = format!(
        "cat >{file} && echo {} >{environment} && chmod 644 {file} {environment}",
        quote(lines)
    );
    // The agent has noted it, and takes it back where the controller is gone.
    let () = standing.ask(at, &undo, NOTE, &(), PATIENCE).await?;
    let put = at.node.remote.exec(Command::new(put).stdin(content)).await;
    put.map(drop).map_err(no_answer)
}
