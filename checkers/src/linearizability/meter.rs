//! Charging a budget for a structure that grows and shrinks.

use crate::budget::{Budget, Exhausted};

/// What has been charged for one structure.
#[derive(Debug, Default)]
pub(super) struct Meter {
    charged: usize,
}

impl Meter {
    /// Asks whether to go on, and charges for holding `count` values of a type and some more bytes.
    /// Charges ahead, so that a growing structure is rarely charged for.
    pub(super) fn hold<T>(
        &mut self,
        count: usize,
        more: usize,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        budget.check()?;
        let wanted = count.saturating_mul(size_of::<T>()).saturating_add(more);
        if wanted > self.charged {
            let more = wanted.next_power_of_two() - self.charged;
            budget.charge(more)?;
            self.charged += more;
        }
        Ok(())
    }

    /// Gives everything back.
    pub(super) fn release(&mut self, budget: &dyn Budget) {
        budget.release(std::mem::take(&mut self.charged));
    }
}
