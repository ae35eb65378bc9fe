//! Proving who we are: the user's own key, the agent, configured and default keys, a password.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ssh2::{KeyboardInteractivePrompt, Prompt, Session};

use super::Failure;
use super::config::{Agent, Target};
use super::connect::limit;

/// Authenticates, or says all that was tried.
pub(super) fn authenticate(
    session: &Session,
    target: &Target,
    password: Option<&str>,
    deadline: Instant,
) -> Result<(), Failure> {
    limit(session, deadline);
    let methods = match session.auth_methods(&target.user) {
        Ok(methods) => methods.to_owned(),
        Err(_) if session.authenticated() => return Ok(()), // the server asks for nothing
        Err(error) => return Err(Attempts::default().failure(target, error.message(), deadline)),
    };
    let mut attempts = Attempts::default();
    if methods.contains("publickey") {
        for key in &target.named_keys {
            attempts.key(session, &target.user, key, deadline);
        }
        attempts.agent(session, target, deadline);
        for key in &target.other_keys {
            if !target.named_keys.contains(key) {
                attempts.key(session, &target.user, key, deadline);
            }
        }
    }
    if let Some(password) = password {
        attempts.password(session, &target.user, password, &methods, deadline);
    }
    if attempts.succeeded {
        Ok(())
    } else {
        Err(attempts.failure(target, &format!("the server accepts {methods}"), deadline))
    }
}

/// What was tried, and what came of it.
#[derive(Default)]
struct Attempts {
    succeeded: bool,
    tried: Vec<String>,
    encrypted: Option<PathBuf>,
}

impl Attempts {
    fn key(&mut self, session: &Session, user: &str, key: &Path, deadline: Instant) {
        if self.succeeded {
            return;
        }
        let shown = key.display();
        match fs::read(key) {
            Err(error) => self
                .tried
                .push(format!("key {shown} ({})", plain(&error.to_string()))),
            Ok(text) if is_encrypted(&String::from_utf8_lossy(&text)) => {
                self.tried
                    .push(format!("key {shown} (protected by a passphrase; skipped)"));
                self.encrypted.get_or_insert_with(|| key.to_owned());
            }
            Ok(_) => {
                limit(session, deadline);
                match session.userauth_pubkey_file(user, None, key, None) {
                    Ok(()) => self.succeeded = true,
                    Err(error) => {
                        self.tried
                            .push(format!("key {shown} ({})", plain(error.message())));
                    }
                }
            }
        }
    }

    fn agent(&mut self, session: &Session, target: &Target, deadline: Instant) {
        if self.succeeded || target.agent == Agent::None {
            return;
        }
        if target.agent == Agent::Environment && std::env::var_os("SSH_AUTH_SOCK").is_none() {
            return;
        }
        if let Err(why) = self.agent_keys(session, target, deadline) {
            self.tried.push(format!("agent ({})", why.message()));
        }
    }

    fn agent_keys(
        &mut self,
        session: &Session,
        target: &Target,
        deadline: Instant,
    ) -> Result<(), ssh2::Error> {
        let mut agent = session.agent()?;
        if let Agent::Socket(path) = &target.agent {
            agent.set_identity_path(path)?;
        }
        agent.connect()?;
        agent.list_identities()?;
        let identities = agent.identities()?;
        for identity in &identities {
            limit(session, deadline);
            if agent.userauth(&target.user, identity).is_ok() {
                self.succeeded = true;
                return Ok(());
            }
        }
        let count = identities.len();
        self.tried.push(match count {
            0 => "agent (holds no keys)".to_owned(),
            _ => format!("agent ({count} keys, none accepted)"),
        });
        Ok(())
    }

    fn password(
        &mut self,
        session: &Session,
        user: &str,
        password: &str,
        methods: &str,
        deadline: Instant,
    ) {
        if self.succeeded {
            return;
        }
        limit(session, deadline);
        let offered = methods.split(',').any(|method| method == "password");
        if offered && session.userauth_password(user, password).is_ok() {
            self.succeeded = true;
            return;
        }
        if methods.contains("keyboard-interactive") {
            limit(session, deadline);
            let mut answer = Answer(password);
            if session
                .userauth_keyboard_interactive(user, &mut answer)
                .is_ok()
            {
                self.succeeded = true;
                return;
            }
        }
        self.tried.push("password (not accepted)".to_owned());
    }

    /// What to say when nothing helped; `remark` is what the server said of itself.
    fn failure(&self, target: &Target, remark: &str, deadline: Instant) -> Failure {
        if Instant::now() >= deadline {
            return Failure::new(
                format!("authentication at {target} did not end in time"),
                "the host is slow or gone; allow more time with --connect-timeout",
            );
        }
        let tried = if self.tried.is_empty() {
            "there is no key, agent or password to try".to_owned()
        } else {
            format!("tried {}", self.tried.join(", "))
        };
        let hint = match &self.encrypted {
            Some(key) => format!(
                "a key with a passphrase is used through an agent: ssh-add {}",
                key.display()
            ),
            None => format!(
                "try: ssh -p {} {}@{}; name a key with --ssh-private-key, the user with --username",
                target.port, target.user, target.host
            ),
        };
        Failure::new(
            format!("{target} does not let us in: {tried}; {remark}"),
            hint,
        )
    }
}

/// An error as a person would put it.
fn plain(message: &str) -> &str {
    match message {
        "Username/PublicKey combination invalid" => "not accepted",
        other => other.split(" (os error").next().unwrap_or(other),
    }
}

/// Answers every question with the password.
struct Answer<'a>(&'a str);

impl KeyboardInteractivePrompt for Answer<'_> {
    fn prompt<'a>(&mut self, _: &str, _: &str, prompts: &[Prompt<'a>]) -> Vec<String> {
        prompts.iter().map(|_| self.0.to_owned()).collect()
    }
}

/// Whether a private key needs a passphrase.
fn is_encrypted(text: &str) -> bool {
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return true;
    }
    // The OpenSSH format begins with its magic and the name of the cipher; this is what `none`
    // makes of it in base64.
    const UNENCRYPTED: &str = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU";
    let body = text.split_once("BEGIN OPENSSH PRIVATE KEY-----");
    body.is_some_and(|(_, body)| !body.trim_start().starts_with(UNENCRYPTED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_with_a_passphrase_are_recognised() {
        let openssh = |body: &str| format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{body}");
        assert!(!is_encrypted(&openssh(
            "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAE"
        )));
        assert!(is_encrypted(&openssh(
            "b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1j"
        )));
        assert!(is_encrypted("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
        assert!(is_encrypted(
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
        ));
        assert!(!is_encrypted("-----BEGIN RSA PRIVATE KEY-----\nMIIE"));
    }
}
