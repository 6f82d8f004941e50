//! What load balancers and supervisors ask of a server, in the bytes that they send.

use crate::harness::server::{Server, status_of};
use crate::harness::site::Site;

/// Every form of `option httpchk` and `http-check send` of haproxy, and what others send: the request without its end.
const PROBES: [&str; 15] = [
    // `option httpchk`, without and with a path.
    "OPTIONS / HTTP/1.0\r\n",
    "OPTIONS /.wshd/ready HTTP/1.0\r\n",
    // `option httpchk GET /.wshd/ready`, and with the host as manuals show it.
    "GET /.wshd/ready HTTP/1.0\r\n",
    "HEAD /.wshd/ready HTTP/1.0\r\n",
    "HEAD /.wshd/ready HTTP/1.1\r\nHost:\\ www.example.com\r\n",
    "OPTIONS * HTTP/1.1\r\nHost:\\ www\r\n",
    // `http-check send meth … ver HTTP/1.1 hdr Host …`.
    "OPTIONS / HTTP/1.1\r\nhost: www.example.com\r\nconnection: close\r\n",
    "OPTIONS * HTTP/1.1\r\nhost: www.example.com\r\ncontent-length: 0\r\n",
    "OPTIONS http://www.example.com HTTP/1.1\r\nhost: www.example.com\r\n",
    "GET /.wshd/ready HTTP/1.1\r\nhost: haproxy.example\r\n",
    "OPTIONS /.wshd/health HTTP/1.1\r\nhost: haproxy.example\r\n",
    // A kubelet.
    "GET /.wshd/ready HTTP/1.1\r\nHost: 10.1.2.3:9998\r\nUser-Agent: kube-probe/1.31\r\nAccept: */*\r\nConnection: close\r\n",
    "GET /.wshd/health HTTP/1.1\r\nHost: 10.1.2.3:9998\r\nUser-Agent: kube-probe/1.31\r\nAccept: */*\r\nConnection: close\r\n",
    // AWS and Google.
    "GET /.wshd/health HTTP/1.1\r\nHost: 172.31.0.9:9998\r\nConnection: close\r\nUser-Agent: ELB-HealthChecker/2.0\r\nAccept-Encoding: gzip, compressed\r\n",
    "GET /.wshd/ready HTTP/1.1\r\nHost: evil.example\r\nUser-Agent: GoogleHC/1.0\r\nConnection: Keep-alive\r\n",
];

#[test]
fn every_probe_is_answered_200_with_any_host_and_without_a_user() {
    let site = Site::with(&["echo_wsh"]);
    site.write(
        "users",
        "ann:$2y$05$abcdefghijklmnopqrstuuMl1TCA9G0M3oQp0vKEtUdzRPhB5e5iK\n",
    );
    for config in ["", "users_file = \"users\"\n[routes]\n\"/\" = \"/echo\"\n"] {
        site.write("config.toml", config);
        let server = Server::start(&site);
        for probe in PROBES {
            // The backslash is haproxy's own, which it takes away.
            let probe = probe.replace('\\', "");
            let answer = server.exchange(format!("{probe}\r\n").as_bytes());
            assert_eq!(status_of(&answer), 200, "{probe}: {answer}");
            let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
            assert_eq!(body.is_empty(), !probe.starts_with("GET"), "{answer}");
            assert!(head.contains("\r\nConnection: close"), "{answer}");
            assert!(head.contains("\r\nCache-Control: no-store"), "{answer}");
            let allows = head.contains("\r\nAllow: GET, HEAD, OPTIONS");
            assert_eq!(allows, probe.starts_with("OPTIONS"), "{answer}");
        }
        assert_eq!(
            server.count_lines(&["INFO", "peer="]),
            0,
            "{}",
            server.log()
        );
        assert_eq!(
            server.count_lines(&["WARN", "peer="]),
            0,
            "{}",
            server.log()
        );
    }
}

