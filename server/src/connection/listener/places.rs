//! Which of the sockets that are open serve an endpoint of the configuration, without I/O.

use std::net::SocketAddr;

use crate::config::Endpoint;

/// An open socket, as far as it matters for which endpoint it can serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// As the configuration writes it, with the port 0 where any free one is wanted.
    pub(super) wanted: Endpoint,
    /// With the port that was found.
    pub(super) bound: Endpoint,
    /// Whether a socket of `[::]` leaves the IPv4 addresses to others.
    pub(super) is_v6_only: bool,
}

/// The open socket for each endpoint of `listen`, by its index in `open`; `None` where one has to be bound.
///
/// A socket serves an endpoint that is written otherwise, as with TLS instead of without, as long as its address
/// or its path is the same. No socket serves two endpoints.
pub(super) fn sockets_for(open: &[Place], listen: &[Endpoint]) -> Vec<Option<usize>> {
    let mut found = vec![None; listen.len()];
    let serves: [fn(&Place, &Endpoint) -> bool; 2] = [
        // First, so that an endpoint that has not changed keeps its socket.
        |open, wanted| open.wanted == *wanted,
        |open, wanted| {
            is_at_one_place(&open.bound, wanted) || is_at_one_place(&open.wanted, wanted)
        },
    ];
    for serves in serves {
        for (index, wanted) in listen.iter().enumerate() {
            if found[index].is_some() {
                continue;
            }
            let is_v6_only = is_v6_only(wanted, listen);
            let free = (0..open.len()).filter(|socket| !found.contains(&Some(*socket)));
            found[index] = free
                .filter(|socket| open[*socket].is_v6_only == is_v6_only)
                .find(|socket| serves(&open[*socket], wanted));
        }
    }
    found
}

/// Whether the socket of this endpoint takes IPv6 only, among all in `listen`.
///
/// `[::]` alone takes both families. Beside an IPv4 address it takes IPv6 only.
pub(super) fn is_v6_only(endpoint: &Endpoint, listen: &[Endpoint]) -> bool {
    let mut addresses = listen.iter().filter_map(Endpoint::address);
    let is_every_v6 = |address: SocketAddr| address.is_ipv6() && address.ip().is_unspecified();
    endpoint.address().is_some_and(is_every_v6) && addresses.any(|address| address.is_ipv4())
}

/// Whether two sockets take connections to one address and port, so that the second can be bound only if both share
/// the port.
pub(super) fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let is_every = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && (one.ip() == other.ip() || is_every)
}

fn is_at_one_place(one: &Endpoint, other: &Endpoint) -> bool {
    match (one.address(), other.address()) {
        (Some(one), Some(other)) => one == other,
        (None, None) => one.path() == other.path(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An endpoint as `listen` writes it.
    fn endpoint(text: &str) -> Endpoint {
        let address = |text: &str| text.parse().expect("an address");
        match text.split_once(':') {
            Some(("unix", path)) => Endpoint::Unix(path.into()),
            Some(("tls", text)) => Endpoint::Tls(address(text)),
            _ => Endpoint::Plain(address(text)),
        }
    }

    /// What is wanted, with the port that was found behind `=`, and `only` where it is IPv6 alone.
    fn place(text: &str) -> Place {
        let (text, is_v6_only) = match text.strip_suffix(" only") {
            Some(text) => (text, true),
            None => (text, false),
        };
        let (wanted, port) = text.split_once('=').unwrap_or((text, ""));
        let wanted = endpoint(wanted);
        let bound = match port.parse() {
            Ok(port) => wanted.with_port(port),
            Err(_) => wanted.clone(),
        };
        Place {
            wanted,
            bound,
            is_v6_only,
        }
    }

    #[test]
    fn an_endpoint_keeps_its_socket_as_long_as_its_address_or_path_is_the_same() {
        for (open, listen, expected) in [
            // Nothing changes.
            (&["1.1.1.1:1"][..], &["1.1.1.1:1"][..], vec![Some(0)]),
            (&["1.1.1.1:0=7"], &["1.1.1.1:0"], vec![Some(0)]),
            (&["unix:/a"], &["unix:/a"], vec![Some(0)]),
            // Another address, port or path.
            (&["1.1.1.1:1"], &["1.1.1.1:2"], vec![None]),
            (&["1.1.1.1:1"], &["1.1.1.2:1"], vec![None]),
            (&["unix:/a"], &["unix:/b"], vec![None]),
            (&["unix:/a"], &["1.1.1.1:1"], vec![None]),
            // The port that was found is asked for now, and any port where one was asked for.
            (&["1.1.1.1:0=7"], &["1.1.1.1:7"], vec![Some(0)]),
            (&["1.1.1.1:7"], &["1.1.1.1:0"], vec![None]),
            // TLS comes and goes.
            (&["1.1.1.1:1"], &["tls:1.1.1.1:1"], vec![Some(0)]),
            (&["tls:1.1.1.1:1"], &["1.1.1.1:1"], vec![Some(0)]),
            (&["1.1.1.1:0=7"], &["tls:1.1.1.1:0"], vec![Some(0)]),
            // An entry that has not changed keeps its socket, whatever comes first.
            (
                &["1.1.1.1:0=7", "tls:1.1.1.1:0=8"],
                &["tls:1.1.1.1:0", "1.1.1.1:0"],
                vec![Some(1), Some(0)],
            ),
            (
                &["1.1.1.1:1", "1.1.1.2:1"],
                &["1.1.1.2:1", "unix:/a"],
                vec![Some(1), None],
            ),
            // No socket serves two.
            (
                &["1.1.1.1:0=7"],
                &["1.1.1.1:7", "1.1.1.1:0"],
                vec![None, Some(0)],
            ),
            // Beside an IPv4 address, every address of IPv6 is another socket.
            (&["[::]:1"], &["[::]:1", "1.1.1.1:2"], vec![None, None]),
            (
                &["[::]:1 only", "0.0.0.0:1"],
                &["[::]:1", "0.0.0.0:1"],
                vec![Some(0), Some(1)],
            ),
            (&["[::]:1 only"], &["[::]:1"], vec![None]),
            (&["[::1]:1"], &["[::1]:1", "1.1.1.1:2"], vec![Some(0), None]),
        ] {
            let open: Vec<_> = open.iter().map(|text| place(text)).collect();
            let endpoints: Vec<_> = listen.iter().map(|text| endpoint(text)).collect();
            assert_eq!(sockets_for(&open, &endpoints), expected, "{listen:?}");
        }
    }

    #[test]
    fn two_addresses_overlap_where_one_is_every_address_or_both_are_one() {
        for (one, other, expected) in [
            ("1.1.1.1:1", "1.1.1.1:1", true),
            ("1.1.1.1:1", "1.1.1.1:2", false),
            ("1.1.1.1:1", "1.1.1.2:1", false),
            ("1.1.1.1:1", "0.0.0.0:1", true),
            ("[::]:1", "0.0.0.0:1", true),
            ("[::]:1", "0.0.0.0:2", false),
        ] {
            let [one, other] = [one, other].map(|text| text.parse().expect("an address"));
            assert_eq!(overlap(one, other), expected, "{one} {other}");
            assert_eq!(overlap(other, one), expected, "{other} {one}");
        }
    }
}
