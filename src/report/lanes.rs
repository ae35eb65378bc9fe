//! Operations as bars, one lane a process: the timeline around a violation.

use std::collections::BTreeMap;

use maud::{Markup, html};
use store::{History, Operation, Outcome, Process, Value};

use super::graph::cells;
use super::plots::{band_title, fault_class, p};
use super::series::{Band, place, seconds};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 92.0;
const RIGHT: f64 = 12.0;
const LANE: f64 = 30.0;
const TOP: f64 = 24.0;
/// About how wide a character is of the names of faults, and of operations.
const SMALL_CHARACTER: f64 = 6.2;
const CHARACTER: f64 = 7.2;
/// More characters of an operation than this and others have no room.
const LABEL_MAX: usize = 40;
/// More lanes or bars than this and a person sees nothing.
const LANES_MAX: usize = 24;
const BARS_MAX: usize = 240;

/// What a timeline shows.
pub(super) struct Lanes<'a> {
    history: &'a History,
    bands: &'a [Band],
    /// Positions of the invocations that prove the violation.
    guilty: Vec<usize>,
    /// Positions of the invocations of the same key near it.
    context: Vec<usize>,
    /// How many operations of the window are not drawn.
    pub(super) left_out: usize,
    from: f64,
    to: f64,
}

impl<'a> Lanes<'a> {
    /// The window around some events, given by their indexes: the operations that they belong to, and
    /// others on the same key at that time.
    pub(super) fn around(
        history: &'a History,
        bands: &'a [Band],
        indexes: &[u64],
    ) -> Option<Lanes<'a>> {
        let position: BTreeMap<u64, usize> = indexes
            .iter()
            .filter_map(|index| {
                let found = history
                    .events()
                    .binary_search_by_key(index, |event| event.index);
                found.ok().map(|at| (*index, at))
            })
            .collect();
        let invocation = |at: usize| match history.events()[at].is_invoke() {
            true => Some(at),
            false => history.pair(at),
        };
        let mut guilty: Vec<usize> = position.values().filter_map(|at| invocation(*at)).collect();
        guilty.sort_unstable();
        guilty.dedup();
        let events = history.events();
        let first = events[*guilty.first()?].time;
        let ends = guilty
            .iter()
            .filter_map(|at| history.pair(*at))
            .map(|at| events[at].time);
        let last = ends.chain(guilty.iter().map(|at| events[*at].time)).max()?;
        let margin = ((last - first) / 12).max(200_000);
        let (from, to) = (first.saturating_sub(margin), last + margin);
        let key = &events[guilty[0]].key;
        let mut context = Vec::new();
        let mut left_out = 0;
        for (at, event) in events.iter().enumerate() {
            let ended = history.pair(at).map_or(u64::MAX, |end| events[end].time);
            let in_window = event.time <= to && ended >= from;
            let relevant = event.is_invoke() && event.is_client() && event.key == *key;
            // What never ended, long before, says nothing to the eye.
            let faded = ended == u64::MAX && event.time < from;
            if !relevant || !in_window || faded || guilty.binary_search(&at).is_ok() {
                continue;
            }
            if context.len() + guilty.len() < BARS_MAX {
                context.push(at)
            } else {
                left_out += 1
            }
        }
        let (from, to) = (seconds(from), seconds(to));
        Some(Lanes {
            history,
            bands,
            guilty,
            context,
            left_out,
            from,
            to,
        })
    }

    fn x(&self, at: f64) -> f64 {
        let share = (at - self.from) / (self.to - self.from);
        LEFT + (WIDTH - LEFT - RIGHT) * share.clamp(0.0, 1.0)
    }

    fn operation(&self, at: usize) -> Operation<'_> {
        let events = self.history.events();
        Operation {
            invoke: &events[at],
            complete: self.history.pair(at).map(|end| &events[end]),
        }
    }

    /// The picture. `culprit` is the index of the event that cannot be explained; `order` are operations, by the events
    /// that began them, that can have taken effect in this order: a line goes through them.
    pub(super) fn draw(&self, culprit: Option<u64>, order: &[u64]) -> Markup {
        let mut lanes: Vec<&Process> = Vec::new();
        for at in self.guilty.iter().chain(&self.context) {
            let process = &self.history.events()[*at].process;
            if lanes.len() < LANES_MAX && !lanes.contains(&process) {
                lanes.push(process);
            }
        }
        lanes.sort();
        let height = TOP + LANE * lanes.len() as f64 + 30.0;
        let lane = |process: &Process| lanes.iter().position(|lane| *lane == process);
        let ticks = 6;
        let bands = self.bands.iter();
        let bands: Vec<&Band> = bands
            .filter(|band| band.to >= self.from && band.from <= self.to)
            .collect();
        html! {
            svg.plot.lanes viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-label="The operations of the violation, one lane a process" {
                @for band in &bands {
                    rect class={ "band " (fault_class(&band.fault)) } x=(p(self.x(band.from))) y=(TOP - 14.0)
                        width=(p((self.x(band.to) - self.x(band.from)).max(1.0))) height=(height - TOP - 16.0) {
                        title { (band_title(band)) }
                    }
                }
                @for (x, name) in self.band_names(&bands) {
                    text.tick x=(p(x)) y=(TOP - 4.0) { (name) }
                }
                @for (at, process) in lanes.iter().enumerate() {
                    text.lane x=(LEFT - 8.0) y=(p(TOP + LANE * at as f64 + 19.0)) text-anchor="end" { "process " (process) }
                    line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(p(TOP + LANE * (at as f64 + 1.0))) y2=(p(TOP + LANE * (at as f64 + 1.0))) {}
                }
                @for (at, main) in self.context.iter().map(|at| (at, false)).chain(self.guilty.iter().map(|at| (at, true))) {
                    @if let Some(lane) = lane(&self.history.events()[*at].process) {
                        (self.bar(self.operation(*at), lane, main, culprit))
                    }
                }
                (self.draw_order(order, &lane))
                @for tick in 0..=ticks {
                    @let at = self.from + (self.to - self.from) * f64::from(tick) / f64::from(ticks);
                    @let anchor = if tick == ticks { "end" } else { "middle" };
                    text.tick x=(p(self.x(at))) y=(p(height - 12.0)) text-anchor=(anchor) { (format!("{at:.4} s")) }
                }
            }
        }
    }

    /// The names of faults, where each has room: the others are told when one points at them.
    fn band_names(&self, bands: &[&Band]) -> Vec<(f64, String)> {
        let mut bands = bands.to_vec();
        bands.sort_by(|a, b| a.from.total_cmp(&b.from));
        let mut free = LEFT;
        let mut names = Vec::new();
        for band in bands {
            let (x, name) = (
                self.x(band.from) + 3.0,
                format!("{} {}", band.fault, band.what),
            );
            let end = x + SMALL_CHARACTER * name.chars().count() as f64;
            if x >= free && end <= WIDTH {
                free = end + SMALL_CHARACTER;
                names.push((x, name));
            }
        }
        names
    }

    /// A line through operations where each can have taken effect.
    fn draw_order(&self, order: &[u64], lane: &impl Fn(&Process) -> Option<usize>) -> Markup {
        let mut points: Vec<(f64, f64)> = Vec::new();
        let mut moment = self.from;
        for invoke in order {
            let of_event = |at: &&usize| self.history.events()[**at].index == *invoke;
            let Some(at) = self.guilty.iter().find(of_event) else {
                continue;
            };
            let event = &self.history.events()[*at];
            let Some(lane) = lane(&event.process) else {
                continue;
            };
            // As early as it can be, and a little after the one before.
            moment = seconds(event.time).max(moment) + (self.to - self.from) / 200.0;
            if let Some(end) = self.operation(*at).complete {
                moment = moment.min(seconds(end.time)).max(seconds(event.time));
            }
            points.push((self.x(moment), TOP + LANE * (lane as f64 + 0.8)));
        }
        let line: Vec<String> = points
            .iter()
            .map(|(x, y)| format!("{},{}", p(*x), p(*y)))
            .collect();
        html! {
            polyline.order points=(line.join(" ")) {}
            @for (number, (x, y)) in points.iter().enumerate() {
                circle.order cx=(p(*x)) cy=(p(*y)) r="6" {}
                text.order x=(p(*x)) y=(p(*y + 3.5)) text-anchor="middle" { (number + 1) }
            }
        }
    }

    fn bar(
        &self,
        operation: Operation<'_>,
        lane: usize,
        main: bool,
        culprit: Option<u64>,
    ) -> Markup {
        let begin = self.x(seconds(operation.invoke.time));
        let end = operation
            .complete
            .filter(|_| operation.outcome() != Outcome::Info);
        let end = end.map_or(WIDTH - RIGHT, |event| self.x(seconds(event.time)));
        let indexes = [Some(operation.invoke), operation.complete];
        let guilty = indexes
            .iter()
            .flatten()
            .any(|event| Some(event.index) == culprit);
        let outcome = super::plots::CLASSES[place(operation.outcome())];
        let class = format!(
            "bar {outcome}{}{}",
            if main { "" } else { " context" },
            if guilty { " culprit" } else { "" }
        );
        let y = TOP + LANE * lane as f64 + 4.0;
        let label = label(operation);
        // To the left of where it begins, if there is no room to the right.
        let fits = begin + 4.0 + CHARACTER * label.chars().count() as f64 <= WIDTH;
        let (x, anchor) = match fits {
            true => (begin + 4.0, "start"),
            false => (begin - 4.0, "end"),
        };
        html! {
            g class=(class) {
                title { (describe(operation)) }
                rect x=(p(begin)) y=(p(y)) width=(p((end - begin).max(2.0))) height=(p(LANE - 8.0)) rx="3" {}
                @if main { text x=(p(x)) y=(p(y + 15.0)) text-anchor=(anchor) { (label) } }
            }
        }
    }
}

