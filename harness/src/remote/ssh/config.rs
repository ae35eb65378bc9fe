//! From what the user wrote to where to connect: options, then `~/.ssh/config`, then defaults.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ssh2_config::{HostParams, ParseRule, SshConfig};

use super::Failure;
use super::options::{CONNECT_TIMEOUT, ConfigFile, HostKeyPolicy, SshOptions};

/// The most jump hosts on the way to a node, those of jump hosts included.
const JUMPS_MAX: usize = 8;

/// The private keys that OpenSSH tries when none is named.
const DEFAULT_KEYS: [&str; 4] = ["id_ed25519", "id_ecdsa", "id_rsa", "id_dsa"];

/// A place to connect to, with everything decided.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    /// The name under which its key is known.
    pub(super) key_name: String,
    pub(super) host_keys: HostKeyPolicy,
    pub(super) known_hosts: Vec<PathBuf>,
    /// Keys named by the user, which are tried first.
    pub(super) named_keys: Vec<PathBuf>,
    pub(super) agent: Agent,
    /// Keys that are tried after the agent's.
    pub(super) other_keys: Vec<PathBuf>,
    pub(super) route: Route,
    pub(super) connect_timeout: Duration,
}

/// Which agent to ask.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Agent {
    None,
    /// The one at `SSH_AUTH_SOCK`.
    Environment,
    Socket(PathBuf),
}

/// How to get there.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Route {
    Direct,
    /// Through these, one after another.
    Jumps(Vec<Target>),
    /// Over the standard streams of this shell command.
    Command(String),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}:{}", self.user, self.host, self.port)
    }
}

/// Decides where and how to connect. `address` is `[user@]host[:port]`.
pub(super) fn resolve(address: &str, options: &SshOptions) -> Result<Target, Failure> {
    let home = std::env::home_dir();
    let configs = read_configs(&options.config, home.as_deref())?;
    let resolver = Resolver {
        options,
        configs,
        home,
    };
    resolver.target(address, 0)
}

struct Resolver<'a> {
    options: &'a SshOptions,
    configs: Vec<SshConfig>,
    home: Option<PathBuf>,
}

