//! How far an order of operations goes before what must be next cannot be: the longest ones, and the state after each.

use checkers::Evidence;
use checkers::linearizability::{DeadEnd, OperationView};
use maud::{Markup, html};
use store::{EventType, Value};

/// Longest text of a value, in characters.
const VALUE_MAX: usize = 40;

fn dead_end(evidence: &Evidence) -> Option<&DeadEnd> {
    match evidence {
        Evidence::DeadEnd(dead_end) if !dead_end.prefixes.is_empty() => Some(dead_end),
        _ => None,
    }
}

/// The operations of the longest order of a dead end, by the events that began them. Empty for other evidence.
pub(super) fn longest(evidence: &Evidence) -> Vec<u64> {
    let first = dead_end(evidence).and_then(|dead_end| dead_end.prefixes.first());
    first.map_or_else(Vec::new, |prefix| prefix.order.clone())
}

/// The longest orders of a dead end, in a table.
pub(super) fn prefixes(evidence: &Evidence) -> Markup {
    let Some(dead_end) = dead_end(evidence) else {
        return html! {};
    };
    let impossible = dead_end
        .get(dead_end.operation)
        .map_or_else(String::new, label);
    html! {
        table.prefixes {
            caption { "The longest orders that are possible, and what they end in" }
            thead { tr { th { "Order" } th { "Then it is" } th { "and cannot be next" } } }
            tbody {
                @for prefix in &dead_end.prefixes {
                    tr {
                        td {
                            @if prefix.order.is_empty() { span.soft { "none at all" } }
                            @for (at, invoke) in prefix.order.iter().enumerate() {
                                @if at > 0 { " → " }
                                span.mono title={ "event " (invoke) } { (dead_end.get(*invoke).map_or_else(String::new, label)) }
                            }
                        }
                        td.mono { (short(&prefix.state)) }
                        td.mono.invalid { (impossible) }
                    }
                }
            }
        }
    }
}

fn label(view: &OperationView) -> String {
    let shown = |value: &Value| match value.is_null() {
        true => String::new(),
        false => format!(" {}", short(value)),
    };
    let result = match (view.outcome, view.f.as_str()) {
        (EventType::Ok, "read") => format!(" = {}", short(&view.result)),
        (EventType::Ok, _) if !view.result.is_null() => format!(" = {}", short(&view.result)),
        (EventType::Ok, _) => String::new(),
        (EventType::Fail, _) => " ✗".to_owned(),
        _ => " ?".to_owned(),
    };
    format!("{}{}{result}", view.f, shown(&view.value))
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(VALUE_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
