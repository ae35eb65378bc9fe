//! Clocks of processes, changed by the agent, and looked at by the processes themselves.
#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used)]

mod common;
#[path = "../../tests/common/skip.rs"]
mod skip;
#[path = "common/target.rs"]
mod target;

use std::time::{Duration, Instant};

use agent::Outcome;
use agent::modules::clock::{Answer, Follows, NAME, Request, STILL_PPB, Setting, What};
use common::{Agent, done};
use skip::skip;
use target::{Target, Times, now};

const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3600 * SECOND;
/// Much more than a loaded machine needs, much less than clocks are changed by here.
const SLACK: i64 = 120 * SECOND;

/// Whether this machine lets us do it; said loudly if not.
fn possible(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        skip(test, "ptrace of other processes needs root");
    }
    root
}

/// An agent that changes clocks under a test's own tag.
struct Clocks {
    agent: Agent,
    tag: String,
}

impl Clocks {
    fn new(test: &str) -> Clocks {
        Clocks {
            agent: Agent::start("600"),
            tag: format!("test-{}-{test}", std::process::id()),
        }
    }

    fn ask(&mut self, what: What) -> Outcome {
        let request = Request {
            tag: self.tag.clone(),
            what,
        };
        self.agent.ask_module(NAME, &request)
    }

    fn done(&mut self, what: What) -> Answer {
        done(self.ask(what))
    }

    fn set(&mut self, pids: &str, setting: Setting) -> Answer {
        self.done(What::Set {
            pids: pids.to_owned(),
            setting,
        })
    }

    fn undo_by_hand(&self) -> bool {
        let undo = [agent::modules::clock::UNDO, &self.tag];
        let program = env!("CARGO_BIN_EXE_gainsay-agent");
        let status = std::process::Command::new(program).args(undo).status();
        status.unwrap().success()
    }
}

fn ahead(offset_ns: i64) -> Setting {
    Setting {
        realtime: true,
        offset_ns,
        ..Setting::default()
    }
}

fn is_about(nanos: i64, expected: i64) -> bool {
    (nanos - expected).abs() < SLACK
}

#[test]
fn a_process_is_an_hour_ahead_alone_and_is_then_as_it_was() {
    if !possible("a_process_is_an_hour_ahead") {
        return;
    }
    let (mut target, other) = (Target::start(), Target::start());
    let mut clocks = Clocks::new("hour");
    let before = target.memory();
    let answer = clocks.set(&format!("echo {}", target.pid()), ahead(HOUR));
    let [seen] = &answer.processes[..] else {
        panic!("{answer:?}")
    };
    assert!(seen.as_told && seen.moved, "{seen:?}");
    assert!(is_about(seen.before.unwrap().realtime.ahead_ns, 0));
    assert!(is_about(seen.during.unwrap().realtime.ahead_ns, HOUR));
    let times = target.times();
    let Times {
        clock_gettime,
        gettimeofday,
        time,
        monotonic,
    } = times;
    for time in [clock_gettime, gettimeofday, time] {
        assert!(
            is_about(time - now(libc::CLOCK_REALTIME), HOUR),
            "{times:?}"
        );
    }
    assert!(is_about(monotonic - now(libc::CLOCK_MONOTONIC), 0));
    assert_ne!(target.memory(), before);
    let mut other = other;
    assert!(is_about(
        other.times().clock_gettime - now(libc::CLOCK_REALTIME),
        0
    ));
    // Another way while it runs.
    clocks.set(&format!("echo {}", target.pid()), ahead(-HOUR));
    assert!(is_about(
        target.times().clock_gettime - now(libc::CLOCK_REALTIME),
        -HOUR
    ));
    let answer = clocks.done(What::Restore);
    let [seen] = &answer.processes[..] else {
        panic!("{answer:?}")
    };
    assert!(
        seen.as_told && is_about(seen.after.unwrap().realtime.ahead_ns, 0),
        "{seen:?}"
    );
    assert!(is_about(
        target.times().clock_gettime - now(libc::CLOCK_REALTIME),
        0
    ));
    assert_eq!(
        target.memory(),
        before,
        "the vDSO's bytes and what is mapped"
    );
}

