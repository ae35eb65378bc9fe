//! A process whose clocks are changed: a program that tells the time when it is asked, while threads of it ask all the time and
//! signals come in between.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tempfile::TempDir;

/// What a process says of the time, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) clock_gettime: i64,
    pub(crate) gettimeofday: i64,
    pub(crate) time: i64,
    pub(crate) monotonic: i64,
}

impl Times {
    fn read(line: &str) -> Times {
        let words: Vec<i64> = line
            .split_whitespace()
            .map(|word| word.parse().unwrap())
            .collect();
        let [clock_gettime, gettimeofday, time, monotonic] = words[..] else {
            panic!("{line}")
        };
        Times {
            clock_gettime,
            gettimeofday,
            time,
            monotonic,
        }
    }
}

/// Such a process.
pub(crate) struct Target {
    child: Child,
    input: ChildStdin,
    lines: BufReader<ChildStdout>,
    first: i64,
}

thread_local! {
    /// The program: each test has one of its own, for programs are what is watched.
    static PROGRAM: TempDir = {
        let folder = tempfile::tempdir().unwrap();
        // By another process: what this one has open for writing, children of other tests have too.
        let mut copy = Command::new("cp");
        copy.arg(std::env::current_exe().unwrap()).arg(folder.path().join("target"));
        assert!(copy.status().unwrap().success());
        folder
    };
}

impl Target {
    pub(crate) fn start() -> Target {
        let program = PROGRAM.with(|folder| folder.path().join("target"));
        let mut child = Command::new(program)
            .args([
                "--exact",
                "target_program",
                "--ignored",
                "--nocapture",
                "-q",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut target = Target {
            input: child.stdin.take().unwrap(),
            lines: BufReader::new(child.stdout.take().unwrap()),
            child,
            first: 0,
        };
        let first = loop {
            let line = target.line();
            if let Some((_, line)) = line.split_once("first ") {
                break Times::read(line);
            }
        };
        target.first = first.clock_gettime - now(libc::CLOCK_REALTIME);
        target
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// How far it was ahead when it began, in nanoseconds.
    pub(crate) fn first(&self) -> i64 {
        self.first
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.lines.read_line(&mut line).unwrap() > 0, "it is gone");
        line
    }

    /// What it says.
    pub(crate) fn times(&mut self) -> Times {
        self.input.write_all(b"times\n").unwrap();
        Times::read(&self.line())
    }

    /// What a child says that it forks.
    pub(crate) fn fork(&mut self) -> Times {
        self.input.write_all(b"fork\n").unwrap();
        Times::read(&self.line())
    }

    /// Its vDSO, and how much it has mapped of what could be ours.
    pub(crate) fn memory(&self) -> (Vec<u8>, usize) {
        use std::os::unix::fs::FileExt;
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", self.pid())).unwrap();
        let vdso = maps.lines().find(|line| line.ends_with("[vdso]")).unwrap();
        let (start, end) = vdso.split(' ').next().unwrap().split_once('-').unwrap();
        let [start, end] = [start, end].map(|hex| u64::from_str_radix(hex, 16).unwrap());
        let mut image = vec![0; (end - start) as usize];
        let memory = std::fs::File::open(format!("/proc/{}/mem", self.pid())).unwrap();
        memory.read_exact_at(&mut image, start).unwrap();
        let ours = maps.lines().filter(|line| line.contains("gainsay"));
        (image, ours.filter(|line| line.contains("memfd")).count())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a clock says here.
pub(crate) fn now(clock: i32) -> i64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: it writes into that one.
    assert_eq!(unsafe { libc::clock_gettime(clock, &mut time) }, 0);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

fn times() -> String {
    let mut day = libc::timeval {
        tv_sec: 0,
        tv_usec: 0,
    };
    // SAFETY: it writes into that one, and into none.
    let seconds = unsafe {
        libc::gettimeofday(&mut day, std::ptr::null_mut());
        libc::time(std::ptr::null_mut())
    };
    let day = day.tv_sec * 1_000_000_000 + day.tv_usec * 1000;
    let [realtime, monotonic] = [libc::CLOCK_REALTIME, libc::CLOCK_MONOTONIC].map(now);
    format!("{realtime} {day} {} {monotonic}\n", seconds * 1_000_000_000)
}

extern "C" fn nothing(_: i32) {
    now(libc::CLOCK_REALTIME);
}

/// The program.
pub(crate) fn run() {
    println!("first {}", times().trim());
    // Signals that interrupt whatever runs, all the time.
    let handler: extern "C" fn(i32) = nothing;
    // SAFETY: the handler only asks for the time.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(libc::SIGURG, &action, std::ptr::null_mut());
    }
    let spinner = std::thread::spawn(|| {
        loop {
            std::hint::black_box(now(libc::CLOCK_REALTIME));
        }
    });
    std::thread::spawn(move || {
        use std::os::unix::thread::JoinHandleExt;
        let spinning = spinner.as_pthread_t();
        loop {
            // SAFETY: the thread never ends.
            unsafe { libc::pthread_kill(spinning, libc::SIGURG) };
            std::thread::sleep(std::time::Duration::from_micros(100));
        }
    });
    for line in std::io::stdin().lock().lines() {
        let said = match line.unwrap().as_str() {
            "fork" => forked(),
            _ => times(),
        };
        std::io::stdout().write_all(said.as_bytes()).unwrap();
        std::io::stdout().flush().unwrap();
    }
}

/// What a child says.
fn forked() -> String {
    let mut ends = [0; 2];
    // SAFETY: the child only asks for the time, writes it and ends.
    unsafe {
        assert_eq!(libc::pipe(ends.as_mut_ptr()), 0);
        let child = libc::fork();
        if child == 0 {
            let said = [libc::CLOCK_REALTIME, libc::CLOCK_MONOTONIC].map(now);
            libc::write(ends[1], said.as_ptr().cast(), 16);
            libc::_exit(0);
        }
        libc::close(ends[1]);
        let mut said = [0_i64; 2];
        libc::read(ends[0], said.as_mut_ptr().cast(), 16);
        libc::close(ends[0]);
        libc::waitpid(child, std::ptr::null_mut(), 0);
        format!("{} 0 0 {}\n", said[0], said[1])
    }
}
