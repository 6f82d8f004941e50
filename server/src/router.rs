//! The table of routes, where the two roads meet. It is replaced whole and read without a lock.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::{self, Route};
use crate::generation::{Generation, GenerationRef, NoEntry, SessionsLimit};
use crate::listing::Listing;

/// The table of routes and the list of handlers that hold now.
#[derive(Debug, Default)]
pub(crate) struct Router {
    table: ArcSwap<Table>,
    listing: ArcSwap<Listing>,
}

/// Which path leads to which generation. A table never changes; a change makes a new one.
#[derive(Default)]
pub(crate) struct Table {
    /// By the handler's name, which is its path without the leading slash.
    handlers: BTreeMap<Arc<str>, Arc<Generation>>,
    /// Routes without parameters, by their path, and the paths of directories with their slash.
    aliases: HashMap<String, Arc<Generation>>,
    /// Routes with parameters.
    patterns: matchit::Router<Arc<Generation>>,
    unserved: UnservedRoutes,
}

/// The routes to handlers that do not serve. They are looked at only where no handler answers.
#[derive(Default)]
struct UnservedRoutes {
    /// The handler's name, by the path.
    aliases: HashMap<String, Arc<str>>,
    /// The handler's name, by the pattern.
    patterns: matchit::Router<Arc<str>>,
}

/// The names and values of a route's parameters.
pub(crate) type Params = Vec<(String, String)>;

/// The handler that answers at a path.
#[derive(Debug)]
pub(crate) struct RouteMatch {
    pub(crate) generation_ref: GenerationRef,
    pub(crate) params: Params,
}

/// Why no handler takes a request for an upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RouteError {
    /// No handler answers at this path.
    NoRoute,
    /// Its handler has as many sessions as it may have.
    Full(SessionsLimit),
}

impl Router {
    /// Whether a handler answers at `path`.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.table.load().find(path).is_some()
    }

    /// Whether `path` leads to a handler whose file is refused, and which has no older generation.
    pub(crate) fn is_refused(&self, path: &str) -> bool {
        let name = self.unserved_at(&self.table.load(), path);
        name.is_some_and(|name| self.listing.load().is_refused(&name))
    }

    /// The name of the handler that answers at `path`, or that would if it were served.
    pub(crate) fn handler_at(&self, path: &str) -> Option<Arc<str>> {
        let table = self.table.load();
        match table.find(path) {
            Some((generation, _)) => Some(generation.handler.clone()),
            None => self.unserved_at(&table, path),
        }
    }

    /// The name of the handler that would answer at `path`, where none does.
    fn unserved_at(&self, table: &Table, path: &str) -> Option<Arc<str>> {
        if let Some(name) = table.unserved.aliases.get(path) {
            return Some(name.clone());
        }
        if let Some(name) = self.listing.load().name_at(path) {
            return Some(name.into());
        }
        table
            .unserved
            .patterns
            .at(path)
            .ok()
            .map(|found| found.value.clone())
    }

    /// A reference to the generation that answers at `path`, which is percent-decoded and has no query.
    pub(crate) fn enter(&self, path: &str) -> Result<RouteMatch, RouteError> {
        loop {
            let table = self.table.load();
            let (generation, params) = table.find(path).ok_or(RouteError::NoRoute)?;
            match generation.enter() {
                Ok(generation_ref) => {
                    return Ok(RouteMatch {
                        generation_ref,
                        params,
                    });
                }
                Err(NoEntry::Full(limit)) => return Err(RouteError::Full(limit)),
                // The generation was closed since the table was read, so there is a new table.
                Err(NoEntry::Closed) => drop(table),
            }
        }
    }

    /// The path of a handler that a client probably meant by `path`, at which none answers.
    pub(crate) fn meant(&self, path: &str) -> Option<String> {
        self.table.load().meant(path)
    }

    /// Replaces the table.
    pub(crate) fn swap(&self, table: Table) {
        self.table.store(Arc::new(table));
    }

    /// The names of the handlers that serve, in their order.
    pub(crate) fn names(&self) -> Vec<Arc<str>> {
        self.table.load().handlers.keys().cloned().collect()
    }

    /// Every handler with its generations.
    pub(crate) fn listing(&self) -> Arc<Listing> {
        self.listing.load_full()
    }

    /// Replaces the list of handlers.
    pub(crate) fn set_listing(&self, listing: Listing) {
        self.listing.store(Arc::new(listing));
    }
}

