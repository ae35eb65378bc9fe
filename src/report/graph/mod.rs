//! Transactions as boxes, and why each comes before another as arrows: the picture of a cycle.

mod layout;

use std::collections::BTreeMap;

use checkers::Evidence;
use checkers::transactions::{Cycle, Relation, Step, TransactionView};
use layout::{Layout, Size, layout};
use maud::{Markup, html};
use serde_json::Value;

use super::plots::p;

/// More transactions than this, and a person sees nothing.
const NODES_MAX: usize = 40;
/// The width of a character of the font in boxes.
const CHARACTER: f64 = 7.3;
/// Longest text of a micro-operation, in characters.
const CELL_MAX: usize = 34;
/// Boxes are as wide as this at most, if they can be; then micro-operations go into another row.
const ROW_MAX: f64 = 620.0;
const ROW: f64 = 22.0;
const PAD: f64 = 8.0;
/// Room between boxes, across and down.
const GAP: (f64, f64) = (36.0, 74.0);
/// Room around all, for arrows that go back up.
const MARGIN: f64 = 110.0;

/// A transaction as it is drawn.
struct Node {
    title: String,
    /// Micro-operations, row by row.
    rows: Vec<String>,
    size: Size,
}

/// The picture of evidence that says why some transactions come before others. `None` for other evidence, and where it would
/// show nothing.
pub(super) fn graph(evidence: &Evidence) -> Option<Markup> {
    let (transactions, steps) = match evidence {
        Evidence::Cycle(cycle) => (&cycle.transactions, &cycle.steps),
        Evidence::Impossible(impossible) => (&impossible.transactions, &impossible.steps),
        _ => return None,
    };
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    for step in steps {
        for name in [&step.from, &step.to] {
            let next = numbers.len();
            numbers.entry(name).or_insert(next);
        }
    }
    if steps.is_empty() || numbers.len() > NODES_MAX {
        return None;
    }
    let mut nodes: Vec<(usize, Node)> = numbers
        .iter()
        .map(|(name, number)| (*number, node(name, transactions)))
        .collect();
    nodes.sort_by_key(|(number, _)| *number);
    let nodes: Vec<Node> = nodes.into_iter().map(|(_, node)| node).collect();
    let edges: Vec<(usize, usize)> = steps
        .iter()
        .map(|step| (numbers[&*step.from], numbers[&*step.to]))
        .collect();
    let sizes: Vec<Size> = nodes.iter().map(|node| node.size).collect();
    let layout = layout(&sizes, &edges, GAP);
    Some(draw(&nodes, &edges, steps, &layout))
}

fn node(name: &str, transactions: &[TransactionView]) -> Node {
    let view = transactions.iter().find(|view| view.name == name);
    let (title, cells) = match view {
        Some(view) => {
            let event = view
                .invoke
                .or(view.complete)
                .map_or_else(String::new, |event| format!(", event {event}"));
            (
                format!("{name}  process {}{event}", view.process),
                cells(&view.value),
            )
        }
        None if name == Cycle::INITIAL => (format!("{name}  the initial state"), Vec::new()),
        None => (name.to_owned(), Vec::new()),
    };
    let width = |text: &str| text.chars().count() as f64 * CHARACTER + 2.0 * PAD;
    let mut rows: Vec<String> = Vec::new();
    for cell in cells {
        let longer = rows.last().map(|row| format!("{row} · {cell}"));
        match (longer, rows.last_mut()) {
            (Some(longer), Some(row)) if width(&longer) <= ROW_MAX => *row = longer,
            _ => rows.push(cell),
        }
    }
    let widest = rows.iter().map(|row| width(row));
    let widest = widest.fold(width(&title), f64::max);
    let height = ROW * (1.0 + rows.len() as f64);
    Node {
        title,
        rows,
        size: Size {
            width: widest,
            height,
        },
    }
}

