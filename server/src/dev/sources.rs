//! The contents of the sources at one moment, and the changes between two moments.
//!
//! Contents are compared, not dates: saving an unchanged file builds nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::Hasher;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use xxhash_rust::xxh3::Xxh3;

use super::handlers::Handlers;
use super::tree;
use crate::process::regular_file::{self, Links, NotRead, is_absence};

/// The sources at one moment.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    files: BTreeMap<PathBuf, SourceStamp>,
    directories: BTreeSet<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SourceStamp {
    saved: SystemTime,
    size: u64,
    inode: u64,
    content: u64,
}

/// The changes from one moment to a later one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Files with another content, new files and removed files.
    pub(crate) changed: Vec<PathBuf>,
    /// Files that were saved without a change.
    pub(crate) saved_again: Vec<PathBuf>,
    /// When the newest of the changed files was saved. Removed files have no date, and files in the middle
    /// of a save have the old one.
    pub(crate) saved: Option<SystemTime>,
}

impl Sources {
    /// Looks at all manifests and all C below `root`, and at all files that `handlers` are made of. A file
    /// with the date, the size and the inode that it had `before` is not read again.
    pub(crate) fn take(root: &Path, handlers: &Handlers, before: &Sources) -> Sources {
        let mut snapshot = Sources::default();
        snapshot.add(tree::beginnings(root), before);
        for directory in handlers.parts() {
            snapshot.add(tree::package(directory), before);
        }
        // Also above `root`: the manifest of a workspace that cargo could not read may be mended.
        let above = root.ancestors().map(|above| above.join(tree::MANIFEST));
        let shared = handlers.shared().into_iter().map(Path::to_owned);
        for file in above.chain(shared) {
            if snapshot.add_file(&file, before) {
                snapshot
                    .directories
                    .extend(file.parent().map(Path::to_owned));
            }
        }
        snapshot
    }

    /// Looks at all files of pages below `root`.
    pub(crate) fn of_pages(root: &Path, before: &Sources) -> Sources {
        let mut snapshot = Sources::default();
        snapshot.add(tree::pages(root), before);
        snapshot
    }

    /// A digest of the names and contents of all files.
    pub(crate) fn digest(&self) -> u64 {
        let mut hasher = Xxh3::new();
        for (path, stamp) in &self.files {
            hasher.write(path.as_os_str().as_bytes());
            hasher.write_u64(stamp.content);
        }
        hasher.finish()
    }

    /// The date of a file; `None` if there is no such file.
    pub(crate) fn saved(&self, file: &Path) -> Option<SystemTime> {
        self.files.get(file).map(|stamp| stamp.saved)
    }

    /// The directories to watch for changes.
    pub(crate) fn directories(&self) -> Vec<PathBuf> {
        self.directories.iter().cloned().collect()
    }

    pub(crate) fn since(&self, before: &Sources) -> Changes {
        let mut changes = Changes::default();
        for (path, stamp) in &self.files {
            match before.files.get(path) {
                Some(old) if old == stamp => {}
                Some(old) if old.content == stamp.content => {
                    changes.saved_again.push(path.clone());
                }
                old => {
                    // In the middle of a save a file may have its new content and still its old date.
                    if old.is_none_or(|old| old.saved != stamp.saved) {
                        changes.saved = changes.saved.max(Some(stamp.saved));
                    }
                    changes.changed.push(path.clone());
                }
            }
        }
        let gone = before.files.keys();
        let gone = gone.filter(|path| !self.files.contains_key(*path));
        changes.changed.extend(gone.cloned());
        changes
    }

    /// Looks at one file again, so that its present content is no change later.
    pub(crate) fn accept(&mut self, file: &Path) {
        let before = std::mem::take(self);
        let is_there = self.add_file(file, &before);
        let stamp = self.files.remove(file);
        *self = before;
        match stamp {
            Some(stamp) if is_there => self.files.insert(file.to_owned(), stamp),
            _ => self.files.remove(file),
        };
    }

    fn add(&mut self, tree: tree::Tree, before: &Sources) {
        // What cannot be read at the moment stays as it was before.
        for (file, stamp) in &before.files {
            if tree.is_unknown(file) {
                self.files.entry(file.clone()).or_insert(*stamp);
            }
        }
        let directories = before.directories.iter();
        let unknown = directories.filter(|directory| tree.is_unknown(directory));
        self.directories.extend(unknown.cloned());
        for file in &tree.files {
            // The file exists after all.
            if tree.is_unknown(file) {
                self.files.remove(file);
            }
            self.add_file(file, before);
        }
        self.directories.extend(tree.directories);
    }

    /// Adds a file, if it exists. Answers whether it does.
    fn add_file(&mut self, file: &Path, before: &Sources) -> bool {
        if self.files.contains_key(file) {
            return true;
        }
        let stamp = stamp(file, before.files.get(file));
        if let Some(stamp) = stamp {
            self.files.insert(file.to_owned(), stamp);
        }
        stamp.is_some()
    }
}

