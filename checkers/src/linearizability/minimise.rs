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
    crashed: Crashed::Once,
    width: 1 << 12,
    depth: usize::MAX,
    closure: 1 << 15,
    ways: usize::MAX,
};

/// How many sub-histories are tried at most.
const TRIES: usize = 5_000;

/// A closed sub-history that was found to be impossible.
struct Candidate<M> {
    members: Members,
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
    let mut best = match last_alone(whole, budget).ok()? {
        Some(found) => found,
        None => shortest_suffix(whole, budget).ok()??,
    };
    let minimal = leave_out(whole, &mut best, budget).unwrap_or(false);
    Some(Impossible {
        ops: chosen(whole, &best.members),
        dead: best.end.dead,
        states: best.end.states,
        machine: best.end.machine,
        minimal,
    })
}

/// The operation that returned last, with what it could not have happened without.
fn last_alone<W: Whole>(
    whole: &W,
    budget: &dyn Budget,
) -> Result<Option<Candidate<W::Machine>>, Exhausted> {
    let all = 0..whole.ops().len() as u32;
    let last = all.max_by_key(|at| whole.ops()[*at as usize].returned);
    let Some(members) = last.and_then(|last| whole.needed_by(last)) else {
        return Ok(None);
    };
    Ok(match examine(whole, &members, budget)? {
        Tried::Impossible(end) => Some(Candidate { members, end }),
        Tried::Possible | Tried::TooHard => None,
    })
}

/// The operations of shortly before the end, as few as are impossible on their own, and all that
/// never returned.
fn shortest_suffix<W: Whole>(
    whole: &W,
    budget: &dyn Budget,
) -> Result<Option<Candidate<W::Machine>>, Exhausted> {
    let mut returns: Vec<u64> = whole.ops().iter().filter_map(|op| op.returned).collect();
    returns.sort_unstable();
    let mut take = 4;
    loop {
        let from = returns.len().saturating_sub(take);
        let mut members = whole.since(returns.get(from).copied().unwrap_or(0));
        whole.shrink(&mut members);
        if let Tried::Impossible(end) = examine(whole, &members, budget)? {
            return Ok(Some(Candidate { members, end }));
        }
        if from == 0 {
            return Ok(None);
        }
        take *= 4;
    }
}

/// Leaves out smaller and smaller pieces wherever the rest stays impossible. Whether it is certain
/// that nothing more can be left out.
fn leave_out<W: Whole>(
    whole: &W,
    best: &mut Candidate<W::Machine>,
    budget: &dyn Budget,
) -> Result<bool, Exhausted> {
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
            if tries == TRIES {
                return Ok(false);
            }
            tries += 1;
            let rest = best.members.iter().copied();
            let mut rest: Members = rest.filter(|at| !left_out(at)).collect();
            whole.shrink(&mut rest);
            match examine(whole, &rest, budget)? {
                Tried::Impossible(end) => {
                    *best = Candidate { members: rest, end };
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

fn chosen<W: Whole>(whole: &W, members: &Members) -> Vec<SliceOp<<W::Machine as Machine>::Op>> {
    members.iter().map(|at| whole.ops()[*at as usize]).collect()
}

/// What a try came to.
enum Tried<M> {
    /// The operations cannot be ordered.
    Impossible(End<M>),
    /// They can.
    Possible,
    /// There are too many configurations to tell.
    TooHard,
}

fn examine<W: Whole>(
    whole: &W,
    members: &Members,
    budget: &dyn Budget,
) -> Result<Tried<W::Machine>, Exhausted> {
    let ops = chosen(whole, members);
    if ops.iter().any(|op| op.returned.is_none()) {
        let unlimited = Limits {
            crashed: Crashed::Unlimited,
            ..TRY
        };
        let tried = run(&ops, whole.object(), unlimited, budget)?;
        if matches!(tried, Tried::Impossible(..)) {
            return Ok(tried);
        }
    }
    run(&ops, whole.object(), TRY, budget)
}

fn run<M: Machine>(
    ops: &[SliceOp<M::Op>],
    (mut machine, initial): (M, u32),
    limits: Limits,
    budget: &dyn Budget,
) -> Result<Tried<M>, Exhausted> {
    let mut events: Vec<(u64, usize, bool)> = Vec::with_capacity(ops.len() * 2);
    for (at, op) in ops.iter().enumerate() {
        events.push((op.invoke, at, false));
        events.extend(op.returned.map(|returned| (returned, at, true)));
    }
    events.sort_unstable();
    budget.check()?;
    let mut frontier = Frontier::new(initial, limits);
    for (_, at, returns) in events {
        let op = &ops[at];
        let id = at as u32;
        match (returns, op.returned) {
            (true, _) => frontier.complete(id, &mut machine, budget)?,
            (false, Some(end)) => frontier.call(id, op.op, end, &mut machine),
            (false, None) => frontier.crash(op.op, &mut machine),
        }
        if frontier.lossy() {
            return Ok(Tried::TooHard);
        }
        if frontier.is_dead() {
            return Ok(Tried::Impossible(End {
                dead: at,
                states: frontier.last_states().to_vec(),
                machine,
            }));
        }
    }
    Ok(Tried::Possible)
}
