//! What is shown.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::read::GzDecoder;
use serde_json::{Value, json};
use store::RunFolder;

use super::client::{Server, results, run};
use crate::spec::testing::spec;

fn rows(text: &str) -> usize {
    text.matches("name=\"run\"").count()
}

#[test]
fn thousands_of_runs_are_paged_searched_filtered_and_sorted() {
    let server = Server::start();
    let verdicts = [json!(true), json!(false), json!("unknown")];
    for n in 0..5000u64 {
        let mut spec = spec(["sim", "etcd"][n as usize % 2], "register");
        spec.seed = n;
        spec.nemesis = ["none", "kill", "partition,kill"][n as usize % 3].to_owned();
        // Made plainly: five thousand runs that are synced take their time.
        let second = n / 60;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let name = format!(
            "{}-register/20261122T{hour:02}{minute:02}{second:02}.{:03}Z",
            spec.suite,
            n % 60
        );
        let path = server.root().join(name);
        fs::create_dir_all(&path).unwrap();
        fs::write(
            path.join("test.json"),
            serde_json::to_string(&spec).unwrap(),
        )
        .unwrap();
        let folder = RunFolder::open(&path).unwrap();
        let mut results = results(verdicts[n as usize % 3].clone(), &format!("reason {n}"));
        results["summary"]["rate"] = json!(n);
        results["summary"]["faults"] = json!({});
        fs::write(folder.results_path(), results.to_string()).unwrap();
        if n % 1000 == 0 {
            folder.write_labels(&["nightly".to_owned()]).unwrap();
        }
    }
    let api = |query: &str| server.get(&format!("/api/runs{query}")).json();
    let total = |query: &str| api(query)["total"].as_u64().unwrap();
    assert_eq!(total(""), 5000);
    let first = server.get("/").text();
    assert_eq!(rows(&first), 100);
    assert!(first.contains("Page 1 of 50"));
    let mut seen = std::collections::BTreeSet::new();
    for page in 1..=50 {
        for run in api(&format!("?page={page}"))["runs"].as_array().unwrap() {
            seen.insert(run["id"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(seen.len(), 5000, "each on one page");
    assert_eq!(api("?page=999")["page"], 50);
    assert_eq!(api("?page=0")["page"], 1);

    assert_eq!(total("?suite=etcd"), 2500);
    assert_eq!(total("?verdict=invalid"), 1667);
    assert_eq!(total("?verdict=invalid&verdict=valid"), 1667 + 1667);
    assert_eq!(total("?fault=kill"), 3333);
    assert_eq!(total("?fault=kill&fault=partition"), 1666);
    assert_eq!(total("?label=nightly"), 5);
    assert_eq!(total("?q=reason+4999"), 1);
    assert_eq!(total("?q=REASON+partition+4997"), 1);
    assert_eq!(total("?q=REASON+none+4997"), 0);
    assert_eq!(total("?to=2026-11-21"), 0);
    assert_eq!(total("?from=2026-11-23"), 0);
    assert_eq!(total("?from=2026-11-22&to=2026-11-22"), 5000);
    let rates = |query: &str| -> Vec<u64> {
        let runs = api(query)["runs"].as_array().unwrap().clone();
        runs.iter()
            .take(3)
            .map(|run| run["summary"]["rate"].as_f64().unwrap() as u64)
            .collect()
    };
    assert_eq!(rates("?sort=rate"), [4999, 4998, 4997]);
    assert_eq!(rates("?sort=rate&order=up"), [0, 1, 2]);
    assert_eq!(rates("?sort=started&order=up"), [0, 1, 2]);
    assert_eq!(
        rates("?sort=verdict&suite=sim"),
        [4996, 4990, 4984],
        "invalid first, newest first"
    );
    // What was chosen is in every link and field.
    let page = server
        .get("/?verdict=invalid&q=reason&sort=rate&page=2")
        .text();
    assert!(page.contains("Page 2 of 17") && page.contains("<option value=\"invalid\" selected>"));
    assert!(page.contains("verdict=invalid&amp;q=reason&amp;sort=rate&amp;page=3"));
    assert!(page.contains("aria-sort=\"descending\""));
}

#[test]
fn a_run_shows_what_is_known_of_it() {
    let server = Server::start();
    let folder = run(server.root(), 7, json!(false), "key 3 is not linearizable");
    folder.write_labels(&["issue 1742".to_owned()]).unwrap();
    folder.write_report("<p>the report</p>").unwrap();
    let bare = server.get(&format!("/runs/{}", folder.id()));
    assert_eq!(bare.status, 308);
    let page = server.get(&bare.headers["location"]).text();
    for told in [
        "invalid",
        "key 3 is not linearizable",
        "issue 1742",
        "--seed 7",
        "a test",
        "href=\"report.html\"",
        "test.json",
        "2 of 3",
        "linearizable",
    ] {
        assert!(page.contains(told), "{told}");
    }
    assert_eq!(
        server
            .get(&format!("/runs/{}/report.html", folder.id()))
            .text(),
        "<p>the report</p>"
    );
    let api = server.get(&format!("/api/runs/{}", folder.id())).json();
    assert_eq!(
        (
            &api["run"]["word"],
            &api["test"]["seed"],
            &api["checkers"][0]["valid"]
        ),
        (&json!("invalid"), &json!(7), &json!(false))
    );
}

#[test]
fn what_is_broken_is_told_and_breaks_nothing() {
    let server = Server::start();
    let half = run(server.root(), 1, json!(true), "");
    let text = fs::read_to_string(half.results_path()).unwrap();
    fs::write(half.results_path(), &text[..text.len() / 2]).unwrap();
    let no_spec = run(server.root(), 2, json!(true), "all is well");
    fs::write(no_spec.test_path(), "{\"format\": \"\\ud800\"}").unwrap();
    let deep = run(server.root(), 3, json!(true), "");
    fs::write(deep.results_path(), "[".repeat(1_000_000)).unwrap();
    let gone = run(server.root(), 4, json!(true), "");
    let torn = RunFolder::create(server.root(), "sim-register", &spec("sim", "register")).unwrap();
    let _hold = torn.hold().unwrap();
    fs::write(
        torn.history_path(),
        "{\"process\": 1, \"type\": \"nonsense\"}\n\0\0\0",
    )
    .unwrap();

    let list = server.get("/").text();
    assert_eq!(rows(&list), 5);
    assert_eq!(list.matches("results.json cannot be used").count(), 2);
    assert!(
        list.contains("test.json cannot be used")
            && !list.contains(&server.root().display().to_string())
    );
    for folder in [&half, &no_spec, &deep, &torn] {
        for page in [
            "",
            "live",
            "files/",
            "files/results.json",
            "files/test.json",
        ] {
            let answer = server.get(&format!("/runs/{}/{page}", folder.id()));
            assert!(
                [200, 404].contains(&answer.status),
                "{page}: {}",
                answer.status
            );
        }
        for other in [&half, &no_spec, &deep, &torn] {
            assert_eq!(
                server
                    .get(&format!("/compare?a={}&b={}", folder.id(), other.id()))
                    .status,
                200
            );
        }
        assert_eq!(
            server.get(&format!("/api/runs/{}", folder.id())).status,
            200
        );
    }
    assert!(
        server
            .get(&format!("/runs/{}/live", torn.id()))
            .text()
            .contains("The history is not followed any further")
    );
    assert_eq!(server.get("/trends").status, 200);
    // Between the list and the click.
    fs::remove_dir_all(gone.path()).unwrap();
    for page in [
        "/",
        "/files/",
        "/files/test.json",
        "/report.html",
        ".tar.gz",
    ] {
        let answer = server.get(&format!("/runs/{}{page}", gone.id()));
        assert_eq!(answer.status, 404, "{page}");
        assert!(!answer.text().contains(&server.root().display().to_string()));
    }
}

#[test]
fn two_runs_side_by_side() {
    let server = Server::start();
    let a = run(server.root(), 1, json!(true), "all is well");
    let b = run(server.root(), 2, json!(false), "a stale read");
    let mut slower = results(json!(false), "a stale read");
    slower["summary"]["rate"] = json!(45.0);
    slower["summary"]["faults"] = json!({"kill": {"times": 1, "proved": 0}});
    b.write_results(&slower).unwrap();
    for query in [
        format!("?a={}&b={}", a.id(), b.id()),
        format!("?run={}&run={}", a.id(), b.id()),
    ] {
        let page = server.get(&format!("/compare{query}")).text();
        for told in ["50 % less", "the same", "differs", "did not occur", "never"] {
            assert!(page.contains(told), "{told}");
        }
        // What differs comes first.
        let (seed, memory) = (
            page.find(">seed<").unwrap(),
            page.find(">check.memory<").unwrap(),
        );
        assert!(seed < memory);
    }
    for query in [
        "",
        "?a=00",
        &format!("?run={}", a.id()),
        "?run=a&run=b&run=c",
    ] {
        assert_eq!(
            server.get(&format!("/compare{query}")).status,
            400,
            "{query}"
        );
    }
    assert_eq!(server.get("/compare?a=00&b=11").status, 404);
}

#[test]
fn trends_count_flakes_of_the_same_specification() {
    let server = Server::start();
    for n in 0..8 {
        run(server.root(), n, json!(n % 4 != 0), "");
    }
    let mut other = spec("sim", "register");
    other.workers = 99;
    let other = RunFolder::create(server.root(), "sim-register", &other).unwrap();
    other.write_results(&results(json!("unknown"), "")).unwrap();
    let page = server.get("/trends?test=sim-register").text();
    let cells = |runs: u32, valid: u32, bad: u32, rate: &str| {
        format!(
            "<td class=\"n\">{runs}</td><td class=\"n\">{valid}</td><td class=\"n\">{bad}</td><td class=\"n\">{rate} %</td>"
        )
    };
    assert!(page.contains(&cells(8, 6, 2, "25")), "{page}");
    assert!(page.contains(&cells(1, 0, 1, "100")));
    assert_eq!(page.matches("class=\"mark ").count(), 9);
    assert_eq!(page.matches("mark invalid").count(), 2);
}

#[test]
fn large_files_are_shown_in_parts_and_sent_whole() {
    let server = Server::start();
    let folder = run(server.root(), 1, json!(true), "");
    let text: String = (0..40_000).map(|n| format!("line {n:06}\n")).collect();
    fs::write(folder.path().join("big.log"), &text).unwrap();
    fs::write(folder.path().join("core"), [0u8; 1000]).unwrap();
    let file = format!("/runs/{}/files/big.log", folder.id());
    let page = server.get(&file);
    assert!(page.body.len() < 80 << 10, "{}", page.body.len());
    let shown = page.text();
    assert!(
        shown.contains("line 000000")
            && shown.contains("line 039999")
            && !shown.contains("line 020000")
    );
    // Every byte is on a page.
    let mut read = String::new();
    let mut from = 0;
    loop {
        let page = server.get(&format!("{file}?from={from}")).text();
        let begin = page.find("<pre").unwrap();
        let part = &page[begin..page.find("</pre>").unwrap()];
        read += &part[part.find('>').unwrap() + 1..];
        match page.contains("rel=\"next\"") {
            true => from += 64 << 10,
            false => break,
        }
    }
    assert_eq!(read, text);
    for odd in [
        "?from=99999999999999",
        "?from=x",
        "?from=-1",
        "?from=479999",
    ] {
        assert_eq!(server.get(&format!("{file}{odd}")).status, 200, "{odd}");
    }
    let whole = server.get(&format!("{file}?raw"));
    assert_eq!(whole.headers["content-length"], text.len().to_string());
    assert!(whole.text() == text);
    assert!(
        server
            .get(&format!("/runs/{}/files/core", folder.id()))
            .text()
            .contains("This is no text")
    );
}

#[test]
fn a_download_that_broke_goes_on_where_it_ended() {
    let server = Server::start();
    let folder = run(server.root(), 1, json!(true), "");
    fs::write(folder.path().join("a.log"), "0123456789").unwrap();
    fs::write(folder.path().join("report.html"), "<p>report</p>").unwrap();
    let file = format!("/runs/{}/files/a.log?raw", folder.id());
    let whole = server.get(&file);
    assert_eq!((whole.status, whole.text().as_str()), (200, "0123456789"));
    assert_eq!(whole.headers["accept-ranges"], "bytes");
    let rest = server.get_with(&file, &["Range: bytes=4-"]);
    assert_eq!((rest.status, rest.text().as_str()), (206, "456789"));
    assert_eq!(rest.headers["content-range"], "bytes 4-9/10");
    assert_eq!(rest.headers["content-length"], "6");
    let beyond = server.get_with(&file, &["Range: bytes=10-"]);
    assert_eq!((beyond.status, beyond.text().as_str()), (416, ""));
    assert_eq!(beyond.headers["content-range"], "bytes */10");
    let report = format!("/runs/{}/report.html", folder.id());
    let part = server.get_with(&report, &["Range: bytes=3-8"]);
    assert_eq!((part.status, part.text().as_str()), (206, "report"));
}

#[test]
fn nobody_who_takes_nothing_keeps_a_connection() {
    let server = Server::waiting(Duration::from_millis(300));
    let folder = run(server.root(), 1, json!(true), "");
    let size = 64 << 20;
    let big = fs::File::create(folder.path().join("big.log")).unwrap();
    big.set_len(size).unwrap();
    let get = format!("GET /runs/{}/files/big.log?raw HTTP/1.1", folder.id());
    let mut stream = server.send(&[&get, "Host: localhost", "Connection: close"]);
    std::thread::sleep(Duration::from_secs(2));
    let mut body = Vec::new();
    // Cut off, or ended before its time.
    let _ = stream.read_to_end(&mut body);
    assert!(
        !body.is_empty() && (body.len() as u64) < size,
        "{}",
        body.len()
    );
    // Whoever reads, slowly as it may be, gets all.
    let mut stream = server.send(&[&get, "Host: localhost", "Connection: close"]);
    let (mut piece, mut read) = (vec![0; 1 << 20], 0);
    loop {
        let some = stream.read(&mut piece).unwrap();
        read += some as u64;
        if some == 0 {
            break;
        }
        if read.is_multiple_of(8 << 20) {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    assert!(read > size, "{read}");
}

#[test]
fn the_beginning_of_an_id_is_enough() {
    let server = Server::start();
    run(server.root(), 2, json!(true), "");
    let folder = run(server.root(), 1, json!(true), "");
    let (id, stamp) = (folder.id(), folder.stamp());
    for text in [&id[..6], &id, stamp.as_str()] {
        let page = server.get(&format!("/runs/{text}/"));
        assert_eq!(page.status, 200, "{text}");
        assert!(page.text().contains(&id), "{text}");
    }
    let year = &stamp[..4];
    let several = server.get(&format!("/api/runs/{year}"));
    assert_eq!(several.status, 400);
    let error = several.json()["error"].as_str().unwrap().to_owned();
    assert!(error.contains("several runs begin with"), "{error}");
}

/// The files below a folder, links left out.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                let name = entry.path().strip_prefix(folder).unwrap().to_owned();
                found.insert(name, fs::read(entry.path()).unwrap());
            }
        }
    }
    found
}

#[test]
fn an_archive_is_the_run() {
    let server = Server::start();
    let folder = run(server.root(), 1, json!(true), "");
    fs::create_dir_all(folder.path().join("n1/data/deep")).unwrap();
    fs::write(
        folder.path().join("n1/data/deep/log"),
        "x".repeat(3_000_000),
    )
    .unwrap();
    fs::write(
        folder.path().join(format!("n1/{}", "long-".repeat(40))),
        "long",
    )
    .unwrap();
    fs::write(folder.path().join("a\nb"), "newline").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
    nix::unistd::mkfifo(&folder.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let answer = server.get(&format!("/runs/{}.tar.gz", folder.id()));
    assert_eq!(answer.headers["content-type"], "application/gzip");
    assert!(
        answer.headers["content-disposition"]
            .contains(&format!("sim-register-{}.tar.gz", folder.stamp()))
    );
    let mut bytes = Vec::new();
    GzDecoder::new(answer.body.as_slice())
        .read_to_end(&mut bytes)
        .unwrap();
    let unpacked = tempfile::tempdir().unwrap();
    tar::Archive::new(bytes.as_slice())
        .unpack(unpacked.path())
        .unwrap();
    let inner = unpacked
        .path()
        .join(format!("sim-register-{}", folder.stamp()));
    assert_eq!(contents(&inner), contents(folder.path()));
    assert!(!inner.join("link").exists() && !inner.join("pipe").exists());
}

#[test]
fn a_run_that_does_not_exist_is_missing_everywhere() {
    let server = Server::start();
    assert!(server.get("/").text().contains("There are no runs"));
    for page in [
        "/runs/xyz",
        "/runs/xyz/",
        "/runs/xyz/live",
        "/runs/xyz/events",
        "/runs/xyz/files/",
        "/runs/xyz.tar.gz",
        "/runs/",
        "/x",
    ] {
        assert_eq!(server.get(page).status, 404, "{page}");
    }
    let api = server.get("/api/runs/xyz");
    assert_eq!(api.status, 404);
    assert!(
        api.json()["error"]
            .as_str()
            .unwrap()
            .contains("no run \"xyz\"")
    );
    let none: Value = server.get("/api/runs").json();
    assert_eq!(none["total"], 0);
}
