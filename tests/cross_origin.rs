//! What browsers may do for scripts of pages from elsewhere, in the bytes that they send: Chrome's Local Network Access, the
//! preflights of Private Network Access before it, and CORS.

use crate::harness::server::{Server, opening, status_of};
use crate::harness::site::Site;

/// A page of a public address that may connect, and one that may not.
const ALLOWED: &str = "https://example.com";
const OTHER: &str = "https://evil.example";

/// Asks as a browser does before a page reaches this machine (Private Network Access).
fn preflight(server: &Server, path: &str, origin: &str) -> String {
    let request = format!(
        "OPTIONS {path} HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\n\
         Access-Control-Request-Method: GET\r\nAccess-Control-Request-Private-Network: true\r\n\r\n"
    );
    server.exchange(request.as_bytes())
}

fn get(server: &Server, path: &str, origin: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\n\r\n");
    server.exchange(request.as_bytes())
}

/// The lines of the answer that let a page do or read something, in their order.
fn permissions(answer: &str) -> Vec<&str> {
    let (head, _) = answer.split_once("\r\n\r\n").expect("a head");
    let lines = head.split("\r\n");
    lines
        .filter(|line| line.starts_with("Access-Control-"))
        .collect()
}

fn site(config: &str) -> Site {
    let site = Site::with(&["async_echo_wsh", "echo_wsh"]);
    site.write("config.toml", config);
    site
}

