//! Certificates: which one a client gets, how they are replaced, and those of clients.

use std::fs;
use std::io::{Read, Write};

use rustls::version::{TLS12, TLS13};

use super::serve;
use crate::harness::certificates::{Authority, Issued};
use crate::harness::server::{Server, opening, status_of};
use crate::harness::site::Site;
use crate::harness::tls::{Tls, TlsClient};
use crate::harness::{eventually, is_long};

/// Returns the certificate that a client gets.
pub(super) fn subject(client: &TlsClient, server: &Server) -> Vec<u8> {
    let socket = client.open(server.port());
    let chain = socket.conn.peer_certificates().expect("a certificate");
    chain[0].to_vec()
}

fn is_for(certificate: &[u8], name: &str) -> bool {
    certificate
        .windows(name.len())
        .any(|it| it == name.as_bytes())
}

#[test]
fn a_certificate_that_is_replaced_is_what_new_connections_get_and_no_session_ends() {
    let (_site, tls, server) = serve(&["echo_wsh"]);
    let client = tls.client();
    let count = if is_long() { 1_000 } else { 100 };
    let mut open: Vec<_> = (0..count)
        .map(|_| client.connect(&server, "/echo"))
        .collect();
    let first = subject(&client, &server);
    for session in &mut open {
        assert_eq!(session.ask("before"), "before");
    }

    tls.write(&tls.authority.server(&["localhost", "renewed.example"]));

    let mut rounds = 0;
    eventually("new connections get the new certificate", || {
        for session in &mut open {
            assert_eq!(session.ask("during"), "during");
        }
        rounds += 1;
        subject(&client, &server) != first
    });
    assert!(is_for(&subject(&client, &server), "renewed.example"));
    server.line(&["certificates applied"]);
    for (index, session) in open.iter_mut().enumerate() {
        assert_eq!(session.ask(&index.to_string()), index.to_string());
    }
    assert_eq!(server.count_lines(&["session closed"]), 0);
    if is_long() {
        eprintln!("each of {count} sessions answered {rounds} times while the change came");
    }
}

#[test]
fn a_pair_that_does_not_fit_keeps_the_old_one_and_says_so_once() {
    let (site, tls, server) = serve(&["echo_wsh"]);
    let first = subject(&tls.client(), &server);
    let pem = site.root().join("server.pem");
    let other = tls.authority.server(&["localhost"]);

    fs::write(&pem, &other.certificate).expect("writing");
    server.line(&[
        "certificates refused, the old ones keep serving",
        "is not the key of",
    ]);
    assert_eq!(subject(&tls.client(), &server), first);
    fs::write(&pem, "no certificate").expect("writing");
    server.line(&["certificates refused", "has no CERTIFICATE in PEM"]);
    fs::remove_file(&pem).expect("removing");
    server.line(&["certificates refused", "cannot read"]);
    server.signal("HUP");
    eventually("each request of an operator is answered", || {
        server.count_lines(&["certificates refused", "cannot read"]) == 2
    });
    assert_eq!(subject(&tls.client(), &server), first);
    assert_eq!(server.count_lines(&["certificates refused"]), 4);

    tls.write(&other);
    server.line(&["certificates applied"]);
    assert_eq!(subject(&tls.client(), &server), other.der().to_vec());
}

#[test]
fn a_server_whose_certificate_cannot_be_used_does_not_start() {
    let site = Site::with(&["echo_wsh"]);
    let tls = Tls::new(&site);
    let start = || tls.builder(&site).output();
    let check = || tls.builder(&site).arg("check").output();
    let other = tls.authority.server(&["localhost"]);
    for (file, text, said) in [
        (
            "server.key",
            &*other.key,
            "is not the key of the certificate",
        ),
        ("server.key", "no key", "has no PRIVATE KEY in PEM"),
        (
            "server.key",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\n",
            "is encrypted",
        ),
        ("server.pem", "", "has no CERTIFICATE in PEM"),
        (
            "server.pem",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "cannot use",
        ),
    ] {
        let own = tls.authority.server(&["localhost"]);
        tls.write(&own);
        site.write(file, text);
        for output in [start(), check()] {
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(error.contains(said), "{error}");
            assert_eq!(output.status.code(), Some(78), "{error}");
        }
    }

    let nothing = Server::builder(&site).arg("-t").output();
    let error = String::from_utf8_lossy(&nothing.stderr).into_owned();
    assert!(
        error.contains("TLS needs a certificate and its key: `--certificate FILE"),
        "{error}"
    );
    assert_eq!(nothing.status.code(), Some(78));
}

#[test]
fn the_certificate_is_that_of_the_name_which_a_client_asks_for() {
    let site = Site::with(&["echo_wsh"]);
    let tls = Tls::new(&site);
    for (name, names) in [
        ("one", &["one.example", "localhost"][..]),
        ("two", &["two.example", "*.two.example"]),
    ] {
        tls.authority.server(names).write(site.root(), name);
    }
    site.write(
        "config.toml",
        "[tls]\nevery_address = true\ncertificates = [{ certificate = \"one.pem\", key = \"one.key\" }, \
         { certificate = \"two.pem\", key = \"two.key\" }]\n",
    );
    let server = Server::builder(&site).start();

    for (asked, expected) in [
        ("one.example", "one.example"),
        ("localhost", "one.example"),
        ("two.example", "two.example"),
        ("TWO.example", "two.example"),
        ("any.two.example", "two.example"),
    ] {
        let client = tls.client().named(asked);
        assert!(is_for(&subject(&client, &server), expected), "{asked}");
    }
    for asked in ["a.b.two.example", "unknown.example"] {
        let error = tls.client().named(asked).try_open(server.port());
        let error = error
            .expect_err("the first certificate is not for this name")
            .to_string();
        assert!(error.contains("not valid for name"), "{error}");
    }
}

