//! Where the admin socket lies: a server puts it there, and the commands of operators look for it there.
//!
//! A server makes its socket in the first directory that is its user's own and that no other user can write. Its name has the
//! number of the process, so that servers of one user do not collide, and a new process that takes over from an old one does
//! not either.

use std::fs::{self, DirBuilder, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Pid, geteuid, test_kill_process};
use tracing::warn;

/// A directory in which admin sockets may lie.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Directory {
    path: PathBuf,
    /// Whether the server makes it where it is missing.
    is_made: bool,
}

/// The path for the socket of this process; `None` if there is no directory for it.
///
/// Sockets that dead servers have left in the directory are removed.
pub(crate) fn choose() -> Option<PathBuf> {
    let name = format!("{}.{ENDING}", std::process::id());
    for directory in directories() {
        let path = directory.path.join(&name);
        if path.as_os_str().len() > PATH_BYTES_MAX {
            continue;
        }
        if directory.is_made {
            // It may be there already, and what counts is whose it is.
            let _ = DirBuilder::new().mode(0o700).create(&directory.path);
        }
        if is_own(&directory.path) {
            clear(&directory.path);
            return Some(path);
        }
    }
    None
}

/// The sockets of servers of this user, and of the machine's service, that an operator may mean. Those of the second list
/// are meant where no server of the first one runs.
///
/// A server that was started without a session of its user has no runtime directory, while the shell of an operator has one.
pub(crate) fn candidates() -> [Vec<PathBuf>; 2] {
    let mut directories = directories();
    let last = directories.split_off(directories.len() - 1);
    let found = [sockets_in(&directories), sockets_in(&last)];
    match directories.len() {
        1 => [found.concat(), Vec::new()],
        _ => found,
    }
}

/// Makes the directory for services, if it is not there, for a server that is root and becomes this user.
pub(crate) fn make_service_directory(user: u32, group: u32) {
    // In a directory that is there already no more is made than its user can make.
    if DirBuilder::new().mode(0o755).create(SERVICE).is_ok() {
        let given = std::os::unix::fs::lchown(SERVICE, Some(user), Some(group));
        if let Err(error) = given {
            warn!(path = SERVICE, %error, "the directory for the admin socket cannot be given to `user`");
        }
    }
}

fn sockets_in(directories: &[Directory]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for directory in directories {
        // The service has a user of its own.
        let is_fit = match directory.path == Path::new(SERVICE) {
            true => is_safe(&directory.path, |_| true),
            false => is_own(&directory.path),
        };
        let entries = is_fit.then(|| fs::read_dir(&directory.path));
        let entries = entries.into_iter().flatten().flatten();
        let sockets = entries.flatten().take(SOCKETS_MAX).filter_map(|entry| {
            let is_socket = entry.file_type().is_ok_and(|it| it.is_socket());
            let path = entry.path();
            let is_named_so = path.extension().is_some_and(|it| it == ENDING);
            (is_socket && is_named_so).then_some(path)
        });
        found.extend(sockets);
    }
    found.sort();
    found
}

/// The directories for sockets, in the order in which they are tried.
fn directories() -> Vec<Directory> {
    let mut directories = vec![Directory {
        path: SERVICE.into(),
        is_made: false,
    }];
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    if let Some(runtime) = runtime.filter(|it| it.is_absolute() && is_own(it)) {
        directories.push(Directory {
            path: runtime.join("wshd"),
            is_made: true,
        });
    }
    directories.push(Directory {
        path: format!("/tmp/wshd-{}", geteuid().as_raw()).into(),
        is_made: true,
    });
    directories
}

/// Whether it is a directory of this user that no other user can write.
fn is_own(path: &Path) -> bool {
    is_safe(path, |found| found.uid() == geteuid().as_raw())
}

fn is_safe(path: &Path, is_owner_fit: impl Fn(&Metadata) -> bool) -> bool {
    // A link may lead to what another user puts there.
    let found = fs::symlink_metadata(path);
    found.is_ok_and(|it| it.is_dir() && it.mode() & 0o022 == 0 && is_owner_fit(&it))
}

/// Removes the sockets of processes that are gone.
fn clear(directory: &Path) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries.take(SOCKETS_MAX) {
        let path = entry.path();
        let is_socket = entry.file_type().is_ok_and(|it| it.is_socket());
        if is_socket && is_left_behind(&path) {
            let _ = fs::remove_file(path);
        }
    }
}

/// Whether the process that the name of the socket tells is gone. A process that this one cannot see may listen too.
fn is_left_behind(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let number = name.and_then(|name| name.strip_suffix(".sock"));
    let number = number.and_then(|number| number.parse().ok());
    let Some(process) = number.and_then(Pid::from_raw) else {
        return false;
    };
    test_kill_process(process) == Err(Errno::SRCH)
        && std::os::unix::net::UnixStream::connect(path)
            .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

/// The directory that systemd makes for the service (`RuntimeDirectory=`).
const SERVICE: &str = "/run/wshd";
const ENDING: &str = "sock";
/// The longest path of a Unix socket, less the NUL at its end.
const PATH_BYTES_MAX: usize = 107;
/// How many entries of a directory are looked at.
const SOCKETS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_directory_that_others_can_write_or_that_is_a_link_is_no_place() {
        let dir = tempfile::tempdir().expect("a directory");
        let own = dir.path().join("own");
        fs::create_dir(&own).expect("a directory");
        for (mode, expected) in [(0o700, true), (0o755, true), (0o770, false), (0o777, false)] {
            fs::set_permissions(&own, fs::Permissions::from_mode(mode)).expect("its mode");
            assert_eq!(is_own(&own), expected, "{mode:o}");
        }
        fs::set_permissions(&own, fs::Permissions::from_mode(0o700)).expect("its mode");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&own, &link).expect("a link");
        assert!(!is_own(&link));
        assert!(!is_own(&dir.path().join("none")));
    }

    #[test]
    fn only_the_sockets_of_processes_that_are_gone_are_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        let mut child = std::process::Command::new("true").spawn().expect("it runs");
        let gone = child.id();
        child.wait().expect("it ends");
        let own = format!("{}.sock", std::process::id());
        for name in [&format!("{gone}.sock"), &own, "admin.sock"] {
            drop(UnixListener::bind(at(name)).expect("a socket"));
        }
        fs::write(at("7.sock"), "a file").expect("a file");

        clear(dir.path());

        assert!(!at(&format!("{gone}.sock")).exists());
        assert!(at(&own).exists() && at("admin.sock").exists() && at("7.sock").exists());
    }
}
