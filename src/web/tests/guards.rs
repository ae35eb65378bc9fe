//! What attackers try.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use nix::sys::stat::Mode;
use serde_json::json;

use super::client::{Server, results, run};
use crate::spec::testing::spec;

const SECRET: &str = "the secret outside of the store";

#[test]
fn no_path_leads_out_of_a_run() {
    let server = Server::start();
    let folder = run(server.root(), 1, json!(true), "");
    let other = run(server.root(), 2, json!(true), "");
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), SECRET).unwrap();
    fs::write(server.root().join("secret"), SECRET).unwrap();
    fs::write(other.path().join("secret"), SECRET).unwrap();
    let inside = folder.path();
    fs::create_dir(inside.join("n1")).unwrap();
    fs::write(inside.join("n1/db.log"), "fine").unwrap();
    symlink(outside.path(), inside.join("link")).unwrap();
    symlink(outside.path().join("secret"), inside.join("file-link")).unwrap();
    symlink("../..", inside.join("n1/up")).unwrap();
    symlink("n1/db.log", inside.join("within")).unwrap();
    nix::unistd::mkfifo(&inside.join("pipe"), Mode::S_IRWXU).unwrap();

    let base = format!("/runs/{}/files", folder.id());
    let absolute = outside.path().display().to_string();
    let encoded = absolute.replace('/', "%2f");
    let attempts = [
        "/../../secret".to_owned(),
        "/../secret".to_owned(),
        "/n1/../../../secret".to_owned(),
        "/%2e%2e/%2e%2e/secret".to_owned(),
        "/%2E%2E/secret".to_owned(),
        "/.%2e/secret".to_owned(),
        "/..%2f..%2fsecret".to_owned(),
        "/n1%2f..%2f..%2f..%2fsecret".to_owned(),
        "/%252e%252e/%252e%252e/secret".to_owned(),
        "/..%252fsecret".to_owned(),
        "/..\\..\\secret".to_owned(),
        "/..%5c..%5csecret".to_owned(),
        format!("/{absolute}/secret"),
        format!("/{encoded}%2fsecret"),
        format!("//{absolute}/secret"),
        "/link/secret".to_owned(),
        "/link/".to_owned(),
        "/file-link".to_owned(),
        "/file-link?raw".to_owned(),
        "/n1/up/secret".to_owned(),
        "/within".to_owned(),
        "/pipe".to_owned(),
        "/pipe?raw".to_owned(),
        "/n1/db.log%00.txt".to_owned(),
        "/%00".to_owned(),
        "/./n1/db.log".to_owned(),
        "/n1//db.log".to_owned(),
        "/n1/db.log/x".to_owned(),
        "/%c0%ae%c0%ae/secret".to_owned(),
        format!("/../{}/secret", other.stamp()),
    ];
    for attempt in &attempts {
        let answer = server.get(&format!("{base}{attempt}"));
        assert!(
            [400, 404].contains(&answer.status),
            "{attempt}: {}",
            answer.status
        );
        assert!(!answer.text().contains(SECRET), "{attempt}");
    }
    for path in [
        "/files/../secret",
        "/runs/../secret",
        "/secret",
        "/runs/..%2fsecret/",
        "/runs/%2e%2e/files/secret",
        "/style.css/../secret",
    ] {
        let answer = server.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert!(!answer.text().contains(SECRET), "{path}");
    }
    // The run itself is there, and its links are only named.
    assert_eq!(server.get(&format!("{base}/n1/db.log?raw")).text(), "fine");
    let listed = server.get(&format!("{base}/")).text();
    assert!(
        listed.contains("file-link")
            && listed.contains("not followed")
            && !listed.contains("file-link?raw")
    );
}

#[test]
fn a_run_that_is_swapped_for_a_link_is_not_followed() {
    let server = Server::start();
    let folder = run(server.root(), 1, json!(true), "");
    let page = format!("/runs/{}/files/test.json?raw", folder.id());
    assert_eq!(server.get(&page).status, 200);
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("test.json"), SECRET).unwrap();
    fs::remove_dir_all(folder.path()).unwrap();
    symlink(outside.path(), folder.path()).unwrap();
    // Now it is still in the catalog; a second later it is not.
    let answer = server.get(&page);
    assert!([400, 404].contains(&answer.status));
    assert!(!answer.text().contains(SECRET));
}

