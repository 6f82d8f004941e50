//! From the path of a request to an opened file below the document root.
//!
//! Where the file really lies decides, since a link or a spelling may give it any name.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use percent_encoding::{percent_decode, percent_encode};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use super::directory_listing::DirectoryListing;
use crate::http::target::ESCAPED;
use crate::process::optional::{Optional, is_allowed};
use crate::process::regular_file::{self, Links};

/// What lies at a path.
#[derive(Debug)]
pub(super) enum LookupResult {
    /// A regular file.
    File {
        file: File,
        metadata: Metadata,
        /// Its real path.
        path: PathBuf,
        /// The real path of the root above it.
        root: PathBuf,
    },
    /// A directory that was asked for without the slash at its end. The path has the slash.
    Directory(String),
    /// A directory without a page of its own, where directories are listed.
    Listing(DirectoryListing),
    /// Nothing, or nothing that may be served.
    Nothing,
    /// The system could not tell.
    Unknown(io::Error),
}

/// Looks up `path`, which is that of the request line without its query.
pub(super) fn find(root: &Path, path: &str, lists_directories: bool) -> LookupResult {
    let Some(names) = names(path) else {
        return LookupResult::Nothing;
    };
    match find_real(root, path, &names, lists_directories) {
        Ok(found) => found,
        Err(error) if says_nothing_there(&error) => LookupResult::Nothing,
        Err(error) => LookupResult::Unknown(error),
    }
}

fn find_real(
    root: &Path,
    path: &str,
    names: &[OsString],
    lists_directories: bool,
) -> io::Result<LookupResult> {
    let root = root.canonicalize()?;
    let asked = names.iter().fold(root.clone(), |at, name| at.join(name));
    let wants_directory = names.is_empty() || path.ends_with('/');
    let Some(mut real) = below(&root, &asked)? else {
        return Ok(LookupResult::Nothing);
    };
    if std::fs::symlink_metadata(&real)?.is_dir() {
        if !wants_directory {
            return Ok(LookupResult::Directory(with_slash(names)));
        }
        match below(&root, &real.join(INDEX)) {
            Ok(Some(index)) => real = index,
            Ok(None) => return Ok(LookupResult::Nothing),
            Err(error) if lists_directories && error.kind() == io::ErrorKind::NotFound => {
                let listing = DirectoryListing::read(&root, &real)?;
                return Ok(LookupResult::Listing(listing));
            }
            Err(error) => return Err(error),
        }
    } else if wants_directory {
        return Ok(LookupResult::Nothing);
    }
    let (file, metadata) = open(&real)?;
    Ok(LookupResult::File {
        file,
        metadata,
        path: real,
        root,
    })
}

/// The real path that `path` leads to, if it is below the root and no name in it is private.
pub(super) fn below(root: &Path, path: &Path) -> io::Result<Option<PathBuf>> {
    let real = path.canonicalize()?;
    let is_public = real
        .strip_prefix(root)
        .is_ok_and(|inside| inside.iter().all(is_public));
    Ok(is_public.then_some(real))
}

/// Opens a regular file at its real path. A link that was put into that path meanwhile is not followed.
pub(super) fn open(real: &Path) -> io::Result<(File, Metadata)> {
    // A device may act on being opened, so the kind is checked before.
    regular_file::check_kind(&std::fs::symlink_metadata(real)?)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let opened = if is_allowed(Optional::OpeningWithoutLinks) {
        openat2(CWD, real, flags, Mode::empty(), resolve)
    } else {
        Err(Errno::NOSYS)
    };
    match opened {
        Ok(file) => {
            let file = File::from(file);
            let metadata = file.metadata()?;
            regular_file::check_kind(&metadata)?;
            Ok((file, metadata))
        }
        // A kernel before 5.6, or a filter of system calls that does not know `openat2`.
        Err(Errno::NOSYS | Errno::PERM) => {
            regular_file::open(real, Links::Refused).map_err(io::Error::from)
        }
        Err(error) => Err(error.into()),
    }
}

/// The names in a path, each decoded once; `None` if one of them is private.
fn names(path: &str) -> Option<Vec<OsString>> {
    let names = path.split('/').filter(|name| !name.is_empty());
    names
        .map(|name| {
            let name: Vec<u8> = percent_decode(name.as_bytes()).collect();
            let is_name = !name.iter().any(|byte| matches!(byte, b'/' | 0));
            let name = OsString::from_vec(name);
            (is_name && is_public(&name)).then_some(name)
        })
        .collect()
}

/// Whether a name may be asked for. Hidden files are private, and so are compiled handlers, also under
/// the names that editors and deployers give to copies (`chat_wsh.so~`, `chat_wsh.so.old`).
pub(super) fn is_public(name: &OsStr) -> bool {
    let name = name.as_bytes();
    if name.starts_with(b".") {
        return name == b".well-known";
    }
    // In any case, since some file systems take one spelling for another.
    let name = name.to_ascii_lowercase();
    !PLUGIN_ENDINGS.iter().any(|ending| {
        let mut found = (0..name.len()).filter(|at| name[*at..].starts_with(ending.as_bytes()));
        found.any(|at| {
            let next = name.get(at + ending.len());
            next.is_none_or(|byte| !byte.is_ascii_alphanumeric())
        })
    })
}

/// The path of a directory, for a `Location` that cannot lead to another host.
fn with_slash(names: &[OsString]) -> String {
    let mut path = String::new();
    for name in names {
        path.push('/');
        path.extend(percent_encode(name.as_bytes(), ESCAPED));
    }
    path.push('/');
    path
}

