//! The checker of registers.

mod corpus;
mod defects;
mod explanations;
mod given;
mod limits;
mod oracle;
mod support;
