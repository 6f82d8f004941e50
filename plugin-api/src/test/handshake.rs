//! The opening handshake of a test's client: its request, and the answer that it gets.

use std::{fmt, mem, rc::Rc};

use crate::{
    abi,
    rules::{self, RawThen},
    test::{
        client::Client,
        hub::HandshakeSignal,
        plugin_handshake::PluginHandshake,
        request_table::{RequestParts, RequestTable},
        response_draft::ResponseDraft,
        server::{PATIENCE, ServerCore},
        session::TestSession,
    },
};

/// A request that a client is about to make.
///
/// ```
/// use wsh::prelude::*;
///
/// fn check(request: &Request, response: &mut Response) -> Result<Handshake> {
///     if request.cookie("token") == Some("secret") {
///         return response.choose_protocol(request, &["chat"]);
///     }
///     let pause = request.sleep(std::time::Duration::from_secs(1)); // guessing takes a while
///     Ok(Handshake::later(async move {
///         pause.await;
///         Ok(Handshake::reject(403, "no token"))
///     }))
/// }
/// # async fn quiet(conn: &mut AsyncConn) -> Result {
/// #     while conn.recv().await.is_some() {}
/// #     Ok(())
/// # }
///
/// let server = wsh::test::serve(wsh::descriptor!(async quiet, handshake = check));
/// let request = server.request("/rooms/tea?name=ann"); // with what a client or a proxy may add:
/// let request = request.cookie("token", "secret").protocol("chat").header("X-More", "more");
/// let request = request.param("room", "tea").user("ann");
/// let request = request.remote_addr("10.0.0.1:4711").client_addr("192.0.2.7:55555");
/// assert_eq!(request.connect().protocol(), "chat");
///
/// let mut opening = server.request("/").begin(); // without waiting for the answer
/// assert!(opening.is_pending());
/// server.advance(std::time::Duration::from_secs(1));
/// assert_eq!(opening.finish().unwrap_err().status, 403);
/// ```
#[must_use = "a request does nothing until it is made"]
pub struct Request {
    core: Rc<ServerCore>,
    pub(super) parts: RequestParts,
}

impl Request {
    pub(super) fn new(core: Rc<ServerCore>, target: &str) -> Self {
        assert!(
            target.starts_with('/') && target.is_ascii(),
            "`target` is `{target}`, wanted ASCII that begins with `/`"
        );
        let header = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
        let parts = RequestParts {
            target: target.into(),
            origin: String::new(),
            remote_addr: "127.0.0.1:49152".into(),
            client_addr: None,
            user: String::new(),
            headers: vec![
                header("Host", "localhost"),
                header("Connection", "Upgrade"),
                header("Upgrade", "websocket"),
                header("Sec-WebSocket-Version", "13"),
                header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ],
            protocols: Vec::new(),
            params: Vec::new(),
        };
        Request { core, parts }
    }

    /// Adds a header line.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        match name.to_ascii_lowercase().as_str() {
            "origin" => self.parts.origin = String::from_utf8_lossy(value).into_owned(),
            "host" => self.parts.headers.retain(|(name, _)| name != "Host"),
            _ => {}
        }
        self.parts.headers.push((name.into(), value.into()));
        self
    }

    /// Adds a cookie.
    pub fn cookie(self, name: &str, value: &str) -> Self {
        self.header("Cookie", format!("{name}={value}"))
    }

    /// Offers a subprotocol. The one that is offered first is preferred.
    pub fn protocol(mut self, name: &str) -> Self {
        self.parts.protocols.push(name.into());
        self.header("Sec-WebSocket-Protocol", name)
    }

    /// Sets a parameter of the route: `room` of `/rooms/{room}`.
    pub fn param(mut self, name: &str, value: &str) -> Self {
        self.parts.params.push((name.into(), value.into()));
        self
    }

    /// Sets the user that the server has authenticated the client as.
    pub fn user(mut self, name: &str) -> Self {
        self.parts.user = name.into();
        self
    }

    /// Sets the address at the other end of the connection. It is `127.0.0.1:49152` by default. The client of a Unix
    /// socket has none: there wshd says which process and which user it is, `unix:4711/1000`.
    pub fn remote_addr(mut self, address: &str) -> Self {
        self.parts.remote_addr = address.into();
        self
    }

    /// Sets the client's address as a proxy says it that the server trusts. It is [`remote_addr`](Self::remote_addr) by
    /// default.
    pub fn client_addr(mut self, address: &str) -> Self {
        self.parts.client_addr = Some(address.into());
        self
    }

    /// Connects.
    ///
    /// # Panics
    /// The handler refuses the client.
    #[must_use]
    pub fn connect(self) -> Client {
        match self.try_connect() {
            Ok(client) => client,
            Err(refusal) => panic!("the handler refuses: {refusal}"),
        }
    }

    /// Connects, unless the handler refuses the client.
    ///
    /// # Errors
    /// The handler's refusal, as the client sees it.
    pub fn try_connect(self) -> Result<Client, Refusal> {
        self.begin().finish()
    }

    /// Makes the request, without waiting for the answer.
    #[must_use = "the client leaves when this is dropped"]
    pub fn begin(self) -> Opening {
        self.core.begin_handshake(&self)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.fmt(f)
    }
}

