//! Aliases and patterns from `[routes]` and from pywebsocket's map file, checked against each other.

use std::path::Path;

use matchit::InsertError;

use super::Route;
use super::fault::{ConfigError, Fault, RouteFault, What};
use super::source::{Place, Source};
use super::values::{Entry, Reader};

/// The routes found so far. No two of them answer the same path.
#[derive(Default)]
pub(super) struct Routes {
    written: Vec<Route>,
    tree: matchit::Router<()>,
}

impl Routes {
    /// One line of `[routes]`. Its target may be an alias of a line above.
    pub(super) fn read(&mut self, reader: &mut Reader<'_>, entry: Entry<'_>) {
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

    /// pywebsocket's map file: lines `alias existing`. What exists may be an alias of a line above.
    pub(super) fn read_map_file(
        &mut self,
        path: &Path,
        working_dir: &Path,
    ) -> Result<(), ConfigError> {
        let source = Source::read(path, working_dir)?;
        let mut faults = Vec::new();
        let mut at = 0;
        for line in source.text().split_inclusive('\n') {
            let words: Vec<_> = line.split_whitespace().collect();
            let start = at + (line.len() - line.trim_start().len());
            let place = source.place(start..at + line.trim_end().len());
            at += line.len();
            let what = match words.as_slice() {
                [] => continue,
                [first, ..] if first.starts_with('#') => continue,
                [alias, existing] => match self.map(alias, existing, place.clone()) {
                    Ok(()) => continue,
                    Err((route, why)) => What::BadRoute { route, why },
                },
                _ => What::MapLine {
                    found: words.join(" "),
                },
            };
            faults.push(Fault { place, what });
        }
        if faults.is_empty() {
            Ok(())
        } else {
            Err(ConfigError::Faults(faults))
        }
    }

    /// In the order written.
    pub(super) fn into_vec(self) -> Vec<Route> {
        self.written
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
        match in_braces(pattern) {
            Some(meant) => Err(RouteFault::OtherSyntax { meant }),
            None => self.insert(pattern, target, place),
        }
    }

    fn insert(&mut self, pattern: &str, target: &str, place: Place) -> Result<(), RouteFault> {
        if !pattern.starts_with('/') {
            return Err(RouteFault::NoSlash);
        }
        if pattern.contains(['?', '#']) {
            return Err(RouteFault::NotOnlyAPath);
        }
        self.tree.insert(pattern, ()).map_err(|error| match error {
            InsertError::Conflict { with } => {
                let other = self.written.iter().find(|route| route.pattern == with);
                RouteFault::Conflict {
                    place: other.map(|route| route.place.clone()),
                    with,
                }
            }
            InsertError::InvalidParamSegment => RouteFault::TwoParameters,
            InsertError::InvalidCatchAll => RouteFault::CatchAll,
            // The others that there are, and that may come, are about parameters too.
            _ => RouteFault::Parameter,
        })?;
        let aliased = self.written.iter().find(|route| route.pattern == target);
        let target = aliased.map_or(target, |route| &route.target).to_owned();
        self.written.push(Route {
            pattern: pattern.to_owned(),
            target,
            place,
        });
        Ok(())
    }
}

/// The pattern with its parameters as they are written here, if it has them as other servers write
/// them: `/ws/*`, `/files/**`, `/files/*path`, `/rooms/:room`, `/rooms/<room>`.
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

/// A handler's path: not a pattern, not a URL.
fn is_path(target: &str) -> bool {
    target.starts_with('/') && !target.contains(['{', '}', '?', '#'])
}
