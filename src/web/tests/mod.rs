//! The server, asked over loopback: what it shows, and what it refuses to.
#![allow(clippy::unwrap_used)]

mod client;
mod guards;
mod live;
mod pages;