/// An opening handshake that the handler may not have answered yet. If it is dropped, the client leaves.
///
/// ```
/// use wsh::prelude::*;
///
/// fn check(request: &Request, response: &mut Response) -> Result<Handshake> {
///     if request.cookie("token") == Some("secret") {
///         return response.choose_protocol(request, &["chat"]);
///     }
///     let pause = request.sleep(std::time::Duration::from_secs(1)); // guessing takes a while
///     Ok(Handshake::later(async move {
///         pause.await;
///         Ok(Handshake::reject(403, "no token"))
///     }))
/// }
/// # async fn quiet(conn: &mut AsyncConn) -> Result {
/// #     while conn.recv().await.is_some() {}
/// #     Ok(())
/// # }
///
/// let server = wsh::test::serve(wsh::descriptor!(async quiet, handshake = check));
/// let mut opening = server.request("/").begin();
/// assert!(opening.is_pending());
/// server.advance(std::time::Duration::from_secs(1));
/// assert_eq!(opening.finish().unwrap_err().body, b"no token");
/// // `finish_later` also waits for threads that a handler began by itself.
/// let member = server.request("/").cookie("token", "secret").begin();
/// assert!(member.finish_later().is_ok());
/// ```
pub struct Opening {
    core: Rc<ServerCore>,
    id: u64,
    // The order of the fields matters: `abandon` runs before the request is dropped.
    attempt: Option<PluginHandshake>,
    request: RequestTable,
    draft: ResponseDraft,
    answer: i32,
}

impl Opening {
    pub(super) fn new(
        core: Rc<ServerCore>,
        id: u64,
        parts: RequestParts,
        draft: ResponseDraft,
    ) -> Self {
        let mut opening = Opening {
            attempt: Some(PluginHandshake::new(core.generation())),
            request: RequestTable::new(id, parts),
            core,
            id,
            draft,
            answer: abi::PENDING,
        };
        opening.ask();
        opening
    }

    /// Whether the handler has still to answer.
    #[must_use]
    pub fn is_pending(&mut self) -> bool {
        self.core.run();
        self.answer_if_woken();
        self.answer == abi::PENDING
    }

    /// Waits for the answer, as long as the handler has a thread that could give it.
    ///
    /// # Errors
    /// The handler's refusal, as the client sees it. With status 503, like on a server, no answer came.
    pub fn finish(self) -> Result<Client, Refusal> {
        self.finish_within(PATIENCE, false)
    }

    /// Like [`finish`](Self::finish), but also waits for threads that the handler began by itself.
    ///
    /// # Errors
    /// Those of [`finish`](Self::finish).
    pub fn finish_later(self) -> Result<Client, Refusal> {
        self.finish_within(PATIENCE, true)
    }

