//! `gainsay check` on transactions.

use serde_json::Value;

use crate::program::Program;

const SKEW: &str = r#"{:type :invoke, :process 0, :f :txn, :value [[:r :x nil] [:append :y 1]]}
{:type :invoke, :process 1, :f :txn, :value [[:r :y nil] [:append :x 1]]}
{:type :ok, :process 0, :f :txn, :value [[:r :x []] [:append :y 1]]}
{:type :ok, :process 1, :f :txn, :value [[:r :y []] [:append :x 1]]}
"#;

const SKEW_LINES: &str = r#"{"process":0,"type":"invoke","f":"txn","value":[["r","x",null],["append","y",1]]}
{"process":1,"type":"invoke","f":"txn","value":[["r","y",null],["append","x",1]]}
{"process":0,"type":"ok","f":"txn","value":[["r","x",[]],["append","y",1]]}
{"process":1,"type":"ok","f":"txn","value":[["r","y",[]],["append","x",1]]}
{"process":1,"type":"inv"#;

#[test]
fn transactions_are_judged_at_the_level_asked_for() {
    let program = Program::new();
    std::fs::write(program.folder.path().join("skew.edn"), SKEW).unwrap();
    std::fs::write(program.folder.path().join("skew.jsonl"), SKEW_LINES).unwrap();
    for file in ["skew.edn", "skew.jsonl"] {
        let said = program.run(&["check", file, "--model", "list-append"]);
        assert_eq!(said.code, 1, "{}{}", said.out, said.err);
        assert!(said.out.contains("G2-item"), "{}", said.out);
        assert!(said.out.contains("a contradiction"), "{}", said.out);
        let snapshots = [
            "check",
            file,
            "--model",
            "list-append",
            "--consistency",
            "snapshot-isolation",
            "--json",
        ];
        let said = program.run(&snapshots);
        assert_eq!(said.code, 0, "{}{}", said.out, said.err);
        let answer: Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!(answer["valid"], true);
    }
}

#[test]
fn levels_are_those_of_the_model() {
    let program = Program::new();
    std::fs::write(program.folder.path().join("h.edn"), SKEW).unwrap();
    for (model, level, named) in [
        ("list-append", "linearizable-ish", "strict-serializable"),
        ("register", "serializable", "sequential"),
    ] {
        let said = program.run(&["check", "h.edn", "--model", model, "--consistency", level]);
        assert_eq!(said.code, 254, "{}{}", said.out, said.err);
        assert!(said.err.contains(named), "{}", said.err);
    }
    let said = program.run(&["list", "models"]);
    assert!(
        said.out.contains("list-append") && said.out.contains("snapshot-isolation"),
        "{}",
        said.out
    );
    let said = program.run(&["check", "missing", "--model", "list-append"]);
    assert_eq!(said.code, 2, "{}", said.out);
    assert!(said.out.contains("missing"), "{}", said.out);
}

/// Each reads all rows, and does not see what the other inserts.
const PHANTOMS: &str = r#"{"process":0,"type":"invoke","f":"init","value":{"x":0}}
{"process":0,"type":"ok","f":"init","value":{"x":0}}
{"process":1,"type":"invoke","f":"txn","value":[["rp","true",null],["insert","y",1]]}
{"process":2,"type":"invoke","f":"txn","value":[["rp","true",null],["insert","z",1]]}
{"process":1,"type":"ok","f":"txn","value":[["rp","true",{"x":0}],["insert","y",1]]}
{"process":2,"type":"ok","f":"txn","value":[["rp","true",{"x":0}],["insert","z",1]]}
"#;

/// Two that each miss what the other adds.
const SETS: &str = r#"{"process":0,"type":"invoke","f":"txn","value":[["r","x",null],["add","y",1]]}
{"process":1,"type":"invoke","f":"txn","value":[["r","y",null],["add","x",1]]}
{"process":0,"type":"ok","f":"txn","value":[["r","x",[]],["add","y",1]]}
{"process":1,"type":"ok","f":"txn","value":[["r","y",[]],["add","x",1]]}
"#;

/// Two that each miss what the other adds to a counter.
const COUNTERS: &str = r#"{"process":0,"type":"invoke","f":"txn","value":[["r","x",null],["inc","y",1]]}
{"process":1,"type":"invoke","f":"txn","value":[["r","y",null],["inc","x",2]]}
{"process":0,"type":"ok","f":"txn","value":[["r","x",0],["inc","y",1]]}
{"process":1,"type":"ok","f":"txn","value":[["r","y",0],["inc","x",2]]}
"#;

/// The same, as Jepsen writes it.
const COUNTERS_EDN: &str = r"{:process 0, :type :invoke, :f :txn, :value [[:r :x nil] [:inc :y 1]]}
{:process 1, :type :invoke, :f :txn, :value [[:r :y nil] [:inc :x 2]]}
{:process 0, :type :ok, :f :txn, :value [[:r :x 0] [:inc :y 1]]}
{:process 1, :type :ok, :f :txn, :value [[:r :y 0] [:inc :x 2]]}
";

/// A read at 5 of what was committed at 6.
const STAMPED: &str = r#"{"process":0,"type":"invoke","f":"txn","value":[["w","x",1]]}
{"process":1,"type":"invoke","f":"txn","value":[["r","x",null]]}
{"process":0,"type":"ok","f":"txn","value":[["w","x",1],["timestamps",1,6]]}
{"process":1,"type":"ok","f":"txn","value":[["r","x",1],["timestamps",5,5]]}
"#;

#[test]
fn rows_sets_counters_and_timestamps_are_judged() {
    let program = Program::new();
    for (text, arguments, shows) in [
        (PHANTOMS, &["closed-predicate"][..], "serializable: G2;"),
        (SETS, &["set-add"], "G2-item"),
        (COUNTERS, &["counter-inc"], "G2-item"),
        (COUNTERS_EDN, &["counter-inc"], "G2-item"),
        (
            STAMPED,
            &[
                "rw-register",
                "--timestamps",
                "--consistency",
                "snapshot-isolation",
            ],
            "by its timestamps not snapshot-isolation: EXT",
        ),
    ] {
        std::fs::write(program.folder.path().join("h.jsonl"), text).unwrap();
        let said = program.run(&[&["check", "h.jsonl", "--model"], arguments].concat());
        assert_eq!(said.code, 1, "{}{}", said.out, said.err);
        assert!(said.out.contains(shows), "{}", said.out);
    }
    let said = program.run(&["check", "h.jsonl", "--model", "set-add", "--timestamps"]);
    assert_eq!(said.code, 2, "{}{}", said.out, said.err);
    assert!(said.out.contains("--timestamps is of"), "{}", said.out);
}

/// One reads x before another writes it, and then y after.
const FRACTURED: &str = r#"{"process":0,"type":"invoke","f":"txn","value":[["w","x",1],["w","y",1]]}
{"process":1,"type":"invoke","f":"txn","value":[["r","x",null],["r","y",null]]}
{"process":0,"type":"ok","f":"txn","value":[["w","x",1],["w","y",1]]}
{"process":1,"type":"ok","f":"txn","value":[["r","x",null],["r","y",1]]}
"#;

#[test]
fn registers_are_judged_in_every_format() {
    let program = Program::new();
    let files = [
        ("h.jsonl", FRACTURED.to_owned()),
        (
            "h.edn",
            FRACTURED
                .replace("\"process\":", ":process ")
                .replace("\"type\":\"", ":type :")
                .replace("\",\"f\":\"txn\",\"value\":", ", :f :txn, :value ")
                .replace("null", "nil"),
        ),
        (
            "h.plume",
            "w(1,1,0,0)\nw(2,1,0,0)\nr(1,0,1,1)\nr(2,1,1,1)\n".to_owned(),
        ),
        (
            "h.awdit",
            "w 1 0\nw 2 0\n=====\nw 1 1\nw 2 1\n=====\nr 1 0\nr 2 1\n".to_owned(),
        ),
    ];
    for (file, text) in files {
        std::fs::write(program.folder.path().join(file), text).unwrap();
        let check = |level: &str| {
            program.run(&[
                "check",
                file,
                "--model",
                "rw-register",
                "--consistency",
                level,
            ])
        };
        let said = check("read-atomic");
        assert_eq!(said.code, 1, "{file}: {}{}", said.out, said.err);
        assert!(said.out.contains("fractured-read"), "{}", said.out);
        let said = check("read-committed");
        assert_eq!(said.code, 0, "{file}: {}{}", said.out, said.err);
    }
}

/// They have no invocations, and what is imported has none either.
#[test]
fn texts_of_sessions_are_judged_the_same_when_they_are_imported() {
    let program = Program::new();
    for (file, text) in [
        ("stale.plume", "w(1,1,0,0)\nr(1,0,0,1)\n"),
        (
            "stale.awdit",
            "w 1 0\n=====\nw 1 1\n-----\nr 1 0\n-----\nr 1 1\n",
        ),
    ] {
        std::fs::write(program.folder.path().join(file), text).unwrap();
        let said = program.run(&["import", file, "--json"]);
        assert_eq!(said.code, 0, "{}", said.err);
        let told: Value = serde_json::from_str(&said.out).unwrap();
        let id = told["id"].as_str().unwrap();
        let check = |what: &str, level: &str| {
            let level = ["--model", "rw-register", "--consistency", level];
            program.run(&[&["check", what], &level[..]].concat())
        };
        for level in ["read-committed", "read-atomic", "causal"] {
            let (of_file, of_run) = (check(file, level), check(id, level));
            assert_eq!(
                of_file.code, of_run.code,
                "{file}: {}{}",
                of_run.out, of_run.err
            );
            assert_eq!(of_file.out.replace(file, id), of_run.out);
        }
        assert_eq!(check(id, "causal").code, 1, "{file}");
        // Each transaction is drawn, in the order of the text.
        for what in [file, id] {
            let level = ["--model", "rw-register", "--consistency", "causal"];
            let report = ["--report", "report.html"];
            program.run(&[&["check", what], &level[..], &report].concat());
            let page = std::fs::read_to_string(program.folder.path().join("report.html")).unwrap();
            assert!(page.contains("has no times"), "{what}");
            let drawn = page.matches("class=\"bar ").count();
            assert!(drawn >= 2, "{what}: {drawn}");
        }
        let said = program.run(&["lint", id]);
        assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    }
}

/// Sessions count in plume text.
#[test]
fn levels_of_plume_text_keep_to_sessions() {
    let program = Program::new();
    let stale = "w(1,1,0,0)\nr(1,0,0,1)\n";
    std::fs::write(program.folder.path().join("stale.plume"), stale).unwrap();
    let said = program.run(&[
        "check",
        "stale.plume",
        "--model",
        "rw-register",
        "--consistency",
        "read-atomic",
    ]);
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    assert!(
        said.out.contains("strong-session-read-atomic"),
        "{}",
        said.out
    );
}

/// An element that was acknowledged is missing, then comes back.
const LATE: &str = r#"{"process":0,"type":"invoke","f":"add","value":7}
{"process":0,"type":"ok","f":"add","value":7}
{"process":0,"type":"invoke","f":"read","value":null}
{"process":0,"type":"ok","f":"read","value":[]}
{"process":0,"type":"invoke","f":"read","value":null}
{"process":0,"type":"ok","f":"read","value":[7]}
"#;

/// Two accounts of which one holds less than nothing.
const ACCOUNTS: &str = r#"{:type :invoke, :process 0, :f :transfer, :value {:from 0, :to 1, :amount 12}}
{:type :ok, :process 0, :f :transfer, :value {:from 0, :to 1, :amount 12}}
{:type :invoke, :process 0, :f :read, :value nil}
{:type :ok, :process 0, :f :read, :value {0 -2, 1 22}}
"#;

#[test]
fn sets_and_accounts_are_judged() {
    let program = Program::new();
    let check = |text: &str, file: &str, arguments: &[&str]| {
        std::fs::write(program.folder.path().join(file), text).unwrap();
        let said = program.run(&[&["check", file, "--model"], arguments].concat());
        (said.code, said.out + &said.err)
    };
    let (code, said) = check(LATE, "h.jsonl", &["set-full"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("1 were not shown by some reads"), "{said}");
    let linearizable = ["set-full", "--consistency", "linearizable"];
    let (code, said) = check(LATE, "h.jsonl", &linearizable);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("Element 7 was read stale."), "{said}");
    let gone: String = LATE
        .lines()
        .take(4)
        .map(|line| format!("{line}\n"))
        .collect();
    let (code, said) = check(&gone, "h.jsonl", &["set-full"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("Element 7 is lost."), "{said}");

    let (code, said) = check(ACCOUNTS, "h.edn", &["bank"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("finds a balance of -2"), "{said}");
    let (code, said) = check(ACCOUNTS, "h.edn", &["bank", "--negative-balances"]);
    assert_eq!(code, 0, "{said}");
    let begun = [
        "bank",
        "--negative-balances",
        "--initial",
        r#"{"0":10,"1":11}"#,
    ];
    let (code, said) = check(ACCOUNTS, "h.edn", &begun);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("there are always 21"), "{said}");
    let (code, said) = check(ACCOUNTS, "h.edn", &["bank", "--initial", "7"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("--initial: a bank begins with"), "{said}");
}
