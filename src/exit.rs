//! Exit codes.

use checkers::Valid;

/// What the process says to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: every history is valid.
    Valid,
    /// 1: a claim was disproved.
    Invalid,
    /// 2: a verdict is unknown, and none is invalid.
    Unknown,
    /// 254: the command line or the configuration is wrong.
    BadArguments,
    /// 255: a crash, or the harness failed (a node was lost, a disk was full).
    Failure,
    /// 130: interrupted before there was a verdict.
    Interrupted,
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Exit::Valid => 0,
            Exit::Invalid => 1,
            Exit::Unknown => 2,
            Exit::BadArguments => 254,
            Exit::Failure => 255,
            Exit::Interrupted => 130,
        }
    }

    /// What a process with this exit code says; `None` where a signal ended it.
    pub(crate) fn of_code(code: Option<i32>) -> Exit {
        match code {
            Some(0) => Exit::Valid,
            Some(1) => Exit::Invalid,
            Some(2) => Exit::Unknown,
            Some(254) => Exit::BadArguments,
            Some(130) => Exit::Interrupted,
            _ => Exit::Failure,
        }
    }

    /// What to say of several runs: an unknown or a failure never hides an invalid one.
    pub fn and(self, other: Exit) -> Exit {
        let rank = |exit: Exit| match exit {
            Exit::Interrupted => 5,
            Exit::BadArguments => 4,
            Exit::Invalid => 3,
            Exit::Failure => 2,
            Exit::Unknown => 1,
            Exit::Valid => 0,
        };
        if rank(self) >= rank(other) {
            self
        } else {
            other
        }
    }
}

impl From<Valid> for Exit {
    fn from(valid: Valid) -> Exit {
        match valid {
            Valid::True => Exit::Valid,
            Valid::False => Exit::Invalid,
            Valid::Unknown => Exit::Unknown,
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> std::process::ExitCode {
        exit.code().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_mean_what_they_say() {
        for exit in [
            Exit::Valid,
            Exit::Invalid,
            Exit::Unknown,
            Exit::BadArguments,
            Exit::Failure,
            Exit::Interrupted,
        ] {
            assert_eq!(Exit::of_code(Some(exit.code().into())), exit);
        }
        assert_eq!(Exit::of_code(None), Exit::Failure);
        assert_eq!(Exit::of_code(Some(101)), Exit::Failure);
    }

    #[test]
    fn invalid_is_never_hidden() {
        assert_eq!(Exit::Invalid.and(Exit::Failure), Exit::Invalid);
        assert_eq!(Exit::Unknown.and(Exit::Failure), Exit::Failure);
        assert_eq!(Exit::Valid.and(Exit::Unknown), Exit::Unknown);
        assert_eq!(Exit::Unknown.and(Exit::Invalid), Exit::Invalid);
    }
}
