//! The process that changes others, and keeps those changed that come later.
//!
//! It is apart from the agent, so that nothing that ends the agent ends it in the middle of a change: it sees that its input
//! ends, finishes what it has begun, makes all as it was, and ends too.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::exec::Execs;
use super::setting::{Rule, Setting};
use super::surgery::{Pages, Surgeon, changed, processes};
use super::tracee::{Held, let_late_ones_go, lives, status_field};
use super::{Answer, Follows, Look, Seen, What};
use crate::Failure;
use crate::lines::{Heard, Lines};

/// How often it looks for processes that came without being seen to begin.
const TICK: Duration = Duration::from_millis(50);
/// How often it asks which the system's processes are, where all that it knows live.
const ASK: Duration = Duration::from_millis(500);
/// How long the script that says so may take.
const SCRIPT: Duration = Duration::from_secs(5);
/// How long a process may stay changed that began the system's program and is not of the system: it may not be written down yet.
const STRANGER: Duration = Duration::from_secs(3);
/// The pause before a process is tried again that could not be changed.
const AGAIN: Duration = Duration::from_secs(1);
/// How often a clock is looked at until it is seen to be off, where it jumps ahead and back.
const LOOKS: u32 = 12;
/// How long it waits at its end for threads that are to be let go when they stop.
const LATE: Duration = Duration::from_secs(10);
/// How often it looks whether new ones came while it made all as it was.
const ROUNDS: usize = 20;

