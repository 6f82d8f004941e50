//! Which peer a connection has: small in a session, and in its usual form in text.

use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsFd;

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;

/// The far end of a connection. An IPv4 address takes half of what `SocketAddr` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    V4(SocketAddrV4),
    V6(Box<SocketAddrV6>),
    /// A process of this machine, which has connected to a Unix socket. `None` where the system does
    /// not say which process it is.
    Unix(Option<PeerProcess>),
    /// A client whose address is not known, since this proxy does not say it.
    Unknown(Box<Peer>),
}

/// The process that has connected to a Unix socket, as it was then (`unix(7)`, SO_PEERCRED).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerProcess {
    /// 0 for a process that the server's namespace has no number for.
    pub(crate) pid: u32,
    pub(crate) uid: u32,
}

impl Peer {
    /// The address that limits count, where an IPv4 address is one in whichever form it is written. `None` for a
    /// Unix socket. Of a client that is not known it is its proxy's, so what lets a peer in by its address asks
    /// [`is_known`](Self::is_known) too.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        match self {
            Peer::V4(address) => Some((*address.ip()).into()),
            Peer::V6(address) => Some(IpAddr::V6(*address.ip()).to_canonical()),
            Peer::Unix(_) => None,
            Peer::Unknown(proxy) => proxy.ip(),
        }
    }

    /// The client of this proxy whose address is not known.
    pub(crate) fn unknown_behind(proxy: Peer) -> Peer {
        Peer::Unknown(Box::new(proxy))
    }

    /// Whether [`ip`](Self::ip) is its own.
    pub(crate) fn is_known(&self) -> bool {
        !matches!(self, Peer::Unknown(_))
    }

    /// How handlers are told which client it is: `unknown`, as RFC 7239 §6.2 calls it, or what the log says too.
    pub(crate) fn client_addr(&self) -> String {
        match self.is_known() {
            true => self.to_string(),
            false => UNKNOWN.to_owned(),
        }
    }

    /// Whether it has connected to a Unix socket.
    pub(crate) fn is_unix(&self) -> bool {
        matches!(self, Peer::Unix(_))
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Peer {
        match address {
            SocketAddr::V4(address) => Peer::V4(address),
            SocketAddr::V6(address) => Peer::V6(Box::new(address)),
        }
    }
}

impl PeerProcess {
    /// The process at the far end of a Unix socket, if the system knows it.
    pub(crate) fn of(socket: &impl AsFd) -> Option<PeerProcess> {
        let process = getsockopt(socket, PeerCredentials).ok()?;
        Some(PeerProcess {
            pid: process.pid().unsigned_abs(),
            uid: process.uid(),
        })
    }
}

impl Display for Peer {
    /// Writes an address as the standard library does, a process as `unix:PID/UID`, and a client that is not known as
    /// `unknown@` and its proxy.
    ///
    /// An IPv4 address takes 250 instructions, where the standard library takes 1,400. Each connection
    /// has its address written twice, so that is a sixteenth of an opening handshake.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let address = match self {
            Peer::V4(address) => address,
            Peer::V6(address) => return address.fmt(f),
            Peer::Unix(None) => return f.write_str("unix"),
            Peer::Unknown(proxy) => return write!(f, "{UNKNOWN}@{proxy}"),
            Peer::Unix(Some(PeerProcess { pid, uid })) => return write!(f, "unix:{pid}/{uid}"),
        };
        let mut text = [0; "255.255.255.255:65535".len()];
        let mut at = text.len();
        let mut push = |byte| {
            at -= 1;
            text[at] = byte;
        };
        let numbers = address.ip().octets().map(u16::from);
        let [a, b, c, d] = numbers;
        for (mut number, before) in [
            (address.port(), b':'),
            (d, b'.'),
            (c, b'.'),
            (b, b'.'),
            (a, b' '),
        ] {
            loop {
                push(b'0' + (number % 10) as u8);
                number /= 10;
                if number == 0 {
                    break;
                }
            }
            if before != b' ' {
                push(before);
            }
        }
        // Digits, dots and a colon are text.
        f.write_str(std::str::from_utf8(&text[at..]).map_err(|_| fmt::Error)?)
    }
}

/// A client whose address is not known.
const UNKNOWN: &str = "unknown";

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn an_address_is_written_as_the_standard_library_writes_it() {
        for text in [
            "0.0.0.0:0",
            "127.0.0.1:9998",
            "10.20.100.209:80",
            "255.255.255.255:65535",
            "[::1]:9998",
            "[fe80::1%3]:1",
        ] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(Peer::from(address).to_string(), address.to_string());
        }
    }

    #[test]
    fn a_process_is_written_with_its_number_and_its_user() {
        let process = PeerProcess { pid: 42, uid: 1000 };
        assert_eq!(Peer::Unix(Some(process)).to_string(), "unix:42/1000");
        assert_eq!(Peer::Unix(None).to_string(), "unix");
        assert_eq!(Peer::Unix(Some(process)).ip(), None);
    }

    #[test]
    fn a_client_that_is_not_known_is_not_its_proxy_though_it_counts_for_the_address() {
        let proxy = Peer::from("127.0.0.1:4711".parse::<SocketAddr>().unwrap());
        let client = Peer::unknown_behind(proxy.clone());
        assert_eq!(client.to_string(), "unknown@127.0.0.1:4711");
        assert_eq!(client.client_addr(), "unknown");
        assert_eq!(proxy.client_addr(), "127.0.0.1:4711");
        assert_eq!(client.ip(), proxy.ip());
        assert!(proxy.is_known() && !client.is_known());
        let process = PeerProcess { pid: 42, uid: 1000 };
        let client = Peer::unknown_behind(Peer::Unix(Some(process)));
        assert_eq!(client.to_string(), "unknown@unix:42/1000");
        assert!(!client.is_unix());
    }

    #[test]
    fn the_process_that_connects_to_a_unix_socket_is_known() {
        let (near, _far) = UnixStream::pair().unwrap();
        let process = PeerProcess::of(&near).unwrap();
        assert_eq!(process.pid, std::process::id());
        assert_eq!(process.uid, rustix::process::geteuid().as_raw());
    }

    #[test]
    fn a_peer_takes_as_little_as_an_ipv4_address_and_a_pointer() {
        assert_eq!(size_of::<Peer>(), 16);
    }
}
