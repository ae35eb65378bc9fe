//! The [file system](crate::disk) between the system and its data: put there, told of faults, taken away; and power cuts.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Failure;
use super::processes::{self, State};
use crate::disk::control::{Answer, Lost, Order, Rule, Status, Survival, order};
use crate::disk::{detach, start};

/// The module's name.
pub const NAME: &str = "disk";

/// A folder of the system's, and where the file system over it listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The folder.
    pub folder: PathBuf,
    /// The socket.
    pub socket: PathBuf,
}

/// What to do, in all places.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// They.
    pub places: Vec<Place>,
    /// What to do there.
    pub deed: Deed,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// Put the file system there.
    Interpose,
    /// Take it away.
    Withdraw,
    /// Put these rules in force, and no others.
    Rules {
        /// They.
        rules: Vec<Rule>,
        /// Of their chance.
        seed: u64,
    },
    /// Say what is known.
    Status,
    /// Kill the system's processes, and lose what is not synced.
    CutPower {
        /// Which processes.
        kill: processes::Request,
        /// What remains of what is not synced.
        survival: Survival,
        /// Of its chance.
        seed: u64,
    },
}

/// What became of it, all places together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Rules in force, operations that they struck, and what is not synced.
    pub status: Status,
    /// What was lost.
    pub lost: Lost,
}

pub(crate) fn handle(request: Request) -> Result<Report, Failure> {
    let Request { places, deed } = request;
    match deed {
        Deed::Interpose => {
            for place in &places {
                start(&place.folder, &place.socket).map_err(|why| {
                    Failure::Indeterminate(format!("{}: {why}", place.folder.display()))
                })?;
            }
            Ok(Report::default())
        }
        Deed::Withdraw => withdraw(&places),
        Deed::Rules { rules, seed } => all(&places, &Order::Rules { rules, seed }),
        Deed::Status => all(&places, &Order::Status),
        Deed::CutPower {
            kill,
            survival,
            seed,
        } => {
            // Killed first: what a process does after the cut would be seen by nobody, but found later. One that waits for the
            // disk ends when it is answered.
            let at_once = processes::Request {
                patience_ms: 0,
                ..kill.clone()
            };
            let _ = processes::handle(at_once);
            all(&places, &Order::GiveUp)?;
            match processes::handle(kill)?.state {
                State::Absent => {}
                seen => {
                    let message =
                        format!("killed, the processes are still {seen:?}").to_lowercase();
                    return Err(Failure::Indeterminate(message));
                }
            }
            let report = all(&places, &Order::Cut { survival, seed })?;
            match report.lost.errors.is_empty() {
                true => Ok(report),
                false => Err(Failure::Indeterminate(report.lost.errors.join("; "))),
            }
        }
    }
}

fn withdraw(places: &[Place]) -> Result<Report, Failure> {
    let calm = Order::Rules {
        rules: Vec::new(),
        seed: 0,
    };
    for Place { folder, socket } in places {
        // Whoever still has files open is served without faults; a process that is gone has none to end.
        let _ = order(socket, &calm);
        detach(folder)
            .map_err(|error| Failure::Indeterminate(format!("{}: {error}", folder.display())))?;
    }
    Ok(Report::default())
}

/// Gives all an order, and adds up what they say.
fn all(places: &[Place], what: &Order) -> Result<Report, Failure> {
    let mut report = Report::default();
    for (at, place) in places.iter().enumerate() {
        let failed = |why: String| {
            let why = format!("the file system over {}: {why}", place.folder.display());
            match at {
                0 => Failure::NotDone(why),
                _ => Failure::Indeterminate(why),
            }
        };
        match ask(&place.socket, what).map_err(failed)? {
            Answer::Status(status) => {
                report.status.rules += status.rules;
                report.status.struck += status.struck;
                report.status.files += status.files;
                report.status.entries += status.entries;
            }
            Answer::Lost(lost) => {
                report.lost.files += lost.files;
                report.lost.bytes += lost.bytes;
                report.lost.entries += lost.entries;
                report.lost.errors.extend(lost.errors);
            }
            Answer::Refused(why) => return Err(failed(why)),
        }
    }
    Ok(report)
}

fn ask(socket: &Path, what: &Order) -> Result<Answer, String> {
    order(socket, what).map_err(|error| error.to_string())
}
