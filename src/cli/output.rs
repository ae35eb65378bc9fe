//! Talking to the user: results on standard output, talk on standard error.

use std::io::{IsTerminal, Write};

/// Prints a line of a result to standard output. One that nobody reads any more (`| head`) is no reason to fail:
/// unlike `println!`, which panics then.
macro_rules! outln {
    () => { $crate::cli::output::print_line(format_args!("")) };
    ($($text:tt)*) => { $crate::cli::output::print_line(format_args!($($text)*)) };
}
pub(crate) use outln;

/// What [`outln`] does.
pub(crate) fn print_line(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// How much is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verbosity {
    /// Results only.
    Quiet,
    /// What happens.
    Normal,
    /// Also details.
    Verbose,
    /// Also every command that a node runs.
    Trace,
}

/// Where and how to say things.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// How much.
    pub(crate) verbosity: Verbosity,
    /// Whether results are JSON.
    pub(crate) json: bool,
    /// Whether talk is coloured.
    pub(crate) color: bool,
    /// Whether a line may be rewritten.
    pub(crate) live: bool,
}

impl Output {
    /// Colour and the live line only on a terminal; NO_COLOR and CLICOLOR_FORCE are heeded.
    pub(crate) fn new(verbosity: Verbosity, json: bool) -> Output {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let terminal =
            std::io::stderr().is_terminal() && std::env::var_os("TERM") != Some("dumb".into());
        let color = !set("NO_COLOR") && (terminal && !set("CI") || set("CLICOLOR_FORCE"));
        let live = terminal && !set("CI") && verbosity == Verbosity::Normal;
        Output {
            verbosity,
            json,
            color,
            live,
        }
    }

    /// Says what happens, unless quiet.
    pub(crate) fn say(&self, text: &str) {
        if self.verbosity > Verbosity::Quiet {
            // Talk that cannot be written is not worth failing for.
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    /// Text in a colour of the terminal (an SGR code), if colours are on.
    pub(crate) fn paint(&self, code: &str, text: &str) -> String {
        if self.color {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}