#[test]
fn names_that_are_hardly_names_are_served() {
    let server = Server::start();
    let folder = run(server.root(), 1, json!(true), "");
    let names: [(&[u8], &str); 5] = [
        (b"a\nb", "a%0Ab"),
        (b"\xff\xfe", "%FF%FE"),
        (
            b"<img src=x onerror=alert(1)>",
            "%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E",
        ),
        (b"..hidden", "..hidden"),
        (b"%2e%2e", "%252e%252e"),
    ];
    let base = format!("/runs/{}/files/", folder.id());
    for (name, address) in names {
        fs::write(folder.path().join(std::ffi::OsStr::from_bytes(name)), name).unwrap();
        let answer = server.get(&format!("{base}{address}?raw"));
        assert_eq!((answer.status, answer.body.as_slice()), (200, name));
        let sent = &answer.headers["content-disposition"];
        assert!(
            sent.is_ascii() && !sent.contains(['\n', '<', '"']),
            "{sent}"
        );
    }
    let listed = server.get(&base);
    assert!(!listed.text().contains("<img"));
    assert!(listed.text().contains(&format!("href=\"{base}a%0Ab\"")));
}

#[test]
fn only_whoever_knows_the_token_sees_anything() {
    let token = "0123456789abcdef0123456789abcdef";
    let server = Server::guarded(token);
    let folder = run(server.root(), 1, json!(false), "a stale read");
    let cookie = format!("gainsay-{}", server.address.port());
    let pages = [
        "/",
        "/style.css",
        "/api/runs",
        &format!("/runs/{}/", folder.id()),
        &format!("/runs/{}/events", folder.id()),
        "/nothing",
    ];
    for page in pages {
        let wrong = [
            vec![],
            vec!["Authorization: Bearer wrong".to_owned()],
            vec![format!("Authorization: Basic {token}")],
            vec![format!("Authorization: Bearer {token}x")],
            vec![format!("Authorization: Bearer {}", &token[..31])],
            vec![format!("Cookie: {cookie}=wrong")],
            vec![format!("Cookie: other={token}")],
            vec![format!("Cookie: {cookie}=")],
        ];
        for headers in wrong {
            let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
            let answer = server.get_with(page, &headers);
            assert_eq!(answer.status, 401, "{page} {headers:?}");
            assert!(answer.headers["www-authenticate"].starts_with("Bearer"));
            assert!(!answer.text().contains("stale"));
        }
        assert_eq!(server.get(&format!("{page}?token=wrong")).status, 401);
        assert_eq!(server.get(&format!("{page}?token=")).status, 401);
    }
    let bearer = format!("Authorization: Bearer {token}");
    assert!(
        server
            .get_with("/", &[&bearer])
            .text()
            .contains("a stale read")
    );

    // A browser comes once with the token in the address.
    let entered = server.get(&format!("/trends?test=sim-register&token={token}"));
    assert_eq!(entered.status, 303);
    assert_eq!(entered.headers["location"], "/trends?test=sim-register");
    let set = &entered.headers["set-cookie"];
    assert!(
        set.contains("HttpOnly") && set.contains("SameSite=Strict") && set.contains("Path=/"),
        "{set}"
    );
    assert_eq!(entered.headers["referrer-policy"], "no-referrer");
    let kept = format!("Cookie: theme=dark; {}", set.split(';').next().unwrap());
    assert_eq!(server.get_with("/", &[&kept]).status, 200);
    assert_eq!(
        server.get(&format!("/?token={token}")).headers["location"],
        "/"
    );
    // Not to another host, however the path is written.
    assert_eq!(
        server
            .get(&format!("//evil.example/?token={token}"))
            .headers["location"],
        "/evil.example/"
    );
}

#[test]
fn pages_of_other_names_are_not_answered() {
    let server = Server::start();
    run(server.root(), 1, json!(false), "a stale read");
    let ask = |hosts: &[&str]| {
        let mut lines = vec!["GET / HTTP/1.1", "Connection: close"];
        lines.extend(hosts);
        server.ask(&lines)
    };
    for host in [
        "Host: localhost",
        "Host: 127.0.0.1:1",
        "Host: [::1]:80",
        "Host: ci.example",
    ] {
        assert_eq!(ask(&[host]).status, 200, "{host}");
    }
    for hosts in [
        &["Host: evil.example"][..],
        &["Host: localhost.evil.example:8080"],
        &["Host:"],
        &["Host: localhost", "Host: evil.example"],
        &[],
    ] {
        let answer = ask(hosts);
        assert!(
            [400, 421].contains(&answer.status),
            "{hosts:?}: {}",
            answer.status
        );
        assert!(!answer.text().contains("stale"));
    }
}

