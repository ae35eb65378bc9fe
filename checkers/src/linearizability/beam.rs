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
use super::steps::{Step, Trail, apply, sweep};

/// A beam of the ladder, from the narrowest to the widest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rung {
    pub(super) limits: Limits,
    /// How many steps it is sent back, at least.
    pub(super) back: usize,
    /// How many configurations it may look at before it has caught up.
    pub(super) work: usize,
}

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

    /// Sends a wider beam over the last of the first `end` steps. Whether it survives them.
    pub(super) fn go_back<A: Machine<Op = T>>(
        &mut self,
        rung: Rung,
        trail: &Trail<T>,
        end: usize,
        machine: &mut A,
        budget: &dyn Budget,
    ) -> Result<bool, Exhausted> {
        let Rung { limits, back, work } = rung;
        let far_enough = |snapshot: &Snapshot<T>| end - snapshot.at >= back;
        let (frontier, at) = match self.snapshots.iter().rposition(far_enough) {
            Some(at) => (self.snapshots[at].frontier.clone(), self.snapshots[at].at),
            None if self.snapshots.len() < SNAPSHOTS => (trail.start.clone(), 0),
            None => (self.snapshots[0].frontier.clone(), self.snapshots[0].at),
        };
        self.frontier = frontier;
        self.frontier.set_limits(limits);
        let most = self.frontier.work().saturating_add(work);
        let mut fresh = VecDeque::new();
        for (seen, (step, _)) in (at + 1..).zip(&trail.steps[at..end]) {
            if seen.is_multiple_of(64) {
                budget.check()?;
            }
            apply(&mut self.frontier, *step, machine, budget)?;
            if self.frontier.is_dead() || self.frontier.work() > most {
                return Ok(false);
            }
            if seen.is_multiple_of(SNAPSHOT_STEPS) {
                let frontier = self.frontier.clone();
                fresh.push_back(Snapshot { frontier, at: seen });
                if fresh.len() > SNAPSHOTS {
                    fresh.pop_front();
                }
            }
        }
        self.width = limits.width;
        self.is_wide = true;
        self.relax_at = end.saturating_add(back);
        self.snapshots.retain(|snapshot| snapshot.at <= at);
        self.snapshots.extend(fresh);
        let surplus = self.snapshots.len().saturating_sub(SNAPSHOTS);
        self.snapshots.drain(..surplus);
        Ok(true)
    }

    /// What is left of a beam that begins with the trail, and climbs the ladder where it must, after all of
    /// it, if it survives that.
    pub(super) fn survivors<A: Machine<Op = T>>(
        trail: &Trail<T>,
        ladder: &[Rung],
        machine: &mut A,
        budget: &dyn Budget,
    ) -> Result<Option<Frontier<T>>, Exhausted> {
        let mut beam = Beam::new(trail.start.clone(), ladder, 0);
        for (at, (step, _)) in (1usize..).zip(&trail.steps) {
            if at.is_multiple_of(64) {
                budget.check()?;
                if machine.is_littered() {
                    sweep(beam.frontiers().chain([&trail.start]), machine);
                }
            }
            beam.advance(*step, at, ladder, machine, budget)?;
            if !beam.frontier.is_dead() {
                continue;
            }
            let width = beam.width;
            let mut survived = false;
            for rung in ladder.iter().filter(|rung| rung.limits.width > width) {
                survived = beam.go_back(*rung, trail, at, machine, budget)?;
                if survived {
                    break;
                }
            }
            if !survived {
                return Ok(None);
            }
        }
        Ok(Some(beam.frontier))
    }

    /// Adds the states that what follows may still begin from, and forgets about all others.
    pub(super) fn live_states(&mut self, into: &mut Vec<u32>) {
        self.frontier.live_states(into);
        for snapshot in &mut self.snapshots {
            snapshot.frontier.live_states(into);
        }
    }

    /// Forgets the steps before the oldest snapshot: how many these are, and that.
    pub(super) fn forget(&mut self) -> Option<(usize, Frontier<T>)> {
        let Snapshot { frontier, at } = self.snapshots.front()?;
        let (start, steps) = (frontier.clone(), *at);
        for snapshot in &mut self.snapshots {
            snapshot.at -= steps;
        }
        self.relax_at = self.relax_at.saturating_sub(steps);
        Some((steps, start))
    }

    /// The frontier, and all that it may go back to.
    pub(super) fn frontiers(&self) -> impl Iterator<Item = &Frontier<T>> {
        let snapshots = self.snapshots.iter().map(|snapshot| &snapshot.frontier);
        std::iter::once(&self.frontier).chain(snapshots)
    }

    /// A frontier near the last step, for what is open there.
    pub(super) fn snapshot_before(&self, at: usize) -> Option<(&Frontier<T>, usize)> {
        let snapshot = self.snapshots.iter().rev().find(|it| it.at <= at)?;
        Some((&snapshot.frontier, snapshot.at))
    }
}
