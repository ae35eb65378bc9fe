//! The web server, as it is started.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};

use crate::program::Program;

/// A server, ended with the test.
pub(crate) struct Server(Child, String);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn serve(program: &Program, arguments: &[&str]) -> Server {
    let arguments = [&["serve"], arguments].concat();
    let mut child = program
        .command(&arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    Server(child, line)
}

impl Server {
    pub(crate) fn port(&self) -> u16 {
        let (_, rest) = self.1.rsplit_once("http://").unwrap();
        let port: String = rest
            .split(':')
            .nth(1)
            .unwrap()
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        port.parse().unwrap()
    }

    fn get(&self, path: &str, headers: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port())).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

#[test]
fn runs_are_shown_where_it_says() {
    let program = Program::new();
    program.run(&[
        "test",
        "sim",
        "--time-limit",
        "2s",
        "--seed",
        "1",
        "--label",
        "nightly",
        "-q",
    ]);
    let server = serve(&program, &["--bind", "127.0.0.1:0"]);
    assert!(!server.1.contains("token"), "{}", server.1);
    let list = server.get("/", "");
    assert!(
        list.starts_with("HTTP/1.1 200")
            && list.contains("nightly")
            && list.contains("sim-register")
    );
    // Another at the same place says what to do.
    let place = format!("127.0.0.1:{}", server.port());
    let second = program.run(&["serve", "--bind", &place]);
    assert_eq!(second.code, 255);
    assert!(
        second.err.contains(&format!("cannot listen on {place}")) && second.err.contains("--bind"),
        "{}",
        second.err
    );
}

#[test]
fn beyond_loopback_a_token_is_needed() {
    let program = Program::new();
    let server = serve(&program, &["--bind", "0.0.0.0:0"]);
    let (_, token) = server.1.trim().rsplit_once("?token=").unwrap();
    assert_eq!(token.len(), 64);
    assert!(server.get("/", "").starts_with("HTTP/1.1 401"));
    assert!(
        server
            .get("/", &format!("Authorization: Bearer {token}\r\n"))
            .starts_with("HTTP/1.1 200")
    );

    let file = program.folder.path().join("token");
    for (text, mode, why) in [
        ("short", 0o600, "16 letters"),
        ("0123456789abcdef\nmore", 0o600, "16 letters"),
        ("0123456789abcdef", 0o644, "chmod 600"),
    ] {
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let refused = program.run(&["serve", "--bind", "127.0.0.1:0", "--token-file", "token"]);
        assert_eq!(refused.code, 254);
        assert!(refused.err.contains(why), "{}", refused.err);
    }
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let server = serve(
        &program,
        &["--bind", "127.0.0.1:0", "--token-file", "token"],
    );
    assert!(
        !server.1.contains("0123456789abcdef"),
        "a token that a person chose is not said"
    );
    assert!(server.get("/", "").starts_with("HTTP/1.1 401"));
    assert!(
        server
            .get("/", "Authorization: Bearer 0123456789abcdef\r\n")
            .starts_with("HTTP/1.1 200")
    );
}
