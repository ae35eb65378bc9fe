//! The [agent] on a node, as the controller has it: put there and started when a fault first needs it, asked over
//! one channel, and gone afterwards.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent::{ALIVE, HELLO, Note, Outcome, Reply, Request};
use harness::capability::CapabilityError;
use harness::node::STATE_FOLDER;
use harness::remote::{Command, Node, RemoteError, quote};
use harness::{Name, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::journaled::no_answer;

/// The program, for machines of this one's kind.
const PROGRAM: &[u8] = include_bytes!(env!("GAINSAY_AGENT"));
/// What names it, so that another version's is never mistaken for it.
const HASH: &str = env!("GAINSAY_AGENT_HASH");
/// Its kind of machine, as `uname -m` has it.
const MACHINE: &str = env!("GAINSAY_AGENT_MACHINE");

/// An agent that hears nothing for so long takes back what stands: its controller is gone.
const LEASE: Duration = Duration::from_secs(15);
/// How often it hears something at least.
const BEAT: Duration = Duration::from_secs(3);
/// How long it may take to say that it is there.
const STARTING: Duration = Duration::from_secs(20);
/// How long it may take to end.
const ENDING: Duration = Duration::from_secs(10);
/// The most that is read before it says that it is there.
const NOISE_LINES: usize = 100;

/// The agent on a node.
pub struct Agent {
    node: Node,
    folder: String,
    live: tokio::sync::Mutex<Option<Live>>,
}

/// What an agent is asked to do, besides what a module is to do.
#[derive(Default)]
pub(super) struct Errand {
    /// What is written into the undo journal before.
    pub(super) notes: Vec<Note>,
    /// What is taken out of it afterwards.
    pub(super) forget: Vec<String>,
}

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Outcome>>>>;

/// An agent that runs. It ends when this is dropped.
struct Live {
    requests: mpsc::UnboundedSender<Request>,
    waiting: Waiting,
    next: AtomicU64,
    writer: JoinHandle<()>,
    /// Ends when the agent has.
    reader: JoinHandle<()>,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.writer.abort();
        self.reader.abort();
    }
}

impl Agent {
    /// The agent on a node. Nothing is done yet.
    pub fn new(node: &Node) -> Agent {
        Agent::new_in(node, STATE_FOLDER)
    }

    /// Like [`Agent::new`], with the node's records in another folder.
    pub fn new_in(node: &Node, folder: &str) -> Agent {
        Agent {
            node: node.clone(),
            folder: folder.to_owned(),
            live: tokio::sync::Mutex::new(None),
        }
    }

    /// Where the program is on the node, as long as it runs or something stands.
    pub(super) fn program(&self) -> String {
        format!("{}/agent-{HASH}", self.folder)
    }

    /// Starts it, unless it runs. The error says why it cannot run there.
    pub(super) async fn start(&self) -> Result<(), CapabilityError> {
        let mut live = self.live.lock().await;
        self.ensure(&mut live).await.map(drop)
    }

    /// Asks a module for something, and waits so long for the answer.
    pub(super) async fn ask<A: DeserializeOwned>(
        &self,
        module: &str,
        request: &impl Serialize,
        errand: Errand,
        patience: Duration,
    ) -> Result<A, CapabilityError> {
        let name = &self.node.name;
        let request = serde_json::to_value(request)
            .map_err(|error| CapabilityError::NotDone(format!("{name}: {error}")))?;
        let answer = {
            let mut live = self.live.lock().await;
            self.ensure(&mut live).await?.send(module, request, errand)
        };
        let unknown = |why: String| CapabilityError::Indeterminate(format!("{name}: {why}"));
        let outcome = match timeout(patience, answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => return Err(unknown("its agent ended before it answered".to_owned())),
            Err(_) => {
                return Err(unknown(format!(
                    "its agent did not answer within {patience:?}"
                )));
            }
        };
        match outcome {
            Outcome::Done(value) => serde_json::from_value(value)
                .map_err(|error| unknown(format!("an answer that is not understood: {error}"))),
            Outcome::NotDone(why) => Err(CapabilityError::NotDone(format!("{name}: {why}"))),
            Outcome::Indeterminate(why) => Err(unknown(why)),
            Outcome::NotWritten(why) => Err(CapabilityError::NotDone(format!(
                "{name}: the undo entry was not written, so nothing was done: {why}\n  hint: check {} on the node \
                 (disk full? read-only?)",
                self.folder
            ))),
        }
    }

    /// Ends it, and waits until it is gone. It takes back what still stands.
    pub async fn leave(&self) {
        let Some(mut live) = self.live.lock().await.take() else {
            return;
        };
        // Its input ends with the writer.
        let (nobody, _) = mpsc::unbounded_channel();
        live.requests = nobody;
        if timeout(ENDING, &mut live.reader).await.is_err() {
            tracing::warn!(
                "{}: its agent did not end within {ENDING:?}",
                self.node.name
            );
        }
    }

    /// Gives it up: the node was started anew, and it is gone. What it was asked for and has not answered, nobody knows.
    pub(super) async fn forget(&self) {
        self.live.lock().await.take();
    }

