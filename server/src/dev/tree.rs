//! Walks over directories of sources, and passes over what no build uses.

use std::fs::{self, FileType};
use std::path::{Path, PathBuf};

use super::language::Language;
use crate::process::regular_file::{self, is_absence};

/// The result of a walk.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) files: Vec<PathBuf>,
    /// What is neither a regular file nor a directory, such as a FIFO or a link to a device.
    pub(crate) irregular: Vec<PathBuf>,
    pub(crate) directories: Vec<PathBuf>,
    /// Directories that cannot be read. Nothing is known of what lies below them.
    pub(crate) unreadable: Vec<PathBuf>,
}

impl Tree {
    /// A sentence for each irregular file whose path `is_wanted`: why it is left out.
    pub(crate) fn complaints(&self, is_wanted: impl Fn(&Path) -> bool) -> Vec<String> {
        let wanted = self.irregular.iter().filter(|path| is_wanted(path));
        let complaint = |path: &PathBuf| {
            let metadata = fs::metadata(path).ok()?;
            let why = regular_file::check_kind(&metadata).err()?;
            Some(format!("`{}` is left out: {why}", path.display()))
        };
        wanted.filter_map(complaint).collect()
    }

    /// Whether the path lies in a directory that cannot be read.
    pub(crate) fn is_unknown(&self, path: &Path) -> bool {
        let mut unreadable = self.unreadable.iter();
        unreadable.any(|unreadable| path.starts_with(unreadable))
    }
}

/// All manifests at or below a directory. The manifest of a workspace comes before those of its members.
pub(crate) fn manifests(root: &Path) -> Tree {
    let mut tree = Tree::default();
    walk(root, &mut tree, &|_| true);
    tree.files.retain(|file| file.ends_with(MANIFEST));
    tree
}

/// All files that may define a handler: manifests, C and C++.
pub(crate) fn beginnings(root: &Path) -> Tree {
    let mut tree = Tree::default();
    walk(root, &mut tree, &|_| true);
    tree.files.retain(|file| is_beginning(file));
    tree
}

/// Whether a file may define a handler, by its name.
pub(crate) fn is_beginning(file: &Path) -> bool {
    file.ends_with(MANIFEST) || is_c(file)
}

/// Whether a file is C or C++, by its name.
pub(crate) fn is_c(file: &Path) -> bool {
    Language::of(file).is_some()
}

/// All files of a package: those below its directory, without packages inside it.
pub(crate) fn package(directory: &Path) -> Tree {
    let mut tree = Tree::default();
    walk(directory, &mut tree, &|below| {
        !below.join(MANIFEST).exists()
    });
    tree
}

/// All files of pages: those below the document root, without sources of handlers.
pub(crate) fn pages(root: &Path) -> Tree {
    let mut tree = Tree::default();
    walk(root, &mut tree, &|_| true);
    let is_source = |file: &PathBuf| {
        let ending = file.extension().unwrap_or_default();
        SOURCES.iter().any(|source| ending == *source)
    };
    tree.files.retain(|file| !is_source(file));
    tree
}

/// Walks depth first; in each directory files come before directories, and both are sorted. Links to
/// directories are not followed, since they may lead in circles.
fn walk(directory: &Path, tree: &mut Tree, enters: &dyn Fn(&Path) -> bool) {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        // A directory that does not exist is empty.
        Err(error) if is_absence(&error) => return,
        Err(_) => return tree.unreadable.push(directory.to_owned()),
    };
    tree.directories.push(directory.to_owned());
    let mut below = Vec::new();
    let (first, first_irregular) = (tree.files.len(), tree.irregular.len());
    for entry in entries {
        let Ok((entry, kind)) = entry.and_then(|entry| entry.file_type().map(|it| (entry, it)))
        else {
            tree.unreadable.push(directory.to_owned());
            continue;
        };
        if is_passed_over(&entry.file_name().to_string_lossy()) {
            continue;
        }
        if kind.is_dir() {
            below.push(entry.path());
        } else if may_be_source(kind, &entry.path()) {
            tree.files.push(entry.path());
        } else if is_irregular(&entry.path()) {
            tree.irregular.push(entry.path());
        }
    }
    tree.files[first..].sort();
    tree.irregular[first_irregular..].sort();
    below.sort();
    for path in below {
        // Caches have a tag file; cargo's `target` is one.
        if !path.join("CACHEDIR.TAG").exists() && enters(&path) {
            walk(&path, tree, enters);
        }
    }
}

/// Whether it is a file, or a link to one. A FIFO or a device would hold up a compiler.
fn may_be_source(kind: FileType, path: &Path) -> bool {
    let leads_to_file = || match fs::metadata(path) {
        Ok(metadata) => metadata.is_file(),
        Err(error) => !is_absence(&error),
    };
    kind.is_file() || kind.is_symlink() && leads_to_file()
}

/// Whether it is neither a file nor a directory. A link that leads nowhere is not irregular: editors lock
/// files with such links.
fn is_irregular(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

/// Whether a walk passes over a name: hidden files, what editors leave beside a file (`4913` is Vim's),
/// and `node_modules`.
fn is_passed_over(name: &str) -> bool {
    name.starts_with('.') || name.ends_with('~') || name == "4913" || name == "node_modules"
}

/// The endings of sources, which a document root may hold beside pages.
const SOURCES: [&str; 11] = [
    "rs", "c", "cc", "cpp", "cxx", "h", "hh", "hpp", "hxx", "toml", "lock",
];
/// The name of cargo's manifests.
pub(crate) const MANIFEST: &str = "Cargo.toml";
