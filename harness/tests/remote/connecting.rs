//! Ways to a host, and what a person reads when there is none.

use std::fs;
use std::process::{Command as Local, Stdio};
use std::time::Duration;

use harness::remote::ssh::{ConfigFile, HostKeyPolicy, SshOptions, SshRemote};
use harness::remote::{Command, Remote, RemoteError};

use crate::sshd::{Sshd, can_run, keygen, run};

/// A port that nobody listens at: other tests take those that are free.
const NOBODY: u16 = 1;

async fn says_on(remote: &SshRemote) {
    for command in [Command::new("echo on"), Command::new("echo on").quick()] {
        assert_eq!(remote.exec(command).await.unwrap().text(), "on");
    }
}

/// The error of a first command, which must say that nothing ran, and that somebody answered.
async fn refusal(remote: &SshRemote) -> String {
    no_session(remote, false).await
}

/// The same, whether somebody answered or not.
async fn no_session(remote: &SshRemote, unanswered: bool) -> String {
    let error = remote.exec(Command::new("true")).await.unwrap_err();
    assert!(matches!(error, RemoteError::Connect { .. }), "{error}");
    assert_eq!(error.unanswered(), unanswered, "{error}");
    assert!(error.not_run());
    let text = error.to_string();
    eprintln!("{text}");
    assert!(
        text.starts_with("n1: ") && text.contains("hint: "),
        "{text}"
    );
    text
}

