//! Which crates at or below a directory are handlers, and which files each of them is made of.
//!
//! A handler crate is a package with a `cdylib` target named `…_wsh`. It is made of its own
//! directory, those of its path dependencies, and what holds for its workspace as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cargo::{Cargo, CargoError, Package};
use super::tree;

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

/// A crate that becomes a plugin.
#[derive(Clone, Debug)]
pub(crate) struct HandlerCrate {
    /// The library's name, such as `echo_wsh`.
    pub(crate) name: String,
    /// Cargo's id of the package.
    pub(crate) package: String,
    pub(crate) manifest: PathBuf,
    pub(crate) workspace: PathBuf,
    /// Directories of the packages it is made of, its own among them.
    pub(crate) parts: BTreeSet<PathBuf>,
    /// Files that matter to each crate of its workspace, whether they are there or not.
    pub(crate) shared: Arc<BTreeSet<PathBuf>>,
}

impl HandlerCrate {
    /// The path it answers at.
    pub(crate) fn route(&self) -> String {
        format!("/{}", self.handler())
    }

    /// What the server calls it.
    pub(crate) fn handler(&self) -> &str {
        self.name.strip_suffix(SUFFIX).unwrap_or(&self.name)
    }
}

impl Crates {
    /// Asks cargo about every manifest at or below `root`, which is absolute and without symlinks.
    ///
    /// # Errors
    ///
    /// Cargo cannot be run. A manifest that it refuses is a complaint.
    pub(crate) fn find(root: &Path, cargo: &Cargo) -> Result<Crates, CargoError> {
        let mut known = Known::new(cargo);
        let manifests = tree::manifests(root).files;
        for manifest in &manifests {
            known.learn(manifest)?;
        }
        let mut crates = Crates::default();
        for manifest in &manifests {
            if let Some(handler) = known.handler(manifest)? {
                crates.add(handler);
            }
        }
        crates.complaints.extend(known.complaints);
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
        for handler in before.handlers.values() {
            let is_unreadable = crates.unreadable.contains(&handler.manifest);
            if is_unreadable && !crates.handlers.contains_key(&handler.name) {
                crates.add(handler.clone());
            }
        }
        Ok(crates)
    }

    fn add(&mut self, handler: HandlerCrate) {
        match self.handlers.get(&handler.name) {
            None => {
                self.handlers.insert(handler.name.clone(), handler);
            }
            Some(first) => self.complaints.push(format!(
                "`{}` is left out: {} would answer at `{}`, where {} answers already",
                handler.name,
                handler.manifest.display(),
                handler.route(),
                first.manifest.display(),
            )),
        }
    }

    /// Whether cargo could not read some manifest.
    pub(crate) fn is_incomplete(&self) -> bool {
        !self.unreadable.is_empty()
    }

    /// Whether cargo cannot read this one's manifest at the moment.
    pub(crate) fn is_unreadable(&self, handler: &HandlerCrate) -> bool {
        self.unreadable.contains(&handler.manifest)
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

    /// The names of those that may come out differently when `file` does.
    pub(crate) fn made_of(&self, file: &Path) -> Vec<&str> {
        let parts = self.parts();
        // Packages may lie in one another; a file belongs to the innermost.
        let owner = file.ancestors().find(|directory| parts.contains(directory));
        let is_part = |handler: &&HandlerCrate| {
            handler.shared.contains(file)
                || owner.is_some_and(|owner| handler.parts.contains(owner))
        };
        let affected = self.handlers.values().filter(is_part);
        affected.map(|handler| handler.name.as_str()).collect()
    }
}

/// The packages that cargo has told of, by directory.
struct Known<'a> {
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

impl<'a> Known<'a> {
    fn new(cargo: &'a Cargo) -> Known<'a> {
        Known {
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
        Ok(Some(HandlerCrate {
            name,
            package: package.id.clone(),
            manifest: manifest.to_owned(),
            workspace: member.workspace.clone(),
            parts: self.parts_of(directory)?,
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
const SUFFIX: &str = "_wsh";
/// What cargo itself writes when it builds.
pub(crate) const LOCK_FILE: &str = "Cargo.lock";
