//! The client of a test, with an open WebSocket.

use std::{fmt, rc::Rc, time::Duration};

use crate::{
    close::Close,
    message::{MessageBuf, payload::Payload},
    rules,
    styles::functions::session_end::echoed,
    test::{
        incoming::Incoming,
        server::{NESTED, PATIENCE, ServerCore},
        session::TestSession,
    },
};

/// A client with an open WebSocket. If it is dropped, its connection is lost.
///
/// It answers Pings and Close frames by itself, like every client. When one of its calls returns, all callbacks that
/// follow from the call have run. Threads of the handler act in their own time, and [`receive`](Self::receive) waits for
/// what they send.
///
/// ```
/// use std::time::Duration;
/// use wsh::prelude::*;
///
/// async fn echo(conn: &mut AsyncConn) -> Result {
///     loop {
///         match conn.recv_timeout(Duration::from_secs(60)).await {
///             Ok(Some(message)) => conn.send(message).await?,
///             Ok(None) => return Ok(()),
///             Err(Elapsed) => conn.ping(b"still there?")?,
///         }
///     }
/// }
///
/// let server = wsh::test::serve(wsh::descriptor!(async echo, restarts));
/// let mut client = server.connect();
/// assert!(client.id() > 0 && client.protocol().is_empty() && client.header("X-None").is_none());
/// client.send("hello");
/// assert_eq!(client.receive().unwrap(), "hello");
/// assert_eq!(client.try_receive(), None);
///
/// client.advance(Duration::from_secs(60)); // no time passes otherwise
/// assert_eq!(client.receive_ping().unwrap(), b"still there?");
/// client.ping(b"yes");
/// assert_eq!(client.receive_pong().unwrap(), b"yes");
///
/// assert!(client.migrate()); // newer code takes the session over
/// assert_eq!(client.generation(), Some(2));
///
/// client.stall(); // it takes nothing from the connection
/// client.send("later");
/// client.resume();
/// assert_eq!(client.receive_within(Duration::from_secs(1)).unwrap(), "later");
/// assert!(client.receive_raw().is_none() && client.raw_answer().is_none());
///
/// client.close(1000, "done");
/// assert_eq!(client.closed().unwrap().code, 1000);
/// let mut other = server.connect();
/// other.lose(); // without a Close frame
/// assert_eq!(other.closed().unwrap().code, 1006);
/// ```
pub struct Client {
    pub(super) core: Rc<ServerCore>,
    pub(super) id: u64,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) raw_answer: Option<Vec<u8>>,
}

impl Client {
    /// The session's number.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The subprotocol that the handler chose, or `""`.
    #[must_use]
    pub fn protocol(&self) -> String {
        self.with(|session| session.protocol.clone())
    }

