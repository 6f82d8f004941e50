//! Lists of addresses: `allow`, `deny` and `trusted_proxies`.
//!
//! An entry is an address, a network like `10.0.0.0/8`, or one of the words `loopback`, `private` and `unix`. Names of hosts are
//! none: who may connect must not depend on a resolver.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use toml::de::DeValue;

use super::values::{FileEntry, Reader};

/// A set of addresses. An IPv4 address is one in whichever form it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    /// First and last address of each range, in order, without overlaps.
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
    /// Whether processes of this machine that connect to Unix sockets are in it.
    has_unix: bool,
}

impl Networks {
    /// Whether an address is in it; `None` is the peer of a Unix socket.
    pub(crate) fn contains(&self, address: Option<IpAddr>) -> bool {
        match address.map(|address| address.to_canonical()) {
            None => self.has_unix,
            Some(IpAddr::V4(address)) => is_in(&self.v4, address.to_bits()),
            Some(IpAddr::V6(address)) => is_in(&self.v6, address.to_bits()),
        }
    }

    /// Whether the peers of Unix sockets are in it.
    pub(super) fn has_unix(&self) -> bool {
        self.has_unix
    }

    /// Whether an address is in it.
    pub(super) fn has_addresses(&self) -> bool {
        !self.v4.is_empty() || !self.v6.is_empty()
    }

    /// The set of these entries.
    ///
    /// # Errors
    ///
    /// The first text that is no entry.
    pub(crate) fn of(entries: &[&str]) -> Result<Networks, NotANetwork> {
        let mut networks = Networks::default();
        for entry in entries {
            networks.add(entry)?;
        }
        networks.put_in_order();
        Ok(networks)
    }

    /// Adds what an entry means. The set is put in order afterwards.
    fn add(&mut self, entry: &str) -> Result<(), NotANetwork> {
        let words: &[&str] = match entry {
            "unix" => {
                self.has_unix = true;
                return Ok(());
            }
            "loopback" => &LOOPBACK,
            "private" => &PRIVATE,
            one => return self.add_network(one),
        };
        for network in words {
            self.add_network(network)?;
        }
        Ok(())
    }

    fn add_network(&mut self, text: &str) -> Result<(), NotANetwork> {
        let (address, bits) = match text.split_once('/') {
            None => (text, None),
            Some((address, bits)) => (address, Some(bits)),
        };
        let address: IpAddr = address.parse().map_err(|_| NotANetwork::like(text))?;
        let bits = match bits.map(number) {
            None => None,
            Some(Some(bits)) => Some(bits),
            Some(None) => return Err(NotANetwork::new(None)),
        };
        let (address, bits) = canonical(address, bits).ok_or_else(|| NotANetwork::new(None))?;
        match address {
            IpAddr::V4(address) => {
                let (first, hosts) = (address.to_bits(), 32 - bits);
                let hosts = (1_u64 << hosts) - 1;
                let hosts = u32::try_from(hosts).unwrap_or(u32::MAX);
                if first & hosts != 0 {
                    let meant = Ipv4Addr::from_bits(first & !hosts);
                    return Err(NotANetwork::new(Some(format!("{meant}/{bits}"))));
                }
                self.v4.push((first, first | hosts));
            }
            IpAddr::V6(address) => {
                let (first, hosts) = (address.to_bits(), 128 - bits);
                let hosts = 1_u128.checked_shl(hosts).map_or(u128::MAX, |size| size - 1);
                if first & hosts != 0 {
                    let meant = Ipv6Addr::from_bits(first & !hosts);
                    return Err(NotANetwork::new(Some(format!("{meant}/{bits}"))));
                }
                self.v6.push((first, first | hosts));
            }
        }
        Ok(())
    }

    fn put_in_order(&mut self) {
        merge(&mut self.v4);
        merge(&mut self.v6);
    }
}

/// Reads a list of addresses, or a single one without brackets.
pub(super) fn networks(reader: &mut Reader<'_>, entry: FileEntry<'_>) -> Option<Networks> {
    let items = match entry.value.get_ref() {
        DeValue::Array(items) => items.iter().collect(),
        DeValue::String(_) => vec![entry.value],
        _ => {
            reader.wrong_type(
                entry,
                "a list of addresses like `[\"10.0.0.0/8\", \"loopback\"]`",
            );
            return None;
        }
    };
    let mut networks = Networks::default();
    for value in items {
        let added = match value.get_ref().as_str() {
            Some(text) => networks.add(text),
            None => Err(NotANetwork::new(None)),
        };
        if let Err(fault) = added {
            let meant = fault.meant.as_deref();
            reader.unwanted(FileEntry { value, ..entry }, fault.wanted(), meant);
        }
    }
    networks.put_in_order();
    Some(networks)
}

