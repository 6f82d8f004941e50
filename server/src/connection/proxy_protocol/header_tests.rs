//! What is a header of the PROXY protocol, and what only looks like one.

use proptest::prelude::*;

use super::header::{HEADER_BYTES_MAX, HeaderFault, ProxyClient, ProxyHeader};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 2 with this command, family and body.
fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("a body of 16 bits");
    let fixed = [0x20 | command, family];
    [SIGNATURE, &fixed, &length.to_be_bytes(), body].concat()
}

/// A header of a client at 192.0.2.1, with these parts behind its addresses.
fn with_parts(parts: &[u8]) -> Vec<u8> {
    let addresses = [192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x67, 1, 187];
    binary(1, 0x11, &[&addresses, parts].concat())
}

fn part(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("16 bits");
    [&[kind][..], &length.to_be_bytes(), value].concat()
}

fn client(bytes: &[u8]) -> Result<String, HeaderFault> {
    let header = ProxyHeader::parse(bytes)?;
    Ok(match header {
        None => "more".to_owned(),
        Some(header) => match header.client {
            ProxyClient::Address(address) => format!("{address} {}", header.length),
            ProxyClient::Proxy => format!("proxy {}", header.length),
            ProxyClient::Unknown => format!("unknown {}", header.length),
        },
    })
}

#[test]
fn a_line_of_version_1_says_the_client_exactly() {
    for (line, expected) in [
        (
            "PROXY TCP4 192.0.2.1 10.0.0.1 4711 443\r\n",
            "192.0.2.1:4711 40",
        ),
        (
            "PROXY TCP6 2001:db8::1 ::1 4711 443\r\n",
            "[2001:db8::1]:4711 37",
        ),
        ("PROXY TCP6 ::ffff:192.0.2.1 ::1 0 0\r\n", "192.0.2.1:0 37"),
        (
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\nGET",
            "255.255.255.255:65535 56",
        ),
        ("PROXY UNKNOWN\r\n", "unknown 15"),
        ("PROXY UNKNOWN ffff::1 anything at all\r\n", "unknown 39"),
    ] {
        assert_eq!(client(line.as_bytes()), Ok(expected.to_owned()), "{line}");
    }
    for line in [
        "PROXY TCP4 192.0.2.1 10.0.0.1 4711\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 4711 443 \r\n",
        "PROXY TCP4  192.0.2.1 10.0.0.1 4711 443\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 04711 443\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 +4711 443\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 65536 443\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 4711 \r\n",
        "PROXY TCP4 192.0.2.01 10.0.0.1 4711 443\r\n",
        "PROXY TCP4 ::1 ::1 4711 443\r\n",
        "PROXY TCP6 192.0.2.1 10.0.0.1 4711 443\r\n",
        "PROXY TCP6 fe80::1%eth0 ::1 4711 443\r\n",
        "PROXY TCP4 192.0.2.1 nowhere 4711 443\r\n",
        "PROXY UDP4 192.0.2.1 10.0.0.1 4711 443\r\n",
        "PROXY tcp4 192.0.2.1 10.0.0.1 4711 443\r\n",
        "PROXY \r\n",
        "PROXY TCP4\t192.0.2.1 10.0.0.1 4711 443\r\n",
    ] {
        assert_eq!(client(line.as_bytes()), Err(HeaderFault::Line), "{line}");
    }
    let long = format!("PROXY UNKNOWN {}", "x".repeat(93));
    assert_eq!(client(long.as_bytes()), Err(HeaderFault::LongLine));
    assert_eq!(client(&long.as_bytes()[..106]), Ok("more".to_owned()));
    // A line feed alone ends no line.
    let bare = "PROXY TCP4 192.0.2.1 10.0.0.1 4711 443\nGET / HTTP/1.1\r\n";
    assert_eq!(client(bare.as_bytes()), Err(HeaderFault::Line));
}

#[test]
fn version_2_says_the_client_or_that_it_is_the_proxy_itself() {
    let v6 = [
        &[0x20, 0x01, 0x0d, 0xb8][..],
        &[0; 11],
        &[1],
        &[0; 16],
        &[0x12, 0x67, 0, 1],
    ]
    .concat();
    let mapped = [
        &[0; 10][..],
        &[0xff; 2],
        &[192, 0, 2, 1],
        &[0; 16],
        &[0, 7, 0, 1],
    ]
    .concat();
    for (bytes, expected) in [
        (with_parts(b""), "192.0.2.1:4711 28"),
        (binary(1, 0x21, &v6), "[2001:db8::1]:4711 52"),
        (binary(1, 0x21, &mapped), "192.0.2.1:7 52"),
        (binary(1, 0x31, &[0; 216]), "unknown 232"),
        (binary(1, 0x00, b""), "unknown 16"),
        (binary(1, 0x00, b"anything"), "unknown 24"),
        (binary(1, 0x12, &[9; 12]), "unknown 28"),
        (binary(0, 0x00, b""), "proxy 16"),
        // A proxy may say its own addresses, or anything else, which is passed over.
        (binary(0, 0x11, &[9; 3]), "proxy 19"),
        (
            [with_parts(b""), b"GET / HTTP".to_vec()].concat(),
            "192.0.2.1:4711 28",
        ),
    ] {
        assert_eq!(client(&bytes), Ok(expected.to_owned()), "{bytes:?}");
    }
    for (bytes, fault) in [
        (b"GET / HTTP/1.1\r\n".to_vec(), HeaderFault::NoHeader),
        (b"\x16\x03\x01".to_vec(), HeaderFault::NoHeader),
        (b"\r\n\r\n\0\r\nQUIT\r".to_vec(), HeaderFault::NoHeader),
        ([SIGNATURE, &[0x11]].concat(), HeaderFault::Version),
        (
            [SIGNATURE, &[0x31, 0x11, 0, 12]].concat(),
            HeaderFault::Version,
        ),
        (binary(2, 0x11, &[0; 12]), HeaderFault::Kind),
        (binary(1, 0x41, &[0; 12]), HeaderFault::Kind),
        (binary(1, 0x13, &[0; 12]), HeaderFault::Kind),
        (binary(1, 0x11, &[0; 11]), HeaderFault::Short),
        (binary(1, 0x21, &[0; 35]), HeaderFault::Short),
        (binary(1, 0x31, &[0; 215]), HeaderFault::Short),
        (binary(1, 0x00, &[0; 8177]), HeaderFault::TooLong),
    ] {
        assert_eq!(client(&bytes), Err(fault), "{bytes:?}");
    }
    assert_eq!(
        client(&binary(1, 0x00, &[0; 8176])),
        Ok(format!("unknown {HEADER_BYTES_MAX}"))
    );
}

