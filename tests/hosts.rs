//! Which hosts requests are answered for, and which requests see the whole list of handlers.

use std::time::Duration;

use crate::harness::server::{Server, opening, status_of};
use crate::harness::site::Site;
use crate::harness::within;

fn get(path: &str, lines: &str) -> String {
    format!("GET {path} HTTP/1.1\r\n{lines}\r\n")
}

/// An opening handshake for this host, from a page of that host.
fn opening_for(host: &str) -> String {
    let origin = format!("Origin: http://{host}\r\n");
    opening("/echo", &origin).replace("Host: localhost", &format!("Host: {host}"))
}

/// Returns what a log line says behind these words, up to its first field.
fn advice(line: &str, field: &str) -> String {
    let rest = line.split("to allow it: ").nth(1).expect("an advice");
    rest.split(field).next().expect("it").to_owned()
}

#[test]
fn a_name_that_was_made_to_lead_here_is_answered_for_nowhere_until_it_is_listed() {
    let site = Site::with(&["echo_wsh"]);
    site.write("www/index.html", "the index");
    let www = site.root().join("www");
    let server = Server::builder(&site).arg("-d").arg(www).start();
    let evil = format!("evil.example:{}", server.port());

    let host = format!("Host: {evil}\r\n");
    for request in [
        opening_for(&evil),
        opening("/nowhere", "").replace("localhost", &evil),
        get("/", &host),
        get("/nothing", &host),
        get("/echo", &host),
        get("/.wshd/handlers.json", &host),
        get("/.wshd/dev", &host),
        get("/.wshd/dev.js", &host),
        // The host of an absolute target counts, not `Host`.
        get(&format!("http://{evil}/"), "Host: localhost\r\n"),
        get("/", &host).replace("HTTP/1.1", "HTTP/1.0"),
    ] {
        let answer = server.exchange(request.as_bytes());
        assert_eq!(status_of(&answer), 421, "{request}: {answer}");
        assert!(
            !answer.contains("echo") && !answer.contains("the index"),
            "{answer}"
        );
    }
    for host in ["localhost", "app.localhost:1", "127.0.0.1", "[::1]:9998"] {
        assert_eq!(
            status_of(&server.exchange(opening_for(host).as_bytes())),
            101,
            "{host}"
        );
    }
    let absolute = get("http://localhost/", &format!("Host: {evil}\r\n"));
    assert_eq!(status_of(&server.exchange(absolute.as_bytes())), 200);

    // The log says what to write, and into which file, though no such file is there.
    server.line(&["handshake refused", "status=421", "`hosts`"]);
    let line = server.line(&["WARN", "host refused", "to allow it: "]);
    let file = site.root().join("config.toml");
    let expected = format!(
        "hosts = [\"evil.example\"] above the first table of {}",
        file.display()
    );
    assert_eq!(advice(&line, " host="), expected);
    site.write("config.toml", "hosts = [\"evil.example\"]\n");
    within(Duration::from_secs(5), "the file is seen", || {
        status_of(&server.exchange(opening_for(&evil).as_bytes())) == 101
    });
    server.line(&["a configuration file has appeared", "config.toml"]);
    let other = opening_for("other.example");
    assert_eq!(status_of(&server.exchange(other.as_bytes())), 421);
    server.line(&["to allow it: hosts = [\"evil.example\", \"other.example\"] above"]);
}

#[test]
fn a_request_has_one_host_that_is_one() {
    let site = Site::with(&["echo_wsh"]);
    site.write("www/index.html", "the index");
    let www = site.root().join("www");
    let server = Server::builder(&site).arg("-d").arg(www).start();

    for (lines, status) in [
        ("Host: localhost\r\n", 200),
        ("Host: localhost:1\r\n", 200),
        ("Host: localhost.\r\n", 200),
        ("", 400),
        ("Host:\r\n", 400),
        ("Host: localhost\r\nHost: localhost\r\n", 400),
        ("Host: localhost\r\nHost:\r\n", 400),
        ("Host: local host\r\n", 400),
        ("Host: user@localhost\r\n", 400),
        ("Host: localhost/\r\n", 400),
        ("Host: localhost:port\r\n", 400),
        ("Host: [::1\r\n", 400),
        ("Host: loc\u{e4}lhost\r\n", 400),
    ] {
        for path in ["/", "/.wshd/handlers.json"] {
            let answer = server.exchange(get(path, lines).as_bytes());
            assert_eq!(status_of(&answer), status, "{lines:?}: {answer}");
        }
        let upgrade = opening("/echo", "").replace("Host: localhost\r\n", lines);
        let expected = if status == 200 { 101 } else { status };
        let answer = server.exchange(upgrade.as_bytes());
        assert_eq!(status_of(&answer), expected, "{lines:?}: {answer}");
    }
    // HTTP/1.0 requires no `Host`, and no browser speaks it.
    let old = get("/", "").replace("HTTP/1.1", "HTTP/1.0");
    assert_eq!(status_of(&server.exchange(old.as_bytes())), 200);
    let upgrade_to = |authority: &str| {
        let target = format!("ws://{authority}/echo");
        let answer = server.exchange(opening(&target, "").as_bytes());
        status_of(&answer)
    };
    assert_eq!(upgrade_to("localhost"), 101);
    assert_eq!(upgrade_to("user@localhost"), 400);
    assert_eq!(upgrade_to("evil.example"), 421);
}

