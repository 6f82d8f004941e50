//! Walks over directories of sources: what lies there, without what no build is made of.

use std::fs::{self, FileType};
use std::path::{Path, PathBuf};

use super::language::Language;
use crate::process::regular_file::{self, is_absence};

/// What a walk has met.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) files: Vec<PathBuf>,
    /// What has a file's place and is none, such as a FIFO or a link to a device.
    pub(crate) irregular: Vec<PathBuf>,
    pub(crate) directories: Vec<PathBuf>,
    /// What cannot be read: what lies there or below it is neither present nor gone.
    pub(crate) unreadable: Vec<PathBuf>,
}

impl Tree {
    /// Why each of those that is no regular file is left out, where `is_wanted` by its name.
    pub(crate) fn complaints(&self, is_wanted: impl Fn(&Path) -> bool) -> Vec<String> {
        let wanted = self.irregular.iter().filter(|path| is_wanted(path));
        let complaint = |path: &PathBuf| {
            let metadata = fs::metadata(path).ok()?;
            let why = regular_file::check_kind(&metadata).err()?;
            Some(format!("`{}` is left out: {why}", path.display()))
        };
        wanted.filter_map(complaint).collect()
    }

    /// Whether it is not known what is at this path.
    pub(crate) fn is_unknown(&self, path: &Path) -> bool {
        let mut unreadable = self.unreadable.iter();
        unreadable.any(|unreadable| path.starts_with(unreadable))
    }
}

/// All manifests at or below a directory, a workspace's before those of its members.
pub(crate) fn manifests(root: &Path) -> Tree {
    let mut tree = Tree::default();
    walk(root, &mut tree, &|_| true);
    tree.files.retain(|file| file.ends_with(MANIFEST));
    tree
}

/// All files that may make something a handler: manifests, C and C++.
pub(crate) fn beginnings(root: &Path) -> Tree {
    let mut tree = Tree::default();
    walk(root, &mut tree, &|_| true);
    tree.files.retain(|file| is_beginning(file));
    tree
}

/// Whether a file may make something a handler, by its name.
pub(crate) fn is_beginning(file: &Path) -> bool {
    file.ends_with(MANIFEST) || is_c(file)
}

/// Whether a file is C or C++, by its name.
pub(crate) fn is_c(file: &Path) -> bool {
    Language::of(file).is_some()
}

/// All files of a package: those below its directory that do not belong to another package.
pub(crate) fn package(directory: &Path) -> Tree {
    let mut tree = Tree::default();
    walk(directory, &mut tree, &|below| {
        !below.join(MANIFEST).exists()
    });
    tree
}

/// All files of pages: those below the document root that are not sources of handlers.
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

/// Depth first, each directory's files before its directories, both sorted. Symbolic links are not
/// followed: they may lead anywhere, in circles too.
fn walk(directory: &Path, tree: &mut Tree, enters: &dyn Fn(&Path) -> bool) {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        // A directory that is gone has nothing to build.
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
        // Caches, cargo's `target` among them, are tagged.
        if !path.join("CACHEDIR.TAG").exists() && enters(&path) {
            walk(&path, tree, enters);
        }
    }
}

/// No build is made of a FIFO or a device, and a compiler that opened one would hang.
fn may_be_source(kind: FileType, path: &Path) -> bool {
    let leads_to_file = || match fs::metadata(path) {
        Ok(metadata) => metadata.is_file(),
        Err(error) => !is_absence(&error),
    };
    kind.is_file() || kind.is_symlink() && leads_to_file()
}

/// Whether something lies there that is neither a file nor a directory. A link that leads nowhere is nothing:
/// editors lock files with one.
fn is_irregular(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

/// What editors leave beside a file that they save, what is hidden, and the largest heap of
/// files that is never Rust.
fn is_passed_over(name: &str) -> bool {
    name.starts_with('.') || name.ends_with('~') || name == "4913" || name == "node_modules"
}

/// What a document root may hold besides pages, where it holds everything.
const SOURCES: [&str; 11] = [
    "rs", "c", "cc", "cpp", "cxx", "h", "hh", "hpp", "hxx", "toml", "lock",
];
/// How cargo's manifests are named.
pub(crate) const MANIFEST: &str = "Cargo.toml";
