//! A change of where to listen, on a server that runs: the new address is there before the old one goes, and sessions
//! stay.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use crate::harness::client::{Client, Steady};
use crate::harness::eventually;
use crate::harness::server::{Server, opening, status_of};
use crate::harness::site::Site;
use crate::harness::tls::Tls;

/// Writes what to listen on, with more lines behind it.
fn listen(site: &Site, entries: &[&str], more: &str) {
    let entries: Vec<_> = entries.iter().map(|entry| format!("{entry:?}")).collect();
    let listen = format!("listen = [{}]\n{more}", entries.join(", "));
    site.write("config.toml", &listen);
}

/// A server of a site as its file says.
fn start(site: &Site) -> Server {
    Server::bare(site).args(["--log-level", "debug"]).start()
}

/// Waits for the line that tells of this address, and returns the address with its port.
#[track_caller]
fn listening(server: &Server, address: &str) -> SocketAddr {
    let line = server.line(&["listening", &format!("address={address}")]);
    let address = line.rsplit("address=").next().expect("an address");
    let address = address.trim_start_matches("tls:");
    address.parse().expect("an address")
}

/// Returns the status of an opening handshake at this address.
#[track_caller]
fn status(address: SocketAddr) -> u16 {
    let stream = TcpStream::connect(address).expect("the server listens");
    status_of(&Server::exchange_over(
        stream,
        opening("/echo", "").as_bytes(),
    ))
}

#[track_caller]
fn is_refused_soon(address: SocketAddr) {
    eventually("nothing listens there any more", || {
        let connected = TcpStream::connect(address);
        connected.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    });
}

#[test]
fn a_new_address_serves_the_old_one_is_let_go_and_sessions_stay() {
    let site = Site::with(&["echo_wsh"]);
    listen(&site, &["127.0.0.1:0"], "");
    let server = start(&site);
    let old = listening(&server, "127.0.0.1:");
    let mut client = server.connect("/echo");
    assert_eq!(client.ask("before"), "before");

    listen(&site, &["127.0.0.2:0"], "");

    let new = listening(&server, "127.0.0.2:");
    assert_eq!(status(new), 101);
    is_refused_soon(old);
    server.line(&["not listening any more", &format!("address={old}")]);
    assert_eq!(client.ask("after"), "after");
    server.says(&["applies after a restart"], 0);
}

#[test]
fn an_address_that_stays_in_the_list_keeps_its_socket() {
    let site = Site::with(&["echo_wsh"]);
    listen(&site, &["127.0.0.1:0"], "");
    let server = start(&site);

    listen(&site, &["127.0.0.2:0", "127.0.0.1:0"], "");
    let added = listening(&server, "127.0.0.2:");
    assert_eq!(
        added.port(),
        server.port(),
        "one free port is for all addresses"
    );
    listen(&site, &["127.0.0.1:0"], "");
    is_refused_soon(added);

    assert_eq!(server.handshake_status("/echo"), 101);
    server.says(&["listening", "address=127.0.0.1:"], 1);
}

#[test]
fn a_server_for_this_machine_becomes_one_for_all_on_its_port_and_the_other_way_round() {
    let site = Site::with(&["echo_wsh"]);
    listen(&site, &["127.0.0.1:0"], "");
    let server = start(&site);
    let port = server.port();
    let mut client = server.connect("/echo");
    let of_a_public_name = opening("/echo", "").replace("Host: localhost", "Host: example.com");
    let public = || status_of(&server.exchange(of_a_public_name.as_bytes()));
    assert_eq!(public(), 421);
    let other: SocketAddr = format!("127.0.0.3:{port}").parse().expect("an address");

    listen(&site, &[&format!("0.0.0.0:{port}")], "");
    listening(&server, "0.0.0.0:");
    server.line(&["not listening any more", "address=127.0.0.1:"]);
    assert_eq!(status(other), 101);
    assert_eq!(
        public(),
        101,
        "it is no server of loopback addresses any more"
    );

    listen(&site, &[&format!("127.0.0.1:{port}")], "");
    server.line(&["not listening any more", "address=0.0.0.0:"]);
    is_refused_soon(other);
    assert_eq!(public(), 421);
    assert_eq!(client.ask("still here"), "still here");
}

