//! One connection of the load: its opening handshake, then raw bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::Linger;

use crate::Result;
use crate::frame::FrameReader;

/// An open WebSocket.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    pub(crate) reader: FrameReader,
    /// Whether the server has agreed to permessage-deflate.
    pub(crate) is_deflating: bool,
    /// How many bytes of the current batch are written.
    pub(crate) written: usize,
    /// Messages of the current batch that have not come back.
    pub(crate) outstanding: u32,
    pub(crate) sent_at: Instant,
}

impl Socket {
    /// Connects and completes the opening handshake.
    pub(crate) fn open(port: u16, path: &str, offer: Offer) -> Result<Socket> {
        Socket::finish(Socket::begin(port, path, offer)?)
    }

    /// Connects and sends the request.
    pub(crate) fn begin(port: u16, path: &str, offer: Offer) -> Result<TcpStream> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let extensions = match offer {
            Offer::Nothing => "",
            Offer::Deflate => DEFLATE_OFFER,
        };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{extensions}\r\n"
        );
        stream.write_all(request.as_bytes())?;
        Ok(stream)
    }

    /// Reads the answer.
    pub(crate) fn finish(mut stream: TcpStream) -> Result<Socket> {
        let mut answer = Vec::new();
        let mut buffer = [0; 1024];
        let end = loop {
            let length = stream.read(&mut buffer)?;
            answer.extend_from_slice(&buffer[..length]);
            if let Some(at) = answer.windows(4).position(|it| it == b"\r\n\r\n") {
                break at + 4;
            }
            if length == 0 {
                return Err("the connection ends within the opening handshake".into());
            }
        };
        let head = String::from_utf8_lossy(&answer[..end]);
        if !head.starts_with("HTTP/1.1 101") || !head.contains(ACCEPT) {
            let status = head.lines().next().unwrap_or_default();
            return Err(format!("the upgrade is refused: {status}").into());
        }
        let is_deflating = head
            .to_ascii_lowercase()
            .contains("sec-websocket-extensions: permessage-deflate");
        let mut reader = FrameReader::default();
        reader.take(&answer[end..])?;
        Ok(Socket {
            stream,
            reader,
            is_deflating,
            written: 0,
            outstanding: 0,
            sent_at: Instant::now(),
        })
    }

    pub(crate) fn set_nonblocking(&self) -> Result<()> {
        Ok(self.stream.set_nonblocking(true)?)
    }

    /// The connection, for calls that wait.
    pub(crate) fn into_blocking(self) -> TcpStream {
        self.stream
    }

    /// Writes what fits of `bytes`. Returns whether everything is written.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<bool> {
        while self.written < bytes.len() {
            match self.stream.write(&bytes[self.written..]) {
                Ok(length) => self.written += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// Reads once. Returns how many messages that completes.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<u32> {
        match self.stream.read(buffer) {
            Ok(0) => Err("the server has closed the connection".into()),
            Ok(length) => self.reader.take(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Resets the connection, so that its port is free again at once.
    pub(crate) fn reset(self) -> Result<()> {
        let at_once = nix::libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        Ok(setsockopt(&self.stream, Linger, &at_once)?)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// The extension that the request offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    Nothing,
    Deflate,
}

/// No context outlives a message, so that every echo can be checked by itself. The second offer is for servers that do not
/// know all parameters: the client keeps no context in any case.
const DEFLATE_OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; \
    server_no_context_takeover; client_no_context_takeover, permessage-deflate; server_no_context_takeover\r\n";
/// The server's answer to the key above (RFC 6455 §1.3 has both).
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const TIMEOUT: Duration = Duration::from_secs(20);
