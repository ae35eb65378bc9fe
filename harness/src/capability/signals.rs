//! Signals, by the names and numbers that Linux has for them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A signal to the processes of the system under test. It is written by its name without `SIG`, as in `signal(7)`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signal(u8);

/// Those that have names of their own, from 1 on.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
/// Other names of some.
const ALIASES: [(&str, u8); 4] = [("IOT", 6), ("CLD", 17), ("POLL", 29), ("UNUSED", 31)];
/// The first and the last of the real-time signals, as programs have them: the C library keeps 32 and 33 for itself.
const REAL_TIME: (u8, u8) = (34, 64);

impl Signal {
    /// Hang up.
    pub const HUP: Signal = Signal(1);
    /// Interrupt.
    pub const INT: Signal = Signal(2);
    /// Quit with a core dump.
    pub const QUIT: Signal = Signal(3);
    /// Abort.
    pub const ABRT: Signal = Signal(6);
    /// End at once.
    pub const KILL: Signal = Signal(9);
    /// User signal 1.
    pub const USR1: Signal = Signal(10);
    /// User signal 2.
    pub const USR2: Signal = Signal(12);
    /// Please end.
    pub const TERM: Signal = Signal(15);
    /// A child has ended or stopped.
    pub const CHLD: Signal = Signal(17);
    /// Go on.
    pub const CONT: Signal = Signal(18);
    /// Stop running, keep memory and sockets.
    pub const STOP: Signal = Signal(19);
    /// Stop, asked for at a terminal.
    pub const TSTP: Signal = Signal(20);
    /// Stop, for reading from a terminal in the background.
    pub const TTIN: Signal = Signal(21);
    /// Stop, for writing to a terminal in the background.
    pub const TTOU: Signal = Signal(22);
    /// Urgent data at a socket.
    pub const URG: Signal = Signal(23);
    /// The window of a terminal has another size.
    pub const WINCH: Signal = Signal(28);

    /// Whether servers commonly have another use for it than to end.
    pub fn need_not_end(self) -> bool {
        matches!(self, Signal::HUP | Signal::USR1 | Signal::USR2)
    }

    /// Its number, as on all machines that Gainsay runs on.
    pub fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, _) = REAL_TIME;
        match NAMES.get(usize::from(self.0) - 1) {
            Some(name) => f.write_str(name),
            None if self.0 < first => write!(f, "{}", self.0),
            None if self.0 == first => f.write_str("RTMIN"),
            None => write!(f, "RTMIN+{}", self.0 - first),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Signal {
    type Err = String;

    /// Reads a name with or without `SIG`, in any case, or a number.
    fn from_str(text: &str) -> Result<Signal, String> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let named = (1..).zip(NAMES).find(|(_, it)| *it == name);
        let alias = ALIASES.iter().find(|(it, _)| *it == name);
        // Without a sign: `+9` is no number of a signal.
        let digits = |text: &str| -> Option<u8> {
            let all = text.bytes().all(|it| it.is_ascii_digit());
            text.parse().ok().filter(|_| all)
        };
        let (first, last) = REAL_TIME;
        let real_time = match name.split_at_checked(5) {
            Some(("RTMIN", "")) => Some(first),
            Some(("RTMAX", "")) => Some(last),
            Some(("RTMIN", more)) => more
                .strip_prefix('+')
                .and_then(digits)
                .and_then(|more| first.checked_add(more)),
            Some(("RTMAX", less)) => less
                .strip_prefix('-')
                .and_then(digits)
                .and_then(|less| last.checked_sub(less)),
            _ => None,
        };
        let real_time = real_time.filter(|number| (first..=last).contains(number));
        let number = digits(text).filter(|number| (1..=last).contains(number));
        let found = named.map(|(number, _)| number);
        let found = found.or(alias.map(|(_, number)| *number));
        found.or(real_time).or(number).map(Signal).ok_or_else(|| {
            format!(
                "no signal `{text}`: a name of signal(7) such as TERM or SIGSEGV, RTMIN to RTMIN+30, or a number from 1 to {last} \
                 expected"
            )
        })
    }
}

impl TryFrom<String> for Signal {
    type Error = String;

    fn try_from(text: String) -> Result<Signal, String> {
        text.parse()
    }
}

impl From<Signal> for String {
    fn from(signal: Signal) -> String {
        signal.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn number(text: &str) -> Option<u8> {
        text.parse::<Signal>().ok().map(Signal::number)
    }

    #[test]
    fn names_are_those_of_the_kernel() {
        for known in nix::sys::signal::Signal::iterator() {
            assert_eq!(number(known.as_str()), Some(known as u8), "{known}");
        }
    }

    #[test]
    fn names_and_numbers_are_read() {
        for (text, expected) in [
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigterm", 15),
            ("9", 9),
            ("64", 64),
            ("33", 33),
            ("IOT", 6),
            ("SIGPOLL", 29),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMIN+30", 64),
            ("RTMAX", 64),
            ("RTMAX-30", 34),
        ] {
            assert_eq!(number(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "0",
            "65",
            "-9",
            "+9",
            "9 ",
            "SIG",
            "SIG9",
            "KILLED",
            "RTMIN+31",
            "RTMAX-31",
            "RTMIN-1",
            "RTMIN+-1",
            "RTMINUS",
            "256",
            "9223372036854775807",
        ] {
            assert_eq!(number(text), None, "{text}");
        }
        let error = "SIGKIL".parse::<Signal>().unwrap_err();
        assert!(
            error.contains("SIGKIL") && error.contains("1 to 64"),
            "{error}"
        );
    }

    #[test]
    fn each_is_written_as_it_is_read() {
        for number in 1..=64 {
            let signal = Signal(number);
            let text = serde_json::to_string(&signal).unwrap();
            assert_eq!(serde_json::from_str::<Signal>(&text).unwrap(), signal);
        }
        assert_eq!(Signal::KILL.to_string(), "KILL");
        assert_eq!(Signal(37).to_string(), "RTMIN+3");
        assert_eq!(Signal(32).to_string(), "32");
    }

    #[test]
    fn constants_are_their_names() {
        for (signal, name) in [
            (Signal::HUP, "HUP"),
            (Signal::INT, "INT"),
            (Signal::QUIT, "QUIT"),
            (Signal::ABRT, "ABRT"),
            (Signal::KILL, "KILL"),
            (Signal::USR1, "USR1"),
            (Signal::USR2, "USR2"),
            (Signal::TERM, "TERM"),
            (Signal::CHLD, "CHLD"),
            (Signal::CONT, "CONT"),
            (Signal::STOP, "STOP"),
            (Signal::TSTP, "TSTP"),
            (Signal::TTIN, "TTIN"),
            (Signal::TTOU, "TTOU"),
            (Signal::URG, "URG"),
            (Signal::WINCH, "WINCH"),
        ] {
            assert_eq!(signal.to_string(), name);
        }
    }
}
