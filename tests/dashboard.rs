//! The admin address: a page, metrics and health for operators, and nothing for pages of other sites.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::harness::server::{Server, status_of};
use crate::harness::site::Site;
use crate::harness::{eventually, patience};

/// A server with an admin address, and its port.
fn start(site: &Site, more: &str) -> (Server, u16) {
    site.write(
        "config.toml",
        &format!("{more}[admin]\nlisten = \"127.0.0.1:0\"\n"),
    );
    let server = Server::start(site);
    let port = port_of(&server.line(&["admin page is served"]));
    (server, port)
}

pub(crate) fn port_of(line: &str) -> u16 {
    let address = line.split("address=127.0.0.1:").nth(1).expect("an address");
    address.trim().parse().expect("a port")
}

/// Asks by these lines and returns the whole answer.
#[track_caller]
fn ask(port: u16, line: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    let limit = Duration::from_secs(20) * patience();
    stream.set_read_timeout(Some(limit)).expect("a timeout");
    let request = format!("{line} HTTP/1.1\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).expect("it is read");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn the_admin_address_shows_the_server_and_takes_no_command() {
    let site = Site::with(&["echo_wsh"]);
    let (server, port) = start(&site, "");
    let mut client = server.connect("/echo");
    client.ask("hello");
    let host = format!("Host: localhost:{port}\r\n");
    let get = |path: &str| ask(port, &format!("GET {path}"), &host);

    let page = get("/");
    assert!(
        page.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"),
        "{page}"
    );
    assert!(
        page.contains("frame-ancestors 'none'") && page.contains("dashboard.js"),
        "{page}"
    );
    assert!(get("/dashboard.js").contains("text/javascript"));
    assert!(get("/snapshot").contains(r#""messages_in":1"#));
    assert!(get("/status").contains(&format!(r#""pid":{}"#, server.pid())));
    assert!(get("/metrics").contains("wshd_sessions{handler=\"echo\"} 1\n"));
    assert!(get("/health").ends_with("\r\n\r\nalive\n"));
    assert!(get("/ready").ends_with("\r\n\r\nready\n"));

    assert_eq!(status_of(&get("/sessions")), 403);
    assert_eq!(status_of(&get("/reload")), 405);
    assert_eq!(status_of(&get("/none")), 404);
    for path in [
        "/reload",
        "/drain?handler=echo",
        "/close?session=1",
        "/status",
    ] {
        assert_eq!(
            status_of(&ask(port, &format!("POST {path}"), &host)),
            405,
            "{path}"
        );
    }
    client.ask("still here");
}

#[test]
fn no_page_of_another_site_gets_an_answer_at_the_admin_address() {
    let site = Site::with(&["echo_wsh"]);
    let (_server, port) = start(&site, "hosts = [\"ops.example\"]\n");
    let own = format!("Host: 127.0.0.1:{port}\r\n");
    for (headers, status) in [
        (own.clone(), 200),
        (format!("Host: [::1]:{port}\r\n"), 200),
        ("Host: ops.example\r\n".to_owned(), 200),
        // A name that was made to lead here.
        (format!("Host: evil.example:{port}\r\n"), 403),
        (String::new(), 403),
        (format!("{own}Host: localhost\r\n"), 403),
        (format!("{own}Origin: http://127.0.0.1:{port}\r\n"), 200),
        (format!("{own}Origin: http://evil.example\r\n"), 403),
        (format!("{own}Origin: http://127.0.0.1:1\r\n"), 403),
        (format!("{own}Origin: null\r\n"), 403),
        (format!("{own}Sec-Fetch-Site: same-origin\r\n"), 200),
        (
            format!("{own}Sec-Fetch-Site: cross-site\r\nSec-Fetch-Dest: script\r\n"),
            403,
        ),
        (
            format!("{own}Sec-Fetch-Site: same-site\r\nSec-Fetch-Dest: empty\r\n"),
            403,
        ),
        // A link to the page.
        (
            format!("{own}Sec-Fetch-Site: cross-site\r\nSec-Fetch-Dest: document\r\n"),
            200,
        ),
    ] {
        let answer = ask(port, "GET /snapshot", &headers);
        assert_eq!(status_of(&answer), status, "{headers}{answer}");
        assert!(
            !answer.to_lowercase().contains("access-control-allow"),
            "{answer}"
        );
    }
    let any = Site::with(&["echo_wsh"]);
    let (_server, port) = start(&any, "hosts = \"any\"\n");
    let answer = ask(port, "GET /snapshot", "Host: evil.example\r\n");
    assert_eq!(
        status_of(&answer),
        403,
        "what all may ask of handlers is not for pages of all sites"
    );
}

#[test]
fn the_admin_address_is_off_by_default_and_moves_when_the_configuration_does() {
    let site = Site::with(&["echo_wsh"]);
    let config = site.write("config.toml", "");
    let server = Server::start(&site);
    let mut client = server.connect("/echo");
    client.ask("hello");
    assert_eq!(server.count_lines(&["admin page is served"]), 0);

    std::fs::write(&config, "[admin]\nlisten = \"127.0.0.1:0\"\n").expect("it is there");
    let port = port_of(&server.line(&["admin page is served"]));
    assert_eq!(
        status_of(&ask(port, "GET /health", "Host: localhost\r\n")),
        200
    );
    let busy = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = busy.local_addr().expect("its address");
    std::fs::write(&config, format!("[admin]\nlisten = \"{taken}\"\n")).expect("it is there");
    server.line(&["cannot listen for the admin page", "Address already in use"]);
    assert_eq!(
        status_of(&ask(port, "GET /health", "Host: localhost\r\n")),
        200,
        "the old one stays"
    );
    drop(busy);
    server.says(&["admin page is served"], 2);

    std::fs::write(&config, "# the defaults\n").expect("it is there");
    eventually("nothing listens", || TcpStream::connect(taken).is_err());
    client.ask("hello");
}
