//! Reads the values that are lists: `listen`, `hosts` and `origins`; and texts that are like an entry of one.

use std::net::Ipv6Addr;

use toml::de::{DeArray, DeValue};

use super::authority::Authority;
use super::endpoint::EndpointClash;
use super::fault::What;
use super::listen_address::{ListenEntry, NotAListenEntry, UNIX_PATH_WANTED};
use super::origin::Pattern;
use super::settings::PlacedEndpoint;
use super::values::{FileEntry, Reader};
use super::{Hosts, Origins, SAME_HOST};

/// `listen = ["127.0.0.1:9998", "tls:[::1]:9999", "unix:wshd.sock"]`; at least one, and none twice.
pub(super) fn listen(reader: &mut Reader<'_>, entry: FileEntry<'_>) -> Option<Vec<PlacedEndpoint>> {
    let items = match entry.value.get_ref() {
        DeValue::Array(items) if items.is_empty() => {
            reader.wrong_type(entry, "a list of addresses like `[\"127.0.0.1:9998\"]`");
            return None;
        }
        DeValue::Array(items) => items.iter().collect(),
        // A single address needs no brackets.
        _ => vec![entry.value],
    };
    let mut listen: Vec<PlacedEndpoint> = Vec::new();
    for value in items {
        let text = value.get_ref().as_str().unwrap_or_default();
        let read = match text.parse::<ListenEntry>() {
            Ok(read) if read.is_complete() => read,
            Ok(_) | Err(NotAListenEntry::Address) => {
                reader.unwanted(FileEntry { value, ..entry }, LISTEN_WANTED, None);
                continue;
            }
            Err(NotAListenEntry::Path) => {
                reader.unwanted(FileEntry { value, ..entry }, UNIX_PATH_WANTED, None);
                continue;
            }
        };
        let place = reader.value_place(value);
        for endpoint in reader.endpoints(&read, &place) {
            let mut others = listen.iter();
            let clash = others.find_map(|it| Some((it, it.endpoint.clash(&endpoint)?)));
            match clash {
                None => {
                    let place = Some(place.clone());
                    listen.push(PlacedEndpoint { endpoint, place });
                }
                Some((_, EndpointClash::Equal)) => {
                    // Of an address with and without TLS, the address is what they have in common.
                    let address = endpoint.address().map(|address| address.to_string());
                    let address = address.unwrap_or_else(|| endpoint.to_string());
                    reader.fault(place.clone(), What::ListensTwice { address });
                }
                Some((other, EndpointClash::EveryAddress)) => {
                    let other = other.endpoint.clone();
                    reader.fault(place.clone(), What::ListensOnEvery { endpoint, other });
                }
            }
        }
    }
    Some(listen)
}

/// `unix_mode = "660"`: three octal digits, or four of which the first is 0.
pub(super) fn mode(reader: &mut Reader<'_>, entry: FileEntry<'_>) -> Option<u32> {
    let text = entry.value.get_ref().as_str();
    let digits = text.map(|text| match text.len() {
        4 => text.strip_prefix('0').unwrap_or_default(),
        _ => text,
    });
    let digits =
        digits.filter(|text| text.len() == 3 && text.bytes().all(|it| it.is_ascii_digit()));
    let mode = digits.and_then(|digits| u32::from_str_radix(digits, 8).ok());
    if mode.is_none() {
        reader.unwanted(entry, "three octal digits like `\"660\"`", None);
    }
    mode
}

/// A name of one host, without a port.
pub(super) fn one_host(text: &str) -> Option<String> {
    // A target has such an address in brackets (RFC 3986 §3.2.2).
    if text.parse::<Ipv6Addr>().is_ok() {
        return Some(format!("[{text}]"));
    }
    (is_host(text) && !text.starts_with("*.")).then(|| text.to_owned())
}

/// `origins = "same-host"`, `"any"`, or a list of origins.
pub(super) fn origins(reader: &mut Reader<'_>, entry: FileEntry<'_>) -> Option<Origins> {
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
    let list = List {
        is_fit: |text| Pattern::parse(text).is_some(),
        meant: as_origin,
        wanted: ORIGIN_WANTED,
        all_wanted: "`origins = \"any\"` for all pages",
    };
    Some(Origins::Listed(list.read(reader, entry, items)))
}

/// The origin of an address copied from a browser, `https://example.com/chat`.
fn as_origin(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let origin = format!("{scheme}://{authority}");
    let is_other = origin != url && !authority.is_empty();
    (is_other && Pattern::parse(&origin).is_some()).then_some(origin)
}

