//! Opening handshakes of which each breaks one rule.

use std::collections::BTreeMap;

use crate::checks::{Checks, under_attack};
use crate::server::{Server, Setup};
use crate::wire::{KEY, exchange, opening, status_of};
use crate::{Lab, Result};

pub(crate) fn handshakes(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let server = Server::start(&lab.artifacts, &Setup::default())?;
    under_attack(&server, checks, |checks| {
        let all = all();
        let count = all.len();
        let found = send(server.port, all)?;
        checks.holds(
            format!("{count} handshakes: {}", found.statuses()),
            count >= 300,
        );
        for fault in found.faults {
            checks.holds(fault, false);
        }
        Ok(())
    })
}

/// What was answered.
#[derive(Default)]
pub(crate) struct Found {
    statuses: BTreeMap<u16, usize>,
    pub(crate) faults: Vec<String>,
}

impl Found {
    pub(crate) fn statuses(&self) -> String {
        let each = self.statuses.iter();
        let each: Vec<String> = each
            .map(|(status, count)| format!("{count} × {status}"))
            .collect();
        each.join(", ")
    }
}

/// Sends them one after the other, each with a good request behind it that must not be answered.
pub(crate) fn send(port: u16, handshakes: Vec<Malformed>) -> Result<Found> {
    let mut found = Found::default();
    for Malformed {
        what,
        mut request,
        wanted,
    } in handshakes
    {
        request.extend_from_slice(opening("/echo", "").as_bytes());
        let answer = exchange(port, &request)?;
        let (status, answers) = (status_of(&answer), answer.matches("HTTP/1.1 ").count());
        *found.statuses.entry(status).or_default() += 1;
        if !wanted.contains(&status) || answers != 1 {
            let fault = format!("{what}: {status}, {answers} answers, wanted {wanted:?}");
            found.faults.push(fault);
        }
        let needs_version = status == 426 && what.starts_with("version");
        if needs_version && !answer.contains("\r\nSec-WebSocket-Version: 13\r\n") {
            found
                .faults
                .push(format!("{what}: no `Sec-WebSocket-Version: 13`"));
        }
    }
    Ok(found)
}

/// A handshake with a fault, and the statuses that it may get.
pub(crate) struct Malformed {
    what: String,
    request: Vec<u8>,
    wanted: &'static [u16],
}

