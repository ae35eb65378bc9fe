//! How a node is configured and started, for each version.

use harness::node::daemon::Daemon;
use harness::remote::Node;

use crate::release::Release;
use crate::{HTTP_PORT, TRANSPORT_PORT, patch};

/// Everything of ours on a node, the data included. Its name says whose it is.
pub(crate) const HOME: &str = "/var/lib/gainsay-elasticsearch";
pub(crate) const LOG: &str = "/var/log/gainsay-elasticsearch.log";
/// Who it runs as: later versions refuse to be root.
pub(crate) const USER: &str = "gainsay-elasticsearch";
const JAVA: &str = "/usr/bin/java";
/// Compiles quickly and not well: most of what a short run on a small machine computes is its own code being compiled.
const QUICK: &str = "-XX:TieredStopAtLevel=1";
/// A file that is there while changed classes are used.
pub(crate) const CHANGED: &str = "/var/lib/gainsay-elasticsearch/changed";

/// What Elasticsearch keeps.
pub(crate) fn data() -> String {
    format!("{HOME}/data")
}

/// The folder of what is written below.
pub(crate) fn folder() -> String {
    format!("{HOME}/config")
}

/// Whether a node takes part in the very first election, since 7.0, or joins a cluster that is there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cluster {
    New,
    Existing,
}

/// A list as YAML has it.
fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.map(|item| format!("{item:?}")).collect();
    format!("[{}]", items.join(", "))
}

/// `elasticsearch.yml`.
pub(crate) fn settings(release: &Release, node: &Node, nodes: &[Node], cluster: Cluster) -> String {
    let majority = (nodes.len() / 2 + 1).to_string();
    let seeds = list(
        nodes
            .iter()
            .map(|node| format!("{}:{TRANSPORT_PORT}", node.address)),
    );
    let names = list(nodes.iter().map(|node| node.name.to_string()));
    let transport = match release.major {
        ..7 => "transport.tcp.port",
        7.. => "transport.port",
    };
    let mut settings = vec![
        ("cluster.name", "gainsay".to_owned()),
        ("node.name", node.name.to_string()),
        // Binding takes addresses, publishing also names.
        ("network.bind_host", "0.0.0.0".to_owned()),
        ("network.publish_host", node.address.clone()),
        ("http.port", HTTP_PORT.to_string()),
        (transport, TRANSPORT_PORT.to_string()),
        ("path.data", data()),
        ("path.logs", format!("{HOME}/logs")),
        // An index that is lost must not come back empty with the next write.
        ("action.auto_create_index", "false".to_owned()),
        // Else there are no replicas where the disk, which local nodes share, is 85 % full.
        (
            "cluster.routing.allocation.disk.threshold_enabled",
            "false".to_owned(),
        ),
    ];
    if release.major < 7 {
        settings.extend([
            ("discovery.zen.ping.unicast.hosts", seeds.clone()),
            // With less, two masters are part of the configuration.
            ("discovery.zen.minimum_master_nodes", majority.clone()),
            // Shorter than the defaults (3 s, 30 s, 60 s): many elections in a short run.
            ("discovery.zen.ping_timeout", "1s".to_owned()),
            ("discovery.zen.publish_timeout", "3s".to_owned()),
            ("discovery.zen.join_timeout", "6s".to_owned()),
            ("discovery.zen.fd.ping_interval", "1s".to_owned()),
            ("discovery.zen.fd.ping_timeout", "1s".to_owned()),
            ("discovery.zen.fd.ping_retries", "2".to_owned()),
            // So that the cluster as a whole comes back with the newest data that any node has.
            ("gateway.recover_after_nodes", majority),
            ("gateway.expected_nodes", nodes.len().to_string()),
            ("gateway.recover_after_time", "6s".to_owned()),
        ]);
    } else {
        settings.extend([
            ("discovery.seed_hosts", seeds),
            (
                "cluster.fault_detection.follower_check.timeout",
                "1s".to_owned(),
            ),
            (
                "cluster.fault_detection.follower_check.retry_count",
                "2".to_owned(),
            ),
            (
                "cluster.fault_detection.leader_check.timeout",
                "1s".to_owned(),
            ),
            (
                "cluster.fault_detection.leader_check.retry_count",
                "2".to_owned(),
            ),
            ("cluster.publish.timeout", "3s".to_owned()),
        ]);
        if cluster == Cluster::New {
            settings.push(("cluster.initial_master_nodes", names));
        }
    }
    // By which the fault `relocate` tells nodes apart.
    let attribute = match release.major {
        ..5 => "node",
        5.. => "node.attr",
    };
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let plain: String = node.name.chars().map(plain).collect();
    let attribute = format!("{attribute}.gainsay_{plain}");
    settings.push((attribute.as_str(), "away".to_owned()));
    match release.major {
        1 => settings.push(("discovery.zen.ping.multicast.enabled", "false".to_owned())),
        // It makes the folder where there is none, and must not among its programs.
        2 => settings.push(("path.plugins", format!("{HOME}/plugins"))),
        // Maps no files, so it does not ask for a machine on which processes may map many.
        6 => settings.push(("node.store.allow_mmapfs", "false".to_owned())),
        7 => settings.push(("node.store.allow_mmap", "false".to_owned())),
        8 => settings.extend([
            ("node.store.allow_mmap", "false".to_owned()),
            // Else every request needs a password and a certificate.
            ("xpack.security.enabled", "false".to_owned()),
        ]),
        _ => {}
    }
    let lines = settings
        .iter()
        .map(|(name, value)| format!("{name}: {value}\n"));
    lines.collect()
}

