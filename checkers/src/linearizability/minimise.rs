//! From a history that is impossible to a small part of it that is impossible on its own.

use crate::budget::{Budget, Exhausted};

use super::frontier::{Crashed, Frontier, Limits};
use super::model::Machine;
use super::slice::{Members, SliceOp, Whole};

/// A sub-history that cannot be ordered.
pub(super) struct Impossible<M: Machine> {
    /// Its operations, in order of invocation.
    pub(super) ops: Vec<SliceOp<M::Op>>,
    /// Which of them returned when nothing was possible any more.
    pub(super) dead: usize,
    /// The states that were possible until then, ascending.
    pub(super) states: Vec<u32>,
    /// The object that they are states of.
    pub(super) machine: M,
    /// Whether nothing more can be left out.
    pub(super) minimal: bool,
}

/// How a single sub-history is tried.
const TRY: Limits = Limits {
    width: 1 << 12,
    closure: 1 << 15,
    ..Limits::EXACT
};

/// How many sub-histories are tried at most, and how many configurations of theirs are looked at.
const TRIES: usize = 5_000;
const WORK: usize = 1 << 19;

/// A closed sub-history that was found to be impossible.
struct Candidate<M: Machine> {
    members: Members,
    /// As they count in it.
    ops: Vec<SliceOp<M::Op>>,
    end: End<M>,
}

/// How an impossible sub-history ended.
struct End<M> {
    /// Which of its operations returned when nothing was possible any more.
    dead: usize,
    /// The states that were possible until then.
    states: Vec<u32>,
    machine: M,
}

/// Makes an impossible history smaller while it stays impossible.
///
/// First it tries the operation that returned last with all that it needs, then what happened shortly
/// before the end, longer and longer parts; then it leaves out pieces of what was found (Zeller's delta
/// debugging). `None` if no part, and not even the whole, could be shown to be impossible within the
/// limits. When the budget runs out, the smallest so far is good enough.
pub(super) fn minimise<W: Whole>(whole: &W, budget: &dyn Budget) -> Option<Impossible<W::Machine>> {
    let mut trial = Trial {
        whole,
        budget,
        work: 0,
    };
    let mut best = match trial.last_alone().ok()? {
        Some(found) => found,
        None => trial.shortest_suffix().ok()??,
    };
    trial.work = 0;
    let minimal = trial.leave_out(&mut best).unwrap_or(false);
    Some(Impossible {
        ops: best.ops,
        dead: best.end.dead,
        states: best.end.states,
        machine: best.end.machine,
        minimal,
    })
}

/// What a try came to.
enum Tried<F> {
    /// The operations cannot be ordered.
    Impossible(F),
    /// They can.
    Possible,
    /// There are too many configurations to tell.
    TooHard,
}

/// Tries sub-histories.
struct Trial<'a, W> {
    whole: &'a W,
    budget: &'a dyn Budget,
    /// Configurations looked at.
    work: usize,
}

impl<W: Whole> Trial<'_, W> {
    /// The operation that returned last, with what it could not have happened without.
    fn last_alone(&mut self) -> Result<Option<Candidate<W::Machine>>, Exhausted> {
        let all = 0..self.whole.ops().len() as u32;
        let last = all.max_by_key(|at| self.whole.ops()[*at as usize].returned);
        let Some(members) = last.and_then(|last| self.whole.needed_by(last)) else {
            return Ok(None);
        };
        Ok(match self.examine(members)? {
            Tried::Impossible(found) => Some(found),
            Tried::Possible | Tried::TooHard => None,
        })
    }

    /// The operations of shortly before the end, as few as are impossible on their own, and all
    /// that never returned.
    fn shortest_suffix(&mut self) -> Result<Option<Candidate<W::Machine>>, Exhausted> {
        let ops = self.whole.ops().iter();
        let mut returns: Vec<u64> = ops.filter_map(|op| op.returned).collect();
        returns.sort_unstable();
        let mut take = 4;
        loop {
            let from = returns.len().saturating_sub(take);
            let members = self.whole.since(returns.get(from).copied().unwrap_or(0));
            if let Tried::Impossible(found) = self.examine(members)? {
                return Ok(Some(found));
            }
            if from == 0 {
                return Ok(None);
            }
            take *= 4;
        }
    }

    /// Leaves out smaller and smaller pieces wherever the rest stays impossible. Whether it is
    /// certain that nothing more can be left out.
    fn leave_out(&mut self, best: &mut Candidate<W::Machine>) -> Result<bool, Exhausted> {
        let mut piece = best.members.len();
        let mut tries = 0;
        loop {
            piece = (piece / 2).max(1);
            let (mut smaller, mut certain) = (false, true);
            for chunk in best.members.clone().chunks(piece) {
                let left_out = |at: &u32| chunk.binary_search(at).is_ok();
                // Earlier pieces may have taken this one with them.
                if !best.members.iter().any(left_out) {
                    continue;
                }
                if tries == TRIES || self.work > WORK {
                    return Ok(false);
                }
                tries += 1;
                let rest = best.members.iter().copied();
                match self.examine(rest.filter(|at| !left_out(at)).collect())? {
                    Tried::Impossible(found) => {
                        *best = found;
                        smaller = true;
                    }
                    Tried::Possible => {}
                    Tried::TooHard => certain = false,
                }
            }
            if piece == 1 && !smaller {
                return Ok(certain);
            }
        }
    }

    /// Tries the largest closed part of some operations.
    fn examine(&mut self, mut members: Members) -> Result<Tried<Candidate<W::Machine>>, Exhausted> {
        let ops = self.whole.close(&mut members);
        let mut tried = Tried::TooHard;
        if ops.iter().any(|op| op.returned.is_none()) {
            let unlimited = Limits {
                crashed: Crashed::Unlimited,
                ..TRY
            };
            tried = self.run(&ops, unlimited)?;
        }
        if !matches!(tried, Tried::Impossible(..)) {
            tried = self.run(&ops, TRY)?;
        }
        Ok(match tried {
            Tried::Impossible(end) => Tried::Impossible(Candidate { members, ops, end }),
            Tried::Possible => Tried::Possible,
            Tried::TooHard => Tried::TooHard,
        })
    }

    fn run(
        &mut self,
        ops: &[SliceOp<<W::Machine as Machine>::Op>],
        limits: Limits,
    ) -> Result<Tried<End<W::Machine>>, Exhausted> {
        let (mut machine, initial) = self.whole.object();
        let mut events: Vec<(u64, usize, bool)> = Vec::with_capacity(ops.len() * 2);
        for (at, op) in ops.iter().enumerate() {
            events.push((op.invoke, at, false));
            events.extend(op.returned.map(|returned| (returned, at, true)));
        }
        events.sort_unstable();
        self.budget.check()?;
        let mut frontier = Frontier::new(initial, limits);
        let mut tried = Tried::Possible;
        for (_, at, returns) in events {
            let op = &ops[at];
            let id = at as u32;
            match (returns, op.returned) {
                (true, _) => frontier.complete(id, &mut machine, self.budget)?,
                (false, Some(end)) => frontier.call(id, op.op, end, &mut machine),
                (false, None) => frontier.crash(op.op, &mut machine),
            }
            if frontier.lossy() {
                tried = Tried::TooHard;
                break;
            }
            if frontier.is_dead() {
                tried = Tried::Impossible(End {
                    dead: at,
                    states: frontier.last_states().to_vec(),
                    machine,
                });
                break;
            }
        }
        // A long try takes its time, too, where there is nothing to choose.
        self.work += frontier.work() + ops.len() / 4;
        Ok(tried)
    }
}
