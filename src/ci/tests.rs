//! What others read must be what they can read, whatever a run says.
#![allow(clippy::unwrap_used)]

use super::*;

const EVIL: &str = "50% off, a:b\r\n::set-output name=x::y | <script>`code`</script> [link](http://x) @all \u{1b}[31m";

fn case(exit: Exit, name: &str, reason: &str) -> Case {
    Case {
        group: "sim-register".to_owned(),
        name: name.to_owned(),
        exit,
        reason: reason.to_owned(),
        details: vec![reason.to_owned()],
        time: Duration::from_millis(1500),
        properties: vec![
            ("seed", "7".to_owned()),
            ("again", "gainsay test sim --seed 7".to_owned()),
        ],
    }
}

fn record(cases: Vec<Case>) -> Record {
    let mut record = Record::new("gainsay test sim", None);
    cases.into_iter().for_each(|case| record.add(case));
    record
}

fn all() -> Record {
    let mut record = record(vec![
        case(Exit::Valid, "seed 1", "no violation of the claim was found"),
        case(Exit::Invalid, "seed 2", "key 3 is not linearizable"),
        case(Exit::Unknown, "seed 3", "not enough evidence"),
        case(
            Exit::Failure,
            "seed 4",
            "the test itself failed: n3 is gone",
        ),
    ]);
    record.skip("seed 5".to_owned());
    record
}

#[test]
fn junit_tells_failures_from_errors() {
    let text = junit::report(&all()).to_string().unwrap();
    insta::assert_snapshot!(text);
}

#[test]
fn annotations_are_one_line_each_and_within_the_limits() {
    insta::assert_snapshot!(github::annotations(&all()).join("\n"));
    let evil = github::annotations(&record(vec![case(Exit::Invalid, EVIL, EVIL)]));
    assert_eq!(evil.len(), 1);
    assert!(!evil[0].contains(['\r', '\n']));
    assert_eq!(
        evil[0].matches("::").count(),
        4,
        "the command's own two, and two that do not begin a line: {}",
        evil[0]
    );
    let title = evil[0]
        .strip_prefix("::error title=")
        .unwrap()
        .split_once("::")
        .unwrap()
        .0;
    assert!(
        !title.contains([':', ',']) && title.contains("50%25 off%2C a%3Ab%0D%0A%3A%3Aset"),
        "{title}"
    );

    let many: Vec<Case> = (0..30)
        .flat_map(|n| {
            [
                case(Exit::Invalid, &n.to_string(), "x"),
                case(Exit::Unknown, &n.to_string(), "y"),
            ]
        })
        .collect();
    let lines = github::annotations(&record(many));
    let of = |kind: &str| {
        lines
            .iter()
            .filter(|line| line.starts_with(&format!("::{kind} ")))
            .count()
    };
    assert_eq!((of("error"), of("warning"), lines.len()), (10, 10, 20));
    assert!(lines[9].ends_with("21 more are in the job summary"));
}

#[test]
fn a_summary_shows_text_and_does_nothing_else() {
    insta::assert_snapshot!(github::summary(&all()));
    let evil = github::summary(&record(vec![case(Exit::Invalid, EVIL, EVIL)]));
    assert!(
        !evil.contains('<')
            && !evil.contains(" | <")
            && !evil.contains("@all")
            && !evil.contains("](http")
    );
    let row = evil.lines().find(|line| line.starts_with("| ❌")).unwrap();
    assert_eq!(row.replace("\\|", "").matches('|').count(), 6, "{row}");
}

#[test]
fn a_summary_is_small_and_appended_whole_or_not_at_all() {
    let long = "x".repeat(5000);
    let text = github::summary(&record(
        (0..5000)
            .map(|n| case(Exit::Invalid, &n.to_string(), &long))
            .collect(),
    ));
    assert!(text.len() < 300_000, "{}", text.len());
    assert!(text.contains("more are not shown"));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "others\n").unwrap();
    for _ in 0..2 {
        github::append(file.path(), "ours\n").unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(file.path()).unwrap(),
        "others\nours\nours\n"
    );
    std::fs::write(file.path(), "x".repeat(1_020_000)).unwrap();
    assert!(github::append(file.path(), &text).is_err());
    assert_eq!(file.path().metadata().unwrap().len(), 1_020_000);
}

#[test]
fn a_file_that_cannot_be_written_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let output = Output::new(crate::cli::Verbosity::Quiet, false);
    let finish = |path: PathBuf| {
        let mut record = all();
        record.junit = Some(path);
        record.finish(&output)
    };
    assert_eq!(finish(folder.path().join("a/b/junit.xml")), Exit::Valid);
    let text = std::fs::read_to_string(folder.path().join("a/b/junit.xml")).unwrap();
    assert!(text.contains("failures=\"1\"") && text.contains("errors=\"2\""));
    assert_eq!(finish(folder.path().to_owned()), Exit::Failure);
}
