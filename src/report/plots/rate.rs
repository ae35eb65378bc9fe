//! How many operations there were a second, by outcome.

use maud::{Markup, html};

use super::super::series::Series;
use super::{CLASSES, HEIGHT, Picture, line, round_step, short};

/// Operations a second by outcome.
pub(in super::super) fn rate(series: &Series) -> Markup {
    let rate = |count: u64| count as f64 / series.slice;
    let counts = series.slices.iter().flat_map(|slice| slice.counts);
    let most = counts.map(rate).fold(1.0, f64::max);
    let step = round_step(most / 5.0);
    let top = (most / step).ceil() * step;
    let levels = (0..)
        .map(|n| f64::from(n) * step)
        .take_while(|level| *level <= top * 1.0001);
    let picture = Picture {
        label: "Operations a second by outcome",
        height: HEIGHT,
        length: series.length,
        bands: &series.bands,
        levels: levels.map(|level| (level / top, short(level))).collect(),
        range: None,
    };
    let drawn = |outcome: usize| {
        let counts = series.slices.iter().map(|slice| slice.counts[outcome]);
        let happened = counts.clone().any(|count| count > 0);
        let middle = |n: usize| (n as f64 + 0.5) * series.slice;
        let points = counts
            .enumerate()
            .map(|(n, count)| Some((middle(n), rate(count) / top)));
        happened.then(|| line(CLASSES[outcome], points))
    };
    let inside = html! { @for outcome in 0..CLASSES.len() { @if let Some(line) = drawn(outcome) { (line) } } };
    html! { div.plot-box { (picture.draw(&inside)) } }
}
