//! The header of the PROXY protocol, versions 1 and 2, from bytes. The specification is haproxy's `proxy-protocol.txt`.
//!
//! A header is read whole or not at all. Its lengths say where its parts end, so each is checked against what holds it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A whole header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProxyHeader {
    /// Its bytes. What follows them is the client's.
    pub(crate) length: usize,
    pub(crate) client: ProxyClient,
    /// Whether the client speaks TLS with the proxy, if the header says it.
    pub(crate) is_tls: Option<bool>,
}

/// Whose connection it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProxyClient {
    Address(SocketAddr),
    /// The proxy's own, as of a health check.
    Proxy,
    /// That of a client whose address the header does not say.
    Unknown,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeaderFault {
    #[error("the connection does not begin with a PROXY header")]
    NoHeader,
    #[error("the line of PROXY version 1 has no end within 107 bytes")]
    LongLine,
    #[error("the line of PROXY version 1 is malformed")]
    Line,
    #[error("the PROXY header says a version other than 1 and 2")]
    Version,
    #[error("the PROXY header has a command, a family or a protocol that version 2 does not know")]
    Kind,
    #[error("the PROXY header has more than {HEADER_BYTES_MAX} bytes")]
    TooLong,
    #[error("the PROXY header is shorter than the addresses that it announces")]
    Short,
    #[error("a part of the PROXY header is longer than the header")]
    Part,
    #[error("the checksum of the PROXY header is wrong")]
    Checksum,
}

impl ProxyHeader {
    /// The header at the start of `bytes`; `None` until it is whole.
    ///
    /// # Errors
    ///
    /// No bytes that follow could make a header of these.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<ProxyHeader>, HeaderFault> {
        if begins_like(bytes, SIGNATURE) {
            return version_2(bytes);
        }
        if begins_like(bytes, LINE_START) {
            return version_1(bytes);
        }
        Err(HeaderFault::NoHeader)
    }
}

/// Whether `bytes` begin with `wanted`, as far as they have come.
fn begins_like(bytes: &[u8], wanted: &[u8]) -> bool {
    let length = bytes.len().min(wanted.len());
    bytes[..length] == wanted[..length]
}

/// Reads `PROXY TCP4 192.0.2.1 192.0.2.2 4711 443`, or `PROXY UNKNOWN` with anything behind it.
fn version_1(bytes: &[u8]) -> Result<Option<ProxyHeader>, HeaderFault> {
    let within = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = within.windows(2).position(|two| two == b"\r\n") else {
        return match bytes.len() < LINE_BYTES_MAX {
            true => Ok(None),
            false => Err(HeaderFault::LongLine),
        };
    };
    let line = std::str::from_utf8(&bytes[LINE_START.len()..end]).map_err(|_| HeaderFault::Line)?;
    let client = client_of_line(line).ok_or(HeaderFault::Line)?;
    Ok(Some(ProxyHeader {
        length: end + 2,
        client,
        is_tls: None,
    }))
}

/// Reads what follows `PROXY `.
fn client_of_line(line: &str) -> Option<ProxyClient> {
    let (family, rest) = line.split_once(' ').unwrap_or((line, ""));
    if family == "UNKNOWN" {
        return Some(ProxyClient::Unknown);
    }
    let parts: Vec<&str> = rest.split(' ').collect();
    let &[source, destination, source_port, destination_port] = parts.as_slice() else {
        return None;
    };
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(Into::into),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(Into::into),
            _ => None,
        }
    };
    let client = (address(source)?, port(source_port)?);
    address(destination).zip(port(destination_port))?;
    Some(ProxyClient::Address(client_address(client.0, client.1)))
}

/// A port in decimal digits, without a sign and without zeros before it.
fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let is_short = text == "0" || !text.starts_with('0');
    (is_plain && is_short).then(|| text.parse().ok()).flatten()
}

/// Reads the binary form.
fn version_2(bytes: &[u8]) -> Result<Option<ProxyHeader>, HeaderFault> {
    let Some(&[version, kind, high, low]) = bytes.get(SIGNATURE.len()..FIXED_BYTES) else {
        // The version is judged as soon as it has come.
        return match bytes.get(SIGNATURE.len()) {
            Some(version) if version >> 4 != 2 => Err(HeaderFault::Version),
            _ => Ok(None),
        };
    };
    if version >> 4 != 2 {
        return Err(HeaderFault::Version);
    }
    let length = FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if length > HEADER_BYTES_MAX {
        return Err(HeaderFault::TooLong);
    }
    let (is_own, family) = (is_own_connection(version)?, AddressFamily::of(kind)?);
    let Some(header) = bytes.get(..length) else {
        return Ok(None);
    };
    let body = &header[FIXED_BYTES..];
    // What the proxy says of itself is passed over, whatever it is.
    if is_own {
        return Ok(Some(ProxyHeader {
            length,
            client: ProxyClient::Proxy,
            is_tls: None,
        }));
    }
    let Some((addresses, parts)) = body.split_at_checked(family.bytes()) else {
        return Err(HeaderFault::Short);
    };
    let mut parts_seen = Parts::default();
    // Behind addresses of an unknown family there may be parts or more of the addresses.
    if family != AddressFamily::Unspecified {
        parts_seen.read(parts, header)?;
    }
    Ok(Some(ProxyHeader {
        length,
        client: family.client(addresses),
        is_tls: parts_seen.is_tls,
    }))
}

