//! One handler before it is built: where its sources are, and how they become a library.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::language;

/// A crate, or some C or C++, that becomes a plugin.
#[derive(Clone, Debug)]
pub(crate) struct HandlerSource {
    /// The library's name, such as `echo_wsh`.
    pub(crate) name: String,
    pub(crate) recipe: Recipe,
    /// The file that makes it one: its manifest, or the file in C or C++ with `WSH_DEFINE`.
    pub(crate) origin: PathBuf,
    /// Whether a build script of one of its packages runs when it is built, and a procedural macro: what
    /// may write files meanwhile.
    pub(crate) has_script: bool,
    pub(crate) has_macro: bool,
    /// Directories of the packages it is made of, its own among them.
    pub(crate) parts: BTreeSet<PathBuf>,
    /// Files that matter to each crate of its workspace, whether they are there or not.
    pub(crate) shared: Arc<BTreeSet<PathBuf>>,
}

/// How a handler is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Recipe {
    Cargo {
        /// Cargo's id of the package.
        package: String,
        workspace: PathBuf,
    },
    Cc {
        /// All to be compiled into one library.
        sources: Vec<PathBuf>,
    },
}

impl HandlerSource {
    /// The path it answers at.
    pub(crate) fn route(&self) -> String {
        format!("/{}", self.handler())
    }

    pub(super) fn is_in_c(&self) -> bool {
        matches!(self.recipe, Recipe::Cc { .. })
    }

    /// Whether a file in a directory of its may have something to do with it.
    pub(super) fn may_take(&self, file: &Path) -> bool {
        match &self.recipe {
            // Anything can be included in a crate.
            Recipe::Cargo { .. } => true,
            Recipe::Cc { sources } => {
                language::is_header(file) || sources.iter().any(|it| it == file)
            }
        }
    }

    /// What the server calls it.
    pub(crate) fn handler(&self) -> &str {
        self.name.strip_suffix(SUFFIX).unwrap_or(&self.name)
    }
}

/// How the library of a handler is named.
pub(crate) const SUFFIX: &str = "_wsh";
