//! The request of an opening handshake, in the ABI's table.

use crate::{
    abi::{self, Pair, Str},
    border::read::lend,
};

/// The parts of a client's request.
#[derive(Clone, Debug)]
pub(super) struct RequestParts {
    pub(super) target: String,
    pub(super) origin: String,
    pub(super) remote_addr: String,
    pub(super) client_addr: Option<String>,
    pub(super) user: String,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) protocols: Vec<String>,
    pub(super) params: Vec<(String, String)>,
}

/// A request that a plugin can read. It stays where it is from `handshake` until `open` or `abandon` has returned.
#[derive(Debug)]
pub(super) struct RequestTable {
    table: abi::Request,
    // What the table points to. It lives as long as the table, and does not change.
    _pairs: [Vec<Pair>; 3],
    _protocols: Vec<Str>,
    _path: String,
    _host: String,
    _parts: RequestParts,
}

impl RequestTable {
    pub(super) fn new(id: u64, parts: RequestParts) -> Self {
        let (path, query) = parts.target.split_once('?').unwrap_or((&parts.target, ""));
        let path = String::from_utf8(decode(path.as_bytes())).unwrap_or_default();
        let headers: Vec<Pair> = parts
            .headers
            .iter()
            .map(|(name, value)| pair(name.as_bytes(), value))
            .collect();
        let cookies: Vec<Pair> = parts
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("cookie"))
            .flat_map(|(_, value)| value.split(|byte| *byte == b';'))
            .filter_map(|cookie| {
                let cookie = cookie.trim_ascii();
                let equals = cookie.iter().position(|byte| *byte == b'=')?;
                let (name, value) = (&cookie[..equals], &cookie[equals + 1..]);
                str::from_utf8(name).is_ok().then(|| pair(name, value))
            })
            .collect();
        let params: Vec<Pair> = parts
            .params
            .iter()
            .map(|(name, value)| pair(name.as_bytes(), value.as_bytes()))
            .collect();
        let protocols: Vec<Str> = parts
            .protocols
            .iter()
            .map(|name| lend(name.as_bytes()))
            .collect();
        let host = parts
            .headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("host"))
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
            .unwrap_or_default();
        let client_addr = parts.client_addr.as_ref().unwrap_or(&parts.remote_addr);
        let table = abi::Request {
            size: size_of::<abi::Request>() as u32,
            flags: 0,
            id,
            target: lend(parts.target.as_bytes()),
            path: lend(path.as_bytes()),
            query: lend(query.as_bytes()),
            host: lend(host.as_bytes()),
            origin: lend(parts.origin.as_bytes()),
            remote_addr: lend(parts.remote_addr.as_bytes()),
            client_addr: lend(client_addr.as_bytes()),
            user: lend(parts.user.as_bytes()),
            headers: headers.as_ptr(),
            n_headers: headers.len(),
            cookies: cookies.as_ptr(),
            n_cookies: cookies.len(),
            protocols: protocols.as_ptr(),
            n_protocols: protocols.len(),
            params: params.as_ptr(),
            n_params: params.len(),
            tls_version: lend(b""),
            tls_sni: lend(b""),
            tls_client_cert: lend(b""),
        };
        RequestTable {
            table,
            _pairs: [headers, cookies, params],
            _protocols: protocols,
            _path: path,
            _host: host,
            _parts: parts,
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.table.id
    }

    pub(super) fn table(&self) -> *const abi::Request {
        &raw const self.table
    }
}

fn pair(name: &[u8], value: &[u8]) -> Pair {
    Pair {
        name: lend(name),
        value: lend(value),
    }
}

/// Decodes percent escapes. A broken escape stands for itself.
fn decode(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, tail)) = rest.split_first() {
        let escaped = tail.get(..2).filter(|_| *first == b'%');
        let byte = escaped
            .and_then(|digits| str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    decoded
}
