//! Two WebSocket clients: tungstenite's, and a raw one for bytes that tungstenite would not send.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::client::Response;
use tungstenite::http::{HeaderName, HeaderValue};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message, WebSocket};

use super::patience;
use super::server::{Server, opening};
use super::tls::TlsSocket;

/// A socket, with TLS over it or without, that repeats an interrupted read. A read with a deadline is interrupted when
/// the process is stopped and continued.
pub(crate) struct Steady {
    socket: TcpStream,
    tls: Option<Box<rustls::ClientConnection>>,
}

impl Steady {
    pub(crate) fn plain(socket: TcpStream) -> Steady {
        Steady { socket, tls: None }
    }

    pub(crate) fn over_tls(socket: TlsSocket) -> Steady {
        let rustls::StreamOwned { conn, sock } = socket;
        Steady {
            socket: sock,
            tls: Some(Box::new(conn)),
        }
    }

    fn read_once(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match &mut self.tls {
            None => self.socket.read(buffer),
            Some(tls) => rustls::Stream::new(&mut **tls, &mut self.socket).read(buffer),
        }
    }
}

impl Read for Steady {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            match self.read_once(buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                outcome => return outcome,
            }
        }
    }
}

impl Write for Steady {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        match &mut self.tls {
            None => self.socket.write(buffer),
            Some(tls) => rustls::Stream::new(&mut **tls, &mut self.socket).write(buffer),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match &mut self.tls {
            None => self.socket.flush(),
            Some(tls) => rustls::Stream::new(&mut **tls, &mut self.socket).flush(),
        }
    }
}

/// An open WebSocket.
pub(crate) struct Client {
    socket: WebSocket<Steady>,
    pub(crate) response: Response,
    pub(crate) path: String,
}

impl Client {
    #[track_caller]
    pub(crate) fn connect(port: u16, path: &str, headers: &[(&str, &str)]) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(20) * patience()))
            .expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        let url = format!("ws://localhost:{port}{path}");
        Client::over(Steady::plain(stream), &url, path, headers)
    }

    /// Opens a WebSocket over a connection that is there already.
    #[track_caller]
    pub(crate) fn over(stream: Steady, url: &str, path: &str, headers: &[(&str, &str)]) -> Client {
        let mut request = url.into_client_request().expect("a request");
        for (name, value) in headers {
            let name: HeaderName = name.parse().expect("a header name");
            request
                .headers_mut()
                .append(name, HeaderValue::from_str(value).expect("a value"));
        }
        let config = WebSocketConfig::default()
            .max_message_size(None)
            .max_frame_size(None);
        let connected = tungstenite::client::client_with_config(request, stream, Some(config));
        let (socket, response) = connected.expect("a 101");
        let path = path.to_owned();
        Client {
            socket,
            response,
            path,
        }
    }

    #[track_caller]
    pub(crate) fn send(&mut self, message: impl Into<Message>) {
        self.socket.send(message.into()).expect("sending");
    }

    /// Queues without flushing, for many small messages at once.
    #[track_caller]
    pub(crate) fn write(&mut self, message: impl Into<Message>) {
        self.socket.write(message.into()).expect("queueing");
    }

    #[track_caller]
    pub(crate) fn flush(&mut self) {
        self.socket.flush().expect("flushing");
    }

    /// Returns the next message, Pings aside.
    #[track_caller]
    pub(crate) fn receive(&mut self) -> Message {
        loop {
            match self.socket.read().expect("a message") {
                Message::Ping(_) => {}
                message => return message,
            }
        }
    }

    /// Reads one message, Pings included; an error is the end of the session or a deadline.
    pub(crate) fn try_read(&mut self) -> Result<Message, Error> {
        self.socket.read()
    }

    /// Returns the next message, which must be text.
    #[track_caller]
    pub(crate) fn text(&mut self) -> String {
        match self.receive() {
            Message::Text(text) => text.as_str().to_owned(),
            other => panic!("text was expected, not {other:?}"),
        }
    }

    /// Sends text and returns the text that comes back.
    #[track_caller]
    pub(crate) fn ask(&mut self, text: &str) -> String {
        self.send(text);
        self.text()
    }

    /// Reads until the closing handshake is over. Returns the server's code: 1005 for a Close without one, 1006 for a
    /// lost connection.
    #[track_caller]
    pub(crate) fn close_code(&mut self) -> u16 {
        let mut code = 1006;
        loop {
            match self.socket.read() {
                Ok(Message::Close(frame)) => {
                    code = frame.map_or(1005, |frame| u16::from(frame.code));
                }
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("the connection neither closed nor said anything for 20 s");
                }
                Err(_) => return code,
            }
        }
    }

    /// Closes from this side and returns the server's code.
    #[track_caller]
    pub(crate) fn close(&mut self, code: u16) -> u16 {
        self.start_closing(code, "");
        self.close_code()
    }

    /// Sends a Close frame. Code 1005 stands for a frame without a body.
    #[track_caller]
    pub(crate) fn start_closing(&mut self, code: u16, reason: &str) {
        let frame = tungstenite::protocol::CloseFrame {
            code: CloseCode::from(code),
            reason: reason.to_owned().into(),
        };
        let frame = (code != 1005).then_some(frame);
        self.socket.close(frame).expect("closing");
    }

    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        &mut self.socket.get_mut().socket
    }

    /// Returns a second handle to the socket, to send bytes while messages are received.
    pub(crate) fn raw_writer(&self) -> TcpStream {
        let Steady { socket, .. } = self.socket.get_ref();
        socket.try_clone().expect("a clone of a socket")
    }

    /// Gives up the client and keeps its connection open until the socket is dropped.
    pub(crate) fn into_stream(self) -> TcpStream {
        let Steady { socket, .. } = self.socket.get_ref();
        socket.try_clone().expect("a clone of a socket")
    }
}

