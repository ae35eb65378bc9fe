//! The journal of operations on entries, and how each is taken back.
//!
//! Names beneath are those of the present. What is here is how to come back to those that are durable: from the
//! last operation to the first that is not, each is reversed, which is possible since all that came after it is gone.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use nix::fcntl::RenameFlags;
use nix::sys::stat::Mode;

use super::control::{Lost, Survival};
use super::dice::Dice;
use super::node::{self, Node};

/// The most operations that are kept; beyond it the oldest are durable.
const KEPT_MOST: usize = 100_000;

/// A name in a folder.
pub(crate) type Place = (Arc<Node>, OsString);

/// An operation on entries.
pub(crate) enum Change {
    /// Something is under a name where nothing was.
    Added(Place, Arc<Node>),
    /// What was under a name is not any more.
    Removed(Place, Arc<Node>),
    /// What was under a name is under another, in the place of something, perhaps.
    Renamed {
        from: Place,
        to: Place,
        node: Arc<Node>,
        replaced: Option<Arc<Node>>,
    },
    /// Two names mean what the other did.
    Exchanged(Place, Place),
    /// Another owner or mode than these.
    Attributes {
        node: Arc<Node>,
        user: u32,
        group: u32,
        mode: u32,
    },
    /// An extended attribute had this value, or none.
    Extended {
        node: Arc<Node>,
        name: OsString,
        value: Option<Vec<u8>>,
    },
}

/// The operations that are not durable, in their order.
#[derive(Default)]
pub(crate) struct Entries {
    /// The number of the first.
    first: u64,
    changes: VecDeque<Change>,
}

impl Entries {
    pub(crate) fn len(&self) -> u64 {
        self.changes.len() as u64
    }

    /// An operation was done. Returns its mark: one more than its number, for 0 is none.
    pub(crate) fn push(&mut self, change: Change) -> u64 {
        let mark = self.first + self.len() + 1;
        let touch = |node: &Node| node.touched.store(mark, Ordering::Relaxed);
        match &change {
            Change::Added((folder, _), node) | Change::Removed((folder, _), node) => {
                touch(folder);
                touch(node);
            }
            Change::Renamed {
                from,
                to,
                node,
                replaced,
            } => {
                touch(&from.0);
                touch(&to.0);
                touch(node);
                replaced.iter().for_each(|node| touch(node));
            }
            Change::Exchanged(one, other) => {
                touch(&one.0);
                touch(&other.0);
            }
            Change::Attributes { node, .. } | Change::Extended { node, .. } => touch(node),
        }
        self.changes.push_back(change);
        if self.changes.len() > KEPT_MOST {
            self.durable(self.first + 1);
        }
        mark
    }

    /// All before a mark are durable.
    pub(crate) fn durable(&mut self, mark: u64) {
        let count = mark.saturating_sub(self.first).min(self.len());
        self.changes.drain(..count as usize);
        self.first += count;
    }

    /// Takes back what does not survive a cut, newest first.
    pub(crate) fn cut(&mut self, survival: Survival, dice: &mut Dice, lost: &mut Lost) {
        let survive = match survival {
            Survival::Nothing => 0,
            Survival::Some | Survival::Torn => dice.below(self.len() + 1),
        };
        self.durable(self.first + survive);
        // No mark that a thing has is ever given to another operation.
        self.first += self.len();
        while let Some(change) = self.changes.pop_back() {
            match change.take_back() {
                Ok(()) => lost.entries += 1,
                Err(error) => lost.errors.push(format!("{}: {error}", change.what())),
            }
        }
    }
}

impl Change {
    fn take_back(&self) -> io::Result<()> {
        match self {
            Change::Added((folder, name), node) => node::remove(folder, name, node.is_folder()),
            Change::Removed((folder, name), node) => node.revive(folder, name),
            Change::Renamed {
                from, to, replaced, ..
            } => {
                let (from, to) = ((&*from.0, &*from.1), (&*to.0, &*to.1));
                node::rename(to, from, RenameFlags::RENAME_NOREPLACE)?;
                match replaced {
                    Some(replaced) => replaced.revive(to.0, to.1),
                    None => Ok(()),
                }
            }
            Change::Exchanged(one, other) => node::rename(
                (&one.0, &one.1),
                (&other.0, &other.1),
                RenameFlags::RENAME_EXCHANGE,
            ),
            Change::Attributes {
                node,
                user,
                group,
                mode,
            } => {
                node::own(node.fd(), Some(*user), Some(*group))?;
                node.chmod(Mode::from_bits_truncate(mode & 0o7777))
            }
            Change::Extended { node, name, value } => {
                node::set_attribute(node, name, value.as_deref(), 0)
            }
        }
    }

    fn what(&self) -> String {
        let (what, name) = match self {
            Change::Added((_, name), _) => ("taking away", name),
            Change::Removed((_, name), _) => ("bringing back", name),
            Change::Renamed { from, .. } => ("renaming back", &from.1),
            Change::Exchanged((_, name), _) => ("exchanging back", name),
            Change::Attributes { .. } => return "setting owner and mode back".to_owned(),
            Change::Extended { name, .. } => ("setting an attribute back", name),
        };
        format!("{what} {}", name.display())
    }
}
