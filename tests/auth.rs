//! Who may enter: users and tokens, on the wire.

mod changes;
mod remarks;

use std::io::Read;
use std::process::Command;
use std::time::Duration;

use data_encoding::BASE64;

use crate::harness::client::Client;
use crate::harness::compile::compile;
use crate::harness::server::{Server, opening, status_of};
use crate::harness::site::Site;
use crate::harness::within;

/// The hash of `tea`, by `openssl passwd -5`.
const OF_TEA: &str = "$5$saltsalt$kWwMLQhDW1TzF9cDGZ7aP0rxs0VbLpf/VaG3Wsxmwm.";
/// The hash of `tea`, by `htpasswd -B`.
const OF_TEA_BY_BCRYPT: &str = "$2y$05$abcdefghijklmnopqrstuud6G93R2mClriPOkUzylPQG1gEj0ICEq";
/// The SHA-256 of `test`.
pub(crate) const OF_TEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const BASIC: &str = "WWW-Authenticate: Basic realm=\"wshd\", charset=\"UTF-8\"\r\n";
const BEARER: &str = "WWW-Authenticate: Bearer realm=\"wshd\"\r\n";

pub(crate) fn basic(pair: &str) -> String {
    format!(
        "Authorization: Basic {}\r\n",
        BASE64.encode(pair.as_bytes())
    )
}

fn get(server: &Server, path: &str, lines: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n");
    server.exchange(request.as_bytes())
}

fn upgrade(server: &Server, path: &str, lines: &str) -> String {
    server.exchange(opening(path, lines).as_bytes())
}

fn upgrade_status(server: &Server, path: &str, lines: &str) -> u16 {
    status_of(&upgrade(server, path, lines))
}

/// A site with users, a token, a page and a few handlers.
fn site(config: &str) -> Site {
    let site = Site::with(&["echo_wsh", "features_wsh"]);
    site.write("www/index.html", "the index");
    site.write("users", &format!("ann:{OF_TEA}\nbob:{OF_TEA_BY_BCRYPT}\n"));
    site.write("tokens", &format!("ci:sha256:{OF_TEST}\n"));
    site.write("config.toml", config);
    site
}

const ALL: &str = "handlers_dir = \"handlers\"\ndocument_root = \"www\"\nusers_file = \"users\"\ntokens_file = \"tokens\"\n";

#[test]
fn nothing_is_told_to_a_peer_that_says_no_user() {
    let site = site(ALL);
    let server = Server::builder(&site).start();

    for path in [
        "/",
        "/nothing",
        "/echo",
        "/.wshd/handlers.json",
        "/.wshd/dev",
    ] {
        for answer in [get(&server, path, ""), upgrade(&server, path, "")] {
            assert_eq!(status_of(&answer), 401, "{path}: {answer}");
            assert!(
                answer.contains(BASIC) && answer.contains(BEARER),
                "{answer}"
            );
            assert!(
                !answer.contains("echo") && !answer.contains("the index"),
                "{answer}"
            );
        }
        for method in ["HEAD", "OPTIONS", "POST", "PUT"] {
            if (method, path) == ("OPTIONS", "/") {
                // It is what load balancers ask, and tells nothing of what lies there.
                continue;
            }
            let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            let answer = server.exchange(request.as_bytes());
            assert_eq!(status_of(&answer), 401, "{method} {path}: {answer}");
            let body = answer.split("\r\n\r\n").nth(1).expect("a body");
            assert_eq!(body.is_empty(), method == "HEAD", "{answer}");
        }
    }
    let old = "GET / HTTP/1.0\r\n\r\n";
    assert_eq!(status_of(&server.exchange(old.as_bytes())), 401);

    for (path, status) in [
        ("/", 200),
        ("/nothing", 404),
        ("/echo", 426),
        ("/.wshd/handlers.json", 200),
    ] {
        for lines in [
            &*basic("ann:tea"),
            &basic("bob:tea"),
            "Authorization: Bearer test\r\n",
        ] {
            let answer = get(&server, path, lines);
            assert_eq!(status_of(&answer), status, "{path} {lines}: {answer}");
        }
    }
    assert_eq!(upgrade_status(&server, "/echo", &basic("ann:tea")), 101);
    assert_eq!(upgrade_status(&server, "/nothing", &basic("ann:tea")), 404);
    server.line(&["only users may enter", "users=2", "tokens=1"]);
    server.line(&["handshake refused", "status=401", "no user and no token"]);
    // A browser's first request for a page is no refusal that is worth a line.
    let of_pages = server.count_lines(&["handshake refused", "path=/ "]);
    assert!(of_pages <= 1, "{of_pages}");
}

