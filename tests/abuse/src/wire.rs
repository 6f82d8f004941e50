//! One connection of an attacker: bytes as they are written, and the frames that come back. It waits for each.

use std::fmt::{Display, Formatter};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::socket::sockopt::IpBindAddressNoPort;
use socket2::{Domain, Socket, Type};

use crate::Result;

/// A connection, and what has come over it that is not read yet.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    pub(crate) frames: Frames,
}

impl Peer {
    /// Connects and completes the opening handshake.
    pub(crate) fn open(port: u16, path: &str) -> Result<Peer> {
        Peer::open_with(port, path, "")
    }

    /// Opens a WebSocket with more lines in its request.
    pub(crate) fn open_with(port: u16, path: &str, more: &str) -> Result<Peer> {
        let mut stream = connect(port)?;
        stream.write_all(opening(path, more).as_bytes())?;
        Peer::opened(stream)
    }

    /// Reads the answer to a request that was sent.
    pub(crate) fn opened(mut stream: TcpStream) -> Result<Peer> {
        let mut answer = Vec::new();
        let end = loop {
            if let Some(at) = find(&answer, b"\r\n\r\n") {
                break at + 4;
            }
            let mut buffer = [0; 2048];
            match stream.read(&mut buffer)? {
                0 => return Err("the connection ends within the opening handshake".into()),
                length => answer.extend_from_slice(&buffer[..length]),
            }
        };
        let head = String::from_utf8_lossy(&answer[..end]);
        if !head.starts_with("HTTP/1.1 101") || !head.contains(ACCEPT) {
            let status = head.lines().next().unwrap_or_default();
            let why = String::from_utf8_lossy(&answer[end..]);
            return Err(format!("the upgrade is refused: {status}: {}", why.trim_end()).into());
        }
        let mut frames = Frames::default();
        frames.take(&answer[end..]);
        Ok(Peer { stream, frames })
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// Waits for a frame. `None` at the end of the connection, however it ends.
    pub(crate) fn frame(&mut self) -> Result<Option<Frame>> {
        let mut buffer = [0; 16 * 1024];
        loop {
            if let Some(frame) = self.frames.next()? {
                return Ok(Some(frame));
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(length) => self.frames.take(&buffer[..length]),
                Err(error) if is_end(&error) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends a message and waits for its answer.
    pub(crate) fn ask(&mut self, message: &[u8]) -> Result<Vec<u8>> {
        self.send(&frame(FIN | BINARY, message))?;
        self.message()
    }

    /// Sends a text and waits for its answer.
    pub(crate) fn ask_text(&mut self, message: &str) -> Result<String> {
        self.send(&frame(FIN | TEXT, message.as_bytes()))?;
        Ok(String::from_utf8(self.message()?)?)
    }

    /// Waits for a message.
    pub(crate) fn message(&mut self) -> Result<Vec<u8>> {
        loop {
            let frame = self.frame()?.ok_or("the server has left")?;
            match frame.opcode() {
                PING => self.send(&crate::client_frame::frame(FIN | PONG, &frame.payload))?,
                CLOSE => return Err(Closed(frame.code()).into()),
                PONG => {}
                _ => return Ok(frame.payload),
            }
        }
    }

    /// Reads to the end. Returns the code of the Close frame, 1006 without one, and how many there were.
    pub(crate) fn close_code(&mut self) -> Result<(u16, usize)> {
        let (mut code, mut count) = (1006, 0);
        while let Some(frame) = self.frame()? {
            if frame.opcode() == CLOSE {
                code = frame.code();
                count += 1;
                // The server waits for the answer before it closes.
                let _ = self.send(&crate::client_frame::frame(FIN | CLOSE, &frame.payload));
            }
        }
        Ok((code, count))
    }

    /// Reads to the Close frame and no further, and resets. Returns its code, 1006 without one.
    ///
    /// A server that skips the rest of a long message would take an answer for a part of it.
    pub(crate) fn first_close(mut self) -> Result<u16> {
        while let Some(frame) = self.frame()? {
            if frame.opcode() == CLOSE {
                self.reset()?;
                return Ok(frame.code());
            }
        }
        Ok(1006)
    }

    /// Ends the connection by a reset.
    pub(crate) fn reset(self) -> Result<()> {
        Ok(Socket::from(self.stream).set_linger(Some(Duration::ZERO))?)
    }
}

/// The server has closed the session with this code, where an answer was wanted.
#[derive(Debug)]
pub(crate) struct Closed(pub(crate) u16);

impl Display for Closed {
    fn fmt(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
        write!(out, "the server closes with {}", self.0)
    }
}

impl std::error::Error for Closed {}

/// Whether an ask failed because the server is being replaced (1012).
pub(crate) fn is_told_to_come_back(error: &crate::Error) -> bool {
    error
        .downcast_ref()
        .is_some_and(|Closed(code)| *code == 1012)
}

/// A frame of the server.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) first: u8,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn opcode(&self) -> u8 {
        self.first & 0xf
    }

    /// The code of a Close frame; 1005 for one without.
    pub(crate) fn code(&self) -> u16 {
        match self.payload[..] {
            [high, low, ..] => u16::from_be_bytes([high, low]),
            _ => 1005,
        }
    }
}

/// Cuts what comes into frames.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    bytes: Vec<u8>,
    read: usize,
}

impl Frames {
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.read);
        self.read = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the next frame that is whole.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>> {
        let bytes = &self.bytes[self.read..];
        let (length, header) = match *bytes {
            [_, 0x80..=0xff, ..] => return Err("the server masks its frames".into()),
            [_, short @ 0..126, ..] => (usize::from(short), 2),
            [_, 126, high, low, ..] => (usize::from(u16::from_be_bytes([high, low])), 4),
            [_, 127, a, b, c, d, e, f, g, h, ..] => {
                let long = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
                (usize::try_from(long)?, 10)
            }
            _ => return Ok(None),
        };
        let Some(payload) = bytes.get(header..header + length) else {
            return Ok(None);
        };
        let (first, payload) = (bytes[0], payload.to_vec());
        self.read += header + length;
        Ok(Some(Frame { first, payload }))
    }
}

