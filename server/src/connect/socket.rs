//! Connects to a server, and asks it for a WebSocket.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use super::address::{Address, ServerAddress};
use super::handshake::{Answer, AnswerError, Opened, Opening};
use super::tls::{self, TlsError};
use crate::config::ConnectOptions;

/// An open WebSocket.
pub(super) struct Connection {
    pub(super) stream: Box<dyn Stream>,
    pub(super) opened: Opened,
    /// The bytes that came behind the head of the 101.
    pub(super) early: Vec<u8>,
}

/// A connection, whatever carries it.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Why there is no WebSocket.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("cannot find `{host}`: {source}")]
    NotFound { host: String, source: io::Error },
    #[error("cannot connect to `{place}`: {source}")]
    Connect { place: String, source: io::Error },
    #[error("cannot connect to `{place}`: {source}")]
    Tls { place: String, source: TlsError },
    #[error("`{place}` does not answer within {} s", .limit.as_secs_f64())]
    TooLate { place: String, limit: Duration },
    #[error("`{place}` closed the connection without an answer")]
    NoAnswer { place: String },
    #[error("cannot ask `{place}` for a WebSocket: {source}")]
    Broken { place: String, source: io::Error },
    #[error("no WebSocket at `{url}`: {source}")]
    Answer { url: String, source: AnswerError },
}

impl Connection {
    /// What an interactive session begins with.
    pub(super) fn sentence(&self, url: &str) -> String {
        let mut sentence = format!("connected to `{url}`");
        if let Some(subprotocol) = &self.opened.subprotocol {
            sentence += &format!(", subprotocol `{subprotocol}`");
        }
        if self.opened.compression.is_some() {
            sentence += ", compressed";
        }
        sentence
    }
}

/// Connects to the server of `address`, and opens a WebSocket there.
pub(super) async fn open(
    address: &Address,
    options: &ConnectOptions,
) -> Result<Connection, ConnectError> {
    let limit = options.timeout;
    let place = match &address.server {
        ServerAddress::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
        ServerAddress::Tcp { host, port, .. } => format!("{host}:{port}"),
        ServerAddress::Unix(path) => path.display().to_string(),
    };
    let deadline = Instant::now() + limit;
    let opening = async {
        let stream = connect(address, options, &place).await?;
        ask(stream, address, options, &place, deadline).await
    };
    match timeout_at(deadline, opening).await {
        Ok(outcome) => outcome,
        Err(_) => Err(ConnectError::TooLate { place, limit }),
    }
}

async fn connect(
    address: &Address,
    options: &ConnectOptions,
    place: &str,
) -> Result<Box<dyn Stream>, ConnectError> {
    let failed = |source| ConnectError::Connect {
        place: place.to_owned(),
        source,
    };
    match &address.server {
        ServerAddress::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(failed)?;
            Ok(Box::new(stream))
        }
        ServerAddress::Tcp { host, port, is_tls } => {
            let found = lookup_host((host.as_str(), *port)).await;
            let found = found.map_err(|source| ConnectError::NotFound {
                host: host.clone(),
                source,
            })?;
            let addresses: Vec<_> = found.collect();
            let stream = TcpStream::connect(&addresses[..]).await.map_err(failed)?;
            // Each message is to leave at once. Where that fails, it leaves a moment later.
            let _ = stream.set_nodelay(true);
            if !is_tls {
                return Ok(Box::new(stream));
            }
            let encrypted = tls::connect(stream, host, options).await;
            let encrypted = encrypted.map_err(|source| ConnectError::Tls {
                place: place.to_owned(),
                source,
            })?;
            Ok(Box::new(encrypted))
        }
    }
}

/// Sends the request, and judges the answer. It is done at the deadline if the head of the answer has come by then.
async fn ask(
    mut stream: Box<dyn Stream>,
    address: &Address,
    options: &ConnectOptions,
    place: &str,
    deadline: Instant,
) -> Result<Connection, ConnectError> {
    let broken = |source| {
        let place = place.to_owned();
        match tls::refusal(&source) {
            Some(source) => ConnectError::Tls { place, source },
            None => ConnectError::Broken { place, source },
        }
    };
    let no_websocket = |source| ConnectError::Answer {
        url: options.url.clone(),
        source,
    };
    let opening = Opening::new(&address.target, &address.host, options);
    let request = opening.request.as_bytes();
    stream.write_all(request).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let mut received = Vec::with_capacity(READ_BYTES);
    let answer = loop {
        if let Some(answer) = Answer::parse(&received).map_err(no_websocket)? {
            if !answer.is_interim() {
                break answer;
            }
            received.drain(..answer.length);
            continue;
        }
        let read = stream.read_buf(&mut received).await.map_err(broken)?;
        if read == 0 {
            return Err(ConnectError::NoAnswer {
                place: place.to_owned(),
            });
        }
    };
    let mut rest = received.split_off(answer.length);
    if answer.status == 101 {
        let opened = opening.judge(&answer).map_err(no_websocket)?;
        return Ok(Connection {
            stream,
            opened,
            early: rest,
        });
    }
    let wanted = answer.body_bytes();
    // The body says why. What has come of it is shown, however it ends.
    let patience = deadline.min(Instant::now() + BODY_PATIENCE);
    let _ = timeout_at(patience, async {
        while rest.len() < wanted {
            if stream.read_buf(&mut rest).await.unwrap_or(0) == 0 {
                break;
            }
        }
    })
    .await;
    rest.truncate(wanted);
    Err(no_websocket(answer.refusal(&rest)))
}

const READ_BYTES: usize = 4 * 1024;
/// How long the body of a refusal is waited for.
const BODY_PATIENCE: Duration = Duration::from_secs(2);
