//! Trees over small numbers, as arrays.

use crate::budget::Exhausted;

use super::history::Pace;

/// How deep each of a row of segments is covered. Intervals are taken away, and segments that have become
/// shallow are given out, each once.
///
/// A segment tree with addition on intervals: a node holds the least depth below it, without what was
/// added to its ancestors.
pub(super) struct Depths {
    size: usize,
    least: Vec<i32>,
    added: Vec<i32>,
}

/// The depth of a segment that was given out.
const GIVEN: i32 = i32::MAX / 2;

impl Depths {
    pub(super) fn new(depths: &[i32], pace: &mut Pace<'_>) -> Result<Depths, Exhausted> {
        let size = depths.len().next_power_of_two();
        let mut least = pace.array(GIVEN, 2 * size)?;
        least[size..size + depths.len()].copy_from_slice(depths);
        for node in (1..size).rev() {
            least[node] = least[2 * node].min(least[2 * node + 1]);
        }
        let added = pace.array(0, size)?;
        Ok(Depths { size, least, added })
    }

    /// Takes away an interval that covers the segments from `from` to before `to`.
    pub(super) fn take(&mut self, from: usize, to: usize) {
        let (mut left, mut right) = (from + self.size, to + self.size);
        while left < right {
            if left % 2 == 1 {
                self.lower(left);
                left += 1;
            }
            if right % 2 == 1 {
                right -= 1;
                self.lower(right);
            }
            left /= 2;
            right /= 2;
        }
        self.renew(from + self.size);
        self.renew(to - 1 + self.size);
    }

    fn lower(&mut self, node: usize) {
        self.least[node] -= 1;
        if node < self.size {
            self.added[node] -= 1;
        }
    }

    fn renew(&mut self, leaf: usize) {
        let mut node = leaf / 2;
        while node > 0 {
            let below = self.least[2 * node].min(self.least[2 * node + 1]);
            self.least[node] = below + self.added[node];
            node /= 2;
        }
    }

    /// Gives out a segment that is at most `depth` deep.
    pub(super) fn shallow(&mut self, depth: i32) -> Option<usize> {
        if self.least[1] > depth {
            return None;
        }
        let (mut node, mut above) = (1, 0);
        while node < self.size {
            above += self.added[node];
            node *= 2;
            if self.least[node] + above > depth {
                node += 1;
            }
        }
        self.least[node] = GIVEN;
        self.renew(node);
        Some(node - self.size)
    }

    /// The first segment from `from` to `to`, both included, that is not covered.
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
        // A node, its segments, and what was added above it.
        let mut nodes = vec![(1usize, 0usize, self.size, 0)];
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

/// Ends of intervals in a row, of which those that reach far are taken out.
pub(super) struct Reaches {
    size: usize,
    /// One more than the greatest end below a node; 0 if there is none.
    greatest: Vec<u32>,
}

impl Reaches {
    pub(super) fn new(
        ends: impl ExactSizeIterator<Item = u32>,
        pace: &mut Pace<'_>,
    ) -> Result<Reaches, Exhausted> {
        let size = ends.len().next_power_of_two();
        let mut greatest = pace.array(0, 2 * size)?;
        for (leaf, end) in greatest[size..].iter_mut().zip(ends) {
            *leaf = end + 1;
        }
        for node in (1..size).rev() {
            greatest[node] = greatest[2 * node].max(greatest[2 * node + 1]);
        }
        Ok(Reaches { size, greatest })
    }

    /// Takes out one of those from `from` to before `to` that ends at `end` or later.
    pub(super) fn take(&mut self, from: usize, to: usize, end: u32) -> Option<usize> {
        let (mut left, mut right) = (from + self.size, to + self.size);
        while left < right {
            if left % 2 == 1 {
                if self.greatest[left] > end {
                    return Some(self.take_below(left, end));
                }
                left += 1;
            }
            if right % 2 == 1 {
                right -= 1;
                if self.greatest[right] > end {
                    return Some(self.take_below(right, end));
                }
            }
            left /= 2;
            right /= 2;
        }
        None
    }

    fn take_below(&mut self, mut node: usize, end: u32) -> usize {
        while node < self.size {
            node *= 2;
            if self.greatest[node] <= end {
                node += 1;
            }
        }
        self.greatest[node] = 0;
        let leaf = node - self.size;
        while node > 1 {
            node /= 2;
            self.greatest[node] = self.greatest[2 * node].max(self.greatest[2 * node + 1]);
        }
        leaf
    }
}

/// The least of the keys that were put at a place or after it, with what came with it (a Fenwick tree).
pub(super) struct SuffixMin {
    nodes: Vec<(u32, u32)>,
}

impl SuffixMin {
    pub(super) fn new(places: usize, pace: &mut Pace<'_>) -> Result<SuffixMin, Exhausted> {
        let nodes = pace.array((u32::MAX, u32::MAX), places + 1)?;
        Ok(SuffixMin { nodes })
    }

    pub(super) fn put(&mut self, place: u32, key: u32, with: u32) {
        let mut at = place as usize + 1;
        while at > 0 {
            if key < self.nodes[at].0 {
                self.nodes[at] = (key, with);
            }
            at &= at - 1;
        }
    }

    /// The least key at `place` or after it. The greatest number if there is none.
    pub(super) fn least(&self, place: u32) -> (u32, u32) {
        let mut at = place as usize + 1;
        let mut least = (u32::MAX, u32::MAX);
        while at < self.nodes.len() {
            if self.nodes[at].0 < least.0 {
                least = self.nodes[at];
            }
            at += at & at.wrapping_neg();
        }
        least
    }
}

/// The exclusive-or of the numbers of all intervals that cover a segment (a Fenwick tree).
pub(super) struct Covering {
    nodes: Vec<u32>,
}

impl Covering {
    pub(super) fn new(segments: usize, pace: &mut Pace<'_>) -> Result<Covering, Exhausted> {
        let nodes = pace.array(0, segments + 2)?;
        Ok(Covering { nodes })
    }

    /// Adds an interval of the segments from `from` to before `to`, or takes it away.
    pub(super) fn toggle(&mut self, from: usize, to: usize, number: u32) {
        for place in [from, to] {
            let mut at = place + 1;
            while at < self.nodes.len() {
                self.nodes[at] ^= number;
                at += at & at.wrapping_neg();
            }
        }
    }

    /// The number of the only interval that covers a segment.
    pub(super) fn only(&self, segment: usize) -> u32 {
        let (mut at, mut number) = (segment + 1, 0);
        while at > 0 {
            number ^= self.nodes[at];
            at &= at - 1;
        }
        number
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
        fn uncovered_segments_are_found(
            spans in prop::collection::vec((0..40usize, 1..20usize), 0..8),
            asked in prop::collection::vec((0..60usize, 0..60usize), 1..10),
        ) {
            let mut levels = vec![0; 60];
            for (from, length) in &spans {
                levels[*from..from + length].iter_mut().for_each(|level| *level += 1);
            }
            let mut tree = Depths::new(&levels, &mut Pace::new(&Unlimited)).unwrap();
            for (from, length) in spans {
                for (low, high) in &asked {
                    let mut free = (*low..=*high).filter(|at| levels[*at] == 0);
                    prop_assert_eq!(tree.first_free(*low, *high), free.clone().next());
                    prop_assert_eq!(tree.last_free(*low, *high), free.next_back());
                }
                tree.take(from, from + length);
                levels[from..from + length].iter_mut().for_each(|level| *level -= 1);
            }
        }
    }
}