/// Whether an error means to a client that nothing is there.
fn says_nothing_there(error: &io::Error) -> bool {
    let kinds = [
        io::ErrorKind::NotFound,
        io::ErrorKind::NotADirectory,
        io::ErrorKind::IsADirectory,
        io::ErrorKind::PermissionDenied,
        io::ErrorKind::InvalidInput,
        io::ErrorKind::InvalidFilename,
    ];
    // A loop of links, or a link that was put into the path meanwhile.
    kinds.contains(&error.kind()) || error.raw_os_error() == Some(libc::ELOOP)
}

/// The page of a directory.
const INDEX: &str = "index.html";
/// How the names of compiled handlers end.
const PLUGIN_ENDINGS: [&str; 3] = ["_wsh.so", "_wsh.dylib", "_wsh.dll"];

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    fn said(found: LookupResult) -> String {
        match found {
            LookupResult::File { mut file, .. } => io::read_to_string(&mut file).expect("text"),
            LookupResult::Directory(path) => format!("to {path}"),
            LookupResult::Listing(listing) => listing.page("/"),
            LookupResult::Nothing => "nothing".to_owned(),
            LookupResult::Unknown(error) => format!("unknown: {error}"),
        }
    }

    #[test]
    fn what_is_served_lies_below_the_root_and_is_public_under_every_name() {
        let site = tempfile::tempdir().unwrap();
        let root = site.path().join("www");
        let at = |name: &str| root.join(name);
        for directory in ["sub", "empty", ".git", ".well-known", "a b"] {
            fs::create_dir_all(at(directory)).unwrap();
        }
        fs::write(site.path().join("secret"), "secret").unwrap();
        for (name, text) in [
            ("index.html", "the index"),
            ("sub/index.html", "of sub"),
            ("a b/c+d.txt", "spaces"),
            (".env", "private"),
            (".git/config", "private"),
            (".well-known/security.txt", "well known"),
            ("x_wsh.so", "compiled"),
            ("x_wsh.so.old", "compiled"),
            ("X_WSH.SO", "compiled"),
            ("x_wsh.source", "text"),
            ("so.so", "text"),
        ] {
            fs::write(at(name), text).unwrap();
        }
        for (link, to) in [
            ("out", site.path().join("secret")),
            ("up", PathBuf::from("../secret")),
            ("outside", site.path().to_owned()),
            ("inside", at("sub")),
            ("to_plugin.txt", at("x_wsh.so")),
            ("to_hidden.txt", at(".env")),
            ("loop", at("loop")),
            ("nowhere", at("gone")),
            ("to_null", PathBuf::from("/dev/null")),
        ] {
            symlink(to, at(link)).unwrap();
        }
        let _socket = UnixListener::bind(at("socket")).unwrap();

        for (path, wanted) in [
            ("/", "the index"),
            ("", "the index"),
            ("/index.html", "the index"),
            ("/sub", "to /sub/"),
            ("//sub", "to /sub/"),
            ("/sub/", "of sub"),
            ("//sub//", "of sub"),
            ("/inside/", "of sub"),
            ("/inside/index.html", "of sub"),
            ("/a%20b", "to /a%20b/"),
            ("/a%20b/c%2bd.txt", "spaces"),
            ("/.well-known/security.txt", "well known"),
            ("/x_wsh.source", "text"),
            ("/so.so", "text"),
            ("/index.html/", "nothing"),
            ("/empty/", "nothing"),
            ("/gone", "nothing"),
            ("/out", "nothing"),
            ("/up", "nothing"),
            ("/outside/secret", "nothing"),
            ("/outside/www/index.html", "the index"),
            ("/../secret", "nothing"),
            ("/%2e%2e/secret", "nothing"),
            ("/sub/../../secret", "nothing"),
            ("/..%2fsecret", "nothing"),
            ("/.env", "nothing"),
            ("/%2eenv", "nothing"),
            ("/.git/config", "nothing"),
            ("/to_hidden.txt", "nothing"),
            ("/x_wsh.so", "nothing"),
            ("/x_wsh%2eso", "nothing"),
            ("/x_wsh.so%2f", "nothing"),
            ("/x_wsh.so/", "nothing"),
            ("/x_wsh.so/.", "nothing"),
            ("/x_wsh.so%00", "nothing"),
            ("/x_wsh.so.old", "nothing"),
            ("/X_WSH.SO", "nothing"),
            ("/to_plugin.txt", "nothing"),
            ("/loop", "nothing"),
            ("/nowhere", "nothing"),
            ("/to_null", "nothing"),
            ("/socket", "nothing"),
        ] {
            assert_eq!(said(find(&root, path, false)), wanted, "{path}");
        }
        let long = format!("/{}", "x".repeat(300));
        assert_eq!(said(find(&root, &long, false)), "nothing");
    }

    #[test]
    fn a_root_that_is_a_link_is_the_directory_that_it_leads_to() {
        let site = tempfile::tempdir().unwrap();
        fs::create_dir(site.path().join("www")).unwrap();
        fs::write(site.path().join("www/index.html"), "the index").unwrap();
        symlink(site.path().join("www"), site.path().join("current")).unwrap();
        let root = site.path().join("current");
        assert_eq!(said(find(&root, "/index.html", false)), "the index");
        assert_eq!(said(find(&site.path().join("gone"), "/", false)), "nothing");
    }
}
