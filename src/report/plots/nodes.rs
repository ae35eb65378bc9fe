//! How available each node was: of what it was asked, how much it answered.

use maud::{Markup, html};

use super::super::series::{Availability, Series};
use super::{BOTTOM, INSIDE, Picture, TOP, p, seconds};

/// The height of a node's row.
const ROW: f64 = 20.0;

/// From which share of answers on a node is how available: the classes of CSS that say so by colour, and words for the legend.
pub(in super::super) const SHADES: [(f64, &str, &str); 4] = [
    (0.99, "a3", "99 % and more"),
    (0.5, "a2", "at least half"),
    (0.000_001, "a1", "less"),
    (0.0, "a0", "nothing"),
];

fn shade((asked, ok): (u32, u32)) -> Option<&'static str> {
    let share = f64::from(ok) / f64::from(asked);
    let shade = SHADES.iter().find(|(least, ..)| share >= *least);
    (asked > 0).then(|| shade.map_or("a0", |(_, class, _)| class))
}

/// Slices that look the same and follow one another: from, until before, and how they look.
fn stretches(node: &Availability) -> Vec<(usize, usize, &'static str)> {
    let mut stretches: Vec<(usize, usize, &'static str)> = Vec::new();
    for (n, slice) in node.slices.iter().enumerate() {
        let Some(shade) = shade(*slice) else { continue };
        match stretches.last_mut() {
            Some((_, to, last)) if *to == n && *last == shade => *to = n + 1,
            _ => stretches.push((n, n + 1, shade)),
        }
    }
    stretches
}

/// A strip for each node.
pub(in super::super) fn availability(series: &Series) -> Markup {
    let rows = series.nodes.len() as f64;
    let picture = Picture {
        label: "Of the operations that each node was asked, how many it answered, over time",
        height: TOP + BOTTOM + ROW * rows,
        length: series.length,
        bands: &series.bands,
        levels: Vec::new(),
        range: None,
    };
    let middle = |row: usize| 1.0 - (row as f64 + 0.5) / rows;
    let levels = series
        .nodes
        .iter()
        .enumerate()
        .map(|(row, node)| (middle(row), node.node.to_string()));
    let picture = Picture {
        levels: levels.collect(),
        ..picture
    };
    let height = INSIDE / rows;
    let inside = html! {
        @for (row, node) in series.nodes.iter().enumerate() {
            @for (from, to, shade) in stretches(node) {
                @let slices = &node.slices[from..to];
                @let (asked, ok) = slices.iter().fold((0, 0), |sum, slice| (sum.0 + slice.0, sum.1 + slice.1));
                rect class={ "share " (shade) } x=(seconds(from as f64 * series.slice)) width=(seconds((to - from) as f64 * series.slice))
                    y=(p(row as f64 * height + height * 0.22)) height=(p(height * 0.56)) {
                    title { (node.node) ": " (ok) " of " (asked) " answered" }
                }
            }
        }
    };
    html! {
        @if !series.nodes.is_empty() {
            div.plot-box { (picture.draw(&inside)) }
            ul.legend { @for (_, class, words) in SHADES { li { i class=(class) {} (words) } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_that_look_the_same_are_one() {
        let slices = vec![(10, 10), (5, 5), (0, 0), (4, 1), (4, 0)];
        let node = Availability {
            node: "n1".into(),
            slices,
        };
        assert_eq!(stretches(&node), [(0, 2, "a3"), (3, 4, "a1"), (4, 5, "a0")]);
    }
}
