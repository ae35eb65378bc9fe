//! How much each part of the search may look at.

use super::beam::Rung;
use super::frontier::{Crashed, Limits};

/// How wide the bounds are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// How many steps a scout goes ahead of the search.
    pub(super) ahead: usize,
    /// How many steps are between its camps.
    pub(super) camp_steps: usize,
    /// What it is rescued by where it does not get on, one after the other.
    pub(super) rescue: &'static [Rung],
    /// While nothing was dropped: wide enough to be exact for twenty processes.
    pub(super) calm: Limits,
    /// The upper bound is given up where it does not fit: a bound that drops anything is none.
    pub(super) upper: Limits,
    /// The same for windows. The longer the window, the fewer configurations are looked at within
    /// one event: `closure` is for all of it.
    pub(super) window: Limits,
    /// How many steps a window has, from the shortest to the longest.
    pub(super) windows: &'static [usize],
    /// Ever wider beams.
    pub(super) ladder: &'static [Rung],
    /// For beginning all over at the end: narrow beams use more crashed operations than they must.
    pub(super) second_ladders: &'static [&'static [Rung]],
    /// How many of them are cheap. The others are asked after all upper bounds.
    pub(super) cheap: usize,
    /// How often dear beams may be asked, each time within so many steps of the last.
    pub(super) deaths: usize,
    pub(super) pause: usize,
    /// How many steps pass between two counts while nothing else is known.
    pub(super) count_steps: usize,
    /// How many steps may pass before a new checkpoint is taken, while nothing was dropped.
    pub(super) checkpoint_steps: usize,
}

pub(super) const PLAN: Plan = Plan {
    ahead: 1 << 22,
    camp_steps: 128,
    rescue: &[
        quick(thrifty(rung(32, 1, 64))),
        quick(rung(24, 1, 384)),
        quick(rung(128, 1, 700)),
    ],
    calm: Limits {
        width: 1 << 8,
        depth: 0,
        closure: 1 << 13,
        ..Limits::EXACT
    },
    upper: Limits {
        crashed: Crashed::Unlimited,
        width: 1 << 14,
        closure: 1 << 17,
        ..Limits::EXACT
    },
    window: Limits {
        crashed: Crashed::Unlimited,
        width: 1 << 8,
        closure: 1 << 17,
        ..Limits::EXACT
    },
    windows: &[8, 32, 128, 512],
    ladder: &[
        thrifty(rung(4, 1, 0)),
        thrifty(rung(6, 1, 64)),
        thrifty(rung(12, 1, 512)),
        rung(16, 1, 128),
        thrifty(rung(20, 1, 4096)),
        thorough(8, 32),
        thorough(24, 32),
        thorough(64, 32),
        rung(72, 1, 4096),
        thorough(256, 64),
    ],
    second_ladders: &[
        &[rung(16, 1, 0), thorough(64, 32), thorough(256, 64)],
        &[rung(32, 1, 0), thorough(256, 128), thorough(1024, 256)],
    ],
    cheap: 4,
    deaths: 4,
    pause: 128,
    count_steps: 1 << 13,
    checkpoint_steps: 1 << 10,
};

pub(super) const fn rung(width: usize, depth: usize, back: usize) -> Rung {
    Rung {
        limits: Limits {
            width,
            depth,
            closure: width * 4 + 32,
            ways: width,
            ..Limits::EXACT
        },
        back,
        work: usize::MAX,
    }
}

/// A beam that lets crashed operations take effect only where nothing else will do.
const fn thrifty(rung: Rung) -> Rung {
    let limits = Limits {
        thrifty: true,
        ..rung.limits
    };
    Rung { limits, ..rung }
}

/// A beam that is given up soon.
const fn quick(rung: Rung) -> Rung {
    Rung {
        work: 1 << 12,
        ..rung
    }
}

/// A beam that also goes ways that cost more than others: what is dear now may be what is needed.
pub(super) const fn thorough(width: usize, back: usize) -> Rung {
    Rung {
        limits: Limits {
            width,
            depth: 3,
            closure: width * 32,
            ways: width * 8,
            ..Limits::EXACT
        },
        back,
        work: width << 12,
    }
}