/// Micro-operations in words: `append x 1`, `r x → [1 2]`.
pub(super) fn cells(value: &Value) -> Vec<String> {
    let cell = |micro: &Value| {
        let parts: Vec<String> = match micro {
            Value::Array(parts) => parts.iter().map(word).collect(),
            other => vec![word(other)],
        };
        let text = match &parts[..] {
            [f, key, value] if f == "r" => format!("r {key} → {value}"),
            parts => parts.join(" "),
        };
        match text.char_indices().nth(CELL_MAX) {
            // Of a long list, its end tells more.
            Some(_) => {
                let tail: Vec<char> = text.chars().rev().take(CELL_MAX - 14).collect();
                format!(
                    "{} … {}",
                    text.chars().take(11).collect::<String>(),
                    tail.into_iter().rev().collect::<String>()
                )
            }
            None => text,
        }
    };
    value
        .as_array()
        .map_or_else(Vec::new, |micros| micros.iter().map(cell).collect())
}

fn word(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// The class of CSS that colours an arrow, and what stands beside it.
fn name(relation: Relation) -> (&'static str, &'static str) {
    match relation {
        Relation::Ww => ("ww", "ww"),
        Relation::Wr => ("wr", "wr"),
        Relation::Rw => ("rw", "rw"),
        Relation::Wrp => ("wr", "wr (predicate)"),
        Relation::Rwp => ("rw", "rw (predicate)"),
        Relation::Process => ("process", "same process"),
        Relation::Realtime => ("realtime", "real time"),
        Relation::Overwritten => ("ww", "ww, as a third shows"),
        Relation::Initial => ("initial", "initial"),
        Relation::Grew => ("rw", "rw, and then wr"),
    }
}

fn label(step: &Step) -> String {
    let (_, name) = name(step.relation);
    let key = step
        .key
        .as_ref()
        .map_or_else(String::new, |key| format!(" {}", word(key)));
    let short = |value: &Value| value.to_string().chars().take(16).collect::<String>();
    let versions = match (&step.value, &step.next) {
        (Some(value), Some(next)) => format!(": {} before {}", short(value), short(next)),
        (Some(value), None) => format!(": {}", short(value)),
        (None, Some(next)) => format!(": without {}", short(next)),
        (None, None) => String::new(),
    };
    format!("{name}{key}{versions}")
}

/// How high a label is.
const LABEL: f64 = 13.0;

/// An arrow: its path, and where its label is and how it is aligned.
struct Arrow {
    path: String,
    x: f64,
    y: f64,
    anchor: &'static str,
}

/// The arrow between two boxes. Between neighbouring layers it is straight down; else it goes round on the right.
/// `lane` tells arrows of the same kind apart.
fn arrow(layout: &Layout, nodes: &[Node], (from, to): (usize, usize), lane: f64) -> Arrow {
    let (a, b) = (layout.places[from], layout.places[to]);
    let (size_a, size_b) = (nodes[from].size, nodes[to].size);
    let middle = |x: f64, size: Size| x + size.width / 2.0;
    if b.layer == a.layer + 1 {
        let (x1, y1) = (middle(a.x, size_a) + lane * 90.0, a.y + size_a.height);
        let (x2, y2) = (middle(b.x, size_b) + lane * 90.0, b.y);
        let bend = (y2 - y1) * 0.45;
        return Arrow {
            path: format!(
                "M{} {}C{} {} {} {} {} {}",
                p(x1),
                p(y1),
                p(x1),
                p(y1 + bend),
                p(x2),
                p(y2 - bend),
                p(x2),
                p(y2)
            ),
            x: (x1 + x2) / 2.0 + 8.0,
            y: (y1 + y2) / 2.0 + 4.0,
            anchor: "start",
        };
    }
    let (x1, y1) = (a.x + size_a.width, a.y + size_a.height / 2.0);
    let (x2, y2) = (b.x + size_b.width, b.y + size_b.height / 2.0);
    let out = x1.max(x2).max(layout.width * 0.5) + 46.0 + 22.0 * lane.abs();
    Arrow {
        path: format!(
            "M{} {}C{} {} {} {} {} {}",
            p(x1),
            p(y1),
            p(out),
            p(y1),
            p(out),
            p(y2),
            p(x2),
            p(y2)
        ),
        x: x1.max(x2) + (out - x1.max(x2)) * 0.75 + 6.0,
        y: (y1 + y2) / 2.0 + 4.0,
        anchor: "start",
    }
}

/// Where a label ends on the right.
fn label_end((arrow, step): &(Arrow, &Step)) -> f64 {
    arrow.x + label(step).chars().count() as f64 * 6.6
}

/// Moves labels down that would lie over others.
fn keep_apart(arrows: &mut [(Arrow, &Step)]) {
    for at in 1..arrows.len() {
        let (before, rest) = arrows.split_at_mut(at);
        let this = &mut rest[0];
        // Each of those before can be in the way once at most, since it only moves down.
        for _ in 0..at {
            let end = label_end(this);
            let in_the_way = before.iter().find(|other| {
                (other.0.y - this.0.y).abs() < LABEL
                    && other.0.x < end
                    && this.0.x < label_end(other)
            });
            match in_the_way {
                Some(other) => this.0.y = other.0.y + LABEL,
                None => break,
            }
        }
    }
}

fn draw(nodes: &[Node], edges: &[(usize, usize)], steps: &[Step], layout: &Layout) -> Markup {
    let mut used: BTreeMap<(usize, usize), u32> = BTreeMap::new();
    let mut arrows: Vec<(Arrow, &Step)> = Vec::new();
    for (edge, step) in edges.iter().zip(steps) {
        let count = used.entry(*edge).or_insert(0);
        // Nothing, then one to the right, one to the left …
        let lane = f64::from(count.div_ceil(2)) * if *count % 2 == 1 { 1.0 } else { -1.0 };
        *count += 1;
        arrows.push((arrow(layout, nodes, *edge, lane), step));
    }
    keep_apart(&mut arrows);
    let right = arrows
        .iter()
        .map(label_end)
        .fold(layout.width + MARGIN, f64::max)
        + 4.0;
    let (width, height) = (right + 12.0, layout.height + 16.0);
    let words: Vec<String> = steps
        .iter()
        .map(|step| format!("{} before {}: {}", step.from, step.to, label(step)))
        .collect();
    html! {
        svg.graph viewBox={ "-12 -8 " (p(width)) " " (p(height)) } width=(p(width)) role="img" aria-label={ "Graph. " (words.join(". ")) } {
            defs {
                @for class in ["ww", "wr", "rw", "process", "realtime", "initial"] {
                    marker id={ "arrow-" (class) } class=(class) viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse" {
                        path d="M0 0L8 4L0 8z" {}
                    }
                }
            }
            @for (node, place) in nodes.iter().zip(&layout.places) {
                g.node {
                    rect x=(p(place.x)) y=(p(place.y)) width=(p(node.size.width)) height=(p(node.size.height)) rx="4" {}
                    text.title x=(p(place.x + PAD)) y=(p(place.y + 15.0)) { (node.title) }
                    @for (at, row) in node.rows.iter().enumerate() {
                        text.cell x=(p(place.x + PAD)) y=(p(place.y + ROW * (at as f64 + 1.0) + 14.0)) { (row) }
                    }
                }
            }
            @for (arrow, step) in &arrows {
                @let (class, _) = name(step.relation);
                path class={ "edge " (class) } d=(arrow.path) marker-end={ "url(#arrow-" (class) ")" } {}
                text class={ "edge " (class) } x=(p(arrow.x)) y=(p(arrow.y)) text-anchor=(arrow.anchor) { (label(step)) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_do_not_lie_over_each_other() {
        let step = Step {
            from: "T1".to_owned(),
            to: "T2".to_owned(),
            relation: Relation::Overwritten,
            key: None,
            value: None,
            next: None,
            witness: None,
            follows: None,
            seen: Vec::new(),
        };
        let arrow = |x: f64, y: f64| Arrow {
            path: String::new(),
            x,
            y,
            anchor: "start",
        };
        let mut arrows = [
            (arrow(10.0, 50.0), &step),
            (arrow(60.0, 50.0), &step),
            (arrow(70.0, 52.0), &step),
            (arrow(900.0, 50.0), &step),
        ];
        keep_apart(&mut arrows);
        let places = arrows.map(|(arrow, _)| arrow.y);
        assert_eq!(places, [50.0, 50.0 + LABEL, 50.0 + 2.0 * LABEL, 50.0]);
    }
}
