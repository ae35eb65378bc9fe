//! What continuous integration wants to know of runs and histories that were judged: a JUnit file, and where it runs on GitHub
//! annotations and a job summary.

mod github;
mod junit;

use std::path::PathBuf;
use std::time::Duration;

use crate::cli::Output;
use crate::exit::Exit;

/// Something that was judged.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// What is alike belongs together: the test, the model.
    pub(crate) group: String,
    /// Which of them.
    pub(crate) name: String,
    /// How it ended.
    pub(crate) exit: Exit,
    /// Why, in a sentence.
    pub(crate) reason: String,
    /// The explanation of a violation, and other lines for a person.
    pub(crate) details: Vec<String>,
    /// How long it took.
    pub(crate) time: Duration,
    /// What else is to be known: seed, folder, how to run it again.
    pub(crate) properties: Vec<(&'static str, String)>,
}

impl Case {
    /// How it ended, in a word.
    pub(crate) fn word(&self) -> &'static str {
        match self.exit {
            Exit::Valid => "valid",
            Exit::Invalid => "invalid",
            Exit::Unknown => "unknown",
            Exit::BadArguments | Exit::Failure => "failed",
            Exit::Interrupted => "interrupted",
        }
    }
}

/// All that a command judged.
pub(crate) struct Record {
    title: String,
    junit: Option<PathBuf>,
    cases: Vec<Case>,
    /// What was asked for and not begun.
    skipped: Vec<String>,
}

impl Record {
    /// Of a command that has judged nothing yet.
    pub(crate) fn new(title: impl Into<String>, junit: Option<PathBuf>) -> Record {
        Record {
            title: title.into(),
            junit,
            cases: Vec::new(),
            skipped: Vec::new(),
        }
    }

    /// Something was judged.
    pub(crate) fn add(&mut self, case: Case) {
        self.cases.push(case);
    }

    /// Something was not begun.
    pub(crate) fn skip(&mut self, name: String) {
        self.skipped.push(name);
    }

    /// What was judged by now.
    pub(crate) fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// What was not begun.
    pub(crate) fn skipped(&self) -> &[String] {
        &self.skipped
    }

    /// Writes and says it all. What cannot be written is a failure of the harness, except for the job summary, which nobody asked for.
    pub(crate) fn finish(&self, output: &Output) -> Exit {
        let mut exit = Exit::Valid;
        if let Some(path) = &self.junit
            && let Err(error) = junit::write(path, self)
        {
            eprintln!("error: --junit {}: {error}", path.display());
            exit = Exit::Failure;
        }
        if github::is_here()
            && let Err(error) = github::tell(self)
        {
            output.say(&format!(
                "note    the job summary cannot be written: {error}"
            ));
        }
        exit
    }
}

#[cfg(test)]
mod tests;
