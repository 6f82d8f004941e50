//! The request of an opening handshake (RFC 6455 §4.1), and the values that a handler attaches to it.

use std::{
    any::Any,
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use crate::{
    abi,
    border::{
        guard::guard_void,
        read::{PairRef, TextRef},
    },
    handshake::sleep::{Alarm, Sleep},
};

/// The request of an opening handshake. It lives from `handshake` to the end of `open`.
///
/// ```
/// use wsh::prelude::*;
///
/// fn check(request: &Request, response: &mut Response) -> Result<Handshake> {
///     let room = request.param("room").or(request.query("room")).unwrap_or("lobby");
///     wsh::info!(
///         room,
///         from = ?request.client_addr(),
///         over = ?request.remote_addr(),
///         as_written = request.client(),
///         "{} asks {} for {}", request.id(), request.host(), request.path(),
///     );
///     for (name, value) in request.headers().chain(request.cookies()) {
///         wsh::debug!("{name} has {} bytes", value.len());
///     }
///     if request.header("X-Legacy").is_some() || request.header_bytes("X-Old").is_some() {
///         return Ok(Handshake::reject(400, request.target().to_vec()));
///     }
///     if request.is_tls() {
///         wsh::debug!("{:?} for {:?}", request.tls_version(), request.tls_sni());
///     }
///     let is_known = request.user().is_some() || request.tls_client_cert().is_some();
///     if !is_known && request.cookie("token").is_none() && request.origin().is_some() {
///         return Ok(Handshake::reject(401, "log in first"));
///     }
///     if request.is_http2() || request.protocols().next().is_none() {
///         return Ok(Handshake::accept());
///     }
///     wsh::debug!("all of the query: {}", request.query_bytes().escape_ascii());
///     response.choose_protocol(request, &["chat.v2", "chat.v1"])
/// }
/// # async fn quiet(_: &mut AsyncConn) -> Result { Ok(()) }
/// # let server = wsh::test::serve(wsh::descriptor!(async quiet, handshake = check));
/// # let client = server.request("/chat?room=tea").protocol("chat.v1").connect();
/// # assert_eq!(client.protocol(), "chat.v1");
/// # let page = server.request("/chat").header("Origin", "https://example.com");
/// # assert_eq!(page.try_connect().unwrap_err().status, 401);
/// ```
pub struct Request<'a> {
    pub(crate) flags: u32,
    pub(crate) id: u64,
    pub(crate) target: &'a [u8],
    pub(crate) path: &'a str,
    pub(crate) query: &'a [u8],
    pub(crate) host: &'a str,
    pub(crate) origin: &'a str,
    pub(crate) remote_addr: &'a str,
    pub(crate) client_addr: &'a str,
    pub(crate) user: &'a str,
    pub(crate) headers: &'a [PairRef<'a>],
    pub(crate) cookies: &'a [PairRef<'a>],
    pub(crate) protocols: &'a [TextRef<'a>],
    pub(crate) params: &'a [PairRef<'a>],
    pub(crate) tls_version: &'a str,
    pub(crate) tls_sni: &'a str,
    pub(crate) tls_client_cert: &'a [u8],
    pub(crate) attached: Attachments,
    /// The decoded query, once a value of it was asked for.
    pub(crate) decoded: OnceLock<Vec<(String, String)>>,
    /// The alarm of the handshake's waits, once one was asked for.
    pub(crate) alarm: OnceLock<Arc<Alarm>>,
}