#[tokio::test]
async fn a_wrong_key_is_named() {
    if !can_run("a_wrong_key_is_named") {
        return;
    }
    let sshd = Sshd::start();
    keygen(&sshd.at("other"), "ed25519", "");
    keygen(&sshd.at("locked"), "ed25519", "secret");
    let text = refusal(&sshd.remote_with(|options| {
        options.private_keys = vec![sshd.at("other"), sshd.at("missing")];
    }))
    .await;
    for part in ["/other", "/missing", "No such file", "publickey"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let locked = sshd.remote_with(|options| options.private_keys = vec![sshd.at("locked")]);
    let text = refusal(&locked).await;
    assert!(
        text.contains("passphrase") && text.contains("ssh-add"),
        "{text}"
    );
}

#[tokio::test]
async fn keys_of_every_kind() {
    if !can_run("keys_of_every_kind") {
        return;
    }
    let sshd = Sshd::start();
    for kind in ["rsa", "ecdsa", "ed25519"] {
        let key = sshd.at(kind);
        keygen(&key, kind, "");
        fs::copy(key.with_extension("pub"), sshd.at("authorized_keys")).unwrap();
        says_on(&sshd.remote_with(|options| options.private_keys = vec![key])).await;
    }
}

#[tokio::test]
async fn an_agent_holds_keys_with_passphrases() {
    if !can_run("an_agent_holds_keys_with_passphrases") {
        return;
    }
    let sshd = Sshd::start();
    let socket = sshd.at("agent");
    let mut agent = Local::new("ssh-agent")
        .args(["-D", "-a", socket.to_str().unwrap()])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while !socket.exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let added = Local::new("ssh-add")
        .arg(sshd.at("user"))
        .env("SSH_AUTH_SOCK", &socket)
        .output()
        .unwrap();
    assert!(added.status.success());
    let config = format!("IdentityAgent {}\n", socket.display());
    fs::write(sshd.at("config"), config).unwrap();
    let remote = sshd.remote_with(|options| {
        options.agent = true;
        options.private_keys.clear();
        options.config = ConfigFile::Path(sshd.at("config"));
    });
    says_on(&remote).await;
    agent.kill().unwrap();
    agent.wait().unwrap();
}

#[tokio::test]
async fn an_unknown_host_key_is_refused() {
    if !can_run("an_unknown_host_key_is_refused") {
        return;
    }
    let sshd = Sshd::start();
    fs::write(sshd.at("known_hosts"), "elsewhere ssh-ed25519 AAAA\n").unwrap();
    let text = refusal(&sshd.remote()).await;
    assert!(text.contains("not known"), "{text}");
    let public_key = sshd.at("host.pub");
    let listed = Local::new("ssh-keygen").arg("-lf").arg(public_key).output();
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    let fingerprint = listed.split(' ').nth(1).unwrap();
    assert!(text.contains(fingerprint), "{listed}: {text}");
    let hint = format!("ssh-keyscan -p {} 127.0.0.1 >>", sshd.port);
    assert!(text.contains(&hint), "{text}");

    let accept = |options: &mut SshOptions| options.host_keys = Some(HostKeyPolicy::AcceptNew);
    says_on(&sshd.remote_with(accept)).await;
    // It was remembered, in a form that others read, too.
    says_on(&sshd.remote()).await;
    let entry = format!("[127.0.0.1]:{}", sshd.port);
    let file = sshd.at("known_hosts");
    run("ssh-keygen", &["-F", &entry, "-f", file.to_str().unwrap()]);
}

#[tokio::test]
async fn a_changed_host_key_is_refused() {
    if !can_run("a_changed_host_key_is_refused") {
        return;
    }
    let sshd = Sshd::start();
    keygen(&sshd.at("old"), "ed25519", "");
    sshd.write_known_hosts(&sshd.at("old.pub"));
    let place = format!("{}:2", sshd.at("known_hosts").display());
    for policy in [HostKeyPolicy::Strict, HostKeyPolicy::AcceptNew] {
        let remote = sshd.remote_with(|options| options.host_keys = Some(policy));
        let text = refusal(&remote).await;
        assert!(text.contains("CHANGED"), "{text}");
        assert!(text.contains(&place), "{text}");
        assert!(text.contains("ssh-keygen -f"), "{text}");
    }
    // A key of another kind is a change, too: nobody offers a worse kind to the same host.
    keygen(&sshd.at("older"), "ecdsa", "");
    sshd.write_known_hosts(&sshd.at("older.pub"));
    assert!(refusal(&sshd.remote()).await.contains("CHANGED"));
    says_on(&sshd.remote_with(|options| options.host_keys = Some(HostKeyPolicy::Off))).await;
}

#[tokio::test]
async fn known_hosts_come_in_many_forms() {
    if !can_run("known_hosts_come_in_many_forms") {
        return;
    }
    let sshd = Sshd::start();
    let file = sshd.at("known_hosts");
    let key = fs::read_to_string(sshd.at("host.pub")).unwrap();

    run("ssh-keygen", &["-H", "-f", file.to_str().unwrap()]);
    assert!(fs::read_to_string(&file).unwrap().contains("|1|"));
    says_on(&sshd.remote()).await;

    fs::write(&file, format!("elsewhere,[127.0.*]:* {key}")).unwrap();
    says_on(&sshd.remote()).await;
    fs::write(&file, format!("!127*,![127*,* {key}")).unwrap();
    assert!(refusal(&sshd.remote()).await.contains("not known"));
    // A key listed without a port is good for every port.
    fs::write(&file, format!("127.0.0.1 {key}")).unwrap();
    says_on(&sshd.remote()).await;
    fs::write(&file, format!("* {key}@revoked * {key}")).unwrap();
    assert!(refusal(&sshd.remote()).await.contains("revoked"));

    // The server has keys of two kinds; the known one is asked for.
    keygen(&sshd.at("second"), "rsa", "");
    let both = format!("HostKey {}", sshd.at("second").display());
    let two = Sshd::start_with(&both);
    two.write_known_hosts(&sshd.at("second.pub"));
    says_on(&two.remote()).await;

    let exactly = |key: String| {
        sshd.remote_with(|options| {
            options.known_hosts.clear();
            options.host_keys = Some(HostKeyPolicy::Exactly(key));
        })
    };
    says_on(&exactly(key)).await;
    let other = fs::read_to_string(sshd.at("user.pub")).unwrap();
    assert!(refusal(&exactly(other)).await.contains("not the expected"));
    assert!(
        refusal(&exactly("rubbish".into()))
            .await
            .contains("not a public key")
    );
}

#[tokio::test]
async fn nobody_answers() {
    if !can_run("nobody_answers") {
        return;
    }
    let sshd = Sshd::start();
    let elsewhere = sshd.remote_with(|options| options.port = Some(NOBODY));
    let text = no_session(&elsewhere, true).await;
    assert!(text.contains("connection refused"), "{text}");

    // A server that accepts and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let mute = sshd.remote_with(|options| {
        options.port = Some(port);
        options.connect_timeout = Some(Duration::from_millis(1500));
    });
    let text = no_session(&mute, true).await;
    assert!(text.contains("handshake"), "{text}");

    let remote = SshRemote::new("n1".into(), "no-such-host.invalid", sshd.options()).unwrap();
    let text = refusal(&remote).await;
    assert!(text.contains("no-such-host.invalid"), "{text}");

    let wrong = SshRemote::new("n1".into(), "a b", sshd.options());
    assert!(wrong.is_err());
}