/// The life of the process: requests on its input, answers on its output.
pub(crate) fn serve(tag: &str) -> ExitCode {
    let ends = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];
    let ends: SigSet = ends.into_iter().collect();
    let blocked = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&ends), None);
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let (Ok(()), Ok(signals)) = (blocked, SignalFd::with_flags(&ends, flags)) else {
        return ExitCode::FAILURE;
    };
    let _ = std::fs::write("/proc/self/oom_score_adj", "-1000");
    let mut resident = match Surgeon::new(tag) {
        Ok(surgeon) => Resident::new(surgeon),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let mut lines = Lines::new(io::stdin());
    loop {
        let [asked, ended] = resident.wait([io::stdin().as_fd(), signals.as_fd()]);
        if ended {
            break;
        }
        if asked {
            let Ok(Heard::Line(line)) = lines.next(TICK) else {
                break;
            };
            let answer = match serde_json::from_slice(&line) {
                Ok(what) => resident.answer(what),
                Err(error) => Err(Failure::NotDone(format!("not understood: {error}"))),
            };
            let Ok(mut line) = serde_json::to_vec(&answer) else {
                break;
            };
            line.push(b'\n');
            if io::stdout().write_all(&line).is_err() {
                break;
            }
        }
        resident.tick();
    }
    let restored = resident.restore();
    // When this process ends, the kernel lets all go where they are, which for some may be in code of ours.
    let deadline = Instant::now() + LATE;
    while let_late_ones_go() && Instant::now() < deadline {
        sleep(TICK);
    }
    match restored {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// What is in force.
struct Active {
    pids: String,
    rule: Rule,
    /// The system's processes, when that was asked last, and when it is to be asked again.
    listed: Vec<i32>,
    ask_at: Instant,
}

struct Resident {
    surgeon: Surgeon,
    active: Option<Active>,
    pages: Vec<Pages>,
    execs: Option<Execs>,
    /// Why programs cannot be seen to begin here.
    no_execs: String,
    /// Processes that began a program of the system, until they are known to be of it.
    strangers: BTreeMap<i32, Instant>,
    /// When to try again what could not be changed.
    again: BTreeMap<i32, Instant>,
    /// Whether threads are to be let go when they stop.
    late: bool,
}

impl Resident {
    fn new(surgeon: Surgeon) -> Resident {
        Resident {
            surgeon,
            active: None,
            pages: Vec::new(),
            execs: None,
            no_execs: String::new(),
            strangers: BTreeMap::new(),
            again: BTreeMap::new(),
            late: false,
        }
    }

    /// Waits until one of these can be read, or a tick is over, and deals with programs that begin meanwhile.
    fn wait(&mut self, others: [BorrowedFd<'_>; 2]) -> [bool; 2] {
        let limit = TICK.as_millis() as u16;
        let limit = if self.active.is_some() || self.late {
            PollTimeout::from(limit)
        } else {
            PollTimeout::NONE
        };
        let mut fds: Vec<PollFd<'_>> = others
            .into_iter()
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        if let Some(execs) = &self.execs {
            fds.push(PollFd::new(execs.as_fd(), PollFlags::POLLIN));
        }
        let _ = poll(&mut fds, limit);
        let readable: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        if readable.get(2) == Some(&true) {
            self.programs_begin();
        }
        [readable[0], readable[1]]
    }

    /// Changes programs that are about to begin, before they do.
    fn programs_begin(&mut self) {
        let (Some(execs), Some(active)) = (&self.execs, &self.active) else {
            return;
        };
        for beginning in execs.beginnings() {
            let thread = beginning.thread;
            let held = Held::after_exec(thread, || drop(beginning));
            let Ok(Some(held)) = held else { continue };
            // One that cannot be changed goes on unchanged, and is tried again.
            if let Ok((pages, ..)) = self.surgeon.change_held(&held, &active.rule) {
                self.pages.push(pages);
                self.strangers.insert(held.pid(), Instant::now());
            }
        }
    }

    fn answer(&mut self, what: What) -> Result<Answer, Failure> {
        match what {
            What::Probe => self.probe().map_err(Failure::NotDone),
            What::Set { pids, setting } => self.set(pids, &setting),
            What::Look => Ok(self.look()),
            What::Restore => self.restore().map_err(Failure::Indeterminate),
        }
    }

    /// Changes a process of our own, and makes it as it was.
    fn probe(&mut self) -> Result<Answer, String> {
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot run cat: {error}"))?;
        let setting = Setting {
            realtime: true,
            offset_ns: 3_600_000_000_000,
            ..Setting::default()
        };
        let probed = self.probe_on(child.id() as i32, &Rule::from_now(&setting));
        let _ = child.kill();
        let _ = child.wait();
        self.follow();
        self.execs = None;
        probed.map(|()| self.result(Vec::new(), Vec::new()))
    }

    fn probe_on(&self, pid: i32, rule: &Rule) -> Result<(), String> {
        let (_, _, during) = self.surgeon.change(pid, rule)?;
        let after = self.surgeon.restore(pid)?.ok_or("the process is gone")?;
        match during.is_told_by(rule) && after.is_told_by(&Rule::default()) {
            true => Ok(()),
            false => Err(format!(
                "a clock that was set an hour ahead tells {during:?}, then {after:?}"
            )),
        }
    }

    fn follow(&mut self) {
        if self.execs.is_none() {
            match Execs::new() {
                Ok(execs) => self.execs = Some(execs),
                Err(why) => self.no_execs = why,
            }
        }
    }

    fn result(&self, processes: Vec<Seen>, refused: Vec<String>) -> Answer {
        let follows = match self.no_execs.is_empty() {
            true => Follows::Begun,
            false => Follows::Found(self.no_execs.clone()),
        };
        Answer {
            processes,
            refused,
            follows,
        }
    }

    fn set(&mut self, pids: String, setting: &Setting) -> Result<Answer, Failure> {
        setting.check().map_err(Failure::NotDone)?;
        self.follow();
        let rule = Rule::from_now(setting);
        self.active = Some(Active {
            pids,
            rule,
            listed: Vec::new(),
            ask_at: Instant::now(),
        });
        self.again.clear();
        for pages in &mut self.pages {
            pages.set(&rule);
        }
        let mut seen: BTreeMap<i32, Look> = BTreeMap::new();
        let refused = self.change_new(|pid, before| {
            seen.insert(pid, before);
        });
        let mut answer = self.look();
        for process in &mut answer.processes {
            process.before = seen.get(&process.pid).copied();
        }
        answer.refused = refused;
        if answer.processes.is_empty() {
            self.restore().map_err(Failure::Indeterminate)?;
            let why = match answer.refused.is_empty() {
                true => "no process of the system runs".to_owned(),
                false => answer.refused.join("; "),
            };
            return Err(Failure::NotDone(why));
        }
        Ok(answer)
    }

    /// Looks at the clocks of all processes of the system that are changed.
    fn look(&self) -> Answer {
        let Some(active) = &self.active else {
            return self.result(Vec::new(), Vec::new());
        };
        let changed = active
            .family()
            .into_iter()
            .filter(|pid| self.surgeon.changed(*pid).is_some());
        let seen = changed.filter_map(|pid| self.seen(pid, &active.rule));
        self.result(seen.collect(), Vec::new())
    }

    /// What a process's clocks tell by a rule; some looks, where they jump.
    fn seen(&self, pid: i32, rule: &Rule) -> Option<Seen> {
        let mut looks = 0;
        loop {
            let during = self.surgeon.look(pid).ok()?;
            looks += 1;
            let seen = Seen {
                pid,
                program: status_field(pid, "Name:").unwrap_or_default(),
                before: None,
                during: Some(during),
                after: None,
                as_told: during.is_told_by(rule),
                moved: during.has_moved(rule),
            };
            if rule.period == 0 || (seen.moved && seen.as_told) || looks == LOOKS {
                return Some(seen);
            }
            sleep(Duration::from_nanos(rule.period as u64 / 3).min(TICK));
        }
    }

    /// Changes those of the system's processes that are not yet; says which it could not, and why.
    fn change_new(&mut self, mut before: impl FnMut(i32, Look)) -> Vec<String> {
        self.ask_for_processes();
        let Some(active) = &self.active else {
            return Vec::new();
        };
        let mut refused = Vec::new();
        let now = Instant::now();
        for pid in active.family() {
            if self.again.get(&pid).is_some_and(|again| *again > now) {
                continue;
            }
            match self.surgeon.changed(pid) {
                Some((_, inode)) => {
                    self.strangers.remove(&pid);
                    if self.pages.iter().any(|pages| pages.inode == inode) {
                        continue;
                    }
                    // One of an earlier life of ours, whose pages are not at hand any more.
                    let _ = self.surgeon.restore(pid);
                }
                None if !lives(pid) => continue,
                None => {}
            }
            match self.surgeon.change(pid, &active.rule) {
                Ok((pages, look, _)) => {
                    self.pages.push(pages);
                    before(pid, look);
                }
                Err(_) if !lives(pid) => {}
                Err(why) => {
                    self.again.insert(pid, now + AGAIN);
                    refused.push(why);
                }
            }
        }
        refused
    }

    /// Asks which the system's processes are, if that may have changed.
    fn ask_for_processes(&mut self) {
        let Some(active) = &self.active else { return };
        let known = !active.listed.is_empty() && active.listed.iter().all(|pid| lives(*pid));
        if known && Instant::now() < active.ask_at {
            return;
        }
        let listed = self.listed(&active.pids.clone());
        let Some(active) = &mut self.active else {
            return;
        };
        active.listed = listed;
        active.ask_at = Instant::now() + ASK;
        for pid in &active.listed {
            if let Some(execs) = &mut self.execs {
                execs.watch_program_of(*pid);
            }
        }
    }

    /// The processes that a script prints. Programs that begin meanwhile, perhaps its own, are dealt with.
    fn listed(&mut self, script: &str) -> Vec<i32> {
        let child = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = child else {
            return Vec::new();
        };
        let mut text = Vec::new();
        let deadline = Instant::now() + SCRIPT;
        if let Some(mut output) = child.stdout.take() {
            let mut chunk = [0; 4096];
            while Instant::now() < deadline {
                if !self.wait([output.as_fd(), output.as_fd()])[0] {
                    continue;
                }
                match output.read(&mut chunk) {
                    Ok(0) | Err(_) => break,
                    Ok(length) => text.extend_from_slice(&chunk[..length]),
                }
            }
        }
        let _ = child.kill();
        let _ = child.wait();
        let text = String::from_utf8_lossy(&text);
        let pids = text.split_whitespace().filter_map(|word| word.parse().ok());
        pids.collect()
    }

    fn tick(&mut self) {
        self.late = let_late_ones_go();
        if self.active.is_none() {
            return;
        }
        self.change_new(|_, _| {});
        let Some(active) = &self.active else { return };
        let family = active.family();
        let surgeon = &self.surgeon;
        self.strangers.retain(|pid, since| {
            if family.contains(pid) || !lives(*pid) {
                return false;
            }
            since.elapsed() < STRANGER || surgeon.restore(*pid).is_err()
        });
    }

    /// Makes all as it was.
    fn restore(&mut self) -> Result<Answer, String> {
        // Programs that begin from now on begin as they are.
        self.execs = None;
        let active = self.active.take();
        self.strangers.clear();
        let (mut seen, mut errors) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let left = changed(&self.surgeon);
            if left.is_empty() {
                break;
            }
            errors.clear();
            for pid in left {
                let during = active
                    .as_ref()
                    .and_then(|active| self.seen(pid, &active.rule));
                match self.surgeon.restore(pid) {
                    Ok(after) => seen.extend(during.map(|during| Seen {
                        after,
                        as_told: during.as_told
                            && after.is_none_or(|after| after.is_told_by(&Rule::default())),
                        ..during
                    })),
                    Err(why) => errors.push(why),
                }
            }
        }
        let_late_ones_go();
        match errors.is_empty() && changed(&self.surgeon).is_empty() {
            true => {
                self.pages.clear();
                Ok(self.result(seen, Vec::new()))
            }
            false => {
                self.active = active;
                Err(format!("clocks still go wrong: {}", errors.join("; ")))
            }
        }
    }
}

impl Active {
    /// The system's processes with all that descend from them.
    fn family(&self) -> Vec<i32> {
        let mut family = self.listed.clone();
        let mut at = 0;
        while at < family.len() {
            let pid = family[at];
            let new: Vec<i32> = children(pid)
                .filter(|child| !family.contains(child))
                .collect();
            family.extend(new);
            at += 1;
        }
        family
    }
}

/// A process's children.
fn children(pid: i32) -> impl Iterator<Item = i32> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task"));
    let threads = threads.into_iter().flatten().flatten();
    threads.flat_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        let pids = text.split_whitespace().filter_map(|word| word.parse().ok());
        pids.collect::<Vec<i32>>()
    })
}

/// How long another process like this one may take to end.
const ENDING: Duration = Duration::from_secs(8);

/// Makes all as it was that was changed under a tag, by whomever.
pub(crate) fn undo(tag: &str) -> ExitCode {
    let undone = Surgeon::new(tag).and_then(|surgeon| {
        end_others(tag);
        Resident::new(surgeon).restore()
    });
    match undone {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Ends who would change again what is made as it was.
fn end_others(tag: &str) {
    let me = std::process::id() as i32;
    let words = format!("\0{}\0{tag}\0", super::RESIDENT);
    let is_one = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        *pid != me && line.ends_with(words.as_bytes())
    };
    let others: Vec<i32> = processes().filter(is_one).collect();
    for pid in &others {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid), Signal::SIGTERM);
    }
    let deadline = Instant::now() + ENDING;
    while Instant::now() < deadline && others.iter().any(is_one) {
        sleep(Duration::from_millis(2));
    }
}
