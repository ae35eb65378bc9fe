//! A suite of one's own: Redis, a primary with asynchronous replicas. `docs/writing-a-suite.md` walks through it.
//!
//! ```text
//! cargo run --release --example redis -- test redis --setup --local 3 --nemesis partition --time-limit 20
//! ```
//!
//! As root, on Debian. Clients read from the node that they are pinned to, so replicas show old values: the run
//! is invalid. With `--primary-only` everything goes to the primary, and nothing is found.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use harness::client::{Client, ClientInfo, Completion, Connect, Invocation, Op};
use harness::db::steps::{self, LastWords};
use harness::db::{Db, DbError};
use harness::node::daemon::Daemon;
use harness::node::{files, packages};
use harness::remote::Node;
use harness::{Name, OpError, Value};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use workloads::{
    BuildError, BuildRequest, Claim, NamedChecker, OptionSpec, Options, Plan, Suite, WorkloadInfo,
    World, WorldRequest, register,
};

const PORT: u16 = 6379;
const PACKAGE: &str = "redis-server";
/// All that is ours on a node.
const HOME: &str = "/var/lib/gainsay-redis";
const LOG: &str = "/var/log/gainsay-redis.log";
/// How long one node may take to say something about itself: less than the second that all have together.
const ASK_LIMIT: Duration = Duration::from_millis(500);
/// Lines of its log that say why it ended.
const LAST_WORDS: LastWords<'static> = LastWords {
    system: "redis-server",
    log: LOG,
    telling: "grep -iE 'fatal|bug report|error'",
    lines: 2,
    otherwise: 5,
};
/// The longest line and the longest string of an answer, in bytes.
const LINE_MAX: u64 = 64 << 10;
const STRING_MAX: usize = 1 << 20;
const PRIMARY_ONLY: &str = "primary-only";

fn main() -> ExitCode {
    let mut suites = gainsay::suites();
    suites.push(Arc::new(RedisSuite));
    gainsay::main(suites)
}

// ---- The suite: what there is to choose, and what belongs together.

struct RedisSuite;

impl Suite for RedisSuite {
    fn name(&self) -> &str {
        "redis"
    }

    fn summary(&self) -> &str {
        "Redis, a primary with asynchronous replicas (Debian's redis-server)"
    }

    fn workloads(&self) -> Vec<WorkloadInfo> {
        vec![register::info()]
    }

    fn options(&self) -> Vec<OptionSpec> {
        let mut options = register::options();
        let help = "Send everything to the primary, instead of each client's own node";
        options.push(OptionSpec::flag(PRIMARY_ONLY, help));
        options
    }

    fn packages(&self) -> Vec<String> {
        vec![PACKAGE.to_owned()]
    }

    fn claim(&self, _workload: &str, _options: &Options) -> Claim {
        Claim {
            model: "linearizable".to_owned(),
            source: "asked of it on purpose: Redis documents that its replication is asynchronous"
                .to_owned(),
        }
    }

    fn world(&self, _request: &WorldRequest<'_>) -> Result<World, BuildError> {
        Ok(World::Nodes(Arc::new(RedisDb)))
    }

    fn plan(&self, _world: &World, request: &BuildRequest<'_>) -> Result<Plan, BuildError> {
        let connect = RedisConnect {
            nodes: request.nodes.to_vec(),
            prefix: format!("gainsay:{:x}:", request.run),
            primary_only: request.options.flag(PRIMARY_ONLY),
        };
        Ok(Plan {
            connect: Arc::new(connect),
            generator: register::generator(request)?,
            final_generator: None,
        })
    }

    fn checkers(&self, _: &str, _: &Options) -> Result<Vec<NamedChecker>, BuildError> {
        Ok(register::checkers())
    }
}

// ---- The database: how the system comes to a node, runs there and leaves.

struct RedisDb;

/// The process on a node, for what does not start it.
fn process() -> Daemon {
    Daemon {
        program: "/usr/bin/redis-server".to_owned(),
        log: LOG.to_owned(),
        pid_file: "/run/gainsay-redis.pid".to_owned(),
        ..Daemon::default()
    }
}

/// The arguments of a node: the first is the primary, the others replicate it.
fn arguments(node: &Node, nodes: &[Node]) -> Vec<String> {
    let port = PORT.to_string();
    let mut words = vec![
        "--port",
        &port,
        "--bind",
        "0.0.0.0",
        "--protected-mode",
        "no",
    ];
    words.extend(["--dir", HOME, "--save", "", "--appendonly", "yes"]);
    if let Some(primary) = nodes.first().filter(|first| first.name != node.name) {
        words.extend(["--replicaof", &primary.address, &port]);
    }
    words.into_iter().map(str::to_owned).collect()
}

