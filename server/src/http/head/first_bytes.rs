//! Whether the first bytes of a connection can become a request.
//!
//! A client that speaks another protocol would wait for an answer that never comes, and its operator
//! would look for the fault elsewhere. So it is answered at once, and the log names what it speaks.

/// Why bytes cannot become a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotARequest {
    /// A TLS ClientHello on a listener without TLS.
    #[error(
        "TLS on a plain port: clients have to use http:// and ws:// here, or the server `--tls` and a certificate"
    )]
    Tls,
    /// Something other than TLS on a listener with it.
    #[error("no TLS on a TLS port: clients have to use https:// and wss:// here")]
    Plain,
    /// The preface of HTTP/2 with prior knowledge.
    #[error("HTTP/2 without being asked for it: this server speaks HTTP/1.1")]
    Http2,
    /// Another version of HTTP.
    #[error("another version than HTTP/1.1 and HTTP/1.0")]
    Version,
    #[error("an SSH client on an HTTP port")]
    Ssh,
    /// The first version of the PROXY protocol.
    #[error(
        "the PROXY protocol, which this server does not read: switch it off in the load balancer"
    )]
    ProxyProtocol,
    /// HTTP/0.9, among others.
    #[error("a request line without a version: wants `GET /path HTTP/1.1`")]
    NoVersion,
    #[error("a method of more than {METHOD_BYTES_MAX} bytes")]
    MethodTooLong,
    /// RFC 9112 §2.2 allows a server to read LF alone as the end of a line. Servers that differ in that can
    /// be made to see different requests, which is called request smuggling.
    #[error("a line that ends with LF: wants CR LF")]
    BareLineFeed,
    #[error("a control character in the head")]
    Control,
    #[error("empty lines instead of a request, as the PROXY protocol (version 2) begins")]
    EmptyLines,
    #[error("bytes that begin no request: wants `GET /path HTTP/1.1`")]
    NoRequestLine,
}

impl NotARequest {
    /// The status of the answer.
    pub(crate) fn status(self) -> u16 {
        match self {
            NotARequest::MethodTooLong => 501,
            NotARequest::Http2 | NotARequest::Version => 505,
            _ => 400,
        }
    }
}

/// Whether `head`, which is not whole, can become a request head. Its first `judged` bytes were judged by an
/// earlier call.
pub(crate) fn judge(head: &[u8], judged: usize) -> Result<(), NotARequest> {
    let line_end = head.iter().position(|byte| *byte == b'\n');
    // One empty line before a request is ignored (RFC 9112 §2.2).
    let (start, line_end) = match line_end {
        Some(1) if head[0] == b'\r' => {
            let next = head[2..].iter().position(|byte| *byte == b'\n');
            (2, next.map(|at| at + 2))
        }
        line_end => (0, line_end),
    };
    // A request line that was judged when it was whole needs no second look.
    if line_end.is_none_or(|line_end| line_end >= judged) {
        request_line(&head[start..line_end.map_or(head.len(), |end| end + 1)])?;
    }
    match line_end {
        Some(line_end) => lines(&head[line_end.max(judged.saturating_sub(1))..]),
        None => Ok(()),
    }
}

