//! By how much clocks were off.

use std::collections::BTreeMap;

use maud::{Markup, html};
use store::Name;

use super::super::series::{Offset, Series};
use super::{HEIGHT, Picture, line};

/// Offsets that are told apart in the picture, in milliseconds. Smaller ones are all in the middle.
const LEAST: f64 = 1.0;
/// Levels of the y-axis, in milliseconds.
const LEVELS: [(f64, &str); 6] = [
    (1.0, "1 ms"),
    (1e3, "1 s"),
    (6e4, "1 min"),
    (3.6e6, "1 h"),
    (8.64e7, "1 d"),
    (3.156e10, "1 y"),
];
/// How many colours there are for lines.
const COLOURS: usize = 8;

/// Powers of ten on both sides of nothing.
fn level(ms: f64) -> f64 {
    ms.signum() * (ms.abs().max(LEAST) / LEAST).log10()
}

/// A line for each clock that was changed: what it told less the truth, in powers of ten.
pub(in super::super) fn clocks(series: &Series) -> Markup {
    let mut lines: BTreeMap<(&Name, bool), Vec<&Offset>> = BTreeMap::new();
    for offset in &series.clocks {
        lines
            .entry((&offset.node, !offset.realtime))
            .or_default()
            .push(offset);
    }
    // A clock that nobody touched says nothing.
    lines.retain(|_, offsets| offsets.iter().any(|offset| offset.ms.abs() >= 10.0));
    let all = lines
        .values()
        .flatten()
        .map(|offset| level(offset.ms).abs());
    let most = all.fold(1.0, f64::max) * 1.05;
    let share = |ms: f64| 0.5 + level(ms) / most / 2.0;
    let sides = LEVELS
        .iter()
        .filter(|(ms, _)| *ms > LEAST && level(*ms) <= most);
    let sides = sides.flat_map(|(ms, name)| {
        [
            (share(*ms), format!("+{name}")),
            (share(-*ms), format!("−{name}")),
        ]
    });
    let picture = Picture {
        label: "By how much clocks were ahead or behind, over time",
        height: HEIGHT,
        length: series.length,
        bands: &series.bands,
        levels: std::iter::once((0.5, "right".to_owned()))
            .chain(sides)
            .collect(),
        range: None,
    };
    let class = |at: usize, monotonic: bool| {
        format!(
            "c{}{}",
            at % COLOURS,
            if monotonic { " monotonic" } else { "" }
        )
    };
    let inside = html! {
        @for (at, ((_, monotonic), offsets)) in lines.iter().enumerate() {
            (line(&class(at, *monotonic), offsets.iter().map(|offset| Some((offset.at, share(offset.ms))))))
        }
    };
    html! {
        @if !lines.is_empty() {
            h3 { "Clocks" }
            p.soft { "What a changed clock told less the truth, as seen from inside, in powers of ten." }
            div.plot-box { (picture.draw(&inside)) }
            ul.legend {
                @for (at, (node, monotonic)) in lines.keys().enumerate() {
                    li { i class=(class(at, *monotonic)) {} (node) @if *monotonic { " (monotonic)" } }
                }
            }
        }
    }
}
