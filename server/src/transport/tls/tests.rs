//! The server's side against a client of rustls over a socket.

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
use crate::config::{CertificatePair, ClientAuth, Config, TlsConfig};
use crate::testing::certificates::Authority;
use crate::transport::Transport;
use crate::transport::settings::TlsSettings;

type Client = StreamOwned<ClientConnection, std::net::TcpStream>;

/// A server's settings, and the CA that its client trusts.
struct Setup {
    authority: Authority,
    settings: Arc<TlsSettings>,
    _directory: tempfile::TempDir,
}

impl Setup {
    fn new() -> Setup {
        Setup::with(|_, _| {})
    }

    fn with(change: impl FnOnce(&mut TlsConfig, &Authority)) -> Setup {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new("a CA");
        let issued = authority.server(&["localhost"]);
        let (certificate, key) = issued.write(directory.path(), "server");
        let mut config = TlsConfig {
            certificates: vec![CertificatePair { certificate, key }],
            ..TlsConfig::default()
        };
        change(&mut config, &authority);
        let config = Config {
            tls: config,
            ..Config::default()
        };
        Setup {
            settings: TlsSettings::read(&config).unwrap(),
            authority,
            _directory: directory,
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
async fn a_handshake_that_is_broken_off_fails_at_once() {
    let setup = Setup::new();
    for (end, expected) in [
        // The end of the connection.
        (
            &b""[..],
            "the peer has ended the connection before the handshake was complete",
        ),
        // The alert `close_notify`, not encrypted.
        (
            b"\x15\x03\x03\x00\x02\x01\x00",
            "the peer has ended the connection before the handshake was complete",
        ),
        // The alert `unknown_ca`.
        (
            b"\x15\x03\x03\x00\x02\x02\x30",
            "the client does not trust the server's certificate",
        ),
    ] {
        let (mut socket, mut server) = setup.pair();
        let name = ServerName::try_from("localhost").unwrap();
        let config = Arc::new(setup.client_config(&TLS12));
        let mut client = ClientConnection::new(config, name).unwrap();
        client.write_tls(&mut socket).unwrap();
        socket.write_all(end).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();

        let fault = server.handshake(&mut Vec::new()).await.unwrap_err();

        assert_eq!(fault.to_string(), expected);
    }
}

#[tokio::test]
async fn the_end_of_a_peer_is_told_apart_by_whether_it_has_said_something() {
    let setup = Setup::new();
    for (bytes, has_begun) in [(&b""[..], false), (b"\x16", true), (b"\x16\x03\x01", true)] {
        let (mut socket, mut server) = setup.pair();
        socket.write_all(bytes).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();

        let fault = server.handshake(&mut Vec::new()).await.unwrap_err();

        assert_eq!(
            matches!(fault, HandshakeFault::BrokenOff),
            has_begun,
            "{fault}"
        );
        assert_eq!(matches!(fault, HandshakeFault::Gone), !has_begun, "{fault}");
        assert_eq!(server.is_amid_handshake(), has_begun);
    }
}

#[tokio::test]
#[allow(
    clippy::disallowed_methods,
    reason = "no callback holds the thread of this test"
)]
async fn a_hello_is_heard_when_its_last_byte_has_come() {
    let setup = Setup::new();
    let name = ServerName::try_from("localhost").unwrap();
    let config = Arc::new(setup.client_config(&TLS13));
    let mut client = ClientConnection::new(config, name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    let (last, first) = hello.split_last().unwrap();
    let (mut socket, server) = sockets();
    let of_server = server.try_clone().unwrap();
    let server = TcpStream::from_std(server).unwrap();
    let config = setup.settings.current().unwrap();
    let mut server = TlsStream::new(server, Vec::new(), config).unwrap();

    let mut hearing = pin!(server.hear());
    let mut poll = async || poll_fn(|cx| Poll::Ready(hearing.as_mut().poll(cx))).await;
    for byte in first {
        socket.write_all(&[*byte]).unwrap();
        // Until the server has read it.
        loop {
            assert!(poll().await.is_pending());
            if rustix::io::ioctl_fionread(&of_server).unwrap() == 0 {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    socket.write_all(&[*last]).unwrap();
    hearing.await.unwrap();
}

/// What a client has to say first, in records of at most `step` bytes.
fn in_records(client: &mut ClientConnection, step: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    let (mut rest, mut message) = (&bytes[..], Vec::new());
    while let Some((header, behind)) = rest.split_first_chunk::<5>() {
        let (payload, behind) =
            behind.split_at(usize::from(header[3]) << 8 | usize::from(header[4]));
        message.extend_from_slice(payload);
        rest = behind;
    }
    let record = |part: &[u8]| {
        let length = u16::try_from(part.len()).unwrap().to_be_bytes();
        [&[0x16, 3, 1], &length[..], part].concat()
    };
    message.chunks(step).flat_map(record).collect()
}

#[tokio::test]
async fn a_hello_in_several_records_and_a_large_one_lead_to_a_handshake() {
    let setup = Setup::new();
    let large: Vec<Vec<u8>> = (0..=160u8).map(|at| vec![at | 1; 250]).collect();
    for version in [&TLS12, &TLS13] {
        for (protocols, step) in [
            (&[][..], 100),
            (&[], 4),
            (&[], 1),
            (&large, 16_384),
            (&large, 1_000),
        ] {
            let (mut socket, mut server) = setup.pair();
            let name = ServerName::try_from("localhost").unwrap();
            let mut config = setup.client_config(version);
            config.alpn_protocols = [&[b"http/1.1".to_vec()], protocols].concat();
            let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
            let hello = in_records(&mut connection, step);
            let thread = on_thread(move || {
                socket.write_all(&hello).unwrap();
                let mut client = StreamOwned::new(connection, socket);
                client.write_all(b"x").unwrap();
                client.flush().unwrap();
                hello.len()
            });

            hear_one_byte(&mut server).await;

            let length = joined(thread).await;
            assert_eq!(length > 40_000, !protocols.is_empty(), "{length}");
        }
    }
}

#[tokio::test]
async fn what_is_no_tls_is_known_by_its_first_byte() {
    let setup = Setup::new();
    for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"G", b"\0"] {
        let (mut socket, mut server) = setup.pair();
        socket.write_all(bytes).unwrap();

        let fault = server.handshake(&mut Vec::new()).await.unwrap_err();

        assert!(matches!(fault, HandshakeFault::NotTls), "{fault}");
        let mut socket_of_server = Transport::Tls(Box::new(server)).without_tls();
        socket_of_server.write_all(b"400").await.unwrap();
        let mut answer = [0; 3];
        socket.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"400", "nothing of TLS stands before it");
    }
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

#[tokio::test]
async fn a_handshake_message_without_an_end_is_refused() {
    let setup = Setup::new();
    let (mut socket, mut server) = setup.pair();
    // A hello that claims 16 MB, in records of 16 KiB.
    let mut record = b"\x16\x03\x01\x40\x00".to_vec();
    record.extend(std::iter::repeat_n(0, 16_384));
    let mut first = record.clone();
    first[5..9].copy_from_slice(b"\x01\xff\xff\xff");
    let thread = on_thread(move || {
        let _ = socket.write_all(&first);
        for _ in 0..10 {
            let _ = socket.write_all(&record);
        }
        socket
    });

    let fault = server.handshake(&mut Vec::new()).await.unwrap_err();

    let fault = fault.to_string();
    assert!(
        fault.contains("more than 65536") || fault.contains("HandshakePayloadTooLarge"),
        "{fault}"
    );
    drop(server);
    joined(thread).await;
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_the_server_if_its_ca_has_signed_it() {
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup::with(|config, authority| {
        let path = directory.path().join("ca.pem");
        std::fs::write(&path, authority.pem()).unwrap();
        config.client_ca = Some(path);
        config.client_auth = ClientAuth::Required;
    });
    let stranger = Authority::new("another CA");
    for (issued, is_known) in [
        (Some(setup.authority.client("known")), true),
        (Some(stranger.client("unknown")), false),
        (None, false),
    ] {
        let (socket, mut server) = setup.pair();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(setup.authority.roots());
        let config = match &issued {
            Some(issued) => builder.with_client_auth_cert(vec![issued.der()], issued.key_der()),
            None => Ok(builder.with_no_client_auth()),
        };
        let config = config.unwrap();
        let thread = on_thread(move || {
            let mut client = client(config, socket);
            let _ = client.write_all(b"!");
            let _ = client.flush();
            client.read(&mut [0; 1]).map_err(|error| error.to_string())
        });

        let shaken = server.handshake(&mut Vec::new()).await;

        assert_eq!(shaken.is_ok(), is_known);
        if let (true, Some(issued)) = (is_known, &issued) {
            assert_eq!(server.info().client_certificate, issued.der().to_vec());
            server.write_all(b"!").await.unwrap();
        }
        let _ = SockRef::from(server.socket()).shutdown(Shutdown::Write);
        let answer = joined(thread).await;
        assert_eq!(answer.is_ok(), is_known, "{answer:?}");
    }
}