/// A text that is no entry of such a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotANetwork {
    /// What is probably meant.
    meant: Option<String>,
    /// Whether all addresses are probably meant.
    is_all: bool,
}

impl NotANetwork {
    fn new(meant: Option<String>) -> NotANetwork {
        NotANetwork {
            meant,
            is_all: false,
        }
    }

    /// What is wanted instead, in words.
    pub(crate) fn wanted(&self) -> &'static str {
        if self.is_all { ALL_WANTED } else { WANTED }
    }

    /// The fault of a text that has no address before a slash or its end.
    fn like(text: &str) -> NotANetwork {
        let word = text.to_lowercase();
        let bare = text.trim_matches(['[', ']', ' ']);
        let with_port = text.parse::<SocketAddr>().ok();
        let meant = match &*word {
            "localhost" | "local" | "lo" => Some("loopback".to_owned()),
            "loopback" | "private" | "unix" => Some(word.clone()),
            "lan" | "internal" => Some("private".to_owned()),
            _ if word.starts_with("unix:") => Some("unix".to_owned()),
            _ => {
                let address = with_port.map(|address| address.ip());
                let address = address.or_else(|| bare.parse().ok());
                address.map(|address| address.to_string())
            }
        };
        NotANetwork {
            meant,
            is_all: ["any", "all", "*", "everyone"].contains(&&*word),
        }
    }
}

/// The number that these digits are; `parse` would take a plus sign too.
fn number(text: &str) -> Option<u32> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

/// An address and the bits of its network, where `::ffff:10.0.0.0/104` is 10.0.0.0/8. `None` where a network has more bits
/// than its addresses.
fn canonical(address: IpAddr, bits: Option<u32>) -> Option<(IpAddr, u32)> {
    let all = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(all);
    let plain = address.to_canonical();
    match all {
        128 if plain.is_ipv4() && (96..=128).contains(&bits) => Some((plain, bits - 96)),
        all => (bits <= all).then_some((address, bits)),
    }
}

/// Sorts ranges, and makes one of those that overlap.
fn merge<N: Ord + Copy>(ranges: &mut Vec<(N, N)>) {
    ranges.sort_unstable();
    ranges.dedup_by(|next, before| {
        let overlaps = next.0 <= before.1;
        if overlaps {
            before.1 = before.1.max(next.1);
        }
        overlaps
    });
}

fn is_in<N: Ord + Copy>(ranges: &[(N, N)], address: N) -> bool {
    let behind = ranges.partition_point(|(first, _)| *first <= address);
    let range = behind.checked_sub(1).and_then(|at| ranges.get(at));
    range.is_some_and(|(_, last)| address <= *last)
}

