//! What is sent of [`Columns`] to whoever draws them: some operations, as numbers of variable length.
//!
//! ```text
//! 4 bytes        length of the header, little-endian
//! header         JSON: what the numbers mean, and the columns: name and length in bytes of each
//! columns        unsigned LEB128, one number an operation:
//!   start        microseconds since the one before began (the first: since `from`)
//!   duration     microseconds
//!   invoke       index of the event that began it, less that of the operation before (the first: less 0)
//!   complete     index of the event that ended it less that of the one that began it; 0 if it never ended
//!   process f key node error      places in the header's lists, plus 1 where there may be none (0)
//!   outcome      0 ok, 1 failed, 2 unknown
//!   value        length of its text in bytes; 0: not carried
//! texts          UTF-8: what it was asked with, and, after U+001F, what it came back with if that differs
//! ```
//!
//! `assets/source.js` reads it.

use rustc_hash::FxHashMap;
use serde::Serialize;

use super::columns::{Columns, NONE};
use crate::report::series::Band;

/// A fault in force, for the page.
#[derive(Serialize)]
struct BandView<'a> {
    fault: &'a str,
    class: &'static str,
    /// In seconds.
    from: f64,
    to: f64,
    what: &'a str,
    effective: bool,
}

/// A violation: what it is called, and the events that show it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Mark {
    /// What a person calls it.
    pub(crate) title: String,
    /// Indexes of events, ascending.
    pub(crate) events: Vec<u64>,
    /// The invocation of the operation that cannot be explained, if there is one such.
    pub(crate) culprit: Option<u64>,
}

#[derive(Serialize)]
struct Header<'a> {
    format: u32,
    /// The whole history's length, in microseconds.
    length: u64,
    /// What of it this is, in microseconds.
    from: u64,
    to: u64,
    /// How many operations there are in this part, after filtering, and how many of them are here.
    total: usize,
    carried: usize,
    /// Of each process that is here, its number and its lane.
    processes: Vec<(u64, u32)>,
    lanes: u32,
    functions: Vec<&'a str>,
    keys: Vec<&'a str>,
    nodes: Vec<&'a str>,
    errors: Vec<&'a str>,
    bands: Vec<BandView<'a>>,
    marks: &'a [Mark],
    columns: Vec<(&'static str, usize)>,
}

/// What of the columns is wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// From when, in microseconds.
    pub(crate) from: u64,
    /// Until when.
    pub(crate) to: u64,
    /// Only operations of this key (JSON), process, function, or of these outcomes.
    pub(crate) key: Option<String>,
    /// Only those of this process.
    pub(crate) process: Option<u64>,
    /// Only those of this function.
    pub(crate) f: Option<String>,
    /// Only those of these outcomes: bit 0 ok, 1 failed, 2 unknown. Zero is all.
    pub(crate) outcomes: u8,
    /// At most so many.
    pub(crate) most: usize,
}

/// Places in a list of those of a larger one that occur.
#[derive(Default)]
struct Places {
    places: FxHashMap<u32, u64>,
    order: Vec<u32>,
}

impl Places {
    fn of(&mut self, number: u32) -> u64 {
        let next = self.order.len() as u64;
        let place = *self.places.entry(number).or_insert(next);
        if place == next {
            self.order.push(number);
        }
        place
    }

    /// 0 for none.
    fn of_some(&mut self, number: u32) -> u64 {
        match number {
            NONE => 0,
            number => self.of(number) + 1,
        }
    }

    fn texts<'a>(&self, columns: &'a Columns) -> Vec<&'a str> {
        let text = |number: &u32| columns.names.text(*number).unwrap_or_default();
        self.order.iter().map(text).collect()
    }
}

