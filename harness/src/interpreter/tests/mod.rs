#![allow(clippy::unwrap_used)]

mod faults;
mod operations;
mod phases;
mod real;
mod reproducible;
mod stopping;
mod world;
