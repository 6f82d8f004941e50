//! Aliases and patterns from `[routes]` and from pywebsocket's map file, checked against each other.

use std::collections::HashMap;
use std::path::Path;

use matchit::InsertError;
use percent_encoding::percent_decode_str;

use super::Route;
use super::error::ConfigError;
use super::fault::{ConfigFault, RouteFault, What};
use super::source::{Place, Source};
use super::values::{FileEntry, Reader};
use crate::process::regular_file::Content;

/// The routes that were read so far. No two of them answer one path.
#[derive(Clone, Default)]
pub(super) struct Routes {
    written: Vec<Route>,
    /// The index in `written` of each pattern.
    places: HashMap<String, usize>,
    tree: matchit::Router<()>,
}

impl Routes {
    /// Reads one line of `[routes]`. Its target may be an alias of a line above.
    pub(super) fn read(&mut self, reader: &mut Reader<'_>, entry: FileEntry<'_>) {
        let target = entry.value.get_ref().as_str();
        let Some(target) = target.filter(|target| is_path(target)) else {
            // Only the slash is missing.
            let slashed = target
                .filter(|target| !target.contains(':'))
                .map(|target| format!("/{target}"))
                .filter(|target| is_path(target));
            reader.unwanted(
                entry,
                "the path of a handler like `/echo`",
                slashed.as_deref(),
            );
            return;
        };
        let place = reader.key_place(entry);
        if let Err(why) = self.add(entry.key, target, place.clone()) {
            reader.fault(
                place,
                What::BadRoute {
                    route: entry.key.to_owned(),
                    why,
                },
            );
        }
    }

    /// These routes, and those of pywebsocket's map file: lines `alias existing`, where `existing` may be an alias of a
    /// line above.
    pub(super) fn with_map_file(
        &self,
        path: &Path,
        content: &Content,
        working_dir: &Path,
    ) -> Result<Routes, ConfigError> {
        let mut routes = self.clone();
        let source = Source::of(content, path, working_dir)?;
        let mut faults = Vec::new();
        // Editors of other systems begin a text with a byte order mark.
        let text = source.text();
        let lines = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut at = text.len() - lines.len();
        for line in lines.split_inclusive('\n') {
            let words: Vec<_> = line.split_whitespace().collect();
            let start = at + (line.len() - line.trim_start().len());
            let place = source.place(start..at + line.trim_end().len());
            at += line.len();
            let what = match words.as_slice() {
                [] => continue,
                [first, ..] if first.starts_with('#') => continue,
                [alias, existing] => match routes.map(alias, existing, place.clone()) {
                    Ok(()) => continue,
                    Err((route, why)) => What::BadRoute { route, why },
                },
                _ => What::MapLine {
                    found: words.join(" "),
                },
            };
            faults.push(ConfigFault { place, what });
        }
        if faults.is_empty() {
            Ok(routes)
        } else {
            Err(ConfigError::Faults(faults))
        }
    }

    /// The routes in the order written.
    pub(super) fn into_vec(self) -> Vec<Route> {
        self.written
    }

    fn with_pattern(&self, pattern: &str) -> Option<&Route> {
        self.written.get(*self.places.get(pattern)?)
    }

    fn map(
        &mut self,
        alias: &str,
        existing: &str,
        place: Place,
    ) -> Result<(), (String, RouteFault)> {
        if !existing.starts_with('/') {
            return Err((existing.to_owned(), RouteFault::NoSlash));
        }
        // A brace in a map file is a brace, and a star a star.
        let pattern = alias.replace('{', "{{").replace('}', "}}");
        self.insert(&pattern, existing, place)
            .map_err(|why| (alias.to_owned(), why))
    }

    fn add(&mut self, pattern: &str, target: &str, place: Place) -> Result<(), RouteFault> {
        if let Some(meant) = in_braces(pattern) {
            return Err(RouteFault::OtherSyntax { meant });
        }
        parameters(pattern)?;
        self.insert(pattern, target, place)
    }

