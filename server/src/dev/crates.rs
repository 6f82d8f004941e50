//! Which crates at or below a directory are handlers, and which files each of them is made of.
//!
//! A handler crate is a package with a `cdylib` target named `…_wsh`. It is made of its own
//! directory, those of its path dependencies, and what holds for its workspace as a whole. Handlers
//! in C and C++ are found by `c_handlers`, and kept among the crates.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cargo::{Cargo, CargoError, Package};
use super::{c_handlers, tree};
use crate::new::{self, SDK};

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Crates {
    /// The handlers, by name.
    pub(crate) handlers: BTreeMap<String, HandlerCrate>,
    /// What is left out, and why; each to be said once.
    pub(crate) complaints: Vec<String>,
    /// Manifests that cargo cannot read; what they stood for before still stands.
    unreadable: BTreeSet<PathBuf>,
}

/// A crate, or some C or C++, that becomes a plugin.
#[derive(Clone, Debug)]
pub(crate) struct HandlerCrate {
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

impl HandlerCrate {
    /// The path it answers at.
    pub(crate) fn route(&self) -> String {
        format!("/{}", self.handler())
    }

    fn is_in_c(&self) -> bool {
        matches!(self.recipe, Recipe::Cc { .. })
    }

    /// Whether a file in a directory of its may have something to do with it.
    fn may_take(&self, file: &Path) -> bool {
        match &self.recipe {
            // Anything can be included in a crate.
            Recipe::Cargo { .. } => true,
            Recipe::Cc { sources } => {
                c_handlers::is_header(file) || sources.iter().any(|it| it == file)
            }
        }
    }

    /// What the server calls it.
    pub(crate) fn handler(&self) -> &str {
        self.name.strip_suffix(SUFFIX).unwrap_or(&self.name)
    }
}

impl Crates {
    /// Asks cargo about every manifest at or below `root`, which is absolute and without symlinks,
    /// and looks for handlers in C.
    ///
    /// # Errors
    ///
    /// Cargo cannot be run. A manifest that it refuses is a complaint.
    pub(crate) fn find(root: &Path, cargo: &Cargo) -> Result<Crates, CargoError> {
        let mut known = Packages::new(cargo);
        let manifests = tree::manifests(root);
        let irregular = manifests.complaints(|path| path.ends_with(tree::MANIFEST));
        let manifests = manifests.files;
        for manifest in &manifests {
            known.learn(manifest)?;
        }
        let mut crates = Crates::default();
        for manifest in &manifests {
            if let Some(handler) = known.handler(manifest)? {
                crates.add(handler);
            }
        }
        let c_handlers = c_handlers::find(root);
        for handler in c_handlers.handlers {
            crates.add(handler);
        }
        crates.complaints.extend(c_handlers.complaints);
        crates.complaints.extend(known.complaints);
        crates.complaints.extend(irregular);
        crates.complaints.extend(crates.outdated_sdks());
        crates.unreadable = known.unreadable;
        Ok(crates)
    }

    /// The same, where what cargo cannot read at the moment is as it was `before`.
    pub(crate) fn find_again(
        root: &Path,
        cargo: &Cargo,
        before: &Crates,
    ) -> Result<Crates, CargoError> {
        let mut crates = Crates::find(root, cargo)?;
        let unread = tree::manifests(root);
        for handler in before.handlers.values() {
            let stays = crates.is_unreadable(handler)
                || unread.is_unknown(&handler.origin)
                || handler.is_in_c() && may_exist(&handler.origin);
            if stays && !crates.handlers.contains_key(&handler.name) {
                crates.add(handler.clone());
            }
        }
        Ok(crates)
    }