impl Resolver<'_> {
    fn target(&self, address: &str, jumps: usize) -> Result<Target, Failure> {
        let (user, alias, port) = split_address(address)?;
        let is_jump = jumps > 0;
        let options = self.options;
        let mut params = HostParams::new(&ssh2_config::DefaultAlgorithms::empty());
        for config in &self.configs {
            params.overwrite_if_none(&config.query(&alias));
        }
        let option = |name: &str| first(&params, name);
        let host = params.host_name.clone().unwrap_or_else(|| alias.clone());
        let host = host.replace("%h", &alias);
        let fallback_user = || {
            if is_jump {
                local_user()
            } else {
                "root".to_owned()
            }
        };
        let user = user
            .or_else(|| options.user.clone().filter(|_| !is_jump))
            .or_else(|| params.user.clone())
            .unwrap_or_else(fallback_user);
        let port = port
            .or(options.port.filter(|_| !is_jump))
            .or(params.port)
            .unwrap_or(22);
        let tokens = Tokens {
            alias: &alias,
            host: &host,
            port,
            user: &user,
            home: self.home.as_deref(),
        };
        let identities: Option<Vec<PathBuf>> = params.identity_file.as_ref().map(|files| {
            let expand = |file: &PathBuf| tokens.path(&file.to_string_lossy());
            files.iter().map(expand).collect()
        });
        let only = option("identitiesonly").is_some_and(|value| value == "yes");
        Ok(Target {
            key_name: option("hostkeyalias").unwrap_or_else(|| host.clone()),
            host_keys: self.policy(&params, is_jump),
            known_hosts: self.known_hosts(&params, &tokens),
            named_keys: options.private_keys.clone(),
            agent: self.agent(&params, &tokens, only && identities.is_some()),
            other_keys: identities.unwrap_or_else(|| self.default_keys()),
            route: self.route(&params, &tokens, jumps)?,
            connect_timeout: options
                .connect_timeout
                .or(params.connect_timeout)
                .unwrap_or(CONNECT_TIMEOUT),
            host,
            port,
            user,
        })
    }

    fn policy(&self, params: &HostParams, is_jump: bool) -> HostKeyPolicy {
        match &self.options.host_keys {
            // The key of one host is not the key of the host before it.
            Some(HostKeyPolicy::Exactly(_)) if is_jump => {}
            Some(policy) => return policy.clone(),
            None => {}
        }
        match first(params, "stricthostkeychecking").as_deref() {
            Some("accept-new") => HostKeyPolicy::AcceptNew,
            Some("no" | "off") => HostKeyPolicy::Off,
            _ => HostKeyPolicy::Strict,
        }
    }

    fn known_hosts(&self, params: &HostParams, tokens: &Tokens) -> Vec<PathBuf> {
        if !self.options.known_hosts.is_empty() {
            return self.options.known_hosts.clone();
        }
        let files = |name: &str, default: &[&str]| -> Vec<PathBuf> {
            match params.unsupported_fields.get(name) {
                Some(files) if files == &["none"] => Vec::new(),
                Some(files) => files.iter().map(|file| tokens.path(file)).collect(),
                None => default.iter().map(|file| tokens.path(file)).collect(),
            }
        };
        let user = ["~/.ssh/known_hosts", "~/.ssh/known_hosts2"];
        let global = ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"];
        [
            files("userknownhostsfile", &user),
            files("globalknownhostsfile", &global),
        ]
        .concat()
    }

    fn agent(&self, params: &HostParams, tokens: &Tokens, keys_only: bool) -> Agent {
        if !self.options.agent || keys_only {
            return Agent::None;
        }
        match first(params, "identityagent").as_deref() {
            Some("none") => Agent::None,
            None | Some("SSH_AUTH_SOCK") => Agent::Environment,
            Some(socket) => match socket.strip_prefix('$') {
                Some(variable) => std::env::var_os(variable)
                    .map_or(Agent::None, |value| Agent::Socket(value.into())),
                None => Agent::Socket(tokens.path(socket)),
            },
        }
    }

    fn default_keys(&self) -> Vec<PathBuf> {
        let folder = self.home.iter().map(|home| home.join(".ssh"));
        folder
            .flat_map(|folder| DEFAULT_KEYS.map(|key| folder.join(key)))
            .filter(|key| key.exists())
            .collect()
    }

    fn route(&self, params: &HostParams, tokens: &Tokens, jumps: usize) -> Result<Route, Failure> {
        if let Some(hops) = &params.proxy_jump
            && hops.iter().all(|hop| !hop.eq_ignore_ascii_case("none"))
        {
            if jumps + hops.len() > JUMPS_MAX {
                return Err(Failure::new(
                    format!(
                        "more than {JUMPS_MAX} jump hosts on the way to {}",
                        tokens.host
                    ),
                    "look for a loop of ProxyJump in the SSH configuration",
                ));
            }
            let mut targets = Vec::new();
            for hop in hops {
                let hop = hop.strip_prefix("ssh://").unwrap_or(hop);
                targets.push(self.target(hop, jumps + hops.len())?);
            }
            // Only the first is reached on a way of its own.
            for target in targets.iter_mut().skip(1) {
                target.route = Route::Direct;
            }
            return Ok(Route::Jumps(targets));
        }
        match params.unsupported_fields.get("proxycommand") {
            Some(words) if words.first().is_none_or(|word| word != "none") => {
                Ok(Route::Command(tokens.expand(&words.join(" "))))
            }
            _ => Ok(Route::Direct),
        }
    }
}

/// The first word of an option that the parser leaves to us.
fn first(params: &HostParams, name: &str) -> Option<String> {
    params.unsupported_fields.get(name)?.first().cloned()
}

/// What the `%` tokens of the configuration stand for.
struct Tokens<'a> {
    alias: &'a str,
    host: &'a str,
    port: u16,
    user: &'a str,
    home: Option<&'a Path>,
}

