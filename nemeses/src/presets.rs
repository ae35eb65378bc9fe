//! Faults that people know by another name.

/// Faults under one name.
#[derive(Debug)]
pub struct Preset {
    /// Its name, as `--nemesis` takes it in a fault's place. Options that it is given go to each of its faults.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub summary: &'static str,
    /// The faults, as `--nemesis` takes them.
    pub nemesis: &'static str,
}

const PRESETS: &[Preset] = &[
    Preset {
        name: "chaos-monkey",
        summary: "Kills one node at a time, at random; it comes back. After Netflix's, which ended instances.",
        nemesis: "kill:target=one",
    },
    Preset {
        name: "chaos-gorilla",
        summary: "Kills all nodes of one zone at a time; they come back. After Netflix's, which ended an availability zone. Needs --zone.",
        nemesis: "kill:target=zone",
    },
    Preset {
        name: "chaos-kong",
        summary: "Kills all nodes of one region at a time; they come back. After Netflix's, which ended a region. Needs --zone.",
        nemesis: "kill:target=region",
    },
    Preset {
        name: "latency-monkey",
        summary: "Makes one node slow for the others and for clients: a second, give or take half. After Netflix's.",
        nemesis: "packet:delay=1s:jitter=500ms:distribution=uniform:target=one:peers=all",
    },
    Preset {
        name: "crash-loop",
        summary: "Kills the primary again and again; it is started again at once.",
        nemesis: "kill:target=primary:restart=once:interval=2s:duration=200ms",
    },
    Preset {
        name: "classic",
        summary: "What Jepsen's tests do most: partitions, kills and pauses beside each other.",
        nemesis: "partition,kill,pause",
    },
];

/// All presets.
pub fn presets() -> &'static [Preset] {
    PRESETS
}

/// The preset with a name.
pub(crate) fn find(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::catalogue;
    use crate::spec::parse;

    #[test]
    fn presets_are_faults_that_happen_in_nature() {
        for preset in PRESETS {
            assert!(catalogue::find(preset.name).is_none());
            for spec in parse(preset.nemesis).unwrap() {
                assert!(!catalogue::find(&spec.name).unwrap().synthetic);
            }
        }
    }

    #[test]
    fn options_of_a_preset_go_to_its_faults() {
        let texts = |text: &str| -> Vec<String> {
            parse(text)
                .unwrap()
                .into_iter()
                .map(|spec| spec.text)
                .collect()
        };
        assert_eq!(
            texts("classic:interval=5s"),
            [
                "partition:interval=5s",
                "kill:interval=5s",
                "pause:interval=5s"
            ]
        );
        assert_eq!(texts("chaos-monkey, pause"), ["kill:target=one", "pause"]);
        assert_eq!(
            texts("chaos-gorilla:target=zone-a"),
            ["kill:target=zone:target=zone-a"]
        );
        let error = parse("kill,chaos-monkey").unwrap_err().to_string();
        assert!(error.starts_with("`kill` is given twice"), "{error}");
        let error = parse("classic:intervall=5s").unwrap_err().to_string();
        assert!(error.contains("did you mean `interval`"), "{error}");
        assert!(error.contains("classic:intervall=5s\n"), "{error}");
        let error = parse("chaos-monky").unwrap_err().to_string();
        assert!(error.contains("did you mean `chaos-monkey`"), "{error}");
    }
}
