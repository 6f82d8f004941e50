//! Clients that speak TLS, and the certificates that they and a server have.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use super::certificates::{Authority, Issued};
use super::client::{Client, Raw, Steady};
use super::patience;
use super::server::{Builder, Server, opening};
use super::site::Site;

/// The certificates of a test: a CA, and what it has signed for a server.
pub(crate) struct Tls {
    pub(crate) authority: Authority,
    directory: PathBuf,
}

/// How a client connects.
#[derive(Clone)]
pub(crate) struct TlsClient {
    config: Arc<ClientConfig>,
    name: &'static str,
}

/// A connection after its TLS handshake.
pub(crate) type TlsSocket = StreamOwned<ClientConnection, TcpStream>;

impl Tls {
    /// Makes a CA, and a certificate for `localhost` in `server.pem` and `server.key` of the site.
    pub(crate) fn new(site: &Site) -> Tls {
        let tls = Tls {
            authority: Authority::new("the CA of a test"),
            directory: site.root().to_owned(),
        };
        tls.write(&tls.authority.server(&["localhost"]));
        site.write("ca.pem", tls.authority.pem());
        tls
    }

    /// The file of the CA's certificate.
    pub(crate) fn ca(&self) -> String {
        self.directory.join("ca.pem").display().to_string()
    }

    /// Puts a pair into the place of the server's.
    pub(crate) fn write(&self, issued: &Issued) {
        issued.write(&self.directory, "server");
    }

    /// A server of the site's handlers that speaks TLS on a free port.
    pub(crate) fn builder(&self, site: &Site) -> Builder {
        let builder = Server::builder(site).args(["--tls", "-c", "server.pem"]);
        builder.args(["-k", "server.key"])
    }

    /// A client that trusts the CA and speaks the newest version.
    pub(crate) fn client(&self) -> TlsClient {
        self.client_of(rustls::ALL_VERSIONS, None)
    }

    /// A client of these versions, with a certificate of its own or without.
    pub(crate) fn client_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        own: Option<&Issued>,
    ) -> TlsClient {
        TlsClient::new(self.authority.roots(), versions, own)
    }
}

impl TlsClient {
    /// A client that trusts this CA.
    pub(crate) fn trusting(authority: &Authority) -> TlsClient {
        TlsClient::new(authority.roots(), rustls::ALL_VERSIONS, None)
    }

    /// A client that trusts the CA in this PEM.
    pub(crate) fn trusting_pem(pem: &str) -> TlsClient {
        let mut roots = RootCertStore::empty();
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
        roots.add(der).expect("a CA");
        TlsClient::new(roots, rustls::ALL_VERSIONS, None)
    }

    fn new(
        roots: RootCertStore,
        versions: &[&'static SupportedProtocolVersion],
        own: Option<&Issued>,
    ) -> TlsClient {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => builder
                .with_client_auth_cert(vec![own.der()], own.key_der())
                .expect("a certificate"),
        };
        TlsClient {
            config: Arc::new(config),
            name: "localhost",
        }
    }

    /// The client that asks for this server name.
    pub(crate) fn named(self, name: &'static str) -> TlsClient {
        TlsClient { name, ..self }
    }

    /// The client that offers these protocols by ALPN.
    pub(crate) fn offering(self, protocols: &[&str]) -> TlsClient {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
        let config = Arc::new(config);
        TlsClient { config, ..self }
    }

    /// The first bytes of a handshake.
    pub(crate) fn hello(&self) -> Vec<u8> {
        let name = ServerName::try_from(self.name).expect("a name");
        let mut connection = ClientConnection::new(self.config.clone(), name).expect("a client");
        let mut hello = Vec::new();
        connection.write_tls(&mut hello).expect("a hello");
        hello
    }

    /// Connects and completes the handshake.
    pub(crate) fn try_open(&self, port: u16) -> std::io::Result<TlsSocket> {
        self.over(TcpStream::connect(("127.0.0.1", port))?)
    }

    /// Completes the handshake on this socket.
    pub(crate) fn over(&self, mut socket: TcpStream) -> std::io::Result<TlsSocket> {
        socket.set_read_timeout(Some(Duration::from_secs(20) * patience()))?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from(self.name).expect("a name");
        let connection = ClientConnection::new(self.config.clone(), name);
        let mut connection = connection.map_err(std::io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok(StreamOwned::new(connection, socket))
    }

    /// Connects and completes the handshake.
    #[track_caller]
    pub(crate) fn open(&self, port: u16) -> TlsSocket {
        self.try_open(port).expect("a TLS handshake")
    }

    /// Opens a WebSocket at `path`.
    #[track_caller]
    pub(crate) fn connect(&self, server: &Server, path: &str) -> Client {
        self.connect_with(server, path, &[])
    }

    /// Opens a WebSocket at `path`, with more header lines.
    #[track_caller]
    pub(crate) fn connect_with(
        &self,
        server: &Server,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Client {
        let socket = Steady::over_tls(self.open(server.port()));
        let url = format!("wss://{}:{}{path}", self.name, server.port());
        Client::over(socket, &url, path, headers)
    }

    /// Opens a WebSocket at `path` whose frames are sent and received one by one, with more header lines. Returns the
    /// head of the response as well.
    #[track_caller]
    pub(crate) fn open_raw(
        &self,
        server: &Server,
        path: &str,
        extra: &str,
    ) -> (Raw<TlsSocket>, String) {
        let mut stream = self.open(server.port());
        stream
            .write_all(opening(path, extra).as_bytes())
            .expect("sending a handshake");
        let mut raw = Raw { stream };
        let answer = raw.skip_head();
        (raw, answer)
    }

    /// Sends a request and returns what comes back until the server says that it ends. An end without that is an error.
    pub(crate) fn try_exchange(&self, server: &Server, request: &[u8]) -> std::io::Result<String> {
        let mut socket = self.try_open(server.port())?;
        socket.write_all(request)?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Sends a request and returns the whole answer.
    #[track_caller]
    pub(crate) fn exchange(&self, server: &Server, request: &[u8]) -> String {
        let answer = self.try_exchange(server, request);
        answer.expect("an answer and the alert that ends it")
    }
}
