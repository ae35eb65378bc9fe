//! Random streams that do not depend on arrival order.
//!
//! A [`Seed`] is a node of a tree. Each generator, worker and fault takes the child named after its
//! place in the tree, and each draw takes the child numbered by a counter of its own. So the n-th
//! operation of a worker is the same in every run with the same seed, whatever the other workers do.

use std::fmt;

use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

/// The generator of random numbers used everywhere: small, fast, and the same on every platform and
/// in every version.
pub type Rng = Xoshiro256PlusPlus;

/// A node in the tree of random streams.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seed(u64);

impl Seed {
    /// The root, from the number the user gave or was shown.
    pub fn new(seed: u64) -> Seed {
        Seed(mix(seed))
    }

    /// The child with a name.
    pub fn named(self, name: &str) -> Seed {
        // FNV-1a over the name, then mixed into the parent.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Seed(mix(self.0 ^ hash.rotate_left(32)))
    }

    /// The child with a number.
    pub fn child(self, n: u64) -> Seed {
        Seed(mix(self.0.wrapping_add(mix(n ^ 0x9e37_79b9_7f4a_7c15))))
    }

    /// The random stream of this node.
    pub fn rng(self) -> Rng {
        Rng::seed_from_u64(self.0)
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seed({:016x})", self.0)
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014).
fn mix(z: u64) -> u64 {
    let z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_differ_and_repeat() {
        let root = Seed::new(7);
        assert_eq!(root.named("a").child(3), Seed::new(7).named("a").child(3));
        assert_ne!(root.named("a"), root.named("b"));
        assert_ne!(root.child(0), root.child(1));
        assert_ne!(root.child(0), root);
    }
}
