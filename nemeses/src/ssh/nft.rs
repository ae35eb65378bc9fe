//! Our table in a node's firewall, as text: what to tell `nft`, and how to read what it says.
//!
//! All that Gainsay ever does to a firewall is in one table of its own, `inet gainsay`, which is made whole
//! in one transaction and deleted whole. Nobody else's tables are read or touched. Its only chain drops
//! packets as they come in, before other filters see them, by the sender's address; so connections
//! that are open already are cut too, and nothing but packets from chosen peers is ever dropped.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;

/// The table's family and name.
const TABLE: &str = "inet gainsay";

/// A script that checks that we may and can make the table, and changes nothing.
pub(super) fn check() -> String {
    let rules = table(&[
        IpAddr::from([192, 0, 2, 1]),
        IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]),
    ]);
    format!("command -v nft >/dev/null || exit 127; nft -c '{rules}'")
}

/// A script that replaces the table, in one transaction, by one that drops packets from these addresses;
/// and prints what the kernel then says that it has (`-e`). Either all of it is done, or nothing.
pub(super) fn cut(sources: &[IpAddr]) -> String {
    format!("nft -e '{}'", table(sources))
}

/// A script that prints the counter of dropped packets, if the table is there.
pub(super) fn count() -> String {
    format!("nft list counter {TABLE} dropped")
}

/// A script that deletes the table, sees that it is gone (either the kernel says that it deleted it, or it
/// is not there), and prints the last count.
pub(super) fn heal() -> String {
    format!(
        "counted=$(nft list counter {TABLE} dropped 2>/dev/null); \
         {{ nft delete table {TABLE} 2>/dev/null || {}; }} && printf '%s\\n' \"$counted\"",
        verify()
    )
}

/// A script that deletes the table, if it is there. Whether that worked is for [`verify`] to say.
pub(super) fn undo() -> String {
    format!("nft delete table {TABLE} 2>/dev/null || true")
}

/// A script that succeeds if the table is certainly not there.
pub(super) fn verify() -> String {
    format!(
        "tables=$(nft list tables) && \
         ! printf '%s\\n' \"$tables\" | grep -qx 'table {TABLE}'"
    )
}

/// The table, as one transaction: made if it is not there so that it can be deleted, and made anew.
fn table(sources: &[IpAddr]) -> String {
    let mut rules = format!("add table {TABLE}; delete table {TABLE}; table {TABLE} {{\n");
    rules.push_str("counter dropped { }\nchain input {\n");
    rules.push_str("type filter hook input priority filter - 10; policy accept;\n");
    for address in sources {
        let protocol = if address.is_ipv6() { "ip6" } else { "ip" };
        let rule = format!("{protocol} saddr {address} counter name dropped drop");
        let _ = writeln!(rules, "{rule}");
    }
    rules.push_str("}\n}");
    rules
}

/// The addresses that packets are dropped from, in what the kernel says.
pub(super) fn sources(listing: &str) -> BTreeSet<IpAddr> {
    let rules = listing.lines().filter(|line| line.contains("drop"));
    let words = rules.flat_map(str::split_whitespace);
    words.filter_map(|word| word.parse().ok()).collect()
}

/// The packets in a listing of a counter.
pub(super) fn packets(listing: &str) -> Option<u64> {
    let mut words = listing.split_whitespace();
    words.find(|word| *word == "packets")?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn one_transaction_replaces_the_table() {
        let sources = ["10.0.0.2", "fd00::2", "10.0.0.3"].map(|text| text.parse().unwrap());
        assert_eq!(
            table(&sources),
            "add table inet gainsay; delete table inet gainsay; table inet gainsay {
counter dropped { }
chain input {
type filter hook input priority filter - 10; policy accept;
ip saddr 10.0.0.2 counter name dropped drop
ip6 saddr fd00::2 counter name dropped drop
ip saddr 10.0.0.3 counter name dropped drop
}
}"
        );
    }

    #[test]
    fn only_our_table_is_named() {
        let sources = ["10.0.0.2".parse().unwrap()];
        for script in [check(), cut(&sources), count(), heal(), undo(), verify()] {
            assert!(!script.contains("flush"), "{script}");
            for (at, _) in script.match_indices("table ") {
                assert!(script[at..].starts_with("table inet gainsay"), "{script}");
            }
        }
    }

    #[test]
    fn listings_are_read() {
        let listing = "table inet gainsay {
	counter dropped {
		packets 17 bytes 1428
	}
}";
        assert_eq!(packets(listing), Some(17));
        let said = "add table inet gainsay
add chain inet gainsay input { type filter hook input priority filter - 10; policy accept; }
add rule inet gainsay input ip saddr 10.0.0.3 counter name \"dropped\" drop
add rule inet gainsay input ip6 saddr 2001:db8::1 counter name \"dropped\" drop
# new generation 5 by process 6051 (nft)";
        let addresses: Vec<String> = sources(said).iter().map(IpAddr::to_string).collect();
        assert_eq!(addresses, ["10.0.0.3", "2001:db8::1"]);
        assert_eq!(packets(""), None);
        assert_eq!(packets("packets many"), None);
    }
}
