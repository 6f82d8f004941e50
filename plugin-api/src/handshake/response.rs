//! The answer to an opening handshake (RFC 6455 §4.2.2).

use std::{any::Any, fmt, future::Future, pin::Pin};

use crate::{
    border::{
        host::{HostFunctions, ResponsePtr},
        read::TextRef,
    },
    error::{Refused, rule::Rule},
    handshake::request::{Attachments, Request},
};

/// What the 101 or a refusal carries: more header lines, and the subprotocol.
///
/// ```
/// use wsh::prelude::*;
///
/// fn check(request: &Request, response: &mut Response) -> Result<Handshake> {
///     response.header("X-Served-By", "chat")?;
///     response.forbid_compression()?; // its messages mix secrets with what peers chose
///     if request.query("version") == Some("1") {
///         response.protocol("chat.v1")?; // refused, unless the client offers it
///         return Ok(Handshake::accept());
///     }
///     response.choose_protocol(request, &["chat.v2", "chat.v1"])
/// }
/// # async fn quiet(_: &mut AsyncConn) -> Result { Ok(()) }
/// # let server = wsh::test::serve(wsh::descriptor!(async quiet, handshake = check));
/// # let asking = server.request("/").protocol("chat.v1").protocol("chat.v2");
/// # let client = asking.connect();
/// # assert_eq!(client.protocol(), "chat.v2");
/// # assert_eq!(client.header("X-Served-By"), Some(&b"chat"[..]));
/// # assert_eq!(server.request("/?version=1").try_connect().unwrap_err().status, 500);
/// ```
pub struct Response<'a> {
    pub(crate) host: &'a HostFunctions,
    pub(crate) response: ResponsePtr,
}

impl<'a> Response<'a> {
    pub(crate) fn new(host: &'a HostFunctions, response: ResponsePtr) -> Self {
        Response { host, response }
    }

    /// Appends a header line.
    ///
    /// # Errors
    /// [`Refused::Invalid`]: the name is no token or belongs to the handshake itself, or the value contains a control
    /// character. [`Refused::TooBig`]: the header lines have more than 16 KiB with this one.
    pub fn header(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), Refused> {
        let value = value.as_ref();
        let status = self.host.response_header(self.response, name, value);
        Refused::check(status, |status| Rule::header(status, name, value))
    }

    /// Chooses the subprotocol.
    ///
    /// # Errors
    /// [`Refused::Invalid`]: the client did not offer it.
    pub fn protocol(&mut self, name: &str) -> Result<(), Refused> {
        let status = self.host.response_protocol(self.response, name);
        Refused::check(status, |_| Rule::protocol())
    }

    /// Accepts, with the first subprotocol of `ours` that the client offers. If it offers none of them, the answer has no
    /// subprotocol, which a browser that offered some takes as a failure (RFC 6455 §4.1).
    ///
    /// # Errors
    /// The server refuses the subprotocol.
    pub fn choose_protocol(
        &mut self,
        request: &Request<'_>,
        ours: &[&str],
    ) -> crate::Result<Handshake> {
        let chosen = ours
            .iter()
            .find(|our| request.protocols().any(|theirs| theirs == **our));
        if let Some(chosen) = chosen {
            self.protocol(chosen)?;
        }
        Ok(Handshake::accept())
    }

    /// Keeps permessage-deflate off, for sessions whose messages mix secrets with what a peer chose.
    ///
    /// # Errors
    /// [`Refused::Unsupported`]: the server does not know the call.
    pub fn forbid_compression(&mut self) -> Result<(), Refused> {
        let status = self.host.response_extensions(self.response, 0);
        Refused::check(status, |_| Rule::unknown())
    }
}

impl fmt::Debug for Response<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response").finish_non_exhaustive()
    }
}

/// The handler's answer to an opening handshake: whether a client may enter.
///
/// Header lines and the subprotocol may be set here or on the [`Response`]. An answer that comes [later](Self::later) sets
/// them here.
///
/// ```
/// use wsh::prelude::*;
///
/// fn check(request: &Request, _: &mut Response) -> Result<Handshake> {
///     Ok(match request.query("as") {
///         Some("guest") => Handshake::accept().protocol("guest").forbid_compression(),
///         Some("member") => Handshake::accept().choose_protocol(&["v2", "v1"]),
///         Some("robot") => Handshake::abort(), // not a byte
///         _ => Handshake::reject(403, "who are you?"),
///     })
/// }
/// # async fn quiet(_: &mut AsyncConn) -> Result { Ok(()) }
/// # let server = wsh::test::serve(wsh::descriptor!(async quiet, handshake = check));
/// # let guest = server.request("/?as=guest").protocol("guest").connect();
/// # assert_eq!(guest.protocol(), "guest");
/// # assert_eq!(server.request("/?as=robot").try_connect().unwrap_err().status, 0);
/// # assert_eq!(server.request("/").try_connect().unwrap_err().body, b"who are you?");
/// ```
#[derive(Debug)]
pub struct Handshake {
    pub(super) decision: Decision,
    /// Present once something was added.
    pub(super) additions: Option<Box<Additions>>,
}

/// What an answer carries besides the decision.
#[derive(Default)]
pub(super) struct Additions {
    headers: Vec<(String, Vec<u8>)>,
    protocol: Choice,
    forbids_compression: bool,
    attached: Vec<Box<dyn Any + Send + Sync>>,
}

/// Which subprotocol an answer wants.
#[derive(Default)]
enum Choice {
    /// The one that was set on the [`Response`], or none.
    #[default]
    Unchanged,
    This(String),
    /// The first of these that the client offers.
    FirstOf(Vec<String>),
}

