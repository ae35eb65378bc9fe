//! What the user asks for: `--nemesis partition:majorities-ring:interval=5s,kill:target=primary`.
//!
//! Faults are separated by commas. Each is a name, perhaps a variant, then options, separated by colons.
//! `none` means no faults.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use harness::options::{Options, unknown};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::catalogue::{self, DURATION, FaultInfo, INTERVAL};
use crate::presets::{self, presets};
use crate::{script, system};

/// The word for no faults at all.
pub const NONE: &str = "none";
/// The shortest `interval` and `duration`: timers tick in milliseconds.
const SHORTEST: Duration = Duration::from_millis(1);
/// The longest `interval` and `duration`.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// A fault, as the user asked for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultSpec {
    /// Its name in the catalogue.
    pub name: String,
    /// Its name in the history: the process `nemesis/<label>`.
    pub label: String,
    /// The variant, if one was chosen.
    pub variant: Option<String>,
    /// The options, defaults filled in.
    pub options: Options,
    /// What the user wrote.
    pub text: String,
}

impl fmt::Display for FaultSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Something in the text that is not understood, with the place.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct SpecError {
    message: String,
    text: String,
    /// In bytes.
    place: Range<usize>,
}

impl SpecError {
    /// What is wrong with all of a text.
    pub(crate) fn of(text: &str, message: &str) -> SpecError {
        Part::whole(text).error(message)
    }
}

impl fmt::Display for SpecError {
    /// What is wrong, then the text, then a mark under the place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = self.text[..self.place.start].chars().count();
        let marked = self.text[self.place.clone()].chars().count().max(1);
        let mark = format!("{}{}", " ".repeat(before), "^".repeat(marked));
        write!(f, "{}\n  {}\n  {mark}", self.message, self.text)
    }
}

/// Reads the faults that the user asked for.
pub fn parse(text: &str) -> Result<Vec<FaultSpec>, SpecError> {
    if text.trim() == NONE {
        return Ok(Vec::new());
    }
    let mut specs: Vec<FaultSpec> = Vec::new();
    for part in Part::whole(text).split(',') {
        for spec in faults(&part)? {
            // Two of a kind would share one capability, and undo each other.
            if specs.iter().any(|other| other.label == spec.label) {
                return Err(part.error(format!("`{}` is given twice", spec.label)));
            }
            specs.push(spec);
        }
    }
    Ok(specs)
}

/// A fault, or those of a preset, each with the options given to it.
fn faults(part: &Part<'_>) -> Result<Vec<FaultSpec>, SpecError> {
    let name = part.split(':').swap_remove(0);
    let Some(preset) = presets::find(name.str()) else {
        return Ok(vec![fault(part)?]);
    };
    let given = &part.text[name.place.end..part.place.end];
    let named = preset.nemesis.split(',').map(|known| {
        // What is wrong can only be with what was given.
        parse(&format!("{known}{given}")).map_err(|error| part.error(error.message))
    });
    let named: Result<Vec<Vec<FaultSpec>>, SpecError> = named.collect();
    Ok(named?.into_iter().flatten().collect())
}

fn fault(part: &Part<'_>) -> Result<FaultSpec, SpecError> {
    let mut pieces = part.split(':').into_iter();
    let name = pieces.next().unwrap_or(part.clone());
    let info = info(&name)?;
    let mut variant = None;
    let mut given = Vec::new();
    for piece in pieces {
        match piece.halves('=') {
            Some(option) => given.push(option),
            None if variant.is_none() && given.is_empty() => {
                variant = Some(variant_of(info, &piece)?);
            }
            None => {
                let word = piece.str();
                return Err(piece.error(format!("`{word}`: an option is written `name=value`")));
            }
        }
    }
    let options = options(info, &given)?;
    let label = script::label(&options).or_else(|| system::label(&options));
    let spec = FaultSpec {
        name: info.name.to_owned(),
        label: label.unwrap_or_else(|| info.name.to_owned()),
        variant,
        options,
        text: part.str().to_owned(),
    };
    if let Some(message) = wrong_times(&spec.options) {
        return Err(part.error(message));
    }
    Ok(spec)
}

