//! Aliases and patterns, from `[routes]` and from pywebsocket's map file.

use std::path::Path;

use matchit::InsertError;

use super::Route;
use super::fault::{ConfigError, Fault, Place, RouteFault, Source, What};

/// A route that can stand beside those before it.
pub(super) fn check(
    pattern: &str,
    target: &str,
    place: Place,
    before: &[Route],
) -> Result<Route, What> {
    let bad = |why| What::BadRoute {
        route: pattern.to_owned(),
        why,
    };
    for path in [pattern, target] {
        if !path.starts_with('/') {
            return Err(What::BadRoute {
                route: path.to_owned(),
                why: RouteFault::NoSlash,
            });
        }
        if path.contains(['?', '#']) {
            return Err(What::BadRoute {
                route: path.to_owned(),
                why: RouteFault::NotOnlyAPath,
            });
        }
    }
    let mut router = matchit::Router::new();
    for route in before {
        // Each of them has passed here.
        let _ = router.insert(route.pattern.clone(), ());
    }
    match router.insert(pattern, ()) {
        Ok(()) => Ok(Route {
            pattern: pattern.to_owned(),
            target: target.to_owned(),
            place,
        }),
        Err(InsertError::Conflict { with }) => {
            let place = before
                .iter()
                .find(|route| route.pattern == with)
                .map(|route| route.place.clone());
            Err(bad(RouteFault::Conflict { with, place }))
        }
        Err(InsertError::InvalidParamSegment) => Err(bad(RouteFault::TwoParameters)),
        Err(InsertError::InvalidCatchAll) => Err(bad(RouteFault::CatchAll)),
        Err(_) => Err(bad(RouteFault::Parameter)),
    }
}

/// Reads a map file: a line is `alias existing`, or empty, or begins with `#`.
pub(super) fn read_map(
    path: &Path,
    working_dir: &Path,
    routes: &mut Vec<Route>,
) -> Result<(), ConfigError> {
    let source = Source::read(path, working_dir)?;
    let (mut faults, mut at) = (Vec::new(), 0);
    for line in source.text().split_inclusive('\n') {
        let place = source.place(at..at + line.trim_end().len());
        at += line.len();
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let route = match words.as_slice() {
            [alias, existing] => check(alias, existing, place.clone(), routes),
            _ => Err(What::MapLine {
                found: line.to_owned(),
            }),
        };
        match route {
            Ok(route) => routes.push(route),
            Err(what) => faults.push(Fault { place, what }),
        }
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(ConfigError::Faults(faults))
    }
}
