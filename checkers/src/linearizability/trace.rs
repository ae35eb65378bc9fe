//! How configurations came to be, for whoever wants to see an order.
//!
//! A search keeps no orders: each would be as long as the history. What it takes to make one is only which open or
//! crashed operations a configuration let take effect, one after the other ([`Move`]); everything else follows. A
//! machine that is wrapped in [`Tracing`] notes each move together with the number of the one before it, so that
//! configurations share what they have in common, and a configuration keeps one number, its *trace*. Now and then,
//! what no living configuration came from is forgotten. [`unfold`](super::unfold) makes an order of a trace.

use crate::budget::{Budget, Exhausted};

use super::frontier::OpId;
use super::log::{Happening, LoggedOp, happenings};
use super::meter::Meter;
use super::model::{Machine, RegisterOp};
use super::search::{Answer, Search};
use super::unfold::unfold;

/// What a configuration does within an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// An open operation takes effect, and something sees it.
    Open(OpId),
    /// One of a class of crashed operations does. Classes are numbered by when their first operation began.
    Crashed(u32),
}

/// A move, and the trace of the configuration that made it.
struct Note {
    before: u32,
    made: Move,
}

/// A machine that notes moves.
pub(super) struct Tracing<A> {
    machine: A,
    /// By trace. The first is of no move.
    notes: Vec<Note>,
    /// Traces that may be given anew.
    free: Vec<u32>,
    /// How many notes there may be before they are swept.
    room: usize,
}

/// So many notes are not worth sweeping.
const FEW: usize = 1 << 19;

impl<A: Machine> Tracing<A> {
    pub(super) fn new(machine: A) -> Self {
        Tracing::with_room(machine, FEW)
    }

    /// The same, swept when there are so many notes.
    pub(super) fn with_room(machine: A, room: usize) -> Self {
        let made = Move::Crashed(u32::MAX);
        Tracing {
            machine,
            notes: vec![Note { before: 0, made }],
            free: Vec::new(),
            room,
        }
    }

    /// The moves of a trace, the first first.
    fn moves(&self, trace: u32) -> Vec<Move> {
        let mut moves = Vec::new();
        let mut at = trace as usize;
        while let Some(note) = self.notes.get(at).filter(|_| at > 0) {
            moves.push(note.made);
            at = note.before as usize;
        }
        moves.reverse();
        moves
    }
}

impl<A: Machine> Machine for Tracing<A> {
    type Op = A::Op;

    fn apply(&mut self, state: u32, op: A::Op) -> Option<u32> {
        self.machine.apply(state, op)
    }

    fn accepts(&mut self, state: u32, op: A::Op) -> bool {
        self.machine.accepts(state, op)
    }

    fn is_observation(&self, op: A::Op) -> bool {
        self.machine.is_observation(op)
    }

    fn is_overwrite(&self, op: A::Op) -> bool {
        self.machine.is_overwrite(op)
    }

    fn is_repeatable(&self, op: A::Op) -> bool {
        self.machine.is_repeatable(op)
    }

    fn places(&self) -> usize {
        self.machine.places()
    }

    fn states_told_apart(&self, ops: &[A::Op]) -> Option<Vec<u32>> {
        self.machine.states_told_apart(ops)
    }

    fn bytes(&self) -> usize {
        let notes = self.notes.capacity() * size_of::<Note>();
        self.machine.bytes() + notes + self.free.capacity() * size_of::<u32>()
    }

    fn as_register(&self, op: A::Op) -> Option<RegisterOp> {
        self.machine.as_register(op)
    }

    fn is_crowded(&self) -> bool {
        self.machine.is_crowded()
    }

    fn retain(&mut self, live: &[u32]) {
        self.machine.retain(live);
    }

    fn note(&mut self, trace: u32, made: Move) -> u32 {
        let note = Note {
            before: trace,
            made,
        };
        if let Some(at) = self.free.pop() {
            self.notes[at as usize] = note;
            return at;
        }
        self.notes.push(note);
        (self.notes.len() - 1) as u32
    }

    fn takes_notes(&self) -> bool {
        true
    }

    fn is_littered(&self) -> bool {
        self.notes.len() - self.free.len() > self.room
    }

    fn sweep(&mut self, live: &[u32]) {
        let mut kept = vec![false; self.notes.len()];
        kept[0] = true;
        for trace in live {
            let mut at = *trace as usize;
            while !std::mem::replace(&mut kept[at], true) {
                at = self.notes[at].before as usize;
            }
        }
        let free = (0u32..).zip(&kept).filter(|(_, kept)| !**kept);
        self.free = free.map(|(at, _)| at).collect();
        let left = self.notes.len() - self.free.len();
        self.room = self.room.max(left * 2);
    }
}

/// An order of the operations by their invocations, which are those of the log, found by the search that decided
/// about them. Crashed operations that need not have happened are not in it. `None` if it knows of none.
pub(super) fn find<'a, A: Machine + Clone, T: 'a>(
    log: impl Iterator<Item = &'a LoggedOp<A::Op, T>>,
    (machine, initial): (A, u32),
    budget: &dyn Budget,
) -> Result<Option<Vec<u64>>, Exhausted>
where
    A::Op: 'a,
{
    let ops: Vec<_> = log.collect();
    let mut search = Search::new(Tracing::new(machine.clone()), initial);
    let mut meter = Meter::default();
    let found = follow(&mut search, &ops, &mut meter, budget);
    meter.release(budget);
    let order = found?.and_then(|moves| unfold(&ops, &moves, (machine, initial)));
    Ok(order.map(|order| order.iter().map(|at| ops[*at as usize].invoke).collect()))
}

/// Sends a search over operations: the moves of a configuration that survives them.
pub(super) fn follow<A: Machine, T>(
    search: &mut Search<Tracing<A>>,
    ops: &[&LoggedOp<A::Op, T>],
    meter: &mut Meter,
    budget: &dyn Budget,
) -> Result<Option<Vec<Move>>, Exhausted> {
    let events = happenings(ops.iter().copied(), u64::MAX);
    for (count, (index, at, returns)) in events.into_iter().enumerate() {
        if count.is_multiple_of(64) {
            let more = search.bytes() + search.machine.bytes();
            meter.hold::<(&LoggedOp<A::Op, T>, Happening, Happening)>(ops.len(), more, budget)?;
        }
        let op = ops[at as usize];
        match returns {
            true => search.complete(at, index, budget)?,
            false => search.call(at, op.op, op.returned(), index, budget)?,
        }
    }
    match search.survivor(budget) {
        Ok(trace) => Ok(Some(search.machine.moves(trace))),
        Err(Answer::Exhausted(exhausted)) => Err(exhausted),
        Err(_) => Ok(None),
    }
}
