//! Which addresses may connect: `allow` and `deny` at the top of the file, for paths under `[paths]`, and in a handler's table.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

use super::Networks;
use super::handler_table;
use crate::auth::access::PathRules;

/// A pair of `allow` and `deny`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressRules {
    /// Only these may connect; `None` is all.
    pub allow: Option<Networks>,
    /// These may not, even if `allow` has them.
    pub deny: Networks,
}

/// The rules of the server, and those of paths. Those of handlers stand in their tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressPolicy {
    /// For everything.
    pub server: AddressRules,
    pub(crate) paths: PathRules<AddressRules>,
    /// Whether the table of a handler has rules.
    pub(crate) is_of_handlers: bool,
}

/// The far end of a connection, as far as rules look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// `None` for a Unix socket.
    pub(crate) address: Option<IpAddr>,
    /// Whether the address is the caller's, and not that of a proxy that does not say whose connection it is.
    pub(crate) is_known: bool,
}

/// A rule that keeps an address out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AddressRefusal {
    key: &'static str,
    /// Whether the address that the rule was asked for is the caller's.
    is_known: bool,
    by: RuleOf,
}

/// What a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum RuleOf {
    Server,
    Path(String),
    Handler(String),
}

impl AddressRules {
    /// Whether nothing is said, so that all may connect.
    pub(crate) fn is_empty(&self) -> bool {
        *self == AddressRules::default()
    }

    /// The key that keeps the caller out. An address that is not known is in no `allow`.
    fn refuses(&self, caller: Caller) -> Option<&'static str> {
        if self.deny.contains(caller.address) {
            return Some("deny");
        }
        let allow = self.allow.as_ref()?;
        let is_allowed = caller.is_known && allow.contains(caller.address);
        (!is_allowed).then_some("allow")
    }
}

impl AddressPolicy {
    /// Why the caller may not connect at all; `None` where it may.
    pub(crate) fn refuses(&self, caller: Caller) -> Option<AddressRefusal> {
        let key = self.server.refuses(caller)?;
        Some(AddressRefusal::new(key, caller, RuleOf::Server))
    }

    /// Why the caller may not have what lies at a path, which is percent-decoded.
    pub(crate) fn refuses_at(&self, path: &str, caller: Caller) -> Option<AddressRefusal> {
        let (pattern, rules) = self.paths.find(path)?;
        let key = rules.refuses(caller)?;
        Some(AddressRefusal::new(key, caller, RuleOf::Path(pattern)))
    }
}

impl AddressRefusal {
    fn new(key: &'static str, caller: Caller, by: RuleOf) -> AddressRefusal {
        let is_known = caller.is_known;
        AddressRefusal { key, is_known, by }
    }

    /// Why the caller may not reach the handler of this name.
    pub(crate) fn of_handler(
        name: &str,
        rules: &AddressRules,
        caller: Caller,
    ) -> Option<AddressRefusal> {
        let key = rules.refuses(caller)?;
        let by = RuleOf::Handler(name.to_owned());
        Some(AddressRefusal::new(key, caller, by))
    }
}

impl Display for AddressRefusal {
    /// Writes it as `` `deny` of `[handler.chat]` has the address ``.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let key = self.key;
        match &self.by {
            RuleOf::Server => write!(f, "`{key}`")?,
            RuleOf::Path(pattern) => write!(f, "`{key}` of `[paths.{pattern:?}]`")?,
            RuleOf::Handler(name) => write!(f, "`{key}` of `{}`", handler_table(name))?,
        }
        f.write_str(match (key, self.is_known) {
            ("deny", true) => " has the address",
            ("deny", false) => " has the address of the proxy, which does not say the client's",
            (_, true) => " does not have the address",
            (_, false) => " lets in no client whose address its proxy does not say",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deny_wins_and_an_allow_lets_in_only_what_it_has() {
        let networks = |entries: &[&str]| Networks::of(entries).expect("networks");
        let rules = |allow: Option<&[&str]>, deny: &[&str]| AddressRules {
            allow: allow.map(networks),
            deny: networks(deny),
        };
        let (open, closed) = (rules(None, &[]), rules(Some(&[]), &[]));
        let local = rules(Some(&["loopback", "10.0.0.0/8"]), &["10.0.0.7"]);
        let without_unix = rules(None, &["unix", "192.0.2.0/24"]);
        for (rules, address, is_known, expected) in [
            (&open, Some("192.0.2.1"), true, None),
            (&open, None, false, None),
            (&closed, Some("127.0.0.1"), true, Some("allow")),
            (&closed, None, true, Some("allow")),
            (&local, Some("127.0.0.1"), true, None),
            (&local, Some("::ffff:10.0.0.6"), true, None),
            (&local, Some("10.0.0.7"), true, Some("deny")),
            (&local, Some("192.0.2.1"), true, Some("allow")),
            (&local, None, true, Some("allow")),
            // The address is the proxy's.
            (&local, Some("10.0.0.6"), false, Some("allow")),
            (&local, Some("10.0.0.7"), false, Some("deny")),
            (&without_unix, None, true, Some("deny")),
            (&without_unix, Some("::ffff:192.0.2.1"), true, Some("deny")),
            (&without_unix, Some("::1"), true, None),
        ] {
            let address = address.map(|text| text.parse().expect("an address"));
            let found = rules.refuses(Caller { address, is_known });
            assert_eq!(found, expected, "{rules:?} {address:?} {is_known}");
        }
        assert!(open.is_empty() && !closed.is_empty());
    }
}
