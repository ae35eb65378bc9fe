//! Undoing rules without us: shell scripts that delete a layer's table from a node's firewall.
//!
//! The agent makes the tables and deletes them, without `nft`. These scripts are for when it is gone.

/// A script that deletes the table of a layer, if it is there. Whether that worked is for [`verify`] to say.
pub(super) fn undo(layer: &str) -> String {
    format!("nft delete table {} 2>/dev/null || true", table(layer))
}

/// A script that succeeds if the table of a layer is certainly not there.
pub(super) fn verify(layer: &str) -> String {
    format!(
        "tables=$(nft list tables) && \
         ! printf '%s\\n' \"$tables\" | grep -qx 'table {}'",
        table(layer)
    )
}

/// A script that succeeds if the others can be run.
pub(super) fn check() -> String {
    "command -v nft >/dev/null".to_owned()
}

/// The family and the name of a layer's table, as the agent has them.
fn table(layer: &str) -> String {
    format!("inet gainsay_{layer}")
}
