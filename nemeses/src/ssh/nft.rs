//! Undoing rules for links without us: shell scripts that delete our table from a node's firewall.
//!
//! The agent makes the table, `inet gainsay`, and deletes it, without `nft`. These scripts are for when it is gone, and so are all
//! that it does with the table: a fault's rules go with those of the others.

/// A script that deletes the table, if it is there. Whether that worked is for [`VERIFY`] to say.
pub(super) const UNDO: &str = "nft delete table inet gainsay 2>/dev/null || true";

/// A script that succeeds if the table is certainly not there.
pub(super) const VERIFY: &str = "tables=$(nft list tables) && \
     ! printf '%s\\n' \"$tables\" | grep -qx 'table inet gainsay'";

/// A script that succeeds if the others can be run.
pub(super) const CHECK: &str = "command -v nft >/dev/null";