#[test]
fn a_flag_or_a_variable_lists_hosts_and_is_what_the_advice_names() {
    let site = Site::with(&["echo_wsh"]);
    site.write("config.toml", "hosts = [\"unheard.example\"]\n");
    let ask =
        |server: &Server, host: &str| status_of(&server.exchange(opening_for(host).as_bytes()));

    let flag = ["--hosts", "a.example,*.b.example"];
    let server = Server::builder(&site).args(flag).start();
    assert_eq!(
        (ask(&server, "a.example"), ask(&server, "x.b.example:1")),
        (101, 101)
    );
    assert_eq!(
        (ask(&server, "unheard.example"), ask(&server, "b.example")),
        (421, 421)
    );
    server.line(&["to allow it: --hosts a.example,*.b.example,unheard.example host="]);

    let advised = "a.example,*.b.example,unheard.example";
    let server = Server::builder(&site).env("WSHD_HOSTS", advised).start();
    assert_eq!(ask(&server, "unheard.example"), 101);
    assert_eq!(ask(&server, "c.example"), 421);
    server.line(&[&format!(
        "to allow it: WSHD_HOSTS={advised},c.example host="
    )]);

    let server = Server::builder(&site).args(["--hosts", "any"]).start();
    assert_eq!(ask(&server, "c.example"), 101);
}

#[test]
fn a_request_through_a_proxy_sees_what_strangers_see_and_a_key_turns_the_list_off() {
    let site = Site::with(&["echo_wsh"]);
    site.write("config.toml", "hosts = [\"example.com\"]\n");
    site.add_bytes(b"no library", "bad_wsh.so");
    let server = Server::start(&site);
    let list = |lines: &str, version: &str| {
        let request = get("/.wshd/handlers.json", lines).replace("HTTP/1.1", version);
        server.exchange(request.as_bytes())
    };

    let here = list("Host: localhost\r\n", "HTTP/1.1");
    assert!(
        here.contains("\"refusal\"") && here.contains("\"toolchain\""),
        "{here}"
    );
    for (lines, version) in [
        (
            "Host: localhost\r\nX-Forwarded-For: 192.0.2.1\r\n",
            "HTTP/1.1",
        ),
        (
            "Host: localhost\r\nForwarded: for=192.0.2.1\r\n",
            "HTTP/1.1",
        ),
        ("Host: localhost\r\nX-Real-IP: 192.0.2.1\r\n", "HTTP/1.1"),
        ("Host: localhost\r\nVia: 1.1 proxy\r\n", "HTTP/1.1"),
        (
            "Host: localhost\r\nCF-Connecting-IP: 192.0.2.1\r\n",
            "HTTP/1.1",
        ),
        ("Host: example.com\r\n", "HTTP/1.1"),
        ("Host: localhost\r\n", "HTTP/1.0"),
    ] {
        let there = list(lines, version);
        assert_eq!(status_of(&there), 200, "{there}");
        assert!(there.contains("\"/echo\""), "{there}");
        for secret in ["refusal", "toolchain", "generations", "bad"] {
            assert!(!there.contains(secret), "{lines}: {there}");
        }
    }

    let report = |host: &str| server.exchange(get("/.wshd/engine.json", host).as_bytes());
    assert!(report("Host: localhost\r\n").contains("history_bytes_max"));
    let there = report("Host: localhost\r\nX-Forwarded-For: 10.0.0.1\r\n");
    let told = r#"{"kind":"local","shared":{"members":0,"topics":0},"status":"reachable"}"#;
    assert!(there.ends_with(told), "{there}");

    site.write("config.toml", "handlers_json = false\n");
    within(Duration::from_secs(5), "the list is off", || {
        status_of(&list("Host: localhost\r\n", "HTTP/1.1")) == 404
    });
    assert_eq!(status_of(&report("Host: localhost\r\n")), 404);
}
