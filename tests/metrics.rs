//! The page of metrics: what Prometheus reads of a server that runs.

mod messages;

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::harness::client::Raw;
use crate::harness::client_frame::frame;
use crate::harness::eventually;
use crate::harness::patch::versioned;
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::tls::Tls;

/// The samples of a page, by their names and labels as they stand.
struct Page(BTreeMap<String, f64>);

impl Page {
    #[track_caller]
    fn of(server: &Server) -> Page {
        Page::read(&text(server, ""))
    }

    fn read(text: &str) -> Page {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            (name.to_owned(), value.parse().expect("a number"))
        });
        Page(samples.collect())
    }

    /// The value of a sample; 0 if it is absent.
    fn value(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(0.0)
    }
}

/// Fetches the page with more header lines.
#[track_caller]
fn text(server: &Server, lines: &str) -> String {
    let answer = get(server, "GET", lines);
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let kind = "Content-Type: text/plain; version=0.0.4; charset=utf-8";
    assert!(head.contains(kind), "{head}");
    body.to_owned()
}

fn get(server: &Server, method: &str, lines: &str) -> String {
    let request = format!("{method} /.wshd/metrics HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n");
    server.exchange(request.as_bytes())
}

/// Waits until samples have these values.
#[track_caller]
fn shows(server: &Server, expected: &[(&str, f64)]) {
    let mut last = Vec::new();
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        eventually("the page of metrics shows what happened", || {
            let page = Page::of(server);
            last = expected
                .iter()
                .map(|(name, _)| (*name, page.value(name)))
                .collect();
            last == expected
        });
    }));
    if found.is_err() {
        let wrong: Vec<_> = last
            .iter()
            .zip(expected)
            .filter(|(found, expected)| found != expected)
            .collect();
        panic!("found and expected: {wrong:#?}");
    }
}

#[test]
fn refusals_panics_limits_and_lost_connections_are_counted_by_their_words() {
    let site = Site::with(&["echo_wsh", "features_wsh", "panics_wsh"]);
    site.write(
        "config.toml",
        "[limits]\nmessage_bytes_max = 1000\nheader_bytes_max = 600\npanics_max = 1\n",
    );
    let server = Server::start(&site);

    assert_eq!(server.handshake_status("/nothing"), 404);
    assert_eq!(server.handshake_status("/features?handshake=reject"), 418);
    assert_eq!(server.handshake_status("/features?handshake=fail"), 500);
    server.exchange(b"nonsense\r\n\r\n");
    let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(1_000));
    assert!(server.exchange(long.as_bytes()).contains(" 414 "));
    let mut large = Raw::open(&server, "/echo");
    large.send(&frame(0x82, &[0; 1_001]));
    assert_eq!(large.close_code(), 1009);
    drop(Raw::open(&server, "/echo"));
    let mut failing = Raw::open(&server, "/panics?in=message");
    failing.send(&frame(0x81, b"now"));
    assert_eq!(failing.close_code(), 1011);
    assert_eq!(server.handshake_status("/panics"), 503);

    shows(
        &server,
        &[
            ("wshd_handshakes_total{outcome=\"accepted\"}", 3.0),
            ("wshd_handshakes_total{outcome=\"no_route\"}", 1.0),
            ("wshd_handshakes_total{outcome=\"handler_refused\"}", 1.0),
            ("wshd_handshakes_total{outcome=\"handler_failed\"}", 1.0),
            ("wshd_handshakes_total{outcome=\"malformed\"}", 1.0),
            ("wshd_handshakes_total{outcome=\"too_large\"}", 1.0),
            ("wshd_handshakes_total{outcome=\"quarantined\"}", 1.0),
            ("wshd_limits_hit_total{limit=\"message_bytes_max\"}", 1.0),
            ("wshd_limits_hit_total{limit=\"header_bytes_max\"}", 1.0),
            ("wshd_closes_total{code=\"1009\",side=\"server\"}", 1.0),
            ("wshd_closes_total{code=\"1006\",side=\"network\"}", 1.0),
            ("wshd_closes_total{code=\"1011\",side=\"handler\"}", 1.0),
            ("wshd_panics_total{handler=\"panics\"}", 1.0),
            ("wshd_quarantined{handler=\"panics\"}", 1.0),
            ("wshd_quarantined{handler=\"echo\"}", 0.0),
            (
                "wshd_sessions_ended_total{handler=\"panics\",cause=\"handler_panicked\"}",
                1.0,
            ),
        ],
    );
}

