//! Handshakes that come in pieces, that are broken off, and that are refused.

use super::*;
use crate::config::ClientAuth;
use crate::transport::Transport;
use crate::transport::tls::client_hello::tests::records;

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
    records(&message, step)
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
