//! A position among the publications of a topic, and from where a subscription begins.

use std::{error::Error as StdError, fmt, str::FromStr};

use crate::abi::answer::POSITION_BYTES_MAX;

/// A position among the publications of a topic with history. A peer that says which position it has seen last can be
/// given what followed.
///
/// It is opaque, and means something for its topic only. Each server that works with the one that gave it understands it,
/// also after a restart, or recovers nothing from it. As text it is base64 for URLs (RFC 4648 §5), of at most 86
/// characters: by [`Display`](fmt::Display) and [`FromStr`], and with the feature `serde` also in JSON.
///
/// ```
/// use wsh::Position;
///
/// let position: Position = "AQIDBA".parse().unwrap();
/// assert_eq!(position.as_bytes(), [1, 2, 3, 4]);
/// assert_eq!(position.to_string(), "AQIDBA");
/// assert_eq!(serde_json::to_string(&position).unwrap(), "\"AQIDBA\"");
/// assert_eq!("no position!".parse::<Position>().unwrap_err().to_string(), "`no position!` is no position");
/// ```
///
/// A page of history, whose positions a client keeps, and what it has missed when it comes back with one:
///
/// ```
/// use wsh::{Start, prelude::*};
///
/// async fn news(conn: &mut AsyncConn, request: &Request<'_>) -> Result {
///     let seen = request.query("seen").and_then(|text| text.parse().ok());
///     conn.subscribe_from("news", Start::from(seen)).await?;
///     while let Some(message) = conn.recv().await {
///         let position = conn.publish_acked("news", message).await?;
///         wsh::debug!("published at {position}");
///     }
///     Ok(())
/// }
/// # let server = wsh::test::serve(wsh::descriptor!(async news));
/// # let mut ann = server.connect();
/// # ann.send("one");
/// # let line = server.log().iter().find_map(|line| line.message.strip_prefix("published at ").map(str::to_owned));
/// # ann.send("two");
/// # let mut ben = server.request(&format!("/?seen={}", line.unwrap())).connect();
/// # assert_eq!(ben.receive().unwrap(), "two");
/// # assert_eq!(ben.receive(), None);
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Position {
    len: u8,
    /// Bytes behind `len` are 0.
    bytes: [u8; POSITION_BYTES_MAX],
}

impl Position {
    /// The position of these bytes; `None` if there are none, or more than a position has.
    pub(crate) fn new(from: &[u8]) -> Option<Position> {
        let mut bytes = [0; POSITION_BYTES_MAX];
        bytes.get_mut(..from.len())?.copy_from_slice(from);
        let len = u8::try_from(from.len()).ok().filter(|len| *len > 0)?;
        Some(Position { len, bytes })
    }

    /// The bytes, 1 to 64, for a protocol that carries bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// The position that these bytes are.
impl TryFrom<&[u8]> for Position {
    type Error = NoPosition;

    fn try_from(bytes: &[u8]) -> Result<Self, NoPosition> {
        Position::new(bytes).ok_or_else(|| NoPosition::new(&String::from_utf8_lossy(bytes)))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(self.as_bytes().len() * 4 / 3 + 1);
        for chunk in self.as_bytes().chunks(3) {
            let bits = chunk.iter().enumerate().fold(0, |bits, (at, byte)| {
                bits | u32::from(*byte) << (16 - 8 * at)
            });
            // One character more than the bytes of the chunk; there is no padding.
            for at in 0..=chunk.len() {
                let digit = bits >> (18 - 6 * at) & 63;
                text.push(char::from(DIGITS[digit as usize]));
            }
        }
        f.pad(&text)
    }
}

impl FromStr for Position {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        decode(text)
            .and_then(|bytes| Position::new(&bytes))
            .ok_or_else(|| NoPosition::new(text))
    }
}

/// The bytes of a text in base64 for URLs. `None` if the text is no such text, or not the one that the bytes give.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(POSITION_BYTES_MAX);
    for chunk in text.as_bytes().chunks(4) {
        let mut bits = 0;
        for (at, character) in chunk.iter().enumerate() {
            let digit = DIGITS.iter().position(|digit| digit == character)?;
            bits |= u32::try_from(digit).ok()? << (18 - 6 * at);
        }
        let [_, first, second, third] = bits.to_be_bytes();
        let decoded = [first, second, third];
        let (whole, rest) = decoded.split_at(chunk.len().checked_sub(1)?);
        if whole.is_empty()
            || rest.iter().any(|byte| *byte != 0)
            || bytes.len() > POSITION_BYTES_MAX
        {
            return None;
        }
        bytes.extend_from_slice(whole);
    }
    Some(bytes)
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Position({self})")
    }
}