fn info(name: &Part<'_>) -> Result<&'static FaultInfo, SpecError> {
    let word = name.str();
    if word.is_empty() {
        let message = format!("the name of a fault is missing; write `{NONE}` for no faults");
        return Err(name.error(message));
    }
    if word == NONE {
        let message = format!("`{NONE}` means no faults, and stands alone");
        return Err(name.error(message));
    }
    catalogue::find(word).ok_or_else(|| {
        let presets = presets().iter().map(|preset| preset.name);
        let names = catalogue::catalogue().iter().map(|info| info.name);
        let names = names.chain(presets);
        name.error(format!("no fault `{word}`{}", unknown(word, names)))
    })
}

fn variant_of(info: &FaultInfo, piece: &Part<'_>) -> Result<String, SpecError> {
    let word = piece.str();
    let names = || info.variants.iter().map(|variant| variant.name);
    if names().any(|name| name == word) {
        return Ok(word.to_owned());
    }
    let hint = unknown(word, names());
    let message = format!("`{}` has no variant `{word}`{hint}", info.name);
    Err(piece.error(message))
}

fn options(info: &FaultInfo, given: &[(Part<'_>, Part<'_>)]) -> Result<Options, SpecError> {
    // Read one by one first, so that the error can show the place.
    for (name, value) in given {
        let pair = [(name.str(), value.str())];
        Options::read(&info.options, pair).map_err(|error| {
            let known = info.options.iter().any(|spec| spec.name == name.str());
            let place = if known { value } else { name };
            place.error(format!("`{}`: {error}", info.name))
        })?;
    }
    let pairs = given.iter().map(|(name, value)| (name.str(), value.str()));
    let last = given.last().map(|(_, value)| value.clone());
    Options::read(&info.options, pairs)
        .map_err(|error| last.unwrap_or(Part::whole("")).error(error.to_string()))
}

fn wrong_times(options: &Options) -> Option<String> {
    let times = [INTERVAL, DURATION].map(|name| (name, options.duration_if(name)));
    let wrong = |time: &Duration| !(SHORTEST..=LONGEST).contains(time);
    for (name, time) in times {
        if time.as_ref().is_some_and(wrong) {
            return Some(format!("option `{name}`: from 1ms to 24h expected"));
        }
    }
    match times {
        [(_, Some(interval)), (_, Some(duration))] if duration >= interval => Some(format!(
            "`{DURATION}` must be shorter than `{INTERVAL}`, which is from one start to the next"
        )),
        _ => None,
    }
}

/// A part of the text that knows its place.
#[derive(Clone, Debug)]
struct Part<'a> {
    text: &'a str,
    place: Range<usize>,
}

impl<'a> Part<'a> {
    fn whole(text: &'a str) -> Part<'a> {
        let place = 0..text.len();
        Part { text, place }
    }

    /// Without blanks around it.
    fn str(&self) -> &'a str {
        self.text[self.place.clone()].trim()
    }