#[test]
fn nothing_is_changed_through_it() {
    let server = Server::start();
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
        let answer = server.ask(&[
            &format!("{method} / HTTP/1.1"),
            "Host: localhost",
            "Connection: close",
            "Content-Length: 0",
        ]);
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.headers["allow"], "GET, HEAD");
    }
    let head = server.ask(&["HEAD / HTTP/1.1", "Host: localhost", "Connection: close"]);
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[test]
fn what_is_too_large_is_refused() {
    let server = Server::start();
    let long = "x".repeat(20_000);
    assert_eq!(server.get(&format!("/?q={long}")).status, 414);
    let header = format!("X-Long: {}", "x".repeat(100_000));
    assert_eq!(server.get_with("/", &[&header]).status, 431);
    let many: Vec<String> = (0..200).map(|n| format!("X-{n}: 1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(server.get_with("/", &many).status, 431);
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn every_answer_says_what_a_browser_may_do_with_it() {
    let server = Server::start();
    let folder = run(server.root(), 1, json!(true), "");
    folder
        .write_report("<script>alert(document.cookie)</script>")
        .unwrap();
    fs::write(folder.path().join("page.html"), "<script>alert(1)</script>").unwrap();
    let run = format!("/runs/{}", folder.id());
    let paths = [
        "/".to_owned(),
        "/trends".to_owned(),
        "/compare".to_owned(),
        "/nothing".to_owned(),
        "/style.css".to_owned(),
        "/live.js".to_owned(),
        "/api/runs".to_owned(),
        format!("/api{run}"),
        format!("{run}/"),
        run.clone(),
        format!("{run}/live"),
        format!("{run}/events"),
        format!("{run}/files/"),
        format!("{run}/files/page.html"),
        format!("{run}/files/page.html?raw"),
        format!("{run}/files/.."),
        format!("{run}.tar.gz"),
        format!("{run}/report.html"),
    ];
    for path in &paths {
        let answer = server.get(path);
        let header = |name: &str| {
            answer
                .headers
                .get(name)
                .unwrap_or_else(|| panic!("{path}: no {name}"))
        };
        let policy = header("content-security-policy");
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{path}"
        );
        let own = !path.ends_with("report.html");
        assert_eq!(!policy.contains("unsafe"), own, "{path}");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert_eq!(header("x-frame-options"), "DENY");
        assert_eq!(header("cross-origin-resource-policy"), "same-origin");
    }
    let report = server.get(&format!("{run}/report.html"));
    let policy = &report.headers["content-security-policy"];
    assert!(
        policy.starts_with("sandbox ")
            && !policy.contains("allow-same-origin")
            && !policy.contains("connect-src"),
        "{policy}"
    );
    let raw = server.get(&format!("{run}/files/page.html?raw"));
    assert_eq!(raw.headers["content-type"], "text/plain; charset=utf-8");
    assert!(raw.headers["content-security-policy"].starts_with("sandbox;"));
    assert!(raw.headers["content-disposition"].starts_with("attachment"));
}

#[test]
fn nothing_of_what_a_run_contains_is_executed() {
    let evil = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'><svg/onload=alert(3)>";
    let server = Server::start();
    let root = server.root();
    let mut hostile = spec("sim", "register");
    hostile.suite = evil.to_owned();
    hostile.workload = evil.to_owned();
    hostile.nemesis = evil.to_owned();
    hostile.started = evil.to_owned();
    hostile.command = vec![evil.to_owned()];
    hostile.gainsay = evil.to_owned();
    // A folder's name cannot have a slash; this one is as bad as they come.
    let test = "<img src=x onerror=alert(4)>\"'";
    let folder = store::RunFolder::create(root, test, &hostile).unwrap();
    let mut bad = results(json!(false), evil);
    bad["claim"] = json!({"model": evil, "source": evil});
    bad["harness_failure"] = evil.into();
    bad["notes"] = json!([evil]);
    bad["checkers"][0]["checker"] = evil.into();
    bad["summary"]["by_function"] = json!({evil: {"ok": 1, "fail": 1, "info": 1}});
    bad["summary"]["faults"] = json!({evil: {"times": 1, "proved": 1}});
    folder.write_results(&bad).unwrap();
    folder
        .write_labels(&[
            "<script>alert(1)</script>".to_owned(),
            "\"><img src=x>".to_owned(),
        ])
        .unwrap();
    fs::create_dir(folder.path().join("<b>n1")).unwrap();
    fs::write(folder.path().join("<b>n1/<script>.log"), evil).unwrap();
    fs::write(folder.log_path(), evil).unwrap();
    let going_on = store::RunFolder::create(root, test, &hostile).unwrap();
    let _hold = going_on.hold().unwrap();
    fs::write(going_on.log_path(), evil).unwrap();
    let line = |kind: &str, process: serde_json::Value, f: &str, extra: serde_json::Value| {
        let mut event = json!({"process": process, "type": kind, "f": f, "value": evil});
        event
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        event.to_string() + "\n"
    };
    let lines = [
        line("invoke", json!(0), evil, json!({})),
        line(
            "info",
            json!(0),
            evil,
            json!({"error": [evil, evil], "node": evil}),
        ),
        line(
            "invoke",
            json!(format!("nemesis/{evil}")),
            "start",
            json!({}),
        ),
        line(
            "info",
            json!(format!("nemesis/{evil}")),
            "start",
            json!({"value": {"targets": [evil]}}),
        ),
    ];
    fs::write(going_on.history_path(), lines.concat()).unwrap();
    let corrupt = store::RunFolder::create(root, test, &hostile).unwrap();
    fs::write(corrupt.results_path(), format!("{{\"valid\": {evil}")).unwrap();
    fs::write(corrupt.labels_path(), json!({evil: evil}).to_string()).unwrap();

    let query = form_urlencoded::byte_serialize(evil.as_bytes()).collect::<String>();
    let one = format!("/runs/{}", folder.id());
    let paths = [
        "/".to_owned(),
        format!("/?q={query}&suite={query}&sort={query}&label={query}&from={query}&page={query}"),
        "/?sort=faults&verdict=invalid".to_owned(),
        "/trends".to_owned(),
        format!("/trends?test={query}"),
        format!("/compare?a={}&b={}", folder.id(), going_on.id()),
        format!("/compare?a={query}&b={query}"),
        format!("{one}/"),
        format!("{one}/files/"),
        format!("{one}/files/%3Cb%3En1/"),
        format!("{one}/files/%3Cb%3En1/%3Cscript%3E.log"),
        format!("{one}/files/results.json"),
        format!("{one}/files/%3Cscript%3E"),
        format!("{one}/live"),
        format!("/runs/{}/live", going_on.id()),
        format!("/runs/{}/", going_on.id()),
        format!("/runs/{}/", corrupt.id()),
        "/%3Cscript%3Ealert(1)%3C/script%3E".to_owned(),
        "/runs/%3Cscript%3E/".to_owned(),
    ];
    let mut seen = 0;
    for path in &paths {
        let text = server
            .get(path)
            .text()
            .replace("<script src=\"/live.js\" defer></script>", "");
        for harm in [
            "<script",
            "<img",
            "<svg/",
            "<b>",
            "onerror=alert(2)>",
            " style=",
            "javascript:",
        ] {
            assert!(!text.contains(harm), "{path}: {harm} in {text}");
        }
        seen += text.matches("&lt;script&gt;alert(1)").count();
    }
    // It was shown, and as text.
    assert!(seen > 20, "{seen}");
    let mut events = server.send(&[
        &format!("GET /runs/{}/events HTTP/1.1", going_on.id()),
        "Host: localhost",
    ]);
    super::client::head(&mut events);
    let first = String::from_utf8(super::client::chunk(&mut events).unwrap()).unwrap();
    assert!(
        first.contains("&lt;script&gt;") && !first.contains("<script") && !first.contains("<img")
    );
    // As JSON it is what it is, and no browser takes it for a page.
    let api = server.get("/api/runs");
    assert_eq!(api.headers["content-type"], "application/json");
    assert!(
        api.json()["runs"]
            .as_array()
            .unwrap()
            .iter()
            .any(|run| run["reason"] == evil)
    );
}