#[test]
fn the_clocks_are_chosen_and_go_as_they_are_told() {
    if !possible("the_clocks_are_chosen") {
        return;
    }
    let mut target = Target::start();
    let mut clocks = Clocks::new("chosen");
    let pids = format!("echo {}", target.pid());
    let setting = Setting {
        monotonic: true,
        offset_ns: HOUR,
        ..Setting::default()
    };
    clocks.set(&pids, setting);
    let times = target.times();
    assert!(is_about(times.monotonic - now(libc::CLOCK_MONOTONIC), HOUR));
    assert!(is_about(times.clock_gettime - now(libc::CLOCK_REALTIME), 0));
    // Standing still, both of them.
    let setting = Setting {
        realtime: true,
        monotonic: true,
        rate_ppb: STILL_PPB,
        ..Setting::default()
    };
    clocks.set(&pids, setting);
    let first = target.times();
    std::thread::sleep(Duration::from_millis(50));
    let then = target.times();
    assert_eq!(
        (first.clock_gettime, first.monotonic),
        (then.clock_gettime, then.monotonic)
    );
    // Ten times as fast.
    let setting = Setting {
        realtime: true,
        rate_ppb: 9 * SECOND,
        ..Setting::default()
    };
    clocks.set(&pids, setting);
    let (first, began) = (target.times(), Instant::now());
    std::thread::sleep(Duration::from_millis(200));
    let (then, truly) = (target.times(), began.elapsed().as_nanos() as i64);
    assert!(then.clock_gettime - first.clock_gettime > 9 * 200_000_000);
    assert!(then.clock_gettime - first.clock_gettime < 11 * truly + SECOND / 10);
    // Ahead and back.
    let setting = Setting {
        realtime: true,
        strobe_delta_ns: HOUR,
        strobe_period_ns: 1_000_000,
        ..Setting::default()
    };
    let answer = clocks.set(&pids, setting);
    assert!(
        answer.processes[0].moved && answer.processes[0].as_told,
        "{answer:?}"
    );
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut seen = [false; 2];
    while seen != [true; 2] && Instant::now() < deadline {
        let offset = target.times().clock_gettime - now(libc::CLOCK_REALTIME);
        seen[usize::from(is_about(offset, HOUR))] = true;
    }
    assert_eq!(seen, [true; 2]);
    clocks.done(What::Restore);
}

