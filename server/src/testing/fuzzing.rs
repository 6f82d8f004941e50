//! The functions that the fuzz targets of tests/fuzz call, one for each target. A function panics when a promise breaks.
//!
//! The first bytes of the data say how the rest is cut into reads, so that a fuzzer can vary the cuts too.

use std::sync::Arc;

use wsh::abi::answer::POSITION_BYTES_MAX;
use wsh::rules::asks::PAGE_ITEMS_MAX;
use wsh::{abi, rules};

use crate::config::{Deflate, ForwardedHeader, Networks, Origins};
use crate::connection::forwarded::{self, Forwarded};
use crate::connection::proxy_protocol::header::ProxyHeader;
use crate::connection::{handshake, origin};
use crate::engine::position::{Foreign, Positions};
use crate::engine::{StreamPosition, TopicName};
use crate::http::head::Head;
use crate::http::target::Target;
use crate::sessions::topics::Topic;
use crate::testing::client_frame::frame;
use crate::transport::tls::promises as promises_of_tls;
use crate::ws::close;
use crate::ws::closing::promises;
use crate::ws::decoder::{Decoder, DecoderLimits};
use crate::ws::deflate::Agreement;
use crate::ws::deflate::budget::Budget;
use crate::ws::deflate::deflation::{Deflation, PartPosition};
use crate::ws::deflate::inflation::Inflation;
use crate::ws::extension::{self, Offer};
use crate::ws::oracle::{self, Said};

/// A request head: its end does not depend on how it is cut, and each of its lines lies inside it. An opening handshake that
/// passes the checks can be answered.
pub fn handshake(data: &[u8]) {
    let whole = Head::end(data, 0);
    let step = data.first().map_or(1, |byte| usize::from(*byte) + 1);
    let (mut before, mut found) = (0, None);
    while found.is_none() && before < data.len() {
        let length = (before + step).min(data.len());
        found = Head::end(&data[..length], before);
        before = length;
    }
    assert_eq!(found, whole);
    let Some(end) = whole else { return };
    let Ok(head) = Head::parse(data[..end].into(), 100) else {
        return;
    };
    assert_eq!(head.bytes(), &data[..end]);
    for (name, value) in head.lines() {
        assert!(!name.is_empty() && !value.contains(&b'\n'));
    }
    let _ = Target::parse(head.target());
    for element in head.elements("sec-websocket-protocol") {
        assert!(!element.is_empty() && !element.contains(&b','));
    }
    let Ok(checked) = handshake::rules::check(&head) else {
        return;
    };
    assert!(checked.key.len() == 24 && checked.key.is_ascii());
    assert!(!checked.origin.contains(char::is_control));
    for (index, protocol) in checked.protocols.iter().enumerate() {
        assert!(!checked.protocols[..index].contains(protocol));
    }
    let host = head.value("host").ok().flatten().unwrap_or_default();
    let host = String::from_utf8_lossy(host);
    for is_tls in [false, true] {
        let _ = origin::is_allowed(&Origins::SameHost, &checked.origin, &host, is_tls);
    }
    let _ = origin::allowing(&Origins::SameHost, &checked.origin);
}

/// What a proxy says: a header of the PROXY protocol lies inside the bytes, is found in any pieces, and a fault stays one when
/// more bytes come. Of a request's lists, no address is taken that does not stand behind the last trusted proxy.
pub fn proxied(data: &[u8]) {
    let whole = ProxyHeader::parse(data);
    if let Ok(Some(header)) = &whole {
        assert!(header.length <= data.len());
    }
    for cut in 0..data.len().min(600) {
        match ProxyHeader::parse(&data[..cut]) {
            Ok(None) => {}
            earlier => assert_eq!(earlier, whole),
        }
    }
    let trusted = Networks::of(&["10.0.0.0/8"]).expect("a network");
    let said: Vec<u8> = data
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_control())
        .collect();
    for (header, name, added) in [
        (
            ForwardedHeader::XForwardedFor,
            "X-Forwarded-For",
            "192.0.2.1, 10.0.0.1",
        ),
        (
            ForwardedHeader::Forwarded,
            "Forwarded",
            "for=192.0.2.1, for=10.0.0.1",
        ),
    ] {
        let lines = [
            b"GET / HTTP/1.1\r\n",
            name.as_bytes(),
            b": ",
            &said,
            b", ",
            added.as_bytes(),
        ];
        let text = [lines.concat(), b"\r\n\r\n".to_vec()].concat();
        let Ok(head) = Head::parse(text.into(), 9) else {
            continue;
        };
        let found = forwarded::client(&head, header, |ip| trusted.contains(Some(ip)));
        let address = "192.0.2.1:0".parse().expect("an address");
        assert_eq!(found, Forwarded::Client { address });
        let _ = forwarded::is_tls(&head, header);
    }
}

