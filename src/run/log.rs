//! The controller's own log: `gainsay.log` in the folder of the run under way.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::cli::{Output, Verbosity};

static FILE: Mutex<Option<File>> = Mutex::new(None);

fn file() -> MutexGuard<'static, Option<File>> {
    FILE.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match file().as_mut() {
            Some(file) => file.write(bytes),
            None => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        file().as_mut().map_or(Ok(()), File::flush)
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Log;

    fn make_writer(&self) -> Log {
        Log
    }
}

/// Sets up logging for the process. `GAINSAY_LOG` takes a filter such as `harness=trace`.
pub(crate) fn start(output: &Output) {
    let level = match output.verbosity {
        Verbosity::Quiet | Verbosity::Normal => "info",
        Verbosity::Verbose => "debug",
        Verbosity::Trace => "trace",
    };
    let filter = EnvFilter::try_from_env("GAINSAY_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    // A second command in the same process (tests) keeps the first one's settings.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(Log)
        .try_init();
}

/// From now on the log goes to this file; `None` ends the log.
pub(crate) fn redirect(path: Option<&Path>) -> io::Result<()> {
    let opened = path
        .map(|path| File::options().create(true).append(true).open(path))
        .transpose()?;
    *file() = opened;
    Ok(())
}
