//! The body of a Close frame, both ways (RFC 6455 §5.5.1, §7.4).

use wsh::close_codes::NO_STATUS;
use wsh::rules::may_be_sent;

use super::violation::Violation;

/// The code and the reason of a Close frame; the code is [`NO_STATUS`] for an empty body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CloseBody {
    pub(crate) code: u16,
    pub(crate) reason: String,
}

/// Reads the code and the reason in the body of a peer's Close frame; [`NO_STATUS`] for an empty body.
pub(crate) fn parse(body: &[u8]) -> Result<(u16, &str), Violation> {
    match body {
        [] => Ok((NO_STATUS, "")),
        [_] => Err(Violation::CloseBody),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !may_be_sent(code) {
                return Err(Violation::CloseBody);
            }
            let reason = std::str::from_utf8(reason).map_err(|_| Violation::Utf8)?;
            Ok((code, reason))
        }
    }
}

/// Writes the body of a Close frame; code 0 and [`NO_STATUS`] make an empty one.
pub(crate) fn body(code: u16, reason: &str) -> Vec<u8> {
    if code == 0 || code == NO_STATUS {
        return Vec::new();
    }
    let mut body = Vec::with_capacity(2 + reason.len());
    body.extend_from_slice(&code.to_be_bytes());
    body.extend_from_slice(reason.as_bytes());
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_must_not_be_sent_are_refused_and_the_others_pass() {
        for code in [
            0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535,
        ] {
            let found = parse(&u16::to_be_bytes(code)).unwrap_err();
            assert_eq!(found, Violation::CloseBody, "code {code}");
        }
        for code in [
            1000, 1001, 1002, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 4999,
        ] {
            assert_eq!(parse(&u16::to_be_bytes(code)), Ok((code, "")));
        }
    }

    #[test]
    fn a_body_of_one_byte_is_malformed_and_an_empty_one_is_no_status() {
        assert_eq!(parse(b"\x03"), Err(Violation::CloseBody));
        assert_eq!(parse(b""), Ok((NO_STATUS, "")));
    }

    #[test]
    fn a_reason_is_utf8() {
        assert_eq!(parse(b"\x03\xe8bye"), Ok((1000, "bye")));
        assert_eq!(parse(b"\x03\xe8\xff"), Err(Violation::Utf8));
    }
}
