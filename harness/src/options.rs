//! Options as data: a suite, a workload or a fault says which it has, and the controller turns them
//! into flags, help and documentation.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What an option takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptionKind {
    /// Nothing: it is there or not.
    Flag,
    /// A whole number in a range, both ends included.
    Integer {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// A number in a range, both ends included.
    Number {
        /// The least.
        min: f64,
        /// The greatest.
        max: f64,
    },
    /// A duration such as `500ms` or `30s`.
    Duration,
    /// One of some words.
    OneOf(Vec<String>),
    /// Any text.
    Text,
}

/// An option of a suite, a workload or a fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OptionSpec {
    /// The long flag, without dashes.
    pub name: String,
    /// What it takes.
    pub kind: OptionKind,
    /// Its value where the user says nothing. `None` for flags and for "not given".
    pub default: Option<String>,
    /// What it means, in a sentence, with units.
    pub help: String,
    /// The workloads that have it, where it is of some only: in other runs it means nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workloads: Vec<String>,
}

/// A value of an option, parsed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptionValue {
    /// A flag that was given.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// A duration.
    Duration(Duration),
    /// A word or text.
    Text(String),
}

/// The options of a run, by name, defaults filled in. Accessors panic on a name that was never
/// specified: that is a defect of the suite, not of the user.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Options(pub BTreeMap<String, OptionValue>);

impl OptionSpec {
    /// A flag.
    pub fn flag(name: &str, help: &str) -> OptionSpec {
        OptionSpec::new(name, OptionKind::Flag, None, help)
    }

    /// An option that takes a value; `default` as the user would write it.
    pub fn new(name: &str, kind: OptionKind, default: Option<&str>, help: &str) -> OptionSpec {
        OptionSpec {
            name: name.to_owned(),
            kind,
            default: default.map(str::to_owned),
            help: help.to_owned(),
            workloads: Vec::new(),
        }
    }

    /// Whether it means something where this workload runs.
    pub fn is_of(&self, workload: &str) -> bool {
        self.workloads.is_empty() || self.workloads.iter().any(|name| name == workload)
    }

    /// Reads a value as the user writes it. A flag takes `true` or `false`. The error says what was
    /// expected, and does not name the option.
    pub fn parse(&self, text: &str) -> Result<OptionValue, String> {
        let wrong = || format!("{} expected, found `{text}`", self.kind);
        match &self.kind {
            OptionKind::Flag => text.parse().map(OptionValue::Flag).map_err(|_| wrong()),
            OptionKind::Integer { min, max } => text
                .parse()
                .ok()
                .filter(|number| (min..=max).contains(&number))
                .map(OptionValue::Integer)
                .ok_or_else(wrong),
            OptionKind::Number { min, max } => text
                .parse()
                .ok()
                .filter(|number| (min..=max).contains(&number))
                .map(OptionValue::Number)
                .ok_or_else(wrong),
            OptionKind::Duration => humantime::parse_duration(text)
                .map(OptionValue::Duration)
                .map_err(|_| wrong()),
            OptionKind::OneOf(words) => match words.iter().any(|word| word == text) {
                true => Ok(OptionValue::Text(text.to_owned())),
                false => Err(format!("{}{}", wrong(), did_you_mean(text, words))),
            },
            OptionKind::Text => Ok(OptionValue::Text(text.to_owned())),
        }
    }

    /// The value where the user says nothing: the parsed default, `false` for a flag, else none.
    ///
    /// # Panics
    /// If the default does not parse, which is a defect of whoever wrote the specification.
    pub fn default_value(&self) -> Option<OptionValue> {
        match (&self.kind, &self.default) {
            (OptionKind::Flag, None) => Some(OptionValue::Flag(false)),
            (_, None) => None,
            (_, Some(text)) => Some(
                self.parse(text)
                    .unwrap_or_else(|error| panic!("default of option `{}`: {error}", self.name)),
            ),
        }
    }
}

