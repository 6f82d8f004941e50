//! The rules of an opening handshake that its head alone keeps or breaks (RFC 6455 §4.2.1).

use crate::connection::reply::Reply;
use crate::http::head::{Head, elements};
use crate::ws::extension::{self, Offer};

/// What is known of a request that keeps the rules of RFC 6455 §4.2.1.
pub(crate) struct Checked {
    /// The client's `Sec-WebSocket-Key`.
    pub(crate) key: Vec<u8>,
    /// Empty where the client sends none, which no browser does.
    pub(crate) origin: String,
    /// The subprotocols that the client offers, none of them twice.
    pub(crate) protocols: Vec<String>,
}

/// Checks every rule but that of `Host`, which holds for every request. The error is the reply.
pub(crate) fn check(head: &Head) -> Result<Checked, Reply> {
    if head.method() != b"GET" {
        return Err(Reply::Malformed("an opening handshake is a GET"));
    }
    if !head.is_http_1_1() {
        return Err(Reply::Malformed("an opening handshake is HTTP/1.1"));
    }
    if !head
        .elements("connection")
        .any(|token| token.eq_ignore_ascii_case(b"upgrade"))
    {
        return Err(Reply::Malformed("`Connection` does not list `Upgrade`"));
    }
    let has_length = head.values("content-length").any(|value| value != b"0");
    if has_length || head.values("transfer-encoding").next().is_some() {
        return Err(Reply::Malformed("an opening handshake has no body"));
    }
    match single(
        head,
        "sec-websocket-version",
        "`Sec-WebSocket-Version` stands more than once",
    )? {
        Some(b"13") => {}
        Some(_) => return Err(Reply::WrongVersion),
        None => return Err(Reply::Malformed("`Sec-WebSocket-Version` is missing")),
    }
    let key = single(
        head,
        "sec-websocket-key",
        "`Sec-WebSocket-Key` stands more than once",
    )?;
    let key = key.filter(|key| is_key(key));
    let key = key.ok_or(Reply::Malformed(
        "`Sec-WebSocket-Key` is not 16 bytes in base64",
    ))?;
    let protocols = protocols(head)?;
    offers(head)?;
    let origin = single(head, "origin", "`Origin` stands more than once")?;
    let origin = origin.map(plain_text);
    let origin = origin.unwrap_or(Some(String::new()));
    let origin = origin.ok_or(Reply::Malformed("`Origin` is not plain text"))?;
    Ok(Checked {
        key: key.to_vec(),
        origin,
        protocols,
    })
}

/// The extensions that the client offers.
pub(super) fn offers(head: &Head) -> Result<Vec<Offer<'_>>, Reply> {
    let offers = extension::parse(head.values("sec-websocket-extensions"));
    offers.map_err(|_| Reply::Malformed("`Sec-WebSocket-Extensions` is not a list of extensions"))
}

/// The subprotocols that the client offers, in its order. A subprotocol that is listed twice, on one line
/// or on several, breaks a rule (RFC 6455 §4.1, §11.3.4).
fn protocols(head: &Head) -> Result<Vec<String>, Reply> {
    const NO_LIST: Reply = Reply::Malformed("`Sec-WebSocket-Protocol` is not a list of tokens");
    let mut protocols = Vec::new();
    let mut has_lines = false;
    for line in head.values("sec-websocket-protocol") {
        has_lines = true;
        for element in elements(line) {
            let text = std::str::from_utf8(element).ok();
            let text = text.filter(|text| text.bytes().all(wsh::rules::is_token_byte));
            let text = text.ok_or(NO_LIST)?;
            if protocols.iter().any(|known| known == text) {
                return Err(Reply::Malformed(
                    "`Sec-WebSocket-Protocol` lists a subprotocol twice",
                ));
            }
            protocols.push(text.to_owned());
        }
    }
    // The list has at least one element (RFC 6455 §11.3.4).
    if has_lines && protocols.is_empty() {
        return Err(NO_LIST);
    }
    Ok(protocols)
}

/// The value of the one line with this name, if there is one. Two lines are the `fault`.
fn single<'a>(
    head: &'a Head,
    name: &'a str,
    fault: &'static str,
) -> Result<Option<&'a [u8]>, Reply> {
    head.value(name).map_err(|_| Reply::Malformed(fault))
}

/// The value as text; `None` where it is no UTF-8 or has control characters.
fn plain_text(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    (!text.chars().any(char::is_control)).then(|| text.to_owned())
}

/// Whether `key` is the base64 of 16 bytes: 22 digits, of which the last has four zero bits, and padding.
fn is_key(key: &[u8]) -> bool {
    let Some((digits, b"==")) = key.split_at_checked(22) else {
        return false;
    };
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    digits.iter().all(is_digit) && matches!(digits[21], b'A' | b'Q' | b'g' | b'w')
}
