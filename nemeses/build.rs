//! Builds what is put on nodes, to be carried in this library: the agent, a static program, which runs on a node with any C library or none;
//! and the library that keeps waits true, which is loaded by programs with whatever C library they have.
//!
//! They are built apart, since they are linked as nothing else is; and small, since they travel.

use std::env;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, process};

fn main() {
    let machine = variable("TARGET");
    let machine = machine.split('-').next().unwrap_or_default();
    println!("cargo::rustc-env=GAINSAY_AGENT_MACHINE={machine}");
    let agent = Part {
        folder: "agent",
        command: &["build", "--bin", "gainsay-agent"],
        // Linked statically.
        flags: "-C target-feature=+crt-static -C relocation-model=static",
        made: "gainsay-agent",
        variable: "GAINSAY_AGENT",
    };
    agent.carry();
    let waits = Part {
        folder: "waits",
        command: &[
            "rustc",
            "--lib",
            "--crate-type",
            "cdylib",
            "--features",
            "preload",
        ],
        // Linked with nothing but what C libraries older than 2.34 have the functions in that it uses, and of others is a husk. Threads
        // that are cancelled while they wait are unwound.
        flags: "-C panic=abort -C relocation-model=pic -C force-unwind-tables=yes -C link-arg=-nostdlib -C link-arg=-Wl,--no-as-needed \
                -C link-arg=-l:libpthread.so.0 -C link-arg=-l:libdl.so.2",
        made: "libwaits.so",
        variable: "GAINSAY_WAITS",
    };
    waits.carry();
}

/// A part that is put on nodes.
struct Part {
    /// Its package's folder.
    folder: &'static str,
    /// What cargo is told.
    command: &'static [&'static str],
    flags: &'static str,
    /// The file that comes of it.
    made: &'static str,
    /// The variable that says where it is; with `_HASH` the one that names what is in it.
    variable: &'static str,
}

impl Part {
    /// Builds it, and says where it is to be had from.
    fn carry(&self) {
        let package = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join(self.folder);
        for part in ["src", "Cargo.toml"] {
            println!("cargo::rerun-if-changed={}", package.join(part).display());
        }
        let out = PathBuf::from(variable("OUT_DIR"));
        let built = self.build(&package, &out.join(self.folder));
        let content =
            fs::read(&built).unwrap_or_else(|error| fail(&format!("{}: {error}", built.display())));
        let place = out.join(self.made);
        fs::write(&place, &content).unwrap_or_else(|error| fail(&error.to_string()));
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        println!("cargo::rustc-env={}={}", self.variable, place.display());
        println!(
            "cargo::rustc-env={}_HASH={:016x}",
            self.variable,
            hasher.finish()
        );
    }

    fn build(&self, package: &Path, folder: &Path) -> PathBuf {
        let target = variable("TARGET");
        let mut cargo = Command::new(variable("CARGO"));
        cargo
            .args(self.command)
            .args(["--profile", "agent", "--target", &target])
            .arg("--manifest-path")
            .arg(package.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(folder)
            .env("RUSTFLAGS", self.flags);
        // What holds for the program that this is built for does not hold for what is built here.
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
                "{} was not built:\n{}\n  hint: a static C library is needed (Debian: libc6-dev)",
                self.made,
                String::from_utf8_lossy(&output.stderr)
            ));
        }
        folder.join(target).join("agent").join(self.made)
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|error| fail(&format!("{name}: {error}")))
}

fn fail(message: &str) -> ! {
    eprintln!("{message}");
    process::exit(1)
}
