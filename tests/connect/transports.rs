//! What carries a connection of `wshd connect`: TCP, TLS or a Unix socket, also of one server at once.

use std::io::Write;
use std::os::unix::net::UnixListener;

use tungstenite::Message;

use super::{connect, connect_as, drain, ended, server_of, url};
use crate::harness::certificates::{Authority, Issued};
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::tls::Tls;

#[test]
fn a_unix_socket_is_reached_by_its_path() {
    let site = Site::empty();
    let path = site.root().join("a.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    let serving = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a client");
        let check = |request: &tungstenite::handshake::server::Request, response| {
            assert_eq!(request.uri(), "/rooms/a?b");
            Ok(response)
        };
        let mut socket = tungstenite::accept_hdr(stream, check).expect("a handshake");
        socket
            .send(Message::text("from a socket"))
            .expect("sending");
        drain(socket);
    });

    let url = format!("ws+unix:{}:/rooms/a?b", path.display());
    ended(
        &connect(&["-n", "1", "--wait", "forever", &url], ""),
        0,
        "from a socket\n",
        "",
    );
    serving.join().expect("no panic");
}

#[test]
fn a_server_with_tls_is_trusted_by_its_ca_or_not_at_all() {
    let site = Site::with(&["echo_wsh"]);
    let tls = Tls::new(&site);
    let server = tls.builder(&site).start();
    let url = format!("wss://localhost:{}/echo", server.port());
    let ca = &*tls.ca();

    let lines: String = (0..300)
        .map(|n| format!("{n}{}\n", "abc".repeat(20_000)))
        .collect();
    let output = connect(&["-n", "300", "--ca", ca, &url], &lines);
    ended(&output, 0, &lines, "");
    ended(
        &connect(&["--insecure", "-m", "x", "-n", "1", &url], ""),
        0,
        "x\n",
        "",
    );

    let output = connect(&["-m", "x", &url], "");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("`--ca FILE` names"), "{said}");
    assert_eq!(output.status.code(), Some(1));
    let by_address = format!("wss://127.0.0.1:{}/echo", server.port());
    let output = connect(&["--ca", ca, "-m", "x", &by_address], "");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("its certificate is not trusted: "), "{said}");
}

#[test]
fn a_certificate_that_is_its_own_ca_is_trusted_if_it_is_named_itself() {
    let site = Site::with(&["echo_wsh"]);
    let tls = Tls::new(&site);
    let ca = tls.ca();
    tls.write(&Issued::by_itself(&["localhost"], 4000));
    let server = tls.builder(&site).start();
    let port = server.port();
    let url = format!("wss://localhost:{port}/echo");
    let itself = site.root().join("server.pem").display().to_string();
    let untrusted = |place: &str, why: &str| {
        format!(
            "wshd: cannot connect to `{place}`: its certificate is not trusted: {why}`--insecure` takes any certificate\n"
        )
    };

    let output = connect(&["--ca", &itself, "-m", "x", &url], "");
    ended(&output, 0, "x\n", "");
    let output = connect(&["--ca", &ca, "-m", "x", &url], "");
    let why =
        "it is a CA's own (`CA:TRUE`), and no server's; `--ca FILE` takes it if it is in FILE, ";
    ended(
        &output,
        1,
        "",
        &untrusted(&format!("localhost:{port}"), why),
    );
    let by_address = format!("wss://127.0.0.1:{port}/echo");
    let output = connect(&["--ca", &itself, "-m", "x", &by_address], "");
    let why = "certificate not valid for name \"127.0.0.1\"; certificate is only valid for DnsName(\"localhost\"); ";
    ended(
        &output,
        1,
        "",
        &untrusted(&format!("127.0.0.1:{port}"), why),
    );
}

#[test]
fn a_certificate_that_has_expired_is_not_trusted_though_it_is_named_itself() {
    let site = Site::with(&["echo_wsh"]);
    let tls = Tls::new(&site);
    tls.write(&Issued::by_itself(&["localhost"], 2001));
    let server = tls.builder(&site).start();
    let url = format!("wss://localhost:{}/echo", server.port());
    let itself = site.root().join("server.pem").display().to_string();

    let output = connect(&["--ca", &itself, "-m", "x", &url], "");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("is not trusted: it expired "), "{said}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn plain_http_and_tls_that_meet_are_told_apart() {
    let site = Site::with(&["echo_wsh"]);
    let tls = Tls::new(&site);
    let encrypted = tls.builder(&site).start();
    let output = connect(&[&url(&encrypted, "/echo")], "");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("it answered 400 Bad Request: ") && said.contains("TLS"),
        "{said}"
    );

    let (url, serving) = server_of(|mut stream| {
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .expect("bytes");
    });
    let output = connect(&[&url.replace("ws://", "wss://")], "");
    let place = url.trim_start_matches("ws://").trim_end_matches('/');
    let said = format!(
        "wshd: cannot connect to `{place}`: it does not speak TLS there; `ws://` is plain HTTP\n"
    );
    let code = output.status.code();
    serving.join().expect("no panic");
    assert_eq!(
        (code, String::from_utf8_lossy(&output.stderr).into_owned()),
        (Some(1), said)
    );
}