/// Whether the command is LOCAL, and not PROXY.
fn is_own_connection(version: u8) -> Result<bool, HeaderFault> {
    match version & 0xf {
        0 => Ok(true),
        1 => Ok(false),
        _ => Err(HeaderFault::Kind),
    }
}

/// What the addresses of a header are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AddressFamily {
    Unspecified,
    V4,
    V6,
    Unix,
}

impl AddressFamily {
    /// The family of streams; what is no stream has no address that means something here.
    fn of(kind: u8) -> Result<AddressFamily, HeaderFault> {
        let family = match kind >> 4 {
            0 => AddressFamily::Unspecified,
            1 => AddressFamily::V4,
            2 => AddressFamily::V6,
            3 => AddressFamily::Unix,
            _ => return Err(HeaderFault::Kind),
        };
        match kind & 0xf {
            1 => Ok(family),
            0 | 2 => Ok(AddressFamily::Unspecified),
            _ => Err(HeaderFault::Kind),
        }
    }

    /// The bytes of both addresses and ports.
    fn bytes(self) -> usize {
        match self {
            AddressFamily::Unspecified => 0,
            AddressFamily::V4 => 12,
            AddressFamily::V6 => 36,
            AddressFamily::Unix => 216,
        }
    }

    /// The first of both addresses. These are as many bytes as the family has.
    fn client(self, bytes: &[u8]) -> ProxyClient {
        let address = match self {
            AddressFamily::V4 => bytes
                .first_chunk::<4>()
                .map(|it| IpAddr::from(*it))
                .zip(bytes.get(8..10)),
            AddressFamily::V6 => bytes
                .first_chunk::<16>()
                .map(|it| IpAddr::from(*it))
                .zip(bytes.get(32..34)),
            AddressFamily::Unspecified | AddressFamily::Unix => None,
        };
        match address {
            Some((address, &[high, low])) => {
                let port = u16::from_be_bytes([high, low]);
                ProxyClient::Address(client_address(address, port))
            }
            _ => ProxyClient::Unknown,
        }
    }
}

/// An IPv4 address is one in whichever form it is written.
fn client_address(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip.to_canonical(), port)
}

/// What the parts behind the addresses say.
#[derive(Debug, Default)]
struct Parts {
    is_tls: Option<bool>,
}

impl Parts {
    /// Reads parts, each with a type, a length and so many bytes. `header` is all that a checksum is of.
    fn read(&mut self, mut parts: &[u8], header: &[u8]) -> Result<(), HeaderFault> {
        while !parts.is_empty() {
            let (kind, value, rest) = part(parts).ok_or(HeaderFault::Part)?;
            match kind {
                CHECKSUM => {
                    let at = header.len() - parts.len() + PART_HEAD_BYTES;
                    let said = value.try_into().map_err(|_| HeaderFault::Part)?;
                    if crc32c_without(header, at) != u32::from_be_bytes(said) {
                        return Err(HeaderFault::Checksum);
                    }
                }
                SSL => {
                    let (flags, mut inner) = value.split_first().ok_or(HeaderFault::Part)?;
                    // A word that says whether the client's certificate was verified stands before more parts.
                    inner = inner.get(4..).ok_or(HeaderFault::Part)?;
                    while !inner.is_empty() {
                        (_, _, inner) = part(inner).ok_or(HeaderFault::Part)?;
                    }
                    self.is_tls = Some(flags & CLIENT_SPEAKS_TLS != 0);
                }
                _ => {}
            }
            parts = rest;
        }
        Ok(())
    }
}

/// The type and the value of the first part, and what follows it.
fn part(parts: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let &[kind, high, low] = parts.first_chunk::<PART_HEAD_BYTES>()?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let (value, rest) = parts[PART_HEAD_BYTES..].split_at_checked(length)?;
    Some((kind, value, rest))
}

/// The CRC-32C of a header whose four bytes at `at` count as zeros.
fn crc32c_without(header: &[u8], at: usize) -> u32 {
    let mut crc = u32::MAX;
    for (index, byte) in header.iter().enumerate() {
        let is_checksum = (at..at + 4).contains(&index);
        crc ^= if is_checksum { 0 } else { u32::from(*byte) };
        for _ in 0..8 {
            // The polynomial, with its bits in reverse order.
            crc = (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
        }
    }
    !crc
}

/// How version 1 begins.
const LINE_START: &[u8] = b"PROXY ";
/// The longest line of version 1, its end included.
const LINE_BYTES_MAX: usize = 107;
/// How version 2 begins.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The bytes of version 2 up to its length, that included.
const FIXED_BYTES: usize = 16;
/// The longest header that is taken. Proxies send some hundred bytes, with a client's certificate in part some thousand.
pub(crate) const HEADER_BYTES_MAX: usize = 8 * 1024;
/// The bytes of a part before its value.
const PART_HEAD_BYTES: usize = 3;
/// The part that has a checksum.
const CHECKSUM: u8 = 0x03;
/// The part about the client's TLS, and the bit that says that there is some.
const SSL: u8 = 0x20;
const CLIENT_SPEAKS_TLS: u8 = 1;
