//! Short names of runs.

use sha2::{Digest, Sha256};

/// How many letters an id has: 48 bits, so that of ten thousand runs no two are likely ever to share one.
const LETTERS: usize = 12;

/// The id of a run by its name, `<test>/<time>`: the first digits of its SHA-256, with the letters `k` to `z` for `0` to `f`.
///
/// So no id looks like the beginning of a time, and none spells a word that it should not (there is no `a`, `e` or `i`).
pub(super) fn of(name: &str) -> String {
    let hash = Sha256::digest(name.as_bytes());
    let nibbles = hash.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    nibbles
        .take(LETTERS)
        .map(|nibble| char::from(b'k' + nibble))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_never_change() {
        // What people have written down must stay true.
        assert_eq!(of("etcd-register/20261122T114205.123Z"), "wmxrpupquoos");
    }
}
