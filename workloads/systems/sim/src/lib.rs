//! The simulated store: a deterministic replicated register with bugs to switch on.
