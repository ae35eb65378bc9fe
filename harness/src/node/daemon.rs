//! Processes that run in the background.
//!
//! A daemon is started by `start-stop-daemon`. Beside its pid file lies a record of the process's
//! start time, its session and the node's boot, so that a recycled pid is never mistaken for it. Its
//! processes are all of that session and all their descendants, also after the first one died.

use std::time::Duration;

use super::STATE_FOLDER;
use crate::capability::{ProcessState, Signal};
use crate::remote::{Command, Remote, RemoteError, quote};

/// A file in the [`STATE_FOLDER`] of a node, with lines for the shell after which every daemon is started, if it is there: what
/// faults need all of a system's programs to find in their environment. Readable by every user that a daemon runs as.
pub const ENVIRONMENT: &str = "environment";

/// How long a signal may take to show.
const EFFECT: Duration = Duration::from_secs(10);

/// A program that runs in the background on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Daemon {
    /// The absolute path of the program.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Environment variables added to those of the session.
    pub env: Vec<(String, String)>,
    /// Where it runs; `/` if empty.
    pub folder: String,
    /// The user it runs as, if not root.
    pub user: Option<String>,
    /// The file that its output is appended to.
    pub log: String,
    /// The file that holds its pid. The record lies beside it, with `.start` appended. Where a reboot leaves it, as outside of `/run`, the
    /// daemon can be [revived](Daemon::revive_script) after one.
    pub pid_file: String,
}

/// What starting a daemon came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// It runs now.
    Started,
    /// It ran already.
    AlreadyRunning,
}

/// Finds a daemon's processes from its record: sets `pids` and `state`. Zombies are gone, but one whose
/// other threads still end (they wait for the disk, say) has its files and ports open, and is not.
const LOOK: &str = r#"look() {
  pids= state=absent
  read -r pid start sid boot <"$record" || return 0
  read -r now </proc/sys/kernel/random/boot_id && [ "$boot" = "$now" ] || return 0
  set -- $(cat /proc/[0-9]*/stat 2>/dev/null | awk -v first="$pid" -v start="$start" -v sid="$sid" '
    { pid = $1; sub(/^.*\) /, ""); if (($1 == "Z" && $18 < 2) || $1 == "X") next
      if ($20 + 0 < start + 0 || (pid == first && $20 != start)) next
      parent[pid] = $2; state[pid] = $1
      if (pid == first || $4 == sid) ours[pid] = 1 }
    END {
      do { more = 0
        for (p in parent) if (!(p in ours) && (parent[p] in ours)) { ours[p] = 1; more = 1 }
      } while (more)
      all = "absent"
      for (p in ours) {
        stopped = (state[p] == "T" || state[p] == "t")
        if (!stopped) all = "running"; else if (all == "absent") all = "stopped"
        list = list " " p
      }
      print all list }')
  state=$1; shift; pids="$*"
} 2>/dev/null
"#;

impl Daemon {
    /// Starts it, unless it runs.
    pub async fn start(&self, remote: &dyn Remote) -> Result<Started, RemoteError> {
        let output = remote.exec(Command::new(self.start_script())).await?;
        Ok(match output.text().as_ref() {
            "already" => Started::AlreadyRunning,
            _ => Started::Started,
        })
    }

    /// A script that starts it again where it was started, was not stopped since, and does not run, for
    /// [`Db::revive_script`](crate::db::Db::revive_script).
    pub fn revive_script(&self) -> String {
        self.start_after("[ -e \"$record\" ] || exit 0")
    }

    /// A script that starts it, unless it runs.
    pub fn start_script(&self) -> String {
        self.start_after(":")
    }

    /// A script that starts it, unless it runs or `first` leaves it.
    fn start_after(&self, first: &str) -> String {
        let mut exec = vec!["exec env".to_owned()];
        exec.extend(self.env.iter().map(|(key, value)| {
            let pair = format!("{key}={value}");
            quote(&pair).into_owned()
        }));
        exec.push(quote(&self.program).into_owned());
        exec.extend(self.args.iter().map(|arg| quote(arg).into_owned()));
        let inner = format!(
            "f={STATE_FOLDER}/{ENVIRONMENT}; [ ! -r $f ] || . $f; {} >>{} 2>&1 </dev/null",
            exec.join(" "),
            quote(&self.log)
        );
        let folder = match self.folder.as_str() {
            "" => "/",
            folder => folder,
        };
        let (user, own) = match &self.user {
            Some(user) => {
                let user = quote(user);
                let own = format!("touch {0} && chown {user} {0}", quote(&self.log));
                (format!("--chuid {user}"), own)
            }
            None => (String::new(), ":".to_owned()),
        };
        // The record is made from what the process is, not from when it was asked for. A machine that loses its power keeps it.
        format!(
            "# start {program}\n{head}{first}\nlook\n\
             [ \"$state\" = absent ] || {{ echo already; exit 0; }}\n\
             [ -x {program} ] || {{ echo {program}: not an executable file >&2; exit 127; }}\n\
             {own} && rm -f -- \"$record\" {pid_file} && start-stop-daemon --start --oknodo \
             --background --make-pidfile --pidfile {pid_file} --chdir {folder} {user} \
             --startas /bin/sh -- -c {inner} || exit\n\
             read -r pid <{pid_file} && stat=$(cat /proc/$pid/stat) || \
             {{ echo 'it ended at once:' >&2; tail -n 5 {log} >&2; exit 1; }}\n\
             set -- ${{stat##*) }}\nread -r boot </proc/sys/kernel/random/boot_id\n\
             echo $pid ${{20}} $4 $boot >\"$record\" && sync \"$record\" && echo started",
            head = self.head(),
            program = quote(&self.program),
            pid_file = quote(&self.pid_file),
            folder = quote(folder),
            inner = quote(&inner),
            log = quote(&self.log),
        )
    }

