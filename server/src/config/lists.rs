//! Values that are lists, or lists written as one word.

use std::net::SocketAddr;

use toml::Spanned;
use toml::de::DeValue;

use super::fault::What;
use super::host::Host;
use super::values::{Entry, Reader};
use super::{Origins, SAME_HOST};

/// The addresses to listen on, each with its port.
pub(super) fn listen(reader: &mut Reader<'_>, entry: Entry<'_>) -> Option<Vec<SocketAddr>> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    let items = items(entry.value);
    if items.is_empty() {
        reader.unwanted(entry.key, entry.value, ADDRESS_WANTED, None);
        return None;
    }
    for item in items {
        let host = item
            .get_ref()
            .as_str()
            .and_then(|text| text.parse::<Host>().ok());
        let Some(complete) = host.as_ref().and_then(Host::complete) else {
            reader.unwanted(entry.key, item, ADDRESS_WANTED, None);
            continue;
        };
        for address in complete {
            if addresses.contains(&address) && address.port() != 0 {
                let address = address.to_string();
                reader.fault(reader.value_place(item), What::ListensTwice { address });
            } else {
                addresses.push(address);
            }
        }
    }
    Some(addresses)
}

/// `"same-host"`, `"any"`, or the origins one by one.
pub(super) fn origins(reader: &mut Reader<'_>, entry: Entry<'_>) -> Option<Origins> {
    match entry.value.get_ref() {
        DeValue::String(word) if word == SAME_HOST => return Some(Origins::SameHost),
        DeValue::String(word) if word == "any" => return Some(Origins::Any),
        DeValue::Array(_) => {}
        _ => {
            reader.unwanted(entry.key, entry.value, ORIGINS_WANTED, None);
            return None;
        }
    }
    let mut listed = Vec::new();
    for item in items(entry.value) {
        match item.get_ref().as_str() {
            Some(origin) if origin == SAME_HOST || is_origin(origin) => {
                listed.push(origin.to_owned())
            }
            _ => reader.unwanted(entry.key, item, ORIGIN_WANTED, None),
        }
    }
    Some(Origins::Listed(listed))
}

/// As browsers write one: no path, no slash at the end.
fn is_origin(text: &str) -> bool {
    let authority = text.split_once("://").map(|(_, authority)| authority);
    text == "null"
        || authority.is_some_and(|it| !it.is_empty() && !it.contains(['/', '?', '#', ' ']))
}

/// The items of a list, or the one value that stands for it.
fn items<'a>(value: &'a Spanned<DeValue<'a>>) -> Vec<&'a Spanned<DeValue<'a>>> {
    match value.get_ref() {
        DeValue::Array(items) => items.iter().collect(),
        _ => vec![value],
    }
}

const ADDRESS_WANTED: &str = "an address like `127.0.0.1:9998`";
const ORIGINS_WANTED: &str =
    "`\"same-host\"`, `\"any\"` or a list like `[\"https://example.com\"]`";
const ORIGIN_WANTED: &str =
    "an origin like `https://example.com`, `null` for pages from files, or `same-host`";