/// All faults.
pub(crate) fn all() -> Vec<Malformed> {
    let mut all = Vec::new();
    let mut add = |what: String, request: Vec<u8>, wanted: &'static [u16]| {
        all.push(Malformed {
            what,
            request,
            wanted,
        });
    };
    let good = opening("/echo", "");
    let changed = |from: &str, to: &str| good.replacen(from, to, 1).into_bytes();
    // What a byte of the request is replaced by.
    let inserted = |before: &str, byte: u8| {
        let (head, tail) = good.split_once(before).unwrap_or((&good, ""));
        [head.as_bytes(), &[byte], before.as_bytes(), tail.as_bytes()].concat()
    };

    for line in [
        "Host: localhost",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
    ] {
        add(
            format!("without {line}"),
            changed(&format!("{line}\r\n"), ""),
            &[400],
        );
    }
    let key_line = format!("Sec-WebSocket-Key: {KEY}\r\n");
    add("without a key".into(), changed(&key_line, ""), &[400]);
    add(
        "without Upgrade".into(),
        changed("Upgrade: websocket\r\n", ""),
        &[426, 400],
    );
    for upgrade in ["h2c", "websockets", "web socket", "", "websocket/13"] {
        let line = format!("Upgrade: {upgrade}\r\n");
        add(
            format!("upgrade to `{upgrade}`"),
            changed("Upgrade: websocket\r\n", &line),
            &[426, 400],
        );
    }
    for connection in ["close", "keep-alive", "", "Upgrades", "Up grade"] {
        let line = format!("Connection: {connection}\r\n");
        add(
            format!("Connection: {connection}"),
            changed("Connection: Upgrade\r\n", &line),
            &[400],
        );
    }
    // Keys: 16 bytes in base64 are the only right ones.
    for bytes in (0..=48).filter(|bytes| *bytes != 16) {
        let key = base64(bytes);
        add(
            format!("a key of {bytes} bytes"),
            changed(KEY, &key),
            &[400],
        );
    }
    for at in 0..KEY.len() {
        let mut key = KEY.to_owned();
        key.replace_range(at..=at, "!");
        add(
            format!("a key with `!` at {at}"),
            changed(KEY, &key),
            &[400],
        );
    }
    for line in [
        &*key_line,
        "Host: other\r\n",
        "Sec-WebSocket-Version: 13\r\n",
        "Content-Length: 0\r\nContent-Length: 5\r\n",
    ] {
        let name = line.split(':').next().unwrap_or_default();
        add(
            format!("{name} twice"),
            opening("/echo", line).into_bytes(),
            &[400],
        );
    }
    for version in (0..=30).filter(|version| *version != 13).chain([99, 255]) {
        let line = format!("Version: {version}\r\n");
        add(
            format!("version {version}"),
            changed("Version: 13\r\n", &line),
            &[426],
        );
    }
    for version in [
        "",
        "x",
        "13x",
        "013",
        "-13",
        "13.0",
        "13, 8",
        "256",
        "99999999999999999999",
    ] {
        let line = format!("Version: {version}\r\n");
        add(
            format!("version `{version}`"),
            changed("Version: 13\r\n", &line),
            &[400, 426],
        );
    }
    for method in [
        "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "PATCH", "CONNECT", "get", "GETS", "G",
    ] {
        add(
            format!("method {method}"),
            changed("GET ", &format!("{method} ")),
            &[400, 405, 501],
        );
    }
    for version in [
        "HTTP/1.0",
        "HTTP/0.9",
        "HTTP/2.0",
        "HTTP/3.0",
        "HTTP/1",
        "http/1.1",
        "HTTP/1.1x",
        "HTTP/11",
        "ICE/1.0",
        "",
    ] {
        add(
            format!("protocol `{version}`"),
            changed("HTTP/1.1", version),
            &[400, 505],
        );
    }
    for line in [
        "Content-Length: 5",
        "Content-Length: -1",
        "Content-Length: x",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: identity, chunked",
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding : chunked",
    ] {
        add(
            line.into(),
            opening("/echo", &format!("{line}\r\n")).into_bytes(),
            &[400],
        );
    }
    // Control characters, in each place that a byte can stand in.
    let controls = (0..0x20u8).chain([0x7f]);
    for byte in controls.filter(|byte| !b"\t\r\n".contains(byte)) {
        add(
            format!("{byte:#04x} in a value"),
            inserted("localhost", byte),
            &[400],
        );
        add(
            format!("{byte:#04x} in a name"),
            inserted("-WebSocket-Key", byte),
            &[400],
        );
        add(
            format!("{byte:#04x} in the target"),
            inserted("cho HTTP", byte),
            &[400],
        );
        add(
            format!("{byte:#04x} in the method"),
            inserted("ET /", byte),
            &[400],
        );
    }
    for byte in *b"\"(),/;<=>?@[\\]{} " {
        add(
            format!("`{}` in a name", byte as char),
            inserted("-WebSocket-Key", byte),
            &[400],
        );
        let line = format!("Sec-WebSocket-Protocol: a{}b\r\n", byte as char);
        // A comma parts two names.
        if byte != b',' {
            add(
                format!("`{}` in a subprotocol", byte as char),
                opening("/echo", &line).into_bytes(),
                &[400],
            );
        }
    }
    for list in ["", ",", " , ", "a, a", "a,b,a"] {
        let line = format!("Sec-WebSocket-Protocol: {list}\r\n");
        add(
            format!("subprotocols `{list}`"),
            opening("/echo", &line).into_bytes(),
            &[400],
        );
    }
    for list in [
        "",
        ",",
        ";",
        "a;",
        "a;=b",
        "permessage-deflate; x=\"",
        "a b",
        "=;",
    ] {
        let line = format!("Sec-WebSocket-Extensions: {list}\r\n");
        add(
            format!("extensions `{list}`"),
            opening("/echo", &line).into_bytes(),
            &[400],
        );
    }
    for path in [
        "/echo%", "/echo%0", "/echo%zz", "/echo%00", "/echo#x", "echo", "*", "//", "http://",
        "/%ff%",
    ] {
        add(
            format!("target `{path}`"),
            opening(path, "").into_bytes(),
            &[400, 404, 421, 426],
        );
    }
    for (what, request) in [
        ("lines that end in LF", good.replace("\r\n", "\n")),
        ("lines that end in CR", good.replace("\r\n", "\r")),
        ("a folded line", opening("/echo", "X: a\r\n b\r\n")),
        ("a line without a colon", opening("/echo", "nonsense\r\n")),
        ("a line without a name", opening("/echo", ": x\r\n")),
        ("a blank before the colon", opening("/echo", "X : a\r\n")),
        (
            "a blank before the first name",
            good.replacen("\r\nHost", "\r\n Host", 1),
        ),
        ("a CR in a value", opening("/echo", "X: a\rb\r\n")),
        (
            "CR LF through the target",
            good.replacen("/echo", "/echo\r\nX: y", 1),
        ),
        ("no target", good.replacen("/echo ", "", 1)),
        ("two targets", good.replacen("/echo", "/echo /echo", 1)),
        (
            "a host that is none",
            good.replacen("localhost", "loc alhost", 1),
        ),
        ("TLS", "\u{16}\u{3}\u{1}\0\u{5}hello\r\n\r\n".into()),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into()),
        ("no HTTP", "hello\r\n\r\n".into()),
    ] {
        add(what.into(), request.into_bytes(), &[400, 421, 505]);
    }
    all
}

/// So many bytes of zeros in base64.
fn base64(bytes: usize) -> String {
    let digits = "A".repeat((bytes * 8).div_ceil(6));
    let padding = "=".repeat((3 - bytes % 3) % 3);
    digits + &padding
}