#[test]
fn each_address_of_one_server_is_reached_and_its_handler_sees_which() {
    let site = Site::with(&["features_wsh"]);
    let tls = Tls::new(&site);
    let ca = tls.ca();
    let pair = "certificate = \"server.pem\", key = \"server.key\"";
    site.write(
        "config.toml",
        &format!(
            "listen = [\"127.0.0.1:0\", \"127.0.0.2:0\", \"tls:127.0.0.1:0\", \"unix:wshd.sock\"]\n\
             [tls]\ncertificates = [{{ {pair} }}]\n"
        ),
    );
    let server = Server::bare(&site).start();
    let line = server.line(&["listening", "address=tls:127.0.0.1:"]);
    let tls_port = line.rsplit(':').next().expect("a port");
    let port = server.port();
    let socket = site.root().join("wshd.sock");

    for (place, trusting, client, seen) in [
        (
            format!("ws://127.0.0.1:{port}"),
            &[][..],
            "127.0.0.1:",
            "false none none 0",
        ),
        (
            format!("ws://127.0.0.2:{port}"),
            &[],
            "127.0.0.1:",
            "false none none 0",
        ),
        (
            format!("wss://localhost:{tls_port}"),
            &["--ca", &ca],
            "127.0.0.1:",
            "true TLSv1.3 localhost 0",
        ),
        (
            format!("ws+unix:{}:", socket.display()),
            &[],
            "unix:PROCESS/",
            "false none none 0",
        ),
    ] {
        let url = format!("{place}/features?handshake=tls");
        let arguments = [trusting, &["-n", "1", &url]].concat();
        let (process, output) = connect_as(&arguments, "attached\n");

        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{url}: {said}");
        let told = String::from_utf8_lossy(&output.stdout);
        let (peer, rest) = told.trim_end().split_once(' ').expect("a peer");
        let client = client.replace("PROCESS", &process.to_string());
        assert!(peer.starts_with(&client), "{url}: {peer}");
        assert_eq!(rest, seen, "{url}");
        server.line(&["session closed", &format!("peer={peer} ")]);
    }
}

#[test]
fn a_server_that_asks_for_a_certificate_is_shown_one() {
    let site = Site::with(&["features_wsh"]);
    let tls = Tls::new(&site);
    let known = tls.authority.client("known");
    known.write(site.root(), "known");
    site.write("both.pem", &(known.certificate.clone() + &known.key));
    let unknown = Authority::new("another CA").client("unknown");
    unknown.write(site.root(), "unknown");
    let builder = tls.builder(&site);
    let server = builder
        .args(["--tls-client-auth", "--tls-client-ca", "ca.pem"])
        .start();
    let port = server.port();
    let url = format!("wss://localhost:{port}/features?handshake=tls");
    let ca = tls.ca();
    let file = |name: &str| site.root().join(name).display().to_string();
    let shown = |arguments: &[&str]| {
        let all = [&["--ca", &ca, "-m", "attached", "-n", "1", &url], arguments].concat();
        connect(&all, "")
    };

    let (pem, key) = (file("known.pem"), file("known.key"));
    let seen = format!(" true TLSv1.3 localhost {}\n", known.der().len());
    for arguments in [
        &["--cert", &pem, "--key", &key][..],
        &["--cert", &file("both.pem")],
    ] {
        let output = shown(arguments);
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(told.ends_with(&seen), "{told}");
        assert_eq!(output.status.code(), Some(0));
    }

    let (other, other_key) = (file("unknown.pem"), file("unknown.key"));
    for (arguments, why) in [
        (
            &[][..],
            "it wants a certificate of the client: `--cert FILE` and `--key FILE` show one"
                .to_owned(),
        ),
        (
            &["--cert", &other, "--key", &other_key],
            "it does not take the client's certificate: it answers with the alert UnknownCA"
                .to_owned(),
        ),
        (
            &["--cert", &pem, "--key", &other_key],
            format!("the key `{other_key}` is not the key of the certificate `{pem}`"),
        ),
    ] {
        let said = format!("wshd: cannot connect to `localhost:{port}`: {why}\n");
        ended(&shown(arguments), 1, "", &said);
    }
}