impl fmt::Display for OptionKind {
    /// What is expected: `a whole number from 1 to 9`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OptionKind::Flag => write!(f, "`true` or `false`"),
            OptionKind::Integer { min, max } => write!(f, "a whole number from {min} to {max}"),
            OptionKind::Number { min, max } => write!(f, "a number from {min} to {max}"),
            OptionKind::Duration => {
                write!(f, "a duration with its unit, such as `500ms` or `30s`,")
            }
            OptionKind::OneOf(words) => write!(f, "one of {}", list(words)),
            OptionKind::Text => write!(f, "text"),
        }
    }
}

impl fmt::Display for OptionValue {
    /// As the user would write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OptionValue::Flag(flag) => write!(f, "{flag}"),
            OptionValue::Integer(number) => write!(f, "{number}"),
            OptionValue::Number(number) => write!(f, "{number}"),
            OptionValue::Duration(duration) => {
                write!(f, "{}", humantime::format_duration(*duration))
            }
            OptionValue::Text(text) => f.write_str(text),
        }
    }
}

/// Why options could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OptionError {
    /// There is no such option. The text suggests the nearest one and lists what there is.
    #[error("no option `{name}`{hint}")]
    Unknown {
        /// What the user wrote.
        name: String,
        /// A suggestion and what exists.
        hint: String,
    },
    /// The value is not what the option takes.
    #[error("option `{name}`: {message}")]
    Value {
        /// The option.
        name: String,
        /// What was expected, and what was found.
        message: String,
    },
}

impl Options {
    /// Reads what the user gave, as pairs of name and text, and fills in the defaults. A name given
    /// twice takes the later value.
    pub fn read<'a>(
        specs: &[OptionSpec],
        given: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Options, OptionError> {
        let defaults = specs
            .iter()
            .filter_map(|spec| Some((spec.name.clone(), spec.default_value()?)));
        let mut values: BTreeMap<String, OptionValue> = defaults.collect();
        for (name, text) in given {
            let spec = specs.iter().find(|spec| spec.name == name).ok_or_else(|| {
                OptionError::Unknown {
                    name: name.to_owned(),
                    hint: unknown(name, specs.iter().map(|spec| &spec.name)),
                }
            })?;
            let value = spec.parse(text).map_err(|message| OptionError::Value {
                name: name.to_owned(),
                message,
            })?;
            values.insert(name.to_owned(), value);
        }
        Ok(Options(values))
    }

    /// A value, if there is one.
    pub fn get(&self, name: &str) -> Option<&OptionValue> {
        self.0.get(name)
    }

    /// Whether a flag was given. A flag that is not there was not given.
    pub fn flag(&self, name: &str) -> bool {
        match self.get(name) {
            None => false,
            Some(OptionValue::Flag(flag)) => *flag,
            Some(other) => mismatch(name, "a flag", other),
        }
    }

    /// A whole number, if given or by default.
    pub fn integer_if(&self, name: &str) -> Option<i64> {
        self.get(name).map(|value| match value {
            OptionValue::Integer(number) => *number,
            other => mismatch(name, "a whole number", other),
        })
    }

    /// A number, if given or by default.
    pub fn number_if(&self, name: &str) -> Option<f64> {
        self.get(name).map(|value| match value {
            OptionValue::Number(number) => *number,
            other => mismatch(name, "a number", other),
        })
    }

    /// A duration, if given or by default.
    pub fn duration_if(&self, name: &str) -> Option<Duration> {
        self.get(name).map(|value| match value {
            OptionValue::Duration(duration) => *duration,
            other => mismatch(name, "a duration", other),
        })
    }

    /// A word or text, if given or by default.
    pub fn text_if(&self, name: &str) -> Option<&str> {
        self.get(name).map(|value| match value {
            OptionValue::Text(text) => text.as_str(),
            other => mismatch(name, "text", other),
        })
    }

    /// A whole number that has a default.
    pub fn integer(&self, name: &str) -> i64 {
        self.integer_if(name).unwrap_or_else(|| missing(name))
    }

    /// A number that has a default.
    pub fn number(&self, name: &str) -> f64 {
        self.number_if(name).unwrap_or_else(|| missing(name))
    }

    /// A duration that has a default.
    pub fn duration(&self, name: &str) -> Duration {
        self.duration_if(name).unwrap_or_else(|| missing(name))
    }

    /// A word or text that has a default.
    pub fn text(&self, name: &str) -> &str {
        self.text_if(name).unwrap_or_else(|| missing(name))
    }
}