/// An extension header: what is agreed on was offered, and can be read back.
pub fn extensions(data: &[u8]) {
    let lines = data.split(|byte| *byte == b'\n');
    let Ok(offers) = extension::parse(lines) else {
        return;
    };
    let policy = Deflate {
        context_takeover: true,
        ..Deflate::default()
    };
    let Some(agreement) = Agreement::reach(&offers, &policy, &Budget::new(usize::MAX)) else {
        return;
    };
    assert!(
        offers
            .iter()
            .any(|offer| offer.name == "permessage-deflate")
    );
    let response = agreement.response().as_bytes();
    let read: Vec<Offer<'_>> = extension::parse([response].into_iter()).expect("the grammar");
    let again = Agreement::reach(&read, &policy, &Budget::new(usize::MAX));
    assert_eq!(again.expect("an offer").response().as_bytes(), response);
}

/// A Close frame's body: one that is accepted is written back unchanged.
pub fn close(data: &[u8]) {
    let Ok((code, reason)) = close::parse(data) else {
        return;
    };
    assert!(code == wsh::close_codes::NO_STATUS || wsh::rules::may_be_sent(code));
    assert_eq!(close::body(code, reason), data);
}

/// Events at the end of a session, in any order: there is one Close frame at most, no frame after it, and always an end.
pub fn closing(data: &[u8]) {
    promises::check(data);
}

/// Frames from any bytes, compressed or not: the outcome does not depend on how they are cut.
pub fn frames(data: &[u8]) {
    let mut script = Script { data };
    let (reads, flags) = (script.reads(), script.byte());
    let bytes = if flags & 1 == 0 {
        oracle::stream(script.data)
    } else {
        script.data.to_vec()
    };
    let decoder = || {
        let inflation = (flags & 2 == 0).then(|| halves(flags & 4 == 0).0);
        let limits = DecoderLimits {
            parts: flags & 8 == 0,
            ..LIMITS
        };
        Decoder::new(limits, inflation)
    };
    let cut = oracle::decode(decoder(), &bytes, &reads);
    let whole = oracle::decode(decoder(), &bytes, &[]);
    assert_eq!(cut, whole);
}

/// Messages in any fragments with control frames between, compressed or not: they arrive as they were sent.
pub fn messages(data: &[u8]) {
    let mut script = Script { data };
    let (reads, flags) = (script.reads(), script.byte());
    let (inflation, mut deflation) = halves(flags & 1 == 0);
    let (mut bytes, mut expected) = (Vec::new(), Vec::new());
    while !script.data.is_empty() {
        let make_up = script.byte();
        let length = usize::from(script.byte());
        let mut payload = script.take(length).repeat(usize::from(make_up >> 5) + 1);
        let opcode = if make_up & 1 == 0 { 1 } else { 2 };
        if opcode == 1 {
            payload = String::from_utf8_lossy(&payload).into_owned().into_bytes();
        }
        let mut wire = payload.clone();
        let is_compressed = make_up & 2 == 0 && compress(&mut deflation, &payload, &mut wire);
        let mut first = opcode | if is_compressed { 0x40 } else { 0 };
        let mut rest = &wire[..];
        for _ in 0..make_up >> 2 & 7 {
            let (now, later) = rest.split_at(usize::from(script.byte()).min(rest.len()));
            let (ping, payload) = (script.byte() & 1 == 0, script.take(3));
            bytes.extend(frame(first, now));
            bytes.extend(frame(if ping { 0x89 } else { 0x8a }, payload));
            expected.push(if ping {
                Said::Ping(payload.to_vec())
            } else {
                Said::Pong(payload.to_vec())
            });
            (rest, first) = (later, 0);
        }
        bytes.extend(frame(0x80 | first, rest));
        expected.push(if opcode == 1 {
            Said::Text(payload)
        } else {
            Said::Binary(payload)
        });
    }
    let limits = DecoderLimits {
        message_bytes_max: u32::MAX,
        parts: flags & 2 == 0,
        ..LIMITS
    };
    let decoder = Decoder::new(limits, Some(inflation));
    assert_eq!(oracle::decode(decoder, &bytes, &reads), (expected, None));
}