/// The process on a node, for what starts it.
fn server(node: &Node, nodes: &[Node]) -> Daemon {
    Daemon {
        args: arguments(node, nodes),
        ..process()
    }
}

/// What a node says about itself, if it answers.
async fn info(node: &Node, section: &str) -> Option<String> {
    let asked = async {
        let mut connection = Connection::open(node).await.ok()?;
        match connection.call(&["INFO", section]).await {
            Ok(Reply::Text(text)) => Some(text),
            _ => None,
        }
    };
    tokio::time::timeout(ASK_LIMIT, asked).await.ok().flatten()
}

#[async_trait]
impl Db for RedisDb {
    async fn install(&self, node: &Node) -> Result<(), DbError> {
        Ok(packages::install(&*node.remote, &[PACKAGE]).await?)
    }

    async fn wipe(&self, node: &Node) -> Result<(), DbError> {
        steps::remove(node, &process(), HOME).await?;
        steps::need_port(node, PORT, "stop the Redis that runs there").await
    }

    async fn start_fresh(&self, node: &Node, nodes: &[Node]) -> Result<(), DbError> {
        self.start(node, nodes).await
    }

    async fn start(&self, node: &Node, nodes: &[Node]) -> Result<(), DbError> {
        files::mkdir(&*node.remote, HOME).await?;
        server(node, nodes).start(&*node.remote).await?;
        Ok(())
    }

    fn revive_script(&self, node: &Node, nodes: &[Node]) -> Option<String> {
        Some(server(node, nodes).revive_script())
    }

    async fn healthy(&self, node: &Node) -> Result<(), DbError> {
        steps::until(node, &process(), &LAST_WORDS, || async {
            let said = info(node, "replication").await.unwrap_or_default();
            said.contains("role:master") || said.contains("master_link_status:up")
        })
        .await
    }

    fn process(&self) -> Daemon {
        process()
    }

    async fn teardown(&self, node: &Node) -> Result<(), DbError> {
        steps::remove(node, &process(), HOME).await
    }

    async fn primaries(&self, nodes: &[Node]) -> Vec<Name> {
        let leads = |node| async move {
            let said = info(node, "replication").await;
            said.is_some_and(|said| said.contains("role:master"))
        };
        steps::those(nodes, leads).await
    }

    fn log_files(&self) -> Vec<String> {
        vec![LOG.to_owned()]
    }

    /// There are no elections. A second is about what it takes a replica to find its primary again.
    fn election_timeout(&self) -> Duration {
        Duration::from_secs(1)
    }

    async fn version(&self, node: &Node) -> Result<String, DbError> {
        let said = info(node, "server").await.unwrap_or_default();
        let mut lines = said.lines();
        let version = lines.find_map(|line| line.strip_prefix("redis_version:"));
        Ok(format!("Redis {}", version.unwrap_or("unknown")))
    }
}

// ---- The client: one operation at a time, and the truth about how it ended.

struct RedisConnect {
    nodes: Vec<Node>,
    /// Before every key, so that runs do not see each other's data.
    prefix: String,
    primary_only: bool,
}

#[async_trait]
impl Connect for RedisConnect {
    async fn open(&self, info: &ClientInfo) -> Result<Box<dyn Client>, OpError> {
        let wanted = |node: &&Node| self.primary_only || node.name == info.node;
        let node = self.nodes.iter().find(wanted);
        let node = node.ok_or_else(|| OpError::new(OpError::NO_CLIENT, "no such node"))?;
        let connection = Connection::open(node).await;
        let connection = connection
            .map_err(|error| OpError::new(OpError::NO_CLIENT, format!("{}: {error}", node.name)))?;
        Ok(Box::new(RedisClient {
            node: node.clone(),
            prefix: self.prefix.clone(),
            connection: Some(connection),
        }))
    }
}

struct RedisClient {
    node: Node,
    prefix: String,
    /// Taken while a request is under way: one that fails or is dropped takes its connection along.
    connection: Option<Connection>,
}

/// Sets a key if it holds a value. Redis runs scripts one at a time.
const COMPARE_AND_SET: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end \
                               redis.call('SET', KEYS[1], ARGV[2]) return 1";

