//! A blocking client for tests against a server: RFC 6455 without extensions.

use std::{
    fmt,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::{
    abi,
    close::{Cause, Close},
    close_codes,
    message::{MessageBuf, payload::Payload},
    test::handshake::Refusal,
};

/// A client with an open WebSocket to a [`Wshd`](crate::test::Wshd). If it is dropped, its connection is lost.
///
/// It answers Pings and Close frames while it receives.
///
/// ```no_run,standalone_crate
/// # use wsh::prelude::*;
/// # async fn echo(conn: &mut AsyncConn) -> Result {
/// #     while let Some(message) = conn.recv().await {
/// #         conn.send(message).await?;
/// #     }
/// #     Ok(())
/// # }
/// # wsh::handler!(async echo, restarts);
/// # fn main() {
/// let server = wsh::test::wshd(&WSH_HANDLER);
/// let mut client = server.connect();
/// assert!(client.protocol().is_empty() && client.header("Upgrade").is_some());
/// client.send("hello");
/// assert_eq!(client.receive().unwrap(), "hello");
/// assert!(client.closed().is_none());
/// assert_eq!(client.close(1000, "done").code, 1000);
/// # }
/// ```
pub struct WshdClient {
    stream: BufReader<TcpStream>,
    headers: Vec<(String, Vec<u8>)>,
    closed: Option<Close>,
}

impl WshdClient {
    /// Connects, and makes the opening handshake.
    pub(super) fn open(
        address: SocketAddr,
        target: &str,
        more: &[(&str, &str)],
    ) -> Result<WshdClient, Refusal> {
        let mut request = format!(
            "GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        );
        for (name, value) in more {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        let opened = || {
            let stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_nodelay(true)?;
            let mut stream = BufReader::new(stream);
            stream.get_mut().write_all(request.as_bytes())?;
            let head = read_head(&mut stream)?;
            Ok((stream, head))
        };
        let (mut stream, head): (_, String) = match opened() {
            Ok(opened) => opened,
            Err(error) => panic!("no answer from {address}: {}", describe(&error)),
        };
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let headers: Vec<(String, Vec<u8>)> = head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().as_bytes().to_vec()))
            .collect();
        match status.unwrap_or(0) {
            101 => Ok(WshdClient {
                stream,
                headers,
                closed: None,
            }),
            status => {
                let length = find(&headers, "Content-Length");
                let length = length.and_then(|length| str::from_utf8(length).ok()?.parse().ok());
                let mut body = Vec::new();
                let _ = (&mut stream)
                    .take(length.unwrap_or(0))
                    .read_to_end(&mut body);
                Err(Refusal {
                    status,
                    headers,
                    body,
                })
            }
        }
    }

    /// The subprotocol that the handler chose, or `""`.
    #[must_use]
    pub fn protocol(&self) -> &str {
        let chosen = self.header("Sec-WebSocket-Protocol").unwrap_or_default();
        str::from_utf8(chosen).unwrap_or_default()
    }

    /// A header line of the 101.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        find(&self.headers, name)
    }

    /// Sends a message. The message is lost if the session is over.
    pub fn send<P: Payload>(&mut self, message: P) {
        let opcode = match message.kind() & 0xff {
            abi::TEXT => TEXT,
            _ => BINARY,
        };
        self.frame(opcode, message.bytes());
    }

    /// Waits for the next message. `None` when the session is over.
    ///
    /// # Panics
    /// Nothing comes within ten seconds.
    #[must_use]
    pub fn receive(&mut self) -> Option<MessageBuf> {
        let mut message: Option<(u8, Vec<u8>)> = None;
        while self.closed.is_none() {
            let (head, data) = match self.read_frame() {
                Ok(frame) => frame,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    panic!("no message came in {PATIENCE:?}")
                }
                // The connection is lost, without a Close frame.
                Err(_) => {
                    self.closed =
                        Some(Close::new(close_codes::ABNORMAL.into(), "", Cause::Unknown));
                    break;
                }
            };
            match head & 0x0f {
                CLOSE => {
                    self.frame(CLOSE, &data);
                    let code = data
                        .first_chunk()
                        .map_or(close_codes::NO_STATUS, |code| u16::from_be_bytes(*code));
                    let reason = String::from_utf8_lossy(data.get(2..).unwrap_or_default());
                    self.closed = Some(Close::new(code.into(), &reason, Cause::Unknown));
                }
                PING => self.frame(PONG, &data),
                PONG => {}
                opcode => {
                    let (_, all) = message.get_or_insert((opcode, Vec::new()));
                    all.extend_from_slice(&data);
                    if head & FIN != 0 {
                        return message.map(whole);
                    }
                }
            }
        }
        None
    }

    /// Closes with a code and a reason, and returns the Close that comes back. Messages that come before it are dropped.
    /// If the session is over already, it returns what ended it.
    #[must_use]
    pub fn close(&mut self, code: u16, reason: &str) -> Close {
        let body = [&code.to_be_bytes(), reason.as_bytes()].concat();
        self.frame(CLOSE, &body);
        while self.receive().is_some() {}
        self.closed
            .clone()
            .expect("`receive` gives `None` only when it has noted the end")
    }

    /// How the session ended, as far as this client knows: with 1006 if the connection was lost. `None` while it is open.
    #[must_use]
    pub fn closed(&self) -> Option<&Close> {
        self.closed.as_ref()
    }

    /// Writes one masked frame (RFC 6455 §5.2, §5.3).
    fn frame(&mut self, opcode: u8, data: &[u8]) {
        let mut frame = vec![FIN | opcode];
        match data.len() {
            short @ ..=125 => frame.push(MASKED | short as u8),
            middle @ ..=0xffff => {
                frame.push(MASKED | 126);
                frame.extend_from_slice(&(middle as u16).to_be_bytes());
            }
            long => {
                frame.push(MASKED | 127);
                frame.extend_from_slice(&(long as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(&MASK);
        frame.extend(
            data.iter()
                .zip(MASK.iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
        // If it cannot be sent, the next `receive` notices.
        let _ = self.stream.get_mut().write_all(&frame);
    }

    /// Reads a frame: its first byte, and its payload.
    fn read_frame(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head)?;
        let length = match head[1] & 0x7f {
            126 => {
                let mut length = [0; 2];
                self.stream.read_exact(&mut length)?;
                u64::from(u16::from_be_bytes(length))
            }
            127 => {
                let mut length = [0; 8];
                self.stream.read_exact(&mut length)?;
                u64::from_be_bytes(length)
            }
            length => u64::from(length),
        };
        let mut data = Vec::new();
        let read = (&mut self.stream).take(length).read_to_end(&mut data)?;
        if read as u64 == length {
            Ok((head[0], data))
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}

impl fmt::Debug for WshdClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WshdClient")
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

/// Reads all lines up to the empty one.
fn read_head(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut head = String::new();
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.push_str(&line);
    }
    Ok(head)
}

fn find<'a>(headers: &'a [(String, Vec<u8>)], name: &str) -> Option<&'a [u8]> {
    let mut headers = headers.iter();
    let (_, value) = headers.find(|(found, _)| found.eq_ignore_ascii_case(name))?;
    Some(value)
}

fn whole((opcode, data): (u8, Vec<u8>)) -> MessageBuf {
    if opcode == TEXT {
        MessageBuf::Text(String::from_utf8_lossy(&data).into_owned())
    } else {
        MessageBuf::Binary(data)
    }
}

fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock => format!("nothing came in {PATIENCE:?}"),
        io::ErrorKind::UnexpectedEof => "it closed the connection".to_owned(),
        _ => error.to_string(),
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
/// The mask of every frame. Any four bytes do: there is no proxy between a test and its server that a frame could deceive.
const MASK: [u8; 4] = [0x57, 0x53, 0x48, 0x44];
