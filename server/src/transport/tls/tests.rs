//! The server's side against a client of rustls over a socket.

mod handshake;
mod sending;

use std::future::poll_fn;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::thread::JoinHandle;

use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use super::*;
use crate::config::TlsConfig;
use crate::testing::certificates::Authority;
use crate::testing::tls_settings;
use crate::transport::settings::TlsSettings;

type Client = StreamOwned<ClientConnection, std::net::TcpStream>;

/// A server's settings, and the CA that its client trusts.
struct Setup {
    authority: Authority,
    settings: Arc<TlsSettings>,
}

impl Setup {
    fn new() -> Setup {
        Setup::with(|_, _| {})
    }

    fn with(change: impl FnOnce(&mut TlsConfig, &Authority)) -> Setup {
        let authority = Authority::new("a CA");
        let settings = tls_settings::of_localhost(&authority, |config| change(config, &authority));
        Setup {
            authority,
            settings,
        }
    }

    fn client_config(&self, version: &'static SupportedProtocolVersion) -> ClientConfig {
        client_config(self.authority.roots(), version)
    }

    /// A connected pair: the client's socket, and the server's stream before its handshake.
    fn pair(&self) -> (std::net::TcpStream, TlsStream) {
        let (client, server) = sockets();
        let config = self.settings.current().unwrap();
        let server = TcpStream::from_std(server).unwrap();
        (client, TlsStream::new(server, Vec::new(), config).unwrap())
    }

    /// A pair for which the kernel has little room, so that records of the server wait.
    fn narrow_pair(&self) -> (std::net::TcpStream, TlsStream) {
        let (client, server) = self.pair();
        let socket = SockRef::from(server.socket());
        socket.set_send_buffer_size(32_768).unwrap();
        let socket = SockRef::from(&client);
        socket.set_recv_buffer_size(32_768).unwrap();
        (client, server)
    }
}

fn client_config(roots: RootCertStore, version: &'static SupportedProtocolVersion) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn sockets() -> (std::net::TcpStream, std::net::TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_nodelay(true).unwrap();
    let (server, _) = listener.accept().unwrap();
    server.set_nonblocking(true).unwrap();
    (client, server)
}

fn client(config: ClientConfig, socket: std::net::TcpStream) -> Client {
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(connection, socket)
}

/// Runs the client's side on a thread of its own.
fn on_thread<T: Send + 'static>(client: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    std::thread::spawn(client)
}

async fn joined<T>(thread: JoinHandle<T>) -> T {
    while !thread.is_finished() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    thread.join().unwrap()
}

/// Receives until so many bytes have come.
async fn read(server: &mut TlsStream, bytes: usize) -> Vec<u8> {
    let mut received = Vec::new();
    while received.len() < bytes {
        server.readable().await.unwrap();
        match server.receive(usize::MAX, |plain| received.extend(plain)) {
            Received::End => break,
            Received::Bytes(_) | Received::Nothing => {}
        }
    }
    received
}

/// Completes the handshake, and receives the one byte that the client sends behind it.
async fn hear_one_byte(server: &mut TlsStream) {
    let mut early = Vec::new();
    server.handshake(&mut early).await.unwrap();
    if early.is_empty() {
        read(server, 1).await;
    }
}

async fn end(server: &mut TlsStream) -> Received {
    loop {
        server.readable().await.unwrap();
        match server.receive(usize::MAX, |_| {}) {
            Received::Nothing => {}
            received => return received,
        }
    }
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at % 251) as u8).collect()
}

fn assert_holds_no_buffer(server: &TlsStream) {
    assert_eq!(server.incoming.capacity(), 0);
    assert_eq!(server.unsent.capacity(), 0);
}

#[tokio::test]
async fn bytes_of_every_length_go_both_ways_in_both_versions() {
    let lengths = [
        1, 2, 15, 16, 17, 125, 1_000, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 200_000,
        1_048_576,
    ];
    for version in [&TLS12, &TLS13] {
        let setup = Setup::new();
        let (socket, mut server) = setup.pair();
        let config = setup.client_config(version);
        let thread = on_thread(move || {
            let mut client = client(config, socket);
            for length in lengths {
                client.write_all(&pattern(length)).unwrap();
                client.flush().unwrap();
                let mut back = vec![0; length];
                client.read_exact(&mut back).unwrap();
                assert!(back == pattern(length), "{length}");
            }
            client.conn.send_close_notify();
            client.flush().unwrap();
            let mut rest = Vec::new();
            // It is an error if the server ends without saying so.
            client.read_to_end(&mut rest).unwrap();
            assert_eq!(rest, b"");
        });

        let mut early = Vec::new();
        server.handshake(&mut early).await.unwrap();
        assert!(!server.is_handshaking());
        assert_holds_no_buffer(&server);
        for length in lengths {
            let mut received = std::mem::take(&mut early);
            received.extend(read(&mut server, length - received.len()).await);
            assert!(received == pattern(length), "{length}");
            assert_holds_no_buffer(&server);
            server.write_all(&received).await.unwrap();
            assert_holds_no_buffer(&server);
        }
        assert_eq!(end(&mut server).await, Received::End);
        assert_eq!(end(&mut server).await, Received::End, "it stays so");
        server.finish();
        joined(thread).await;
        let info = server.info();
        let version = if version.version == TLS13.version {
            "TLSv1.3"
        } else {
            "TLSv1.2"
        };
        assert_eq!(info.version, version);
        assert_eq!(info.sni, "localhost");
        assert_eq!(info.client_certificate, b"");
    }
}

