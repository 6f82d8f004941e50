//! Where the server listens: addresses and Unix sockets, and what a Unix socket's file goes through.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::harness::client::{Client, Steady};
use crate::harness::server::{Server, opening, status_of};
use crate::harness::site::Site;
use crate::harness::tls::Tls;
use crate::harness::{eventually, patience};

/// A site whose server listens on `wshd.sock` besides `more`, with these lines in its file.
fn site(more: &str, lines: &str) -> (Site, PathBuf) {
    let site = Site::with(&["echo_wsh", "features_wsh", "speaks_later_wsh"]);
    let listen = format!("listen = [{more}\"unix:wshd.sock\"]\n{lines}");
    site.write("config.toml", &listen);
    let socket = site.root().join("wshd.sock");
    (site, socket)
}

/// Starts a server of a site as its file says.
fn start(site: &Site) -> Server {
    Server::bare(site).args(["--log-level", "debug"]).start()
}

/// Opens a WebSocket at `path` over this connection.
#[track_caller]
fn over(stream: TcpStream, path: &str) -> Client {
    let url = format!("ws://localhost{path}");
    Client::over(Steady::plain(stream), &url, path, &[])
}

/// Opens a WebSocket at `path` over a Unix socket.
#[track_caller]
fn connect(socket: &Path, path: &str) -> Client {
    over(Server::raw_unix(socket), path)
}

/// Returns what a request over a Unix socket is answered.
#[track_caller]
fn exchange(socket: &Path, request: &str) -> String {
    Server::exchange_over(Server::raw_unix(socket), request.as_bytes())
}

/// Counts the connections of 127.0.0.1 of which the server has read all that came.
fn read_connections(server: &Server) -> usize {
    let own = format!("0100007F:{:04X}", server.port());
    let table = fs::read_to_string("/proc/net/tcp").expect("the table of sockets");
    let fields = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    // The local address, the state (1 is established), and what waits in both directions.
    let is_read = |it: &Vec<&str>| it[1] == own && it[3] == "01" && it[4].ends_with(":00000000");
    fields.filter(is_read).count()
}