    /// A header line that the handler added to the 101.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let mut headers = self.headers.iter();
        let (_, value) = headers.find(|(found, _)| found.eq_ignore_ascii_case(name))?;
        Some(value)
    }

    /// The bytes that the handler sent before the 101 or in its place: see [`raw::Answer`](crate::raw::Answer).
    #[must_use]
    pub fn raw_answer(&self) -> Option<&[u8]> {
        self.raw_answer.as_deref()
    }

    /// Sends a message. The message is lost if the session is over.
    pub fn send<P: Payload>(&mut self, message: P) {
        self.put(Incoming::Message(kept(&message)));
    }

    /// Sends a part of a message in a frame of its own; `last` says whether the message ends with it. A handler that takes
    /// messages in parts gets the part at once. Any other handler gets the whole message with the last part.
    ///
    /// ```
    /// # use wsh::prelude::*;
    /// # #[derive(Default)]
    /// # struct Upload(u64);
    /// impl Session for Upload {
    ///     const PARTS: bool = true;
    ///
    ///     fn on_part(&mut self, conn: &mut Conn, part: Part) -> Result {
    ///         self.0 += part.len() as u64;
    ///         conn.send(format!("{} so far", self.0))?;
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let mut client = wsh::test::connect(wsh::descriptor!(Upload));
    /// client.send_part(b"first", false);
    /// assert_eq!(client.receive().unwrap(), "5 so far");
    /// client.send_part(b"second", true);
    /// assert_eq!(client.receive().unwrap(), "11 so far");
    /// ```
    pub fn send_part<P: Payload>(&mut self, part: P, last: bool) {
        self.put(Incoming::Part(kept(&part), last));
    }

    /// Sends a Ping of at most 125 bytes.
    pub fn ping(&mut self, payload: &[u8]) {
        let len = payload.len();
        assert!(
            len <= rules::PING_BYTES_MAX,
            "`payload` of a Ping has {len} bytes, wanted at most {}",
            rules::PING_BYTES_MAX
        );
        self.put(Incoming::Ping(payload.into()));
    }

    /// Starts the closing handshake. Code 1005 sends a Close frame without a body.
    pub fn close(&mut self, code: u32, reason: &str) {
        let sent = echoed(code);
        assert!(
            rules::close(sent, reason).is_ok(),
            "a client cannot close with code {code} and reason `{reason}`, wanted 1000 to 1003, 1007 to 1014, 3000 to \
             4999 or 1005, and at most 123 bytes"
        );
        self.put(Incoming::Close(code, reason.into()));
    }

    /// Loses the connection, without a Close frame.
    pub fn lose(&mut self) {
        self.with(TestSession::lose);
        self.core.run();
    }

    /// The next message. The call waits, for at most ten seconds, while threads run that the handler has begun by
    /// [`spawn`](crate::spawn). `None` if the session is over, or if no message can come any more.
    #[must_use]
    pub fn receive(&mut self) -> Option<MessageBuf> {
        self.wait(PATIENCE, false)
    }

    /// The next message. The call waits for at most `patience`, whether or not threads are known to run: for handlers that
    /// begin threads by themselves.
    #[must_use]
    pub fn receive_within(&mut self, patience: Duration) -> Option<MessageBuf> {
        self.wait(patience, true)
    }

    /// The next message, if it has arrived.
    #[must_use]
    pub fn try_receive(&mut self) -> Option<MessageBuf> {
        self.wait(Duration::ZERO, false)
    }

    /// The payload of the next Ping.
    #[must_use]
    pub fn receive_ping(&mut self) -> Option<Vec<u8>> {
        self.core.run();
        self.with(|session| session.controls().wire.pings.pop_front())
    }

    /// The payload of the next Pong.
    #[must_use]
    pub fn receive_pong(&mut self) -> Option<Vec<u8>> {
        self.core.run();
        self.with(|session| session.controls().wire.pongs.pop_front())
    }

    /// The bytes of the next [`raw::write`](crate::raw::write()). They are kept apart from messages: only a server shows
    /// their order among these.
    #[must_use]
    pub fn receive_raw(&mut self) -> Option<Vec<u8>> {
        let core = Rc::clone(&self.core);
        core.run_until(PATIENCE, false, || {
            self.with(|session| session.controls().wire.raw.pop_front())
        })
    }

    /// How the session ended, as a client sees it: the code and reason of the Close frame that the server sent, or 1006 if
    /// the connection was lost. `None` while the session is open.
    #[must_use]
    pub fn closed(&mut self) -> Option<Close> {
        self.core.run();
        self.with(|session| session.controls().wire.close.clone())
    }

    /// Lets time pass for every session of the server: timers run out, and closing handshakes that take too long fail.
    pub fn advance(&mut self, time: Duration) {
        self.core.advance(time);
    }

    /// Takes nothing from the connection until [`resume`](Self::resume). What the handler sends stays buffered.
    pub fn stall(&mut self) {
        self.with(|session| session.controls().wire.is_stalled = true);
    }

    /// Ends a [`stall`](Self::stall).
    pub fn resume(&mut self) {
        self.with(|session| session.controls().wire.is_stalled = false);
        self.core.run();
    }

    /// Loads the handler again, as a newer generation, to which every session moves that can. Answers whether this session
    /// has moved.
    pub fn migrate(&mut self) -> bool {
        let reloaded = self.core.reload_same();
        reloaded.expect("the same handler is loaded again");
        self.generation() == Some(self.core.generation().number)
    }

    /// The number of the generation that runs the session, from 1. `None` after the session's end.
    #[must_use]
    pub fn generation(&self) -> Option<u64> {
        self.with(|session| session.generation())
    }

    fn wait(&mut self, patience: Duration, always: bool) -> Option<MessageBuf> {
        let found = self.core.run_until(patience, always, || {
            self.with(|session| {
                let message = session.controls().wire.messages.pop_front();
                // A session that is over, with no message left, ends the wait.
                (message.is_some() || session.is_over()).then_some(message)
            })
        });
        found.flatten()
    }

    fn put(&mut self, incoming: Incoming) {
        self.with(|session| session.receive(incoming));
        self.core.run();
    }

    fn with<T>(&self, act: impl FnOnce(&mut TestSession) -> T) -> T {
        let mut sessions = self.core.sessions.try_borrow_mut().expect(NESTED);
        act(sessions.get_mut(&self.id).expect("a client has a session"))
    }
}

/// A copy of a payload as a message.
fn kept<P: Payload>(message: &P) -> MessageBuf {
    let bytes = message.bytes();
    match message.kind() & 0xff {
        crate::abi::TEXT => MessageBuf::Text(String::from_utf8_lossy(bytes).into_owned()),
        _ => MessageBuf::Binary(bytes.into()),
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let Ok(mut sessions) = self.core.sessions.try_borrow_mut() else {
            // The client is dropped inside a callback of its own server. A panic that is under way says more than this one.
            assert!(std::thread::panicking(), "{NESTED}");
            return;
        };
        let found = sessions.remove(&self.id);
        drop(sessions);
        let Some(mut session) = found.filter(TestSession::is_whole) else {
            return;
        };
        session.lose();
        if !session.is_destroyed() {
            // The handler may go on for a while after the end of its session.
            self.core.sessions.borrow_mut().insert(self.id, session);
        }
        self.core.run();
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