#[test]
fn what_a_peer_says_of_itself_is_read_as_the_rfcs_say() {
    let site = site(ALL);
    let server = Server::builder(&site).start();
    let pair = BASE64.encode(b"ann:tea");

    for (value, status) in [
        (format!("basic {pair}"), 101),
        (format!("BASIC   {pair} "), 101),
        ("bearer test".to_owned(), 101),
        (format!("Basic {}", BASE64.encode(b"ann:")), 401),
        (format!("Basic {}", BASE64.encode(b"ann:tea ")), 401),
        (format!("Basic {}", BASE64.encode(b"Ann:tea")), 401),
        (format!("Basic {}", BASE64.encode(b"nobody:tea")), 401),
        (format!("Basic {}", BASE64.encode(b":")), 401),
        (format!("Basic {}", BASE64.encode(b"\xff:tea")), 401),
        (format!("Digest {pair}"), 401),
        // One blank ends the scheme, and a tab is none.
        (format!("Basic\t{pair}"), 401),
        (format!("\tbAsIc {pair}\t"), 101),
        (format!("Basic {}", pair.trim_end_matches('=')), 400),
        (format!("Bearer {}", "x".repeat(15_000)), 401),
        // Past the limit of a whole head.
        (format!("Bearer {}", "x".repeat(1 << 20)), 431),
        ("Bearer Test".to_owned(), 401),
        (pair.clone(), 401),
        (format!("Basic {}", BASE64.encode(b"ann")), 400),
        (
            format!("Basic {}", pair.trim_end_matches('=').to_owned() + "!"),
            400,
        ),
        ("Basic".to_owned(), 400),
        ("Bearer a b".to_owned(), 400),
        (format!("Basic {pair}, Bearer test"), 400),
        (format!("Basic {pair}\r\nAuthorization: Basic {pair}"), 400),
        (format!("Basic {pair}\r\nauthorization: Bearer test"), 400),
    ] {
        let answer = upgrade(&server, "/echo", &format!("Authorization: {value}\r\n"));
        assert_eq!(status_of(&answer), status, "{value:?}: {answer}");
        assert_eq!(
            status == 401,
            answer.contains("WWW-Authenticate"),
            "{answer}"
        );
        assert!(
            !answer.contains("tea") && !answer.contains(&pair),
            "{answer}"
        );
    }
    let unknown = upgrade(&server, "/echo", "Authorization: Bearer other\r\n");
    let challenge = "WWW-Authenticate: Bearer realm=\"wshd\", error=\"invalid_token\"\r\n";
    assert!(unknown.contains(challenge), "{unknown}");
    server.line(&["handshake refused", "status=401", "wrong user or password"]);
    server.line(&["handshake refused", "status=401", "unknown token"]);
}

