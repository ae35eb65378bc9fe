//! The one integration binary: everything here goes through the built program or looks at the whole
//! workspace.
#![allow(clippy::unwrap_used)]

mod browser;
mod check;
mod ci;
mod cluster;
mod demo;
mod heal;
mod mistakes;
mod online;
mod program;
mod runs;
mod serve;
mod ssh;
mod systems;
mod tidy;

/// Held by tests that look at the whole machine, so that they do not see each other.
static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
