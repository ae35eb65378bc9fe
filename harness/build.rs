//! Builds what user-mode Linux needs on processors with more registers than it knows of, to be carried in this library:
//! see `src/local/machine/xstate.rs`. There is user-mode Linux on x86-64 alone.

use std::env;
use std::path::PathBuf;
use std::process::{self, Command};

const SOURCE: &str = "src/local/machine/xstate.rs";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-changed=build.rs");
    let target = variable("TARGET");
    if !target.starts_with("x86_64-") || !target.contains("-linux-") {
        return;
    }
    let object = PathBuf::from(variable("OUT_DIR")).join("xstate.so");
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.args([
        "--edition",
        "2024",
        "--crate-type",
        "cdylib",
        "--crate-name",
        "xstate",
    ]);
    rustc.args([
        "--target",
        &target,
        "-C",
        "opt-level=2",
        "-C",
        "panic=abort",
    ]);
    rustc.args(["-C", "strip=symbols", "-C", "link-arg=-nostdlib"]);
    rustc.arg("-o").arg(&object).arg(SOURCE);
    let output = rustc.output();
    let output = output.unwrap_or_else(|error| fail(&format!("rustc cannot be run: {error}")));
    if !output.status.success() {
        fail(&format!(
            "{SOURCE} was not built:\n{}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    println!("cargo::rustc-env=GAINSAY_XSTATE={}", object.display());
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|error| fail(&format!("{name}: {error}")))
}

fn fail(message: &str) -> ! {
    eprintln!("{message}");
    process::exit(1)
}
