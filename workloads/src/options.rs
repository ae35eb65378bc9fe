//! Options as data: a suite says which it has, and the controller turns them into flags.

use std::collections::BTreeSet;

pub use harness::options::{OptionError, OptionKind, OptionSpec, OptionValue, Options, unknown};

/// The options of a suite and of its workloads, those that several have once: the first counts.
pub fn merged(parts: impl IntoIterator<Item = Vec<OptionSpec>>) -> Vec<OptionSpec> {
    let mut names = BTreeSet::new();
    let all = parts.into_iter().flatten();
    all.filter(|option| names.insert(option.name.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_have_is_there_once() {
        let flag = |name| OptionSpec::flag(name, "");
        let all = merged([vec![flag("a"), flag("b")], vec![flag("c"), flag("a")]]);
        let names: Vec<&str> = all.iter().map(|option| option.name.as_ref()).collect();
        assert_eq!(names, ["a", "b", "c"]);
    }
}