#[test]
fn a_page_that_may_connect_may_reach_this_machine_and_no_other_page_may() {
    let site = site(&format!("origins = [\"same-host\", \"{ALLOWED}\"]\n"));
    let server = Server::start(&site);

    let paths = [
        "/async_echo",
        "/echo",
        "/",
        "/chat.html",
        "/nothing",
        "/.wshd/health",
        "/.wshd/ready",
        "/.wshd/handlers.json",
        "/.wshd/metrics",
    ];
    for path in paths {
        let answer = preflight(&server, path, ALLOWED);
        assert_eq!(status_of(&answer), 204, "{path}: {answer}");
        assert_eq!(
            permissions(&answer),
            [
                "Access-Control-Allow-Origin: https://example.com",
                "Access-Control-Allow-Methods: GET, HEAD",
                "Access-Control-Allow-Private-Network: true",
            ],
            "{path}"
        );
        assert!(answer.contains("\r\nVary: Origin\r\n"), "{answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
        // A 204 has no body, and says no length of one (RFC 9110 §8.6).
        assert!(answer.ends_with("\r\n\r\n"), "{answer}");
        assert!(!answer.contains("Content-Length"), "{answer}");

        for stranger in [OTHER, "null", "file://", "https://example.com.evil.example"] {
            let answer = preflight(&server, path, stranger);
            assert_eq!(permissions(&answer), [""; 0], "{path} {stranger}: {answer}");
        }
    }
    // What the browser then sends for the page.
    for (origin, status) in [(ALLOWED, 101), (OTHER, 403)] {
        let request = opening("/async_echo", &format!("Origin: {origin}\r\n"));
        let answer = server.exchange(request.as_bytes());
        assert_eq!(status_of(&answer), status);
        assert_eq!(permissions(&answer), [""; 0], "{answer}");
    }
}

#[test]
fn a_page_that_may_connect_reads_the_answers_to_probes_and_nothing_else() {
    let site = site(&format!("origins = [\"{ALLOWED}\"]\n"));
    let server = Server::start(&site);

    for path in ["/.wshd/health", "/.wshd/ready"] {
        let answer = get(&server, path, ALLOWED);
        assert_eq!(status_of(&answer), 200, "{path}");
        assert_eq!(
            permissions(&answer),
            ["Access-Control-Allow-Origin: https://example.com"]
        );
        assert!(answer.contains("\r\nVary: Origin\r\n"), "{answer}");
        for stranger in [OTHER, "null", "http://localhost:5173"] {
            let answer = get(&server, path, stranger);
            assert_eq!(status_of(&answer), 200, "{path}");
            assert_eq!(permissions(&answer), [""; 0], "{stranger}: {answer}");
        }
    }
    for path in [
        "/",
        "/chat.html",
        "/nothing",
        "/async_echo",
        "/.wshd/handlers.json",
        "/.wshd/engine.json",
        "/.wshd/metrics",
    ] {
        let answer = get(&server, path, ALLOWED);
        assert_eq!(permissions(&answer), [""; 0], "{path}: {answer}");
    }
}

#[test]
fn by_default_pages_of_this_machine_may_reach_it_and_others_may_not() {
    let site = site("");
    let server = Server::start(&site);

    let ours = preflight(&server, "/echo", "http://localhost:5173");
    assert_eq!(status_of(&ours), 204, "{ours}");
    for path in ["/echo", "/async_echo", "/", "/.wshd/health"] {
        for stranger in [ALLOWED, "null"] {
            let answer = preflight(&server, path, stranger);
            assert_eq!(permissions(&answer), [""; 0], "{path} {stranger}: {answer}");
        }
    }
}

#[test]
fn the_origins_of_a_handler_hold_at_its_paths_only() {
    let site = site(&format!(
        "[routes]\n\"/rooms/{{room}}\" = \"/async_echo\"\n[handler.async_echo]\norigins = [\"{ALLOWED}\"]\n"
    ));
    let server = Server::start(&site);

    for (path, is_allowed) in [
        ("/async_echo", true),
        ("/rooms/7", true),
        ("/echo", false),
        ("/", false),
        ("/.wshd/health", false),
    ] {
        let answer = preflight(&server, path, ALLOWED);
        assert_eq!(status_of(&answer) == 204, is_allowed, "{path}: {answer}");
        assert_eq!(permissions(&answer).is_empty(), !is_allowed, "{answer}");
    }
}

#[test]
fn the_origins_of_a_handler_hold_at_the_root_too() {
    let site = site(&format!(
        "origins = [\"{OTHER}\"]\n[routes]\n\"/\" = \"/async_echo\"\n[handler.async_echo]\norigins = [\"{ALLOWED}\"]\n"
    ));
    let server = Server::start(&site);

    for (origin, is_allowed) in [(ALLOWED, true), (OTHER, false)] {
        let answer = preflight(&server, "/", origin);
        assert_eq!(status_of(&answer) == 204, is_allowed, "{origin}: {answer}");
        assert_eq!(permissions(&answer).is_empty(), !is_allowed, "{answer}");
        let session = server.exchange(opening("/", &format!("Origin: {origin}\r\n")).as_bytes());
        assert_eq!(status_of(&session) == 101, is_allowed, "{session}");
    }
    // A load balancer asks the server, and no handler.
    let plain = server.exchange(b"OPTIONS / HTTP/1.0\r\n\r\n");
    assert_eq!(status_of(&plain), 200, "{plain}");
}

#[test]
fn what_a_browser_does_not_ask_is_not_answered_and_both_names_of_the_question_are_known() {
    let site = site("origins = \"any\"\n");
    let server = Server::start(&site);
    let ask = |lines: &str| {
        let request = format!("OPTIONS /echo HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n");
        let answer = server.exchange(request.as_bytes());
        let lines = permissions(&answer).into_iter().map(str::to_owned);
        (status_of(&answer), lines.skip(2).collect::<Vec<_>>())
    };
    let cors = "Origin: https://a.example\r\nAccess-Control-Request-Method: GET\r\n";
    let private = "Access-Control-Request-Private-Network: true\r\n";
    let local = "Access-Control-Request-Local-Network: true\r\n";
    let allow = |name: &str| format!("Access-Control-Allow-{name}-Network: true");

    assert_eq!(ask(cors), (204, vec![]));
    assert_eq!(
        ask(&[cors, private].concat()),
        (204, vec![allow("Private")])
    );
    assert_eq!(ask(&[cors, local].concat()), (204, vec![allow("Local")]));
    let no = "Access-Control-Request-Private-Network: false\r\n";
    assert_eq!(ask(&[cors, no].concat()), (204, vec![]));
    // Without an origin, or with something that is none, it is a plain OPTIONS, also where all origins are allowed.
    for no_preflight in [
        "",
        "Origin: https://a.example\r\n",
        "Access-Control-Request-Method: GET\r\n",
        "Origin: *\r\nAccess-Control-Request-Method: GET\r\n",
        "Origin: https://a.example, https://b.example\r\nAccess-Control-Request-Method: GET\r\n",
        "Origin: https://a.example\r\nOrigin: https://b.example\r\nAccess-Control-Request-Method: GET\r\n",
    ] {
        assert_eq!(ask(no_preflight), (200, vec![]), "{no_preflight}");
    }
}

#[test]
fn a_preflight_says_nothing_where_the_host_the_address_or_the_user_is_refused() {
    let site = site("origins = \"any\"\nhosts = [\"www.example.com\"]\n");
    let server = Server::start(&site);
    let elsewhere = server.exchange(
        b"OPTIONS /echo HTTP/1.1\r\nHost: rebound.example\r\nOrigin: https://a.example\r\n\
          Access-Control-Request-Method: GET\r\n\r\n",
    );
    assert_eq!(status_of(&elsewhere), 421, "{elsewhere}");
    assert_eq!(permissions(&elsewhere), [""; 0]);
    drop(server);

    for (config, status) in [
        ("[handler.echo]\ndeny = [\"loopback\"]\n", 403),
        ("users_file = \"users\"\n", 401),
    ] {
        site.write("users", USERS);
        site.write("config.toml", &format!("origins = \"any\"\n{config}"));
        let server = Server::start(&site);
        let answer = preflight(&server, "/echo", ALLOWED);
        assert_eq!(status_of(&answer), status, "{config}: {answer}");
        assert_eq!(permissions(&answer), [""; 0]);
        // Load balancers and pages are told that the server lives, and need no user for it.
        let answer = preflight(&server, "/.wshd/health", ALLOWED);
        assert_eq!(status_of(&answer), 204, "{config}: {answer}");
    }
}

#[test]
fn a_name_that_is_not_served_gives_a_page_no_permission_at_the_paths_of_load_balancers() {
    // A page of a name that leads to this machine since it was loaded (DNS rebinding) has the origin of its host.
    let rebound = |method: &str, path: &str| {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: rebound.example\r\nOrigin: http://rebound.example\r\n\
             Access-Control-Request-Method: GET\r\nAccess-Control-Request-Private-Network: true\r\n\r\n"
        )
    };
    for config in ["", "origins = \"any\"\nhosts = [\"www.example.com\"]\n"] {
        let server = Server::start(&site(config));

        for (method, path) in [
            ("OPTIONS", "/.wshd/health"),
            ("OPTIONS", "/.wshd/ready"),
            ("OPTIONS", "*"),
            ("GET", "/.wshd/health"),
        ] {
            let answer = server.exchange(rebound(method, path).as_bytes());
            // Load balancers ask with any host.
            assert_eq!(status_of(&answer), 200, "{method} {path}: {answer}");
            assert_eq!(permissions(&answer), [""; 0], "{method} {path}: {answer}");
        }
    }
}

const USERS: &str = "ann:$2y$05$abcdefghijklmnopqrstuuMl1TCA9G0M3oQp0vKEtUdzRPhB5e5iK\n";