#[test]
fn a_probe_may_ask_for_json_and_what_is_no_probe_is_refused() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    let ask = |line: &str, lines: &str| {
        server.exchange(format!("{line} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n").as_bytes())
    };

    let json = ask("GET /.wshd/ready", "Accept: application/json\r\n");
    assert!(json.contains("\r\nContent-Type: application/json\r\n"));
    assert!(json.ends_with("\r\n\r\n{\"status\":\"ready\"}\n"), "{json}");
    let text = ask("GET /.wshd/health", "");
    assert!(text.ends_with("\r\n\r\nalive\n"), "{text}");

    for (line, status) in [
        ("POST /.wshd/ready", 405),
        ("PUT /.wshd/health", 405),
        ("GET *", 400),
        ("OPTIONS x", 400),
        ("GET /.wshd/ready/", 404),
    ] {
        assert_eq!(status_of(&ask(line, "")), status, "{line}");
    }
    let no_host = server.exchange(b"GET /.wshd/ready HTTP/1.1\r\n\r\n");
    assert_eq!(status_of(&no_host), 400, "RFC 9112 \u{a7}3.2");
}

#[test]
fn options_names_the_methods_of_what_lies_at_a_path_and_404_where_nothing_lies() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);

    for (path, status) in [
        ("/echo", 200),
        ("/.wshd/handlers.json", 200),
        ("/chat.html", 200),
        ("/nothing", 404),
    ] {
        let request = format!("OPTIONS {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = server.exchange(request.as_bytes());
        assert_eq!(status_of(&answer), status, "{path}: {answer}");
        let allows = answer.contains("\r\nAllow: GET, HEAD, OPTIONS\r\n");
        assert_eq!(allows, status == 200, "{path}: {answer}");
    }
}

#[test]
fn a_server_that_is_full_lives_and_is_not_ready() {
    let site = Site::with(&["echo_wsh"]);
    site.write("config.toml", "[limits]\nconnections_max = 2\n");
    let server = Server::start(&site);
    let mut sessions = [server.connect("/echo"), server.connect("/echo")];

    for (line, status, end) in [
        ("GET /.wshd/health", 200, "\r\n\r\nalive\n"),
        ("HEAD /.wshd/health", 200, "\r\n\r\n"),
        ("OPTIONS /.wshd/health", 200, "\r\n\r\n"),
        ("GET /.wshd/ready", 503, "\r\n\r\noverloaded\n"),
        ("OPTIONS /", 503, "\r\n\r\noverloaded\n"),
    ] {
        let answer = server.exchange(format!("{line} HTTP/1.0\r\n\r\n").as_bytes());
        assert_eq!(status_of(&answer), status, "{line}: {answer}");
        assert!(answer.ends_with(end), "{line}: {answer}");
    }
    assert_eq!(server.count_lines(&["handshake refused"]), 0);
    assert_eq!(server.handshake_status("/echo"), 503);
    server.line(&["handshake refused", "status=503", "`connections_max`"]);
    // A peer that says nothing is told soon, too.
    assert_eq!(status_of(&server.exchange(b"")), 503);
    for session in &mut sessions {
        assert_eq!(session.ask("hello"), "hello");
    }
}

#[test]
fn a_server_that_is_asked_too_often_lives() {
    let site = Site::with(&["echo_wsh"]);
    for limit in ["handshakes_per_s_max", "handshakes_per_address_per_s_max"] {
        site.write("config.toml", &format!("[limits]\n{limit} = 1\n"));
        let server = Server::start(&site);

        // Nearly all of these are beyond the limit, and none is logged as refused.
        for line in ["GET", "HEAD"].repeat(10) {
            let request = format!("{line} /.wshd/health HTTP/1.0\r\n\r\n");
            let answer = server.exchange(request.as_bytes());
            assert_eq!(status_of(&answer), 200, "{limit}: {answer}");
            assert_eq!(answer.ends_with("alive\n"), line == "GET", "{answer}");
        }
        assert_eq!(server.count_lines(&["handshake refused"]), 0);
        let mut statuses = (0..5).map(|_| server.handshake_status("/echo"));
        assert!(statuses.any(|status| status == 503 || status == 429));
        server.line(&["handshake refused", limit]);
    }
}