/// Runs a server that is to end at its start. Returns its exit code and what it says.
fn refused(site: &Site) -> (Option<i32>, String) {
    let output = Server::bare(site).output();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

#[test]
fn a_websocket_and_pages_are_served_over_a_unix_socket() {
    let (site, socket) = site("", "document_root = \"www\"\n");
    let page = "a page ".repeat(20_000);
    site.write("www/page.txt", &page);
    let server = start(&site);

    let mut client = connect(&socket, "/echo");
    let long = "x".repeat(60_000);
    assert_eq!(client.ask("a message"), "a message");
    assert_eq!(client.ask(&long), long);
    assert_eq!(client.close(1000), 1000);
    let answer = exchange(&socket, "GET /page.txt HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(answer.ends_with(&format!("\r\n\r\n{page}")), "{answer}");

    let process = format!("unix:{}/", std::process::id());
    server.line(&["listening", &format!("address=unix:{}", socket.display())]);
    let url = format!("url=ws+unix:{}:/echo", socket.display());
    server.line(&["handler answers", &url]);
    server.line(&["session", "path=/echo", &format!("peer={process}")]);
    let client = connect(&socket, "/features?handshake=client");
    let told = client.response.headers()["X-Client"]
        .to_str()
        .expect("text");
    assert!(told.starts_with(&process), "{told}");
}

#[test]
fn the_url_that_the_log_shows_is_one_that_wshd_connect_takes() {
    for addresses in ["", "\"127.0.0.1:0\", "] {
        let (site, _) = site(addresses, "");
        let strange = ["a b", "a?b", "a#b", "50%25", "t\u{e9}", "sub/a:/b"];
        for name in strange {
            site.add("echo_wsh", &format!("{name}_wsh.so"));
        }
        let server = start(&site);
        for name in strange.into_iter().chain(["echo"]) {
            let handler = match name.contains(' ') {
                true => format!("handler={name:?} "),
                false => format!("handler={name} "),
            };
            let line = server.line(&["handler answers", &handler]);
            let url = line.split("url=").nth(1).expect("a URL");

            let client = Server::bare(&site).args(["connect", url, "-m", "Hello", "-n", "1"]);
            let output = client.output();

            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{url}: {said}");
            assert_eq!(output.stdout, b"Hello\n", "{url}");
        }
    }
}

#[test]
fn over_a_unix_socket_every_host_is_answered_for_and_origins_are_judged() {
    let (site, socket) = site("\"127.0.0.1:0\", ", "");
    let server = start(&site);
    let of_proxy = |path: &str, extra: &str| {
        opening(path, extra).replace("Host: localhost", "Host: example.com")
    };

    assert_eq!(status_of(&exchange(&socket, &of_proxy("/echo", ""))), 101);
    let over_tcp = server.exchange(of_proxy("/echo", "").as_bytes());
    assert_eq!(status_of(&over_tcp), 421, "a browser can be led there");
    for (origin, expected) in [("http://example.com", 101), ("http://evil.example", 403)] {
        let origin = format!("Origin: {origin}\r\n");
        let answer = exchange(&socket, &of_proxy("/speaks_later", &origin));
        assert_eq!(status_of(&answer), expected, "{origin}");
    }

    // The test runs as the server's user, which is told what operators are.
    let listing = "GET /.wshd/handlers.json HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert!(exchange(&socket, listing).contains("file_hash"));
    let through_proxy = listing.replace("localhost", "example.com");
    assert!(!exchange(&socket, &through_proxy).contains("file_hash"));
}

#[test]
fn two_plain_addresses_one_with_tls_and_a_unix_socket_are_served_at_once() {
    let addresses = "\"127.0.0.1:0\", \"127.0.0.2:0\", \"tls:127.0.0.1:0\", ";
    let pair = "certificate = \"server.pem\", key = \"server.key\"";
    let certificates = format!("[tls]\ncertificates = [{{ {pair} }}]\n");
    let (site, socket) = site(addresses, &certificates);
    let tls = Tls::new(&site);
    let server = start(&site);
    server.says(&["listening", "address="], 4);
    let line = server.line(&["listening", "address=tls:127.0.0.1:"]);
    let tls_port = line.rsplit(':').next().and_then(|it| it.parse().ok());
    let tls_port = tls_port.expect("a port");

    let plain = |address: &str| {
        let stream = TcpStream::connect((address, server.port())).expect("it listens");
        let timeout = Some(Duration::from_secs(20) * patience());
        stream.set_read_timeout(timeout).expect("a timeout");
        over(stream, "/echo")
    };
    let encrypted = Steady::over_tls(tls.client().open(tls_port));
    let url = format!("wss://localhost:{tls_port}/echo");
    let mut clients = [
        plain("127.0.0.1"),
        plain("127.0.0.2"),
        Client::over(encrypted, &url, "/echo", &[]),
        connect(&socket, "/echo"),
    ];
    for round in ["one", "two"] {
        for client in &mut clients {
            assert_eq!(client.ask(round), round);
        }
    }
    assert_ne!(tls_port, server.port());
    let url = format!("url=ws://localhost:{}/echo", server.port());
    server.line(&["handler answers", &url]);
}

#[test]
fn a_stop_closes_the_sessions_of_a_unix_socket_and_removes_its_file() {
    let (site, socket) = site("", "");
    let mut server = start(&site);
    let mut client = connect(&socket, "/echo");
    assert_eq!(client.ask("here"), "here");

    server.signal("TERM");

    assert_eq!(client.close_code(), 1001);
    assert_eq!(server.wait(Duration::from_secs(10)).code(), Some(0));
    assert!(!socket.exists());
}

#[test]
fn the_socket_of_a_server_that_was_killed_is_taken_over() {
    let (site, socket) = site("", "");
    let mut killed = start(&site);
    killed.signal("KILL");
    killed.wait(Duration::from_secs(10));
    assert!(UnixStream::connect(&socket).is_err(), "it is stale");
    assert!(socket.exists());

    let server = start(&site);

    server.line(&["took over the socket of a server that is gone"]);
    assert_eq!(connect(&socket, "/echo").ask("again"), "again");
}

#[test]
fn a_second_server_on_a_path_ends_with_1_and_the_first_one_serves_on() {
    let (site, socket) = site("", "");
    let mut server = start(&site);

    let (code, said) = refused(&site);

    assert_eq!(code, Some(1), "{said}");
    let expected = format!(
        "wshd: cannot listen on unix:{}: another process listens there already\n",
        socket.display()
    );
    assert!(said.contains(&expected), "{said}");
    assert_eq!(connect(&socket, "/echo").ask("here"), "here");

    // What lies at the path at the end is not the server's own.
    fs::remove_file(&socket).expect("it is there");
    fs::write(&socket, "of another program").expect("a file");
    server.signal("TERM");
    assert_eq!(server.wait(Duration::from_secs(10)).code(), Some(0));
    let left = fs::read_to_string(&socket).expect("it is left");
    assert_eq!(left, "of another program");

    // And it is not removed at a start either.
    let (code, said) = refused(&site);
    assert_eq!(code, Some(1), "{said}");
    let expected = "what lies there is no socket, and is left as it is\n";
    assert!(said.contains(expected), "{said}");
    assert!(socket.exists());
}

#[test]
fn a_start_that_fails_leaves_no_socket_behind() {
    let (site, socket) = site("", "handlers_dir = \"nowhere\"\n");
    let (code, said) = refused(&site);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("cannot serve handlers from"), "{said}");
    assert!(!socket.exists());
}

#[test]
fn a_unix_socket_has_the_mode_that_the_configuration_says_whatever_the_umask() {
    for (lines, expected) in [
        ("", 0o660),
        ("unix_mode = \"600\"\n", 0o600),
        ("unix_mode = \"0666\"\n", 0o666),
    ] {
        let (site, socket) = site("", lines);
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "umask 077 && exec \"$@\"", "sh"]);
        let _server = Server::bare(&site).within(shell).start();
        let mode = fs::metadata(&socket).expect("it is there").permissions();
        assert_eq!(mode.mode() & 0o7777, expected);
    }
}

