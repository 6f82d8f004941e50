//! `wshd dev --tls`: a certificate for localhost that is made once.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;

use super::{BUILT, write_c};
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::tls::TlsClient;

#[test]
fn a_certificate_for_localhost_is_made_once_and_serves_handlers_pages_and_events() {
    let site = Site::empty();
    write_c(&site, "mine/tea.c", str::to_owned);
    site.write("mine/www/index.html", "<p>tea</p>");
    let state = site.root().join("state");
    let start = || {
        let builder = Server::bare(&site).args(["dev", "mine", "-p", "0", "--tls"]);
        let builder = builder.env("XDG_STATE_HOME", state.to_str().expect("UTF-8"));
        let server = builder.start();
        server.line_within(BUILT, &["tea_wsh  wss://localhost:", "/tea"]);
        server
    };

    let server = start();
    server.says(
        &["made a certificate for localhost; clients trust it by the CA"],
        1,
    );
    let kept = |file: &str| state.join("wshd").join(file);
    for file in ["localhost.pem", "localhost.key", "ca.pem"] {
        let mode = fs::metadata(kept(file)).expect(file).permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let authority = fs::read_to_string(kept("ca.pem")).expect("the CA");
    let client = TlsClient::trusting_pem(&authority);
    for name in ["localhost", "127.0.0.1"] {
        let client = client.clone().named(name);
        assert_eq!(
            client.connect(&server, "/tea").ask("hello"),
            "hello",
            "{name}"
        );
    }
    let page = client.exchange(&server, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(
        page.contains("<p>tea</p>") && page.contains("/.wshd/dev.js"),
        "{page}"
    );
    let mut events = client.open(server.port());
    events
        .write_all(b"GET /.wshd/dev HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .expect("a request");
    let mut text = Vec::new();
    while !text.ends_with(b"data: []\n\n") {
        let mut byte = [0];
        events.read_exact(&mut byte).expect("events");
        text.push(byte[0]);
    }
    write_c(&site, "mine/tea.c", |it| {
        it.replace("return WSH_OK;", "return x;")
    });
    while !text.ends_with(b"undeclared") {
        let mut byte = [0];
        events.read_exact(&mut byte).expect("events");
        text.push(byte[0]);
    }
    write_c(&site, "mine/tea.c", str::to_owned);
    drop((events, server));

    let again = start();
    assert_eq!(again.count_lines(&["made a certificate"]), 0);
    assert_eq!(
        fs::read_to_string(kept("ca.pem")).expect("the CA"),
        authority
    );
    assert_eq!(client.connect(&again, "/tea").ask("hello"), "hello");
}
