//! The PROXY protocol with lengths that lie, and from peers that are not trusted.

use std::io::Write;
use std::net::{Ipv4Addr, Shutdown};

use crate::checks::{Checks, under_attack};
use crate::server::{Server, Setup, free_port};
use crate::wire::{connect, connect_from, exchange, opening, read_answer, status_of};
use crate::{Lab, Result};

/// A proxy that is trusted sends headers that are wrong; peers that are not trusted send right ones.
pub(crate) fn lies(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let proxied = free_port()?;
    let config = format!(
        "listen = [\"127.0.0.1:0\", \"proxy:127.0.0.1:{proxied}\"]\ntrusted_proxies = [\"{PROXY}\"]\n"
    );
    let setup = Setup {
        plugins: &["echo_wsh", "features_wsh"],
        config: &config,
        ..Setup::default()
    };
    let server = Server::start(&lab.artifacts, &setup)?;
    under_attack(&server, checks, |checks| {
        let request = opening("/features?handshake=client", "");
        let from_proxy = |header: &[u8]| -> Result<String> {
            let mut stream = connect_from(PROXY, proxied)?;
            // The server may have closed before it has read all.
            let _ = stream.write_all(&[header, request.as_bytes()].concat());
            let _ = stream.shutdown(Shutdown::Write);
            read_answer(&mut stream)
        };
        let right = from_proxy(&header(0x21, 0x11, 20, &body()))?;
        checks.holds(
            "a right header says the client",
            right.contains("X-Client: 192.0.2.7:4711"),
        );
        let lies = lies_of_a_proxy();
        let mut believed = Vec::new();
        for (what, header) in &lies {
            if !from_proxy(header)?.is_empty() {
                believed.push(what.as_str());
            }
        }
        checks.holds(
            format!(
                "{} of {} headers that lie closed without an answer {}",
                lies.len() - believed.len(),
                lies.len(),
                believed.join(", ")
            ),
            believed.is_empty(),
        );

        let tries = lab.either(1_000, 100);
        let (mut closed, mut no_upgrade, mut own_address) = (0, 0, 0);
        for number in 0..tries {
            let header = header(0x21, 0x11, 20, &body());
            let bytes = [&header, request.as_bytes()].concat();
            let mut stream = connect(proxied)?;
            let _ = stream.write_all(&bytes);
            closed += usize::from(read_answer(&mut stream)?.is_empty());
            no_upgrade += usize::from(status_of(&exchange(server.port, &bytes)?) != 101);
            let line = FORGED[number % FORGED.len()];
            let forged = opening("/features?handshake=client", line);
            let answer = exchange(server.port, forged.as_bytes())?;
            own_address += usize::from(answer.contains("X-Client: 127.0.1."));
        }
        checks.holds(
            format!(
                "{tries} peers that are not trusted: {closed} closed where proxies connect, {no_upgrade} without an \
                 upgrade elsewhere, {own_address} of {tries} with a forged address in their head known by their own"
            ),
            [closed, no_upgrade, own_address] == [tries; 3],
        );
        Ok(())
    })
}

/// Headers of which a part says another length, kind or sum than it has.
fn lies_of_a_proxy() -> Vec<(String, Vec<u8>)> {
    let mut lies = Vec::new();
    // 20 is right, and 12 leaves out the part.
    for length in (0..=300)
        .filter(|it| ![12, 20].contains(it))
        .chain([8192, 65535])
    {
        let bytes = header(0x21, 0x11, length, &body());
        lies.push((format!("a length of {length}"), bytes));
    }
    for length in (0..=300).filter(|it| *it != 5).chain([65535]) {
        let mut body = body();
        body[13..15].copy_from_slice(&u16::to_be_bytes(length));
        lies.push((format!("a part of {length}"), header(0x21, 0x11, 20, &body)));
    }
    for sum in 0..32 {
        let part = [&[3, 0, 4][..], &(1u32 << sum).to_be_bytes()].concat();
        let body = [&ADDRESSES[..], &part].concat();
        lies.push((format!("bit {sum} of a sum"), header(0x21, 0x11, 19, &body)));
    }
    for inside in 0..5 {
        // The part about TLS has a byte and a word before more parts.
        let part = [&[0x20, 0, inside][..], &vec![1; inside.into()]].concat();
        let body = [&ADDRESSES[..], &part].concat();
        let length = body.len() as u16;
        lies.push((
            format!("TLS of {inside}"),
            header(0x21, 0x11, length, &body),
        ));
    }
    for command in 0x22..=0x2f {
        lies.push((
            format!("command {command:x}"),
            header(command, 0x11, 20, &body()),
        ));
    }
    for family in 0x40..=0xff {
        lies.push((
            format!("family {family:x}"),
            header(0x21, family, 20, &body()),
        ));
    }
    for line in LINES {
        lies.push((line.to_owned(), format!("{line}\r\n").into_bytes()));
    }
    lies
}

/// A header of version 2 that says this length.
fn header(command: u8, family: u8, length: u16, body: &[u8]) -> Vec<u8> {
    let fixed = [command, family];
    [SIGNATURE, &fixed, &length.to_be_bytes(), body].concat()
}

/// The client 192.0.2.7:4711, and a part of five bytes.
fn body() -> Vec<u8> {
    [&ADDRESSES[..], &[4, 0, 5], &[0xff; 5]].concat()
}

const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 2, 1);
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const ADDRESSES: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x67, 1, 187];
const LINES: [&str; 8] = [
    "PROXY TCP4 192.0.2.7 10.0.0.1 4711",
    "PROXY TCP4 192.0.2.7 10.0.0.1 4711 443 1",
    "PROXY TCP4 192.0.2.7 10.0.0.1 4711 65536",
    "PROXY TCP4 192.0.2.777 10.0.0.1 4711 443",
    "PROXY TCP6 192.0.2.7 10.0.0.1 4711 443",
    "PROXY UDP4 192.0.2.7 10.0.0.1 4711 443",
    "proxy TCP4 192.0.2.7 10.0.0.1 4711 443",
    "",
];
const FORGED: [&str; 4] = [
    "X-Forwarded-For: 192.0.2.7\r\n",
    "X-Forwarded-For: 127.0.0.1, 192.0.2.7\r\nX-Real-IP: 192.0.2.7\r\n",
    "Forwarded: for=192.0.2.7\r\n",
    "X-Forwarded-For: nonsense\r\nForwarded: for=\"[2001:db8::1]\"\r\n",
];
