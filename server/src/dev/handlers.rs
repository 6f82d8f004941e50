//! The handlers at or below a directory, in Rust, C and C++, and which files each of them is made of.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::cargo::{Cargo, CargoError};
use super::handler::{HandlerSource, Recipe};
use super::{c_handlers, crates, tree};
use crate::new::{self, SDK};

/// The handlers below a directory.
#[derive(Debug, Default)]
pub(crate) struct Handlers {
    pub(crate) by_name: BTreeMap<String, HandlerSource>,
    /// A sentence for each thing that is left out, with the reason; each is to be told once.
    pub(crate) complaints: Vec<String>,
    /// Manifests that cargo cannot read. What they described before still holds.
    unreadable: BTreeSet<PathBuf>,
}

impl Handlers {
    /// Asks cargo about every manifest at or below `root`, which is absolute and without symlinks,
    /// and looks for handlers in C.
    ///
    /// # Errors
    ///
    /// Cargo cannot be run. A manifest that cargo refuses is a complaint only.
    pub(crate) fn find(root: &Path, cargo: &Cargo) -> Result<Handlers, CargoError> {
        let crates = crates::find(root, cargo)?;
        let in_c = c_handlers::find(root);
        let mut found = Handlers {
            unreadable: crates.unreadable,
            ..Handlers::default()
        };
        for handler in crates.handlers.into_iter().chain(in_c.handlers) {
            found.add(handler);
        }
        found.complaints.extend(in_c.complaints);
        found.complaints.extend(crates.complaints);
        found.complaints.extend(found.outdated_sdks());
        Ok(found)
    }

    /// Like [`Handlers::find`]. What cargo cannot read at the moment stays as it was `before`.
    pub(crate) fn find_again(
        root: &Path,
        cargo: &Cargo,
        before: &Handlers,
    ) -> Result<Handlers, CargoError> {
        let mut crates = Handlers::find(root, cargo)?;
        let unread = tree::manifests(root);
        for handler in before.by_name.values() {
            let stays = crates.is_unreadable(handler)
                || unread.is_unknown(&handler.origin)
                || handler.is_in_c() && may_exist(&handler.origin);
            if stays && !crates.by_name.contains_key(&handler.name) {
                crates.add(handler.clone());
            }
        }
        Ok(crates)
    }

    /// Looks for handlers in C only, without cargo, and keeps the crates. A source file that no longer
    /// defines a handler is in the middle of an edit, and stays one as long as the file exists.
    pub(crate) fn find_c_again(&self, root: &Path) -> Handlers {
        let mut crates = Handlers {
            by_name: BTreeMap::new(),
            complaints: self.complaints.clone(),
            unreadable: self.unreadable.clone(),
        };
        let c_handlers::CHandlers {
            handlers: found,
            complaints,
        } = c_handlers::find(root);
        let kept = self
            .by_name
            .values()
            .filter(|handler| match handler.recipe {
                Recipe::Cargo { .. } => true,
                Recipe::Cc { .. } => {
                    may_exist(&handler.origin) && found.iter().all(|it| it.origin != handler.origin)
                }
            });
        for handler in kept.cloned().chain(found.iter().cloned()) {
            crates.add(handler);
        }
        for complaint in complaints {
            if !crates.complaints.contains(&complaint) {
                crates.complaints.push(complaint);
            }
        }
        crates
    }

    fn add(&mut self, handler: HandlerSource) {
        match self.by_name.get(&handler.name) {
            None => {
                self.by_name.insert(handler.name.clone(), handler);
            }
            Some(first) => self.complaints.push(format!(
                "`{}` is left out: {} would answer at `{}`, where {} answers already",
                handler.name,
                handler.origin.display(),
                handler.route(),
                first.origin.display(),
            )),
        }
    }

    /// A sentence for each SDK that handlers are built with and that an older wshd has written.
    fn outdated_sdks(&self) -> BTreeSet<String> {
        let parts = self.parts();
        let nearby = parts
            .iter()
            .flat_map(|part| [part.to_path_buf(), part.join(SDK), part.with_file_name(SDK)]);
        nearby
            .collect::<BTreeSet<PathBuf>>()
            .iter()
            .filter_map(|place| new::outdated_sdk(place))
            .collect()
    }

    /// Whether there is a manifest that cargo cannot read.
    pub(crate) fn is_incomplete(&self) -> bool {
        !self.unreadable.is_empty()
    }

    /// Whether cargo cannot read the handler's manifest at the moment.
    pub(crate) fn is_unreadable(&self, handler: &HandlerSource) -> bool {
        self.unreadable.contains(&handler.origin)
    }

    /// The directories that handlers are made of.
    pub(crate) fn parts(&self) -> BTreeSet<&Path> {
        let handlers = self.by_name.values();
        handlers
            .flat_map(|handler| handler.parts.iter().map(PathBuf::as_path))
            .collect()
    }

    /// The files outside of [`Handlers::parts`] that affect handlers.
    pub(crate) fn shared(&self) -> BTreeSet<&Path> {
        let handlers = self.by_name.values();
        handlers
            .flat_map(|handler| handler.shared.iter().map(PathBuf::as_path))
            .collect()
    }

    /// The names of handlers that are built in another way than `before`. New handlers are not among them.
    pub(crate) fn built_otherwise(&self, before: &Handlers) -> BTreeSet<String> {
        let handlers = self.by_name.iter();
        let is_other = |(name, handler): &(&String, &HandlerSource)| {
            let before = before.by_name.get(*name);
            before.is_some_and(|before| before.recipe != handler.recipe)
        };
        handlers
            .filter(is_other)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// The names of handlers whose libraries may change when `file` does.
    pub(crate) fn made_of(&self, file: &Path) -> Vec<&str> {
        let parts = self.parts();
        // Packages can lie in one another. A file belongs to the innermost.
        let owner = file.ancestors().find(|directory| parts.contains(directory));
        let is_part = |handler: &&HandlerSource| {
            handler.shared.contains(file)
                || owner.is_some_and(|owner| handler.parts.contains(owner))
                    && handler.may_take(file)
        };
        let affected = self.by_name.values().filter(is_part);
        affected.map(|handler| handler.name.as_str()).collect()
    }
}

/// Whether a file exists. A file that cannot be looked at may exist.
pub(crate) fn may_exist(file: &Path) -> bool {
    file.try_exists().unwrap_or(true)
}
