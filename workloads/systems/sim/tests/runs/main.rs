//! Runs of the simulated store from one end to the other.

#![allow(clippy::unwrap_used)]

mod run;

use std::collections::BTreeMap;

use run::{Spec, run};

#[test]
fn show() {
    let started = std::time::Instant::now();
    let events = run(&Spec::new(1));
    let took = started.elapsed();
    let mut counts: BTreeMap<(String, &str, String), usize> = BTreeMap::new();
    for event in &events {
        let key = (
            event.f.to_string(),
            event.kind.as_str(),
            event.error_class().unwrap_or("").to_owned(),
        );
        *counts.entry(key).or_default() += 1;
    }
    println!("{counts:#?} {took:?}");
    for event in &events[..60] {
        println!("{}", serde_json::to_string(event).unwrap());
    }
    for event in events.iter().filter(|event| !event.is_client()) {
        println!("{}", serde_json::to_string(event).unwrap());
    }
}
