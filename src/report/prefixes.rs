//! How far an order of operations goes before nothing can be next: the longest ones.

use checkers::Evidence;
use maud::{Markup, html};

/// Draws the longest orders of a dead end.
pub(super) fn prefixes(_evidence: &Evidence) -> Markup {
    html! {}
}
