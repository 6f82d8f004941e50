//! Which crates at or below a directory are handlers.
//!
//! A handler crate is a package with a `cdylib` target that is named `…_wsh`, or whose manifest says the
//! name of its file. It is made of its own directory, of
//! the directories of its path dependencies, and of files that hold for the whole workspace.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cargo::{Cargo, CargoError};
use super::cargo_json::Package;
use super::handler::{HandlerSource, Recipe, SUFFIX};
use super::library_name;
use super::tree;

/// The handler crates below a directory.
#[derive(Debug)]
pub(crate) struct CrateHandlers {
    pub(crate) handlers: Vec<HandlerSource>,
    /// A sentence for each manifest that is left out, with the reason.
    pub(crate) complaints: Vec<String>,
    /// Manifests that cargo cannot read.
    pub(crate) unreadable: BTreeSet<PathBuf>,
}

/// Asks cargo about every manifest at or below `root`.
pub(crate) fn find(root: &Path, cargo: &Cargo) -> Result<CrateHandlers, CargoError> {
    let mut packages = Packages::new(cargo);
    let manifests = tree::manifests(root);
    for manifest in &manifests.files {
        packages.learn(manifest)?;
    }
    let mut handlers = Vec::new();
    for manifest in &manifests.files {
        handlers.extend(packages.handler(manifest)?);
    }
    let mut complaints: Vec<String> = packages.complaints.into_iter().collect();
    complaints.extend(manifests.complaints(|path| path.ends_with(tree::MANIFEST)));
    Ok(CrateHandlers {
        handlers,
        complaints,
        unreadable: packages.unreadable,
    })
}

/// The packages that cargo has listed, by directory.
struct Packages<'a> {
    cargo: &'a Cargo,
    packages: BTreeMap<PathBuf, Arc<Member>>,
    /// The manifests that were asked about, those of workspaces without a package too.
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

    /// Asks cargo about a manifest, and so about its whole workspace, unless it was asked before.
    fn learn(&mut self, manifest: &Path) -> Result<(), CargoError> {
        if !self.asked.insert(manifest.to_owned()) {
            return Ok(());
        }
        let metadata = match self.cargo.metadata(manifest) {
            Ok(metadata) => metadata,
            Err(CargoError::Refused(text)) => {
                // A set, since each member of a broken workspace gives one and the same text.
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
    fn handler(&mut self, manifest: &Path) -> Result<Option<HandlerSource>, CargoError> {
        let directory = manifest.parent().unwrap_or(manifest);
        let Some(member) = self.packages.get(directory).cloned() else {
            return Ok(None);
        };
        let package = &member.package;
        let mut libraries = package.targets.iter().filter(|target| target.is_cdylib());
        let name = match library_name::of(&package.metadata) {
            Ok(Some(name)) => libraries.next().map(|_| name),
            // Cargo names the library with underscores, whatever the package is called.
            Ok(None) => libraries
                .map(|target| target.name.replace('-', "_"))
                .find(|name| name.ends_with(SUFFIX)),
            Err(fault) => {
                let complaint = format!("`{}` is left out: {fault}", manifest.display());
                self.complaints.insert(complaint);
                None
            }
        };
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
        Ok(Some(HandlerSource {
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

    /// The directories of a package and of its path dependencies, direct and indirect.
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

/// The files that affect a build without being part of a package.
fn shared_files(workspace: &Path) -> BTreeSet<PathBuf> {
    let of_workspace = [
        tree::MANIFEST,
        LOCK_FILE,
        "rust-toolchain.toml",
        "rust-toolchain",
    ];
    let mut files: BTreeSet<PathBuf> = of_workspace.map(|name| workspace.join(name)).into();
    // Cargo merges the configurations of all directories from the workspace to the root.
    files.extend(
        workspace
            .ancestors()
            .map(|above| above.join(".cargo/config.toml")),
    );
    files
}

/// The file that cargo itself writes when it builds.
pub(crate) const LOCK_FILE: &str = "Cargo.lock";
