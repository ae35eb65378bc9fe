//! What a person sees who asks for something wrong.

use crate::program::Program;

/// The code of arguments that make no sense, and what it says.
fn wrong(arguments: &[&str], words: &[&str]) {
    let said = Program::new().run(arguments);
    assert_eq!(said.code, 254, "{arguments:?}: {}{}", said.out, said.err);
    for word in words {
        assert!(
            said.err.contains(word),
            "{arguments:?} should mention {word:?}: {}",
            said.err
        );
    }
}

#[test]
fn wrong_arguments_name_the_place_and_the_next_step() {
    wrong(&["tset"], &["tset", "test"]);
    wrong(
        &["test", "sim", "--nemesys", "kill"],
        &["--nemesys", "--nemesis"],
    );
    wrong(
        &["test", "sim", "--nemesis", "partitoin"],
        &["partitoin", "partition"],
    );
    wrong(
        &["test", "sim", "--nemesis", "kill:interval=soon"],
        &["interval", "soon"],
    );
    // Told before anything is set up, though nodes would have to be reached first.
    let etcd = ["test", "etcd", "--nodes", "n1,n2,n3"];
    let gorilla =
        |more: &[&'static str]| [&etcd[..], &["--nemesis", "chaos-gorilla"], more].concat();
    wrong(&gorilla(&[]), &["target=zone", "--zone n1=a,n2=b"]);
    wrong(
        &gorilla(&["--zone", "n1=a,n2=a,n3=b", "--max-down", "1"]),
        &["zone `a` has 2 nodes", "--max-down 2", "target=zone-b"],
    );
    wrong(
        &["test", "sim", "--time-limit", "soon"],
        &["time-limit", "30s"],
    );
    wrong(&["test", "sim", "--concurrency", "3m"], &["3m", "2n"]);
    wrong(&["test", "etcd"], &["--local", "--nodes"]);
    wrong(&["test", "etcd", "--nodes", "a,b,a"], &["twice"]);
    wrong(&["check", "x.jsonl"], &["--model"]);
    let etcd = ["test", "etcd", "--nodes", "n1"];
    for flag in [
        "--ssh-private-key",
        "--ssh-config",
        "--nodes-file",
        "--password-file",
    ] {
        let arguments = [&etcd[..], &[flag, "no-such-file"]].concat();
        wrong(&arguments, &[flag, "no-such-file", "No such file"]);
    }
}

#[test]
fn a_wrong_environment_names_the_value() {
    let program = Program::new();
    let mut command = program.command(&["test", "sim"]);
    let output = command.env("GAINSAY_TIME_LIMIT", "soon").output().unwrap();
    let said = crate::program::said(output);
    assert_eq!(said.code, 254, "{}", said.err);
    for word in ["soon", "time-limit"] {
        assert!(said.err.contains(word), "{}", said.err);
    }
}

#[test]
fn a_broken_configuration_names_file_and_line() {
    let cases = [
        ("time-limit = \"5s\"\nnemsis = \"kill\"\n", "gainsay.toml:2"),
        ("time-limit = [\n", "gainsay.toml:"),
        ("[nosuch]\nrate = 3\n", "nosuch"),
        ("[sim]\nbugg = \"x\"\n", "--bugg"),
    ];
    for (text, word) in cases {
        let program = Program::new();
        std::fs::write(program.folder.path().join("gainsay.toml"), text).unwrap();
        let said = program.run(&["test", "sim"]);
        assert_eq!(said.code, 254, "{text}: {}", said.err);
        assert!(said.err.contains(word), "{text}: {}", said.err);
    }
}

#[test]
fn flags_win_over_environment_over_file() {
    let seed = |file: Option<&str>, environment: Option<&str>, flag: Option<&str>| {
        let program = Program::new();
        if let Some(seed) = file {
            let text = format!("seed = {seed}\ntime-limit = \"1s\"\n");
            std::fs::write(program.folder.path().join("gainsay.toml"), text).unwrap();
        }
        let mut command = program.command(&["test", "sim", "--json", "--time-limit", "1s"]);
        if let Some(seed) = environment {
            command.env("GAINSAY_SEED", seed);
        }
        if let Some(seed) = flag {
            command.args(["--seed", seed]);
        }
        let said = crate::program::said(command.output().unwrap());
        let object: serde_json::Value = serde_json::from_str(&said.out).expect(&said.err);
        object["seed"].as_u64().unwrap()
    };
    assert_eq!(seed(Some("11"), None, None), 11);
    assert_eq!(seed(Some("11"), Some("12"), None), 12);
    assert_eq!(seed(Some("11"), Some("12"), Some("13")), 13);
}

#[test]
fn a_reader_that_has_left_is_no_failure() {
    let program = Program::new();
    let mut child = program
        .command(&["list", "faults"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    let err = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{err}");
    assert!(!err.contains("panicked"), "{err}");
}