    /// What is seen of its processes: `Stopped` if all of them are.
    pub async fn state(&self, remote: &dyn Remote) -> Result<ProcessState, RemoteError> {
        let script = format!("{}look; echo $state", self.head());
        let command = Command::new(script).quick().idempotent();
        Ok(parse_state(&remote.exec(command).await?.text()))
    }

    /// A script that prints the pids of all its processes, for [`Db::pids_script`](crate::db::Db::pids_script).
    pub fn pids_script(&self) -> String {
        format!("{}look; echo $pids", self.head())
    }

    /// The pids of all its processes.
    pub async fn pids(&self, remote: &dyn Remote) -> Result<Vec<u32>, RemoteError> {
        let command = Command::new(self.pids_script()).quick().idempotent();
        let output = remote.exec(command).await?;
        let text = output.text();
        let mut pids: Vec<u32> = text.split(' ').filter_map(|pid| pid.parse().ok()).collect();
        pids.sort_unstable();
        Ok(pids)
    }

    /// Sends a signal to all its processes, and says what is seen of them once it took effect: a
    /// `KILL` when they are gone, a `STOP` when they are stopped, a `CONT` when they are not.
    /// A signal whose effect does not show within ten seconds is an error.
    pub async fn signal(
        &self,
        remote: &dyn Remote,
        signal: Signal,
    ) -> Result<ProcessState, RemoteError> {
        let wanted = match signal {
            Signal::KILL => Some("[ \"$state\" = absent ]"),
            Signal::STOP => Some("[ \"$state\" != running ]"),
            Signal::CONT => Some("[ \"$state\" != stopped ]"),
            _ => None,
        };
        // A process that forks while it is being killed may leave a child: look again, send again.
        let again = if signal == Signal::KILL { "send; " } else { "" };
        let until = match wanted {
            None => "look\n".to_owned(),
            Some(wanted) => format!(
                "look; left={tries}; until {wanted}; do\n\
                 left=$((left - 1)); [ $left -gt 0 ] || \
                 {{ echo \"still $state:$pids\" >&2; exit 1; }}\n\
                 {again}sleep 0.02; look; done\n",
                tries = EFFECT.as_millis() / 20,
            ),
        };
        let script = format!(
            "# signal {signal} to {program}\n{head}\
             send() {{ [ -z \"$pids\" ] || kill -{number} $pids 2>/dev/null; }}\n\
             look; send; {until}echo $state",
            number = signal.number(),
            program = self.program,
            head = self.head(),
        );
        let command = Command::new(script).quick().idempotent();
        let output = remote.exec(command.timeout(EFFECT * 3)).await?;
        Ok(parse_state(&output.text()))
    }

    /// Waits until none of its processes is left.
    pub async fn wait_gone(&self, remote: &dyn Remote, limit: Duration) -> Result<(), RemoteError> {
        let script = format!(
            "# wait for the end of {program}\n{head}look; left={tries}\n\
             until [ \"$state\" = absent ]; do left=$((left - 1)); \
             [ $left -gt 0 ] || {{ echo \"still $state:$pids\" >&2; exit 1; }}\n\
             sleep 0.05; look; done",
            program = self.program,
            head = self.head(),
            tries = limit.as_millis() / 50 + 1,
        );
        let command = Command::new(script).idempotent();
        let command = command.timeout(limit * 3 + EFFECT);
        remote.exec(command).await.map(drop)
    }

    /// Asks it to end (`TERM`, and `CONT` in case it is stopped), kills it if it does not within
    /// the grace, and removes the pid file. One that does not run is fine.
    pub async fn stop(&self, remote: &dyn Remote, grace: Duration) -> Result<(), RemoteError> {
        if self.signal(remote, Signal::TERM).await? != ProcessState::Absent {
            self.signal(remote, Signal::CONT).await?;
            if self.wait_gone(remote, grace).await.is_err() {
                self.signal(remote, Signal::KILL).await?;
            }
        }
        let script = format!(
            "{}rm -f -- \"$record\" {}",
            self.head(),
            quote(&self.pid_file)
        );
        remote
            .exec(Command::new(script).quick().idempotent())
            .await
            .map(drop)
    }

    fn head(&self) -> String {
        let record = format!("{}.start", self.pid_file);
        format!("record={}\n{LOOK}", quote(&record))
    }
}

fn parse_state(text: &str) -> ProcessState {
    match text {
        "running" => ProcessState::Running,
        "stopped" => ProcessState::Stopped,
        _ => ProcessState::Absent,
    }
}
