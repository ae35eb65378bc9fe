//! Vector clocks: which transactions each has before it.
//!
//! Writers are put into *chains*, each of which is in order of what came before what; a clock says for each chain how much of it a
//! transaction has before it. A session is a chain, but sessions come and go: where the last writer of one that is over
//! has been seen, another goes on with its chain, so that there are about as many chains as sessions at a time.

use super::super::super::values::NONE;
use crate::budget::{Budget, Exhausted};

/// Clocks of those transactions that somebody still needs.
pub(super) struct Clocks {
    /// How many chains a row has place for.
    width: usize,
    rows: Vec<u32>,
    free_rows: Vec<u32>,
    /// By transaction: its row, or `NONE`.
    row: Vec<u32>,
    /// By transaction: its chain and how manieth there it is, from 1. `NONE` and 0 where it is in none.
    place: Vec<(u32, u32)>,
    /// By chain: how long it is.
    pub(super) length: Vec<u32>,
    /// Chains whose sessions are over.
    free: Vec<u32>,
    /// By session, its chain.
    of_session: Vec<u32>,
}

impl Clocks {
    pub(super) fn new(transactions: usize, sessions: usize) -> Clocks {
        Clocks {
            width: 8,
            rows: Vec::new(),
            free_rows: Vec::new(),
            row: vec![NONE; transactions],
            place: vec![(NONE, 0); transactions],
            length: Vec::new(),
            free: Vec::new(),
            of_session: vec![NONE; sessions],
        }
    }

    /// Begins a clock that has seen nothing.
    pub(super) fn begin(&mut self, transaction: u32, budget: &dyn Budget) -> Result<(), Exhausted> {
        let row = match self.free_rows.pop() {
            Some(row) => row,
            None => {
                budget.charge(self.width * 4)?;
                self.rows.resize(self.rows.len() + self.width, 0);
                (self.rows.len() / self.width) as u32 - 1
            }
        };
        let begin = row as usize * self.width;
        self.rows[begin..begin + self.width].fill(0);
        self.row[transaction as usize] = row;
        Ok(())
    }

    /// The clock of a transaction, by chain.
    pub(super) fn of(&self, transaction: u32) -> &[u32] {
        let begin = self.row[transaction as usize] as usize * self.width;
        &self.rows[begin..begin + self.width]
    }

    /// Whether a transaction comes before another that has its clock.
    pub(super) fn is_before(&self, one: u32, other: u32) -> bool {
        let (chain, at) = self.place[one as usize];
        at > 0 && self.of(other)[chain as usize] >= at
    }

    /// How manieth of its chain a transaction is.
    pub(super) fn place(&self, transaction: u32) -> u32 {
        self.place[transaction as usize].1
    }

    /// Adds what another has seen, and itself, to a clock.
    pub(super) fn join(&mut self, transaction: u32, other: u32) {
        let to = self.row[transaction as usize] as usize * self.width;
        let from = self.row[other as usize] as usize * self.width;
        for chain in 0..self.length.len() {
            self.rows[to + chain] = self.rows[to + chain].max(self.rows[from + chain]);
        }
        let (chain, at) = self.place[other as usize];
        if at > 0 {
            let seen = &mut self.rows[to + chain as usize];
            *seen = (*seen).max(at);
        }
    }

    /// Puts a transaction at the end of a chain, and says which.
    pub(super) fn chain(
        &mut self,
        transaction: u32,
        session: u32,
        budget: &dyn Budget,
    ) -> Result<u32, Exhausted> {
        let row = self.row[transaction as usize] as usize * self.width;
        let own = self.of_session[session as usize];
        let seen = |chain: u32, this: &Clocks| {
            this.rows[row + chain as usize] == this.length[chain as usize]
        };
        let better =
            (0..self.free.len()).find(|at| self.free[*at] < own && seen(self.free[*at], self));
        let chain = match better {
            Some(at) => {
                let chain = self.free.swap_remove(at);
                if own != NONE {
                    self.free.push(own);
                }
                chain
            }
            None if own != NONE && seen(own, self) => own,
            None => {
                if own != NONE {
                    self.free.push(own);
                }
                self.length.push(0);
                if self.length.len() > self.width {
                    self.widen(budget)?;
                }
                self.length.len() as u32 - 1
            }
        };
        self.of_session[session as usize] = chain;
        self.length[chain as usize] += 1;
        self.place[transaction as usize] = (chain, self.length[chain as usize]);
        Ok(chain)
    }

    fn widen(&mut self, budget: &dyn Budget) -> Result<(), Exhausted> {
        let (old, new) = (self.width, self.width * 2);
        budget.charge(self.rows.len() * 4)?;
        let count = self.rows.len() / old;
        let mut rows = vec![0; count * new];
        for row in 0..count {
            rows[row * new..row * new + old]
                .copy_from_slice(&self.rows[row * old..(row + 1) * old]);
        }
        self.rows = rows;
        self.width = new;
        Ok(())
    }

    /// Says that a session is over.
    pub(super) fn end(&mut self, session: u32) {
        let own = std::mem::replace(&mut self.of_session[session as usize], NONE);
        if own != NONE {
            self.free.push(own);
        }
    }

    /// Says that nobody needs the clock of a transaction any more.
    pub(super) fn forget(&mut self, transaction: u32) {
        let row = std::mem::replace(&mut self.row[transaction as usize], NONE);
        if row != NONE {
            self.free_rows.push(row);
        }
    }
}
