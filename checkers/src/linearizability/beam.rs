//! The lower bound: a frontier that may drop configurations, and goes back when it has dropped the
//! wrong ones.
//!
//! While it lives, there is an order of everything so far: each configuration stands for one. When
//! it dies, a wider one is sent over the last steps again, from a snapshot; the wider, the further
//! back. Where the hard part is over, it becomes narrow again. So a long history costs little more
//! than its easy parts do, however many hard ones there are.

use std::collections::VecDeque;
use std::hash::Hash;

use crate::budget::{Budget, Exhausted};

use super::frontier::{Frontier, Limits};
use super::model::Machine;
use super::steps::{Step, Trail, apply};

/// A beam of the ladder, from the narrowest to the widest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rung {
    pub(super) limits: Limits,
    /// How many steps it is sent back, at least.
    pub(super) back: usize,
}

/// Back to the beginning of the trail.
pub(super) const ALL: usize = usize::MAX;

/// A beam as it was at some step.
struct Snapshot<T: Copy + Eq + Hash> {
    frontier: Frontier<T>,
    /// How many steps of the trail it had seen.
    at: usize,
}

pub(super) struct Beam<T: Copy + Eq + Hash> {
    pub(super) frontier: Frontier<T>,
    /// How wide it is at present, and whether that is more than at first.
    width: usize,
    is_wide: bool,
    /// Where it becomes narrow again.
    relax_at: usize,
    /// Ascending; the oldest are forgotten.
    snapshots: VecDeque<Snapshot<T>>,
}

/// How far apart snapshots are, and how many are kept.
const SNAPSHOT_STEPS: usize = 128;
const SNAPSHOTS: usize = 64;

impl<T: Copy + Eq + Hash> Beam<T> {
    /// A beam that begins as `frontier`, which has seen all of the trail so far.
    pub(super) fn new(frontier: Frontier<T>, ladder: &[Rung], at: usize) -> Self {
        let mut beam = Beam {
            frontier,
            width: 0,
            is_wide: false,
            relax_at: 0,
            snapshots: VecDeque::new(),
        };
        beam.climb_down(ladder);
        beam.take_snapshot(at);
        beam
    }

    fn climb_down(&mut self, ladder: &[Rung]) {
        self.width = ladder[0].limits.width;
        self.is_wide = false;
        self.frontier.set_limits(ladder[0].limits);
    }

    /// How many configurations it keeps at present.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// The last step of the trail happens.
    pub(super) fn advance<A: Machine<Op = T>>(
        &mut self,
        step: Step<T>,
        at: usize,
        ladder: &[Rung],
        machine: &mut A,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        apply(&mut self.frontier, step, machine, budget)?;
        if self.is_wide && at >= self.relax_at {
            self.climb_down(ladder);
        }
        if at.is_multiple_of(SNAPSHOT_STEPS) && !self.frontier.is_dead() {
            self.take_snapshot(at);
        }
        Ok(())
    }

    fn take_snapshot(&mut self, at: usize) {
        if self.snapshots.len() == SNAPSHOTS {
            self.snapshots.pop_front();
        }
        let frontier = self.frontier.clone();
        self.snapshots.push_back(Snapshot { frontier, at });
    }

    /// Sends a wider beam over the last steps. Whether it survives them.
    pub(super) fn go_back<A: Machine<Op = T>>(
        &mut self,
        rung: Rung,
        trail: &Trail<T>,
        machine: &mut A,
        budget: &dyn Budget,
    ) -> Result<bool, Exhausted> {
        let Rung { limits, back } = rung;
        let end = trail.steps.len();
        let far_enough = |snapshot: &Snapshot<T>| end - snapshot.at >= back;
        let (frontier, at) = match self.snapshots.iter().rposition(far_enough) {
            Some(at) => (self.snapshots[at].frontier.clone(), self.snapshots[at].at),
            None if back == ALL || self.snapshots.len() < SNAPSHOTS => (trail.start.clone(), 0),
            None => (self.snapshots[0].frontier.clone(), self.snapshots[0].at),
        };
        let replay = trail.replay(frontier, at, limits, machine, budget)?;
        let survived = replay.died_at.is_none();
        self.frontier = replay.frontier;
        if survived {
            self.width = limits.width;
            self.is_wide = true;
            self.relax_at = end.saturating_add(back);
            self.snapshots.retain(|snapshot| snapshot.at <= at);
        }
        Ok(survived)
    }

    /// Adds the states that what follows may still begin from, and forgets about all others.
    pub(super) fn live_states(&mut self, into: &mut Vec<u32>) {
        self.frontier.live_states(into);
        for snapshot in &mut self.snapshots {
            snapshot.frontier.live_states(into);
        }
    }

    /// A frontier near the last step, for what is open there.
    pub(super) fn snapshot_before(&self, at: usize) -> Option<(&Frontier<T>, usize)> {
        let snapshot = self.snapshots.iter().rev().find(|it| it.at <= at)?;
        Some((&snapshot.frontier, snapshot.at))
    }
}
