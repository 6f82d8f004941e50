//! The admin socket: where it lies, what it speaks, and which programs it answers.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{exchange, json, refused, socket_of, wshd};
use crate::harness::server::{Server, opening, status_of};
use crate::harness::site::Site;
use crate::harness::{eventually, patience};

#[test]
fn the_configuration_names_the_socket_or_switches_it_off() {
    let site = Site::with(&["echo_wsh"]);
    site.write("config.toml", "admin_socket = \"own.sock\"\n");
    let mut server = Server::start(&site);
    let path = site.root().join("own.sock");
    let found = fs::metadata(&path).expect("it is there");
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    assert_eq!(json(&site, &["status"])["pid"], server.pid());
    let busy = Server::builder(&site).output();
    assert_eq!(busy.status.code(), Some(1));
    let said = String::from_utf8_lossy(&busy.stderr).into_owned();
    assert!(
        said.contains("cannot make the admin socket `")
            && said.contains("another process listens there already"),
        "{said}"
    );
    server.signal("TERM");
    server.wait(Duration::from_secs(20));
    assert!(!path.exists());

    site.write("config.toml", "admin_socket = \"off\"\n");
    let server = Server::start(&site);
    assert!(
        !site
            .root()
            .join(format!("wshd/{}.sock", server.pid()))
            .exists()
    );
    assert_eq!(
        refused(&site, &["status"]),
        (
            3,
            "wshd: the configuration switches the admin socket off: `admin_socket`".to_owned()
        )
    );
}

#[test]
fn no_other_server_is_asked_where_a_broken_configuration_may_name_the_socket() {
    let site = Site::with(&["echo_wsh"]);
    let good = "listen = [\"127.0.0.1:0\"]\nadmin_socket = \"own.sock\"\n";
    site.write("config.toml", good);
    let own = Server::builder(&site).start();
    let port = own.port().to_string();
    assert_eq!(json(&site, &["status", "--port", &port])["pid"], own.pid());
    let config = site.write("other.toml", "handlers_dir = \"handlers\"\n");
    let config = config.to_str().expect("text");
    let other = Server::builder(&site).args(["--config", config]).start();
    let other_path = socket_of(&site, &other);
    let other_path = other_path.to_str().expect("text");

    // What is wrong elsewhere hides no admin socket.
    site.write("config.toml", &format!("{good}[limits]\nnone = 1\n"));
    assert_eq!(json(&site, &["status"])["pid"], own.pid());
    for (text, fault) in [
        ("admin_socket = [", "config.toml:1:17: "),
        (
            "admin_socket = 1\n",
            "config.toml:1:16: `admin_socket` wants ",
        ),
    ] {
        site.write("config.toml", text);
        let (code, said) = refused(&site, &["quarantine", "echo"]);
        assert_eq!(code, 1, "{said}");
        assert!(
            said.starts_with(&format!(
                "wshd: which server is meant is not known: {fault}"
            )) && said.ends_with("; `--port` or `--socket` says it"),
            "{said}"
        );
    }
    let handlers = json(&site, &["list", "--socket", other_path]);
    assert_eq!(handlers[0]["generations"][0]["state"], "serving");
    let port = other.port().to_string();
    let status = json(&site, &["status", "--port", &port]);
    assert_eq!(status["pid"], other.pid());

    // A server that has this file, and a socket where it is looked for, is meant.
    site.write("other.toml", "listen = [");
    let status = json(&site, &["status", "--config", config]);
    assert_eq!(status["pid"], other.pid());
}

#[test]
fn the_socket_speaks_http_and_answers_garbage_with_a_sentence() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    let socket = socket_of(&site, &server);
    let body_of = |answer: &str| -> Value {
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        serde_json::from_str(body).expect("JSON")
    };

    let answer = exchange(&socket, b"GET /status HTTP/1.1\r\nHost: wshd\r\n\r\n");
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"),
        "{answer}"
    );
    assert_eq!(body_of(&answer)["pid"], server.pid());
    let answer = exchange(&socket, b"HEAD /status HTTP/1.1\r\nHost: wshd\r\n\r\n");
    assert!(
        answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
    // A body that is not read must not cost the answer.
    let with_body = b"POST /reload HTTP/1.1\r\nHost: wshd\r\nContent-Length: 3\r\n\r\na=b";
    assert_eq!(status_of(&exchange(&socket, with_body)), 200);

    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(20_000));
    for (request, status) in [
        (&b"GET /none HTTP/1.1\r\n\r\n"[..], 404),
        (b"POST /status HTTP/1.1\r\n\r\n", 405),
        (b"GET /reload HTTP/1.1\r\n\r\n", 405),
        (b"POST /drain HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"\xff\xfe\x00\x00\r\n\r\n", 400),
        (b"hello\r\n\r\n", 400),
        (long.as_bytes(), 431),
    ] {
        let answer = exchange(&socket, request);
        assert_eq!(status_of(&answer), status, "{answer}");
        assert!(body_of(&answer)["error"].is_string(), "{answer}");
    }
    assert_eq!(server.handshake_status("/echo"), 101);
}