    async fn ensure<'a>(&self, live: &'a mut Option<Live>) -> Result<&'a Live, CapabilityError> {
        if live.as_ref().is_some_and(|live| live.reader.is_finished()) {
            *live = None;
        }
        match live {
            Some(live) => Ok(live),
            None => Ok(live.insert(self.launch().await?)),
        }
    }

    async fn launch(&self) -> Result<Live, CapabilityError> {
        let program = self.program();
        self.put(&program).await?;
        let serve = format!(
            "exec {} serve {} {}",
            quote(&program),
            quote(&self.folder),
            LEASE.as_secs()
        );
        let stream = self.node.remote.talk(Command::new(serve)).await;
        let (lines, writer) = stream.map_err(no_answer)?.into_split();
        let mut lines = BufReader::new(lines);
        let greeted = timeout(STARTING, greeting(&mut lines)).await;
        let name = &self.node.name;
        let failed = |why: &str| {
            CapabilityError::NotDone(format!(
                "{name}: the agent does not start: {why}\n  hint: {} must be where programs may be run from",
                self.folder
            ))
        };
        let greeted = greeted.unwrap_or_else(|_| Err("it says nothing".to_owned()));
        let pid = greeted.map_err(|why| failed(&why))?;
        tracing::debug!("{name}: agent {pid} is there");
        Ok(Live::new(name, lines, writer))
    }

    /// Puts the program on the node, unless it is there.
    async fn put(&self, program: &str) -> Result<(), CapabilityError> {
        let remote = &self.node.remote;
        // All of it: a machine that loses its power may keep a file, and not what is in it.
        let look = format!(
            "uname -m; [ -x {0} ] && [ \"$(wc -c <{0})\" -eq {1} ] && echo there; true",
            quote(program),
            PROGRAM.len()
        );
        let look = Command::new(look).quick().idempotent();
        let found = remote.exec(look).await.map_err(no_answer)?;
        let text = found.text();
        let machine = text.lines().next().unwrap_or_default();
        if machine != MACHINE {
            return Err(CapabilityError::NotDone(format!(
                "{}: the node is of the kind {machine}, and the agent that this fault needs is for {MACHINE}\n  hint: run a \
                 gainsay that was built for {machine}",
                self.node.name
            )));
        }
        if text.lines().any(|line| line == "there") {
            return Ok(());
        }
        let folder = Command::new(format!("mkdir -p -- {}", quote(&self.folder)));
        let made = remote.exec(folder.idempotent()).await.map(drop);
        let put = async || remote.write(program, PROGRAM.to_vec(), 0o755).await;
        let put: Result<(), RemoteError> = match made {
            Ok(()) => put().await,
            Err(error) => Err(error),
        };
        // Nothing was done to the system, whatever became of the file.
        put.map_err(|error| CapabilityError::NotDone(error.to_string()))
    }
}

/// Reads until an agent says that it is there: its process.
async fn greeting(lines: &mut BufReader<OwnedReadHalf>) -> Result<u32, String> {
    let mut noise = String::new();
    for _ in 0..NOISE_LINES {
        let mut line = String::new();
        match lines.read_line(&mut line).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
        if let Some(at) = line.find(HELLO) {
            let hello: agent::Hello =
                serde_json::from_str(line[at..].trim()).map_err(|error| error.to_string())?;
            return Ok(hello.pid);
        }
        noise.push_str(&line);
    }
    Err(noise.trim().to_owned())
}

impl Live {
    fn new(
        node: &Name,
        lines: BufReader<OwnedReadHalf>,
        mut writer: tokio::net::unix::OwnedWriteHalf,
    ) -> Live {
        let (requests, mut queue) = mpsc::unbounded_channel::<Request>();
        let waiting = Waiting::default();
        let writer = tokio::spawn(async move {
            loop {
                let request = match timeout(BEAT, queue.recv()).await {
                    Ok(Some(request)) => request,
                    Ok(None) => break,
                    Err(_) => beat(),
                };
                let Ok(mut line) = serde_json::to_vec(&request) else {
                    continue;
                };
                line.push(b'\n');
                if writer.write_all(&line).await.is_err() {
                    break;
                }
            }
            let _ = writer.shutdown().await;
        });
        let reader = tokio::spawn(listen(node.clone(), lines, Arc::clone(&waiting)));
        Live {
            requests,
            waiting,
            next: AtomicU64::new(1),
            writer,
            reader,
        }
    }

    fn send(&self, module: &str, request: Value, errand: Errand) -> oneshot::Receiver<Outcome> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        locked(&self.waiting).insert(id, sender);
        let sent = self.requests.send(Request {
            id,
            module: module.to_owned(),
            request,
            notes: errand.notes,
            forget: errand.forget,
        });
        if sent.is_err() || self.reader.is_finished() {
            locked(&self.waiting).remove(&id);
        }
        receiver
    }
}

/// Only says that somebody is there. Nobody waits for its answer.
fn beat() -> Request {
    Request {
        id: 0,
        module: ALIVE.to_owned(),
        request: Value::Null,
        notes: Vec::new(),
        forget: Vec::new(),
    }
}

/// Hands on what an agent answers, until it ends.
async fn listen(node: Name, mut lines: BufReader<OwnedReadHalf>, waiting: Waiting) {
    let mut line = String::new();
    loop {
        line.clear();
        match lines.read_line(&mut line).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        match serde_json::from_str::<Reply>(&line) {
            Ok(Reply { id, outcome }) => {
                let waits = locked(&waiting).remove(&id);
                // Nobody waits any longer for one that is late.
                let _ = waits.map(|waits| waits.send(outcome));
            }
            Err(_) => tracing::warn!("{node}: its agent says: {}", line.trim_end()),
        }
    }
    locked(&waiting).clear();
}

fn locked(waiting: &Waiting) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Outcome>>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
