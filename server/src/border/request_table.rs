//! The opening handshake's request in the ABI's tables.

use wsh::abi::{self, Pair, Str};

use super::lent_memory::{lend, lend_bytes};
use crate::http::head::Head;

/// What the server made of a request; all of it was checked.
#[derive(Debug)]
pub(crate) struct RequestParts {
    /// The id that the session will have.
    pub(crate) id: u64,
    pub(crate) head: Head,
    /// The path, percent-decoded once, without NUL.
    pub(crate) path: String,
    /// What follows the first `?`, raw.
    pub(crate) query: Vec<u8>,
    pub(crate) host: String,
    pub(crate) origin: String,
    pub(crate) remote_addr: String,
    /// The client, unless it is the other end itself.
    pub(crate) client_addr: Option<String>,
    /// The subprotocols that the client offers.
    pub(crate) protocols: Vec<String>,
    /// The parameters of a pattern route.
    pub(crate) params: Vec<(String, String)>,
}

/// A request that a plugin can read, in one place from the first `handshake` until `open` or
/// `abandon` returned.
#[derive(Debug)]
pub(crate) struct RequestTable {
    table: abi::Request,
    /// What the table points to. Nothing of it changes or goes while the table exists.
    _headers: Vec<Pair>,
    _cookies: Vec<Pair>,
    _protocols: Vec<Str>,
    _params: Vec<Pair>,
    particulars: RequestParts,
}

// SAFETY: every pointer in the tables is into `particulars` or one of the vectors beside it, all
// of which keep their heap memory when the request moves, and none of which is ever changed.
unsafe impl Send for RequestTable {}
// SAFETY: as above; reading is all that anyone does.
unsafe impl Sync for RequestTable {}

impl RequestTable {
    pub(crate) fn new(particulars: RequestParts) -> Box<RequestTable> {
        let pair = |name: &[u8], value: &[u8]| Pair {
            name: lend_bytes(name),
            value: lend_bytes(value),
        };
        let head = &particulars.head;
        let headers: Vec<Pair> = head
            .lines()
            .map(|(name, value)| pair(name, value))
            .collect();
        let cookies = head
            .values("cookie")
            .flat_map(|line| line.split(|byte| *byte == b';'));
        let cookies = cookies.filter_map(|cookie| {
            let cookie = cookie.trim_ascii();
            let equals = cookie.iter().position(|byte| *byte == b'=')?;
            let (name, value) = (&cookie[..equals], &cookie[equals + 1..]);
            // A `Str` is UTF-8; a cookie whose name is not is none that a handler can ask for.
            std::str::from_utf8(name).is_ok().then(|| pair(name, value))
        });
        let cookies: Vec<Pair> = cookies.collect();
        let protocols: Vec<Str> = particulars.protocols.iter().map(|p| lend(p)).collect();
        let params = particulars.params.iter();
        let params: Vec<Pair> = params
            .map(|(name, value)| pair(name.as_bytes(), value.as_bytes()))
            .collect();
        let client_addr = particulars.client_addr.as_ref();
        let client_addr = client_addr.unwrap_or(&particulars.remote_addr);
        let table = abi::Request {
            size: size_of::<abi::Request>() as u32,
            flags: 0,
            id: particulars.id,
            target: lend_bytes(head.target()),
            path: lend(&particulars.path),
            query: lend_bytes(&particulars.query),
            host: lend(&particulars.host),
            origin: lend(&particulars.origin),
            remote_addr: lend(&particulars.remote_addr),
            client_addr: lend(client_addr),
            user: lend(""),
            headers: headers.as_ptr(),
            n_headers: headers.len(),
            cookies: cookies.as_ptr(),
            n_cookies: cookies.len(),
            protocols: protocols.as_ptr(),
            n_protocols: protocols.len(),
            params: params.as_ptr(),
            n_params: params.len(),
            tls_version: lend(""),
            tls_sni: lend(""),
            tls_client_cert: lend(""),
        };
        Box::new(RequestTable {
            table,
            _headers: headers,
            _cookies: cookies,
            _protocols: protocols,
            _params: params,
            particulars,
        })
    }

    pub(crate) fn head(&self) -> &Head {
        &self.particulars.head
    }

    /// The path, percent-decoded once.
    pub(crate) fn path(&self) -> &str {
        &self.particulars.path
    }

    /// The id that the session will have.
    pub(crate) fn id(&self) -> u64 {
        self.table.id
    }

    pub(crate) fn table(&self) -> *const abi::Request {
        &raw const self.table
    }
}