    fn insert(&mut self, pattern: &str, target: &str, place: Place) -> Result<(), RouteFault> {
        if !pattern.starts_with('/') {
            return Err(RouteFault::NoSlash);
        }
        if pattern.contains(['?', '#']) {
            return Err(RouteFault::NotOnlyAPath);
        }
        asked_for(pattern)?;
        self.tree.insert(pattern, ()).map_err(|error| match error {
            InsertError::Conflict { with } => {
                let other = self.with_pattern(&with);
                RouteFault::Conflict {
                    place: other.map(|route| route.place.clone()),
                    with,
                }
            }
            InsertError::InvalidParamSegment => RouteFault::TwoParameters,
            InsertError::InvalidCatchAll => RouteFault::CatchAll,
            // The other errors of `matchit` are about parameters, and so may be those to come.
            _ => RouteFault::Parameter,
        })?;
        let aliased = self.with_pattern(target);
        let target = aliased.map_or(target, |route| &route.target).to_owned();
        self.places.insert(pattern.to_owned(), self.written.len());
        self.written.push(Route {
            pattern: pattern.to_owned(),
            target,
            place,
        });
        Ok(())
    }
}

/// The pattern with its parameters in braces, if it has them as other servers write them: `/ws/*`,
/// `/files/**`, `/files/*path`, `/rooms/:room`, `/rooms/<room>`.
fn in_braces(pattern: &str) -> Option<String> {
    let count = pattern.split('/').count();
    let segments = pattern.split('/').enumerate();
    let segments = segments.map(|(index, segment)| {
        let named = |name: &str, default: &str| match name {
            "" => default.to_owned(),
            name => name.to_owned(),
        };
        let is_last = index + 1 == count;
        if let Some(name) = segment.strip_prefix('*') {
            let (star, default) = if is_last { ("*", "path") } else { ("", "name") };
            let name = named(name.trim_start_matches('*'), default);
            return format!("{{{star}{name}}}");
        }
        let name = segment.strip_prefix(':').filter(|name| !name.is_empty());
        let bracketed = || segment.strip_prefix('<')?.strip_suffix('>');
        match name.or_else(bracketed) {
            Some(name) => format!("{{{name}}}"),
            None => segment.to_owned(),
        }
    });
    let meant = segments.collect::<Vec<_>>().join("/");
    (meant != pattern).then_some(meant)
}

/// Checks that each parameter has a name, that no two have one name, and that no `*` stands beside them.
fn parameters(pattern: &str) -> Result<(), RouteFault> {
    // A literal brace is written twice.
    let plain = pattern.replace("{{", "").replace("}}", "");
    let mut names: Vec<&str> = Vec::new();
    let mut rest = plain.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        // An unclosed brace is a fault that `matchit` finds.
        let Some((written, behind)) = after.split_once('}') else {
            return Ok(());
        };
        if before.contains('*') {
            return Err(RouteFault::Star);
        }
        let name = written.strip_prefix('*').unwrap_or(written);
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        if !name.chars().all(is_name) {
            let name = written.to_owned();
            return Err(RouteFault::ParameterName { name });
        }
        if names.contains(&name) && !name.is_empty() {
            let name = name.to_owned();
            return Err(RouteFault::SameParameter { name });
        }
        names.push(name);
        rest = behind;
    }
    match rest.contains('*') {
        true => Err(RouteFault::Star),
        false => Ok(()),
    }
}

/// Checks that a client can ask for this path, and that the server does not answer it itself.
fn asked_for(pattern: &str) -> Result<(), RouteFault> {
    if pattern.chars().any(char::is_control) {
        return Err(RouteFault::Control);
    }
    if let Some(decoded) = decoded(pattern) {
        return Err(RouteFault::Encoded {
            meant: decoded.filter(|decoded| !decoded.contains(char::is_control)),
        });
    }
    // URLs of the schemes ws, wss, http and https (WHATWG URL, "special").
    let slashed = pattern.replace('\\', "/");
    let mut segments: Vec<&str> = Vec::new();
    for segment in slashed.split('/').skip(1) {
        match segment {
            ".." => drop(segments.pop()),
            "." => {}
            segment => segments.push(segment),
        }
    }
    let meant = format!("/{}", segments.join("/"));
    if meant != pattern {
        return Err(RouteFault::NeverAsked { meant });
    }
    let first = pattern.split('/').nth(1);
    if first == Some(OWN_DIRECTORY) {
        return Err(RouteFault::TheServersOwn);
    }
    Ok(())
}

