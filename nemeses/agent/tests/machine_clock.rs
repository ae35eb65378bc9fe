//! The clock of a whole machine, on a machine of its own: user-mode Linux, whose kernel is a process, started on this machine's files,
//! which it only reads. What its clocks say is measured from outside of what is tested: the time of day against the raw clock.
//!
//! Skipped, loudly, and on CI fails, where `linux.uml` (Debian: user-mode-linux) or `cc` is not there.
#![allow(clippy::unwrap_used)]

#[path = "common/machine.rs"]
mod machine;
#[path = "../../tests/common/skip.rs"]
mod skip;

use std::collections::BTreeMap;

use agent::modules::clock::{STILL_PPB, Setting};
use agent::modules::machine_clock::{NAME, RESTORE, Request};
use agent::{Note, Outcome, Reply};
use serde_json::json;

use machine::on_a_machine;

/// A request, as a line; with an entry of the journal by which the agent undoes it, if it is to have one.
fn line(request: &Request, noted: bool, program: &str) -> String {
    let undo = format!("{program} {RESTORE} /run/state");
    let entry = json!({"id": "1", "undo": undo, "verify": "true", "survives_reboot": false});
    let note = Note {
        id: "1".to_owned(),
        entry: entry.as_object().unwrap().clone(),
    };
    let request = agent::Request {
        id: 1,
        module: NAME.to_owned(),
        request: serde_json::to_value(request).unwrap(),
        notes: if noted { vec![note] } else { Vec::new() },
        forget: Vec::new(),
    };
    serde_json::to_string(&request).unwrap()
}

#[test]
fn the_machines_clock_goes_wrong_and_is_then_where_it_would_have_been() {
    const SECOND: i64 = 1_000_000_000;
    let folder = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_gainsay-agent");
    let clocks = std::env::current_exe().unwrap();
    let set = |setting: Setting| {
        let setting = Setting {
            realtime: true,
            ..setting
        };
        line(&Request::Set(setting), false, program)
    };
    let hour = Setting {
        offset_ns: 3600 * SECOND,
        ..Setting::default()
    };
    let fast = Setting {
        rate_ppb: 90_000_000,
        ..Setting::default()
    };
    let still = Setting {
        rate_ppb: STILL_PPB,
        ..Setting::default()
    };
    let strobe = Setting {
        strobe_delta_ns: -7 * SECOND,
        strobe_period_ns: SECOND / 2,
        ..Setting::default()
    };
    let restore = line(&Request::Restore, false, program);
    let noted = line(
        &Request::Set(Setting {
            realtime: true,
            ..hour
        }),
        true,
        program,
    );
    let script = format!(
        r#"#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc && mount -t tmpfs tmpfs /run && mkdir /run/state
stamp() {{ {clocks} --exact clocks_program --ignored --nocapture -q | sed -n "s/^.*CLOCKS/CLOCKS $1/p" >&2; }}
ask() {{ echo "$1"; sleep 0.5; }}
stamp begin
{{
  ask '{probe}'
  ask '{hour}'; stamp hour; ask '{restore}'; stamp after-hour
  ask '{fast}'; stamp fast; sleep 3; stamp faster; ask '{restore}'; stamp after-fast
  ask '{still}'; stamp still; sleep 1; stamp stiller; ask '{restore}'; stamp after-still
  ask '{strobe}'; for i in 1 2 3 4 5 6 7 8 9; do stamp strobe; sleep 0.2; done; ask '{restore}'; stamp after-strobe
  ask '{noted}'; stamp noted
}} | {program} serve /run/state 600
stamp gone
mkdir -p /run/state
{{ ask '{hour}'; sleep 60; }} | {program} serve /run/state 600 &
sleep 1
kill -9 $(pidof gainsay-agent || pgrep gainsay-agent)
stamp killed
{program} {RESTORE} /run/state; echo "RESTORED $? $(ls /run/state | grep -c machine)"
stamp end
"#,
        clocks = clocks.display(),
        probe = line(&Request::Probe, false, program),
        hour = set(hour),
        fast = set(fast),
        still = set(still),
        strobe = set(strobe),
    );
    let Some(said) = on_a_machine("the_machines_clock_goes_wrong", folder.path(), &script, &[])
    else {
        return;
    };
    // How far the time of day is ahead of the raw clock, in seconds, from where it was at the beginning.
    let mut seen: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for stamp in said.lines().filter_map(|line| line.strip_prefix("CLOCKS ")) {
        let words: Vec<&str> = stamp.split_whitespace().collect();
        let [realtime, raw] = [words[1], words[2]].map(|word| word.parse::<i64>().unwrap());
        let ahead = (realtime - raw) as f64 / 1e9;
        seen.entry(words[0]).or_default().push(ahead);
    }
    let begin = seen.get("begin").unwrap_or_else(|| panic!("{said}"))[0];
    let at = |name: &str| {
        seen.get(name)
            .unwrap_or_else(|| panic!("no {name}: {said}"))[0]
            - begin
    };
    let is_about = |name: &str, seconds: f64| {
        assert!(
            (at(name) - seconds).abs() < 0.1,
            "{name} {}: {said}",
            at(name)
        )
    };
    for name in [
        "after-hour",
        "after-fast",
        "after-still",
        "after-strobe",
        "gone",
        "end",
    ] {
        is_about(name, 0.0);
    }
    for name in ["hour", "noted", "killed"] {
        is_about(name, 3600.0);
    }
    let gained = at("faster") - at("fast");
    assert!(gained > 0.25, "{gained}: {said}");
    let lost = at("still") - at("stiller");
    assert!(lost > 0.9, "{lost}: {said}");
    let strobe = seen["strobe"].iter().map(|ahead| ahead - begin);
    let (there, back): (Vec<f64>, Vec<f64>) = strobe.partition(|ahead| *ahead < -3.5);
    assert!(!there.is_empty() && !back.is_empty(), "{there:?} {back:?}");
    assert!(
        there.iter().all(|ahead| (ahead + 7.0).abs() < 0.1)
            && back.iter().all(|ahead| ahead.abs() < 0.1)
    );
    assert!(said.contains("RESTORED 0 0"), "{said}");
    let outcomes = said
        .lines()
        .filter_map(|line| serde_json::from_str::<Reply>(line).ok());
    let outcomes: Vec<Outcome> = outcomes.map(|reply| reply.outcome).collect();
    assert!(
        outcomes.len() >= 10 && outcomes.iter().all(|it| matches!(it, Outcome::Done(_))),
        "{said}"
    );
}

/// Says what the clocks say: run on the machine by the test above.
#[test]
#[ignore = "the other test runs it as a program"]
fn clocks_program() {
    let read = |clock| {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: it writes into that one.
        assert_eq!(unsafe { libc::clock_gettime(clock, &mut time) }, 0);
        time.tv_sec * 1_000_000_000 + time.tv_nsec
    };
    println!(
        "CLOCKS {} {}",
        read(libc::CLOCK_REALTIME),
        read(libc::CLOCK_MONOTONIC_RAW)
    );
}
