//! Words that people give to runs, to find them again: `nightly`, `issue 1742`, `before the fix`.

use super::{RunError, RunFolder, read_json, write_json};

/// The most characters of a label.
pub const LABEL_MAX: usize = 60;

/// The most labels of a run.
pub const LABELS_MAX: usize = 50;

impl RunFolder {
    /// The labels of the run, sorted. A run that was never given any has none.
    ///
    /// # Errors
    /// When `labels.json` cannot be read, or holds something else.
    pub fn labels(&self) -> Result<Vec<String>, RunError> {
        let path = self.labels_path();
        match read_json(&path) {
            Err(RunError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                Ok(Vec::new())
            }
            read => read.map(sorted),
        }
    }

    /// Replaces the labels of the run. They are sorted, and each is kept once.
    ///
    /// # Errors
    /// When one of them is none ([`check_label`]), when there are more than [`LABELS_MAX`], or when they cannot be written.
    pub fn write_labels(&self, labels: &[String]) -> Result<(), RunError> {
        labels.iter().try_for_each(|label| check_label(label))?;
        let labels = sorted(labels.to_vec());
        match labels.get(LABELS_MAX) {
            Some(label) => Err(RunError::Label {
                label: label.clone(),
                why: format!("is one too many: a run has at most {LABELS_MAX}"),
            }),
            None => write_json(&self.labels_path(), &labels),
        }
    }
}

fn sorted(mut labels: Vec<String>) -> Vec<String> {
    labels.sort();
    labels.dedup();
    labels
}

/// Whether a text can be a label: up to [`LABEL_MAX`] characters, none of them a comma or a control character, and no white space
/// around it.
///
/// # Errors
/// What is wrong with it.
pub fn check_label(label: &str) -> Result<(), RunError> {
    let why = if label.is_empty() {
        "is empty".to_owned()
    } else if label.trim() != label {
        "begins or ends with white space".to_owned()
    } else if label.chars().any(char::is_control) {
        "contains a control character".to_owned()
    } else if label.contains(',') {
        "contains a comma, which stands between labels".to_owned()
    } else if label.chars().count() > LABEL_MAX {
        format!("is longer than {LABEL_MAX} characters")
    } else {
        return Ok(());
    };
    Err(RunError::Label {
        label: label.to_owned(),
        why,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::json;

    fn run(root: &tempfile::TempDir) -> RunFolder {
        RunFolder::create(root.path(), "sim-register", &json!({})).unwrap()
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn labels_are_sorted_and_kept_once() {
        let root = tempfile::tempdir().unwrap();
        let run = run(&root);
        assert_eq!(run.labels().unwrap(), words(&[]));
        let labels = words(&["nightly", "issue 1742", "nightly", "ä+b"]);
        run.write_labels(&labels).unwrap();
        let expected = words(&["issue 1742", "nightly", "ä+b"]);
        assert_eq!(run.labels().unwrap(), expected);
        run.write_labels(&[]).unwrap();
        assert_eq!(run.labels().unwrap(), words(&[]));
    }

    #[test]
    fn what_is_no_label_is_refused_and_changes_nothing() {
        let root = tempfile::tempdir().unwrap();
        let run = run(&root);
        run.write_labels(&words(&["good"])).unwrap();
        let long = "x".repeat(LABEL_MAX + 1);
        for label in ["", " a", "a ", "a,b", "a\nb", "a\u{7f}", &long] {
            let error = run.write_labels(&words(&["fine", label])).unwrap_err();
            assert!(
                error
                    .to_string()
                    .starts_with(&format!("the label {label:?} ")),
                "{error}"
            );
        }
        check_label(&"ü".repeat(LABEL_MAX)).unwrap();
        let many: Vec<String> = (0..=LABELS_MAX).map(|n| n.to_string()).collect();
        assert!(
            run.write_labels(&many)
                .unwrap_err()
                .to_string()
                .contains("one too many")
        );
        assert_eq!(run.labels().unwrap(), words(&["good"]));
    }

    #[test]
    fn a_file_that_holds_something_else_is_named() {
        let root = tempfile::tempdir().unwrap();
        let run = run(&root);
        for text in ["{}", "[1]", "[\"a\""] {
            std::fs::write(run.labels_path(), text).unwrap();
            let error = run.labels().unwrap_err().to_string();
            assert!(error.contains("labels.json: "), "{error}");
        }
    }
}
