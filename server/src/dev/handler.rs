//! A handler before it is built: where its sources are, and how they become a library.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::language;

/// The sources of a handler: a crate, or files in C or C++.
#[derive(Clone, Debug)]
pub(crate) struct HandlerSource {
    /// The library's name, such as `echo_wsh`, or `rooms/tea_wsh` in a folder.
    pub(crate) name: String,
    pub(crate) recipe: Recipe,
    /// The file that makes it a handler: its manifest, or the file in C or C++ with `WSH_DEFINE`.
    pub(crate) origin: PathBuf,
    /// Whether a build script of one of its packages runs when it is built. It may write files.
    pub(crate) has_script: bool,
    /// Whether a procedural macro of one of its packages runs when it is built. It may write files.
    pub(crate) has_macro: bool,
    /// The directories it is made of, its own among them.
    pub(crate) parts: BTreeSet<PathBuf>,
    /// Files that affect each crate of its workspace, whether they exist or not.
    pub(crate) shared: Arc<BTreeSet<PathBuf>>,
}

/// How a handler is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Recipe {
    Cargo {
        /// The id of the package, as cargo knows it.
        package: String,
        workspace: PathBuf,
    },
    Cc {
        /// The files that are compiled into one library.
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

    /// Whether a file in one of its directories may affect the library.
    pub(super) fn may_take(&self, file: &Path) -> bool {
        match &self.recipe {
            // A crate can include any file.
            Recipe::Cargo { .. } => true,
            Recipe::Cc { sources } => {
                language::is_header(file) || sources.iter().any(|it| it == file)
            }
        }
    }

    /// What the server calls it. A library named `_wsh` alone has the name of its folder.
    pub(crate) fn handler(&self) -> &str {
        let name = self.name.strip_suffix(SUFFIX).unwrap_or(&self.name);
        name.strip_suffix('/').unwrap_or(name)
    }
}

/// The end of the name of every handler's library.
pub(crate) const SUFFIX: &str = "_wsh";
