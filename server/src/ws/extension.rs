//! Reads `Sec-WebSocket-Extensions` (RFC 6455 §9.1): what a client offers, in its order.

use std::borrow::Cow;

/// One extension with its parameters, as the client wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer<'a> {
    pub(crate) name: &'a str,
    /// In the client's order. A repeated parameter is there as often.
    pub(crate) parameters: Vec<Parameter<'a>>,
}

/// `name` or `name=value`; a quoted value stands without its quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parameter<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: Option<Cow<'a, str>>,
}

/// A header line does not follow the grammar, so the handshake fails (RFC 6455 §9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`Sec-WebSocket-Extensions` is not a list of extensions")]
pub(crate) struct Malformed;

/// Reads every offer of all header lines, which together are one list (RFC 9110 §5.3).
pub(crate) fn parse<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<Offer<'a>>, Malformed> {
    let mut offers = Vec::new();
    let mut has_lines = false;
    for line in lines {
        has_lines = true;
        let mut reader = OfferReader { rest: line };
        loop {
            // Empty elements mean nothing (RFC 9110 §5.6.1).
            while reader.take(b',') {}
            if reader.rest.is_empty() {
                break;
            }
            offers.push(reader.offer()?);
            if !reader.rest.is_empty() && !reader.take(b',') {
                return Err(Malformed);
            }
        }
    }
    // The list has at least one element (RFC 6455 §9.1).
    if has_lines && offers.is_empty() {
        return Err(Malformed);
    }
    Ok(offers)
}

/// Reads one header line from its start.
struct OfferReader<'a> {
    rest: &'a [u8],
}

impl<'a> OfferReader<'a> {
    fn offer(&mut self) -> Result<Offer<'a>, Malformed> {
        let name = self.token()?;
        let mut parameters = Vec::new();
        while self.take(b';') {
            let name = self.token()?;
            let value = if self.take(b'=') {
                Some(self.value()?)
            } else {
                None
            };
            parameters.push(Parameter { name, value });
        }
        Ok(Offer { name, parameters })
    }

    fn value(&mut self) -> Result<Cow<'a, str>, Malformed> {
        if !self.take(b'"') {
            return self.token().map(Cow::Borrowed);
        }
        let mut value = String::new();
        loop {
            let (&byte, rest) = self.rest.split_first().ok_or(Malformed)?;
            self.rest = rest;
            let byte = match byte {
                b'"' => break,
                b'\\' => {
                    let (&escaped, rest) = self.rest.split_first().ok_or(Malformed)?;
                    self.rest = rest;
                    escaped
                }
                byte => byte,
            };
            // A value is a token, quoted or not.
            if !is_token_byte(byte) {
                return Err(Malformed);
            }
            value.push(char::from(byte));
        }
        self.skip_blanks();
        if value.is_empty() {
            return Err(Malformed);
        }
        Ok(Cow::Owned(value))
    }

    fn token(&mut self) -> Result<&'a str, Malformed> {
        self.skip_blanks();
        let length = self.rest.iter().take_while(|byte| is_token_byte(**byte));
        let (token, rest) = self.rest.split_at(length.count());
        self.rest = rest;
        self.skip_blanks();
        match std::str::from_utf8(token) {
            Ok(token) if !token.is_empty() => Ok(token),
            _ => Err(Malformed),
        }
    }

    /// Takes `byte`, and the blanks around it, if it is next.
    fn take(&mut self, byte: u8) -> bool {
        self.skip_blanks();
        let Some(rest) = self.rest.strip_prefix(&[byte]) else {
            return false;
        };
        self.rest = rest;
        // A quoted value keeps its blanks, and they make it malformed.
        if byte != b'"' {
            self.skip_blanks();
        }
        true
    }

    fn skip_blanks(&mut self) {
        while let [b' ' | b'\t', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }
}

/// A byte of a token (RFC 9110 §5.6.2).
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer<'a>(name: &'a str, parameters: &[(&'a str, Option<&'a str>)]) -> Offer<'a> {
        let parameter = |(name, value): &(&'a str, Option<&'a str>)| Parameter {
            name,
            value: value.map(Cow::Borrowed),
        };
        Offer {
            name,
            parameters: parameters.iter().map(parameter).collect(),
        }
    }

    #[test]
    fn offers_of_several_lines_are_one_list_in_order() {
        let lines: [&[u8]; 3] = [
            b"a; x = 1 ;y, ,\tb;z=\"q\\-r\"",
            b"",
            b"permessage-deflate; client_max_window_bits",
        ];
        let expected = vec![
            offer("a", &[("x", Some("1")), ("y", None)]),
            offer("b", &[("z", Some("q-r"))]),
            offer("permessage-deflate", &[("client_max_window_bits", None)]),
        ];
        assert_eq!(parse(lines.into_iter()), Ok(expected));
    }

    #[test]
    fn what_is_not_the_grammar_is_malformed() {
        for line in [
            "a b",
            "a;",
            "a; ;b",
            "a;b=",
            "a;b=\"",
            "a;b=\"c",
            "a;b=\"\"",
            "a;b=\"c d\"",
            "a;b=\"c\\",
            "a;b=\"c\"d",
            "=a",
            ";a",
            "a;=b",
            "a,;b",
            "a;b=c=d",
            "ä",
            "a;b=\"ä\"",
        ] {
            assert_eq!(
                parse([line.as_bytes()].into_iter()),
                Err(Malformed),
                "{line}"
            );
        }
    }
}
