//! Looks through the handlers directory: which files are plugins, and the route of each.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::{Config, Trust};
use crate::plugin::PLUGIN_BYTES_MAX;
use crate::plugin::refusal::Refusal;
use crate::plugin::trust::Guard;
use crate::process::regular_file::{self, is_absence};

/// What one look through the handlers directory has found.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// In the order of paths.
    pub(crate) plugins: Vec<Found>,
    /// Files and directories that are refused for their kind, or because other users can write them.
    pub(crate) refused: Vec<(PathBuf, Refusal)>,
    /// Paths that cannot be read, and the system's error. What lies there or below is neither present nor
    /// gone.
    pub(crate) unreadable: Vec<(PathBuf, String)>,
    /// Every directory that was looked at, the handlers directory first.
    pub(crate) directories: Vec<PathBuf>,
    /// Links to directories that were looked at.
    pub(crate) links: Vec<PathBuf>,
    /// Whether a directory holds a `Cargo.toml`: sources instead of libraries.
    pub(crate) has_crates: bool,
    /// A handler in Python that was found, as pywebsocket has them.
    pub(crate) python_handler: Option<PathBuf>,
}

/// The settings that decide which files a scan finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    handlers_dir: PathBuf,
    scan_dir: PathBuf,
    allows_outside: bool,
    trust: Trust,
}

/// A file whose name is that of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    /// The handler's name: its route without the leading slash.
    pub(crate) name: String,
    pub(crate) stamp: Stamp,
}

/// Metadata that tell one content of a file from another without reading it.
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

    /// A stamp that belongs to no file.
    #[cfg(test)]
    pub(crate) fn made_up(inode: u64, modified: i128, changed: i128) -> Stamp {
        Stamp {
            inode: (1, inode),
            bytes: 4096,
            modified,
            changed,
        }
    }

    /// Whether the file has surely not changed since `time`. The system's times of changes lag by up to a tick.
    pub(crate) fn is_older_than(&self, time: SystemTime) -> bool {
        let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = i128::try_from(since_1970.as_nanos()).unwrap_or(i128::MAX);
        self.changed < time - TICK_NS
    }

    /// Whether at most the file's mode, owner or number of links differs.
    pub(crate) fn has_same_content_as(&self, other: &Stamp) -> bool {
        let content = |stamp: &Stamp| (stamp.inode, stamp.bytes, stamp.modified);
        content(self) == content(other)
    }
}

/// The longest tick of a clock, in nanoseconds.
const TICK_NS: i128 = 10_000_000;

/// Looks through the handlers directory. Fails only if there is no such directory; one that cannot be
/// read is in `Scan::unreadable`.
pub(crate) fn scan(scope: &Scope) -> io::Result<Scan> {
    // Names follow the path as it is written, so that a link which is switched to another directory
    // leads to new files for the same routes.
    let mut walk = Walk {
        scan: Scan::default(),
        real_root: PathBuf::new(),
        allows_outside: scope.allows_outside,
        guard: Guard::new(scope.trust),
        is_cache: false,
        seen: HashSet::new(),
    };
    // Handlers' names are relative to the handlers directory, also when only a part of it is scanned.
    let below = scope.scan_dir.strip_prefix(&scope.handlers_dir);
    let prefix = below.unwrap_or(Path::new("")).to_path_buf();
    // `join` with nothing would add a slash.
    let start = match prefix.as_os_str().is_empty() {
        true => scope.handlers_dir.clone(),
        false => scope.handlers_dir.join(&prefix),
    };
    match walk.start(&scope.handlers_dir, &start, &prefix) {
        Err(error) if is_absence(&error) => return Err(error),
        Err(error) => walk.cannot_read(&start, &error),
        Ok(()) => {}
    }
    walk.scan.plugins.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(walk.scan)
}

impl Scope {
    /// The directory that handlers' names are relative to.
    pub(crate) fn handlers_dir(&self) -> &Path {
        &self.handlers_dir
    }