impl Tokens<'_> {
    fn expand(&self, text: &str) -> String {
        let mut expanded = String::new();
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            if char != '%' {
                expanded.push(char);
                continue;
            }
            match chars.next() {
                Some('h') => expanded.push_str(self.host),
                Some('n') => expanded.push_str(self.alias),
                Some('p') => expanded.push_str(&self.port.to_string()),
                Some('r') => expanded.push_str(self.user),
                Some('u') => expanded.push_str(&local_user()),
                Some('d') => expanded.extend(self.home.map(|home| home.to_string_lossy())),
                Some('%') => expanded.push('%'),
                Some(other) => expanded.extend(['%', other]),
                None => expanded.push('%'),
            }
        }
        expanded
    }

    fn path(&self, text: &str) -> PathBuf {
        let text = self.expand(text);
        match (text.strip_prefix("~/"), self.home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(text),
        }
    }
}

fn local_user() -> String {
    nix::unistd::User::from_uid(nix::unistd::getuid())
        .ok()
        .flatten()
        .map_or_else(|| "root".to_owned(), |user| user.name)
}

/// Splits `[user@]host[:port]`; an IPv6 address with a port is in brackets.
fn split_address(address: &str) -> Result<(Option<String>, String, Option<u16>), Failure> {
    let wrong = || {
        Failure::new(
            format!("not an address: {address:?}"),
            "write [USER@]HOST[:PORT], an IPv6 address with a port as [ADDRESS]:PORT",
        )
    };
    let (user, rest) = match address.rsplit_once('@') {
        Some((user, rest)) => (Some(user.to_owned()), rest),
        None => (None, address),
    };
    let (host, port) = if let Some(bracketed) = rest.strip_prefix('[') {
        let (host, after) = bracketed.split_once(']').ok_or_else(wrong)?;
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return Err(wrong()),
        }
    } else {
        match rest.split_once(':') {
            Some((_, more)) if more.contains(':') => (rest, None),
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        }
    };
    let port = port.map(|port| port.parse::<u16>().map_err(|_| wrong()));
    let odd = |char: char| char.is_whitespace() || char.is_control();
    if host.is_empty() || host.starts_with('-') || host.contains(odd) {
        return Err(wrong());
    }
    Ok((user, host.to_owned(), port.transpose()?))
}

fn read_configs(which: &ConfigFile, home: Option<&Path>) -> Result<Vec<SshConfig>, Failure> {
    let files = match which {
        ConfigFile::None => Vec::new(),
        ConfigFile::Path(path) => vec![path.clone()],
        ConfigFile::Default => home
            .map(|home| home.join(".ssh/config"))
            .into_iter()
            .chain([PathBuf::from("/etc/ssh/ssh_config")])
            .filter(|file| file.exists())
            .collect(),
    };
    files.iter().map(|file| read_config(file)).collect()
}

fn read_config(file: &Path) -> Result<SshConfig, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(
            format!("SSH configuration {}: {error}", file.display()),
            "correct it, or name another with --ssh-config FILE (or `none`)",
        )
    };
    let text = fs::read_to_string(file).map_err(|error| failed(&error))?;
    let rules = ParseRule::ALLOW_UNKNOWN_FIELDS | ParseRule::ALLOW_UNSUPPORTED_FIELDS;
    SshConfig::default()
        .parse(&mut relevant(&text).as_bytes(), rules)
        .map_err(|error| failed(&error))
}

