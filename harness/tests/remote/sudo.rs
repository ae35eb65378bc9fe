//! A login user who becomes root.

use std::fs;
use std::path::Path;
use std::process::Command as Local;
use std::sync::Mutex;
use std::time::Duration;

use harness::remote::ssh::Secret;
use harness::remote::{Command, Remote, RemoteError};

use crate::sshd::{Sshd, can_run, run};

/// A user for the time of a test, with a line of sudoers of its own.
struct User {
    name: String,
}

/// Users are added to one file, which admits one writer.
static PASSWD: Mutex<()> = Mutex::new(());

impl User {
    fn create(name: &str, sudoers: &str) -> Option<User> {
        if !Path::new("/usr/bin/sudo").exists() {
            eprintln!("SKIPPED: {name}: needs sudo (apt-get install sudo)");
            return None;
        }
        let _guard = PASSWD.lock().unwrap_or_else(|poison| poison.into_inner());
        let name = format!("{name}{}", std::process::id());
        run(
            "useradd",
            &["--no-create-home", "--shell", "/bin/sh", &name],
        );
        let user = User { name };
        let hash = "$6$gainsay$"; // completed by openssl below
        let output = Local::new("openssl")
            .args(["passwd", "-6", "-salt", "gainsay", "opensesame"])
            .output()
            .unwrap();
        let password = String::from_utf8(output.stdout).unwrap();
        assert!(password.starts_with(hash));
        run("usermod", &["--password", password.trim(), &user.name]);
        if !sudoers.is_empty() {
            fs::write(user.sudoers(), format!("{} {sudoers}\n", user.name)).unwrap();
        }
        Some(user)
    }

    fn sudoers(&self) -> String {
        format!("/etc/sudoers.d/{}", self.name)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _guard = PASSWD.lock().unwrap_or_else(|poison| poison.into_inner());
        let _ = fs::remove_file(self.sudoers());
        // Its last processes may still be ending.
        for _ in 0..100 {
            let deleted = Local::new("userdel").args(["--force", &self.name]).output();
            if deleted.is_ok_and(|output| output.status.success()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        eprintln!("the user {} is left behind", self.name);
    }
}

#[tokio::test]
async fn sudo_without_a_password() {
    if !can_run("sudo_without_a_password") {
        return;
    }
    let Some(user) = User::create("gainsaya", "ALL=(ALL) NOPASSWD: ALL") else {
        return;
    };
    becomes_root(&user, None).await;
}

#[tokio::test]
async fn sudo_with_a_password() {
    if !can_run("sudo_with_a_password") {
        return;
    }
    let Some(user) = User::create("gainsayb", "ALL=(ALL) ALL") else {
        return;
    };
    becomes_root(&user, Some("opensesame")).await;

    let sshd = Sshd::start();
    for (password, says) in [(None, "--password-file"), (Some("wrong"), "wrong")] {
        let remote = sshd.remote_with(|options| {
            options.user = Some(user.name.clone());
            options.sudo_password = password.map(Secret::new);
        });
        for quick in [false, true] {
            let command = Command {
                quick,
                ..Command::new("id -u")
            };
            let error = remote.exec(command).await.unwrap_err();
            eprintln!("{error}");
            assert!(matches!(error, RemoteError::Refused { .. }), "{error}");
            assert!(
                error.not_run() && error.to_string().contains(says),
                "{error}"
            );
        }
        let own = Command::new("id -un").as_login_user();
        assert_eq!(remote.exec(own).await.unwrap().text(), user.name);
    }
}

/// A password that `sudo` does not ask for must not reach a shell.
#[tokio::test]
async fn sudo_with_a_password_that_is_not_asked_for() {
    if !can_run("sudo_with_a_password_that_is_not_asked_for") {
        return;
    }
    let Some(user) = User::create("gainsayc", "ALL=(ALL) NOPASSWD: ALL") else {
        return;
    };
    becomes_root(&user, Some("opensesame")).await;
}

async fn becomes_root(user: &User, password: Option<&str>) {
    let sshd = Sshd::start();
    let remote = sshd.remote_with(|options| {
        options.user = Some(user.name.clone());
        options.sudo_password = password.map(Secret::new);
    });
    for quick in [false, true] {
        let command = |script: &str| Command {
            quick,
            ..Command::new(script)
        };
        let output = remote.exec(command("id -u; cat").stdin("in")).await;
        assert_eq!(output.unwrap().stdout, b"0\nin");
        let own = command("id -un").as_login_user();
        assert_eq!(remote.exec(own).await.unwrap().text(), user.name);

        let pid_file = sshd.at("pid").display().to_string();
        let script = format!("echo $$ >{pid_file}; sleep 66; sleep 67");
        let slow = command(&script).timeout(Duration::from_millis(900));
        let error = remote.run(slow).await.unwrap_err();
        assert!(matches!(error, RemoteError::Timeout { .. }), "{error}");
        let script =
            format!("grep -qs '^State:.[^Z]' /proc/$(cat {pid_file})/status && echo lives; true");
        let output = remote.exec(command(&script)).await.unwrap();
        assert_eq!(output.text(), "", "a command run by sudo is killed, too");
    }
    let file = sshd.at("roots").display().to_string();
    remote.write(&file, b"x".to_vec(), 0o600).await.unwrap();
    let owner = Command::new(format!("stat -c %U {file}"));
    assert_eq!(remote.exec(owner).await.unwrap().text(), "root");
}