/// The decoded path, or an inner `None` if that is no text; `None` if the path is not percent-encoded.
fn decoded(path: &str) -> Option<Option<String>> {
    let is_encoded = path.split('%').skip(1).any(|after| {
        let digits = after.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    let decode = || percent_decode_str(path).decode_utf8().ok();
    is_encoded.then(|| decode().map(|text| text.into_owned()))
}

/// Whether `text` is the path of a handler, and neither a pattern nor a URL.
fn is_path(target: &str) -> bool {
    target.starts_with('/') && !target.contains(['{', '}', '?', '#'])
}

/// Where the server's own documents lie.
const OWN_DIRECTORY: &str = ".wshd";

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(pattern: &str) -> Option<RouteFault> {
        let place = Place {
            file: "config.toml".to_owned(),
            line: 1,
            column: 1,
            text: String::new(),
            width: 0,
        };
        Routes::default().add(pattern, "/echo", place).err()
    }

    #[test]
    fn a_pattern_that_would_mean_something_else_than_it_says_is_refused() {
        let encoded = |meant: Option<&str>| RouteFault::Encoded {
            meant: meant.map(str::to_owned),
        };
        let never = |meant: &str| RouteFault::NeverAsked {
            meant: meant.to_owned(),
        };
        let named = |name: &str| RouteFault::ParameterName {
            name: name.to_owned(),
        };
        for (pattern, expected) in [
            ("/%41", encoded(Some("/A"))),
            ("/a%2fb", encoded(Some("/a/b"))),
            ("/caf%C3%A9/{x}", encoded(Some("/café/{x}"))),
            ("/%ff", encoded(None)),
            ("/%00", encoded(None)),
            ("/x\0", RouteFault::Control),
            ("/x\ny", RouteFault::Control),
            ("/a/../b", never("/b")),
            ("/../b", never("/b")),
            ("/a/./b", never("/a/b")),
            ("/a\\b", never("/a/b")),
            ("/.wshd", RouteFault::TheServersOwn),
            ("/.wshd/handlers.json", RouteFault::TheServersOwn),
            ("/.wshd/{*rest}", RouteFault::TheServersOwn),
            ("/a?b", RouteFault::NotOnlyAPath),
            ("/a#b", RouteFault::NotOnlyAPath),
            ("/{a}/{a}", RouteFault::SameParameter { name: "a".into() }),
            (
                "/{a}/x/{*a}",
                RouteFault::SameParameter { name: "a".into() },
            ),
            ("/{id:int}", named("id:int")),
            ("/{id?}", named("id?")),
            ("/{a b}", named("a b")),
            ("/{**rest}", named("**rest")),
            ("/room-*", RouteFault::Star),
            ("/x*/{a}", RouteFault::Star),
            ("/{}", RouteFault::Parameter),
            ("/{*}", RouteFault::Parameter),
            ("/{a", RouteFault::Parameter),
            ("/a}", RouteFault::Parameter),
            ("/{a}{b}", RouteFault::TwoParameters),
            ("a", RouteFault::NoSlash),
            ("", RouteFault::NoSlash),
        ] {
            assert_eq!(fault(pattern), Some(expected), "{pattern:?}");
        }
    }

    #[test]
    fn a_path_that_says_what_it_means_is_a_route() {
        for pattern in [
            "/",
            "/a b",
            "/100%",
            "/%zz",
            "//a",
            "/a/",
            "/a..b/...",
            "/.well-known/x",
            "/.wshd2",
            "/über/{größe}",
            "/{{a}}/{a_1}",
            "/{a}/{{a}}",
            "/{a}/{b}/{*rest}",
        ] {
            assert_eq!(fault(pattern), None, "{pattern:?}");
        }
    }
}
