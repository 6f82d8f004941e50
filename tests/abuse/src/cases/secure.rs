//! What goes wrong in a TLS handshake, and certificates that are replaced.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::certificates::Authority;
use crate::checks::{Checks, under_attack};
use crate::server::{Server, Setup, free_port};
use crate::wire::{BINARY, FIN, connect, find, frame, opening};
use crate::{Lab, Result};

pub(crate) fn handshakes(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let port = free_port()?;
    let authority = Authority::new("the CA of an attack");
    let first = authority.server(&["localhost"]);
    let config = format!(
        "listen = [\"127.0.0.1:0\", \"tls:127.0.0.1:{port}\"]\n[tls]\ncertificates = [{{ certificate = \"server.pem\", key = \"server.key\" }}]\n\
         [limits]\nhandshake_timeout_ms = {}\n",
        lab.either(10_000, 2_000)
    );
    let setup = Setup {
        config: &config,
        files: &[
            ("server.pem", &first.certificate),
            ("server.key", &first.key),
        ],
        ..Setup::default()
    };
    let server = Server::start(&lab.artifacts, &setup)?;
    let client = Client::new(&authority, port)?;
    let most = Duration::from_millis(lab.either(11_000, 3_000));
    under_attack(&server, checks, |checks| {
        hellos(&client, most, checks)?;
        let mut old = client.open("localhost")?;
        checks.holds("an echo over TLS".to_owned(), old.echo()?);
        let nameless = client
            .open("127.0.0.1")
            .is_err_and(|it| it.to_string().contains("certificate"));
        let wrong = client
            .open("other.example")
            .is_err_and(|it| it.to_string().contains("certificate"));
        checks.holds(
            "without a name and with a wrong one the first certificate".to_owned(),
            nameless && wrong,
        );

        let second = authority.server(&["localhost", "other.example"]);
        server.put("server.key", second.key.as_bytes())?;
        server.put("server.pem", second.certificate.as_bytes())?;
        let replaced = within(Duration::from_secs(10), || {
            client.open("other.example").is_ok()
        });
        checks.holds(
            "a replaced certificate for new connections".to_owned(),
            replaced && old.echo()?,
        );
        server.put("server.pem", b"-----BEGIN CERTIFICATE-----\nnonsense\n")?;
        let told = within(Duration::from_secs(10), || {
            server.log().contains("certificates refused")
        });
        checks.holds(
            "a broken one keeps the old".to_owned(),
            told && client.open("other.example").is_ok() && old.echo()?,
        );
        Ok(())
    })
}

/// ClientHellos in pieces, and what is none.
fn hellos(client: &Client, most: Duration, checks: &mut Checks) -> Result<()> {
    let hello = client.hello()?;
    let answers = |bytes: &[&[u8]]| -> Result<Option<u8>> {
        let mut stream = client.connect()?;
        for piece in bytes {
            stream.write_all(piece)?;
        }
        let mut first = [0];
        Ok(matches!(stream.read(&mut first), Ok(1)).then_some(first[0]))
    };
    let packets: Vec<&[u8]> = hello.chunks(1).collect();
    let by_packets = answers(&packets)?;
    let mut right = 0;
    let sizes = [1, 2, 3, 7, 64, 200];
    for size in sizes {
        let records = in_records(&hello, size);
        right += usize::from(answers(&[&records])? == Some(HANDSHAKE));
    }
    checks.holds(
        "a ClientHello of a byte a packet is answered".to_owned(),
        by_packets == Some(HANDSHAKE),
    );
    checks.holds(
        format!("{right} of {} in records of 1 to 200 bytes", sizes.len()),
        right == sizes.len(),
    );

    let half = hello.len() / 2;
    let end: &[u8] = &[21, 3, 3, 0, 2, 1, 0];
    let client_key_exchange: &[u8] = &[22, 3, 3, 0, 4, 16, 0, 0, 0];
    let cut = &in_records(&hello, half)[..half + 5];
    let attacks: [(&str, Vec<&[u8]>); 6] = [
        ("nothing", vec![]),
        ("half a ClientHello", vec![&hello[..half]]),
        ("close_notify first", vec![end]),
        ("close_notify behind half of it", vec![cut, end]),
        ("zeros", vec![&[0; 512]]),
        ("a message out of turn", vec![client_key_exchange]),
    ];
    let mut late = Vec::new();
    for (what, pieces) in attacks {
        let mut stream = client.connect()?;
        let began = Instant::now();
        for piece in pieces {
            // The server may have closed by then.
            let _ = stream.write_all(piece);
        }
        let _ = stream.read_to_end(&mut Vec::new());
        if began.elapsed() > most {
            late.push(what);
        }
    }
    checks.holds(
        format!("6 broken handshakes closed in time {}", late.join(", ")),
        late.is_empty(),
    );
    Ok(())
}

/// The handshake message of a record, in records of so many bytes.
fn in_records(record: &[u8], size: usize) -> Vec<u8> {
    let message = &record[5..];
    let pieces = message.chunks(size);
    pieces
        .flat_map(|piece| {
            let length = (piece.len() as u16).to_be_bytes();
            [&[HANDSHAKE, 3, 1], &length[..], piece].concat()
        })
        .collect()
}

struct Client {
    config: Arc<ClientConfig>,
    port: u16,
}

struct Session {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl Client {
    fn new(authority: &Authority, port: u16) -> Result<Client> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(authority.roots())
            .with_no_client_auth();
        Ok(Client {
            config: Arc::new(config),
            port,
        })
    }

    fn connect(&self) -> Result<TcpStream> {
        connect(self.port)
    }

    /// The record of a ClientHello.
    fn hello(&self) -> Result<Vec<u8>> {
        let name = ServerName::try_from("localhost")?;
        let mut connection = ClientConnection::new(self.config.clone(), name)?;
        let mut bytes = Vec::new();
        connection.write_tls(&mut bytes)?;
        Ok(bytes)
    }

    fn open(&self, name: &str) -> Result<Session> {
        let name = ServerName::try_from(name.to_owned())?;
        let connection = ClientConnection::new(self.config.clone(), name)?;
        let mut stream = StreamOwned::new(connection, self.connect()?);
        stream.write_all(opening("/echo", "").as_bytes())?;
        let mut answer = Vec::new();
        while find(&answer, b"\r\n\r\n").is_none() {
            let mut buffer = [0; 1024];
            match stream.read(&mut buffer)? {
                0 => return Err("no answer over TLS".into()),
                length => answer.extend_from_slice(&buffer[..length]),
            }
        }
        if !answer.starts_with(b"HTTP/1.1 101") {
            return Err(String::from_utf8_lossy(&answer).into());
        }
        Ok(Session { stream })
    }
}

impl Session {
    fn echo(&mut self) -> Result<bool> {
        self.stream.write_all(&frame(FIN | BINARY, b"hello"))?;
        let mut answer = [0; 7];
        self.stream.read_exact(&mut answer)?;
        Ok(answer == *b"\x82\x05hello")
    }
}

/// Tries until it is so or the time is over.
fn within(most: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + most;
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The type of a record of handshake messages.
const HANDSHAKE: u8 = 22;
