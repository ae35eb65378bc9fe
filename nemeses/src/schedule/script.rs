//! What happens when, written down: by hand, or by [an earlier run](super::replay).

use std::sync::Arc;
use std::time::Duration;

use harness::{Name, Value};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::plan::{Activity, Draw};
use crate::spec::{FaultSpec, SpecError, parse};

/// A schedule that is written down. Activities of different faults may overlap; those of one follow each other.
///
/// As a file it is TOML:
///
/// ```toml
/// [[activity]]
/// at = "5s"
/// for = "2s"
/// nemesis = "partition:one:direction=in"
///
/// [[activity]]
/// at = "6s"
/// for = "500ms"
/// nemesis = "kill:target=n3"
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// What happens.
    #[serde(rename = "activity")]
    pub entries: Vec<Entry>,
}

/// An activity of a fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// When it starts, from the beginning of the main phase.
    #[serde(deserialize_with = "duration", serialize_with = "text")]
    pub at: Duration,
    /// How long it is in force.
    #[serde(rename = "for", deserialize_with = "duration", serialize_with = "text")]
    pub lasts: Duration,
    /// One fault, as `--nemesis` takes it.
    pub nemesis: String,
    /// What exactly it does: the value of a `start`. Drawn as its options say, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(|error| {
        de::Error::custom(format!(
            "{text:?}: {error}; write a duration such as 500ms or 2s"
        ))
    })
}

fn text<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*duration))
}

impl Script {
    /// The faults of the script with the entries of each, in order of time. The error says what is wrong with which.
    pub(crate) fn by_fault(&self) -> Result<Vec<(FaultSpec, Vec<&Entry>)>, String> {
        let mut faults: Vec<(FaultSpec, Vec<&Entry>)> = Vec::new();
        for (entry, number) in self.entries.iter().zip(1..) {
            let wrong = |why: String| format!("activity {number}, at {:?}: {why}", entry.at);
            let spec = entry.spec().map_err(|error| wrong(error.to_string()))?;
            match faults
                .iter_mut()
                .find(|(known, _)| known.label == spec.label)
            {
                Some((_, entries)) => entries.push(entry),
                None => faults.push((spec, vec![entry])),
            }
        }
        for (spec, entries) in &mut faults {
            entries.sort_by_key(|entry| entry.at);
            for pair in entries.windows(2) {
                if pair[1].at < pair[0].at + pair[0].lasts {
                    let (first, second) = (pair[0].at, pair[1].at);
                    let name = &spec.label;
                    return Err(format!(
                        "the activity of {name} at {second:?} begins before the one at {first:?} has ended"
                    ));
                }
            }
        }
        Ok(faults)
    }

    /// The faults of the script, as `--nemesis` takes them: each as it is first written.
    pub fn nemesis(&self) -> Result<String, String> {
        let faults = self.by_fault()?;
        let texts: Vec<&str> = faults.iter().map(|(spec, _)| spec.text.as_str()).collect();
        Ok(match texts.is_empty() {
            true => crate::NONE.to_owned(),
            false => texts.join(","),
        })
    }
}

impl Entry {
    /// The one fault of the entry.
    pub(crate) fn spec(&self) -> Result<FaultSpec, SpecError> {
        parse(&self.nemesis)?
            .into_iter()
            .next()
            .ok_or_else(|| SpecError::of(&self.nemesis, "one fault is expected"))
    }

    /// The activity that it means, with what draws its value where it has none.
    pub(crate) fn activity(
        &self,
        number: u64,
        name: &Name,
        draw: &Draw,
        seed: harness::seed::Seed,
    ) -> Activity {
        let drawn = || Arc::clone(draw)(number, &mut seed.named(name).child(number).rng());
        Activity {
            number,
            start: self.at,
            lasts: self.lasts,
            trigger: None,
            value: self.value.clone().unwrap_or_else(drawn),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn entry(at: u64, lasts: u64, nemesis: &str) -> Entry {
        let text = |ms: u64| format!("{ms}ms");
        let entry = json!({"at": text(at), "for": text(lasts), "nemesis": nemesis});
        serde_json::from_value(entry).unwrap()
    }

    #[test]
    fn faults_come_in_the_order_in_which_they_are_written() {
        let script = Script {
            entries: vec![
                entry(9_000, 10, "kill:target=n1"),
                entry(5_000, 1_000, "pause"),
                entry(2_000, 10, "kill"),
            ],
        };
        assert_eq!(script.nemesis().unwrap(), "kill:target=n1,pause");
        let faults = script.by_fault().unwrap();
        assert_eq!(faults[0].1[0].at, Duration::from_secs(2));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let script = |entries| Script { entries };
        let overlapping = script(vec![entry(1_000, 600, "kill"), entry(1_500, 5, "kill")]);
        assert_eq!(
            overlapping.nemesis().unwrap_err(),
            "the activity of kill at 1.5s begins before the one at 1s has ended"
        );
        let unknown = script(vec![entry(1_000, 600, "kil")]);
        let error = unknown.nemesis().unwrap_err();
        assert!(
            error.starts_with("activity 1, at 1s: no fault `kil` (did you mean `kill`?)"),
            "{error}"
        );
        let wrong = json!({"at": "soon", "for": "1s", "nemesis": "kill"});
        let error = serde_json::from_value::<Entry>(wrong).unwrap_err();
        assert!(error.to_string().contains("write a duration"), "{error}");
    }
}