#[test]
fn silent_connections_of_a_unix_socket_give_way_and_those_of_a_crowded_address_before_them() {
    let limits = "[limits]\nconnections_max = 8\npending_handshakes_max = 8\n";
    let (site, socket) = site("\"127.0.0.1:0\", ", limits);
    let server = start(&site);
    // A share is two. The Unix socket is over it, and loses nothing while an address is over it.
    let silent = |stream: TcpStream| {
        (&stream).write_all(b"GET").expect("sending");
        stream.set_nonblocking(true).expect("non-blocking");
        stream
    };
    let closed = |streams: &[TcpStream]| {
        let is_open = |mut stream: &TcpStream| {
            matches!(stream.read(&mut [0; 8]), Err(error)
            if error.kind() == std::io::ErrorKind::WouldBlock)
        };
        streams.iter().filter(|stream| !is_open(stream)).count()
    };
    let unix: Vec<_> = (0..4).map(|_| silent(Server::raw_unix(&socket))).collect();
    let tcp: Vec<_> = (0..4).map(|_| silent(server.raw())).collect();
    eventually("those of the address wait for the rest", || {
        read_connections(&server) == 4
    });

    let sessions: Vec<_> = (0..2).map(|_| connect(&socket, "/echo")).collect();
    eventually("two of the address give way", || closed(&tcp) == 2);
    assert_eq!(closed(&unix), 0);

    // The address is not over its share any more, so the oldest of all give way.
    let more: Vec<_> = (0..2).map(|_| connect(&socket, "/echo")).collect();
    eventually("two more give way", || closed(&tcp) + closed(&unix) == 4);
    drop((sessions, more));
}

#[test]
fn the_last_words_of_a_client_that_closes_its_unix_socket_reach_the_handler() {
    let (site, socket) = site("", "");
    let server = start(&site);
    let mut stream = Server::raw_unix(&socket);
    stream
        .write_all(opening("/echo", "").as_bytes())
        .expect("sending");
    // A masked text and a Close, and the end right behind them.
    stream
        .write_all(b"\x81\x82\0\0\0\0hi\x88\x82\0\0\0\0\x03\xe8")
        .expect("sending");
    drop(stream);

    server.line(&["session", "path=/echo", "peer=unix:", "code=1000"]);
}