    pub(crate) fn of(config: &Config) -> Scope {
        Scope {
            handlers_dir: config.handlers_dir.clone(),
            scan_dir: config.scan_dir.clone(),
            allows_outside: config.allow_handlers_outside_root_dir,
            trust: config.trust,
        }
    }
}

impl Scan {
    /// Whether this path or something on the way to it cannot be read, so that nothing is known of it.
    pub(crate) fn is_unknown(&self, path: &Path) -> bool {
        let mut unreadable = self.unreadable.iter();
        unreadable.any(|(unreadable, _)| path.starts_with(unreadable))
    }
}

struct Walk {
    scan: Scan,
    /// The handlers directory, symlinks resolved.
    real_root: PathBuf,
    allows_outside: bool,
    guard: Guard,
    /// Whether the handlers directory lies in a tagged cache such as cargo's `target`. The folders in it
    /// are then the cache's own, with copies of the files above them.
    is_cache: bool,
    /// Directories that were walked, by device and inode: a link may lead back up.
    seen: HashSet<(u64, u64)>,
}

impl Walk {
    fn start(&mut self, root: &Path, start: &Path, prefix: &Path) -> io::Result<()> {
        self.real_root = fs::canonicalize(root)?;
        for directory in self.real_root.ancestors() {
            self.is_cache |= directory.join(CACHE_TAG).try_exists()?;
        }
        // A user who may write a directory above the scanned one can put another in its place.
        for above in start.ancestors().skip(1).take(prefix.iter().count()) {
            if let Err(refusal) = self.guard.check(above, &fs::metadata(above)?)? {
                self.scan.refused.push((above.into(), refusal));
                return Ok(());
            }
        }
        self.directory(start, prefix, 0)
    }

    /// Notes an error that tells neither what is at this path nor that nothing is.
    fn cannot_read(&mut self, path: &Path, error: &io::Error) {
        self.scan.unreadable.push((path.into(), error.to_string()));
    }