    /// The same where only C has changed, which takes no cargo. One that no longer defines a handler
    /// is in the middle of an edit, as long as it is there.
    pub(crate) fn find_c_again(&self, root: &Path) -> Crates {
        let mut crates = Crates {
            handlers: BTreeMap::new(),
            complaints: self.complaints.clone(),
            unreadable: self.unreadable.clone(),
        };
        let c_handlers::CHandlers {
            handlers: found,
            complaints,
        } = c_handlers::find(root);
        let kept = self
            .handlers
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

    fn add(&mut self, handler: HandlerCrate) {
        match self.handlers.get(&handler.name) {
            None => {
                self.handlers.insert(handler.name.clone(), handler);
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

    /// What to say of SDKs that handlers are built with and that an older wshd has written, a sentence each.
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

    /// Whether cargo could not read some manifest.
    pub(crate) fn is_incomplete(&self) -> bool {
        !self.unreadable.is_empty()
    }

    /// Whether cargo cannot read this one's manifest at the moment.
    pub(crate) fn is_unreadable(&self, handler: &HandlerCrate) -> bool {
        self.unreadable.contains(&handler.origin)
    }

    /// Directories of all packages that handlers are made of.
    pub(crate) fn parts(&self) -> BTreeSet<&Path> {
        let handlers = self.handlers.values();
        handlers
            .flat_map(|handler| handler.parts.iter().map(PathBuf::as_path))
            .collect()
    }

    /// Files outside of them that matter nevertheless.
    pub(crate) fn shared(&self) -> BTreeSet<&Path> {
        let handlers = self.handlers.values();
        handlers
            .flat_map(|handler| handler.shared.iter().map(PathBuf::as_path))
            .collect()
    }

    /// The names of those that are built in another way than `before`; new ones are not among them.
    pub(crate) fn built_otherwise(&self, before: &Crates) -> BTreeSet<String> {
        let handlers = self.handlers.iter();
        let is_other = |(name, handler): &(&String, &HandlerCrate)| {
            let before = before.handlers.get(*name);
            before.is_some_and(|before| before.recipe != handler.recipe)
        };
        handlers
            .filter(is_other)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// The names of those that may come out differently when `file` does.
    pub(crate) fn made_of(&self, file: &Path) -> Vec<&str> {
        let parts = self.parts();
        // Packages may lie in one another; a file belongs to the innermost.
        let owner = file.ancestors().find(|directory| parts.contains(directory));
        let is_part = |handler: &&HandlerCrate| {
            handler.shared.contains(file)
                || owner.is_some_and(|owner| handler.parts.contains(owner))
                    && handler.may_take(file)
        };
        let affected = self.handlers.values().filter(is_part);
        affected.map(|handler| handler.name.as_str()).collect()
    }
}

/// The packages that cargo has told of, by directory.
struct Packages<'a> {
    cargo: &'a Cargo,
    packages: BTreeMap<PathBuf, Arc<Member>>,
    /// Manifests asked about, those of workspaces without a package too.
    asked: BTreeSet<PathBuf>,
    complaints: BTreeSet<String>,
    unreadable: BTreeSet<PathBuf>,
}

struct Member {
    package: Package,
    workspace: PathBuf,
    shared: Arc<BTreeSet<PathBuf>>,
}

impl<'a> Packages<'a> {
    fn new(cargo: &'a Cargo) -> Packages<'a> {
        Packages {
            cargo,
            packages: BTreeMap::new(),
            asked: BTreeSet::new(),
            complaints: BTreeSet::new(),
            unreadable: BTreeSet::new(),
        }
    }

    /// Asks about a manifest, and so about its whole workspace, unless it is known.
    fn learn(&mut self, manifest: &Path) -> Result<(), CargoError> {
        if !self.asked.insert(manifest.to_owned()) {
            return Ok(());
        }
        let metadata = match self.cargo.metadata(manifest) {
            Ok(metadata) => metadata,
            Err(CargoError::Refused(text)) => {
                // Each member of a broken workspace gives the same text.
                self.complaints.insert(text);
                self.unreadable.insert(manifest.to_owned());
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let workspace = metadata.workspace_root;
        let shared = Arc::new(shared_files(&workspace));
        self.asked.insert(workspace.join(tree::MANIFEST));
        for package in metadata.packages {
            self.asked.insert(package.manifest_path.clone());
            let Some(directory) = package.manifest_path.parent().map(Path::to_owned) else {
                continue;
            };
            let member = Member {
                package,
                workspace: workspace.clone(),
                shared: shared.clone(),
            };
            self.packages.insert(directory, Arc::new(member));
        }
        Ok(())
    }

    /// The handler crate of this manifest, if it is one.
    fn handler(&mut self, manifest: &Path) -> Result<Option<HandlerCrate>, CargoError> {
        let directory = manifest.parent().unwrap_or(manifest);
        let Some(member) = self.packages.get(directory).cloned() else {
            return Ok(None);
        };
        let package = &member.package;
        let libraries = package.targets.iter().filter(|target| target.is_cdylib());
        // Cargo names the file with underscores, whatever the package is called.
        let name = libraries
            .map(|target| target.name.replace('-', "_"))
            .find(|name| name.ends_with(SUFFIX));
        let Some(name) = name else {
            return Ok(None);
        };
        let parts = self.parts_of(directory)?;
        let packages = parts.iter().filter_map(|part| self.packages.get(part));
        let targets = packages.flat_map(|member| &member.package.targets);
        let kinds: BTreeSet<&str> = targets
            .flat_map(|target| target.kind.iter().map(String::as_str))
            .collect();
        let has = |kind| kinds.contains(kind);
        Ok(Some(HandlerCrate {
            name,
            recipe: Recipe::Cargo {
                package: package.id.clone(),
                workspace: member.workspace.clone(),
            },
            origin: manifest.to_owned(),
            has_script: has("custom-build"),
            has_macro: has("proc-macro"),
            parts,
            shared: member.shared.clone(),
        }))
    }

    /// The directories of a package and of its path dependencies, theirs too.
    fn parts_of(&mut self, directory: &Path) -> Result<BTreeSet<PathBuf>, CargoError> {
        let mut parts = BTreeSet::from([directory.to_owned()]);
        let mut waiting = vec![directory.to_owned()];
        while let Some(directory) = waiting.pop() {
            self.learn(&directory.join(tree::MANIFEST))?;
            let Some(member) = self.packages.get(&directory) else {
                continue;
            };
            let needed = member.package.dependencies.iter();
            let needed = needed.filter(|dependency| dependency.kind.as_deref() != Some("dev"));
            for path in needed.filter_map(|dependency| dependency.path.clone()) {
                if parts.insert(path.clone()) {
                    waiting.push(path);
                }
            }
        }
        Ok(parts)
    }
}

/// Whether a file is there, as far as that can be told.
fn may_exist(file: &Path) -> bool {
    file.try_exists().unwrap_or(true)
}

/// The files that decide about a build without being part of a package.
fn shared_files(workspace: &Path) -> BTreeSet<PathBuf> {
    let of_workspace = [
        tree::MANIFEST,
        LOCK_FILE,
        "rust-toolchain.toml",
        "rust-toolchain",
    ];
    let mut files: BTreeSet<PathBuf> = of_workspace.map(|name| workspace.join(name)).into();
    // Cargo merges the configurations of all directories from here to the root.
    files.extend(
        workspace
            .ancestors()
            .map(|above| above.join(".cargo/config.toml")),
    );
    files
}

/// How the library of a handler is named.
pub(crate) const SUFFIX: &str = "_wsh";
/// What cargo itself writes when it builds.
pub(crate) const LOCK_FILE: &str = "Cargo.lock";
