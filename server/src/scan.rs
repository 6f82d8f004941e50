//! What lies in the handlers directory now: which files are plugins, and the path of each.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::plugin::refusal::Refusal;
use crate::plugin::trust;
use crate::regular_file;

/// Everything that was found, in the order of paths.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) plugins: Vec<Found>,
    /// What would be a plugin if it were not for this.
    pub(crate) refused: Vec<(PathBuf, Refusal)>,
    /// Every directory that was looked into, the handlers directory first.
    pub(crate) directories: Vec<PathBuf>,
    /// Whether there are crates of handlers: sources instead of libraries.
    pub(crate) has_crates: bool,
}

/// A file that is to be a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    /// The handler's name: its route without the leading slash.
    pub(crate) name: String,
    pub(crate) stamp: Stamp,
}

/// What tells one content of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) inode: (u64, u64),
    pub(crate) bytes: u64,
    /// Nanoseconds since 1970.
    pub(crate) modified: i128,
    changed: i128,
}

impl Stamp {
    pub(crate) fn of(metadata: &Metadata) -> Stamp {
        let time = |seconds: i64, nanoseconds: i64| {
            i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
        };
        Stamp {
            inode: (metadata.dev(), metadata.ino()),
            bytes: metadata.len(),
            modified: time(metadata.mtime(), metadata.mtime_nsec()),
            changed: time(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether only the file's mode, owner or links may differ.
    pub(crate) fn has_same_content_as(&self, other: &Stamp) -> bool {
        let content = |stamp: &Stamp| (stamp.inode, stamp.bytes, stamp.modified);
        content(self) == content(other)
    }
}

/// Looks through the handlers directory. Fails only if that directory cannot be read.
pub(crate) fn scan(config: &Config) -> io::Result<Scan> {
    // Names go by the path as it is written: a link that is switched to another directory leads to
    // new files of the same names.
    let mut walk = Walk {
        scan: Scan::default(),
        real_root: fs::canonicalize(&config.handlers_dir)?,
        allows_outside: config.allow_handlers_outside_root_dir,
        seen: HashSet::new(),
    };
    // The name of a handler is relative to the handlers directory also when only a part is scanned.
    let below = config.scan_dir.strip_prefix(&config.handlers_dir);
    let prefix = below.unwrap_or(Path::new("")).to_path_buf();
    let start = config.handlers_dir.join(&prefix);
    // Whoever may write a directory above the scanned one may put another in its place.
    for above in start.ancestors().skip(1).take(prefix.iter().count()) {
        if let Err(refusal) = trust::check(above, &fs::metadata(above)?) {
            walk.scan.refused.push((above.into(), refusal));
            return Ok(walk.scan);
        }
    }
    walk.directory(&start, &prefix, 0)?;
    walk.scan.plugins.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(walk.scan)
}

struct Walk {
    scan: Scan,
    /// The handlers directory, symlinks resolved.
    real_root: PathBuf,
    allows_outside: bool,
    /// Directories by device and inode: a link back up is walked once.
    seen: HashSet<(u64, u64)>,
}

impl Walk {
    fn directory(&mut self, path: &Path, prefix: &Path, depth: usize) -> io::Result<()> {
        let metadata = fs::metadata(path)?;
        if depth > DEPTH_MAX || !self.seen.insert((metadata.dev(), metadata.ino())) {
            return Ok(());
        }
        if let Err(refusal) = trust::check(path, &metadata) {
            self.scan.directories.push(path.into());
            self.scan.refused.push((path.into(), refusal));
            return Ok(());
        }
        self.scan.directories.push(path.into());
        let mut entries: Vec<_> = fs::read_dir(path)?.flatten().collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            self.entry(&entry.path(), prefix, depth);
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, prefix: &Path, depth: usize) {
        let Some(file_name) = path.file_name() else {
            return;
        };
        // It may have gone since the directory was read.
        let Ok(own) = fs::symlink_metadata(path) else {
            return;
        };
        // A link that leads nowhere is like a file that is not there.
        let Ok(metadata) = fs::metadata(path) else {
            return;
        };
        if metadata.is_dir() {
            self.scan.has_crates |= path.join("Cargo.toml").exists();
            let is_inside = !own.is_symlink() || self.allows_outside || self.is_inside(path);
            if is_inside && !path.join("CACHEDIR.TAG").exists() {
                // A folder that cannot be read has no plugins for us.
                let _ = self.directory(path, &prefix.join(file_name), depth + 1);
            }
            return;
        }
        let Some(stem) = handler_stem(file_name.as_encoded_bytes()) else {
            return;
        };
        let outcome = name_of(prefix, stem).and_then(|name| {
            if own.is_symlink() && !self.allows_outside && !self.is_inside(path) {
                let to = fs::canonicalize(path).unwrap_or_default();
                return Err(Refusal::Outside { to });
            }
            regular_file::check_kind(&metadata)?;
            regular_file::check_length(metadata.len(), PLUGIN_BYTES_MAX)?;
            trust::check(path, &metadata)?;
            Ok(name)
        });
        match outcome {
            Ok(name) => self.scan.plugins.push(Found {
                path: path.into(),
                name,
                stamp: Stamp::of(&metadata),
            }),
            Err(refusal) => self.scan.refused.push((path.into(), refusal)),
        }
    }

    fn is_inside(&self, path: &Path) -> bool {
        fs::canonicalize(path).is_ok_and(|real| real.starts_with(&self.real_root))
    }
}

/// How a file is named in messages.
pub(crate) fn relative(path: &Path, config: &Config) -> PathBuf {
    let relative = path.strip_prefix(&config.handlers_dir);
    relative.unwrap_or(path).to_path_buf()
}

/// `echo` of `echo_wsh.so` and `libecho_wsh.so`; nothing of what is no plugin.
fn handler_stem(file_name: &[u8]) -> Option<&[u8]> {
    let extensions: [&[u8]; 3] = [b".so", b".dylib", b".dll"];
    let stem = extensions
        .iter()
        .find_map(|ext| file_name.strip_suffix(*ext))?;
    let stem = stem.strip_suffix(b"_wsh")?;
    Some(stem.strip_prefix(b"lib").unwrap_or(stem))
}

/// The name of the handler in `prefix/stem_wsh.so`; one without a stem is its directory's own.
fn name_of(prefix: &Path, stem: &[u8]) -> Result<String, Refusal> {
    let stem = std::str::from_utf8(stem).map_err(|_| Refusal::Unnamed)?;
    let mut parts: Vec<&str> = Vec::new();
    for part in prefix.iter() {
        parts.push(part.to_str().ok_or(Refusal::Unnamed)?);
    }
    if !stem.is_empty() {
        parts.push(stem);
    }
    Ok(parts.join("/"))
}

/// Directories inside one another.
const DEPTH_MAX: usize = 32;
/// The largest file that is read as a plugin: four times a large one with its debugging information.
pub(crate) const PLUGIN_BYTES_MAX: u64 = 256 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn name(prefix: &str, file: &str) -> Option<String> {
        name_of(Path::new(prefix), handler_stem(file.as_bytes())?).ok()
    }

    #[test]
    fn a_file_answers_at_the_path_of_its_name() {
        for (prefix, file, expected) in [
            ("", "echo_wsh.so", Some("echo")),
            ("", "libecho_wsh.so", Some("echo")),
            ("", "echo_wsh.dylib", Some("echo")),
            ("", "echo_wsh.dll", Some("echo")),
            ("a", "b_wsh.so", Some("a/b")),
            ("a/c", "_wsh.so", Some("a/c")),
            ("", "_wsh.so", Some("")),
            ("", "My Handler_wsh.so", Some("My Handler")),
            ("", "echo.so", None),
            ("", "libm.so.6", None),
            ("", "echo_wsh.so.bak", None),
            ("", "echo_wsh.d", None),
            ("", "echo_WSH.so", None),
        ] {
            assert_eq!(name(prefix, file).as_deref(), expected, "{prefix}/{file}");
        }
    }
}
