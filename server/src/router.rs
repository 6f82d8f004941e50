//! Where the two roads meet: the current table of routes, replaced whole, read without a lock.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::Route;
use crate::generation::{Generation, NoEntry, Stay};

/// The table of routes that holds now.
#[derive(Debug, Default)]
pub(crate) struct Router {
    table: ArcSwap<Table>,
}

/// Which path leads to which generation. It never changes; a change makes a new one.
#[derive(Default)]
pub(crate) struct Table {
    /// By the handler's name, which is its path without the leading slash.
    handlers: BTreeMap<Arc<str>, Arc<Generation>>,
    /// Aliases, by their path.
    aliases: HashMap<String, Arc<Generation>>,
    patterns: matchit::Router<Arc<Generation>>,
}

/// What a pattern's parameters stand for, by their names.
pub(crate) type Params = Vec<(String, String)>;

/// A way in that was found.
#[derive(Debug)]
pub(crate) struct Entrance {
    pub(crate) stay: Stay,
    pub(crate) params: Params,
}

/// What leads nowhere, or where there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoWay {
    /// No handler answers at this path.
    NoRoute,
    /// Its handler has no place for one more.
    Full,
}

/// A handler, for those who list them.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) path: String,
    pub(crate) handler: Arc<str>,
    pub(crate) generation: u64,
    pub(crate) sessions: usize,
}

impl Router {
    /// Whether a handler answers at `path`.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.table.load().find(path).is_some()
    }

    /// A place on the generation that answers at `path`: percent-decoded, without the query.
    pub(crate) fn enter(&self, path: &str) -> Result<Entrance, NoWay> {
        loop {
            let table = self.table.load();
            let (generation, params) = table.find(path).ok_or(NoWay::NoRoute)?;
            match generation.enter() {
                Ok(stay) => return Ok(Entrance { stay, params }),
                Err(NoEntry::Full) => return Err(NoWay::Full),
                // Superseded, emptied and shut down since the table was read: there is a new one.
                Err(NoEntry::Over) => drop(table),
            }
        }
    }

    /// From now on `table` holds.
    pub(crate) fn swap(&self, table: Table) {
        self.table.store(Arc::new(table));
    }

    /// Every handler by its own path, in their order.
    pub(crate) fn list(&self) -> Vec<Listed> {
        let table = self.table.load();
        let listed = table.handlers.iter().map(|(name, generation)| Listed {
            path: format!("/{name}"),
            handler: name.clone(),
            generation: generation.number,
            sessions: generation.sessions(),
        });
        listed.collect()
    }
}

impl Table {
    /// The table of these handlers with these aliases and patterns; a route to a handler that is
    /// not there leads nowhere.
    pub(crate) fn new(handlers: BTreeMap<Arc<str>, Arc<Generation>>, routes: &[Route]) -> Table {
        let mut table = Table {
            handlers,
            ..Table::default()
        };
        for route in routes {
            let Some((generation, _)) = table.find(&route.target) else {
                continue;
            };
            let generation = generation.clone();
            if route.pattern.contains(['{', '}']) {
                // The configuration has tried it in a router of its own; two patterns that were
                // good beside each other are so here.
                let _ = table.patterns.insert(route.pattern.clone(), generation);
            } else {
                table.aliases.insert(route.pattern.clone(), generation);
            }
        }
        table
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

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table")
            .field("handlers", &self.handlers.keys())
            .field("aliases", &self.aliases.keys())
            .finish_non_exhaustive()
    }
}