#[cfg(feature = "serde")]
impl serde_core::Serialize for Position {
    fn serialize<S: serde_core::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde_core::Deserialize<'de> for Position {
    fn deserialize<D: serde_core::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl serde_core::de::Visitor<'_> for Text {
            type Value = Position;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a position, in base64 for URLs")
            }

            fn visit_str<E: serde_core::de::Error>(self, text: &str) -> Result<Position, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// A text or bytes that are no [`Position`].
///
/// ```
/// let error = "".parse::<wsh::Position>().unwrap_err();
/// assert_eq!(error.to_string(), "`` is no position");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoPosition {
    found: String,
}

impl NoPosition {
    fn new(found: &str) -> Self {
        // It may come from a peer, and be of any length.
        let found = found.chars().take(FOUND_CHARS_MAX).collect();
        NoPosition { found }
    }
}

impl fmt::Display for NoPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no position", self.found.escape_debug())
    }
}

impl StdError for NoPosition {}

/// From where a subscription begins: with what is published from now on, or with some of what was published before.
///
/// ```
/// use wsh::{Position, Start};
///
/// let seen: Option<Position> = "AQIDBA".parse().ok();
/// let _ = Start::now(); // nothing of the history
/// let _ = Start::last(20); // the last 20 publications first
/// let _ = Start::after("AQIDBA".parse().unwrap()); // what followed this position first
/// let _ = Start::from(seen.clone()); // what followed this position first, or now if there is none
/// let _ = Start::from(seen).or_last(20); // as much, or the last 20 if that cannot be
/// ```
///
/// [`Joined::is_recovered`](crate::Joined::is_recovered) says whether everything since the position came.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Start {
    pub(crate) after: Option<Position>,
    pub(crate) last: u64,
}

impl Start {
    /// With what is published from now on.
    #[must_use]
    pub fn now() -> Start {
        Start::default()
    }

    /// With the last `count` publications. If the history has fewer, with all that it has.
    #[must_use]
    pub fn last(count: u64) -> Start {
        Start::now().or_last(count)
    }

    /// With everything that was published after a position. If not all of that is there any more, or if it is more than the
    /// session may have waiting, with what is published from now on: never with a part of it.
    #[must_use]
    pub fn after(position: Position) -> Start {
        Start::from(Some(position))
    }

    /// With the last `count` publications, where there is no position, or where it is not recovered: see
    /// [`Joined::is_recovered`](crate::Joined::is_recovered).
    #[must_use]
    pub fn or_last(self, count: u64) -> Start {
        Start {
            last: count,
            ..self
        }
    }

    pub(crate) fn after_bytes(&self) -> &[u8] {
        self.after.as_ref().map_or(&[], Position::as_bytes)
    }
}

/// After a position, or from now on if there is none.
impl From<Option<Position>> for Start {
    fn from(after: Option<Position>) -> Start {
        Start { after, last: 0 }
    }
}

impl From<Position> for Start {
    fn from(position: Position) -> Start {
        Start::after(position)
    }
}

// By hand: a crate would be compiled with every handler.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// How much of a text that is no position its error shows.
const FOUND_CHARS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_position_is_read_from_its_text() {
        let bytes: Vec<u8> = (0..64u8)
            .map(|at| at.wrapping_mul(37).wrapping_add(250))
            .collect();
        for len in 1..=64 {
            let position = Position::new(&bytes[..len]).unwrap();
            let text = position.to_string();
            assert_eq!(text.len(), (len * 8).div_ceil(6), "{text}");
            assert_eq!(text.parse(), Ok(position), "{text}");
        }
        // RFC 4648 §10, and the two characters that differ in URLs.
        for (bytes, text) in [
            (&b"f"[..], "Zg"),
            (b"fo", "Zm8"),
            (b"foobar", "Zm9vYmFy"),
            (b"\xfb\xff\xfe", "-__-"),
        ] {
            assert_eq!(Position::new(bytes).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_position_is_refused_with_its_beginning() {
        let too_long = "A".repeat(87);
        let long = "x".repeat(1000);
        for text in [
            "", "A", "Zg==", "Zh", "Zm9", "+/+/", "a b", &too_long, "ä", "A\n",
        ] {
            let error = text.parse::<Position>().unwrap_err().to_string();
            assert_eq!(error, format!("`{}` is no position", text.escape_debug()));
        }
        let error = long.parse::<Position>().unwrap_err();
        assert_eq!(error.to_string().len(), 100 + "`` is no position".len());
        assert_eq!(Position::new(&[]), None);
        assert_eq!(Position::new(&[0; 65]), None);
    }
}
