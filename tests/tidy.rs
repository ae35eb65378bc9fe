//! Rules of the house that a compiler does not check.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Which crates of the workspace each may depend on. Dependencies go down only.
const ARROWS: &[(&str, &[&str])] = &[
    ("gainsay-store", &[]),
    ("gainsay-checkers", &["gainsay-store"]),
    ("gainsay-harness", &["gainsay-store"]),
    ("gainsay-agent", &[]),
    ("gainsay-waits", &[]),
    (
        "gainsay-nemeses",
        &["gainsay-agent", "gainsay-harness", "gainsay-store"],
    ),
    (
        "gainsay-workloads",
        &[
            "gainsay-checkers",
            "gainsay-harness",
            "gainsay-nemeses",
            "gainsay-store",
        ],
    ),
    ("gainsay-elasticsearch", SYSTEM),
    ("gainsay-etcd", SYSTEM),
    ("gainsay-mongodb", SYSTEM),
    ("gainsay-postgres", SYSTEM),
    ("gainsay-sim", SYSTEM),
    (
        "gainsay",
        &[
            "gainsay-checkers",
            "gainsay-elasticsearch",
            "gainsay-etcd",
            "gainsay-harness",
            "gainsay-mongodb",
            "gainsay-nemeses",
            "gainsay-postgres",
            "gainsay-sim",
            "gainsay-store",
            "gainsay-workloads",
        ],
    ),
];

const SYSTEM: &[&str] = &[
    "gainsay-checkers",
    "gainsay-harness",
    "gainsay-nemeses",
    "gainsay-store",
    "gainsay-workloads",
];

/// What a checker must never link: it does no I/O, keeps no clock and starts no runtime.
const NOT_FOR_CHECKERS: &[&str] = &["tokio", "ssh2", "hyper", "nix", "libc", "anyhow"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn dependencies() -> BTreeMap<String, Vec<String>> {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .exec()
        .unwrap();
    let members = metadata.workspace_packages();
    let normal = |package: &cargo_metadata::Package| {
        let all = package.dependencies.iter();
        let normal = all.filter(|dependency| dependency.kind == DependencyKind::Normal);
        normal.map(|dependency| dependency.name.clone()).collect()
    };
    members
        .iter()
        .map(|package| (package.name.to_string(), normal(package)))
        .collect()
}

#[test]
fn dependencies_go_down_only() {
    let dependencies = dependencies();
    let known: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    for (package, needs) in &dependencies {
        let allowed = known.get(package.as_str());
        let allowed = allowed.unwrap_or_else(|| panic!("{package} is not in the table of arrows"));
        for need in needs.iter().filter(|need| dependencies.contains_key(*need)) {
            assert!(
                allowed.contains(&need.as_str()),
                "{package} must not depend on {need}"
            );
        }
    }
}

#[test]
fn checkers_are_pure_and_libraries_do_not_use_anyhow() {
    let dependencies = dependencies();
    for banned in NOT_FOR_CHECKERS {
        assert!(
            !dependencies["gainsay-checkers"]
                .iter()
                .any(|need| need == banned),
            "{banned}"
        );
    }
    for (package, needs) in dependencies
        .iter()
        .filter(|(package, _)| *package != "gainsay")
    {
        assert!(
            !needs.iter().any(|need| need == "anyhow"),
            "{package} uses anyhow"
        );
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && name != "target" && name != "runs" {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn files_can_be_held_in_the_head() {
    let mut found = Vec::new();
    sources(&root(), &mut found);
    assert!(found.len() > 20);
    for path in found {
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let lines = code.lines().count();
        // Tests of a whole thing are read case by case.
        let most = if path.components().any(|part| part.as_os_str() == "tests") {
            800
        } else {
            700
        };
        assert!(
            lines <= most,
            "{}: {lines} lines before its tests",
            path.display()
        );
        let first = text.lines().next().unwrap_or_default();
        assert!(
            first.starts_with("//!"),
            "{}: no module docs",
            path.display()
        );
        for (at, line) in text.lines().enumerate() {
            // Text that is meant for others (a table, a line of configuration) keeps its own shape.
            let text =
                line.starts_with("//!") || !line.starts_with([' ', '/']) || line.contains('"');
            let width = if text { 0 } else { line.chars().count() };
            assert!(
                width <= 140,
                "{}:{}: {width} columns",
                path.display(),
                at + 1
            );
        }
    }
}
