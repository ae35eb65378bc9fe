//! The `gainsay` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    gainsay::main(gainsay::suites())
}