/// Bytes that claim to be compressed: they give no more than the limit, and the outcome does not depend on how they are cut.
/// Bytes that are compressed here come back unchanged.
pub fn deflate(data: &[u8]) {
    let mut script = Script { data };
    let (reads, flags) = (script.reads(), script.byte());
    let (takeover, data) = (flags & 1 == 0, script.data);
    let inflate = |reads: &[usize]| {
        let (mut inflation, _) = halves(takeover);
        let (mut output, mut left) = (Vec::new(), LIMITS.message_bytes_max as usize);
        let mut outcome = Ok(());
        let (mut rest, mut reads) = (data, reads.iter().cycle());
        loop {
            let length = (*reads.next().unwrap_or(&usize::MAX)).min(rest.len());
            let (piece, later) = rest.split_at(length);
            rest = later;
            outcome = outcome
                .and_then(|()| inflation.inflate(piece, rest.is_empty(), &mut output, &mut left));
            if rest.is_empty() || outcome.is_err() {
                break;
            }
        }
        assert!(output.len() <= LIMITS.message_bytes_max as usize);
        assert!(output.capacity() <= LIMITS.message_bytes_max as usize + 1);
        (outcome, output)
    };
    assert_eq!(inflate(&reads), inflate(&[]));

    let (mut inflation, mut deflation) = halves(takeover);
    for message in data.chunks(usize::from(flags) + 1) {
        let mut wire = Vec::new();
        if compress(&mut deflation, message, &mut wire) {
            let (mut output, mut left) = (Vec::new(), message.len());
            let inflated = inflation.inflate(&wire, true, &mut output, &mut left);
            assert_eq!((inflated, &output[..]), (Ok(()), message));
        }
    }
}

/// TLS whose bytes move in any pieces: what one side says the other gets once, whole and in its order. Bytes that are no
/// handshake make none.
pub fn tls(data: &[u8]) {
    match data.split_first() {
        Some((255, first_bytes)) => promises_of_tls::check_first_bytes(first_bytes),
        _ => promises_of_tls::check(data),
    }
}

/// Any bytes, in any pieces: tungstenite reads the messages that the server reads, with the exceptions of
/// [`oracle::compare`].
pub fn differential(data: &[u8]) {
    let mut script = Script { data };
    let (reads, flags) = (script.reads(), script.byte());
    if flags & 1 == 0 {
        oracle::compare(&oracle::stream(script.data), &reads);
    } else {
        oracle::compare(script.data, &reads);
    }
}