/// An operation in a few characters: `read → 3`, `write 4`, `cas 1→2 ✗`.
pub(super) fn label(operation: Operation<'_>) -> String {
    let value = operation
        .complete
        .map_or(&operation.invoke.value, |event| &event.value);
    let f = &operation.invoke.f;
    let text = match (&**f, value) {
        ("read", value) if operation.outcome() == Outcome::Ok => format!("read → {value}"),
        ("read", _) => "read".to_owned(),
        (_, Value::Array(parts)) if &**f == "cas" && parts.len() == 2 => {
            format!("cas {}→{}", parts[0], parts[1])
        }
        ("txn", Value::Array(_)) => cells(value).join(" · "),
        (f, Value::Null) => f.to_owned(),
        (f, value) => format!("{f} {value}"),
    };
    let text = match text.char_indices().nth(LABEL_MAX) {
        None => text,
        Some(_) => text.chars().take(LABEL_MAX - 1).chain(['…']).collect(),
    };
    match operation.outcome() {
        Outcome::Ok => text,
        Outcome::Fail => format!("{text} ✗"),
        Outcome::Info => format!("{text} ?"),
    }
}

/// An operation in a sentence, for hovering and for tables.
pub(super) fn describe(operation: Operation<'_>) -> String {
    let invoke = operation.invoke;
    let key = invoke
        .key
        .as_ref()
        .map_or_else(String::new, |key| format!(" on key {key}"));
    let end = match operation.complete {
        None => "never ended".to_owned(),
        Some(event) => {
            let how = match operation.outcome() {
                Outcome::Ok => "ok",
                Outcome::Fail => "failed",
                Outcome::Info => "outcome unknown",
            };
            let node = event
                .node
                .as_ref()
                .map_or_else(String::new, |node| format!(", {node} answered"));
            let error = event
                .error
                .as_ref()
                .map_or_else(String::new, |error| format!(", {error}"));
            format!(
                "{how} at {:.6} s (event {}){node}{error}",
                seconds(event.time),
                event.index
            )
        }
    };
    let began = format!(
        "began {:.6} s (event {})",
        seconds(invoke.time),
        invoke.index
    );
    format!(
        "{}{key} by process {}: {began}, {end}",
        label(operation),
        invoke.process
    )
}