fn push(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Those operations that are wanted, ascending, and how many there were before it was too many. What the marks are
/// about stays, then what did not end well, then every so manieth of the others.
fn choose(columns: &Columns, wanted: &Wanted, marks: &[Mark]) -> (Vec<usize>, usize) {
    let f = wanted.f.as_deref();
    let key = wanted.key.as_deref();
    let fits = |at: &usize| {
        let at = *at;
        columns.start[at] / 1000 <= wanted.to
            && columns.end[at] / 1000 >= wanted.from
            && (wanted.outcomes == 0 || wanted.outcomes >> columns.outcome[at] & 1 == 1)
            && wanted
                .process
                .is_none_or(|process| columns.processes[columns.process[at] as usize] == process)
            && f.is_none_or(|f| columns.names.text(columns.f[at]) == Some(f))
            && key.is_none_or(|key| columns.names.text(columns.key[at]) == Some(key))
    };
    let all: Vec<usize> = (0..columns.len()).filter(fits).collect();
    let total = all.len();
    if total <= wanted.most {
        return (all, total);
    }
    let events = marks.iter().flat_map(|mark| &mark.events);
    let mut chosen: Vec<usize> = events
        .filter_map(|event| columns.of_event(*event))
        .collect();
    chosen.retain(fits);
    chosen.sort_unstable();
    chosen.dedup();
    chosen.truncate(wanted.most);
    let marked = chosen.clone();
    let is_new = |at: &&usize| marked.binary_search(at).is_err();
    for is_ok in [false, true] {
        let of_kind = |at: &&usize| (columns.outcome[**at] == 0) == is_ok;
        let of_kind: Vec<usize> = all.iter().filter(of_kind).filter(is_new).copied().collect();
        let room = (wanted.most - chosen.len()).min(of_kind.len());
        // As far apart as they can be.
        chosen.extend((0..room).map(|n| of_kind[n * of_kind.len() / room]));
    }
    chosen.sort_unstable();
    (chosen, total)
}

/// The part that is wanted, for `assets/source.js`.
pub(crate) fn payload(
    columns: &Columns,
    wanted: &Wanted,
    bands: &[Band],
    marks: &[Mark],
) -> Vec<u8> {
    let (chosen, total) = choose(columns, wanted, marks);
    let [
        mut processes,
        mut functions,
        mut keys,
        mut nodes,
        mut errors,
    ] = <[Places; 5]>::default();
    let mut streams: [(&'static str, Vec<u8>); 11] = [
        "start", "duration", "invoke", "complete", "process", "f", "key", "node", "error",
        "outcome", "value",
    ]
    .map(|name| (name, Vec::new()));
    let mut texts = Vec::new();
    let (mut start, mut invoke) = (0, 0);
    for at in &chosen {
        let at = *at;
        let (began, ended) = (columns.start[at] / 1000, columns.end[at] / 1000);
        let complete = match columns.complete[at] {
            NONE => 0,
            complete => u64::from(complete - columns.invoke[at]),
        };
        let text = columns.text(at);
        let numbers = [
            began - start,
            ended - began,
            u64::from(columns.invoke[at] - invoke),
            complete,
            processes.of(columns.process[at]),
            functions.of(columns.f[at]),
            keys.of_some(columns.key[at]),
            nodes.of_some(columns.node[at]),
            errors.of_some(columns.error[at]),
            u64::from(columns.outcome[at]),
            text.len() as u64,
        ];
        for ((_, stream), number) in streams.iter_mut().zip(numbers) {
            push(stream, number);
        }
        texts.extend_from_slice(text.as_bytes());
        (start, invoke) = (began, columns.invoke[at]);
    }
    let mut lengths: Vec<(&'static str, usize)> = streams
        .iter()
        .map(|(name, stream)| (*name, stream.len()))
        .collect();
    lengths.push(("texts", texts.len()));
    let of_process = |place: &u32| {
        let place = *place as usize;
        (columns.processes[place], columns.lanes[place])
    };
    let header = Header {
        format: 1,
        length: columns.length / 1000,
        from: wanted.from,
        to: wanted.to.min(columns.length.div_ceil(1000)),
        total,
        carried: chosen.len(),
        processes: processes.order.iter().map(of_process).collect(),
        lanes: columns.lanes.iter().max().map_or(0, |last| last + 1),
        functions: functions.texts(columns),
        keys: keys.texts(columns),
        nodes: nodes.texts(columns),
        errors: errors.texts(columns),
        bands: bands.iter().map(view).collect(),
        marks,
        columns: lengths,
    };
    // A header of strings and numbers can always be written.
    let header = serde_json::to_vec(&header).unwrap_or_default();
    let mut out = (header.len() as u32).to_le_bytes().to_vec();
    out.extend(header);
    for (_, stream) in streams {
        out.extend(stream);
    }
    out.extend(texts);
    out
}

fn view(band: &Band) -> BandView<'_> {
    BandView {
        fault: &band.fault,
        class: crate::report::plots::fault_class(&band.fault),
        from: band.from,
        to: band.to,
        what: &band.what,
        effective: band.effective,
    }
}