#[test]
fn a_handler_and_the_log_learn_the_user_and_never_the_password() {
    let site = site(ALL);
    let source = "tests/fixtures/c/says_user.c";
    site.add_bytes(&compile(source, &[]), "says_user_wsh.so");
    let server = Server::builder(&site).start();
    let port = server.port();

    for (value, user) in [
        (format!("Basic {}", BASE64.encode(b"ann:tea")), "ann"),
        ("Bearer test".to_owned(), "ci"),
    ] {
        let mut client = Client::connect(port, "/says_user", &[("Authorization", &value)]);
        assert_eq!(client.text(), format!("user {user}"));
        client.close(1000);
        server.line(&["session opened", "path=/says_user", &format!("user={user}")]);
        server.line(&["session closed", "path=/says_user", &format!("user={user}")]);
    }
    let log = server.log();
    let pair = BASE64.encode(b"ann:tea");
    for secret in ["tea", "Bearer", &pair, OF_TEST, "saltsalt"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

#[test]
fn a_rule_is_for_a_path_or_for_a_handler_at_all_of_its_paths() {
    let rules = "[auth]\n\"/public/*\" = \"open\"\n\"/features\" = \"open\"\n\"/staff/*\" = [\"bob\"]\n\
                 [handler.echo]\nauth = [\"bob\", \"ci\"]\n\
                 [routes]\n\"/public/alias\" = \"/echo\"\n\"/public/{name}/x\" = \"/echo\"\n";
    let site = site(&format!("{ALL}{rules}"));
    site.write("www/public/page.html", "a page");
    site.write("www/staff/page.html", "a page");
    let server = Server::builder(&site).start();
    let (ann, bob) = (basic("ann:tea"), basic("bob:tea"));

    for (path, lines, status) in [
        ("/public/page.html", "", 200),
        ("//public//page.html", "", 200),
        ("/public/nothing", "", 404),
        ("/publicly", "", 401),
        ("/", "", 401),
        ("/staff/page.html", "", 401),
        ("/staff/page.html", &*ann, 403),
        ("//staff/page.html", &ann, 403),
        ("/staff//page.html", &ann, 403),
        ("/%73taff/page.html", &ann, 403),
        ("/staff/page.html", &bob, 200),
        ("/staff/page.html", "Authorization: Bearer test\r\n", 403),
        // Where the rule is `open`, what a peer says is not looked at.
        ("/public/page.html", "Authorization: Basic !\r\n", 200),
        ("/public/page.html", &basic("ann:wrong"), 200),
    ] {
        let answer = get(&server, path, lines);
        assert_eq!(status_of(&answer), status, "{path} {lines}: {answer}");
    }
    for path in ["/echo", "/public/alias", "/public/a/x"] {
        assert_eq!(upgrade_status(&server, path, ""), 401, "{path}");
        assert_eq!(upgrade_status(&server, path, &ann), 403, "{path}");
        assert_eq!(upgrade_status(&server, path, &bob), 101, "{path}");
        assert_eq!(status_of(&get(&server, path, "")), 401, "{path}");
    }
    let token = "Authorization: Bearer test\r\n";
    assert_eq!(upgrade_status(&server, "/echo", token), 101);
    assert_eq!(upgrade_status(&server, "/features", ""), 101);
    server.line(&[
        "handshake refused",
        "status=403",
        "the user `ann` may not enter here",
    ]);
}

#[test]
fn a_server_does_not_start_with_a_broken_file_or_without_a_password() {
    let site = site("handlers_dir = \"handlers\"\n");
    site.write("users", "ann:geheim\n");
    for arguments in [&["check"][..], &[]] {
        for (flags, expected) in [
            (
                &["--users-file", "users"][..],
                "wshd: users:1:1: user `ann` has no known hash",
            ),
            (&["--users-file", "gone"], "wshd: cannot read `"),
            (
                &["--basic-auth"],
                "wshd: `basic_auth` wants a password, and there is no default password",
            ),
            (
                &["--basic-auth-credential", "geheim"],
                "wshd: `basic_auth_credential` wants `USER:PASSWORD`",
            ),
        ] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_wshd"));
            command.current_dir(site.root()).args(arguments).args(flags);
            let output = command.output().expect("wshd runs");
            let said =
                String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            assert_eq!(output.status.code(), Some(78), "{flags:?}: {said}");
            assert!(
                said.contains(expected) && !said.contains("geheim"),
                "{said}"
            );
        }
    }
}

#[test]
fn the_flags_of_pywebsocket_ask_for_one_user() {
    let site = Site::with(&["echo_wsh"]);
    let flags = ["--basic-auth", "--basic-auth-credential", "test:test"];
    let server = Server::builder(&site).args(flags).start();
    assert_eq!(server.handshake_status("/echo"), 401);
    assert_eq!(upgrade_status(&server, "/echo", &basic("test:test")), 101);
    assert_eq!(upgrade_status(&server, "/echo", &basic("test:tes")), 401);
    let answer = get(&server, "/", &basic("test:wrong"));
    assert!(
        answer.contains(BASIC) && !answer.contains("Bearer"),
        "{answer}"
    );

    let variable = Server::builder(&site).env("WSHD_BASIC_AUTH_CREDENTIAL", "ann:tea");
    let server = variable.start();
    assert_eq!(server.handshake_status("/echo"), 401);
    assert_eq!(upgrade_status(&server, "/echo", &basic("ann:tea")), 101);
}

#[test]
fn wrong_passwords_of_one_address_are_limited_and_lock_no_user_out() {
    let site = site(ALL);
    let server = Server::builder(&site).start();
    assert_eq!(upgrade_status(&server, "/echo", &basic("bob:tea")), 101);

    let guesses = |number: usize| upgrade(&server, "/echo", &basic(&format!("ann:{number}")));
    let answers: Vec<String> = (0..60).map(guesses).collect();
    let limited = answers.iter().filter(|answer| status_of(answer) == 429);
    let limited: Vec<&String> = limited.collect();
    assert!(!limited.is_empty(), "{answers:?}");
    assert!(
        limited
            .iter()
            .all(|answer| answer.contains("\r\nRetry-After: ")),
        "{limited:?}"
    );
    assert_eq!(status_of(&answers[0]), 401);

    // A user whose password is remembered comes in, and so does a token.
    assert_eq!(upgrade_status(&server, "/echo", &basic("bob:tea")), 101);
    let token = "Authorization: Bearer test\r\n";
    assert_eq!(upgrade_status(&server, "/echo", token), 101);
    // The right password comes in as soon as there is a guess again.
    within(Duration::from_secs(20), "ann may enter", || {
        upgrade_status(&server, "/echo", &basic("ann:tea")) == 101
    });
    server.line(&[
        "handshake refused",
        "status=429",
        "too many wrong passwords",
    ]);
}

#[test]
fn many_connections_of_one_user_cost_one_comparison() {
    let site = site(ALL);
    // Its hash takes a quarter of a second or more.
    let slow = "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHRzYWx0c2FsdA$EtquD/5J8MAFc1sBdp52+4MpG8KfV9fnvgfg8JyQKD4";
    site.write("users", &format!("ann:{slow}\n"));
    let server = Server::builder(&site).start();

    // All of them ask at once, before anything is remembered. One comparison after the other would take longer than a
    // handshake may.
    let mut clients: Vec<_> = (0..200).map(|_| server.raw()).collect();
    let request = opening("/echo", &basic("ann:tea"));
    for client in &mut clients {
        std::io::Write::write_all(client, request.as_bytes()).expect("sending");
    }
    for client in &mut clients {
        let mut answer = [0; 12];
        client.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 101");
    }
}