    fn directory(&mut self, path: &Path, prefix: &Path, depth: usize) -> io::Result<()> {
        let metadata = fs::metadata(path)?;
        if depth > DEPTH_MAX || !self.seen.insert((metadata.dev(), metadata.ino())) {
            return Ok(());
        }
        self.scan.directories.push(path.into());
        if let Err(refusal) = self.guard.check(path, &metadata)? {
            self.scan.refused.push((path.into(), refusal));
            return Ok(());
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            match entry {
                Ok(entry) => names.push(entry.file_name()),
                // The names that came before are there; of the rest nothing is known.
                Err(error) => self.cannot_read(path, &error),
            }
        }
        names.sort();
        for name in names {
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = path.join(name);
            match self.entry(&path, prefix, depth) {
                // The entry has gone since the directory was read, or is a link that leads nowhere.
                Err(error) if is_absence(&error) => {}
                Err(error) => self.cannot_read(&path, &error),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, prefix: &Path, depth: usize) -> io::Result<()> {
        let Some(file_name) = path.file_name() else {
            return Ok(());
        };
        let is_link = fs::symlink_metadata(path)?.is_symlink();
        let metadata = fs::metadata(path)?;
        if metadata.is_dir() {
            self.scan.has_crates |= path.join("Cargo.toml").exists();
            let is_inside = !is_link || self.allows_outside || self.is_inside(path)?;
            if is_inside && !self.is_cache && !path.join(CACHE_TAG).try_exists()? {
                if is_link {
                    self.scan.links.push(path.into());
                }
                self.directory(path, &prefix.join(file_name), depth + 1)?;
            }
            return Ok(());
        }
        let Some(stem) = handler_stem(file_name.as_encoded_bytes()) else {
            if file_name.as_encoded_bytes().ends_with(b"_wsh.py") {
                let found = &mut self.scan.python_handler;
                found.get_or_insert_with(|| path.into());
            }
            return Ok(());
        };
        if is_link && !self.allows_outside && !self.is_inside(path)? {
            let to = fs::canonicalize(path)?;
            self.scan
                .refused
                .push((path.into(), Refusal::Outside { to }));
            return Ok(());
        }
        let found = match candidate(path, prefix, stem, &metadata) {
            Ok(found) => self.guard.check(path, &metadata)?.map(|()| found),
            Err(refusal) => Err(refusal),
        };
        match found {
            Ok(found) => self.scan.plugins.push(found),
            Err(refusal) => self.scan.refused.push((path.into(), refusal)),
        }
        Ok(())
    }

    fn is_inside(&self, path: &Path) -> io::Result<bool> {
        Ok(fs::canonicalize(path)?.starts_with(&self.real_root))
    }
}

/// The file as a plugin, unless its name, kind or length speaks against it.
fn candidate(
    path: &Path,
    prefix: &Path,
    stem: &[u8],
    metadata: &Metadata,
) -> Result<Found, Refusal> {
    let name = name_of(prefix, stem)?;
    regular_file::check_kind(metadata)?;
    regular_file::check_length(metadata.len(), PLUGIN_BYTES_MAX)?;
    Ok(Found {
        path: path.into(),
        name,
        stamp: Stamp::of(metadata),
    })
}

/// The path of a file as messages say it: relative to the handlers directory, if it lies there.
pub(crate) fn relative(path: &Path, config: &Config) -> PathBuf {
    match path.strip_prefix(&config.handlers_dir) {
        // The handlers directory relative to itself would be nothing.
        Ok(relative) if !relative.as_os_str().is_empty() => relative.to_path_buf(),
        _ => path.to_path_buf(),
    }
}

/// The name of the handler in the file at `path`; `None` if the file's name is not that of a plugin.
pub(crate) fn name_at(path: &Path, config: &Config) -> Option<String> {
    let relative = path.strip_prefix(&config.handlers_dir).ok()?;
    let stem = handler_stem(relative.file_name()?.as_encoded_bytes())?;
    name_of(relative.parent()?, stem).ok()
}

/// Whether the file's name is `_wsh.so`: its handler answers at the path of the directory that the file lies in.
pub(crate) fn is_of_directory(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    handler_stem(name.as_encoded_bytes()).is_some_and(<[u8]>::is_empty)
}

/// `echo` for `echo_wsh.so` and `libecho_wsh.so`; `None` for a file that is no plugin.
fn handler_stem(file_name: &[u8]) -> Option<&[u8]> {
    let extensions: [&[u8]; 3] = [b".so", b".dylib", b".dll"];
    let stem = extensions
        .iter()
        .find_map(|ext| file_name.strip_suffix(*ext))?;
    let stem = stem.strip_suffix(b"_wsh")?;
    Some(stem.strip_prefix(b"lib").unwrap_or(stem))
}

/// The name of the handler in `prefix/stem_wsh.so`. Without a stem it is the directory's name.
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

/// The file that marks a directory as a cache: <https://bford.info/cachedir/>.
const CACHE_TAG: &str = "CACHEDIR.TAG";
/// How deep below the handlers directory a directory may lie.
const DEPTH_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn name(prefix: &str, file: &str) -> Option<String> {
        name_of(Path::new(prefix), handler_stem(file.as_bytes())?).ok()
    }

    #[test]
    fn a_file_is_older_than_a_time_only_if_its_last_change_is_a_tick_before() {
        let second = 1_000_000_000;
        let time = UNIX_EPOCH + std::time::Duration::from_secs(5);
        for (changed, expected) in [
            (4 * second, true),
            (5 * second - TICK_NS - 1, true),
            (5 * second - TICK_NS, false),
            (5 * second, false),
            (6 * second, false),
        ] {
            // The time of the modification can be set by everybody, and does not count.
            let stamp = Stamp::made_up(1, 0, changed);
            assert_eq!(stamp.is_older_than(time), expected, "{changed}");
        }
    }

    #[test]
    fn a_file_without_a_name_of_its_own_is_that_of_its_directory() {
        for (path, expected) in [
            ("sub/_wsh.so", true),
            ("sub/lib_wsh.so", true),
            ("sub_wsh.so", false),
            ("sub/wsh.so", false),
        ] {
            assert_eq!(is_of_directory(Path::new(path)), expected, "{path}");
        }
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