/// A position as a plugin gives it to the server, or as a peer gives its text to a plugin: only what a server wrote for the
/// topic is read, and a text has one spelling.
pub fn positions(data: &[u8]) {
    let mut script = Script { data };
    let at = StreamPosition {
        epoch: script.number(),
        offset: script.number(),
    };
    let (topic, bytes) = (TopicName::new(Topic::new("chat", "lobby")), script.data);
    let positions = Positions::new([7; 16], "local");
    if let Ok(read) = positions.read(&topic, bytes) {
        assert_eq!(positions.write(&topic, read).as_bytes(), bytes);
    }
    let written = positions.write(&topic, at);
    assert_eq!(positions.read(&topic, written.as_bytes()), Ok(at));
    let mut changed = written.as_bytes().to_vec();
    changed
        .iter_mut()
        .zip(bytes)
        .for_each(|(to, from)| *to ^= from);
    if changed != written.as_bytes() {
        assert_eq!(positions.read(&topic, &changed), Err(Foreign));
    }

    let of_sdk = wsh::Position::try_from(written.as_bytes()).expect("a position");
    assert_eq!(of_sdk.to_string(), written.to_string());
    if let Ok(position) = wsh::Position::try_from(bytes) {
        let again: wsh::Position = position.to_string().parse().expect("its own text");
        assert_eq!(again, position);
        assert_eq!(rules::asks::position(bytes), Ok(Some(bytes)));
    }
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    if let Ok(position) = text.parse::<wsh::Position>() {
        assert_eq!(position.to_string(), text);
        assert!((1..=POSITION_BYTES_MAX).contains(&position.as_bytes().len()));
    }
}

/// The other arguments of an ask: names of topics and keys have their lengths and no NUL, and a page goes on where the one
/// before it ended.
pub fn asks(data: &[u8]) {
    let mut script = Script { data };
    let (number, bytes) = (script.number(), script.data);
    if let Ok(items) = rules::asks::page_items(number) {
        assert!((1..=PAGE_ITEMS_MAX).contains(&items) && items as u64 <= number);
    }
    let next = rules::asks::next_after_member(number);
    assert_eq!(rules::asks::after_member(&next), Ok(Some(number)));
    if let Ok(Some(id)) = rules::asks::after_member(bytes) {
        assert_eq!(rules::asks::next_after_member(id), bytes);
    }
    let after = rules::asks::after_key(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else {
        assert_eq!(after, Err(abi::INVALID));
        return;
    };
    let is_name = (1..=255).contains(&text.len()) && !text.contains('\0');
    let key = rules::asks::key(text);
    assert_eq!(
        (key.is_ok(), rules::topic(text).is_ok()),
        (is_name, is_name)
    );
    assert_eq!(
        rules::asks::key_prefix(text).is_ok(),
        is_name || text.is_empty()
    );
    match text {
        "" => assert_eq!(after, Ok(None)),
        _ => assert_eq!(after, key.map(Some).map_err(|_| abi::INVALID)),
    }
}

/// The decisions of a fuzzer, byte by byte.
struct Script<'a> {
    data: &'a [u8],
}

impl<'a> Script<'a> {
    fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.data.split_at(length.min(self.data.len()));
        self.data = rest;
        taken
    }

    fn number(&mut self) -> u64 {
        let bytes = self.take(8).iter();
        bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    fn reads(&mut self) -> Vec<usize> {
        let count = usize::from(self.byte() & 7);
        let bytes = self.take(count).iter();
        bytes.map(|byte| usize::from(*byte) + 1).collect()
    }
}

/// Compresses a message into `wire`. False if that made it no smaller, and changed nothing.
fn compress(deflation: &mut Deflation, payload: &[u8], wire: &mut Vec<u8>) -> bool {
    let mut output = Vec::new();
    let is_smaller = deflation.compress(PartPosition::WHOLE, payload, &mut output);
    if is_smaller {
        *wire = output;
    }
    is_smaller
}

/// The two halves of a session with permessage-deflate.
fn halves(context_takeover: bool) -> (Box<Inflation>, Box<Deflation>) {
    let policy = Deflate {
        context_takeover,
        ..Deflate::default()
    };
    let budget: Arc<Budget> = Budget::new(usize::MAX);
    let offer = match context_takeover {
        true => &b"permessage-deflate"[..],
        false => b"permessage-deflate; client_no_context_takeover",
    };
    let offers = extension::parse([offer].into_iter()).expect("the grammar");
    let agreement = Agreement::reach(&offers, &policy, &budget).expect("an agreement");
    agreement.into_halves()
}

const LIMITS: DecoderLimits = DecoderLimits {
    message_bytes_max: 10_000,
    fragments_max: 100,
    parts: false,
};
