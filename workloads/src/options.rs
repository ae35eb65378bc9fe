//! Options as data: a suite says which it has, and the controller turns them into flags.

pub use harness::options::{OptionError, OptionKind, OptionSpec, OptionValue, Options, unknown};

/// Options that are of a workload, and of no other unless it says so, too.
pub fn of(workload: &str, options: impl IntoIterator<Item = OptionSpec>) -> Vec<OptionSpec> {
    let mut options: Vec<OptionSpec> = options.into_iter().collect();
    for option in &mut options {
        option.workloads = vec![workload.to_owned()];
    }
    options
}

/// The options of a suite and of its workloads. What several have is there once, is of all of these, and means what the first says.
pub fn merged(parts: impl IntoIterator<Item = Vec<OptionSpec>>) -> Vec<OptionSpec> {
    let mut all: Vec<OptionSpec> = Vec::new();
    for option in parts.into_iter().flatten() {
        match all.iter_mut().find(|known| known.name == option.name) {
            None => all.push(option),
            // It is of all workloads, if one says so.
            Some(known) if known.workloads.is_empty() || option.workloads.is_empty() => {
                known.workloads.clear();
            }
            Some(known) => known.workloads.extend(option.workloads),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_workloads_say_so() {
        let all = [
            crate::append::options(),
            crate::bank::options(),
            crate::causal::options(),
            crate::causal_reverse::options(),
            crate::counter::options(),
            crate::dirty_read::options(),
            crate::divergence::options(),
            crate::long_fork::options(),
            crate::lost_update::options(),
            crate::monotonic_reads::options(),
            crate::register::options(),
            crate::rw_register::options(),
            crate::set::options(),
            crate::write_skew::options(),
        ];
        for option in all.iter().flatten() {
            assert_eq!(option.workloads.len(), 1, "{}", option.name);
        }
    }

    #[test]
    fn what_several_have_is_there_once_and_of_all_of_them() {
        let flags = |names: &[&str]| -> Vec<OptionSpec> {
            names
                .iter()
                .map(|name| OptionSpec::flag(name, ""))
                .collect()
        };
        let all = merged([
            of("x", flags(&["a", "b", "c"])),
            of("y", flags(&["d", "a"])),
            flags(&["c", "e"]),
        ]);
        let told: Vec<(&str, Vec<&str>)> = all
            .iter()
            .map(|option| {
                let workloads = option.workloads.iter().map(String::as_str);
                (option.name.as_str(), workloads.collect())
            })
            .collect();
        let expected = [
            ("a", vec!["x", "y"]),
            ("b", vec!["x"]),
            ("c", vec![]),
            ("d", vec!["y"]),
            ("e", vec![]),
        ];
        assert_eq!(told, expected);
        assert!(all[0].is_of("y") && !all[1].is_of("y") && all[2].is_of("z"));
    }
}