fn missing<T>(name: &str) -> T {
    panic!("option `{name}` was read but is neither given nor has a default");
}

fn mismatch<T>(name: &str, expected: &str, found: &OptionValue) -> T {
    panic!("option `{name}` was read as {expected} but is {found:?}");
}

/// What to say after "no such thing `name`": the nearest name that exists, and all of them.
pub fn unknown<S: AsRef<str>>(name: &str, existing: impl IntoIterator<Item = S>) -> String {
    let existing: Vec<S> = existing.into_iter().collect();
    if existing.is_empty() {
        return "; there are none".to_owned();
    }
    let suggestion = did_you_mean(name, &existing);
    format!("{suggestion}; there are: {}", list(&existing))
}

fn did_you_mean<S: AsRef<str>>(name: &str, existing: &[S]) -> String {
    match nearest(name, existing) {
        Some(near) => format!(" (did you mean `{near}`?)"),
        None => String::new(),
    }
}

fn list<S: AsRef<str>>(words: &[S]) -> String {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    words.join(", ")
}

/// The name that was probably meant: the one with the fewest edits, if those are at most a third of
/// its length (and one at least); else one that begins with what was written.
pub fn nearest<'a, S: AsRef<str>>(name: &str, existing: &'a [S]) -> Option<&'a str> {
    let names = || existing.iter().map(AsRef::as_ref);
    let close = names()
        .map(|other| (edits(name, other), other))
        .filter(|(distance, other)| *distance <= (other.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance);
    let longer = || names().find(|other| name.len() >= 3 && other.starts_with(name));
    close.map(|(_, other)| other).or_else(longer)
}

/// Levenshtein's distance: insertions, deletions and substitutions from one word to another.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn specs() -> Vec<OptionSpec> {
        let modes = OptionKind::OneOf(vec!["fast".into(), "careful".into()]);
        let count = OptionKind::Integer { min: 1, max: 9 };
        vec![
            OptionSpec::flag("serializable-reads", "Reads without consensus."),
            OptionSpec::new(
                "interval",
                OptionKind::Duration,
                Some("5s"),
                "Between faults.",
            ),
            OptionSpec::new("count", count, None, "How many."),
            OptionSpec::new("mode", modes, Some("fast"), "How."),
        ]
    }

    #[test]
    fn defaults_are_filled_in_and_values_typed() {
        let options = Options::read(&specs(), [("count", "3"), ("interval", "1m 500ms")]).unwrap();
        assert_eq!(options.integer_if("count"), Some(3));
        assert_eq!(options.duration("interval"), Duration::from_millis(60_500));
        assert_eq!(options.text("mode"), "fast");
        assert!(!options.flag("serializable-reads"));
        let none = Options::read(&specs(), []).unwrap();
        assert_eq!(none.integer_if("count"), None);
        assert_eq!(none.duration("interval"), Duration::from_secs(5));
    }

    #[test]
    fn errors_say_what_was_meant_and_what_exists() {
        let error = |name, text| {
            let error = Options::read(&specs(), [(name, text)]).unwrap_err();
            error.to_string()
        };
        assert_eq!(
            error("intervall", "1s"),
            "no option `intervall` (did you mean `interval`?); there are: serializable-reads, \
             interval, count, mode"
        );
        assert_eq!(
            error("count", "10"),
            "option `count`: a whole number from 1 to 9 expected, found `10`"
        );
        assert_eq!(
            error("interval", "5"),
            "option `interval`: a duration with its unit, such as `500ms` or `30s`, expected, \
             found `5`"
        );
        assert_eq!(
            error("mode", "fats"),
            "option `mode`: one of fast, careful expected, found `fats`"
        );
        assert_eq!(
            error("mode", "carefull"),
            "option `mode`: one of fast, careful expected, found `carefull` (did you mean \
             `careful`?)"
        );
    }

    #[test]
    fn the_nearest_name() {
        let names = ["partition", "pause", "kill"];
        assert_eq!(nearest("partion", &names), Some("partition"));
        assert_eq!(nearest("paus", &names), Some("pause"));
        assert_eq!(nearest("part", &names), Some("partition"));
        assert_eq!(nearest("clock", &names), None);
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
    }
}
