//! What a machine is: its system, its size, its addresses and its clock.
//!
//! One short script asks for everything; what a machine does not tell is absent. It is for the record
//! of a run, so that a verdict can be read years later: nothing decides by it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::remote::{Command, Remote, RemoteError};

/// How long a machine may take to say what it is.
const LIMIT: Duration = Duration::from_secs(10);
/// The most characters of a name, and the most addresses, that are kept.
const NAME_MAX: usize = 200;
const ADDRESSES_MAX: usize = 32;

/// Prints a word and what it is about, one a line. The time comes first, next to when it is asked for.
const SCRIPT: &str = "echo time $(date +%s.%N)\n\
    echo kernel $(uname -sr)\n\
    echo architecture $(uname -m)\n\
    echo os $(sed -n 's/^PRETTY_NAME=//p' /etc/os-release 2>/dev/null | tr -d '\"')\n\
    echo cpus $(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)\n\
    echo memory $(sed -n 's/^MemTotal: *\\([0-9]*\\) kB$/\\1/p' /proc/meminfo)\n\
    echo addresses $(hostname -I 2>/dev/null)\n\
    true\n";

/// What a machine says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Facts {
    /// The distribution, such as `Debian GNU/Linux 13 (trixie)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// The kernel and its release, such as `Linux 6.12.48`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// The architecture, such as `x86_64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// How many processors it may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u32>,
    /// Its memory in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Its addresses, the loopback's left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Its clock, beside the one of the controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockReading>,
}

/// A machine's clock beside the controller's, in seconds. Both are clocks of the day.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClockReading {
    /// How far it is ahead; negative where it is behind.
    pub ahead: f64,
    /// By how much that may be wrong, either way: half of what asking took.
    pub within: f64,
}

impl ClockReading {
    /// How far the clocks are apart at least, in seconds.
    pub fn apart(&self) -> f64 {
        (self.ahead.abs() - self.within).max(0.0)
    }
}

/// Asks a node. Ten seconds at most.
pub async fn ask(remote: &dyn Remote) -> Result<Facts, RemoteError> {
    let command = Command::new(SCRIPT).idempotent().quick().timeout(LIMIT);
    let asked = now();
    let output = remote.exec(command).await?;
    Ok(read(&output.text(), asked, now()))
}

/// Asks this machine; its clock and addresses are left out. Nothing is known where there is no shell.
pub fn here() -> Facts {
    let mut shell = std::process::Command::new("/bin/sh");
    let output = shell
        .args(["-c", SCRIPT])
        .stdin(std::process::Stdio::null())
        .output();
    let text = output.map_or_else(|_| Vec::new(), |output| output.stdout);
    Facts {
        addresses: Vec::new(),
        clock: None,
        ..read(&String::from_utf8_lossy(&text), 0.0, 0.0)
    }
}

/// The time of day in seconds.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

/// Reads what the script printed, asked for and answered at these times.
fn read(text: &str, asked: f64, answered: f64) -> Facts {
    let mut facts = Facts::default();
    for line in text.lines() {
        let Some((what, value)) = line.split_once(' ') else {
            continue;
        };
        let value: String = value
            .chars()
            .filter(|c| !c.is_control())
            .take(NAME_MAX.max(ADDRESSES_MAX * 64))
            .collect();
        let name = || {
            let name: String = value.trim().chars().take(NAME_MAX).collect();
            (!name.is_empty()).then_some(name)
        };
        match what {
            "time" => facts.clock = clock(value.trim(), asked, answered),
            "os" => facts.os = name(),
            "kernel" => facts.kernel = name(),
            "architecture" => facts.architecture = name(),
            "cpus" => facts.cpus = value.trim().parse().ok(),
            "memory" => {
                let kilobytes: Option<u64> = value.trim().parse().ok();
                facts.memory = kilobytes.and_then(|kilobytes| kilobytes.checked_mul(1024));
            }
            "addresses" => {
                let addresses = value.split_whitespace().take(ADDRESSES_MAX);
                facts.addresses = addresses.map(str::to_owned).collect();
            }
            _ => {}
        }
    }
    facts
}

fn clock(text: &str, asked: f64, answered: f64) -> Option<ClockReading> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: f64 = seconds.parse::<u64>().ok()? as f64;
    // A `date` that knows no nanoseconds leaves half a second in doubt.
    let fraction = fraction.parse::<u64>().ok().filter(|_| fraction.len() == 9);
    let (time, doubt) = match fraction {
        Some(nanos) => (seconds + nanos as f64 / 1e9, 0.0),
        None => (seconds + 0.5, 0.5),
    };
    let half = (answered - asked).max(0.0) / 2.0;
    let micros = |seconds: f64| (seconds * 1e6).round() / 1e6;
    Some(ClockReading {
        ahead: micros(time - (asked + half)),
        within: micros(half + doubt),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_a_machine_says_is_read() {
        let said = "time 1000.250000000\nkernel Linux 6.12.48+deb13-amd64\narchitecture x86_64\n\
                    os Debian GNU/Linux 13 (trixie)\ncpus 4\nmemory 2048\naddresses 10.0.0.1 fd00::1 \n";
        let facts = read(said, 999.0, 1000.5);
        assert_eq!(
            facts,
            Facts {
                os: Some("Debian GNU/Linux 13 (trixie)".into()),
                kernel: Some("Linux 6.12.48+deb13-amd64".into()),
                architecture: Some("x86_64".into()),
                cpus: Some(4),
                memory: Some(2 << 20),
                addresses: vec!["10.0.0.1".into(), "fd00::1".into()],
                clock: Some(ClockReading {
                    ahead: 0.5,
                    within: 0.75
                }),
            }
        );
        assert_eq!(facts.clock.unwrap().apart(), 0.0);
    }

    #[test]
    fn what_a_machine_does_not_say_is_absent() {
        let said = "time 1000.%N\nkernel\nos \ncpus many\nmemory \naddresses\nnonsense";
        let facts = read(said, 900.0, 900.0);
        let clock = ClockReading {
            ahead: 100.5,
            within: 0.5,
        };
        assert_eq!(clock.apart(), 100.0);
        let only_clock = Facts {
            clock: Some(clock),
            ..Facts::default()
        };
        assert_eq!(facts, only_clock);
        assert_eq!(read("", 0.0, 0.0), Facts::default());
    }

    #[test]
    fn what_is_too_long_is_cut() {
        let said = format!("os {}\naddresses {}", "x".repeat(9999), "::1 ".repeat(999));
        let facts = read(&said, 0.0, 0.0);
        assert_eq!(facts.os.unwrap().len(), NAME_MAX);
        assert_eq!(facts.addresses.len(), ADDRESSES_MAX);
    }

    #[test]
    fn this_machine_says_what_it_is() {
        let facts = here();
        assert!(
            facts
                .kernel
                .is_some_and(|kernel| kernel.starts_with("Linux "))
        );
        assert!(facts.cpus.is_some_and(|cpus| cpus > 0));
        assert!(facts.memory.is_some_and(|memory| memory > 1 << 20));
        assert_eq!(facts.clock, None);
    }
}
