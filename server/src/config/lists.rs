//! The two keys whose values are lists: where to listen, and which pages may connect.

use std::net::SocketAddr;

use toml::de::DeValue;

use super::fault::What;
use super::host::Host;
use super::values::{Entry, Reader};
use super::{Origins, SAME_HOST};

/// `listen = ["127.0.0.1:9998", "[::1]:9998"]`; at least one, and none twice.
pub(super) fn listen(reader: &mut Reader<'_>, entry: Entry<'_>) -> Option<Vec<SocketAddr>> {
    let items = match entry.value.get_ref() {
        DeValue::Array(items) if items.is_empty() => {
            reader.wrong_type(entry, "a list of addresses like `[\"127.0.0.1:9998\"]`");
            return None;
        }
        DeValue::Array(items) => items.iter().collect(),
        // One needs no brackets.
        _ => vec![entry.value],
    };
    let mut listen = Vec::new();
    for value in items {
        let host = value
            .get_ref()
            .as_str()
            .and_then(|text| text.parse::<Host>().ok());
        let Some(addresses) = host.as_ref().and_then(Host::complete) else {
            reader.unwanted(
                Entry { value, ..entry },
                "an address like `127.0.0.1:9998`",
                None,
            );
            continue;
        };
        for address in addresses {
            if listen.contains(&address) {
                let address = address.to_string();
                reader.fault(reader.value_place(value), What::ListensTwice { address });
            } else {
                listen.push(address);
            }
        }
    }
    Some(listen)
}

/// `origins = "same-host"`, `"any"`, or a list of origins.
pub(super) fn origins(reader: &mut Reader<'_>, entry: Entry<'_>) -> Option<Origins> {
    let items = match entry.value.get_ref() {
        DeValue::Array(items) => items,
        DeValue::String(word) if word == SAME_HOST => return Some(Origins::SameHost),
        DeValue::String(word) if word == "any" => return Some(Origins::Any),
        _ => {
            let wanted =
                "`same-host`, `any` or a list like `[\"same-host\", \"https://example.com\"]`";
            reader.unwanted(entry, wanted, None);
            return None;
        }
    };
    let mut listed = Vec::new();
    for value in items.iter() {
        match value.get_ref().as_str() {
            Some(origin) if is_origin(origin) => listed.push(origin.to_owned()),
            _ => {
                let wanted = "an origin as browsers write it, like `https://example.com`, or `null` or `same-host`";
                let suggestion = value.get_ref().as_str().and_then(as_origin);
                reader.unwanted(Entry { value, ..entry }, wanted, suggestion.as_deref());
            }
        }
    }
    Some(Origins::Listed(listed))
}

/// Whether a browser would write it so (RFC 6454 §6.1): no path, no slash at the end.
fn is_origin(text: &str) -> bool {
    let is_authority = |authority: &str| {
        !authority.is_empty()
            && !authority.contains(|one: char| "/?#@*\\".contains(one) || one.is_whitespace())
    };
    let is_scheme = |scheme: &str| {
        !scheme.is_empty()
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    };
    text == "null"
        || text == SAME_HOST
        || text
            .split_once("://")
            .is_some_and(|(scheme, authority)| is_scheme(scheme) && is_authority(authority))
}

/// The origin of an address copied from a browser, `https://example.com/chat`.
fn as_origin(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?;
    let origin = format!("{scheme}://{authority}");
    is_origin(&origin).then_some(origin)
}