impl Table {
    /// The table of these handlers and routes. A route to a handler that is not there leads nowhere, and is kept for
    /// what is said there.
    ///
    /// A handler whose name is in `of_directories` also answers at its path with a slash at the end.
    pub(crate) fn new(
        handlers: BTreeMap<Arc<str>, Arc<Generation>>,
        of_directories: &[Arc<str>],
        routes: &[Route],
    ) -> Table {
        let aliases = of_directories.iter().filter_map(|name| {
            let generation = handlers.get(name).filter(|_| !name.is_empty())?;
            Some((format!("/{name}/"), generation.clone()))
        });
        let mut table = Table {
            aliases: aliases.collect(),
            handlers,
            ..Table::default()
        };
        for route in routes {
            let Some((generation, _)) = table.find(&route.target) else {
                table.unserved.add(route);
                continue;
            };
            let generation = generation.clone();
            if is_pattern(route) {
                // The configuration has tried all patterns in a router of its own, so none conflicts.
                let _ = table.patterns.insert(route.pattern.clone(), generation);
            } else {
                table.aliases.insert(route.pattern.clone(), generation);
            }
        }
        table
    }

    /// The path without superfluous slashes, in lower case, or without the ending of a file's name. If no
    /// handler answers at these, the nearest path.
    fn meant(&self, path: &str) -> Option<String> {
        let segments = path.split('/').filter(|segment| !segment.is_empty());
        let plain = segments.fold(String::new(), |plain, segment| plain + "/" + segment);
        let plain = if plain.is_empty() {
            "/".to_owned()
        } else {
            plain
        };
        let lower = plain.to_lowercase();
        let name = lower.strip_suffix(".so").unwrap_or(&lower);
        let name = name.strip_suffix("_wsh").unwrap_or(name).to_owned();
        let alike = [plain, lower, name];
        if let Some(alike) = alike.iter().find(|alike| self.find(alike).is_some()) {
            return Some(alike.clone());
        }
        let own = self.handlers.keys().map(|name| format!("/{name}"));
        let known: Vec<String> = own.chain(self.aliases.keys().cloned()).collect();
        let nearest = config::nearest(&alike[1], known.iter().map(String::as_str));
        nearest.map(str::to_owned)
    }

    /// An alias comes before a handler's own path, and that before a pattern.
    fn find(&self, path: &str) -> Option<(&Arc<Generation>, Params)> {
        let own = || self.handlers.get(path.strip_prefix('/')?);
        if let Some(generation) = self.aliases.get(path).or_else(own) {
            return Some((generation, Vec::new()));
        }
        let found = self.patterns.at(path).ok()?;
        let params = found.params.iter();
        let params = params.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Some((found.value, params.collect()))
    }
}

impl UnservedRoutes {
    fn add(&mut self, route: &Route) {
        let name = route.target.strip_prefix('/').unwrap_or(&route.target);
        if is_pattern(route) {
            // Like those that lead to a handler that serves, none conflicts.
            let _ = self.patterns.insert(route.pattern.clone(), name.into());
        } else {
            self.aliases.insert(route.pattern.clone(), name.into());
        }
    }
}

/// Whether a route has parameters.
fn is_pattern(route: &Route) -> bool {
    route.pattern.contains(['{', '}'])
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table")
            .field("handlers", &self.handlers.keys())
            .field("aliases", &self.aliases.keys())
            .finish_non_exhaustive()
    }
}
