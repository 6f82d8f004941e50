//! What a request says of its user: the header `Authorization` (RFC 9110 §11.6.2).

use data_encoding::BASE64;

/// What stands in the header.
#[derive(PartialEq, Eq)]
pub(crate) enum Authorization {
    /// A user and a password (RFC 7617).
    Basic { user: String, password: Vec<u8> },
    /// A token (RFC 6750).
    Bearer(Vec<u8>),
    /// Nothing that can let a peer in: no header, another scheme, or a name that no user can have.
    Nothing,
}

impl Authorization {
    /// Reads the values of all lines of the header.
    ///
    /// # Errors
    ///
    /// A rule of HTTP or of the scheme is broken. The text is for the peer, and has nothing of the header.
    pub(crate) fn read<'a>(
        mut values: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Authorization, &'static str> {
        let Some(value) = values.next() else {
            return Ok(Authorization::Nothing);
        };
        if values.next().is_some() {
            return Err("`Authorization` stands there more than once");
        }
        let value = value.trim_ascii();
        let end = value.iter().position(|byte| *byte == b' ');
        let (scheme, rest) = value.split_at(end.unwrap_or(value.len()));
        let rest = rest.trim_ascii();
        // Names of schemes have no case (RFC 9110 §11.1).
        if scheme.eq_ignore_ascii_case(b"basic") {
            return basic(rest);
        }
        if scheme.eq_ignore_ascii_case(b"bearer") {
            let is_token = !rest.is_empty() && rest.iter().all(|byte| is_of_token(*byte));
            return match is_token {
                true => Ok(Authorization::Bearer(rest.to_vec())),
                false => Err("`Authorization: Bearer` has no token"),
            };
        }
        Ok(Authorization::Nothing)
    }
}

/// Reads what follows `Basic`. The first colon ends the name, so a password may have colons and be empty.
fn basic(encoded: &[u8]) -> Result<Authorization, &'static str> {
    let pair = BASE64.decode(encoded);
    let pair = pair.map_err(|_| "`Authorization: Basic` is not in Base64")?;
    let Some(colon) = pair.iter().position(|byte| *byte == b':') else {
        return Err("`Authorization: Basic` has no colon");
    };
    if pair.iter().any(u8::is_ascii_control) {
        return Err("`Authorization: Basic` has a control character");
    }
    let (user, password) = (&pair[..colon], &pair[colon + 1..]);
    // What is longer costs more to hash than it should, and no password of a user is as long.
    if pair.len() > PAIR_BYTES_MAX {
        return Ok(Authorization::Nothing);
    }
    // The challenge asks for UTF-8, so a name in another encoding is that of no user.
    Ok(match std::str::from_utf8(user) {
        Ok(user) => Authorization::Basic {
            user: user.to_owned(),
            password: password.to_vec(),
        },
        Err(_) => Authorization::Nothing,
    })
}

/// Whether a token can have this byte (RFC 9110 §11.2, `token68`).
fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte)
}

/// The bytes that a name, the colon and a password have together at most.
const PAIR_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&[u8]]) -> Result<Authorization, &'static str> {
        Authorization::read(values.iter().copied())
    }

    fn read_basic(pair: &[u8]) -> Result<Authorization, &'static str> {
        read(&[format!("Basic {}", BASE64.encode(pair)).as_bytes()])
    }

    fn is_pair(found: &Result<Authorization, &'static str>, name: &str, secret: &[u8]) -> bool {
        let Ok(Authorization::Basic { user, password }) = found else {
            return false;
        };
        user == name && password == secret
    }

    #[test]
    fn schemes_have_no_case_and_blanks_around_do_not_count() {
        // ann:tea
        for value in [
            "Basic YW5uOnRlYQ==",
            "basic YW5uOnRlYQ==",
            "BASIC   YW5uOnRlYQ==",
            " bAsIc YW5uOnRlYQ== ",
        ] {
            let found = read(&[value.as_bytes()]);
            assert!(is_pair(&found, "ann", b"tea"), "{value}");
        }
        for value in ["Bearer a-._~+/=9", "bearer  a-._~+/=9 "] {
            let token = b"a-._~+/=9".to_vec();
            assert!(read(&[value.as_bytes()]) == Ok(Authorization::Bearer(token)));
        }
    }

    #[test]
    fn the_first_colon_ends_the_name() {
        for (pair, user, password) in [
            ("ann:", "ann", ""),
            (":tea", "", "tea"),
            (":", "", ""),
            ("ann:a:b:", "ann", "a:b:"),
            ("ann: tea ", "ann", " tea "),
            ("an n:tea", "an n", "tea"),
            ("größe:ü€", "größe", "ü€"),
        ] {
            let found = read_basic(pair.as_bytes());
            assert!(is_pair(&found, user, password.as_bytes()), "{pair}");
        }
        // A password may be in any encoding, the name only in UTF-8.
        assert!(is_pair(&read_basic(b"ann:\xfc"), "ann", b"\xfc"));
        assert!(read_basic(b"gr\xf6\xdfe:tea") == Ok(Authorization::Nothing));
        let longest = format!("ann:{}", "x".repeat(PAIR_BYTES_MAX - 4));
        assert!(is_pair(
            &read_basic(longest.as_bytes()),
            "ann",
            &longest.as_bytes()[4..]
        ));
        let longer = longest + "x";
        assert!(read_basic(longer.as_bytes()) == Ok(Authorization::Nothing));
    }

    #[test]
    fn what_breaks_a_rule_is_told_apart_from_what_is_not_known() {
        let twice = "`Authorization` stands there more than once";
        assert!(read(&[b"Basic YW5uOnRlYQ==", b"Basic YW5uOnRlYQ=="]) == Err(twice));
        assert!(read(&[b"Digest a", b""]) == Err(twice));
        let encoding = "`Authorization: Basic` is not in Base64";
        for value in [
            "Basic YW5uOnRlYQ",
            "Basic YW5u OnRlYQ==",
            "Basic !",
            "Basic a,b",
        ] {
            assert!(read(&[value.as_bytes()]) == Err(encoding), "{value}");
        }
        let colon = Err("`Authorization: Basic` has no colon");
        for value in ["Basic", "Basic ", "Basic YW5u"] {
            assert!(read(&[value.as_bytes()]) == colon, "{value}");
        }
        let control = Err("`Authorization: Basic` has a control character");
        for pair in ["an\nn:tea", "ann:t\0ea", "ann:tea\x7f"] {
            assert!(read_basic(pair.as_bytes()) == control, "{pair:?}");
        }
        let token = Err("`Authorization: Bearer` has no token");
        for value in [
            "Bearer",
            "Bearer ",
            "Bearer a b",
            "Bearer a,b",
            "Bearer \"a\"",
        ] {
            assert!(read(&[value.as_bytes()]) == token, "{value}");
        }
        for value in [
            "",
            "Digest username=\"ann\"",
            "Basic2 YW5uOnRlYQ==",
            "YW5uOnRlYQ==",
        ] {
            assert!(
                read(&[value.as_bytes()]) == Ok(Authorization::Nothing),
                "{value}"
            );
        }
        assert!(read(&[]) == Ok(Authorization::Nothing));
    }
}