#[async_trait]
impl Client for RedisClient {
    async fn invoke(&mut self, invocation: &Invocation) -> Completion {
        let op = &invocation.op;
        let key = op.key.as_ref().map(Value::to_string).unwrap_or_default();
        let key = format!("{}{key}", self.prefix);
        let words = match (&*op.f, &op.value) {
            ("read", _) => vec!["GET".to_owned(), key],
            ("write", value) => vec!["SET".to_owned(), key, value.to_string()],
            ("cas", Value::Array(pair)) if pair.len() == 2 => {
                let [from, to] = [&pair[0], &pair[1]].map(Value::to_string);
                let script = COMPARE_AND_SET.to_owned();
                vec!["EVAL".to_owned(), script, "1".to_owned(), key, from, to]
            }
            (f, value) => {
                let error = OpError::new("unsupported", format!("no operation {f} {value}"));
                return Completion::fail(op.value.clone(), error);
            }
        };
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => match Connection::open(&self.node).await {
                Ok(connection) => connection,
                // Nothing was sent.
                Err(error) => return failed(op, "connect", error.to_string()),
            },
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let reply = match connection.call(&words).await {
            Ok(reply) => reply,
            // A read that got no answer did nothing; of anything else nobody knows.
            Err(error) if &*op.f == "read" => {
                return failed(op, "connection-lost", error.to_string());
            }
            Err(error) => {
                let error = OpError::new("connection-lost", error.to_string());
                return Completion::info(op.value.clone(), error);
            }
        };
        self.connection = Some(connection);
        judge(op, reply).from_node(self.node.name.clone())
    }
}

fn failed(op: &Op, class: &'static str, message: String) -> Completion {
    Completion::fail(op.value.clone(), OpError::new(class, message))
}

/// What an answer of the server says of an operation.
fn judge(op: &Op, reply: Reply) -> Completion {
    match (&*op.f, reply) {
        ("read", Reply::Nil) => Completion::ok(Value::Null),
        ("read", Reply::Text(text)) => match serde_json::from_str(&text) {
            Ok(value) => Completion::ok(value),
            Err(error) => failed(op, "bad-answer", error.to_string()),
        },
        ("write", Reply::Text(_)) | ("cas", Reply::Integer(1)) => Completion::ok(op.value.clone()),
        // It did not write, and saw another value: that is an observation, and the checker uses it.
        ("cas", Reply::Integer(0)) => failed(
            op,
            OpError::PRECONDITION,
            "the value was different".to_owned(),
        ),
        // Refused before it was executed.
        (_, Reply::Error(error)) if error.contains("READONLY") => failed(op, "read-only", error),
        ("read", Reply::Error(error)) => failed(op, "server-error", error),
        // Any other answer does not prove that nothing happened.
        (_, reply) => {
            let error = OpError::new("server-error", format!("{reply:?}"));
            Completion::info(op.value.clone(), error)
        }
    }
}

// ---- The protocol: as much of RESP as is needed.

#[derive(Debug)]
enum Reply {
    Text(String),
    Integer(i64),
    Nil,
    Error(String),
}

struct Connection(BufStream<TcpStream>);

fn bad(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("not an answer: {what:?}"),
    )
}

impl Connection {
    async fn open(node: &Node) -> io::Result<Connection> {
        let stream = TcpStream::connect((node.address.as_str(), PORT)).await?;
        stream.set_nodelay(true)?;
        Ok(Connection(BufStream::new(stream)))
    }

    /// Sends a command and reads its answer.
    async fn call(&mut self, words: &[&str]) -> io::Result<Reply> {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.0.write_all(request.as_bytes()).await?;
        self.0.flush().await?;
        let mut line = String::new();
        (&mut self.0).take(LINE_MAX).read_line(&mut line).await?;
        let text = line.strip_suffix("\r\n").ok_or_else(|| bad(&line))?;
        let number = || text[1..].parse::<i64>().map_err(|_| bad(text));
        match text.as_bytes().first() {
            Some(b'+') => Ok(Reply::Text(text[1..].to_owned())),
            Some(b'-') => Ok(Reply::Error(text[1..].to_owned())),
            Some(b':') => Ok(Reply::Integer(number()?)),
            Some(b'$') => self.string(number()?).await,
            _ => Err(bad(text)),
        }
    }

    /// Reads a string of a length; -1 is for none.
    async fn string(&mut self, length: i64) -> io::Result<Reply> {
        let Ok(length) = usize::try_from(length) else {
            return Ok(Reply::Nil);
        };
        if length > STRING_MAX {
            return Err(bad("too long"));
        }
        let mut bytes = vec![0; length + 2];
        self.0.read_exact(&mut bytes).await?;
        bytes.truncate(length);
        String::from_utf8(bytes)
            .map(Reply::Text)
            .map_err(|error| bad(&error.to_string()))
    }
}
