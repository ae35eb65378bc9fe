//! The library that keeps timed waits true, put on nodes before the system starts. What it does is in its own documentation.

use harness::capability::CapabilityError;
use harness::node::daemon::ENVIRONMENT;
use harness::node::undo::Undo;
use harness::remote::{Command, quote};

use super::journaled::{Journaled, Standing};

/// The library, for machines of this one's kind.
const LIBRARY: &[u8] = include_bytes!(env!("GAINSAY_WAITS"));
/// What names it, so that another version's is never mistaken for it.
const HASH: &str = env!("GAINSAY_WAITS_HASH");

/// Has programs of the system that start from now on load it.
pub(super) async fn keep(standing: &Standing, at: &Journaled) -> Result<(), CapabilityError> {
    // It refuses machines of another kind.
    at.agent.start().await?;
    let (library, environment) = (library(at), environment(at));
    let (library, environment) = (quote(&library), quote(&environment));
    let undo = Undo {
        fault: "waits by the clocks of processes".to_owned(),
        undo: remove(at),
        verify: format!("[ ! -e {library} ] && [ ! -e {environment} ]"),
        survives_reboot: true,
        process: None,
    };
    let line = format!("export LD_PRELOAD={library}");
    let put = format!(
        "cat >{library} && chmod 644 {library} && echo {} >{environment}",
        quote(&line)
    );
    let put = Command::new(put).stdin(LIBRARY);
    standing.act(at, &undo, put).await.map(drop)
}

/// Has those that start from now on do without it.
pub(super) async fn leave(standing: &Standing, at: &Journaled) -> Result<(), CapabilityError> {
    match standing.has(&at.node.name) {
        true => standing.undo(at, Command::new(remove(at))).await.map(drop),
        false => Ok(()),
    }
}

fn library(at: &Journaled) -> String {
    format!("{}/waits-{HASH}.so", at.folder)
}

fn environment(at: &Journaled) -> String {
    format!("{}/{ENVIRONMENT}", at.folder)
}

/// First what asks for it, then it. Programs that run keep what they have loaded.
fn remove(at: &Journaled) -> String {
    let (environment, library) = (environment(at), library(at));
    format!(
        "rm -f -- {} && rm -f -- {}",
        quote(&environment),
        quote(&library)
    )
}