#[test]
fn the_host_and_port_of_an_absolute_target_are_those_that_are_wanted() {
    let site = Site::with(&["echo_wsh", "speaks_later_wsh"]);
    let flags = ["-V", "localhost", "-P", "9000"];
    let server = Server::builder(&site).args(flags).start();
    for (target, expected) in [
        ("/echo", 101),
        ("ws://localhost:9000/echo", 101),
        ("WSS://LOCALHOST:9000/echo?x", 101),
        ("http://localhost:9000/echo", 101),
        ("http://127.0.0.1:1/echo", 404),
        ("https://localhost/echo", 404),
        ("ws://127.0.0.1:9000/echo", 404),
        // A host that this server would not answer for anyway.
        ("ws://elsewhere.example:9000/echo", 404),
        ("http://elsewhere.example/echo", 404),
        ("ws://localhost:9001/echo", 404),
        ("ws://localhost/echo", 404),
        ("ws:///echo", 400),
    ] {
        assert_eq!(server.handshake_status(target), expected, "{target}");
    }
    server.line(&[
        "handshake refused",
        "status=404",
        "the target's host or port is not that of `validation_host` or `validation_port`",
    ]);

    // The host of the target is the one that `origins` means, not `Host`.
    let target = "ws://localhost:9000/speaks_later";
    for (origin, expected) in [("http://localhost:9000", 101), ("http://a.example", 403)] {
        let request = opening(target, &format!("Origin: {origin}\r\n"));
        let request = request.replace("Host: localhost", "Host: a.example");
        let answer = server.exchange(request.as_bytes());
        assert_eq!(status_of(&answer), expected, "{origin}");
    }
}

#[test]
fn the_host_that_is_wanted_of_an_absolute_target_is_answered_for_on_loopback_too() {
    let site = Site::with(&["echo_wsh"]);
    let flags = ["-V", "www.Example.com", "-P", "80"];
    let server = Server::builder(&site).args(flags).start();
    for (target, expected) in [
        ("ws://www.example.com/echo", 101),
        ("http://WWW.example.com:80/echo", 101),
        ("ws://www.example.com:81/echo", 404),
        ("ws://elsewhere.example/echo", 404),
        ("/echo", 101),
    ] {
        assert_eq!(server.handshake_status(target), expected, "{target}");
    }

    // `Host` is another matter.
    let request = opening("/echo", "").replace("Host: localhost", "Host: www.example.com");
    let answer = server.exchange(request.as_bytes());
    assert_eq!(status_of(&answer), 421);
}

#[test]
fn check_names_the_line_of_an_address_that_cannot_be_listened_on() {
    let (site, _) = site("\"tls:127.0.0.1:0\", ", "");
    let output = Server::bare(&site).arg("check").output();
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8_lossy(&output.stderr);
    let expected = "config.toml:1:11: cannot listen on `tls:127.0.0.1:0`: TLS needs a certificate and its key: ";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn two_paths_that_lead_to_one_unix_socket_are_both_named() {
    let (site, socket) = site("\"unix:link/wshd.sock\", ", "");
    std::os::unix::fs::symlink(".", site.root().join("link")).expect("a link");

    let (code, said) = refused(&site);

    assert_eq!(code, Some(1), "{said}");
    let link = site.root().join("link/wshd.sock");
    let expected = format!(
        "wshd: cannot listen on unix:{}: it is the file of `unix:{}`, which is listened on too\n",
        socket.display(),
        link.display()
    );
    assert!(said.contains(&expected), "{said}");
}

#[test]
fn an_ipv4_address_in_the_form_of_ipv6_is_listened_on_beside_others() {
    let site = Site::with(&["echo_wsh"]);
    let listen = "listen = [\"127.0.0.2:0\", \"[::ffff:127.0.0.1]:0\"]\n";
    site.write("config.toml", listen);
    let server = start(&site);
    assert_eq!(server.connect("/echo").ask("here"), "here");
}
