//! The faults that there are, as data: what they do, their variants and options, how each is proved to
//! take effect and how it is undone. Help, documentation and the parser of `--nemesis` are all made from
//! it.

use std::sync::LazyLock;

use harness::fault::Fault;
use harness::options::{OptionKind, OptionSpec};

use crate::build::MakeContext;
use crate::schedule::Draw;
use crate::spec::FaultSpec;
use crate::{
    clock, confine, corrupt, disk, load, membership, packet, partition, power, process, reboot,
    rolling, script, system,
};

/// The option of every fault that sets the time from one start to the next.
pub(crate) const INTERVAL: &str = "interval";
/// The option of every fault that sets how long it is in force.
pub(crate) const DURATION: &str = "duration";

/// The option of every fault that keeps others away while it is in force.
pub(crate) const ALONE: &str = "alone";
/// The option of every fault that says how often its turn comes.
pub(crate) const WEIGHT: &str = "weight";

/// A fault, described.
#[derive(Debug)]
pub struct FaultInfo {
    /// Its name, as `--nemesis` takes it.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// Its variants. Where there are some and the user chooses none, each activity draws one.
    pub variants: Vec<VariantInfo>,
    /// Its options.
    pub options: Vec<OptionSpec>,
    /// What proves that it took effect.
    pub evidence: &'static str,
    /// How it is undone.
    pub undo: &'static str,
    /// Whether it cannot happen in nature. Such faults are in no preset and named in the verdict.
    pub synthetic: bool,
    /// Makes one, with what draws its activities.
    pub(crate) make: fn(&FaultSpec, &MakeContext) -> Result<Made, String>,
}

/// A variant of a fault.
#[derive(Clone, Debug)]
pub struct VariantInfo {
    /// Its name.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
}

/// A fault, made.
pub(crate) struct Made {
    pub(crate) fault: Box<dyn Fault>,
    pub(crate) draw: Draw,
}

/// All faults.
pub fn catalogue() -> &'static [FaultInfo] {
    static CATALOGUE: LazyLock<Vec<FaultInfo>> = LazyLock::new(|| {
        vec![
            partition::info(),
            packet::info(),
            process::kill_info(),
            process::pause_info(),
            clock::info(),
            power::info(),
            reboot::info(),
            confine::freeze_info(),
            confine::stress_info(),
            load::info(),
            disk::info(),
            corrupt::info(),
            membership::info(),
            rolling::info(),
            system::info(),
            script::info(),
        ]
    });
    &CATALOGUE
}

/// The fault with a name.
pub fn find(name: &str) -> Option<&'static FaultInfo> {
    catalogue().iter().find(|info| info.name == name)
}

/// Whether a fault, as it was asked for, cannot happen in nature.
pub fn is_synthetic(spec: &FaultSpec) -> bool {
    let always = find(&spec.name).is_some_and(|info| info.synthetic);
    always || (spec.name == clock::NAME && clock::is_synthetic(&spec.options))
}

/// A fault's own options, and those that all faults have.
pub(crate) fn with_common(own: Vec<OptionSpec>) -> Vec<OptionSpec> {
    let interval = "Time from one start to the next, on average; each is drawn between half and one \
                    and a half of it. By default as the schedule's duty cycle says.";
    let duration = "How long it is in force each time. By default drawn between a tenth and ten \
                    times the system's election time-out.";
    let times = [(INTERVAL, interval), (DURATION, duration)]
        .map(|(name, help)| OptionSpec::new(name, OptionKind::Duration, None, help));
    let alone =
        "Whether it is in force alone: no other fault begins beside it, and it beside none.";
    let alone = OptionSpec::new(ALONE, OptionKind::Flag, Some("false"), alone);
    let weight = "How often its turn comes where faults alternate, compared with the others.";
    let range = OptionKind::Number {
        min: 0.001,
        max: 1000.0,
    };
    let weight = OptionSpec::new(WEIGHT, range, Some("1"), weight);
    let own = own.into_iter().chain(times);
    own.chain([alone, weight]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_defaults_parse() {
        let mut names: Vec<&str> = catalogue().iter().map(|info| info.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), catalogue().len());
        for info in catalogue() {
            for option in &info.options {
                option.default_value();
            }
        }
    }
}
