//! Tests of the interpreter, most of them on virtual time.

#![allow(clippy::unwrap_used)]

mod combinators;
mod faults;
mod operations;
mod phases;
mod real;
mod reproducible;
mod stopping;
mod world;
