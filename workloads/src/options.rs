//! Options as data: a suite says which it has, and the controller turns them into flags.

pub use harness::options::{OptionError, OptionKind, OptionSpec, OptionValue, Options, unknown};
