//! The fault `script`: what a program does to nodes, the user's own or one that the system brings.
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
const OWN: &str = "own";

/// The fault, described.
pub(crate) fn info() -> FaultInfo {
    let file = "The program, on this machine: a file that the nodes can run, such as a shell script. With the verbs `probe`, \
                `start`, `verify` and `undo`.";
    let own = "Instead of that, the name of a program that the system brings (docs of the system): what only it knows.";
    FaultInfo {
        name: "script",
        summary: "Runs a program of your own, or one that the system brings, on nodes, which does something to them and undoes it.",
        variants: Vec::new(),
        options: with_common(vec![
            OptionSpec::new(FILE, OptionKind::Text, None, file),
            OptionSpec::new(OWN, OptionKind::Text, None, own),
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
    let stem = match (options.text_if(FILE), options.text_if(OWN)) {
        (Some(file), _) => Path::new(file).file_stem()?.to_string_lossy(),
        (None, own) => own?.into(),
    };
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
    let program = match (spec.options.text_if(FILE), spec.options.text_if(OWN)) {
        (Some(file), None) => {
            let contents = std::fs::read(file).map_err(|error| format!("{file}: {error}"))?;
            Program::Given(contents.into())
        }
        (None, Some(own)) => Program::Own(own.to_owned()),
        (None, None) => {
            let why = "which program? Write script:file=PATH, with the verbs probe, start, verify and undo, or script:own=NAME";
            return Err(why.to_owned());
        }
        (Some(_), Some(_)) => return Err("script takes `file` or `own`, not both".to_owned()),
    };
    let action = Running {
        name: spec.label.clone(),
        program,
    };
    make(action, spec, ctx, Box::new(|_, _| Map::new()))
}

/// Where a program comes from.
enum Program {
    /// The user gave it.
    Given(Arc<[u8]>),
    /// The system brings it, under this name.
    Own(String),
}

/// Runs a program.
struct Running {
    name: String,
    program: Program,
}

impl Running {
    /// What runs programs, and this one.
    fn script<'a>(&self, env: &'a Environment) -> Result<(&'a dyn Scripts, Script), String> {
        let scripts = env.scripts.as_deref();
        let scripts = scripts.ok_or("no programs can be run here")?;
        let contents = match &self.program {
            Program::Given(contents) => contents.clone(),
            Program::Own(name) => scripts.own(name)?,
        };
        let name = self.name.clone();
        Ok((scripts, Script { name, contents }))
    }
}

#[async_trait]
impl Action for Running {
    fn name(&self) -> &str {
        &self.name
    }

    async fn probe(&self, env: &Environment) -> Result<(), String> {
        let (scripts, script) = self.script(env)?;
        scripts.probe(&script).await
    }

    async fn strike(
        &self,
        env: &Environment,
        node: &Name,
        _: &Map<String, Value>,
    ) -> Result<Struck, CapabilityError> {
        let (scripts, script) = self.script(env).map_err(CapabilityError::NotDone)?;
        let proof = scripts.start(&script, node).await?;
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
        let (scripts, script) = self.script(env)?;
        scripts
            .undo(&script, node)
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
