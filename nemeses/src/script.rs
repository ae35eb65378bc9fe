//! The fault `script`: what the user's own program does to nodes.
//!
//! The program has four verbs, given as its only argument, and runs as root on the node:
//!
//! - `probe`, before the run: whether it can act there. If it fails, the run is refused, with what it said.
//! - `start`: acts. Exit code 75 says that nothing was done, for certain; any other than 0 that something may have been.
//! - `verify`: succeeds while it is in force, and says what proves that.
//! - `undo`: takes it back, exactly; doing so twice is doing so once. `verify` must fail afterwards.
//!
//! It finds in its environment `GAINSAY_NODE`, the node's name, and `GAINSAY_NODES`, the names of all nodes. How to undo it is
//! written into the node's undo journal before it starts, so that it is undone also when the controller is gone.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use harness::capability::{CapabilityError, Environment, Script, Scripts};
use harness::options::{OptionKind, OptionSpec, Options};
use harness::{Name, Value};
use serde_json::Map;

use crate::action::{Action, Struck, Undone};
use crate::build::MakeContext;
use crate::catalogue::{FaultInfo, Made, with_common};
use crate::node_fault::{make, target_option};
use crate::outcome::message;
use crate::spec::FaultSpec;

const FILE: &str = "file";

/// The fault, described.
pub(crate) fn info() -> FaultInfo {
    let file = "The program, on this machine: a file that the nodes can run, such as a shell script. With the verbs `probe`, \
                `start`, `verify` and `undo`.";
    FaultInfo {
        name: "script",
        summary: "Runs a program of your own on nodes, which does something to them and undoes it.",
        variants: Vec::new(),
        options: with_common(vec![
            OptionSpec::new(FILE, OptionKind::Text, None, file),
            target_option(),
        ]),
        evidence: "Its verb `verify` succeeds; what it says is kept.",
        undo: "Its verb `undo`; then `verify` fails.",
        synthetic: false,
        make: made,
    }
}

/// The name in the history of a script's fault: several may be in one run.
pub(crate) fn label(options: &Options) -> Option<String> {
    let file = options.text_if(FILE)?;
    let stem = Path::new(file).file_stem()?.to_string_lossy();
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let stem: String = stem.chars().map(plain).collect();
    Some(format!("script-{stem}"))
}

fn made(spec: &FaultSpec, ctx: &MakeContext) -> Result<Made, String> {
    let file = spec.options.text_if(FILE).ok_or(
        "which program? Write script:file=PATH, with the verbs probe, start, verify and undo",
    )?;
    let contents = std::fs::read(file).map_err(|error| format!("{file}: {error}"))?;
    let action = Running(Script {
        name: spec.label.clone(),
        contents: contents.into(),
    });
    make(action, spec, ctx, Box::new(|_, _| Map::new()))
}

/// Runs the user's program.
struct Running(Script);

fn scripts(env: &Environment) -> Result<&Arc<dyn Scripts>, String> {
    let missing = "no programs can be run here";
    env.scripts.as_ref().ok_or_else(|| missing.to_owned())
}

#[async_trait]
impl Action for Running {
    fn name(&self) -> &str {
        &self.0.name
    }

    async fn probe(&self, env: &Environment) -> Result<(), String> {
        scripts(env)?.probe(&self.0).await
    }

    async fn strike(
        &self,
        env: &Environment,
        node: &Name,
        _: &Map<String, Value>,
    ) -> Result<Struck, CapabilityError> {
        let scripts = scripts(env).map_err(CapabilityError::NotDone)?;
        let proof = scripts.start(&self.0, node).await?;
        Ok(Struck {
            effective: proof.is_some().into(),
            seen: proof.map_or(Value::Null, Value::from),
            free: false,
        })
    }

    async fn undo(
        &self,
        env: &Environment,
        node: &Name,
        _: Option<&Name>,
    ) -> Result<Undone, String> {
        scripts(env)?
            .undo(&self.0, node)
            .await
            .map(|()| Value::Null.into())
            .map_err(message)
    }

    fn takes_down(&self) -> bool {
        false
    }

    fn evidence(&self) -> &'static str {
        "proof"
    }
}
