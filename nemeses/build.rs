//! Builds the agent as a static program, to be carried in this library and put on nodes.
//!
//! It is built apart, since it is linked statically where nothing else is, so that it runs on a node with any C library
//! or none; and small, since it travels.

use std::env;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, process};

fn main() {
    let here = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(variable("OUT_DIR"));
    let agent = here.join("agent");
    println!("cargo::rerun-if-changed={}", agent.join("src").display());
    println!(
        "cargo::rerun-if-changed={}",
        agent.join("Cargo.toml").display()
    );
    let target = variable("TARGET");
    let built = build(&agent, &out.join("agent"), &target);
    let program =
        fs::read(&built).unwrap_or_else(|error| fail(&format!("{}: {error}", built.display())));
    let place = out.join("gainsay-agent");
    fs::write(&place, &program).unwrap_or_else(|error| fail(&error.to_string()));
    let mut hasher = DefaultHasher::new();
    program.hash(&mut hasher);
    println!("cargo::rustc-env=GAINSAY_AGENT={}", place.display());
    println!(
        "cargo::rustc-env=GAINSAY_AGENT_HASH={:016x}",
        hasher.finish()
    );
    let machine = target.split('-').next().unwrap_or_default();
    println!("cargo::rustc-env=GAINSAY_AGENT_MACHINE={machine}");
}

fn build(agent: &Path, folder: &Path, target: &str) -> PathBuf {
    let mut cargo = Command::new(variable("CARGO"));
    cargo
        .args([
            "build",
            "--bin",
            "gainsay-agent",
            "--profile",
            "agent",
            "--target",
            target,
        ])
        .arg("--manifest-path")
        .arg(agent.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(folder)
        .env(
            "RUSTFLAGS",
            "-C target-feature=+crt-static -C relocation-model=static",
        );
    // What holds for the program that this is built for does not hold for the agent.
    for name in [
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_TARGET_DIR",
    ] {
        cargo.env_remove(name);
    }
    let output = cargo.output();
    let output = output.unwrap_or_else(|error| fail(&format!("cargo cannot be run: {error}")));
    if !output.status.success() {
        fail(&format!(
            "the agent was not built:\n{}\n  hint: a static C library is needed (Debian: libc6-dev)",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    folder.join(target).join("agent").join("gainsay-agent")
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|error| fail(&format!("{name}: {error}")))
}

fn fail(message: &str) -> ! {
    eprintln!("{message}");
    process::exit(1)
}
