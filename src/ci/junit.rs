//! The file that test reports are made of almost everywhere.

use std::collections::BTreeMap;
use std::io::{self, BufWriter};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::{Case, Record};
use crate::exit::Exit;

/// A violation is a failure; what could not be decided, and what went wrong with the test itself, is an error; what was not begun is
/// skipped.
pub(super) fn report(record: &Record) -> Report {
    let mut report = Report::new(&record.title);
    let mut groups: BTreeMap<&str, Vec<&Case>> = BTreeMap::new();
    for case in &record.cases {
        groups.entry(&case.group).or_default().push(case);
    }
    let mut all = Duration::ZERO;
    for (group, cases) in groups {
        let mut suite = TestSuite::new(group);
        let time: Duration = cases.iter().map(|case| case.time).sum();
        suite.set_time(time);
        all += time;
        suite.add_test_cases(cases.into_iter().map(test_case));
        report.add_test_suite(suite);
    }
    if !record.skipped.is_empty() {
        let mut suite = TestSuite::new("not run");
        let skipped = record.skipped.iter();
        suite.add_test_cases(skipped.map(|name| TestCase::new(name, TestCaseStatus::skipped())));
        report.add_test_suite(suite);
    }
    report.set_time(all);
    report
}

fn test_case(case: &Case) -> TestCase {
    let mut status = match case.exit {
        Exit::Valid => TestCaseStatus::success(),
        Exit::Invalid => TestCaseStatus::non_success(NonSuccessKind::Failure),
        _ => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    if case.exit != Exit::Valid {
        status.set_type(case.word());
        status.set_message(&case.reason);
        status.set_description(case.details.join("\n"));
    }
    let mut test = TestCase::new(&case.name, status);
    test.set_classname(&case.group);
    test.set_time(case.time);
    for (name, value) in &case.properties {
        test.add_property((*name, value.as_str()));
    }
    test
}

/// Writes it, whole or not at all.
pub(super) fn write(path: &Path, record: &Record) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let report = report(record);
    store::write_whole(path, |out: &mut BufWriter<std::fs::File>| {
        report.serialize(out).map_err(io::Error::other)
    })?;
    Ok(())
}
