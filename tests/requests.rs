//! What comes before a handler is asked: what is a request, who is told why it is refused.

use crate::harness::server::{Server, opening, status_of};
use crate::harness::site::Site;

fn server(config: &str) -> (Site, Server) {
    let site = Site::with(&["features_wsh"]);
    site.write("config.toml", config);
    let server = Server::start(&site);
    (site, server)
}

#[test]
fn each_refused_handshake_has_a_line_with_peer_path_status_and_reason() {
    let config = "[limits]\nhandshake_timeout_ms = 300\nheader_bytes_max = 1000\n";
    let (_site, server) = server(config);
    let long = format!("X: {}\r\n", "x".repeat(2_000));
    let old = opening("/features", "").replace("Version: 13", "Version: 8");
    for (request, parts) in [
        (
            opening("/nobody", ""),
            ["path=/nobody", "status=404", "nothing answers"],
        ),
        (old, ["path=/features", "status=426", "version 13"]),
        (
            opening("/features?handshake=reject", ""),
            ["path=/features", "status=418", "the handler refuses"],
        ),
        (
            opening("/features?handshake=never", ""),
            ["path=/features", "status=503", "`handshake_timeout_ms`"],
        ),
        (
            opening("/features", "Origin: null\r\n"),
            ["path=/features", "status=403", "`origins`"],
        ),
        (
            opening("/features", &long),
            ["", "status=431", "`header_bytes_max`"],
        ),
        (
            "GET / HTTP/1.1\r\n".into(),
            ["", "status=408", "`handshake_timeout_ms`"],
        ),
        ("hello\r\n\r\n".into(), ["", "status=400", "malformed"]),
    ] {
        let status = status_of(&server.exchange(request.as_bytes()));
        assert!(
            parts[1].ends_with(&status.to_string()),
            "{parts:?}: {status}"
        );
        let line = server.line(&[&["handshake refused", "peer=127.0.0.1:"], &parts[..]].concat());
        assert!(line.contains(" INFO "), "{line}");
    }
    assert_eq!(server.handshake_status("/features"), 101);
    assert_eq!(server.count_lines(&["handshake refused"]), 8);
}

#[test]
fn a_flood_of_refused_handshakes_is_some_lines_and_a_count() {
    let (_site, server) = server("");
    for _ in 0..200 {
        assert_eq!(server.handshake_status("/nobody"), 404);
    }

    server.line(&["more handshakes refused", "refused="]);
    let lines = server.count_lines(&["handshake refused"]);
    let counts = server.lines(&["more handshakes refused"]);
    let count = |line: &String| -> usize {
        let count = line.split("refused=").nth(1).expect("a count");
        count.trim().parse().expect("a number")
    };
    crate::harness::eventually("each is logged or counted", || {
        let counts = server.lines(&["more handshakes refused"]);
        let lines = server.count_lines(&["handshake refused"]);
        lines + counts.iter().map(count).sum::<usize>() == 200
    });
    assert!((20..=100).contains(&lines), "{lines} lines, {counts:?}");
}