/// `hosts = "any"`, or a list of names.
pub(super) fn hosts(reader: &mut Reader<'_>, entry: FileEntry<'_>) -> Option<Hosts> {
    let items = match entry.value.get_ref() {
        DeValue::Array(items) => items,
        DeValue::String(word) if word == "any" => return Some(Hosts::Any),
        _ => {
            let wanted = "`any` or a list of names like `[\"example.com\", \"*.example.com\"]`";
            reader.unwanted(entry, wanted, None);
            return None;
        }
    };
    let list = List {
        is_fit: is_host,
        meant: as_host,
        wanted: HOST_NAME_WANTED,
        all_wanted: "`hosts = \"any\"` for all hosts",
    };
    Some(Hosts::Listed(list.read(reader, entry, items)))
}

/// How the texts of a list are read.
struct List {
    is_fit: fn(&str) -> bool,
    /// What was probably meant by a text that is not fit.
    meant: fn(&str) -> Option<String>,
    /// What the list wants, in words.
    wanted: &'static str,
    /// What to write instead of a text that means all.
    all_wanted: &'static str,
}

impl List {
    /// The texts that are fit; the others are faults.
    fn read(
        &self,
        reader: &mut Reader<'_>,
        entry: FileEntry<'_>,
        items: &DeArray<'_>,
    ) -> Vec<String> {
        let mut listed = Vec::new();
        for value in items.iter() {
            match value.get_ref().as_str() {
                Some(text) if (self.is_fit)(text) => listed.push(text.to_owned()),
                found => {
                    let meant = found.and_then(self.meant);
                    let wanted = match found {
                        Some(all) if ALL.contains(&all) => self.all_wanted,
                        _ => self.wanted,
                    };
                    reader.unwanted(FileEntry { value, ..entry }, wanted, meant.as_deref());
                }
            }
        }
        listed
    }
}

/// Whether `text` is the name of a host, or `*.` and a name. It has no port: a request is for a host
/// whatever the port.
pub(crate) fn is_host(text: &str) -> bool {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let authority = Authority::parse(name).filter(|authority| authority.host == name);
    authority.is_some_and(|it| !(it.is_address() && name != text))
        && (name.starts_with('[') || name.bytes().all(is_plain))
}

/// The host of an address copied from a browser, `https://example.com:8080/chat`.
fn as_host(url: &str) -> Option<String> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = Authority::parse(authority)?.host;
    (host != url && is_host(host)).then(|| host.to_owned())
}

/// `--origins` and `WSHD_ORIGINS`: `same-host`, `any`, or several with commas.
pub(super) fn origins_in(text: &str) -> Option<Origins> {
    let listed: Vec<&str> = text.split(',').map(str::trim).collect();
    match listed.as_slice() {
        [SAME_HOST] => Some(Origins::SameHost),
        ["any"] => Some(Origins::Any),
        listed => {
            let is_good = listed.iter().all(|one| Pattern::parse(one).is_some());
            let listed = listed.iter().map(|one| (*one).to_owned());
            is_good.then(|| Origins::Listed(listed.collect()))
        }
    }
}

/// `--hosts` and `WSHD_HOSTS`: `any`, or several with commas.
pub(super) fn hosts_in(text: &str) -> Option<Hosts> {
    let listed: Vec<&str> = text.split(',').map(str::trim).collect();
    match listed.as_slice() {
        ["any"] => Some(Hosts::Any),
        listed => {
            let is_good = listed.iter().all(|one| is_host(one));
            let listed = listed.iter().map(|one| (*one).to_owned());
            is_good.then(|| Hosts::Listed(listed.collect()))
        }
    }
}

/// What is written in lists by mistake and means `any`.
const ALL: [&str; 3] = ["*", "any", "*://*"];
const ORIGIN_WANTED: &str = "an origin as browsers write it, like `https://example.com`, `null` or `app://name`, \
     all below a host like `https://*.example.com`, or `same-host`";
const HOST_NAME_WANTED: &str =
    "the name of a host without scheme and port, like `example.com` or `*.example.com`";
/// What an entry of `listen` wants, in words.
const LISTEN_WANTED: &str = "an address like `127.0.0.1:9998` or `tls:127.0.0.1:9999`, or a path like `unix:/run/wshd.sock`, with `proxy:` before it where proxies connect";
/// What `validation_host` wants, in words.
pub(super) const ONE_HOST_WANTED: &str =
    "the name of a host or an address, without scheme and port, like `example.com`";
/// What `--origins` wants, in words.
pub(super) const ORIGINS_WANTED: &str =
    "`same-host`, `any`, or origins with commas like `same-host,https://example.com`";
/// What `--hosts` wants, in words.
pub(super) const HOSTS_WANTED: &str =
    "`any`, or names of hosts with commas like `example.com,*.example.org`";
