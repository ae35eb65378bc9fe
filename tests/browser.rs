//! Pages in a browser: Playwright for Python with Debian's Chromium, where they are here.

use std::process::Command;

use crate::program::Program;

/// The Python that has Playwright: `GAINSAY_PYTHON`, or the one in the path. None, loudly, where there is none.
fn python(test: &str) -> Option<String> {
    let python = std::env::var("GAINSAY_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has_playwright = Command::new(&python)
        .args(["-c", "import playwright.sync_api"])
        .output();
    let missing = match has_playwright {
        Ok(output) if output.status.success() => {
            let chromium = std::path::Path::new("/usr/bin/chromium");
            (!chromium.exists())
                .then_some("there is no /usr/bin/chromium: apt-get install chromium")
        }
        _ => Some(
            "Playwright for Python is missing: pip install playwright, and name the Python that has it in GAINSAY_PYTHON",
        ),
    };
    if let Some(why) = missing {
        assert!(std::env::var_os("CI").is_none(), "{test}: {why}");
        eprintln!("\nSKIPPED {test}: {why}\n");
        return None;
    }
    Some(python)
}

/// Has a script look at a page.
fn look(python: &str, script: &str, arguments: &[&str]) {
    let script = format!("{}/tests/browser/{script}", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(python)
        .arg(script)
        .args(arguments)
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{out}{err}");
    assert!(out.contains("all is well"), "{out}");
}

#[test]
fn a_report_can_be_used() {
    let Some(python) = python("a_report_can_be_used") else {
        return;
    };
    let program = Program::new();
    let said = program.run(&["demo", "--quiet"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let report = program.latest().join("report.html");
    look(
        &python,
        "report.py",
        &[report.to_str().unwrap(), "violation"],
    );
    let valid = [
        "test",
        "sim",
        "--nemesis",
        "partition,kill",
        "--time-limit",
        "5s",
        "--seed",
        "7",
    ];
    let said = program.run(&valid);
    assert!([0, 2].contains(&said.code), "{}{}", said.out, said.err);
    let report = program.latest().join("report.html");
    look(&python, "report.py", &[report.to_str().unwrap(), "none"]);
}

#[test]
fn nothing_that_a_history_says_is_executed() {
    let Some(python) = python("nothing_that_a_history_says_is_executed") else {
        return;
    };
    let program = Program::new();
    let folder = tempfile::tempdir().unwrap();
    let evil = r#"</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'><svg onload=alert(3)>"#;
    let mut lines = String::new();
    for (index, (process, kind, f, rest)) in [
        (0, "invoke", "write", format!(r#""value":"{evil}""#)),
        (
            0,
            "ok",
            "write",
            format!(r#""value":"{evil}","node":"{evil}""#),
        ),
        (1, "invoke", "write", r#""value":1"#.to_owned()),
        (
            1,
            "info",
            "write",
            format!(r#""value":1,"error":["{evil}","{evil}"]"#),
        ),
        (2, "invoke", "read", r#""value":null"#.to_owned()),
        (
            2,
            "ok",
            "read",
            format!(r#""value":"{evil}!","node":"{evil}""#),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let time = (index + 1) * 1_000_000;
        lines += &format!(
            r#"{{"index":{index},"time":{time},"process":{process},"type":"{kind}","f":"{f}","key":"{evil}",{rest}}}"#
        );
        lines.push('\n');
    }
    let (history, page) = (
        folder.path().join("<img src=x onerror=alert(4)>.jsonl"),
        folder.path().join("page.html"),
    );
    std::fs::write(&history, lines).unwrap();
    let (history, page) = (history.to_str().unwrap(), page.to_str().unwrap());
    let said = program.run(&["check", history, "--model", "register", "--report", page]);
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    look(&python, "hostile.py", &[page]);
}

#[test]
fn a_server_can_be_used() {
    let Some(python) = python("a_server_can_be_used") else {
        return;
    };
    let program = Program::new();
    for seed in ["1", "2"] {
        let run = [
            "test",
            "sim",
            "--nemesis",
            "partition,kill",
            "--time-limit",
            "20s",
            "--bug",
            "stale-reads",
            "--seed",
            seed,
            "-q",
        ];
        let said = program.run(&run);
        assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    }
    let server = crate::serve::serve(&program, &["--bind", "127.0.0.1:0"]);
    look(
        &python,
        "served.py",
        &[&format!("http://127.0.0.1:{}", server.port())],
    );
}