#[test]
fn an_address_that_is_taken_leaves_all_as_it_was_until_it_is_free() {
    let site = Site::with(&["echo_wsh"]);
    listen(&site, &["127.0.0.1:0", "unix:old.sock"], "");
    let server = start(&site);
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = other.local_addr().expect("an address");

    listen(
        &site,
        &["127.0.0.2:0", "unix:new.sock", &taken.to_string()],
        "",
    );
    let error = format!("cannot listen on {taken}: another process listens there already");
    server.line(&["ERROR", &error, "the addresses stay as they were"]);
    server.line(&["configuration applied"]);
    assert_eq!(server.handshake_status("/echo"), 101);
    let [old, new] = ["old.sock", "new.sock"].map(|name| site.root().join(name));
    assert!(UnixStream::connect(&old).is_ok());
    assert!(!new.exists());

    drop(other);
    server.signal("HUP");

    listening(&server, &taken.to_string());
    assert_eq!(status(taken), 101);
    eventually("the old socket's file is gone", || !old.exists());
    assert!(UnixStream::connect(&new).is_ok());
}

#[test]
fn another_path_of_a_unix_socket_and_another_mode_apply_at_once() {
    let site = Site::with(&["echo_wsh"]);
    listen(&site, &["unix:old.sock"], "");
    let server = start(&site);
    let [old, new] = ["old.sock", "new.sock"].map(|name| site.root().join(name));
    let over = |path| {
        Client::over(
            Steady::plain(Server::raw_unix(path)),
            "ws://localhost/echo",
            "/echo",
            &[],
        )
    };
    let mut client = over(&old);

    listen(&site, &["unix:new.sock"], "");

    eventually("the file of the old socket is gone", || !old.exists());
    assert_eq!(over(&new).ask("new"), "new");
    assert_eq!(client.ask("old"), "old");
    let mode = || {
        fs::metadata(&new)
            .expect("it is there")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode(), 0o660);
    listen(&site, &["unix:new.sock"], "unix_mode = \"600\"");
    eventually("the file has its new mode", || mode() == 0o600);
    assert_eq!(over(&new).ask("the same socket"), "the same socket");
    server.says(&["listening", "new.sock"], 1);
}

#[test]
fn an_address_gets_tls_and_loses_it_without_a_restart() {
    let site = Site::with(&["echo_wsh"]);
    let tls = Tls::new(&site);
    listen(&site, &["127.0.0.1:0"], "");
    let server = start(&site);
    let mut plain = server.connect("/echo");
    let with_tls = "[tls]\nevery_address = true\n\
                    certificates = [{ certificate = \"server.pem\", key = \"server.key\" }]\n";

    listen(&site, &["127.0.0.1:0"], with_tls);
    listening(&server, "tls:127.0.0.1:");
    let encrypted = Steady::over_tls(tls.client().open(server.port()));
    let url = format!("wss://localhost:{}/echo", server.port());
    let mut encrypted = Client::over(encrypted, &url, "/echo", &[]);
    assert_eq!(encrypted.ask("encrypted"), "encrypted");
    assert_eq!(server.handshake_status("/echo"), 400, "plain bytes");
    assert_eq!(plain.ask("plain"), "plain");

    listen(&site, &["127.0.0.1:0"], "");
    eventually("the address is plain again", || {
        server.handshake_status("/echo") == 101
    });
    assert_eq!(encrypted.ask("encrypted"), "encrypted");
    server.says(&["ERROR"], 0);
}

#[test]
fn tls_without_a_certificate_that_can_be_used_leaves_the_address_plain() {
    let site = Site::with(&["echo_wsh"]);
    listen(&site, &["127.0.0.1:0"], "");
    let server = start(&site);

    let no_file = "[tls]\ncertificates = [{ certificate = \"none.pem\" }]\n";
    listen(&site, &["tls:127.0.0.1:0"], no_file);

    server.line(&["ERROR", "none.pem", "the addresses stay as they were"]);
    assert_eq!(server.handshake_status("/echo"), 101);
}
