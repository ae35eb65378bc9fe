//! Errors in words.

/// An error with its causes. Those that an error says itself, as many libraries' errors do, are not said
/// again.
pub(crate) fn describe(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let said = cause.to_string();
        if text.is_empty() {
            text = said;
        } else if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use anyhow::Context;

    #[test]
    fn no_cause_is_said_twice() {
        let inner = std::io::Error::other("disk on fire");
        let outer = Err::<(), _>(inner).context("cannot read x: disk on fire");
        let error = outer.context("cannot judge").unwrap_err();
        assert_eq!(
            describe(&error),
            "cannot judge: cannot read x: disk on fire"
        );
    }
}
