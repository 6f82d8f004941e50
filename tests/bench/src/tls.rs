//! What TLS costs: wshd beside tokio-tungstenite over tokio-rustls, with the same crypto, certificate and client.
//!
//! The client has one thread and a blocking socket a connection: it writes a batch on each, then reads all of them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

use crate::Result;
use crate::artifacts::Artifacts;
use crate::contender::Contender;
use crate::machine::{self, Cores};
use crate::server::{Server, free_port};

type Socket = StreamOwned<ClientConnection, TcpStream>;

/// Measures and prints.
pub(crate) fn run() -> Result<()> {
    let artifacts = Artifacts::build()?;
    machine::raise_descriptors()?;
    let cores = Cores::take()?;
    let files = tempfile::Builder::new().prefix("bench-tls-").tempdir()?;
    let client = make_certificate(&files)?;
    let start = |name: &str| start(name, &artifacts, files.path(), cores);

    println!("| case | wshd, CPU µs/msg | tungstenite over rustls | wshd÷ |\n|---|---:|---:|---:|");
    for (bytes, pipelining) in CASES {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let servers = [start("wshd")?, start("tungstenite")?];
        let mut loads = Vec::new();
        for server in &servers {
            loads.push(Load::open(server.port, &client, CONNECTIONS)?);
        }
        for _ in 0..ROUNDS {
            for (index, figures) in [&mut ours, &mut theirs].into_iter().enumerate() {
                let before = servers[index].settled_cpu_time()?;
                let messages = loads[index].run(bytes, pipelining, MESSAGES)?;
                let taken = servers[index].settled_cpu_time()? - before;
                figures.push(micros(taken) / messages as f64);
            }
        }
        let (ours, theirs) = (median(ours), median(theirs));
        let ratio = ours / theirs;
        println!("| {bytes}Bx{CONNECTIONS}x{pipelining} | {ours:.2} | {theirs:.2} | {ratio:.2} |");
    }

    println!("\n| server | bytes of an idle connection, of {IDLE} |\n|---|---:|");
    for name in ["wshd", "tungstenite"] {
        let server = start(name)?;
        // What the first connections make is no part of the others.
        drop(Load::open(server.port, &client, 10)?);
        let before = server.resident_bytes()?;
        let mut load = Load::open(server.port, &client, IDLE)?;
        load.run(16 * 1024, 1, IDLE as u64)?;
        server.settled_cpu_time()?;
        let each = (server.resident_bytes()?.saturating_sub(before)) / IDLE as u64;
        println!("| {name} | {each} |");
    }
    Ok(())
}

/// Starts wshd or the other server with TLS.
fn start(name: &str, artifacts: &Artifacts, files: &Path, cores: Cores) -> Result<Server> {
    let (certificate, key) = (files.join("cert.pem"), files.join("key.pem"));
    if name == "wshd" {
        let more = format!(
            "[tls]\nevery_address = true\ncertificates = [{{ certificate = {certificate:?}, key = {key:?} }}]\n"
        );
        return Server::start(&Contender::wshd_with(artifacts.clone(), &more), cores);
    }
    let port = free_port()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["serve-tls", &port.to_string()]);
    command.args([certificate, key]);
    Server::run(command, None, port, cores)
}

/// Writes a certificate for `localhost` and its key. Returns what trusts it.
fn make_certificate(files: &TempDir) -> Result<Arc<ClientConfig>> {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["localhost".to_owned()])?;
    std::fs::write(files.path().join("cert.pem"), cert.pem())?;
    std::fs::write(files.path().join("key.pem"), signing_key.serialize_pem())?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(cert.der().to_vec()))?;
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(client))
}

/// Open sessions with one server.
struct Load {
    sockets: Vec<Socket>,
}

impl Load {
    fn open(port: u16, client: &Arc<ClientConfig>, connections: usize) -> Result<Load> {
        let sockets = (0..connections).map(|_| open(port, client.clone()));
        Ok(Load {
            sockets: sockets.collect::<Result<_>>()?,
        })
    }

    /// Has at least so many messages echoed, a batch on each connection at a time. Returns how many it was.
    fn run(&mut self, bytes: usize, pipelining: usize, messages: u64) -> Result<u64> {
        let frame = crate::client_frame::frame(0x82, &vec![7; bytes]);
        let batch = frame.repeat(pipelining);
        // A frame of the server is not masked.
        let mut back = vec![0; (frame.len() - 4) * pipelining];
        let mut done = 0;
        while done < messages {
            for socket in &mut self.sockets {
                socket.write_all(&batch)?;
                socket.flush()?;
            }
            for socket in &mut self.sockets {
                socket.read_exact(&mut back)?;
                if !back.ends_with(&[7]) {
                    return Err("an echo is not what was sent".into());
                }
            }
            done += (self.sockets.len() * pipelining) as u64;
        }
        Ok(done)
    }
}

fn open(port: u16, client: Arc<ClientConfig>) -> Result<Socket> {
    let socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_nodelay(true)?;
    let connection = ClientConnection::new(client, ServerName::try_from("localhost")?)?;
    let mut socket = StreamOwned::new(connection, socket);
    socket.write_all(
        b"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    )?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    match head.starts_with(b"HTTP/1.1 101 ") {
        true => Ok(socket),
        false => Err(String::from_utf8_lossy(&head).into_owned().into()),
    }
}

fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1_000.0
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// The bytes of a message, and how many are written together on a connection.
const CASES: [(usize, usize); 3] = [(20, 1), (20, 32), (1024, 32)];
const CONNECTIONS: usize = 100;
const ROUNDS: usize = 9;
/// Messages of a server in one round.
const MESSAGES: u64 = 30_000;
const IDLE: usize = 2_000;