/// An upgraded connection that sends and receives bytes.
pub(crate) struct Raw<S = TcpStream> {
    pub(crate) stream: S,
}

impl Raw {
    /// Opens a WebSocket at `path`.
    #[track_caller]
    pub(crate) fn open(server: &Server, path: &str) -> Raw {
        Raw::open_with(server, path, "").0
    }

    /// Opens a WebSocket with more header lines, each with its CRLF. Returns the head of the response as well.
    #[track_caller]
    pub(crate) fn open_with(server: &Server, path: &str, extra: &str) -> (Raw, String) {
        let mut stream = server.raw();
        stream
            .write_all(opening(path, extra).as_bytes())
            .expect("sending a handshake");
        let mut raw = Raw { stream };
        let answer = raw.skip_head();
        (raw, answer)
    }
}

impl<S: Read + Write> Raw<S> {
    /// Reads the head of the response, which must be a 101.
    #[track_caller]
    pub(crate) fn skip_head(&mut self) -> String {
        let stream = &mut self.stream;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a whole answer");
            answer.push(byte[0]);
        }
        assert!(
            answer.starts_with(b"HTTP/1.1 101 "),
            "{}",
            String::from_utf8_lossy(&answer)
        );
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("sending");
    }

    /// Returns the next frame: its first byte and its payload. `None` at the end of the connection.
    #[track_caller]
    pub(crate) fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        match self.stream.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("the server neither sent nor closed for 20 s");
            }
            Err(_) => return None,
        }
        assert_eq!(head[1] & 0x80, 0, "a server's frame is never masked");
        let length = match head[1] {
            126 => {
                let mut length = [0; 2];
                self.stream.read_exact(&mut length).expect("a length");
                u64::from(u16::from_be_bytes(length))
            }
            127 => {
                let mut length = [0; 8];
                self.stream.read_exact(&mut length).expect("a length");
                u64::from_be_bytes(length)
            }
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).expect("a length")];
        self.stream.read_exact(&mut payload).expect("a payload");
        Some((head[0], payload))
    }
}

impl Raw {
    /// Reads until the server closes the connection. Returns the code of its one Close frame, 1005 for a Close without
    /// one, 1006 if none came.
    #[track_caller]
    pub(crate) fn close_code(&mut self) -> u16 {
        let mut code = None;
        while let Some((first, payload)) = self.frame() {
            assert_eq!(code, None, "nothing follows a Close frame");
            if first == 0x88 {
                code = Some(
                    payload
                        .first_chunk()
                        .map_or(1005, |code| u16::from_be_bytes(*code)),
                );
                let _ = self.stream.shutdown(std::net::Shutdown::Write);
            }
        }
        code.unwrap_or(1006)
    }
}