impl Changes {
    /// Joins these changes with later ones.
    pub(crate) fn and(mut self, later: Changes) -> Changes {
        self.changed.extend(later.changed);
        self.changed.sort();
        self.changed.dedup();
        self.saved_again.extend(later.saved_again);
        let changed = &self.changed;
        self.saved_again.retain(|file| !changed.contains(file));
        self.saved = self.saved.max(later.saved);
        self
    }

    /// Whether a manifest has changed, and so perhaps which crates are handlers.
    pub(crate) fn has_manifest(&self) -> bool {
        self.changed
            .iter()
            .any(|file| file.ends_with(tree::MANIFEST))
    }

    /// Whether C has changed, and so perhaps which files are handlers.
    pub(crate) fn has_c(&self) -> bool {
        self.changed.iter().any(|file| tree::is_c(file))
    }
}

/// `None` if there is no such file. A file that cannot be read at the moment is as it was `before`.
fn stamp(file: &Path, before: Option<&SourceStamp>) -> Option<SourceStamp> {
    match stamp_now(file, before) {
        Ok(stamp) => Some(stamp),
        Err(NotRead::Io(error)) if !is_absence(&error) => before.copied(),
        Err(_) => None,
    }
}

fn stamp_now(file: &Path, before: Option<&SourceStamp>) -> Result<SourceStamp, NotRead> {
    let metadata = fs::metadata(file)?;
    regular_file::check_kind(&metadata)?;
    let mut stamp = SourceStamp {
        saved: metadata.modified()?,
        size: metadata.len(),
        inode: metadata.ino(),
        content: 0,
    };
    let mut hasher = Xxh3::new();
    if stamp.size > SOURCE_BYTES_MAX {
        hasher.write_i64(metadata.mtime());
        hasher.write_i64(metadata.mtime_nsec());
        hasher.write_u64(stamp.size);
    } else if let Some(old) = before
        && (old.saved, old.size, old.inode) == (stamp.saved, stamp.size, stamp.inode)
    {
        return Ok(*old);
    } else {
        let read = regular_file::read(file, Links::Followed, SOURCE_BYTES_MAX)?;
        hasher.write(&read.bytes);
    }
    stamp.content = hasher.finish();
    Ok(stamp)
}

/// Of a larger file, which is data, only the date and the size are compared.
pub(super) const SOURCE_BYTES_MAX: u64 = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_regular_file_is_no_source() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::write(at("page.html"), "a page").unwrap();
        std::os::unix::fs::symlink(at("page.html"), at("index.html")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", at("endless.html")).unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(at("fifo"))
            .status();
        assert!(made.expect("mkfifo, of coreutils, runs").success());

        let snapshot = Sources::of_pages(root.path(), &Sources::default());

        let found: Vec<&PathBuf> = snapshot.files.keys().collect();
        assert_eq!(found, [&at("index.html"), &at("page.html")]);
    }

    #[test]
    fn what_cannot_be_read_is_as_it_was() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for folder in ["closed", "open"] {
            fs::create_dir(at(folder)).unwrap();
            fs::write(at(folder).join("page.html"), folder).unwrap();
        }
        fs::write(at("index.html"), "index").unwrap();
        let look = |before: &_| Sources::of_pages(root.path(), before);
        let before = look(&Sources::default());
        let all: Vec<PathBuf> = before.files.keys().cloned().collect();

        let unreadable = |name: &str| tree::Tree {
            unreadable: vec![at(name)],
            ..tree::Tree::default()
        };
        let mut during = Sources::default();
        during.add(unreadable("closed"), &before);
        assert_eq!(during.files.keys().collect::<Vec<_>>(), [&all[0]]);
        assert!(during.directories.contains(&at("closed")));
        fs::remove_file(at("index.html")).unwrap();
        std::os::unix::fs::symlink(at("index.html"), at("index.html")).unwrap();
        fs::remove_dir_all(at("open")).unwrap();
        let mut during = look(&before);
        during.add(unreadable("closed"), &before);

        let open = at("open").join("page.html");
        assert_eq!(during.since(&before).changed, [open]);
    }

    #[test]
    fn a_file_that_changes_without_its_date_does_not_tell_when() {
        let root = tempfile::tempdir().unwrap();
        let manifest = root.path().join(tree::MANIFEST);
        fs::write(&manifest, "before").unwrap();
        let look = |before: &_| Sources::take(root.path(), &Handlers::default(), before);
        let before = look(&Sources::default());
        let date = fs::metadata(&manifest).unwrap().modified().unwrap();

        fs::write(&manifest, "").unwrap();
        let file = fs::File::options().write(true).open(&manifest).unwrap();
        file.set_modified(date).unwrap();
        let during = look(&before);
        let later = date + std::time::Duration::from_secs(1);
        fs::write(&manifest, "after").unwrap();
        file.set_modified(later).unwrap();
        let after = look(&during);

        let changed = vec![manifest];
        assert_eq!(during.since(&before).changed, changed);
        assert_eq!(during.since(&before).saved, None);
        assert_eq!(after.since(&during).changed, changed);
        assert_eq!(after.since(&during).saved, Some(later));
    }
}
