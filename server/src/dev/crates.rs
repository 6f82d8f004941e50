//! Which crates at or below a directory are handlers.
//!
//! A handler crate is a package with a `cdylib` target that is named `…_wsh`, or whose manifest says the
//! name of its file. It is made of its own directory, of the directories of its path dependencies, and of
//! files that hold for the whole workspace. The manifest of a workspace can keep its crates from being built
//! with those of the folders around it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cargo::{Cargo, CargoError};
use super::cargo_json::{Metadata, Package};
use super::handler::{HandlerSource, Recipe, SUFFIX};
use super::tree;
use super::{library_name, only_when_named};

/// The handler crates below a directory.
#[derive(Debug)]
pub(crate) struct CrateHandlers {
    pub(crate) handlers: Vec<HandlerSource>,
    /// A sentence for each manifest or workspace that is left out, with the reason.
    pub(crate) complaints: Vec<String>,
    /// Manifests that cargo cannot read.
    pub(crate) unreadable: BTreeSet<PathBuf>,
}

/// Asks cargo about every manifest at or below `root`.
pub(crate) fn find(root: &Path, cargo: &Cargo) -> Result<CrateHandlers, CargoError> {
    let mut packages = Packages::new(root, cargo);
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
    root: &'a Path,
    cargo: &'a Cargo,
    packages: BTreeMap<PathBuf, Arc<Member>>,
    /// The manifests that were asked about, those of workspaces without a package too.
    asked: BTreeSet<PathBuf>,
    complaints: BTreeSet<String>,
    unreadable: BTreeSet<PathBuf>,
}

struct Member {
    package: Package,
    workspace: Arc<Workspace>,
}

struct Workspace {
    directory: PathBuf,
    shared: Arc<BTreeSet<PathBuf>>,
    /// Why none of its handlers is built, where that is so.
    left_out: Option<String>,
}

impl<'a> Packages<'a> {
    fn new(root: &'a Path, cargo: &'a Cargo) -> Packages<'a> {
        Packages {
            root,
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
        let workspace = Arc::new(Workspace {
            shared: Arc::new(shared_files(&metadata.workspace_root)),
            left_out: left_out(&metadata, self.root),
            directory: metadata.workspace_root,
        });
        self.asked.insert(workspace.directory.join(tree::MANIFEST));
        for package in metadata.packages {
            self.asked.insert(package.manifest_path.clone());
            let Some(directory) = package.manifest_path.parent().map(Path::to_owned) else {
                continue;
            };
            let member = Member {
                package,
                workspace: workspace.clone(),
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
        if let Some(complaint) = &member.workspace.left_out {
            self.complaints.insert(complaint.clone());
            return Ok(None);
        }
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
                workspace: member.workspace.directory.clone(),
            },
            origin: manifest.to_owned(),
            has_script: has("custom-build"),
            has_macro: has("proc-macro"),
            parts,
            shared: member.workspace.shared.clone(),
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

/// Why the handlers of a workspace are not built, if so: its manifest asks for that where `root` is a folder around it.
fn left_out(metadata: &Metadata, root: &Path) -> Option<String> {
    let directory = &metadata.workspace_root;
    let manifest = directory.join(tree::MANIFEST);
    match only_when_named::of(&metadata.metadata) {
        Ok(true) if !root.starts_with(directory) => Some(format!(
            "`{0}` is left out: its `{1}` says `only_when_named = true`; `wshd dev {0}` builds it",
            directory.display(),
            tree::MANIFEST,
        )),
        Ok(_) => None,
        Err(fault) => Some(format!("`{}` is left out: {fault}", manifest.display())),
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::dev::cargo::Profile;

    /// Writes a workspace with one handler, and what `[workspace.metadata.wshd]` says.
    fn write_workspace(root: &Path, folder: &str, says: &str) {
        let [workspace, tea] =
            [folder.to_owned(), format!("{folder}/tea_{folder}_wsh")].map(|it| root.join(it));
        fs::create_dir_all(tea.join("src")).unwrap();
        let manifest = format!("[workspace]\nmembers = [\"*_wsh\"]\nresolver = \"3\"\n{says}\n");
        fs::write(workspace.join(tree::MANIFEST), manifest).unwrap();
        let manifest =
            format!("[package]\nname = \"tea_{folder}_wsh\"\n[lib]\ncrate-type = [\"cdylib\"]\n");
        fs::write(tea.join(tree::MANIFEST), manifest).unwrap();
        fs::write(tea.join("src/lib.rs"), "").unwrap();
    }

    #[test]
    fn a_workspace_that_is_built_only_when_named_is_left_out_of_the_folders_around_it() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let says = |value: &str| format!("[workspace.metadata.wshd]\nonly_when_named = {value}");
        write_workspace(&root, "quick", "");
        write_workspace(&root, "quicker", &says("false"));
        write_workspace(&root, "slow", &says("true"));
        write_workspace(&root, "wrong", &says("7"));
        let found = |path: &Path| {
            let found = find(path, &Cargo::new(Profile::Dev)).unwrap();
            let names = found.handlers.into_iter().map(|handler| handler.name);
            (names.collect::<Vec<_>>(), found.complaints)
        };
        let slow = root.join("slow");

        assert_eq!(
            found(&root),
            (
                vec!["tea_quick_wsh".to_owned(), "tea_quicker_wsh".to_owned()],
                vec![
                    format!(
                        "`{0}` is left out: its `Cargo.toml` says `only_when_named = true`; `wshd dev {0}` builds it",
                        slow.display()
                    ),
                    format!(
                        "`{}/wrong/Cargo.toml` is left out: `workspace.metadata.wshd` wants `only_when_named` \
                         to be `true` or `false`, found `7`",
                        root.display()
                    ),
                ]
            )
        );
        for named in [slow.clone(), slow.join("tea_slow_wsh")] {
            assert_eq!(found(&named), (vec!["tea_slow_wsh".to_owned()], vec![]));
        }
    }
}