#[test]
fn a_reload_keeps_counts_and_each_load_and_reading_is_counted() {
    let site = Site::empty();
    site.add_bytes(&versioned(1), "versioned_wsh.so");
    site.write("config.toml", "reload = \"drain\"\n");
    let server = Server::start(&site);
    let mut old = server.connect("/versioned");
    old.ask("hello");

    site.add_bytes(&versioned(2), "versioned_wsh.so");
    server.says(&["handler loaded", "generation=2"], 1);
    let mut new = server.connect("/versioned");
    new.ask("hello");
    site.add_bytes(b"no library", "broken_wsh.so");
    server.says(&["plugin refused", "broken"], 1);
    site.write("config.toml", "reload = \"drain\"\nhosts = \"any\"\n");
    server.says(&["configuration applied"], 1);
    site.write("config.toml", "hosts = 3\n");
    server.says(&["configuration refused"], 1);

    shows(
        &server,
        &[
            ("wshd_messages_received_total{handler=\"versioned\"}", 2.0),
            ("wshd_sessions{handler=\"versioned\"}", 2.0),
            ("wshd_serving_generation{handler=\"versioned\"}", 2.0),
            (
                "wshd_generations{handler=\"versioned\",state=\"serving\"}",
                1.0,
            ),
            (
                "wshd_generations{handler=\"versioned\",state=\"draining\"}",
                1.0,
            ),
            ("wshd_refused{handler=\"broken\"}", 1.0),
            (
                "wshd_reloads_total{what=\"handler\",outcome=\"loaded\"}",
                2.0,
            ),
            (
                "wshd_reloads_total{what=\"handler\",outcome=\"refused\"}",
                1.0,
            ),
            (
                "wshd_reloads_total{what=\"configuration\",outcome=\"applied\"}",
                1.0,
            ),
            (
                "wshd_reloads_total{what=\"configuration\",outcome=\"refused\"}",
                1.0,
            ),
        ],
    );
    drop(old);
    shows(
        &server,
        &[
            (
                "wshd_generations{handler=\"versioned\",state=\"draining\"}",
                0.0,
            ),
            (
                "wshd_generations{handler=\"versioned\",state=\"retired\"}",
                1.0,
            ),
            ("wshd_messages_received_total{handler=\"versioned\"}", 2.0),
        ],
    );
}

#[test]
fn the_most_connections_are_those_that_the_limit_of_open_files_allows() {
    let site = Site::with(&["echo_wsh"]);
    let shell = "ulimit -n 400 && exec \"$@\"";
    let mut limited = Command::new("sh");
    limited.args(["-c", shell, "sh"]);
    let server = Server::builder(&site).within(limited).start();

    let warning = server.line(&["the limit of open files allows fewer connections"]);
    let (_, allowed) = warning.split_once(" connections=").expect("how many");
    let allowed = allowed.split(' ').next().expect("a number");

    let allowed = allowed.parse().expect("a number");
    shows(&server, &[("wshd_connections_max", allowed)]);
}

#[test]
fn the_time_of_a_slow_callback_shows_in_its_range() {
    let site = Site::with(&["stuck_wsh", "echo_wsh"]);
    let server = Server::start(&site);
    let mut stuck = server.connect("/stuck");
    stuck.send("sleep");
    assert_eq!(stuck.text(), "done");

    let count = "wshd_callback_duration_seconds_count{handler=\"stuck\"}";
    eventually("the callback is counted", || {
        let page = Page::of(&server);
        let up_to = |bound| {
            page.value(&format!(
                "wshd_callback_duration_seconds_bucket{{handler=\"stuck\",le=\"{bound}\"}}"
            ))
        };
        let seconds = page.value("wshd_callback_duration_seconds_sum{handler=\"stuck\"}");
        let slow = up_to("10") - up_to("1");
        // It took two seconds. Some milliseconds pass before a callback is seen.
        slow == 1.0 && up_to("+Inf") == page.value(count) && seconds > 1.9
    });
    let page = Page::of(&server);
    let quick = page.value("wshd_callback_duration_seconds_sum{handler=\"echo\"}");
    assert!(quick < 1.0, "{quick}");
}

