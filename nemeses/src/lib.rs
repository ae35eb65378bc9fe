//! Faults, their schedules and their undoing.