    fn finish_within(
        mut self,
        patience: std::time::Duration,
        always: bool,
    ) -> Result<Client, Refusal> {
        let core = Rc::clone(&self.core);
        core.run_until(patience, always, || {
            self.answer_if_woken();
            (self.answer != abi::PENDING).then_some(())
        });
        match (self.answer, self.attempt.take()) {
            (abi::OK, Some(attempt)) => match self.draft.raw.take() {
                None => Ok(self.open(attempt, None)),
                // The attempt is dropped here, which abandons it.
                Some((body, RawThen::Close { .. })) => Err(Refusal {
                    body,
                    ..Refusal::plain(0)
                }),
                Some((bytes, RawThen::Continue)) => Ok(self.open(attempt, Some(bytes))),
                Some((bytes, RawThen::Open)) => {
                    self.draft.headers = Vec::new();
                    Ok(self.open(attempt, Some(bytes)))
                }
            },
            // The attempt is dropped here, which abandons it.
            (abi::REJECT, _) => {
                let headers = mem::take(&mut self.draft.headers);
                let (status, mut body) = self.draft.rejection.take().unwrap_or((403, Vec::new()));
                if !rules::has_body(status) {
                    body.clear();
                }
                Err(Refusal {
                    status,
                    headers,
                    body,
                })
            }
            (abi::ABORT, _) => Err(Refusal::plain(0)),
            (abi::PENDING, _) => Err(Refusal::plain(503)),
            _ => Err(Refusal::plain(500)),
        }
    }

    fn open(&mut self, attempt: PluginHandshake, raw_answer: Option<Vec<u8>>) -> Client {
        let protocol = mem::take(&mut self.draft.protocol);
        let (hub, now) = (&self.core.hub, self.core.now());
        let session = TestSession::open(hub, attempt, &self.request, protocol, now);
        self.core.sessions.borrow_mut().insert(self.id, session);
        self.core.run();
        Client {
            core: Rc::clone(&self.core),
            id: self.id,
            headers: mem::take(&mut self.draft.headers),
            raw_answer,
        }
    }

    fn answer_if_woken(&mut self) {
        while self.answer == abi::PENDING
            && let Some(signal) = self.core.hub.take_handshake_signal(self.id)
        {
            match signal {
                HandshakeSignal::Woken => self.ask(),
                HandshakeSignal::Closed { code } => {
                    let status = rules::status_of_close(code);
                    self.draft.headers = Vec::new();
                    self.draft.rejection = Some((status, Vec::new()));
                    self.answer = abi::REJECT;
                }
            }
        }
    }

    fn ask(&mut self) {
        if let Some(attempt) = &mut self.attempt {
            (self.answer, self.draft) = attempt.ask(&self.request, mem::take(&mut self.draft));
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if !self.core.sessions.borrow().contains_key(&self.id) {
            self.core.hub.remove(self.id);
        }
    }
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening").finish_non_exhaustive()
    }
}

/// The answer that a client gets which is refused.
///
/// ```
/// use wsh::prelude::*;
///
/// fn check(_: &Request, response: &mut Response) -> Result<Handshake> {
///     response.header("Retry-After", "60")?;
///     Ok(Handshake::reject(503, "full"))
/// }
/// # async fn quiet(_: &mut AsyncConn) -> Result { Ok(()) }
///
/// let server = wsh::test::serve(wsh::descriptor!(async quiet, handshake = check));
/// let refusal = server.request("/").try_connect().unwrap_err();
/// assert_eq!(refusal.to_string(), "503 full");
/// assert_eq!(refusal.headers, [("Retry-After".to_owned(), b"60".to_vec())]);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Refusal {
    /// The HTTP status. 0 if the connection was closed without an HTTP answer.
    pub status: u16,
    /// The header lines that the handler added.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body. With status 0, the bytes of a [`raw::Answer`](crate::raw::Answer).
    pub body: Vec<u8>,
}

impl Refusal {
    fn plain(status: u16) -> Self {
        Refusal {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }
}

/// Writes the status and the body, like `403 no token`.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if self.body.is_empty() {
            return Ok(());
        }
        write!(f, " {}", String::from_utf8_lossy(&self.body))
    }
}

impl std::error::Error for Refusal {}