#[test]
fn slow_clients_of_the_socket_keep_neither_operators_nor_peers_waiting() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    let socket = socket_of(&site, &server);
    let mut peer = server.connect("/echo");
    let before = server.proc_status("FDSize");
    let mut slow = Vec::new();
    for count in 0..1_000 {
        // The backlog is short; the server takes connections as fast as they come.
        let mut stream = UnixStream::connect(&socket).expect("the server listens");
        let _ = stream.write_all(b"GET /status HTTP/1.1\r\nX: ");
        slow.push(stream);
        if count % 100 == 0 {
            peer.ask("still quick");
        }
    }

    let began = Instant::now();
    assert_eq!(json(&site, &["status"])["pid"], server.pid());
    peer.ask("still quick");
    assert_eq!(server.handshake_status("/echo"), 101);
    assert!(began.elapsed() < Duration::from_secs(4) * patience());
    let files = fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("it runs");
    let (files, most) = (files.count(), before as usize + 64);
    assert!(
        files < most,
        "{files} files are open, at most {most} were expected"
    );
}

#[test]
fn another_users_process_is_not_answered() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    let socket = socket_of(&site, &server);
    let found = fs::metadata(&socket).expect("it is there");
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    if found.uid() != 0 {
        // Only root can become another user.
        return;
    }
    // Even where an operator has opened the way to it.
    for path in [site.root(), socket.parent().expect("a directory")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("its mode");
    }
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).expect("its mode");
    let script = "import socket, sys\n\
                  s = socket.socket(socket.AF_UNIX)\n\
                  s.connect(sys.argv[1])\n\
                  try:\n    s.sendall(b'GET /status HTTP/1.1\\r\\n\\r\\n')\n    sys.stdout.buffer.write(s.recv(1000))\n\
                  except OSError:\n    pass\n";
    let mut command = Command::new("setpriv");
    // Not one that belongs to root only.
    command.env("PATH", "/usr/bin:/bin");
    command.args(["--reuid=65534", "--clear-groups", "python3", "-c", script]);
    let output = command.arg(&socket).output().expect("setpriv runs");

    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    server.line(&["admin socket: another user's command is not taken"]);
    assert_eq!(json(&site, &["status"])["pid"], server.pid());
}

#[test]
fn the_files_of_sockets_that_were_removed_are_made_again_and_no_other_file_is_touched() {
    let site = Site::with(&["echo_wsh"]);
    site.write(
        "config.toml",
        "listen = [\"127.0.0.1:0\", \"unix:wshd.sock\"]\nadmin_socket = \"admin.sock\"\n",
    );
    let server = Server::bare(&site).start();
    let [clients, operators] = ["wshd.sock", "admin.sock"].map(|name| site.root().join(name));
    let status = || {
        wshd(&site, &["status", "--socket", "admin.sock"])
            .status
            .success()
    };

    for times in 1..=2 {
        fs::remove_file(&clients).expect("it is there");
        fs::remove_file(&operators).expect("it is there");
        let answers = || {
            UnixStream::connect(&clients).is_ok() && {
                let unix = Server::raw_unix(&clients);
                status_of(&Server::exchange_over(
                    unix,
                    opening("/echo", "").as_bytes(),
                )) == 101
            }
        };
        eventually("clients find the server again", answers);
        eventually("operators find the server again", status);
        server.says(&["WARN", "the file of a Unix socket was removed"], times);
        server.says(&["WARN", "the admin socket was removed"], times);
    }
    // Another file at the path is not the server's.
    fs::remove_file(&clients).expect("it is there");
    fs::write(&clients, "precious").expect("a file");
    fs::remove_file(&operators).expect("it is there");
    eventually("operators find the server again", status);
    assert_eq!(fs::read(&clients).expect("it is there"), b"precious");
    server.says(&["WARN", "the file of a Unix socket was removed"], 2);
}

#[test]
fn a_socket_that_is_made_again_elsewhere_is_told_and_found_there() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::bare(&site).start();
    let before = socket_of(&site, &server);
    let (mode, open) = (Permissions::from_mode(0o700), Permissions::from_mode(0o777));

    // Where other users can write, no socket is made.
    fs::set_permissions(site.root(), open).expect("a mode");
    fs::remove_dir_all(site.root().join("wshd")).expect("it is there");
    let told = "the admin socket was removed, and is made again at another path";
    let line = server.line(&["WARN", told, &format!("path_before={}", before.display())]);
    fs::set_permissions(site.root(), mode).expect("a mode");

    let path = line.split(" path=").nth(1).expect("a path");
    let path = path.split_whitespace().next().expect("a path");
    assert_ne!(Path::new(path), before);
    let status = json(&site, &["status", "--socket", path]);
    assert_eq!(status["pid"], server.pid());
    assert_eq!(status["admin_socket"], path);
    server.says(&["ERROR"], 0);
}
