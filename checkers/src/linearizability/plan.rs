//! How much each part of the search may look at.

use super::beam::{ALL, Rung};
use super::frontier::{Crashed, Limits};

/// How wide the bounds are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// While nothing was dropped: wide enough to be exact for twenty processes.
    pub(super) calm: Limits,
    /// The upper bound is given up where it does not fit: a bound that drops anything is none.
    pub(super) upper: Limits,
    /// The same for windows.
    pub(super) window: Limits,
    /// How many steps a window has, from the shortest to the longest.
    pub(super) windows: &'static [usize],
    /// Ever wider beams.
    pub(super) ladder: &'static [Rung],
    /// How often the beam may go back to the beginning of the trail.
    pub(super) restarts: usize,
    /// How many steps may pass before a new checkpoint is taken, while nothing was dropped.
    pub(super) checkpoint_steps: usize,
}

pub(super) const PLAN: Plan = Plan {
    calm: Limits {
        crashed: Crashed::Once,
        width: 1 << 8,
        depth: 0,
        closure: 1 << 13,
        ways: usize::MAX,
    },
    upper: Limits {
        crashed: Crashed::Unlimited,
        width: 1 << 14,
        depth: usize::MAX,
        closure: 1 << 17,
        ways: usize::MAX,
    },
    window: Limits {
        crashed: Crashed::Unlimited,
        width: 1 << 8,
        depth: usize::MAX,
        closure: 1 << 10,
        ways: usize::MAX,
    },
    windows: &[8, 32, 128, 512],
    ladder: &[
        rung(4, 1, 0),
        rung(16, 1, 128),
        rung(64, 1, 256),
        // Narrow beams use more crashed operations than they must.
        rung(16, 1, ALL),
    ],
    restarts: 1,
    checkpoint_steps: 1 << 10,
};

pub(super) const fn rung(width: usize, depth: usize, back: usize) -> Rung {
    Rung {
        limits: Limits {
            crashed: Crashed::Once,
            width,
            depth,
            closure: width * 4 + 32,
            ways: width,
        },
        back,
    }
}