#[test]
fn a_certificate_says_when_it_expires_and_what_carries_connections_is_told_apart() {
    let site = Site::with(&["echo_wsh"]);
    let tls = Tls::new(&site);
    let server = tls
        .builder(&site)
        .args(["-H", "tls:127.0.0.1,unix:plain.sock"])
        .start();
    let mut echo = tls.client().connect(&server, "/echo");
    assert_eq!(echo.ask("hello"), "hello");

    let socket = Server::raw_unix(&site.root().join("plain.sock"));
    let request = b"GET /.wshd/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let answer = Server::exchange_over(socket, request);
    let (_, body) = answer.split_once("\r\n\r\n").expect("a page");
    let page = Page::read(body);

    let expiry = page.value("wshd_tls_certificate_expiry_timestamp_seconds{name=\"localhost\"}");
    let now = std::time::UNIX_EPOCH.elapsed().expect("a time");
    assert!(expiry > now.as_secs_f64(), "{expiry}");
    let accepted = |transport| {
        page.value(&format!(
            "wshd_connections_accepted_total{{transport=\"{transport}\"}}"
        ))
    };
    assert_eq!((accepted("tls"), accepted("unix")), (1.0, 1.0));
}

#[test]
fn metrics_are_for_this_machine_unless_the_configuration_says_otherwise() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    let status = |lines| get(&server, "GET", lines)[9..12].to_owned();
    let proxied = "X-Forwarded-For: 192.0.2.1\r\n";

    assert_eq!((status(""), status(proxied)), ("200".into(), "404".into()));
    let head = get(&server, "HEAD", "");
    assert!(
        head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    assert!(get(&server, "POST", "").starts_with("HTTP/1.1 405 "));
    site.write("config.toml", "metrics = \"any\"\n");
    eventually("any client gets them", || status(proxied) == "200");
    site.write("config.toml", "metrics = \"off\"\n");
    eventually("no client gets them", || status("") == "404");
}

#[test]
fn promtool_finds_nothing_wrong_with_the_page_of_a_busy_server() {
    let site = Site::with(&["echo_wsh", "features_wsh", "panics_wsh"]);
    let server = Server::start(&site);
    let mut open = server.connect("/echo");
    open.ask("hello");
    server.connect("/echo").close(1000);
    server.connect("/panics?in=message").send("now");
    assert_eq!(server.handshake_status("/nothing"), 404);
    site.add_bytes(b"no library", "odd \"name\"_wsh.so");
    site.add_bytes(b"no library", "broken_wsh.so");
    server.line(&["plugin refused", "broken"]);
    eventually("the panic is counted", || {
        Page::of(&server).value("wshd_panics_total{handler=\"panics\"}") == 1.0
    });
    let page = text(&server, "");

    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = promtool
        .expect("this test needs promtool; on Debian `apt-get install prometheus` brings it");
    let mut stdin = promtool.stdin.take().expect("a pipe");
    stdin.write_all(page.as_bytes()).expect("promtool reads");
    drop(stdin);
    let found = promtool.wait_with_output().expect("promtool ends");

    let said = String::from_utf8_lossy(&[found.stdout, found.stderr].concat()).into_owned();
    assert!(found.status.success() && said.is_empty(), "{said}\n{page}");
    for family in [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_start_time_seconds",
        "wshd_build_info",
        "wshd_connections",
        "wshd_log_lines_dropped_total",
    ] {
        assert!(
            page.contains(&format!("\n# TYPE {family} ")),
            "{family}\n{page}"
        );
    }
}

#[test]
fn a_session_that_ends_for_the_memory_of_all_counts_for_its_limit() {
    let site = Site::with(&["echo_wsh"]);
    site.write("config.toml", "[limits]\nbuffered_bytes_max = 65536\n");
    let server = Server::start(&site);
    let mut raw = Raw::open(&server, "/echo");

    raw.send(&frame(0x82, &[7; 600_000])[..500_000]);

    assert_eq!(raw.close_code(), 1013);
    server.line(&["session closed", "cause=buffered_bytes_max"]);
    shows(
        &server,
        &[("wshd_limits_hit_total{limit=\"buffered_bytes_max\"}", 1.0)],
    );
}