/// Judges a request line, or its beginning where it has no line feed yet.
fn request_line(line: &[u8]) -> Result<(), NotARequest> {
    if let [b'\r', rest @ ..] = line {
        return match rest {
            [] => Ok(()),
            _ => Err(NotARequest::NoRequestLine),
        };
    }
    if [&b"PROXY TCP"[..], b"PROXY UNKNOWN"]
        .iter()
        .any(|one| line.starts_with(one))
    {
        return Err(NotARequest::ProxyProtocol);
    }
    let method = line
        .iter()
        .take_while(|byte| wsh::rules::is_token_byte(**byte))
        .count();
    if method > METHOD_BYTES_MAX {
        return Err(NotARequest::MethodTooLong);
    }
    let (method, rest) = line.split_at(method);
    let rest = match (method, rest) {
        (_, []) => return Ok(()),
        ([_, ..], [b' ', rest @ ..]) => rest,
        _ => return Err(other_protocol(line)),
    };
    let target = rest
        .iter()
        .take_while(|byte| **byte > b' ' && **byte != 0x7f);
    let (target, rest) = rest.split_at(target.count());
    let version = match (target, rest) {
        (_, []) => return Ok(()),
        ([_, ..], [b' ', rest @ ..]) => rest,
        ([_, ..], [b'\r' | b'\n', ..]) => return Err(NotARequest::NoVersion),
        (_, [byte, ..]) if byte.is_ascii_control() => return Err(NotARequest::Control),
        _ => return Err(NotARequest::NoRequestLine),
    };
    let is_begun = |wanted: &[u8]| wanted.starts_with(version) || version.starts_with(wanted);
    if is_begun(b"HTTP/1.1\r\n") || is_begun(b"HTTP/1.0\r\n") {
        return Ok(());
    }
    Err(match version {
        [
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            b'1',
            b'.',
            b'0' | b'1',
            b'\n',
            ..,
        ] => NotARequest::BareLineFeed,
        [b'H', b'T', b'T', b'P', b'/', b'2', ..] if method == b"PRI" => NotARequest::Http2,
        [b'H', b'T', b'T', b'P', b'/', digit, ..] if digit.is_ascii_digit() => NotARequest::Version,
        _ => NotARequest::NoRequestLine,
    })
}

/// The protocol that begins with these bytes, if it is a known one.
fn other_protocol(line: &[u8]) -> NotARequest {
    match line {
        // The record of a handshake (RFC 8446 §5.1).
        [0x16, 0x03, ..] | [0x16] => NotARequest::Tls,
        [b'\n', ..] => NotARequest::BareLineFeed,
        line if line.starts_with(b"SSH-") => NotARequest::Ssh,
        _ => NotARequest::NoRequestLine,
    }
}

/// Judges header lines, from the line feed before them on.
fn lines(lines: &[u8]) -> Result<(), NotARequest> {
    for pair in lines.windows(2) {
        match pair {
            [before, b'\n'] if *before != b'\r' => return Err(NotARequest::BareLineFeed),
            [b'\r', after] if *after != b'\n' => return Err(NotARequest::Control),
            [_, 0] => return Err(NotARequest::Control),
            _ => {}
        }
    }
    Ok(())
}

/// Why bytes that end like a whole head are none, if their first bytes show it.
pub(crate) fn fault(head: &[u8]) -> Option<NotARequest> {
    // These bytes look like the end of a head.
    if head == b"\r\n\r\n" {
        return Some(NotARequest::EmptyLines);
    }
    judge(head, 0).err()
}

/// Whether a line of `head` ends with LF alone.
pub(crate) fn has_bare_line_feed(head: &[u8]) -> bool {
    // No branch for each byte, so that the compiler can take sixteen bytes at a time.
    let pairs = head.iter().zip(head.iter().skip(1));
    let bare = pairs.fold(0, |bare, (before, byte)| {
        bare | (u8::from(*byte == b'\n') & u8::from(*before != b'\r'))
    });
    bare != 0 || head.first() == Some(&b'\n')
}

