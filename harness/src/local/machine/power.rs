//! The power of nodes with kernels of their own, as a controller has it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::{CUT, ON};
use crate::capability::PowerSwitch;
use crate::local::error::{Doing, LocalError};
use crate::local::process::Identity;

/// How long a machine may take to be gone, or to begin.
const LIMIT: Duration = Duration::from_secs(10);

const PAUSE: Duration = Duration::from_millis(5);

/// Whether a machine has power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::local) enum State {
    On,
    Off,
}

impl State {
    fn file(dir: &Path) -> PathBuf {
        dir.join("power")
    }

    /// Says so in a node's directory.
    pub(in crate::local) fn write(self, dir: &Path) -> Result<(), LocalError> {
        let text = match self {
            State::On => "on",
            State::Off => "off",
        };
        let (file, new) = (State::file(dir), dir.join("power.new"));
        let written = fs::write(&new, text).and_then(|()| fs::rename(&new, &file));
        written.doing(|| format!("writing {}", file.display()))
    }

    fn read(dir: &Path) -> Result<State, LocalError> {
        let file = State::file(dir);
        let text = fs::read_to_string(&file).doing(|| format!("reading {}", file.display()))?;
        Ok(if text == "on" { State::On } else { State::Off })
    }
}

/// The switch of a node's power.
#[derive(Clone, Debug)]
pub struct Power {
    supervisor: Identity,
    dir: PathBuf,
}

impl Power {
    pub(in crate::local) fn new(supervisor: Identity, dir: PathBuf) -> Power {
        Power { supervisor, dir }
    }

    /// Whether the node has power. One that powered itself off has none.
    ///
    /// # Errors
    /// If that cannot be read.
    pub fn is_on(&self) -> Result<bool, LocalError> {
        Ok(State::read(&self.dir)? == State::On)
    }

    /// Takes the power away, whatever the node is at. What it did not write to its disk is lost. Blocks until it is gone.
    ///
    /// # Errors
    /// If the node's supervisor is gone, or it did not end.
    pub fn cut(&self) -> Result<(), LocalError> {
        self.turn(CUT, State::Off)
    }

    /// Gives it power, if it has none. It then boots, which takes seconds.
    ///
    /// # Errors
    /// If the node's supervisor is gone, or cannot start it.
    pub fn on(&self) -> Result<(), LocalError> {
        self.turn(ON, State::On)
    }

    fn turn(&self, signal: nix::sys::signal::Signal, state: State) -> Result<(), LocalError> {
        let doing = || format!("turning the power of {} {state:?}", self.dir.display());
        let supervisor = self.supervisor.open().doing(doing)?;
        let gone = || io::Error::new(io::ErrorKind::NotFound, "its supervisor is gone");
        let supervisor = supervisor.ok_or_else(gone).doing(doing)?;
        let deadline = Instant::now() + LIMIT;
        supervisor.signal(signal).doing(doing)?;
        while State::read(&self.dir)? != state {
            if Instant::now() > deadline {
                return Err(io::Error::from(io::ErrorKind::TimedOut)).doing(doing);
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }
}

#[async_trait]
impl PowerSwitch for Power {
    async fn cut(&self) -> Result<(), String> {
        aside(self, Power::cut).await
    }

    async fn on(&self) -> Result<(), String> {
        aside(self, Power::on).await
    }
}

/// Does something that blocks for a moment.
async fn aside(power: &Power, turn: fn(&Power) -> Result<(), LocalError>) -> Result<(), String> {
    let power = power.clone();
    let turned = tokio::task::spawn_blocking(move || turn(&power)).await;
    let turned = turned.map_err(|error| error.to_string())?;
    turned.map_err(|error| error.to_string())
}
