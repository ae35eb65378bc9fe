//! How long operations took: each of them, and quantiles.

use std::collections::BTreeSet;

use maud::{Markup, html};
use store::Outcome;

use super::super::series::{QUANTILES, Series, place};
use super::{CLASSES, HEIGHT, LEFT, Picture, RIGHT, TOP, WIDTH, line, seconds, y};

/// A logarithmic y-axis of latencies, in powers of ten of a second.
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    fn of(series: &Series) -> Scale {
        let latencies = || series.points.iter().map(|point| point.latency);
        let least = latencies().fold(f64::INFINITY, f64::min);
        let most = latencies().fold(1e-3, f64::max);
        let low = match least.is_finite() {
            true => least.max(1e-6).log10().floor(),
            false => -3.0,
        };
        let high = most.log10().ceil().max(low + 1.0);
        Scale { low, high }
    }

    fn share(&self, latency: f64) -> f64 {
        (latency.max(1e-6).log10() - self.low) / (self.high - self.low)
    }

    fn picture<'a>(&self, series: &'a Series, label: &'a str) -> Picture<'a> {
        let powers = self.low as i32..=self.high as i32;
        let level = |power: i32| {
            let share = (f64::from(power) - self.low) / (self.high - self.low);
            (share, power_label(power))
        };
        Picture {
            label,
            height: HEIGHT,
            length: series.length,
            bands: &series.bands,
            levels: powers.map(level).collect(),
            range: Some((self.low, self.high)),
        }
    }
}

/// Every operation's latency: when it began against how long it took.
///
/// Points that would cover each other are drawn once, so that the size is bounded by the picture and not by the
/// history. Where there are scripts, `assets/plots.js` draws them anew for each stretch of time.
pub(in super::super) fn latency(series: &Series) -> Markup {
    let scale = Scale::of(series);
    let mut seen = BTreeSet::new();
    let mut dots: [String; 3] = Default::default();
    let (across, down) = ((WIDTH - LEFT - RIGHT) / 2.0, (HEIGHT - TOP) / 2.0);
    for point in &series.points {
        let share = scale.share(point.latency);
        let cell = (
            (point.at / series.length * across) as i32,
            (share * down) as i32,
        );
        let outcome = place(point.outcome);
        if seen.insert((outcome, cell)) {
            dots[outcome].push_str(&format!("M{} {}h0", seconds(point.at), y(share)));
        }
    }
    let inside = html! {
        // `ok` first: what is rare lies on top.
        @for (outcome, dots) in [Outcome::Ok, Outcome::Fail, Outcome::Info].into_iter().zip(&dots) {
            @if !dots.is_empty() { path class={ "dots " (CLASSES[place(outcome)]) } d=(dots) {} }
        }
    };
    html! { div.plot-box.raw { (scale.picture(series, "Latency of each operation over time").draw(&inside)) } }
}

/// The classes of CSS that colour the [`QUANTILES`], and their names.
pub(in super::super) const QUANTILE_NAMES: [(&str, &str); 4] = [
    ("q50", "p50"),
    ("q95", "p95"),
    ("q99", "p99"),
    ("q100", "slowest"),
];

/// Quantiles of the latencies of operations that were `ok`, slice by slice.
pub(in super::super) fn quantiles(series: &Series) -> Markup {
    let scale = Scale::of(series);
    let drawn = |which: usize| {
        let slices = series.slices.iter().enumerate();
        let points = slices.map(|(n, slice)| {
            let latency = slice.latencies?[which];
            Some(((n as f64 + 0.5) * series.slice, scale.share(latency)))
        });
        line(QUANTILE_NAMES[which].0, points)
    };
    let inside = html! { @for which in (0..QUANTILES.len()).rev() { (drawn(which)) } };
    html! {
        div.plot-box { (scale.picture(series, "Quantiles of latency over time").draw(&inside)) }
        ul.legend { @for (class, name) in QUANTILE_NAMES { li { i class=(class) {} (name) } } }
    }
}

fn power_label(power: i32) -> String {
    match power {
        ..=-6 => "1 µs".to_owned(),
        -5 => "10 µs".to_owned(),
        -4 => "100 µs".to_owned(),
        -3 => "1 ms".to_owned(),
        -2 => "10 ms".to_owned(),
        -1 => "100 ms".to_owned(),
        power => format!("{} s", 10f64.powi(power)),
    }
}
