//! Sockets that systemd makes and passes: they are served, and outlive the server.

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use crate::harness::client::{Client, Steady};
use crate::harness::server::{Builder, Server, opening, status_of};
use crate::harness::site::Site;
use crate::harness::tls::Tls;

/// A socket that listens, as systemd has it, and what is passed of it.
fn listener() -> (TcpListener, OwnedFd, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let copy = socket.try_clone().expect("a copy").into();
    let address = socket.local_addr().expect("an address");
    (socket, copy, address)
}

/// A server of a site as its file says.
fn builder(site: &Site) -> Builder {
    Server::bare(site).args(["--log-level", "debug"])
}

/// Opens a session on a connection.
fn client(stream: TcpStream) -> Client {
    Client::over(Steady::plain(stream), "ws://localhost/echo", "/echo", &[])
}

#[test]
fn what_systemd_passes_is_served_in_place_of_the_default_addresses_and_stays() {
    let site = Site::with(&["echo_wsh"]);
    let (_tcp, copy, address) = listener();
    let path = site.root().join("systemds.sock");
    let unix = UnixListener::bind(&path).expect("a socket");
    let sockets = vec![copy, unix.try_clone().expect("a copy").into()];
    let mut server = builder(&site).activated(sockets, "web:local").start();

    let mut sessions = [
        client(TcpStream::connect(address).expect("it is served")),
        client(Server::raw_unix(&path)),
    ];
    for session in &mut sessions {
        assert_eq!(session.ask("hello"), "hello");
    }
    server.says(&["listening", "address="], 2);
    server.line(&["listening", &format!("address={address}")]);

    // No client is refused between two servers.
    server.signal("TERM");
    for session in &mut sessions {
        assert_eq!(session.close_code(), 1001);
    }
    assert_eq!(server.wait(Duration::from_secs(10)).code(), Some(0));
    assert!(path.exists());
    let waiting = TcpStream::connect(address).expect("systemd's socket is still there");
    let (_tcp, copy) = (&_tcp, _tcp.try_clone().expect("a copy").into());
    let _next = builder(&site).activated(vec![copy], "web").start();
    assert_eq!(client(waiting).ask("waited"), "waited");
}

#[test]
fn a_socket_that_is_passed_serves_the_entry_of_listen_that_it_fits() {
    let site = Site::with(&["echo_wsh"]);
    let (_fits, fits, address) = listener();
    let (_other, other, unnamed) = listener();
    let listen = format!("listen = [\"127.0.0.2:0\", \"{address}\"]\n");
    site.write("config.toml", &listen);

    let server = builder(&site).activated(vec![fits, other], "").start();

    server.says(&["listening", "address="], 2);
    server.line(&["listening", "address=127.0.0.2:"]);
    let mut session = client(TcpStream::connect(address).expect("it is served"));
    assert_eq!(session.ask("hello"), "hello");
    let unnamed = format!("address={unnamed}");
    server.line(&["WARN", "`listen` does not name", &unnamed]);

    // It may be listed later, although only systemd could bind it then.
    site.write("config.toml", "listen = [\"127.0.0.2:0\"]\n");
    server.line(&["not listening any more", &format!("address={address}")]);
    assert_eq!(session.ask("still here"), "still here");
    site.write("config.toml", &listen);
    server.says(&["listening", &format!("address={address}")], 3);
    let again = client(TcpStream::connect(address).expect("it is served")).ask("again");
    assert_eq!(again, "again");
}

#[test]
fn a_socket_named_tls_speaks_tls_and_needs_a_certificate() {
    let site = Site::with(&["echo_wsh"]);
    let tls = Tls::new(&site);
    let (_socket, copy, address) = listener();
    let pair = "certificate = \"server.pem\", key = \"server.key\"";
    site.write(
        "config.toml",
        &format!("[tls]\ncertificates = [{{ {pair} }}]\n"),
    );

    let server = builder(&site).activated(vec![copy], "tls").start();

    server.line(&["listening", &format!("address=tls:{address}")]);
    let encrypted = Steady::over_tls(tls.client().open(address.port()));
    let url = format!("wss://localhost:{}/echo", address.port());
    let mut session = Client::over(encrypted, &url, "/echo", &[]);
    assert_eq!(session.ask("hello"), "hello");

    site.write("config.toml", "");
    let (_socket, copy, address) = listener();
    let refused = builder(&site).activated(vec![copy], "tls").output();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    let expected = format!("cannot listen on tls:{address}: systemd's socket unit names it `tls`");
    assert!(said.contains(&expected), "{said}");
}

#[test]
fn what_is_no_socket_that_listens_or_is_meant_for_another_process_is_not_used() {
    let site = Site::with(&["echo_wsh"]);
    site.write("config.toml", "listen = [\"127.0.0.1:0\"]\n");
    let datagrams = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let server = builder(&site)
        .activated(vec![datagrams.into()], "dns")
        .start();
    server.line(&["WARN", "descriptor 3 (`dns`)", "is no socket that listens"]);
    let answer = server.exchange(opening("/echo", "").as_bytes());
    assert_eq!(status_of(&answer), 101);

    let (_socket, _copy, _address) = listener();
    let elsewhere = builder(&site).env("LISTEN_PID", "1").env("LISTEN_FDS", "1");
    let server = elsewhere.start();
    assert_eq!(server.handshake_status("/echo"), 101);
    server.says(&["WARN", "descriptor"], 0);
}