/// The lines of a configuration that matter here. The others cannot fail it, and `Match` blocks,
/// which the parser would merge into the host above them, are left out, except `Match all`.
fn relevant(text: &str) -> String {
    const KEYWORDS: [&str; 15] = [
        "host",
        "include",
        "hostname",
        "user",
        "port",
        "identityfile",
        "identitiesonly",
        "identityagent",
        "proxyjump",
        "proxycommand",
        "userknownhostsfile",
        "globalknownhostsfile",
        "stricthostkeychecking",
        "hostkeyalias",
        "connecttimeout",
    ];
    let mut kept = String::new();
    let mut skipping = false;
    for line in text.lines() {
        let mut words = line.split(|char: char| char.is_whitespace() || char == '=');
        let mut words = words.by_ref().filter(|word| !word.is_empty());
        let keyword = words.next().unwrap_or_default().to_ascii_lowercase();
        match keyword.as_str() {
            "match" => {
                skipping = words.next() != Some("all");
                if skipping {
                    tracing::warn!(line, "this part of the SSH configuration is ignored");
                } else {
                    kept.push_str("Host *\n");
                }
            }
            "host" => skipping = false,
            _ => {}
        }
        if !skipping && KEYWORDS.contains(&keyword.as_str()) {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn resolve_with(config: &str, address: &str, change: impl Fn(&mut SshOptions)) -> Target {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        fs::write(&file, config).unwrap();
        let mut options = SshOptions {
            config: ConfigFile::Path(file),
            ..SshOptions::default()
        };
        change(&mut options);
        resolve(address, &options).unwrap()
    }

    #[test]
    fn addresses() {
        let split = |text| split_address(text).ok();
        let some = |user: Option<&str>, host: &str, port| {
            Some((user.map(str::to_owned), host.to_owned(), port))
        };
        assert_eq!(split("n1"), some(None, "n1", None));
        assert_eq!(split("me@n1:2222"), some(Some("me"), "n1", Some(2222)));
        assert_eq!(split("[fe80::1]:22"), some(None, "fe80::1", Some(22)));
        assert_eq!(split("fe80::1"), some(None, "fe80::1", None));
        for wrong in ["", "n1:ssh", "[::1", "[::1]x", "-oProxyCommand=x", "a b"] {
            assert_eq!(split(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn options_then_configuration_then_defaults() {
        let config = "Compression maybe\nHost n1\n  HostName 10.0.0.1\n  User admin\n  Port 2022\n\
                      \x20 IdentityFile /keys/%r-%h\n  StrictHostKeyChecking accept-new\n\
                      \x20 UserKnownHostsFile /a /b\n  GlobalKnownHostsFile none\n\
                      Match exec true\n  User wrong\nHost *\n  User other\n  ConnectTimeout 3\n";
        let target = resolve_with(config, "n1", |_| {});
        assert_eq!(target.to_string(), "admin@10.0.0.1:2022");
        assert_eq!(target.other_keys, [PathBuf::from("/keys/admin-10.0.0.1")]);
        assert_eq!(target.host_keys, HostKeyPolicy::AcceptNew);
        assert_eq!(target.known_hosts, ["/a", "/b"].map(PathBuf::from));
        assert_eq!(target.connect_timeout, Duration::from_secs(3));

        let target = resolve_with(config, "n1", |options| {
            options.user = Some("me".into());
            options.port = Some(22);
            options.host_keys = Some(HostKeyPolicy::Off);
        });
        assert_eq!(target.to_string(), "me@10.0.0.1:22");
        assert_eq!(target.host_keys, HostKeyPolicy::Off);

        let target = resolve_with("", "n9", |_| {});
        assert_eq!(target.to_string(), "root@n9:22");
        assert_eq!(target.host_keys, HostKeyPolicy::Strict);
    }

    #[test]
    fn jump_hosts_are_looked_up_themselves() {
        let config = "Host n*\n  ProxyJump me@outer:2200,inner\nHost inner\n  HostName 10.1.1.1\n\
                      \x20 User deep\n";
        let target = resolve_with(config, "n1", |options| options.user = Some("root".into()));
        let Route::Jumps(jumps) = target.route else {
            panic!("{:?}", target.route)
        };
        let shown: Vec<String> = jumps.iter().map(Target::to_string).collect();
        assert_eq!(shown, ["me@outer:2200", "deep@10.1.1.1:22"]);
    }

    #[test]
    fn a_loop_of_jump_hosts_ends() {
        let options = SshOptions::default();
        let text = "Host a\n  ProxyJump b\nHost b\n  ProxyJump a\n";
        let rules = ParseRule::STRICT;
        let config = SshConfig::default().parse(&mut text.as_bytes(), rules);
        let resolver = Resolver {
            options: &options,
            configs: vec![config.unwrap()],
            home: None,
        };
        let failure = resolver.target("a", 0).unwrap_err();
        assert!(failure.message.contains("jump hosts"));
    }

    #[test]
    fn proxy_commands() {
        let target = resolve_with("ProxyCommand nc -X 5 %h %p\n", "n1", |_| {});
        assert_eq!(target.route, Route::Command("nc -X 5 n1 22".into()));
        let target = resolve_with("Host n1\nProxyCommand none\n", "n1", |_| {});
        assert_eq!(target.route, Route::Direct);
    }
}
