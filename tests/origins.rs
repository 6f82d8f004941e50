//! Which pages may connect. What the log advises to allow one more does so.

use crate::harness::eventually;
use crate::harness::server::{Server, opening, status_of};
use crate::harness::site::Site;

fn ask(server: &Server, origin: &str) -> u16 {
    let request = opening("/async_echo", &format!("Origin: {origin}\r\n"));
    status_of(&server.exchange(request.as_bytes()))
}

/// Writes the configuration and waits until it applies.
#[track_caller]
fn apply(site: &Site, server: &Server, text: &str) {
    let applied = server.count_lines(&["configuration applied"]);
    site.write("config.toml", text);
    eventually("the file is seen", || {
        server.count_lines(&["configuration applied"]) > applied
    });
}

/// Returns the newest advice of the log for this origin: what to write, and where.
#[track_caller]
fn advice(server: &Server, origin: &str, between: &str) -> (String, String) {
    let shown = format!("origin={origin} ");
    server.line(&["origin refused", &shown]);
    let lines = server.lines(&["origin refused", &shown]);
    let line = lines.last().expect("a line");
    let advice = line.split("to allow it: ").nth(1).expect("an advice");
    let advice = advice.split(" handler=").next().expect("it");
    let (write, place) = advice.split_once(between).unwrap_or((advice, ""));
    (write.to_owned(), place.to_owned())
}

/// Origins that browsers and other clients send, none of the server's own host.
const ORIGINS: [&str; 14] = [
    "null",
    "file://",
    "file:///",
    "https://example.com",
    "https://example.com:8443",
    "http://xn--exmple-cua.com",
    "http://192.0.2.1:80",
    "https://[2001:db8::1]",
    "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
    "moz-extension://2c4a2f0e-0000-4000-8000-1b2c3d4e5f60",
    "capacitor://localhost",
    "tauri://localhost",
    "app://obsidian.md",
    "vscode-webview://1kaj2h3",
];

#[test]
fn every_line_of_advice_is_taken_and_allows_the_origin() {
    let site = Site::with(&["async_echo_wsh"]);
    let server = Server::start(&site);
    let file = site.root().join("config.toml");
    let mut earlier = vec![];
    for origin in ORIGINS {
        assert_eq!(ask(&server, origin), 403, "{origin}");
        let (line, place) = advice(&server, origin, " above the first table of ");
        assert_eq!(place, file.display().to_string());

        // The first advice makes the file, which appears while the server runs.
        apply(&site, &server, &format!("{line}\n"));

        assert_eq!(ask(&server, origin), 101, "`{line}` allows {origin}");
        earlier.push(origin);
    }
    for origin in earlier {
        assert_eq!(ask(&server, origin), 101, "{origin}");
    }
    assert_eq!(ask(&server, "https://evil.example"), 403);
    assert_eq!(server.find_line(&["configuration refused"]), None);
}

#[test]
fn the_advice_names_the_place_that_decides() {
    let site = Site::with(&["async_echo_wsh"]);
    let file = site.write("config.toml", "[handler.async_echo]\norigins = []\n");
    let server = Server::start(&site);
    assert_eq!(ask(&server, "null"), 403);
    let (line, place) = advice(&server, "null", " under [handler.async_echo] in ");
    assert_eq!(
        (&*line, place),
        ("origins = [\"null\"]", file.display().to_string())
    );
    apply(&site, &server, &format!("[handler.async_echo]\n{line}\n"));
    assert_eq!(ask(&server, "null"), 101);

    let site = Site::with(&["async_echo_wsh"]);
    site.write("config.toml", "origins = \"any\"\n");
    let server = Server::builder(&site)
        .args(["--origins", "same-host"])
        .start();
    assert_eq!(ask(&server, "null"), 403);
    let (line, _) = advice(&server, "null", " nowhere ");
    let (flag, value) = line.split_once(' ').expect("two words");
    let server = Server::builder(&site).args([flag, value]).start();
    assert_eq!(
        (ask(&server, "null"), ask(&server, "http://localhost:1")),
        (101, 101)
    );
    assert_eq!(ask(&server, "file://"), 403);

    let server = Server::builder(&site).env("WSHD_ORIGINS", "null").start();
    assert_eq!(ask(&server, "file://"), 403);
    let (line, _) = advice(&server, "file://", " nowhere ");
    let (variable, value) = line.split_once('=').expect("a variable");
    let server = Server::builder(&site).env(variable, value).start();
    assert_eq!((ask(&server, "null"), ask(&server, "file://")), (101, 101));
}

#[test]
fn patterns_default_ports_and_schemes_of_sockets_mean_what_operators_mean() {
    let site = Site::with(&["async_echo_wsh"]);
    site.write(
        "config.toml",
        "origins = [\"https://a.example:443\", \"wss://b.example\", \"https://*.c.example\", \"moz-extension://*\"]\n",
    );
    let server = Server::start(&site);
    for (origin, status) in [
        ("https://a.example", 101),
        ("https://a.example:443", 101),
        ("https://A.example", 101),
        ("http://a.example", 403),
        ("https://b.example", 101),
        ("https://x.c.example", 101),
        ("https://x.y.c.example", 101),
        ("https://c.example", 403),
        ("https://xc.example", 403),
        ("https://x.c.example.evil.example", 403),
        ("https://x.c.example:8443", 403),
        ("moz-extension://2c4a2f0e", 101),
        ("http://localhost", 403),
        ("https://evil.example@a.example", 403),
        ("\"", 403),
    ] {
        assert_eq!(ask(&server, origin), status, "{origin}");
    }
    // There is no advice for an origin that no browser sends.
    server.line(&["origin refused; no browser writes `"]);

    apply(&site, &server, "# the defaults\n");
    assert_eq!(ask(&server, "http://foo.localhost:3000"), 101);
    assert_eq!(ask(&server, "http://localhost.evil.example"), 403);
}
