//! What a run begins with: a connection of two sockets, and the certificates of all runs.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection};
use socket2::SockRef;
use tokio::net::TcpStream;

use super::sides::{Client, Server, Stream};
use crate::testing::certificates::Authority;
use crate::testing::tls_settings;
use crate::transport::settings::TlsSettings;
use crate::transport::tls::TlsStream;

/// Both ends of a connection, in which the kernel holds no more than it must, or `room` bytes more.
pub(super) fn pair(flags: u8, room: usize) -> (Client, Server) {
    static SETUP: OnceLock<Setup> = OnceLock::new();
    let setup = SETUP.get_or_init(Setup::new);
    let (socket, of_server) = UnixStream::pair().expect("two sockets");
    for end in [&socket, &of_server] {
        end.set_nonblocking(true).expect("no waiting");
        let end = SockRef::from(end);
        end.set_send_buffer_size(room).expect("room");
    }
    let of_server = std::net::TcpStream::from(OwnedFd::from(of_server));
    let of_server = TcpStream::from_std(of_server).expect("a socket of the runtime");
    let offered = setup.settings.current().expect("a certificate");
    let config = &setup.clients[usize::from(flags & 3)];
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::clone(config), name);
    let mut connection = connection.expect("its settings fit");
    connection.set_buffer_limit(None);
    let client = Client {
        connection,
        socket,
        outgoing: Vec::new(),
        said: Stream::default(),
        heard: Stream::default(),
        moved: 0,
        key_changes: 0,
        has_forged: false,
        is_over: false,
    };
    let tls = TlsStream::new(of_server, Vec::new(), offered).expect("settings");
    let server = Server {
        tls,
        unsent: Vec::new(),
        said: Stream::default(),
        heard: Stream::default(),
        is_over: false,
    };
    (client, server)
}

/// What all runs have in common.
struct Setup {
    settings: Arc<TlsSettings>,
    /// TLS 1.3 and 1.2, without and with sessions that are resumed.
    clients: Vec<Arc<ClientConfig>>,
}

impl Setup {
    fn new() -> Setup {
        let authority = Authority::new("a CA");
        let mut clients = Vec::new();
        for resumption in [Resumption::disabled(), Resumption::default()] {
            for version in [&TLS13, &TLS12] {
                let builder =
                    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
                let builder = builder.with_protocol_versions(&[version]);
                let mut config = builder
                    .expect("a version")
                    .with_root_certificates(authority.roots())
                    .with_no_client_auth();
                config.resumption = resumption.clone();
                clients.push(Arc::new(config));
            }
        }
        Setup {
            settings: tls_settings::of_localhost(&authority, |_| {}),
            clients,
        }
    }
}