#[test]
fn children_other_programs_and_those_that_begin_later_are_changed_too() {
    if !possible("children_other_programs") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("pids");
    let mut target = Target::start();
    std::fs::write(&list, target.pid().to_string()).unwrap();
    let mut clocks = Clocks::new("later");
    let answer = clocks.set(&format!("cat {}", list.display()), ahead(HOUR));
    let ahead_by = |times: Times| times.clock_gettime - now(libc::CLOCK_REALTIME);
    // A child that is forked, and another program.
    assert!(is_about(
        target.fork().clock_gettime - now(libc::CLOCK_REALTIME),
        HOUR
    ));
    // The system is started again: its first look at the clock is already wrong.
    drop(target);
    let mut again = Target::start();
    if answer.follows == Follows::Begun {
        assert!(is_about(again.first(), HOUR), "{}", again.first());
    }
    std::fs::write(&list, again.pid().to_string()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_about(ahead_by(again.times()), HOUR) && Instant::now() < deadline {}
    assert!(is_about(ahead_by(again.times()), HOUR));
    // One that is not of the system does not stay changed.
    let mut stranger = Target::start();
    while !is_about(ahead_by(stranger.times()), 0) && Instant::now() < deadline {}
    assert!(is_about(ahead_by(stranger.times()), 0));
    assert!(is_about(ahead_by(again.times()), HOUR));
    let answer = clocks.done(What::Restore);
    assert_eq!(answer.processes.len(), 1, "{answer:?}");
    assert!(is_about(ahead_by(again.times()), 0));
}

#[test]
fn whoever_is_gone_all_is_made_as_it_was() {
    if !possible("whoever_is_gone") {
        return;
    }
    let mut target = Target::start();
    let pids = format!("echo {}", target.pid());
    let before = target.memory();
    let offset = |target: &mut Target| target.times().clock_gettime - now(libc::CLOCK_REALTIME);
    let gone = |target: &mut Target| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_about(offset(target), 0) && Instant::now() < deadline {}
        while target.memory() != before && Instant::now() < deadline {}
        assert!(is_about(offset(target), 0));
        assert_eq!(target.memory(), before);
    };
    // The controller: the agent's input ends.
    let mut clocks = Clocks::new("gone");
    clocks.set(&pids, ahead(HOUR));
    assert!(is_about(offset(&mut target), HOUR));
    clocks.agent.hang_up();
    assert!(clocks.agent.ended());
    gone(&mut target);
    // The agent, by a signal that it does not see.
    let mut clocks = Clocks::new("gone");
    clocks.set(&pids, ahead(HOUR));
    assert!(is_about(offset(&mut target), HOUR));
    clocks.agent.kill();
    gone(&mut target);
    // All of ours at once: what the undo journal has is left.
    let mut clocks = Clocks::new("gone");
    clocks.set(&pids, ahead(HOUR));
    let children =
        std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", clocks.agent.pid()));
    let threads = std::fs::read_dir(format!("/proc/{}/task", clocks.agent.pid())).unwrap();
    let mut residents = children.unwrap_or_default();
    for thread in threads.flatten() {
        residents
            .push_str(&std::fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    }
    for pid in residents.split_whitespace() {
        let pid = nix::unistd::Pid::from_raw(pid.parse().unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    }
    clocks.agent.kill();
    assert!(
        is_about(offset(&mut target), HOUR),
        "nobody was left to undo it"
    );
    assert!(clocks.undo_by_hand());
    assert!(is_about(offset(&mut target), 0));
    assert_eq!(target.memory(), before);
    // And while the agent is there, somebody else's undoing holds.
    let mut clocks = Clocks::new("gone");
    clocks.set(&pids, ahead(HOUR));
    assert!(clocks.undo_by_hand());
    assert!(is_about(offset(&mut target), 0));
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(target.memory(), before);
}

#[test]
fn a_stopped_process_is_changed_and_stays_stopped() {
    if !possible("a_stopped_process") {
        return;
    }
    use nix::sys::signal::{Signal, kill};
    let mut target = Target::start();
    let pid = nix::unistd::Pid::from_raw(target.pid());
    let state = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat[stat.rfind(')').unwrap() + 2..].chars().next().unwrap()
    };
    let stopped = || {
        let deadline = Instant::now() + Duration::from_secs(20);
        while state() != 'T' && Instant::now() < deadline {}
        state() == 'T'
    };
    kill(pid, Signal::SIGSTOP).unwrap();
    assert!(stopped());
    let mut clocks = Clocks::new("stopped");
    let answer = clocks.set(&format!("echo {pid}"), ahead(HOUR));
    assert!(answer.processes[0].moved);
    assert!(stopped());
    clocks.done(What::Restore);
    assert!(stopped());
    clocks.set(&format!("echo {pid}"), ahead(HOUR));
    kill(pid, Signal::SIGCONT).unwrap();
    assert!(is_about(
        target.times().clock_gettime - now(libc::CLOCK_REALTIME),
        HOUR
    ));
}

#[test]
fn it_is_probed_and_refused_with_the_reason() {
    if !possible("it_is_probed") {
        return;
    }
    let mut clocks = Clocks::new("probe");
    let answer = clocks.done(What::Probe);
    assert_eq!(answer.processes, []);
    let nobody = clocks.ask(What::Set {
        pids: "true".to_owned(),
        setting: ahead(HOUR),
    });
    assert!(matches!(nobody, Outcome::NotDone(why) if why.contains("no process")));
    let neither = Setting {
        realtime: false,
        ..ahead(HOUR)
    };
    let neither = clocks.ask(What::Set {
        pids: "true".to_owned(),
        setting: neither,
    });
    assert!(matches!(neither, Outcome::NotDone(why) if why.contains("no clock")));
}

/// The program that the other tests change: started by them.
#[test]
#[ignore = "the other tests run it as a program"]
fn target_program() {
    target::run();
}

#[test]
fn a_process_that_could_not_be_held_goes_on_when_it_can() {
    use agent::modules::confine::{self, Bounds};
    let test = "a_process_that_could_not_be_held";
    if !possible(test) {
        return;
    }
    let mut target = Target::start();
    let before = target.memory();
    let mut clocks = Clocks::new("frozen");
    let freeze = Bounds {
        freeze: true,
        ..Bounds::default()
    };
    let confine = |clocks: &mut Clocks, request: &confine::Request| {
        clocks.agent.ask_module(confine::NAME, request)
    };
    if let Outcome::NotDone(why) = confine(&mut clocks, &confine::Request::Probe(freeze)) {
        return skip(test, &why);
    }
    let (name, pids) = (clocks.tag.clone(), format!("echo {}", target.pid()));
    let frozen = confine::Request::Confine {
        name: name.clone(),
        pids: pids.clone(),
        bounds: freeze,
    };
    assert!(matches!(confine(&mut clocks, &frozen), Outcome::Done(_)));
    let setting = ahead(HOUR);
    let refused = clocks.ask(What::Set { pids, setting });
    assert!(matches!(refused, Outcome::NotDone(_)), "{refused:?}");
    let released = confine(&mut clocks, &confine::Request::Release { name });
    assert!(matches!(released, Outcome::Done(_)));
    let status = format!("/proc/{}/status", target.pid());
    let traced = || {
        !std::fs::read_to_string(&status)
            .unwrap()
            .contains("TracerPid:\t0\n")
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while traced() {
        assert!(Instant::now() < deadline, "it is held for ever");
        std::thread::sleep(Duration::from_millis(20));
    }
    let time = target.times().clock_gettime;
    assert!(is_about(time - now(libc::CLOCK_REALTIME), 0));
    assert_eq!(target.memory(), before);
}