impl Request<'_> {
    /// The id that the session will have; see [`Conn::id`](crate::Conn::id).
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The request target as the client wrote it, such as `/rooms/blue?name=ann`.
    #[must_use]
    pub fn target(&self) -> &[u8] {
        self.target
    }

    /// The path, percent-decoded once.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path
    }

    /// The query as the client wrote it: what follows the first `?`.
    #[must_use]
    pub fn query_bytes(&self) -> &[u8] {
        self.query
    }

    /// A value of the query, with `+` and percent escapes decoded. Of several values the first.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&str> {
        let values = self.decoded.get_or_init(|| decode_query(self.query));
        let (_, value) = values.iter().find(|(key, _)| key == name)?;
        Some(value)
    }

    /// The `Host` header.
    #[must_use]
    pub fn host(&self) -> &str {
        self.host
    }

    /// The `Origin` header. Browsers send it; other clients need not.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        (!self.origin.is_empty()).then_some(self.origin)
    }

    /// The address at the other end of the connection. `None` if that has no IP address and port.
    #[must_use]
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.remote_addr.parse().ok()
    }

    /// The client's address: what a proxy that the server trusts says, or else the other end of the connection. `None` for
    /// a Unix socket, and where such a proxy names no address.
    #[must_use]
    pub fn client_addr(&self) -> Option<SocketAddr> {
        self.client_addr.parse().ok()
    }

    /// The client's address as the server writes it, also where it has no IP address and port: `unix:4711/1000` is
    /// process 4711 of user 1000, connected to a Unix socket. `unknown` where a trusted proxy does not say it.
    #[must_use]
    pub fn client(&self) -> &str {
        self.client_addr
    }

    /// A wait, for an answer that comes [later](crate::Handshake::later). It occupies no thread.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use wsh::Handshake;
    /// # fn handshake(request: &wsh::Request) -> Handshake {
    /// let pause = request.sleep(Duration::from_secs(2));
    /// Handshake::later(async move {
    ///     pause.await;
    ///     Ok(Handshake::reject(403, "no token"))
    /// })
    /// # }
    /// ```
    pub fn sleep(&self, duration: Duration) -> Sleep {
        let alarm = self.alarm.get_or_init(Arc::default);
        Arc::clone(alarm).sleep(self.id, duration)
    }

    /// The user that the server has authenticated the client as.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        (!self.user.is_empty()).then_some(self.user)
    }

    /// A header's value, if it is UTF-8. Of several lines the first. The case of the name does not matter.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        str::from_utf8(self.header_bytes(name)?).ok()
    }

    /// A header's value, in any encoding. Of several lines the first. The case of the name does not matter.
    #[must_use]
    pub fn header_bytes(&self, name: &str) -> Option<&[u8]> {
        self.headers()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Every header line in order. A name may come several times.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        pairs(self.headers)
    }

    /// A cookie's value, if it is UTF-8.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&str> {
        find(self.cookies, name)
    }

    /// Every cookie in order.
    pub fn cookies(&self) -> impl Iterator<Item = (&str, &[u8])> {
        pairs(self.cookies)
    }

    /// The subprotocols that the client offers, in its order.
    pub fn protocols(&self) -> impl Iterator<Item = &str> {
        self.protocols.iter().map(TextRef::get)
    }

    /// A parameter of the route: `room` of `/rooms/{room}`.
    ///
    /// It is what the client wrote, percent-decoded once. So `{room}` may be `..`, and `{*path}` may be
    /// `../../etc/passwd` (from `..%2f..%2fetc/passwd`). Check it before it becomes part of a file's path.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        find(self.params, name)
    }

    /// Whether the request came over TLS that ended at this server.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.flags & abi::TLS != 0
    }

    /// Whether the request came over HTTP/2 (RFC 8441).
    #[must_use]
    pub fn is_http2(&self) -> bool {
        self.flags & abi::HTTP2 != 0
    }

    /// The version of TLS, such as `TLSv1.3`. `None` without TLS.
    #[must_use]
    pub fn tls_version(&self) -> Option<&str> {
        (!self.tls_version.is_empty()).then_some(self.tls_version)
    }

    /// The server name that the client asked for in TLS. `None` without TLS.
    #[must_use]
    pub fn tls_sni(&self) -> Option<&str> {
        (!self.tls_sni.is_empty()).then_some(self.tls_sni)
    }

    /// The client's certificate in DER, if it gave one.
    #[must_use]
    pub fn tls_client_cert(&self) -> Option<&[u8]> {
        (!self.tls_client_cert.is_empty()).then_some(self.tls_client_cert)
    }

    pub(crate) fn take_attached(&mut self) -> Vec<Box<dyn Any + Send + Sync>> {
        std::mem::take(&mut self.attached).into_values()
    }

    /// Attaches a value, which the session finds by its type as [`Conn::attached`](crate::Conn::attached). A value
    /// replaces an earlier one of its type.
    ///
    /// ```
    /// # use wsh::prelude::*;
    /// struct User(String);
    /// # fn handshake(request: &Request) { let name = String::new();
    /// request.attach(User(name));
    /// # }
    /// # fn open(conn: &mut Conn) {
    /// let user: Option<&User> = conn.attached();
    /// # }
    /// ```
    pub fn attach<T: Send + Sync + 'static>(&self, value: T) {
        self.attached.put(Box::new(value));
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("id", &self.id)
            .field("target", &self.target.escape_ascii().to_string())
            .field("remote_addr", &self.remote_addr)
            .finish_non_exhaustive()
    }
}

/// Attached values, one of each type.
#[derive(Default)]
pub(crate) struct Attachments(Mutex<Vec<Box<dyn Any + Send + Sync>>>);

impl Attachments {
    pub(crate) fn put(&self, value: Box<dyn Any + Send + Sync>) {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        attach(&mut values, value);
    }

    pub(crate) fn is_empty(&mut self) -> bool {
        self.values().is_empty()
    }

    fn values(&mut self) -> &mut Vec<Box<dyn Any + Send + Sync>> {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn into_values(mut self) -> Vec<Box<dyn Any + Send + Sync>> {
        std::mem::take(self.values())
    }
}

/// Attaches a value, in the place of one of its type.
pub(crate) fn attach(
    values: &mut Vec<Box<dyn Any + Send + Sync>>,
    value: Box<dyn Any + Send + Sync>,
) {
    let is_of_its_type = |old: &Box<dyn Any + Send + Sync>| (**old).type_id() == (*value).type_id();
    let old = values.iter().position(is_of_its_type);
    let old = old.map(|index| values.swap_remove(index));
    values.push(value);
    // The new value is in place before the old one is dropped, whose `Drop` may panic. While another panic unwinds, a
    // second one would end the process.
    if std::thread::panicking() {
        guard_void(|| drop(old));
    } else {
        drop(old);
    }
}

fn pairs<'a>(fields: &'a [PairRef<'a>]) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    fields.iter().map(|field| (field.name(), field.value()))
}

fn find<'a>(fields: &'a [PairRef<'a>], name: &str) -> Option<&'a str> {
    let (_, value) = pairs(fields).find(|(found, _)| *found == name)?;
    str::from_utf8(value).ok()
}

/// Decodes `application/x-www-form-urlencoded`. A broken escape stands for itself.
fn decode_query(query: &[u8]) -> Vec<(String, String)> {
    query
        .split(|byte| *byte == b'&')
        .map(|pair| {
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let mut half = || decode(halves.next().unwrap_or_default());
            (half(), half())
        })
        .collect()
}

fn decode(text: &[u8]) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        let escaped = match (first, tail) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match (first, escaped) {
            (_, Some((high, low))) => {
                decoded.push(high << 4 | low);
                rest = &tail[2..];
            }
            (b'+', _) => decoded.push(b' '),
            _ => decoded.push(*first),
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|digit| digit as u8)
}