#[test]
fn clients_show_certificates_where_the_server_wants_them() {
    let site = Site::with(&["features_wsh"]);
    let tls = Tls::new(&site);
    let known = tls.authority.client("known");
    let unknown = Authority::new("another CA").client("unknown");
    let path = "/features?handshake=tls";
    let opened = |server: &Server, client: TlsClient| {
        // With TLS 1.3 the client has done its part before the server has judged its certificate.
        let request = opening(path, "");
        let mut socket = client.try_open(server.port())?;
        socket.write_all(request.as_bytes())?;
        let mut answer = vec![0; 12];
        socket.read_exact(&mut answer)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    for (flags, may_have_none) in [
        (&["--tls-client-auth"][..], false),
        (&["--tls-client-auth", "--tls-client-cert-optional"], true),
    ] {
        let builder = tls.builder(&site).args(["--tls-client-ca", "ca.pem"]);
        let server = builder.args(flags).start();
        for version in [&TLS12, &TLS13] {
            let with = |own| tls.client_of(&[version], own);
            let answer = opened(&server, with(Some(&known))).expect("a known client");
            assert_eq!(status_of(&answer), 101);
            let bytes = known.der().len().to_string();
            let session = with(Some(&known)).connect(&server, path);
            let seen = session.response.headers()["x-tls"]
                .to_str()
                .expect("text")
                .to_owned();
            assert!(seen.ends_with(&bytes), "{seen}, {bytes}");
            // An issuer that no root has is refused with or without.
            let error = opened(&server, with(Some(&unknown))).expect_err("an unknown CA");
            assert!(
                error.to_string().contains("received fatal alert"),
                "{error}"
            );
            let without = opened(&server, with(None));
            match may_have_none {
                true => assert_eq!(status_of(&without.expect("none is wanted")), 101),
                false => {
                    let error = without.expect_err("one is wanted").to_string();
                    assert!(error.contains("received fatal alert"), "{error}");
                    server.line(&["handshake refused", "`client_auth` requires one"]);
                }
            }
        }
        let reason = "no CA of `client_ca` has signed the client's certificate";
        server.line(&["handshake refused", reason]);
        let own = Issued::by_itself(&["itself"], 4000);
        opened(&server, tls.client_of(&[&TLS13], Some(&own))).expect_err("it is a CA's");
        server.line(&[
            "handshake refused",
            "the client's certificate is a CA's own (`CA:TRUE`), and no client's",
        ]);
        let expired = tls.authority.server_in_years("known", 1975, 2001);
        opened(&server, tls.client_of(&[&TLS13], Some(&expired))).expect_err("it has expired");
        server.line(&[
            "handshake refused",
            "the client's certificate is not taken: it expired ",
        ]);
    }
}

#[test]
fn what_is_said_of_tls_applies_to_the_next_connection() {
    let site = Site::with(&["echo_wsh"]);
    let tls = Tls::new(&site);
    let other = Authority::new("another CA");
    site.write("other.pem", other.pem());
    let renewed = tls.authority.server(&["localhost"]);
    renewed.write(site.root(), "renewed");
    let configure = |pair: &str, rest: &str| {
        let pair = format!("{{ certificate = \"{pair}.pem\", key = \"{pair}.key\" }}");
        site.write(
            "config.toml",
            &format!("[tls]\nevery_address = true\ncertificates = [{pair}]\n{rest}"),
        );
    };
    configure("server", "");
    let server = Server::builder(&site).start();
    let stays = &mut tls.client().connect(&server, "/echo");
    let applied = |times: usize| {
        server.signal("HUP");
        eventually("it is applied", || {
            server.count_lines(&["certificates applied"]) >= times
        });
    };
    let lets_in = |own: Option<&Issued>| {
        let client = tls.client_of(&[&TLS12], own);
        client.try_open(server.port()).is_ok()
    };

    configure("renewed", "");
    applied(1);
    assert_eq!(subject(&tls.client(), &server), renewed.der().to_vec());
    assert!(lets_in(None));
    let known = tls.authority.client("known");
    for (rest, expected) in [
        (
            "client_auth = \"required\"\nclient_ca = \"ca.pem\"",
            [false, true],
        ),
        (
            "client_auth = \"optional\"\nclient_ca = \"ca.pem\"",
            [true, true],
        ),
        (
            "client_auth = \"required\"\nclient_ca = \"other.pem\"",
            [false, false],
        ),
        ("client_auth = \"none\"", [true, true]),
    ] {
        let times = server.count_lines(&["certificates applied"]);
        configure("renewed", rest);
        applied(times + 1);
        assert_eq!([lets_in(None), lets_in(Some(&known))], expected, "{rest}");
        assert_eq!(stays.ask("still"), "still");
    }
}
