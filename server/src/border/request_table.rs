//! The request of an opening handshake, as a table that a plugin can read.

use wsh::abi::{self, Pair, Str};

use super::lent_memory::{lend, lend_bytes};
use crate::http::head::Head;
use crate::transport::tls::TlsInfo;

/// The parts of a request, all of them checked.
#[derive(Debug)]
pub(crate) struct RequestParts {
    /// The id that the session will have.
    pub(crate) id: u64,
    pub(crate) head: Head,
    /// The path, percent-decoded once, without NUL.
    pub(crate) path: String,
    /// What follows the first `?`, not decoded.
    pub(crate) query: Vec<u8>,
    pub(crate) host: String,
    pub(crate) origin: String,
    pub(crate) remote_addr: String,
    /// The user that the peer has entered with, or empty.
    pub(crate) user: String,
    /// The client's address, where it is not `remote_addr`.
    pub(crate) client_addr: Option<String>,
    /// The subprotocols that the client offers.
    pub(crate) protocols: Vec<String>,
    /// The parameters of a pattern route.
    pub(crate) params: Vec<(String, String)>,
    /// `None` where the request came without TLS.
    pub(crate) tls: Option<Box<TlsInfo>>,
}

/// A request that a plugin can read. It is boxed, so that it stays in one place from the first `handshake` until `open` or
/// `abandon` has returned.
#[derive(Debug)]
pub(crate) struct RequestTable {
    table: abi::Request,
    // What the table points to, unchanged while the table exists.
    _headers: Vec<Pair>,
    _cookies: Vec<Pair>,
    _protocols: Vec<Str>,
    _params: Vec<Pair>,
    parts: RequestParts,
}

// SAFETY: each pointer in the table leads into heap memory of `parts` or of a vector beside it. That memory stays where it
// is when the request moves, and is never changed.
unsafe impl Send for RequestTable {}
// SAFETY: through a shared reference the table and what it points to are only read.
unsafe impl Sync for RequestTable {}

impl RequestTable {
    pub(crate) fn new(parts: RequestParts) -> Box<RequestTable> {
        let head = &parts.head;
        let headers: Vec<Pair> = head
            .lines()
            .map(|(name, value)| pair(name, value))
            .collect();
        let cookies = cookies(head);
        let protocols: Vec<Str> = parts.protocols.iter().map(|p| lend(p)).collect();
        let params = parts.params.iter();
        let params: Vec<Pair> = params
            .map(|(name, value)| pair(name.as_bytes(), value.as_bytes()))
            .collect();
        let client_addr = parts.client_addr.as_ref();
        let client_addr = client_addr.unwrap_or(&parts.remote_addr);
        let tls = parts.tls.as_deref();
        let table = abi::Request {
            size: size_of::<abi::Request>() as u32,
            flags: if tls.is_some() { abi::TLS } else { 0 },
            id: parts.id,
            target: lend_bytes(head.target()),
            path: lend(&parts.path),
            query: lend_bytes(&parts.query),
            host: lend(&parts.host),
            origin: lend(&parts.origin),
            remote_addr: lend(&parts.remote_addr),
            client_addr: lend(client_addr),
            user: lend(&parts.user),
            headers: headers.as_ptr(),
            n_headers: headers.len(),
            cookies: cookies.as_ptr(),
            n_cookies: cookies.len(),
            protocols: protocols.as_ptr(),
            n_protocols: protocols.len(),
            params: params.as_ptr(),
            n_params: params.len(),
            tls_version: lend(tls.map_or("", |it| it.version)),
            tls_sni: lend(tls.map_or("", |it| &it.sni)),
            tls_client_cert: lend_bytes(tls.map_or(&[], |it| &it.client_certificate)),
        };
        Box::new(RequestTable {
            table,
            _headers: headers,
            _cookies: cookies,
            _protocols: protocols,
            _params: params,
            parts,
        })
    }

    pub(crate) fn head(&self) -> &Head {
        &self.parts.head
    }

    /// The path, percent-decoded once.
    pub(crate) fn path(&self) -> &str {
        &self.parts.path
    }

    /// The user that the peer has entered with, or empty.
    pub(crate) fn user(&self) -> &str {
        &self.parts.user
    }

    /// The id that the session will have.
    pub(crate) fn id(&self) -> u64 {
        self.table.id
    }

    pub(crate) fn table(&self) -> *const abi::Request {
        &raw const self.table
    }
}

/// The cookies of all lines of the header.
fn cookies(head: &Head) -> Vec<Pair> {
    let lines = head.values("cookie");
    let cookies = lines.flat_map(|line| line.split(|byte| *byte == b';'));
    let cookies = cookies.filter_map(|cookie| {
        let cookie = cookie.trim_ascii();
        let equals = cookie.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (&cookie[..equals], &cookie[equals + 1..]);
        // Names in the table are UTF-8. No handler can ask for a cookie with another name.
        std::str::from_utf8(name).is_ok().then(|| pair(name, value))
    });
    cookies.collect()
}

/// A name and its value, in the ABI's form.
fn pair(name: &[u8], value: &[u8]) -> Pair {
    Pair {
        name: lend_bytes(name),
        value: lend_bytes(value),
    }
}
