//! The addresses that are likely one owner's, which limits count as one.

use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv4 address, the first 64 bits of an IPv6 address, which a provider gives to one customer, or what many clients share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Network {
    V4(u32),
    V6(u64),
    /// All Unix sockets, and all trusted proxies: behind them are the connections of many clients.
    Shared,
}

impl Network {
    /// The network of an address, however an IPv4 address is written. A Unix socket has none.
    pub(crate) fn of(ip: Option<IpAddr>) -> Network {
        match ip.map(|ip| ip.to_canonical()) {
            Some(IpAddr::V4(address)) => Network::V4(address.to_bits()),
            Some(IpAddr::V6(address)) => Network::V6((address.to_bits() >> 64) as u64),
            None => Network::Shared,
        }
    }
}

impl Display for Network {
    /// Writes an IPv4 address as it is, and the 64 bits of IPv6 as the `/64` that they are.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Network::V4(bits) => Ipv4Addr::from_bits(bits).fmt(f),
            Network::V6(bits) => {
                write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(bits) << 64))
            }
            Network::Shared => f.write_str("shared"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_of_one_site_are_one_network() {
        let network = |text: &str| Network::of(Some(text.parse().expect(text)));
        for (one, other, are_one) in [
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8:1:2::1", "2001:db8:1:2:3:4:5:6", true),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
            ("192.0.2.1", "192.0.2.2", false),
            ("::1", "0.0.0.0", false),
        ] {
            assert_eq!(network(one) == network(other), are_one, "{one} {other}");
        }
        assert_eq!(Network::of(None), Network::Shared);
    }

    #[test]
    fn a_network_is_written_as_an_operator_would_write_it() {
        for (text, written) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("::1", "::/64"),
        ] {
            let network = Network::of(Some(text.parse().expect(text)));
            assert_eq!(network.to_string(), written);
        }
        assert_eq!(Network::Shared.to_string(), "shared");
    }
}
