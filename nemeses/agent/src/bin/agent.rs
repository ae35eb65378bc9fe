//! The agent as a program. It takes its orders on standard input; see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    agent::main()
}
