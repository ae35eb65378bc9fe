//! A script that does something to the node, where that is said best in the words of programs that are there, as `tc` is.

use serde::{Deserialize, Serialize};

use super::Failure;
use crate::shell::shell;

/// The module's name.
pub const NAME: &str = "script";

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// For `sh`. If it fails, nobody knows what it did.
    pub script: String,
}

/// What it said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// On its standard output.
    pub said: String,
}

pub(crate) fn handle(request: Request) -> Result<Answer, Failure> {
    let output = shell(&request.script)
        .output()
        .map_err(|error| Failure::NotDone(format!("sh cannot be run: {error}")))?;
    match output.status.success() {
        true => Ok(Answer {
            said: String::from_utf8_lossy(&output.stdout).into_owned(),
        }),
        false => Err(Failure::Indeterminate(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_says_or_why_it_failed() {
        let run = |script: &str| {
            handle(Request {
                script: script.to_owned(),
            })
        };
        let said = run("echo a; echo b >&2").map(|answer| answer.said);
        assert_eq!(said, Ok("a\n".to_owned()));
        let why = run("echo no >&2; exit 3").map(|answer| answer.said);
        assert_eq!(why, Err(Failure::Indeterminate("no".to_owned())));
    }
}
