//! Latency and rate over time, as SVG with the faults shaded.

use std::collections::BTreeSet;

use maud::{Markup, html};
use store::Outcome;

use super::series::{Band, Series, place};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 18.0;
const BOTTOM: f64 = 34.0;

/// The classes of CSS that colour outcomes.
pub(super) const CLASSES: [&str; 3] = ["ok", "fail", "info"];

/// The part of the picture inside the axes, and the time that it spans.
struct Frame {
    length: f64,
}

impl Frame {
    fn x(&self, seconds: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * (seconds / self.length).clamp(0.0, 1.0)
    }

    fn y(&self, share: f64) -> f64 {
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share.clamp(0.0, 1.0)
    }

    fn time_axis(&self) -> Markup {
        let step = round_step(self.length / 8.0);
        let ticks = (0..)
            .map(|n| f64::from(n) * step)
            .take_while(|at| *at <= self.length * 1.0001);
        html! {
            @for at in ticks {
                line.grid x1=(p(self.x(at))) x2=(p(self.x(at))) y1=(TOP) y2=(HEIGHT - BOTTOM) {}
                text.tick x=(p(self.x(at))) y=(HEIGHT - BOTTOM + 15.0) text-anchor="middle" { (short(at)) }
            }
            text.axis x=(WIDTH - RIGHT) y=(HEIGHT - 4.0) text-anchor="end" { "time since the run began (s)" }
        }
    }

    fn level(&self, share: f64, label: &str) -> Markup {
        html! {
            line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(p(self.y(share))) y2=(p(self.y(share))) {}
            text.tick x=(LEFT - 6.0) y=(p(self.y(share) + 4.0)) text-anchor="end" { (label) }
        }
    }

    fn bands(&self, bands: &[Band]) -> Markup {
        html! {
            @for band in bands {
                rect class={ "band " (fault_class(&band.fault)) }
                    x=(p(self.x(band.from))) y=(TOP)
                    width=(p((self.x(band.to) - self.x(band.from)).max(1.0))) height=(HEIGHT - TOP - BOTTOM) {
                    title { (band_title(band)) }
                }
            }
        }
    }
}

/// What hovering over a fault says.
pub(super) fn band_title(band: &Band) -> String {
    let effect = if band.effective {
        ""
    } else {
        " (not proved to take effect)"
    };
    format!(
        "{} {}: {:.3} s to {:.3} s{effect}",
        band.fault, band.what, band.from, band.to
    )
}

/// The class of CSS that colours a fault.
pub(super) fn fault_class(fault: &str) -> &'static str {
    match fault {
        "partition" => "fault-partition",
        "kill" => "fault-kill",
        "pause" => "fault-pause",
        _ => "fault-other",
    }
}

/// A coordinate with one decimal: half a pixel is as much as anyone sees.
pub(super) fn p(value: f64) -> String {
    format!("{value:.1}")
}

fn short(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The nearest larger of 1, 2, 5 times a power of ten.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.max(1e-9).log10().floor());
    let factor = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|factor| factor * power >= least)
        .unwrap_or(10.0);
    factor * power
}

/// Every operation's latency: when it began against how long it took, logarithmic.
///
/// Points that would cover each other are drawn once, so that the size is bounded by the picture and
/// not by the history.
pub(super) fn latency(series: &Series) -> Markup {
    let frame = Frame {
        length: series.length,
    };
    let least = series
        .points
        .iter()
        .map(|point| point.latency)
        .fold(f64::INFINITY, f64::min);
    let most = series
        .points
        .iter()
        .map(|point| point.latency)
        .fold(1e-3, f64::max);
    let low = if least.is_finite() {
        least.max(1e-6).log10().floor()
    } else {
        -3.0
    };
    let high = most.log10().ceil().max(low + 1.0);
    let share = |latency: f64| (latency.max(1e-6).log10() - low) / (high - low);
    let mut seen = BTreeSet::new();
    let mut dots: [Vec<(f64, f64)>; 3] = Default::default();
    for point in &series.points {
        let (x, y) = (
            frame.x(point.at).round(),
            frame.y(share(point.latency)).round(),
        );
        if seen.insert((place(point.outcome), x as i64 / 2, y as i64 / 2)) {
            dots[place(point.outcome)].push((x, y));
        }
    }
    let levels = (low as i32..=high as i32).map(|power| (f64::from(power), power_label(power)));
    html! {
        svg.plot viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label="Latency of each operation over time" {
            (frame.bands(&series.bands))
            (frame.time_axis())
            @for (power, label) in levels { (frame.level((power - low) / (high - low), &label)) }
            // `ok` first: what is rare lies on top.
            @for (outcome, dots) in [Outcome::Ok, Outcome::Fail, Outcome::Info].into_iter().zip(&dots) {
                @if !dots.is_empty() { path class={ "dots " (CLASSES[place(outcome)]) } d=(dot_path(dots)) {} }
            }
        }
    }
}

/// Small squares, as one path.
fn dot_path(dots: &[(f64, f64)]) -> String {
    dots.iter()
        .map(|(x, y)| format!("M{} {}h2v2h-2z", x - 1.0, y - 1.0))
        .collect()
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

/// Operations a second by outcome.
pub(super) fn rate(series: &Series) -> Markup {
    let frame = Frame {
        length: series.length,
    };
    let rates: Vec<[f64; 3]> = series
        .slices
        .iter()
        .map(|slice| slice.counts.map(|count| count as f64 / series.slice))
        .collect();
    let most = rates.iter().flatten().copied().fold(1.0, f64::max);
    let step = round_step(most / 5.0);
    let top = (most / step).ceil() * step;
    let levels = (0..)
        .map(|n| f64::from(n) * step)
        .take_while(|level| *level <= top * 1.0001);
    html! {
        svg.plot viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label="Operations a second by outcome" {
            (frame.bands(&series.bands))
            (frame.time_axis())
            @for level in levels { (frame.level(level / top, &short(level))) }
            @for (at, class) in CLASSES.iter().enumerate() {
                @if rates.iter().any(|rate| rate[at] > 0.0) {
                    polyline class={ "line " (class) } points=(points(&frame, series.slice, top, &rates, at)) {}
                }
            }
        }
    }
}

fn points(frame: &Frame, slice: f64, top: f64, rates: &[[f64; 3]], at: usize) -> String {
    let middle = |n: usize| (n as f64 + 0.5) * slice;
    let point = |(n, rate): (usize, &[f64; 3])| {
        format!("{},{}", p(frame.x(middle(n))), p(frame.y(rate[at] / top)))
    };
    rates
        .iter()
        .enumerate()
        .map(point)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round() {
        assert_eq!(round_step(0.3), 0.5);
        assert_eq!(round_step(11.0), 20.0);
        assert_eq!(short(0.5), "0.5");
        assert_eq!(short(20.0), "20");
    }
}
