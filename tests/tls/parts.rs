//! What goes on where one file of TLS cannot be used, and what is said of files that can.

use std::fs;

use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};

use super::certificates::subject;
use crate::harness::certificates::{Authority, Issued};
use crate::harness::eventually;
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::tls::{Tls, TlsClient};

/// A site with pairs of these names, in this order.
fn site_of(names: &[&str], more: &str) -> (Site, Authority) {
    let site = Site::with(&["echo_wsh"]);
    let authority = Authority::new("the CA of a test");
    let mut pairs = Vec::new();
    for name in names {
        authority.server(&[name]).write(site.root(), name);
        pairs.push(format!(
            "{{ certificate = \"{name}.pem\", key = \"{name}.key\" }}"
        ));
    }
    let pairs = pairs.join(", ");
    site.write(
        "config.toml",
        &format!("hosts = \"any\"\n[tls]\nevery_address = true\ncertificates = [{pairs}]\n{more}"),
    );
    (site, authority)
}

/// Puts a new pair into the place of the one of this name.
fn renew(site: &Site, authority: &Authority, name: &str) -> Issued {
    let issued = authority.server(&[name]);
    issued.write(site.root(), name);
    issued
}

#[test]
fn a_broken_pair_or_ca_keeps_no_other_certificate_from_being_renewed() {
    let optional = "client_auth = \"optional\"\nclient_ca = \"clients.pem\"\n";
    let (site, authority) = site_of(&["a.example", "b.example"], optional);
    site.write("clients.pem", authority.pem());
    let server = Server::builder(&site).start();
    let of = |name| subject(&TlsClient::trusting(&authority).named(name), &server);
    let gets = |name, issued: &Issued| {
        eventually("new connections get the new certificate", || {
            of(name) == issued.der().to_vec()
        });
    };
    let of_b = of("b.example");
    let refused = ["certificates refused, the old ones keep serving"];
    let mut stays = TlsClient::trusting(&authority)
        .named("a.example")
        .connect(&server, "/echo");

    fs::remove_file(site.root().join("b.example.key")).expect("it is there");
    server.line(&["certificates refused", "cannot read", "b.example.key"]);
    gets("a.example", &renew(&site, &authority, "a.example"));
    assert_eq!(of("b.example"), of_b);
    site.write("clients.pem", "no certificate");
    server.line(&["certificates refused", "clients.pem", "has no CERTIFICATE"]);
    gets("a.example", &renew(&site, &authority, "a.example"));
    assert_eq!(of("b.example"), of_b);
    assert_eq!(server.count_lines(&refused), 2, "{}", server.log());

    gets("b.example", &renew(&site, &authority, "b.example"));
    site.write("clients.pem", authority.pem());
    server.line(&["certificates applied", "files=5"]);
    assert_eq!(server.count_lines(&refused), 2, "{}", server.log());
    assert_eq!(stays.ask("still"), "still");
}

#[test]
fn a_pair_that_was_never_read_has_the_one_that_it_replaces_to_stand_in_for_it() {
    let (site, authority) = site_of(&["a.example", "b.example"], "");
    let server = Server::builder(&site).start();
    let of = |name| subject(&TlsClient::trusting(&authority).named(name), &server);
    let (of_a, of_b) = (of("a.example"), of("b.example"));
    let text = fs::read_to_string(site.root().join("config.toml")).expect("it is there");

    site.write("config.toml", &text.replace("b.example", "c.example"));

    server.line(&["certificates refused", "cannot read", "c.example.pem"]);
    assert_eq!((of("a.example"), of("b.example")), (of_a, of_b));
    renew(&site, &authority, "c.example");
    eventually("the new one is there", || {
        let client = TlsClient::trusting(&authority).named("c.example");
        client.try_open(server.port()).is_ok()
    });
}

#[test]
fn a_file_with_both_parts_of_a_pair_counts_once() {
    let site = Site::with(&["echo_wsh"]);
    let tls = Tls::new(&site);
    let write = || {
        let Issued { certificate, key } = tls.authority.server(&["localhost"]);
        site.write("both.pem", &format!("{certificate}{key}"));
    };
    write();
    let server = Server::builder(&site)
        .args(["-t", "-c", "both.pem"])
        .start();
    write();
    server.line(&["certificates applied", "files=1"]);
}