/// The longest method that is registered has 17 bytes.
const METHOD_BYTES_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_cannot_become_a_request_is_named_by_its_first_bytes() {
        use NotARequest::*;
        for (bytes, expected) in [
            (&b"\x16\x03\x01\x02\x00\x01"[..], Tls),
            (b"\x16", Tls),
            (b"\x16\x02", NoRequestLine),
            (b"PRI * HTTP/2.0\r\n", Http2),
            (b"PRI * HTTP/2", Http2),
            (b"GET / HTTP/2.0\r\n", Version),
            (b"GET / HTTP/1.2\r\n", Version),
            (b"GET / HTTP/1.10\r\n", Version),
            (b"SSH-2.0-OpenSSH_9.2\r\n", Ssh),
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", ProxyProtocol),
            (b"GET /\r\n", NoVersion),
            (b"GET /\n", NoVersion),
            (b"GET / FTP/1.1\r\n", NoRequestLine),
            (b"GET  / HTTP/1.1\r\n", NoRequestLine),
            (b" GET / HTTP/1.1\r\n", NoRequestLine),
            (b"GET\t/ HTTP/1.1\r\n", NoRequestLine),
            (b"G\0", NoRequestLine),
            (b"GET /\0", Control),
            (b"GET /\x7f", Control),
            (b"{\"json\": 1}", NoRequestLine),
            (b"hello\r\n", NoRequestLine),
            (b"\n", BareLineFeed),
            (b"\nGET / HTTP/1.1\r\n", BareLineFeed),
            (b"\r\n\nGET", BareLineFeed),
            (b"\r\n\r\nGET", NoRequestLine),
            (b"\rGET", NoRequestLine),
            (b"GET / HTTP/1.1\n", BareLineFeed),
            (b"GET / HTTP/1.1\r\nHost: x\n", BareLineFeed),
            (b"GET / HTTP/1.1\r\nHost: x\n\n", BareLineFeed),
            (b"GET / HTTP/1.1\r\n\n", BareLineFeed),
            (b"GET / HTTP/1.1\r\nHost: x\r\r\n", Control),
            (b"GET / HTTP/1.1\r\nHost: \0", Control),
            (b"GET / HTTP/1.1\r\nA\r\0", Control),
            (&[b'A'; 33], MethodTooLong),
        ] {
            assert_eq!(judge(bytes, 0), Err(expected), "{}", bytes.escape_ascii());
            // The fault is found too when the bytes come one by one.
            let found = (1..=bytes.len()).find_map(|end| judge(&bytes[..end], end - 1).err());
            let shown = bytes.escape_ascii();
            // It may be another fault, since fewer bytes are known then.
            assert!(found.is_some(), "{shown}");
        }
        assert_eq!(fault(b"\r\n\r\n"), Some(EmptyLines));
        assert_eq!(
            (Tls.status(), Http2.status(), MethodTooLong.status()),
            (400, 505, 501)
        );
    }

    #[test]
    fn the_beginning_of_a_request_is_never_refused() {
        let request = b"\r\nUPDATEREDIRECTREF /a?b=\xc3\xa4 HTTP/1.0\r\nHost: x\r\nX: \xff\t\r\n";
        for start in [0, 2] {
            let request = &request[start..];
            for end in 0..=request.len() {
                for judged in 0..=end {
                    let shown = request[..end].escape_ascii();
                    assert_eq!(judge(&request[..end], judged), Ok(()), "{shown} {judged}");
                }
            }
        }
    }

    #[test]
    fn a_bare_line_feed_is_found_wherever_it_stands() {
        let head = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\r\n";
        assert!(!has_bare_line_feed(head));
        for at in 0..head.len() {
            let mut head = head.to_vec();
            let is_bare = at == 0 || head[at - 1] != b'\r';
            head[at] = b'\n';
            assert_eq!(
                has_bare_line_feed(&head),
                is_bare || head[at + 1..].first() == Some(&b'\n'),
                "{at}"
            );
        }
    }

    proptest! {
        /// Parts of requests and of other things, in any order, received in any pieces.
        #[test]
        fn what_is_no_request_is_found_whatever_the_reads_were(
            parts in proptest::collection::vec(0..14_usize, 0..12),
            reads in proptest::collection::vec(1..9_usize, 0..40),
        ) {
            let known: [&[u8]; 14] = [
                b"GET ", b"/ ", b"HTTP/1.1", b"\r\n", b"\r", b"\n", b"\0", b" ", b"Host: x", b"PRI * ",
                b"HTTP/2", b"PROXY TCP4 ", b"\x16\x03", b"AAAAAAAAAAAAAAAAAAAA",
            ];
            let bytes: Vec<u8> = parts.iter().flat_map(|part| known[*part].to_vec()).collect();
            // A whole head is not judged here.
            let end = super::super::Head::end(&bytes, 0);
            let bytes = &bytes[..end.map_or(bytes.len(), |end| end - 1)];
            let (mut judged, mut found) = (0, Ok(()));
            for length in reads.into_iter().chain([bytes.len()]) {
                let come = (judged + length).min(bytes.len());
                found = judge(&bytes[..come], judged);
                judged = come;
                if found.is_err() {
                    break;
                }
            }
            prop_assert_eq!(found.is_err(), judge(bytes, 0).is_err(), "{}", bytes.escape_ascii());
            prop_assert!(bytes.len() < 2 || end.is_some() || !has_bare_line_feed(bytes) || found.is_err());
        }
    }
}
