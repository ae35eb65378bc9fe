//! The checker of registers.

mod corpus;
mod defects;
mod explanations;
mod given;
mod given_examples;
mod limits;
mod oracle;
mod support;
