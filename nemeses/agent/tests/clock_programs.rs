//! Clocks of real systems, in C, Go and Java, changed a thousand times while they work.
//!
//! Each is skipped, loudly, and on CI fails, where its program is not there: `redis-server` or `redis-check-rdb`, which is the same,
//! `etcd`, and `java` with its compiler. The number of changes is `GAINSAY_CLOCK_CHANGES`, a few where that is not set.
#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used)]

mod common;
#[path = "../../tests/common/skip.rs"]
mod skip;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use agent::modules::clock::{Answer, NAME, Request, STILL_PPB, Setting, What};
use common::{Agent, done};
use skip::skip;

const SECOND: i64 = 1_000_000_000;

/// A system that answers on a port.
struct System {
    child: Child,
    port: u16,
    /// A request, and how an answer to it begins.
    request: Vec<u8>,
    expected: &'static str,
    folder: tempfile::TempDir,
}

impl Drop for System {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody has, a moment ago.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl System {
    fn start(
        test: &str,
        command: impl Fn(&Path, u16) -> Command,
        request: &str,
        expected: &'static str,
    ) -> Option<System> {
        if !nix::unistd::geteuid().is_root() {
            skip(test, "ptrace of other processes needs root");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut command = command(folder.path(), port);
        let name = command.get_program().to_owned();
        let output = || {
            fs::File::options()
                .create(true)
                .append(true)
                .open(folder.path().join("log"))
        };
        let started = command
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(output().unwrap())
            .stderr(output().unwrap())
            .spawn();
        let Ok(child) = started else {
            skip(test, &format!("there is no program {}", name.display()));
            return None;
        };
        let mut system = System {
            child,
            port,
            request: request.as_bytes().to_vec(),
            expected,
            folder,
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while system.ask().is_none() {
            assert!(
                Instant::now() < deadline && system.lives(),
                "{}",
                system.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(system)
    }

    fn lives(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    fn log(&self) -> String {
        let log = fs::read(self.folder.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(3000)..]).into_owned()
    }

    fn ask(&self) -> Option<()> {
        ask(self.port, &self.request, self.expected)
    }
}

/// Whether it answers as expected.
fn ask(port: u16, request: &[u8], expected: &str) -> Option<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let limit = Some(Duration::from_secs(20));
    stream.set_read_timeout(limit).ok()?;
    stream.write_all(request).ok()?;
    let mut buffer = [0; 64];
    let length = stream.read(&mut buffer).ok()?;
    String::from_utf8_lossy(&buffer[..length])
        .starts_with(expected)
        .then_some(())
}

fn ask_agent(agent: &mut Agent, tag: &str, what: What) -> Answer {
    let request = Request {
        tag: tag.to_owned(),
        what,
    };
    done(agent.ask_module(NAME, &request))
}

/// The settings, one after another: steps, jumps, drifts and standstills of the time of day.
fn setting(number: u64) -> Setting {
    // Scattered, and the same each time.
    let drawn = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
    let sign = if drawn & 1 == 0 { 1 } else { -1 };
    let amount = sign * (11_000_000 << (drawn % 15));
    let setting = Setting {
        realtime: true,
        ..Setting::default()
    };
    match drawn / 16 % 4 {
        0 => Setting {
            offset_ns: amount,
            ..setting
        },
        1 => Setting {
            strobe_delta_ns: amount,
            strobe_period_ns: 1_000_000 << (drawn / 64 % 8),
            ..setting
        },
        2 => Setting {
            rate_ppb: sign * 1000 * (100 << (drawn / 64 % 12)),
            ..setting
        },
        _ => Setting {
            rate_ppb: STILL_PPB,
            ..setting
        },
    }
}

/// How far the machine's time of day is ahead of its monotonic clock.
fn machine() -> i64 {
    let read = |clock| {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: it writes into that one.
        assert_eq!(unsafe { libc::clock_gettime(clock, &mut time) }, 0);
        time.tv_sec * SECOND + time.tv_nsec
    };
    let before = read(libc::CLOCK_MONOTONIC);
    let realtime = read(libc::CLOCK_REALTIME);
    realtime - (before + read(libc::CLOCK_MONOTONIC)) / 2
}

fn vdso_of(pid: u32) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    assert!(!maps.contains("gainsay-clock"), "{maps}");
    let vdso = maps.lines().find(|line| line.ends_with("[vdso]")).unwrap();
    let (start, end) = vdso.split(' ').next().unwrap().split_once('-').unwrap();
    let [start, end] = [start, end].map(|hex| u64::from_str_radix(hex, 16).unwrap());
    let mut image = vec![0; (end - start) as usize];
    let memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    memory.read_exact_at(&mut image, start).unwrap();
    image
}

/// Says that it is over, also when a test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Changes a system's clocks many times while it works, and makes it as it was after every ten.
fn torment(test: &str, system: &mut System) {
    let changes: u64 =
        std::env::var("GAINSAY_CLOCK_CHANGES").map_or(20, |text| text.parse().unwrap());
    let mut agent = Agent::start("600");
    let tag = format!("test-{}-{test}", std::process::id());
    let (pid, true_offset) = (system.child.id(), machine());
    let image = vdso_of(pid);
    let (over, answered, refused) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let (mut effective, mut began) = (0, Vec::new());
    let (port, request, expected) = (system.port, &system.request, system.expected);
    std::thread::scope(|scope| {
        let _over = Over(&over);
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let counter = if ask(port, request, expected).is_some() {
                        &answered
                    } else {
                        &refused
                    };
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for number in 0..changes {
            let set = What::Set {
                pids: format!("echo {pid}"),
                setting: setting(number),
            };
            let start = Instant::now();
            let answer = ask_agent(&mut agent, &tag, set);
            began.push(start.elapsed());
            assert!(
                answer.refused.is_empty() && !answer.processes.is_empty(),
                "{answer:?}"
            );
            effective += u64::from(answer.processes[0].as_told && answer.processes[0].moved);
            if number % 10 == 9 {
                let answer = ask_agent(&mut agent, &tag, What::Restore);
                // Its children may have ended by themselves.
                let seen = answer.processes.iter().find(|seen| seen.pid == pid as i32);
                assert!(seen.unwrap().after.is_some(), "{answer:?}");
                assert_eq!(vdso_of(pid), image);
            }
        }
        ask_agent(&mut agent, &tag, What::Restore);
    });
    assert!(system.lives(), "{}", system.log());
    assert_eq!(vdso_of(pid), image);
    let deadline = Instant::now() + Duration::from_secs(60);
    while system.ask().is_none() {
        assert!(Instant::now() < deadline, "{}", system.log());
    }
    assert!(
        (machine() - true_offset).abs() < SECOND / 10,
        "somebody set this machine's clock"
    );
    began.sort_unstable();
    let (answered, refused) = (answered.into_inner(), refused.into_inner());
    println!(
        "{test}: {changes} changes, {effective} seen at once, median {:?}, worst {:?}; {answered} requests answered, {refused} not",
        began[began.len() / 2],
        began[began.len() - 1]
    );
    assert!(answered > 0 && effective > 0);
}

#[test]
fn redis_in_c() {
    let command = |_: &Path, port: u16| {
        // Debian has the program in the package `redis-tools`, under another name, by which it decides what it is.
        let path = std::env::var_os("PATH").unwrap_or_default();
        let there = std::env::split_paths(&path).any(|folder| folder.join("redis-server").exists());
        let mut command = match there {
            true => Command::new("redis-server"),
            false => Command::new("redis-check-rdb"),
        };
        command.arg0("redis-server").args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--appendonly",
            "yes",
        ]);
        command
    };
    if let Some(mut system) = System::start("redis", command, "INCR k\r\n", ":") {
        torment("redis", &mut system);
    }
}

#[test]
fn etcd_in_go() {
    let command = |folder: &Path, port: u16| {
        let client = format!("http://127.0.0.1:{port}");
        let peer = format!("http://127.0.0.1:{}", free_port());
        let mut command = Command::new("etcd");
        command
            .args([
                "--listen-client-urls",
                &client,
                "--advertise-client-urls",
                &client,
            ])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args(["--initial-cluster", &format!("default={peer}")])
            .args(["--data-dir", folder.join("data").to_str().unwrap()]);
        command
    };
    let body = r#"{"key":"a2V5","value":"dmFsdWU="}"#;
    let request = format!(
        "POST /v3/kv/put HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    if let Some(mut system) = System::start("etcd", command, &request, "HTTP/1.1 200") {
        torment("etcd", &mut system);
    }
}

/// Answers with the time, makes garbage, and has threads that look at the clock all the time.
const JAVA: &str = r#"
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;
public class Main {
    static volatile long last;
    public static void main(String[] args) throws Exception {
        for (int i = 0; i < 2; i++) {
            Thread thread = new Thread(() -> { while (true) { last = System.currentTimeMillis() + System.nanoTime(); Thread.yield(); } });
            thread.setDaemon(true);
            thread.start();
        }
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0])), 0);
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.createContext("/", exchange -> {
            byte[][] garbage = new byte[100][];
            for (int i = 0; i < garbage.length; i++) garbage[i] = new byte[10000];
            byte[] text = String.valueOf(System.currentTimeMillis()).getBytes();
            exchange.sendResponseHeaders(200, text.length);
            exchange.getResponseBody().write(text);
            exchange.close();
        });
        server.start();
    }
}
"#;

#[test]
fn a_jvm() {
    let command = |folder: &Path, port: u16| {
        let source = folder.join("Main.java");
        fs::write(&source, JAVA).unwrap();
        let mut command = Command::new("java");
        command.args(["-Xmx128m", source.to_str().unwrap(), &port.to_string()]);
        command
    };
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    if let Some(mut system) = System::start("a_jvm", command, request, "HTTP/1.1 200") {
        torment("a_jvm", &mut system);
    }
}
