//! Commands: what they read, say and return, and what happens when they or the session break.

use std::time::Duration;

use harness::remote::{Command, Remote, RemoteError};

use crate::sshd::{Sshd, can_run};

#[tokio::test]
async fn status_and_both_streams() {
    if !can_run("status_and_both_streams") {
        return;
    }
    let sshd = Sshd::start();
    let remote = sshd.remote();
    for quick in [false, true] {
        let command = |script: &str| Command {
            quick,
            ..Command::new(script)
        };
        let output = remote
            .run(command("echo out; echo err >&2; exit 3"))
            .await
            .unwrap();
        assert_eq!(output.status, 3);
        assert_eq!(output.stdout, b"out\n");
        assert_eq!(output.stderr, b"err\n");

        let binary: Vec<u8> = (0..=255).cycle().take(20_000).collect();
        let output = remote.run(command("cat").stdin(binary.clone())).await;
        assert_eq!(output.unwrap().stdout, binary);

        // What is not read does no harm, and there is no terminal and no input to wait for.
        let output = remote.run(command("exit 0").stdin(binary)).await.unwrap();
        assert_eq!(output.status, 0);
        let output = remote.run(command("cat; tty")).await.unwrap();
        assert_eq!(output.stdout, b"not a tty\n");

        let output = remote.run(command("kill -KILL $$; sleep 9")).await;
        match output {
            Ok(output) => assert_eq!(output.status, 137),
            // Killing its own shell loses the open channel.
            Err(error) => assert!(quick, "{error}"),
        }
        let output = remote.run(command("sh -c 'kill -TERM $$'")).await.unwrap();
        assert_eq!(output.status, 143);
        let output = remote.run(command("syntax error (")).await.unwrap();
        assert_ne!(output.status, 0);
        assert!(!output.stderr.is_empty());
    }
}

#[tokio::test]
async fn large_output_and_input() {
    if !can_run("large_output_and_input") {
        return;
    }
    let sshd = Sshd::start();
    let remote = sshd.remote();
    for quick in [false, true] {
        let script = "head -c 8000000 /dev/zero; head -c 3000000 /dev/zero >&2";
        let output = remote
            .run(Command {
                quick,
                ..Command::new(script)
            })
            .await
            .unwrap();
        assert_eq!(output.stdout.len(), 8_000_000);
        assert_eq!(output.stderr.len(), 3_000_000);
    }
    // Both directions at once, more than any buffer holds.
    let input: Vec<u8> = (0..12_000_000u32).map(|n| (n ^ (n >> 8)) as u8).collect();
    let output = remote.run(Command::new("cat").stdin(input.clone())).await;
    assert!(output.unwrap().stdout == input);

    let error = remote.run(Command::new("cat /dev/zero")).await.unwrap_err();
    assert!(error.to_string().contains("64 MiB"), "{error}");
    assert_eq!(
        remote.exec(Command::new("echo on")).await.unwrap().text(),
        "on"
    );
}

/// A background child keeps the streams open; nobody waits for it.
#[tokio::test]
async fn background_children_are_not_waited_for() {
    if !can_run("background_children_are_not_waited_for") {
        return;
    }
    let sshd = Sshd::start();
    let remote = sshd.remote();
    for quick in [false, true] {
        let command = Command {
            quick,
            ..Command::new("( sleep 3; echo late ) & echo $!")
        };
        let output = remote.exec(command).await.unwrap();
        let child = output.text().into_owned();
        let next = Command {
            quick,
            ..Command::new(format!("kill -0 {child} && echo there"))
        };
        assert_eq!(remote.exec(next).await.unwrap().text(), "there");
    }
}

#[tokio::test]
async fn what_does_not_end_is_killed() {
    if !can_run("what_does_not_end_is_killed") {
        return;
    }
    let sshd = Sshd::start();
    let remote = sshd.remote();
    for quick in [false, true] {
        let file = sshd.at("pids");
        let script = format!(
            "sleep 77 & echo $! >>{0}; echo $$ >>{0}; sleep 78",
            file.display()
        );
        let command = Command {
            quick,
            ..Command::new(script)
        };
        let error = remote
            .run(command.timeout(Duration::from_millis(700)))
            .await
            .unwrap_err();
        assert!(matches!(error, RemoteError::Timeout { .. }), "{error}");
        assert!(!error.not_run());
        let pids = std::fs::read_to_string(&file).unwrap();
        // A killed process may be a zombie for a while.
        let next = format!(
            "for pid in {}; do grep -qs '^State:.[^Z]' /proc/$pid/status && echo $pid lives; done; echo on",
            pids.replace('\n', " ")
        );
        let next = Command {
            quick,
            ..Command::new(next)
        };
        assert_eq!(remote.exec(next).await.unwrap().text(), "on");
    }
}