#[tokio::test]
async fn through_jump_hosts_and_commands() {
    if !can_run("through_jump_hosts_and_commands") {
        return;
    }
    let (inner, middle, outer) = (Sshd::start(), Sshd::start(), Sshd::start());
    let host_at = |name: &str, port: u16, sshd: &Sshd, more: &str| {
        format!(
            "Host {name}\n  HostName 127.0.0.1\n  Port {port}\n  User root\n  IdentityFile {}\n  \
             UserKnownHostsFile {}\n  {more}\n",
            sshd.at("user").display(),
            sshd.at("known_hosts").display()
        )
    };
    let host = |name: &str, sshd: &Sshd, more: &str| host_at(name, sshd.port, sshd, more);
    let command = format!(
        "ProxyCommand ssh -F none -i {} -p {} -o UserKnownHostsFile={} -W %h:%p root@127.0.0.1",
        outer.at("user").display(),
        outer.port,
        outer.at("known_hosts").display()
    );
    let routes = [
        "ProxyJump outer",
        "ProxyJump outer,middle",
        "ProxyJump hop",
        &command,
    ];
    for route in routes {
        let config = [
            host("outer", &outer, ""),
            host("middle", &middle, ""),
            host("hop", &middle, "ProxyJump outer"),
            host("target", &inner, route),
        ];
        let file = inner.at("config");
        fs::write(&file, config.concat()).unwrap();
        let options = SshOptions {
            config: ConfigFile::Path(file),
            agent: false,
            ..SshOptions::default()
        };
        let remote = SshRemote::new("n1".into(), "target", options).unwrap();
        says_on(&remote).await;
        let input: Vec<u8> = (0..5_000_000u32).map(|n| (n ^ (n >> 9)) as u8).collect();
        let output = remote.exec(Command::new("cat").stdin(input.clone())).await;
        assert!(output.unwrap().stdout == input, "{route}");
        assert!(!outer.sessions().is_empty(), "{route}");
        drop(remote);
        // Nothing is left of the tunnels.
        for _ in 0..500 {
            let open = outer.sessions().len() + middle.sessions().len() + inner.sessions().len();
            if open == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(outer.sessions().is_empty() && inner.sessions().is_empty());
    }
    let unreachable = host("target", &inner, "ProxyCommand echo no way >&2; false");
    let file = inner.at("config");
    fs::write(&file, unreachable).unwrap();
    let options = SshOptions {
        config: ConfigFile::Path(file.clone()),
        ..SshOptions::default()
    };
    let remote = SshRemote::new("n1".into(), "target", options).unwrap();
    assert!(no_session(&remote, true).await.contains("no way"));
    // Of a host behind another, and of the other.
    let behind = |port: u16, jump: u16| {
        let config = [
            host_at("outer", jump, &outer, ""),
            host_at("target", port, &inner, "ProxyJump outer"),
        ];
        fs::write(&file, config.concat()).unwrap();
        let options = SshOptions {
            config: ConfigFile::Path(file.clone()),
            agent: false,
            ..SshOptions::default()
        };
        SshRemote::new("n1".into(), "target", options).unwrap()
    };
    no_session(&behind(NOBODY, outer.port), true).await;
    let text = refusal(&behind(inner.port, NOBODY)).await;
    assert!(text.contains("jump host"), "{text}");
}