/// Sends what the client has to say, a few bytes at a time, each time until the server has read them. `server` goes on
/// for ever.
#[allow(
    clippy::disallowed_methods,
    reason = "no callback holds the thread of this test"
)]
async fn trickle(
    client: &mut ClientConnection,
    mut socket: &std::net::TcpStream,
    of_server: &std::net::TcpStream,
    step: usize,
    server: &mut (impl Future<Output = ()> + Unpin),
) {
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    for part in bytes.chunks(step) {
        socket.write_all(part).unwrap();
        loop {
            poll_fn(|cx| {
                let _ = std::pin::Pin::new(&mut *server).poll(cx);
                Poll::Ready(())
            })
            .await;
            if rustix::io::ioctl_fionread(of_server).unwrap() == 0 {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_handshake_and_records_that_come_byte_by_byte_are_whole_in_the_end() {
    for version in [&TLS12, &TLS13] {
        let setup = Setup::new();
        let (mut socket, server) = sockets();
        let of_server = server.try_clone().unwrap();
        let server = TcpStream::from_std(server).unwrap();
        let config = setup.settings.current().unwrap();
        let mut server = TlsStream::new(server, Vec::new(), config).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let config = Arc::new(setup.client_config(version));
        let mut client = ClientConnection::new(config, name).unwrap();

        let mut early = Vec::new();
        {
            let mut handshake = pin!(async {
                server.handshake(&mut early).await.unwrap();
                std::future::pending().await
            });
            while client.is_handshaking() || client.wants_write() {
                trickle(&mut client, &socket, &of_server, 1, &mut handshake).await;
                if client.is_handshaking() {
                    assert_ne!(client.read_tls(&mut socket).unwrap(), 0);
                    client.process_new_packets().unwrap();
                }
            }
        }
        assert!(!server.is_handshaking());
        assert_eq!(early, b"");

        client.writer().write_all(&pattern(40_000)).unwrap();
        let mut received = Vec::new();
        {
            let mut reading = pin!(async {
                received = read(&mut server, 40_000).await;
                std::future::pending().await
            });
            trickle(&mut client, &socket, &of_server, 1_001, &mut reading).await;
        }
        assert!(received == pattern(40_000));
        assert_holds_no_buffer(&server);
    }
}

#[tokio::test]
async fn a_client_may_change_its_keys_and_ask_the_server_to() {
    let setup = Setup::new();
    let (socket, mut server) = setup.pair();
    let config = setup.client_config(&TLS13);
    let thread = on_thread(move || {
        let mut client = client(config, socket);
        for _ in 0..5 {
            client.write_all(b"before").unwrap();
            client.conn.refresh_traffic_keys().unwrap();
            client.write_all(b"behind").unwrap();
            let mut back = [0; 12];
            client.read_exact(&mut back).unwrap();
            assert_eq!(&back, b"beforebehind");
        }
    });
    let mut early = Vec::new();
    server.handshake(&mut early).await.unwrap();
    for _ in 0..5 {
        let mut received = std::mem::take(&mut early);
        received.extend(read(&mut server, 12 - received.len()).await);
        server.write_all(&received).await.unwrap();
    }
    joined(thread).await;
}

#[tokio::test]
async fn a_record_that_is_forged_ends_the_connection_with_an_alert() {
    for forged in [
        // A record that was never encrypted with the keys.
        &b"\x17\x03\x03\x00\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"[..],
        // A record longer than any may be.
        b"\x17\x03\x03\xff\xff",
        b"GET / HTTP/1.1\r\n",
    ] {
        let setup = Setup::new();
        let (socket, mut server) = setup.pair();
        let config = setup.client_config(&TLS13);
        let thread = on_thread(move || {
            let mut client = client(config, socket);
            // Behind the handshake, not in one read with its end.
            client.read_exact(&mut [0; 1]).unwrap();
            client.sock.write_all(forged).unwrap();
            client.read(&mut [0; 1]).unwrap_err().to_string()
        });
        server.handshake(&mut Vec::new()).await.unwrap();
        server.write_all(b"!").await.unwrap();

        assert_eq!(end(&mut server).await, Received::End);
        assert!(server.send(b"more").is_err());
        let _ = SockRef::from(server.socket()).shutdown(Shutdown::Write);
        let error = joined(thread).await;
        assert!(error.starts_with("received fatal alert"), "{error}");
    }
}
