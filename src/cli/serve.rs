//! `gainsay serve`: the runs of a store, in a browser.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use rand::Rng;

use super::output::outln;
use super::{BadArguments, args};
use crate::exit::Exit;
use crate::web::{Guard, Site, Token, bind, listen, router};

/// Fewer characters than this are no secret.
const TOKEN_MIN: usize = 16;
/// More are a file of something else.
const TOKEN_MAX: usize = 1000;

pub(super) fn command() -> Command {
    Command::new("serve")
        .about("Show the runs of a store in a browser")
        .after_help(
            "Runs are only shown, never changed. Bound to anything but loopback, whoever asks must know a token: the address that is printed \
             has it, and programs send `Authorization: Bearer TOKEN`. There is no TLS: over a network that is not yours, use an SSH tunnel \
             (ssh -L 8080:localhost:8080 HOST) or a proxy.",
        )
        .arg(args::store_arg())
        .arg(
            Arg::new("bind")
                .long("bind")
                .value_name("ADDRESS:PORT")
                .default_value("127.0.0.1:8080")
                .value_parser(value_parser!(SocketAddr))
                .env("GAINSAY_BIND")
                .help("Where to listen; port 0 for any that is free"),
        )
        .arg(
            Arg::new("token-file")
                .long("token-file")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .env("GAINSAY_TOKEN_FILE")
                .help("A file that holds the token that must be known [default: none on loopback, else a new one, printed]"),
        )
        .arg(
            Arg::new("host")
                .long("host")
                .value_name("NAME")
                .value_delimiter(',')
                .action(ArgAction::Append)
                .env("GAINSAY_HOST")
                .help("Another name that browsers may call this server by, besides this machine's, localhost and addresses"),
        )
}

pub(super) fn run(matches: &ArgMatches) -> Result<Exit> {
    let store = matches
        .get_one::<PathBuf>("store")
        .context("it has a default")?;
    let address = *matches
        .get_one::<SocketAddr>("bind")
        .context("it has a default")?;
    if store.exists() && !store.is_dir() {
        return Err(BadArguments(format!("--store {}: this is no folder", store.display())).into());
    }
    let given = matches
        .get_one::<PathBuf>("token-file")
        .map(|file| read_token(file))
        .transpose()?;
    let token = match given {
        Some(token) => Some((token, false)),
        None if address.ip().is_loopback() => None,
        None => Some((new_token(), true)),
    };
    let names = matches.get_many::<String>("host").into_iter().flatten();
    let mut hosts: Vec<String> = names.map(|name| name.to_ascii_lowercase()).collect();
    hosts.extend(this_machine());
    // Once there are runs, the store may be a link that is turned elsewhere; now is what counts.
    let root = std::fs::canonicalize(store).unwrap_or_else(|_| store.clone());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the server")?;
    runtime.block_on(async {
        let listener = bind(address).await?;
        let address = listener
            .local_addr()
            .context("cannot tell where it listens")?;
        let guard = Guard {
            token: token.as_ref().map(|(token, _)| Token::new(token)),
            port: address.port(),
            hosts,
        };
        announce(store, address, token.as_ref());
        let router = router(Arc::new(Site::new(&root)), Arc::new(guard));
        tokio::select! {
            () = listen(listener, router) => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        Ok(Exit::Valid)
    })
}

/// Says where it is. A token that a person chose is not said again.
fn announce(store: &Path, address: SocketAddr, token: Option<&(String, bool)>) {
    let host = match address.ip() {
        // From here; from elsewhere it has another name.
        ip if ip.is_unspecified() => "localhost".to_owned(),
        IpAddr::V6(ip) if ip != Ipv6Addr::UNSPECIFIED => format!("[{ip}]"),
        ip => ip.to_string(),
    };
    let query = match token {
        Some((token, true)) => format!("?token={token}"),
        _ => String::new(),
    };
    outln!(
        "runs of {} at http://{host}:{}/{query}",
        store.display(),
        address.port()
    );
    if matches!(token, Some((_, false))) {
        outln!(
            "the token is asked for once: open /?token=… with it, or send it as `Authorization: Bearer …`"
        );
    }
}

fn this_machine() -> Option<String> {
    let name = nix::unistd::gethostname().ok()?;
    Some(name.to_str()?.to_ascii_lowercase())
}

/// 256 bits.
fn new_token() -> String {
    let mut bytes = [0; 32];
    rand::rng().fill_bytes(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read_token(file: &Path) -> Result<String> {
    let bad = |why: String| BadArguments(format!("--token-file {}: {why}", file.display()));
    let text = std::fs::read_to_string(file)
        .map_err(|error| bad(format!("it cannot be read: {error}")))?;
    let token = text.trim();
    let fits = token
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte));
    if !fits || !(TOKEN_MIN..=TOKEN_MAX).contains(&token.len()) {
        let why = format!(
            "a token is {TOKEN_MIN} letters, digits or -._~+/= at least; make one with `openssl rand -hex 32`"
        );
        return Err(bad(why).into());
    }
    let mode = file
        .metadata()
        .map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o007 != 0 {
        return Err(bad("everybody on this machine may read it; chmod 600 it".to_owned()).into());
    }
    Ok(token.to_owned())
}
