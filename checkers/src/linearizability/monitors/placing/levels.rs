//! How many values are certainly inside at each moment, and the nearest moment at which none is.

use crate::budget::Exhausted;

use super::super::history::Pace;

/// A tree over moments, each node with the least level below it.
pub(super) struct Levels {
    /// A power of two.
    leaves: usize,
    least: Vec<i32>,
    /// What was added to all below a node, and is in its `least` already.
    added: Vec<i32>,
}

impl Levels {
    pub(super) fn new(levels: &[i32], pace: &mut Pace<'_>) -> Result<Levels, Exhausted> {
        let leaves = levels.len().next_power_of_two();
        let mut least = pace.array(i32::MAX / 2, 2 * leaves)?;
        least[leaves..leaves + levels.len()].copy_from_slice(levels);
        for node in (1..leaves).rev() {
            least[node] = least[2 * node].min(least[2 * node + 1]);
        }
        let added = pace.array(0, 2 * leaves)?;
        Ok(Levels {
            leaves,
            least,
            added,
        })
    }

    /// One value less is inside at the moments from `from` to before `to`.
    pub(super) fn lower(&mut self, from: usize, to: usize) {
        let (mut left, mut right) = (from + self.leaves, to + self.leaves);
        let (first, last) = (left, right - 1);
        while left < right {
            if left % 2 == 1 {
                self.add(left);
                left += 1;
            }
            if right % 2 == 1 {
                right -= 1;
                self.add(right);
            }
            left /= 2;
            right /= 2;
        }
        for leaf in [first, last] {
            let mut node = leaf / 2;
            while node > 0 {
                let below = self.least[2 * node].min(self.least[2 * node + 1]);
                self.least[node] = below + self.added[node];
                node /= 2;
            }
        }
    }

    fn add(&mut self, node: usize) {
        self.least[node] -= 1;
        self.added[node] -= 1;
    }

    /// The first moment from `from` to `to`, both included, at which no value is inside.
    pub(super) fn first_free(&self, from: usize, to: usize) -> Option<usize> {
        self.free(from, to, [0, 1])
    }

    /// The last one.
    pub(super) fn last_free(&self, from: usize, to: usize) -> Option<usize> {
        self.free(from, to, [1, 0])
    }

    /// Looks below nodes in the order of `sides`.
    fn free(&self, from: usize, to: usize, sides: [usize; 2]) -> Option<usize> {
        if from > to {
            return None;
        }
        // A node, its moments, and what was added above it.
        let mut nodes = vec![(1usize, 0usize, self.leaves, 0)];
        while let Some((node, begin, length, above)) = nodes.pop() {
            let misses = begin > to || begin + length <= from;
            if misses || self.least[node] + above > 0 {
                continue;
            }
            if length == 1 {
                return Some(begin);
            }
            let (half, above) = (length / 2, above + self.added[node]);
            for side in sides.into_iter().rev() {
                nodes.push((2 * node + side, begin + side * half, half, above));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::budget::Unlimited;

    proptest! {
        #[test]
        fn free_moments_are_found(
            spans in prop::collection::vec((0..40usize, 1..20usize), 0..8),
            asked in prop::collection::vec((0..60usize, 0..60usize), 1..10),
        ) {
            let mut levels = vec![0; 60];
            for (from, length) in &spans {
                levels[*from..from + length].iter_mut().for_each(|level| *level += 1);
            }
            let mut tree = Levels::new(&levels, &mut Pace::new(&Unlimited)).unwrap();
            for (from, length) in spans {
                for (low, high) in &asked {
                    let mut free = (*low..=*high).filter(|at| levels[*at] == 0);
                    prop_assert_eq!(tree.first_free(*low, *high), free.clone().next());
                    prop_assert_eq!(tree.last_free(*low, *high), free.next_back());
                }
                tree.lower(from, from + length);
                levels[from..from + length].iter_mut().for_each(|level| *level -= 1);
            }
        }
    }
}