#[test]
fn a_certificate_that_clients_refuse_fails_the_check_and_the_server_starts_with_a_warning() {
    let site = Site::with(&["echo_wsh"]);
    let tls = Tls::new(&site);
    let authority = &tls.authority;
    for (issued, said) in [
        (
            authority.server_in_years("localhost", 2000, 2001),
            "has expired, ",
        ),
        (
            authority.server_in_years("localhost", 4000, 4001),
            "is not valid yet, ",
        ),
        (authority.client("localhost"), "is not for servers"),
    ] {
        tls.write(&issued);

        let output = tls.builder(&site).arg("check").output();

        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(error.contains("wshd: the certificate `"), "{error}");
        assert!(error.contains(said), "{error}");
        assert_eq!(output.status.code(), Some(1), "{error}");
        let server = tls.builder(&site).start();
        server.line(&["WARN", "certificate `", said, "clients will refuse it"]);
    }
}

#[test]
fn keys_of_a_kind_that_is_not_taken_are_told_which_are() {
    let site = Site::with(&["echo_wsh"]);
    let tls = Tls::new(&site);
    for kind in [
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"][..],
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
    ] {
        let mut openssl = std::process::Command::new("openssl");
        openssl.arg("genpkey").args(kind).arg("-out");
        let made = openssl.arg(site.root().join("server.key")).output();
        let made = made.expect("`openssl` runs; `apt-get install openssl` installs it");
        assert!(made.status.success(), "{made:?}");

        let output = tls.builder(&site).output();

        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        let said = "those are RSA of 2048 to 4096 bits, ECDSA with P-256 or P-384, and Ed25519";
        assert!(error.contains(said), "{error}");
        assert_eq!(output.status.code(), Some(78), "{error}");
    }
}

#[test]
fn certificates_that_nothing_uses_are_named_and_may_be_taken_out() {
    let (site, _) = site_of(&["a.example"], "");
    let text = fs::read_to_string(site.root().join("config.toml")).expect("it is there");
    let plain = text.replace("every_address = true", "");
    site.write("config.toml", &plain);
    let said = "a certificate is configured, and no address that is listened on speaks TLS";

    let check = Server::builder(&site).arg("check").output();
    let error = String::from_utf8_lossy(&check.stderr).into_owned();
    assert!(error.contains(&format!("wshd: note: {said}")), "{error}");
    assert_eq!(check.status.code(), Some(0), "{error}");
    let server = Server::builder(&site).start();
    server.line(&["WARN", "TLS may not be what is meant", said]);
    assert_eq!(server.handshake_status("/echo"), 101);

    site.write("a.example.key", "no key");
    server.line(&["WARN", "certificates refused, and no address speaks TLS"]);
    site.write("config.toml", "[tls]\n");
    server.line(&["certificates applied", "files=0"]);
    assert_eq!(server.count_lines(&["ERROR"]), 0, "{}", server.log());
}

#[test]
fn a_plain_address_beside_required_certificates_of_clients_is_named() {
    let site = Site::with(&["echo_wsh"]);
    Tls::new(&site);
    let pair = "certificate = \"server.pem\", key = \"server.key\"";
    let configure = |client_auth: &str| {
        let listen = "listen = [\"127.0.0.1:0\", \"tls:127.0.0.1:0\"]";
        let auth = format!("client_auth = \"{client_auth}\"\nclient_ca = \"ca.pem\"");
        let certificates = format!("[tls]\ncertificates = [{{ {pair} }}]");
        site.write(
            "config.toml",
            &format!("{listen}\n{certificates}\n{auth}\n"),
        );
    };
    let said = "`client_auth` is \"required\", and clients need no certificate at `127.0.0.1:0`";

    configure("optional");
    let server = Server::bare(&site).start();
    assert_eq!(server.count_lines(&["TLS may not be"]), 0);
    configure("required");
    server.line(&["WARN", "TLS may not be what is meant", said]);

    let again = Server::bare(&site).start();
    again.line(&["WARN", "TLS may not be what is meant", said]);
}

#[test]
fn a_session_of_tls_is_resumed_only_where_no_certificate_of_a_client_is_asked_for() {
    let site = Site::with(&["echo_wsh"]);
    let tls = Tls::new(&site);
    let own = tls.authority.client("known");
    let asks = ["--tls-client-auth", "--tls-client-ca", "ca.pem"];
    for (flags, expected) in [
        (&[][..], HandshakeKind::Resumed),
        (&asks[..], HandshakeKind::Full),
    ] {
        let server = tls.builder(&site).args(flags).start();
        for version in [&TLS12, &TLS13] {
            let client = tls.client_of(&[version], Some(&own));
            let request = b"GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n";
            client.exchange(&server, request);

            let socket = client.open(server.port());

            assert_eq!(socket.conn.handshake_kind(), Some(expected), "{version:?}");
        }
    }
}
