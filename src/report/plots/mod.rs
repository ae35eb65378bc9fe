//! Numbers over time, as SVG with the faults shaded.
//!
//! Each picture has an inside, an SVG of its own whose x-axis is seconds and which is stretched to its frame: so that
//! `assets/plots.js` can zoom it by its `viewBox` alone. `latency`, `rate`, `nodes` and `clocks` draw into it.

mod clocks;
mod latency;
mod nodes;
mod rate;

pub(super) use clocks::clocks;
pub(super) use latency::{latency, quantiles};
use maud::{Markup, html};
pub(super) use nodes::availability;
pub(super) use rate::rate;

use super::series::Band;

/// The width that pictures are drawn for, and their margins; `assets/view.js` has them, too.
const WIDTH: f64 = 960.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 18.0;
const BOTTOM: f64 = 34.0;
/// The height of most.
const HEIGHT: f64 = 240.0;
/// The height of their inside, in its own units.
const INSIDE: f64 = 1000.0;

/// The classes of CSS that colour outcomes.
pub(super) const CLASSES: [&str; 3] = ["ok", "fail", "info"];

/// A picture with time as its x-axis.
struct Picture<'a> {
    /// What it shows, for who does not see it.
    label: &'a str,
    height: f64,
    /// How much time it shows, in seconds.
    length: f64,
    bands: &'a [Band],
    /// Levels of the y-axis: which share of the height, and what it says.
    levels: Vec<(f64, String)>,
    /// Further attributes for scripts: the least and the most of the y-axis.
    range: Option<(f64, f64)>,
}

impl Picture<'_> {
    fn bottom(&self) -> f64 {
        self.height - BOTTOM
    }

    /// The picture with `inside` in it, which is in seconds and, from the top, thousandths of the height.
    fn draw(&self, inside: &Markup) -> Markup {
        let bottom = self.bottom();
        let step = round_step(self.length / 8.0);
        let ticks = (0..)
            .map(|n| f64::from(n) * step)
            .take_while(|at| *at <= self.length * 1.0001);
        let x = |at: f64| LEFT + (WIDTH - LEFT - RIGHT) * at / self.length;
        html! {
            svg.plot viewBox={ "0 0 " (WIDTH) " " (self.height) } role="img" aria-label=(self.label) data-zooms data-top=(TOP) data-bottom=(bottom)
                data-low=[self.range.map(|range| range.0)] data-high=[self.range.map(|range| range.1)] {
                @for (share, label) in &self.levels {
                    @let y = p(bottom - (bottom - TOP) * share);
                    line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(y) y2=(y) {}
                    text.tick x=(LEFT - 6.0) y=(p(bottom - (bottom - TOP) * share + 4.0)) text-anchor="end" { (label) }
                }
                g.ticks {
                    @for at in ticks {
                        line.grid x1=(p(x(at))) x2=(p(x(at))) y1=(TOP) y2=(bottom) {}
                        text.tick x=(p(x(at))) y=(bottom + 15.0) text-anchor="middle" { (short(at)) }
                    }
                }
                text.axis x=(WIDTH - RIGHT) y=(self.height - 4.0) text-anchor="end" { "time since the run began (s)" }
                svg.inner x=(LEFT) y=(TOP) width=(WIDTH - LEFT - RIGHT) height=(p(bottom - TOP))
                    viewBox={ "0 0 " (seconds(self.length)) " " (INSIDE) } preserveAspectRatio="none" {
                    @for band in self.bands {
                        rect class={ "band " (fault_class(&band.fault)) } x=(seconds(band.from)) y="0" width=(seconds(band.to - band.from)) height=(INSIDE) {
                            title { (band_title(band)) }
                        }
                    }
                    (inside)
                }
            }
        }
    }
}

/// The y-coordinate inside of a picture for a share of its height.
fn y(share: f64) -> String {
    p(INSIDE - INSIDE * share.clamp(0.0, 1.0))
}

/// A line through points that have a number of seconds and a share of the height each; broken where there is none.
fn line(class: &str, points: impl Iterator<Item = Option<(f64, f64)>>) -> Markup {
    let mut path = String::new();
    let mut command = 'M';
    for point in points {
        match point {
            Some((at, share)) => {
                path.push_str(&format!("{command}{} {}", seconds(at), y(share)));
                // A point without neighbours is a line of no length, which a round end makes visible.
                if command == 'M' {
                    path.push_str("h0");
                }
                command = 'L';
            }
            None => command = 'M',
        }
    }
    html! { @if !path.is_empty() { path class={ "line " (class) } d=(path) {} } }
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

/// The class of CSS that colours a fault, which is also the name of its colour.
pub(super) fn fault_class(fault: &str) -> &'static str {
    const KNOWN: [(&str, &str); 12] = [
        ("partition", "fault-partition"),
        ("packet", "fault-packet"),
        ("kill", "fault-kill"),
        ("pause", "fault-pause"),
        ("clock", "fault-clock"),
        ("disk", "fault-disk"),
        ("power", "fault-power"),
        ("reboot", "fault-power"),
        ("corrupt", "fault-disk"),
        ("membership", "fault-membership"),
        ("rolling", "fault-membership"),
        ("freeze", "fault-pause"),
    ];
    let known = KNOWN.iter().find(|(name, _)| *name == fault);
    known.map_or("fault-other", |(_, class)| class)
}

/// A coordinate with one decimal: half a pixel is as much as anyone sees.
pub(super) fn p(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// A time in seconds, to the microsecond.
fn seconds(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
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

    #[test]
    fn lines_are_broken_where_there_is_nothing() {
        let points = [Some((0.0, 0.0)), Some((1.5, 1.0)), None, Some((3.0, 0.5))];
        let drawn = line("ok", points.into_iter()).into_string();
        assert_eq!(
            drawn,
            r#"<path class="line ok" d="M0 1000h0L1.5 0M3 500h0"></path>"#
        );
    }
}