#[tokio::test]
async fn a_dropped_future_wedges_nothing() {
    if !can_run("a_dropped_future_wedges_nothing") {
        return;
    }
    let sshd = Sshd::start();
    let remote = sshd.remote_with(|options| options.sessions = 1);
    for quick in [false, true] {
        let command = Command {
            quick,
            ..Command::new("sleep 1; echo no")
        };
        let short = Duration::from_millis(300);
        assert!(
            tokio::time::timeout(short, remote.run(command))
                .await
                .is_err()
        );
        let next = Command {
            quick,
            ..Command::new("echo on")
        };
        assert_eq!(remote.exec(next).await.unwrap().text(), "on");
    }
    let command = Command::new("sleep 300");
    let short = Duration::from_millis(300);
    assert!(
        tokio::time::timeout(short, remote.run(command))
            .await
            .is_err()
    );
    let next = Command::new("echo on").timeout(Duration::from_secs(30));
    assert_eq!(remote.exec(next).await.unwrap().text(), "on");
}

#[tokio::test]
async fn a_lost_session_is_reopened() {
    if !can_run("a_lost_session_is_reopened") {
        return;
    }
    let sshd = Sshd::start();
    let remote = sshd.remote();
    for quick in [false, true] {
        let command = |script: &str| Command {
            quick,
            ..Command::new(script)
        };
        remote.exec(command("true")).await.unwrap();
        assert!(sshd.kill_sessions() > 0);
        tokio::time::sleep(Duration::from_millis(100)).await;
        // It certainly did not start the first time, so it is tried again though not idempotent.
        let output = remote.exec(command("echo on")).await.unwrap();
        assert_eq!(output.text(), "on");

        let file = sshd.at("count").display().to_string();
        std::fs::write(&file, "").unwrap();
        let script = format!("echo ran >>{file}; sleep 1; echo on");
        let cut = async |times: usize| {
            while std::fs::read_to_string(&file).unwrap().lines().count() < times {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            sshd.kill_sessions();
        };
        let (result, ()) = tokio::join!(remote.run(command(&script)), cut(1));
        let error = result.unwrap_err();
        assert!(matches!(error, RemoteError::Lost { .. }), "{error}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "ran\n");

        let again = command(&script).idempotent();
        let (result, ()) = tokio::join!(remote.run(again), cut(2));
        assert_eq!(result.unwrap().text(), "on");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "ran\nran\nran\n");
    }
}

#[tokio::test]
async fn many_at_once() {
    if !can_run("many_at_once") {
        return;
    }
    let sshd = Sshd::start();
    let remote = sshd.remote();
    let commands = (0..40).map(|n| {
        let remote = &remote;
        async move {
            let command = Command {
                quick: n % 2 == 0,
                ..Command::new(format!("echo {n}; cat"))
            };
            let output = remote.exec(command.stdin(n.to_string())).await.unwrap();
            assert_eq!(output.text(), format!("{n}\n{n}"));
        }
    });
    futures::future::join_all(commands).await;
    assert!(sshd.sessions().len() <= 5, "{:?}", sshd.sessions());
}

/// A node that vanishes: connections stay open, and nobody answers any more.
#[tokio::test]
async fn a_node_that_vanishes() {
    if !can_run("a_node_that_vanishes") {
        return;
    }
    let sshd = Sshd::start();
    let remote = sshd.remote_with(|options| {
        options.connect_timeout = Some(Duration::from_millis(1500));
    });
    for quick in [false, true] {
        let command = |script: &str| Command {
            quick,
            ..Command::new(script).timeout(Duration::from_millis(1500))
        };
        let warm = command("true").timeout(Duration::from_secs(60));
        remote.exec(warm).await.unwrap();
        let frozen = sshd.freeze();
        let error = remote.exec(command("true")).await.unwrap_err();
        eprintln!("{error}");
        if quick {
            // It was sent, so nobody knows.
            assert!(matches!(error, RemoteError::Timeout { .. }), "{error}");
        } else {
            assert!(error.not_run(), "{error}");
        }
        let error = remote.exec(command("true")).await.unwrap_err();
        assert!(matches!(error, RemoteError::Connect { .. }), "{error}");
        drop(frozen);
        let on = command("echo on").timeout(Duration::from_secs(60));
        let on = loop {
            match remote.exec(on.clone()).await {
                // The thawed server is still busy with the connections of before.
                Err(RemoteError::Connect { .. }) => {}
                other => break other.unwrap(),
            }
        };
        assert_eq!(on.text(), "on");
    }
}