    fn sub(&self, start: usize, end: usize) -> Part<'a> {
        let place = start..end;
        Part {
            text: self.text,
            place,
        }
    }

    fn split(&self, separator: char) -> Vec<Part<'a>> {
        let mut start = self.place.start;
        let mut parts = Vec::new();
        for (at, _) in self.text[self.place.clone()].match_indices(separator) {
            let end = self.place.start + at;
            parts.push(self.sub(start, end));
            start = end + separator.len_utf8();
        }
        parts.push(self.sub(start, self.place.end));
        parts
    }

    fn halves(&self, separator: char) -> Option<(Part<'a>, Part<'a>)> {
        let at = self.place.start + self.text[self.place.clone()].find(separator)?;
        let rest = at + separator.len_utf8();
        Some((
            self.sub(self.place.start, at),
            self.sub(rest, self.place.end),
        ))
    }

    fn error(&self, message: impl Into<String>) -> SpecError {
        SpecError {
            message: message.into(),
            text: self.text.to_owned(),
            place: self.place.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn error(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn faults_with_variants_and_options() {
        let specs =
            parse("partition:majorities-ring:interval=5s, kill:target=primary,pause").unwrap();
        let [partition, kill, pause] = &specs[..] else {
            panic!("three faults: {specs:?}");
        };
        assert_eq!(partition.name, "partition");
        assert_eq!(partition.variant.as_deref(), Some("majorities-ring"));
        let interval = partition.options.duration_if(INTERVAL);
        assert_eq!(interval, Some(Duration::from_secs(5)));
        assert_eq!(kill.options.text("target"), "primary");
        assert_eq!(kill.options.text("signal"), "KILL");
        assert_eq!(kill.to_string(), "kill:target=primary");
        assert_eq!(pause.options.text("target"), "mix");
        assert_eq!(parse("none").unwrap(), []);
    }

    #[test]
    fn unknown_names() {
        let unknown = error("kill,partion:halves");
        let begins =
            "no fault `partion` (did you mean `partition`?); there are: partition, packet, ";
        assert!(unknown.starts_with(begins), "{unknown}");
        assert!(
            unknown.ends_with("\n  kill,partion:halves\n       ^^^^^^^"),
            "{unknown}"
        );
        assert_eq!(
            error("partition:halfs"),
            "`partition` has no variant `halfs` (did you mean `halves`?); there are: halves, \
             random-halves, one, majority, minority-third, majorities-ring, bridge, primaries, groups, zone, region, \
             zones, clients
  partition:halfs
            ^^^^^"
        );
        assert_eq!(
            error("pause:one"),
            "`pause` has no variant `one`; there are none
  pause:one
        ^^^"
        );
        assert_eq!(
            error("kill:targets=all"),
            "`kill`: no option `targets` (did you mean `target`?); there are: target, signal, \
             restart, interval, duration, alone, weight
  kill:targets=all
       ^^^^^^^"
        );
    }

    #[test]
    fn wrong_values() {
        assert_eq!(
            error("kill:interval=5"),
            "`kill`: option `interval`: a duration with its unit, such as `500ms` or `30s`, \
             expected, found `5`
  kill:interval=5
                ^"
        );
        assert_eq!(
            error("partition:direction=inn,kill"),
            "`partition`: option `direction`: one of both, in, out, mix expected, found `inn` (did \
             you mean `in`?)
  partition:direction=inn,kill
                      ^^^"
        );
        assert_eq!(
            error("kill:duration=0s"),
            "option `duration`: from 1ms to 24h expected
  kill:duration=0s
  ^^^^^^^^^^^^^^^^"
        );
        assert_eq!(
            error("kill:interval=1s:duration=2s"),
            "`duration` must be shorter than `interval`, which is from one start to the next
  kill:interval=1s:duration=2s
  ^^^^^^^^^^^^^^^^^^^^^^^^^^^^"
        );
    }

    #[test]
    fn wrong_shapes() {
        assert_eq!(
            error(""),
            "the name of a fault is missing; write `none` for no faults\n  \n  ^"
        );
        assert_eq!(
            error("kill,"),
            "the name of a fault is missing; write `none` for no faults\n  kill,\n       ^"
        );
        assert_eq!(
            error("none,kill"),
            "`none` means no faults, and stands alone\n  none,kill\n  ^^^^"
        );
        assert_eq!(
            error("kill,kill"),
            "`kill` is given twice\n  kill,kill\n       ^^^^"
        );
        assert_eq!(
            error("partition:one:bridge"),
            "`bridge`: an option is written `name=value`
  partition:one:bridge
                ^^^^^^"
        );
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[a-z:=,+ é0-9]{0,40}") {
            if let Err(error) = parse(&text) {
                assert!(error.to_string().contains('^'));
            }
        }
    }
}