pub(super) enum Decision {
    Accept,
    Reject { status: u16, body: Vec<u8> },
    Abort,
    Later(Pin<Box<dyn Future<Output = crate::Result<Handshake>> + Send>>),
}

impl Handshake {
    /// Accepts the client.
    #[must_use]
    pub fn accept() -> Self {
        Handshake::new(Decision::Accept)
    }

    /// Refuses the client, with a status from 300 to 599 and a body.
    #[must_use]
    pub fn reject(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Handshake::new(Decision::Reject { status, body })
    }

    /// Closes the connection without sending a byte.
    #[must_use]
    pub fn abort() -> Self {
        Handshake::new(Decision::Abort)
    }

    /// Answers when the future is ready. If its result is an error, the client gets a 500. The server polls the future each
    /// time that it is woken, and drops it when the client goes or the time for the handshake is over.
    ///
    /// ```
    /// # use wsh::Handshake;
    /// # async fn may_enter(token: String) -> bool { true }
    /// # fn handshake(request: &wsh::Request) -> Handshake {
    /// let token = request.cookie("token").unwrap_or_default().to_string();
    /// Handshake::later(async move {
    ///     if may_enter(token).await {
    ///         Ok(Handshake::accept())
    ///     } else {
    ///         Ok(Handshake::reject(403, "no token"))
    ///     }
    /// })
    /// # }
    /// ```
    #[must_use]
    pub fn later(answer: impl Future<Output = crate::Result<Handshake>> + Send + 'static) -> Self {
        Handshake::new(Decision::Later(Box::pin(answer)))
    }

    /// Appends a header line to the 101 or the refusal. A line that [`Response::header`] would refuse makes the answer a
    /// 500, and the server's log says which rule the line breaks.
    ///
    /// ```
    /// # use wsh::Handshake;
    /// # async fn login(token: String) -> Option<String> { None }
    /// # fn handshake(request: &wsh::Request) -> Handshake {
    /// let token = request.cookie("token").unwrap_or_default().to_string();
    /// Handshake::later(async move {
    ///     Ok(match login(token).await {
    ///         Some(renewed) => Handshake::accept()
    ///             .header("Set-Cookie", format!("token={renewed}; HttpOnly"))
    ///             .choose_protocol(&["chat.v2", "chat.v1"]),
    ///         None => Handshake::reject(401, "").header("WWW-Authenticate", "Bearer"),
    ///     })
    /// })
    /// # }
    /// ```
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let line = (name.to_owned(), value.as_ref().to_owned());
        self.additions().headers.push(line);
        self
    }

    /// Chooses the subprotocol. A subprotocol that the client did not offer makes the answer a 500.
    #[must_use]
    pub fn protocol(mut self, name: &str) -> Self {
        self.additions().protocol = Choice::This(name.to_owned());
        self
    }

    /// Chooses the first subprotocol of `ours` that the client offers, or none, like
    /// [`Response::choose_protocol`].
    #[must_use]
    pub fn choose_protocol(mut self, ours: &[&str]) -> Self {
        let ours = ours.iter().map(|our| (*our).to_owned()).collect();
        self.additions().protocol = Choice::FirstOf(ours);
        self
    }

    /// Keeps permessage-deflate off, like [`Response::forbid_compression`].
    #[must_use]
    pub fn forbid_compression(mut self) -> Self {
        self.additions().forbids_compression = true;
        self
    }

    /// Attaches a value, which the session finds by its type as [`Conn::attached`](crate::Conn::attached). A value
    /// replaces an earlier one of its type, like in [`Request::attach`].
    ///
    /// ```
    /// # use wsh::Handshake;
    /// struct User(String);
    /// # async fn user_of(token: String) -> Option<User> { None }
    /// # fn handshake(request: &wsh::Request) -> Handshake {
    /// let token = request.cookie("token").unwrap_or_default().to_string();
    /// Handshake::later(async move {
    ///     Ok(match user_of(token).await {
    ///         Some(user) => Handshake::accept().attach(user),
    ///         None => Handshake::reject(403, "no such user"),
    ///     })
    /// })
    /// # }
    /// ```
    #[must_use]
    pub fn attach<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.additions().attached.push(Box::new(value));
        self
    }

    fn new(decision: Decision) -> Self {
        Handshake {
            decision,
            additions: None,
        }
    }

    fn additions(&mut self) -> &mut Additions {
        self.additions.get_or_insert_default()
    }
}

impl Additions {
    /// Passes the additions to the host.
    pub(super) fn put(
        self,
        response: &mut Response<'_>,
        offered: &[TextRef<'_>],
        attached: &Attachments,
    ) -> Result<(), Refused> {
        for (name, value) in &self.headers {
            response.header(name, value)?;
        }
        match &self.protocol {
            Choice::Unchanged => {}
            Choice::This(name) => response.protocol(name)?,
            Choice::FirstOf(ours) => {
                let is_offered = |our: &&String| offered.iter().any(|it| it.get() == our.as_str());
                if let Some(our) = ours.iter().find(is_offered) {
                    response.protocol(our)?;
                }
            }
        }
        if self.forbids_compression {
            response.forbid_compression()?;
        }
        for value in self.attached {
            attached.put(value);
        }
        Ok(())
    }
}

impl fmt::Debug for Additions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Additions").finish_non_exhaustive()
    }
}

impl fmt::Debug for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Decision::Accept => f.write_str("Accept"),
            Decision::Reject { status, .. } => write!(f, "Reject({status})"),
            Decision::Abort => f.write_str("Abort"),
            Decision::Later(_) => f.write_str("Later"),
        }
    }
}