#[test]
fn the_length_of_a_part_is_believed_no_further_than_the_header_goes() {
    let tls = |flags: u8| [&[flags][..], &[0; 4], &part(0x21, b"TLSv1.3")].concat();
    for (parts, is_tls) in [
        (vec![], None),
        (part(4, b""), None),
        (part(4, &[0; 300]), None),
        (part(0x20, &tls(1)), Some(true)),
        (part(0x20, &tls(0)), Some(false)),
        (
            [part(4, b"x"), part(0x20, &tls(7)), part(0xee, b"y")].concat(),
            Some(true),
        ),
    ] {
        let header = ProxyHeader::parse(&with_parts(&parts))
            .expect("right")
            .expect("whole");
        assert_eq!(header.is_tls, is_tls, "{parts:?}");
    }
    for parts in [
        vec![4],
        vec![4, 0],
        vec![4, 0, 1],
        vec![4, 0xff, 0xff, 0],
        [part(4, b"x"), vec![4, 0, 9, 0]].concat(),
        part(0x20, &[]),
        part(0x20, &[1, 0, 0, 0]),
        part(0x20, &[1, 0, 0, 0, 0, 0x21, 0, 9]),
        part(0x20, &[1, 0, 0, 0, 0, 0x21]),
        part(0x03, &[0; 3]),
        part(0x03, &[0; 5]),
    ] {
        let fault = ProxyHeader::parse(&with_parts(&parts));
        assert_eq!(fault, Err(HeaderFault::Part), "{parts:?}");
    }
}

#[test]
fn a_header_with_a_checksum_is_taken_only_if_that_is_right() {
    // The figure is computed apart from this code; its CRC of `123456789` is 0xe306_9283, as the standard says.
    let right = with_parts(&part(0x03, &CHECKSUM.to_be_bytes()));
    assert_eq!(client(&right), Ok("192.0.2.1:4711 35".to_owned()));
    // Byte 28 is the type of the part: with another one there is no checksum.
    for at in (12..right.len()).filter(|at| *at != 28) {
        let mut wrong = right.clone();
        wrong[at] ^= 1;
        assert!(
            !matches!(client(&wrong), Ok(found) if found.starts_with("192.0.2.1:4711 ")),
            "{at}"
        );
    }
}

const CHECKSUM: u32 = 0x9a17_d8b5;

proptest! {
    /// A header that is cut anywhere is one that waits for more, and its end does not depend on what follows it.
    #[test]
    fn a_header_in_pieces_is_the_header(
        source: [u8; 4],
        port: u16,
        parts in proptest::collection::vec((4..=5_u8, proptest::collection::vec(any::<u8>(), 0..40)), 0..4),
        behind in proptest::collection::vec(any::<u8>(), 0..40),
        is_line: bool,
    ) {
        let address = std::net::Ipv4Addr::from(source);
        let header = match is_line {
            true => format!("PROXY TCP4 {address} 10.0.0.1 {port} 443\r\n").into_bytes(),
            false => {
                let parts = parts.iter().flat_map(|(kind, value)| part(*kind, value));
                let body = source.into_iter().chain([10, 0, 0, 1]).chain(port.to_be_bytes()).chain([1, 187]);
                binary(1, 0x11, &body.chain(parts).collect::<Vec<u8>>())
            }
        };
        for cut in 0..header.len() {
            prop_assert_eq!(ProxyHeader::parse(&header[..cut]), Ok(None), "{}", cut);
        }
        let expected = ProxyHeader {
            length: header.len(),
            client: ProxyClient::Address((address, port).into()),
            is_tls: None,
        };
        let all = [header, behind].concat();
        prop_assert_eq!(ProxyHeader::parse(&all), Ok(Some(expected)));
    }

    /// Whatever bytes come, a header lies inside them, and what was a fault stays one when more bytes come.
    #[test]
    fn any_bytes_are_a_header_inside_them_or_none(
        start in 0..3_usize,
        rest in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let start: &[u8] = [b"".as_slice(), b"PROXY ", SIGNATURE][start];
        let bytes = [start, &rest].concat();
        let whole = ProxyHeader::parse(&bytes);
        if let Ok(Some(header)) = &whole {
            prop_assert!(header.length <= bytes.len());
        }
        for cut in 0..bytes.len() {
            match ProxyHeader::parse(&bytes[..cut]) {
                Ok(None) => {}
                earlier => prop_assert_eq!(&earlier, &whole),
            }
        }
    }
}
