//! Compressed forms of a file that lie beside it: `app.js.br`, `app.js.zst` and `app.js.gz` of `app.js`.
//!
//! The server compresses no file itself: a build does that once, and better.

use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::lookup::{below, open};
use crate::http::head::Head;

/// How a file is compressed (RFC 9110 §8.4.1), in the order in which the server prefers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Brotli,
    Zstandard,
    Gzip,
}

/// Which codings a client takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct AcceptedCodings([bool; CODINGS.len()]);

/// A file, or the compressed form of it that the client takes.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) file: File,
    pub(super) metadata: Metadata,
    /// `None` for the file itself.
    pub(super) coding: Option<Coding>,
    /// Whether another client may get another form of it, which caches have to be told.
    pub(super) varies: bool,
}

const CODINGS: [Coding; 3] = [Coding::Brotli, Coding::Zstandard, Coding::Gzip];

impl Coding {
    /// Its name in `Accept-Encoding` and `Content-Encoding`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Coding::Brotli => "br",
            Coding::Zstandard => "zstd",
            Coding::Gzip => "gzip",
        }
    }

    /// What a file's name has behind it.
    fn ending(self) -> &'static str {
        match self {
            Coding::Brotli => ".br",
            Coding::Zstandard => ".zst",
            Coding::Gzip => ".gz",
        }
    }
}

impl AcceptedCodings {
    /// The codings that the request takes (RFC 9110 §12.5.3). Of weights only 0 counts, which refuses: the smallest form
    /// that a client takes is the best for both.
    pub(super) fn of(head: &Head) -> AcceptedCodings {
        let mut all = false;
        let mut named = [None; CODINGS.len()];
        for element in head.elements("accept-encoding") {
            let mut parts = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let name = parts.next().unwrap_or_default();
            let is_taken = !parts.any(is_zero_weight);
            if name == b"*" {
                all = is_taken;
            }
            // `x-gzip` is an old name of gzip.
            let name = name.strip_prefix(b"x-").unwrap_or(name);
            let coding = CODINGS
                .iter()
                .position(|it| it.name().as_bytes().eq_ignore_ascii_case(name));
            if let Some(coding) = coding {
                named[coding] = Some(is_taken);
            }
        }
        AcceptedCodings(named.map(|named| named.unwrap_or(all)))
    }
}

/// Whether this parameter is a weight of 0, in any of its forms: `q=0`, `Q=0.000`.
fn is_zero_weight(parameter: &[u8]) -> bool {
    let value = parameter
        .strip_prefix(b"q=")
        .or_else(|| parameter.strip_prefix(b"Q="));
    value.is_some_and(|value| {
        value.starts_with(b"0") && value.iter().all(|byte| matches!(byte, b'0' | b'.'))
    })
}

/// The form of an opened file that a client gets. `real` is the file's path, below `root`.
pub(super) fn choose(
    root: &Path,
    real: &Path,
    file: File,
    metadata: Metadata,
    accepted: AcceptedCodings,
) -> io::Result<Form> {
    let modified = metadata.modified()?;
    let mut form = Form {
        file,
        metadata,
        coding: None,
        varies: false,
    };
    for (coding, is_accepted) in CODINGS.into_iter().zip(accepted.0) {
        let Some((compressed, metadata)) = compressed(root, real, coding) else {
            continue;
        };
        // An older one is of an earlier version of the file.
        if metadata.modified()? < modified {
            continue;
        }
        form.varies = true;
        if is_accepted && form.coding.is_none() {
            (form.file, form.metadata) = (compressed, metadata);
            form.coding = Some(coding);
        }
    }
    Ok(form)
}

/// The compressed form of the file at `real`, if it lies beside it and may be served.
fn compressed(root: &Path, real: &Path, coding: Coding) -> Option<(File, Metadata)> {
    let mut name = real.as_os_str().to_owned();
    name.push(coding.ending());
    // Nearly always nothing lies there, and the file itself is served after any error.
    let path = below(root, &PathBuf::from(name)).ok()??;
    open(&path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(value: &str) -> Vec<&'static str> {
        let head = format!("GET / HTTP/1.1\r\n{value}\r\n\r\n");
        let head = Head::parse(head.as_bytes().into(), 8).expect("a head");
        let accepted = AcceptedCodings::of(&head).0;
        let taken = CODINGS.into_iter().zip(accepted).filter(|(_, is)| *is);
        taken.map(|(coding, _)| coding.name()).collect()
    }

    #[test]
    fn a_client_takes_the_codings_that_it_names_and_does_not_refuse() {
        let none: [&str; 0] = [];
        for (value, wanted) in [
            ("Accept: x", &none[..]),
            ("Accept-Encoding:", &none),
            ("Accept-Encoding: identity", &none),
            (
                "Accept-Encoding: gzip, deflate, br, zstd",
                &["br", "zstd", "gzip"],
            ),
            ("Accept-Encoding: GZIP;q=0.1", &["gzip"]),
            ("Accept-Encoding: x-gzip", &["gzip"]),
            ("Accept-Encoding: br;q=0, gzip", &["gzip"]),
            ("Accept-Encoding: br ; Q=0.000, *", &["zstd", "gzip"]),
            ("Accept-Encoding: *;q=0, zstd", &["zstd"]),
            ("Accept-Encoding: gzip;q=0.001", &["gzip"]),
            ("Accept-Encoding: brotli", &none),
        ] {
            assert_eq!(accepted(value), wanted, "{value}");
        }
    }
}