/// The name and the contents of what sends its log to its output.
pub(crate) fn logging(release: &Release) -> (&'static str, &'static str) {
    match release.major {
        ..5 => ("logging.yml", include_str!("logging.yml")),
        5.. => ("log4j2.properties", include_str!("log4j2.properties")),
    }
}

/// The heap of a node, in MiB. What is tested is not how much it holds.
fn heap(release: &Release) -> u32 {
    match release.major {
        ..5 => 256,
        5..8 => 384,
        8.. => 512,
    }
}

/// The process, for what does not start it.
pub(crate) fn process() -> Daemon {
    Daemon {
        program: "elasticsearch".to_owned(),
        log: LOG.to_owned(),
        pid_file: format!("{HOME}.pid"),
        ..Daemon::default()
    }
}

/// The process of a version.
///
/// It is started by root with the limit on open files that it wants, and becomes its own user then.
pub(crate) fn daemon(release: &Release) -> Daemon {
    let home = release.home();
    let heap = heap(release);
    let in_lib = format!("{home}/lib/*");
    let changed = format!("{home}/{}", patch::CLASSES);
    // The classes as they are, the same with changed ones, and an option that changes them.
    let (classes, changed, option) = match release.major {
        1 => {
            let changed = format!("{changed}:{in_lib}");
            (changed.clone(), changed, String::new())
        }
        2 => (in_lib.clone(), in_lib, String::new()),
        5..8 => {
            let with = |folder| format!("{home}/{folder}/*:{in_lib}");
            (with(patch::ORIGINAL), with(patch::CHANGED), String::new())
        }
        _ => (
            String::new(),
            String::new(),
            format!("--patch-module org.elasticsearch.server={changed}"),
        ),
    };
    let script = [
        "-c",
        include_str!("start.sh"),
        "start",
        USER,
        &classes,
        &changed,
        &option,
    ];
    let mut args: Vec<String> = script.map(str::to_owned).to_vec();
    let mut env = vec![("HOME", HOME.to_owned())];
    if release.major >= 8 {
        // Its start is a program of its own, which makes the command line.
        args.push(format!("{home}/bin/elasticsearch"));
        env.extend([
            ("ES_JAVA_HOME", "/usr/lib/jvm/default-java".to_owned()),
            ("ES_PATH_CONF", folder()),
            (
                "ES_JAVA_OPTS",
                format!("-Xms{heap}m -Xmx{heap}m -XX:+UseG1GC {QUICK}"),
            ),
        ]);
    } else {
        args.push(JAVA.to_owned());
        args.extend(java(release, &home, heap));
        env.push(("LIBFFI_TMPDIR", format!("{HOME}/tmp")));
    }
    let env = env
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    Daemon {
        program: "/bin/sh".to_owned(),
        args,
        env: env.collect(),
        ..process()
    }
}

/// The arguments of Java. Where its classes are, is in the environment.
fn java(release: &Release, home: &str, heap: u32) -> Vec<String> {
    let conf = folder();
    let mut args = vec![
        format!("-Xms{heap}m"),
        format!("-Xmx{heap}m"),
        // Java takes a collector that the bootstrap checks refuse where there is one processor only.
        "-XX:+UseG1GC".to_owned(),
        QUICK.to_owned(),
        "-Djava.awt.headless=true".to_owned(),
        "-Dfile.encoding=UTF-8".to_owned(),
        format!("-Djava.io.tmpdir={HOME}/tmp"),
        format!("-Des.path.home={home}"),
        format!("-Des.path.conf={conf}"),
    ];
    let more: &[&str] = match release.major {
        1 => &["-Des.foreground=yes"],
        // They make themselves a security manager, which Java refuses since 18.
        2 => &["-Djava.security.manager=allow", "-Djna.nosys=true"],
        _ => &[
            "-Djava.security.manager=allow",
            "-Djna.nosys=true",
            "-Dio.netty.noUnsafe=true",
            "-Dio.netty.noKeySetOptimization=true",
            "-Dio.netty.recycler.maxCapacityPerThread=0",
            "-Dlog4j.shutdownHookEnabled=false",
            "-Dlog4j2.disable.jmx=true",
            "-Des.distribution.flavor=default",
            "-Des.distribution.type=zip",
            "-Des.bundled_jdk=false",
        ],
    };
    args.extend(more.iter().map(|arg| (*arg).to_owned()));
    if release.major == 1 {
        args.push(format!("-Des.config={conf}/elasticsearch.yml"));
    }
    args.push("org.elasticsearch.bootstrap.Elasticsearch".to_owned());
    if release.major == 2 {
        args.push("start".to_owned());
    }
    args
}