/// What `loopback` means.
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1"];
/// What `private` means: addresses of local networks (RFC 1918, RFC 4193) and of single links (RFC 3927, RFC 4291).
const PRIVATE: [&str; 6] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "fc00::/7",
    "fe80::/10",
];
/// What an entry wants, in words.
const WANTED: &str = "an address like `192.0.2.7`, a network like `10.0.0.0/8` or `2001:db8::/32`, `loopback`, `private` or `unix`";
/// What is written for all addresses, in words.
const ALL_WANTED: &str = "`0.0.0.0/0` for every IPv4 address, `::/0` for every IPv6 address";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(entries: &[&str]) -> Networks {
        Networks::of(entries).unwrap_or_else(|fault| panic!("{entries:?}: {fault:?}"))
    }

    #[test]
    fn an_entry_is_what_it_says_and_nothing_beside_it() {
        for (entry, inside, outside) in [
            (
                "192.0.2.7",
                &["192.0.2.7", "::ffff:192.0.2.7"][..],
                &["192.0.2.6", "192.0.2.8", "::7"][..],
            ),
            (
                "10.0.0.0/8",
                &["10.0.0.0", "10.255.255.255"],
                &["9.255.255.255", "11.0.0.0"],
            ),
            (
                "0.0.0.0/0",
                &["0.0.0.0", "255.255.255.255", "::ffff:1.2.3.4"],
                &["::1", "::"],
            ),
            (
                "::/0",
                &["::", "ffff::ffff", "::1"],
                &["127.0.0.1", "::ffff:127.0.0.1"],
            ),
            (
                "2001:db8::/32",
                &["2001:db8::", "2001:db8:ffff::1"],
                &["2001:db9::", "2001:db7::1"],
            ),
            ("::1", &["::1"], &["::2", "127.0.0.1"]),
            (
                "::ffff:10.0.0.0/104",
                &["10.9.9.9", "::ffff:10.1.1.1"],
                &["11.0.0.0", "::1"],
            ),
            ("192.0.2.7/32", &["192.0.2.7"], &["192.0.2.6"]),
            (
                "loopback",
                &["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"],
                &["128.0.0.1", "::2", "0.0.0.0"],
            ),
            (
                "private",
                &[
                    "10.1.1.1",
                    "172.16.0.1",
                    "172.31.255.255",
                    "192.168.1.1",
                    "169.254.1.1",
                    "fd00::1",
                    "fe80::1",
                ],
                &[
                    "172.32.0.1",
                    "172.15.255.255",
                    "100.64.0.1",
                    "127.0.0.1",
                    "2001:db8::1",
                    "fec0::1",
                ],
            ),
        ] {
            let networks = of(&[entry]);
            let contains = |text: &&str| networks.contains(Some(text.parse().expect("an address")));
            assert!(inside.iter().all(contains), "{entry}");
            assert!(!outside.iter().any(contains), "{entry}");
            assert!(!networks.contains(None), "{entry}");
        }
        assert!(of(&["unix"]).contains(None));
        assert!(!Networks::default().contains(None));
    }

    #[test]
    fn a_text_that_is_no_entry_is_told_with_what_is_meant() {
        for (text, meant) in [
            ("10.0.0.1/8", Some("10.0.0.0/8")),
            ("2001:db8::1/32", Some("2001:db8::/32")),
            ("::ffff:10.0.0.1/104", Some("10.0.0.0/8")),
            ("localhost", Some("loopback")),
            ("Private", Some("private")),
            ("unix:/run/wshd.sock", Some("unix")),
            ("127.0.0.1:80", Some("127.0.0.1")),
            ("[::1]:80", Some("::1")),
            ("[::1]", Some("::1")),
            ("example.com", None),
            ("10.0.0.0/33", None),
            ("::/129", None),
            ("::ffff:0.0.0.0/95", Some("::fffe:0:0/95")),
            ("10.0.0.0/+8", None),
            ("10.0.0.0/", None),
            ("10.0/8", None),
            ("010.0.0.1", None),
            ("fe80::1%eth0", None),
            ("", None),
        ] {
            let fault = Networks::of(&[text]).expect_err(text);
            assert_eq!(fault.meant.as_deref(), meant, "{text}");
            assert!(!fault.is_all, "{text}");
        }
        for all in ["any", "*", "ALL"] {
            assert!(Networks::of(&[all]).expect_err(all).is_all, "{all}");
        }
    }

    proptest! {
        /// A set in order against its networks, looked at one after the other.
        #[test]
        fn a_set_has_an_address_where_one_of_its_networks_has_it(
            networks in proptest::collection::vec((any::<u32>(), 0..=32_u32), 0..20),
            addresses in proptest::collection::vec(any::<u32>(), 0..20),
        ) {
            let network = |(address, bits): &(u32, u32)| {
                let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
                (address & mask, mask, *bits)
            };
            let networks: Vec<_> = networks.iter().map(network).collect();
            let texts: Vec<String> = networks
                .iter()
                .map(|(first, _, bits)| format!("{}/{bits}", Ipv4Addr::from_bits(*first)))
                .collect();
            let set = of(&texts.iter().map(String::as_str).collect::<Vec<_>>());
            // Near the edges of each network, too.
            let edges = networks.iter().flat_map(|(first, mask, _)| {
                [*first, first.wrapping_sub(1), first | !mask, (first | !mask).wrapping_add(1)]
            });
            for address in addresses.into_iter().chain(edges) {
                let expected = networks.iter().any(|(first, mask, _)| address & mask == *first);
                let found = set.contains(Some(Ipv4Addr::from_bits(address).into()));
                prop_assert_eq!(found, expected, "{}", Ipv4Addr::from_bits(address));
            }
        }
    }
}