/// A correct opening handshake, with more lines.
pub(crate) fn opening(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
    )
}

/// Connects from one of many addresses of this machine, so that ports that rest after a close (TIME_WAIT) do not run out.
pub(crate) fn connect(port: u16) -> Result<TcpStream> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    connect_from(
        Ipv4Addr::new(127, 0, 1, 1 + (number % ADDRESSES) as u8),
        port,
    )
}

/// Connects from this address of the machine.
pub(crate) fn connect_from(source: Ipv4Addr, port: u16) -> Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.cloexec(), None)?;
    // The port is chosen by `connect`, when the other end is known: it has to differ from no other connection's.
    nix::sys::socket::setsockopt(&socket, IpBindAddressNoPort, &true)?;
    socket.bind(&SocketAddrV4::new(source, 0).into())?;
    socket.connect(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into())?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// Sends bytes on a new connection, and returns what comes back: to its end, or to the end of the head of a 101.
pub(crate) fn exchange(port: u16, request: &[u8]) -> Result<String> {
    let mut stream = connect(port)?;
    // The server may have answered and closed before it has read all.
    let _ = stream.write_all(request);
    read_answer(&mut stream)
}

/// Reads an HTTP answer to the end of the connection, or to the end of the head of a 101.
pub(crate) fn read_answer(stream: &mut TcpStream) -> Result<String> {
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(&buffer[..length]),
            Err(error) if is_end(&error) => break,
            Err(error) => return Err(error.into()),
        }
        if answer.starts_with(b"HTTP/1.1 101") && find(&answer, b"\r\n\r\n").is_some() {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The status of an HTTP answer; 0 for none.
pub(crate) fn status_of(answer: &str) -> u16 {
    let status = answer.strip_prefix("HTTP/1.1 ");
    let status = status.and_then(|rest| rest.get(..3)?.parse().ok());
    status.unwrap_or(0)
}

/// Whether a read or write that failed so says that the connection is over.
pub(crate) fn is_end(error: &std::io::Error) -> bool {
    let over = [
        ErrorKind::ConnectionReset,
        ErrorKind::BrokenPipe,
        ErrorKind::ConnectionAborted,
    ];
    over.contains(&error.kind())
}

pub(crate) fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|it| it == part)
}

pub(crate) use crate::client_frame::{frame, header};

pub(crate) const FIN: u8 = 0x80;
pub(crate) const RSV1: u8 = 0x40;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;
/// The key and the answer to it that RFC 6455 §1.3 has.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const TIMEOUT: Duration = Duration::from_secs(30);
/// Attackers come from so many addresses of the loopback network.
const ADDRESSES: u32 = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_however_their_bytes_come() {
        let long = [7; 300];
        let mut bytes = vec![0x89, 1, b'?', 0x88, 2, 0x03, 0xe8, 0x82, 126, 1, 44];
        bytes.extend_from_slice(&long);

        let mut frames = Frames::default();
        let mut found = Vec::new();
        for byte in &bytes {
            frames.take(&[*byte]);
            found.extend(frames.next().unwrap());
        }

        let opcodes: Vec<u8> = found.iter().map(Frame::opcode).collect();
        assert_eq!(opcodes, [PING, CLOSE, BINARY]);
        assert_eq!(found[1].code(), 1000);
        assert_eq!(found[2].payload, long);
    }

    #[test]
    fn a_masked_frame_of_the_server_is_an_error() {
        let mut frames = Frames::default();
        frames.take(&[0x82, 0x81]);

        let error = frames.next().unwrap_err();

        assert_eq!(error.to_string(), "the server masks its frames");
    }
}
