//! The file of a Unix socket: made with its mode, and removed at the end.
//!
//! A server that was killed leaves its file behind, on which no connection succeeds. The next server takes the
//! path over. A file on which one succeeds belongs to a server that runs, and a file that is no socket to
//! something else: neither is ever removed.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FlockOperation, Gid, Mode, OFlags, Uid, chownat, fchmod, flock, open};
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};
use tracing::info;

use super::binding::WhyNot;
use crate::process::passed_sockets::FileIdentity;

/// The file of a socket that is open. It is removed when this is dropped, if it still is that file.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// `None` if the process that has passed the socket on does not say which file it is, and none lies there.
    identity: Option<FileIdentity>,
    /// Whether it stays, because another process has it or is to have it.
    is_left: AtomicBool,
}

/// Why the file of a socket cannot be given to another user.
#[derive(Debug, thiserror::Error)]
#[error("cannot give the socket `{}` to the user of `user`: {error}", path.display())]
pub struct GiveFileError {
    path: PathBuf,
    error: io::Error,
}

/// How a path came not to lead to its socket any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileLoss {
    /// Nothing lies there.
    Removed,
    /// Another file lies there, which a process that is gone may have left.
    Replaced(FileIdentity),
}

/// What lies at the path of a socket that is to be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Occupant {
    Nothing,
    /// A socket on which nothing listens any more.
    StaleSocket,
    LiveSocket,
    NoSocket,
}

impl SocketFile {
    /// The file of a socket that another process has passed on. It is that process's until it is claimed.
    ///
    /// That process knows which file it is. What lies at the path may have been put there later.
    pub(super) fn of_another(path: &Path, identity: Option<FileIdentity>) -> SocketFile {
        let found = || Some(FileIdentity::of(&fs::symlink_metadata(path).ok()?));
        SocketFile {
            path: path.to_owned(),
            identity: identity.or_else(found),
            is_left: AtomicBool::new(true),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn identity(&self) -> Option<FileIdentity> {
        self.identity
    }

    /// Whether the file stays.
    pub(super) fn is_left(&self) -> bool {
        self.is_left.load(Ordering::Relaxed)
    }

    /// Has the file removed with this.
    pub(super) fn claim(&self) {
        self.is_left.store(false, Ordering::Relaxed);
    }

    /// Leaves the file to another process, which has the socket too.
    pub(super) fn leave(&self) {
        self.is_left.store(true, Ordering::Relaxed);
    }

    /// Puts the file at `path`, in place of what lies there.
    pub(crate) fn move_to(&mut self, path: &Path) -> io::Result<()> {
        if self.path != path {
            fs::rename(&self.path, path)?;
            self.path = path.to_owned();
        }
        Ok(())
    }

    /// Gives the file this mode.
    pub(super) fn set_mode(&self, mode: u32) -> io::Result<()> {
        match open_same(&self.path, self.identity)? {
            Some(file) => set_mode_of(&file, &self.path, mode),
            None => Ok(()),
        }
    }

    /// Gives the file to this user and this group, if it still is this process's. To be called by root.
    pub(crate) fn give_to(&self, user: u32, group: u32) -> Result<(), GiveFileError> {
        let fault = |error: io::Error| GiveFileError {
            path: self.path.clone(),
            error,
        };
        if self.is_left() {
            return Ok(());
        }
        let Some(file) = open_same(&self.path, self.identity).map_err(fault)? else {
            return Ok(());
        };
        let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
        let given = chownat(&file, "", Some(user), Some(group), AtFlags::EMPTY_PATH);
        given.map_err(|error| fault(error.into()))
    }

    /// How its path came not to lead to it any more; `None` while it does, or if the file is another process's.
    pub(super) fn loss(&self) -> Option<FileLoss> {
        if self.is_left() {
            return None;
        }
        match fs::symlink_metadata(&self.path) {
            Ok(found) => {
                let found = FileIdentity::of(&found);
                (self.identity != Some(found)).then_some(FileLoss::Replaced(found))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Some(FileLoss::Removed),
            // What lies there is not known.
            Err(_) => None,
        }
    }

    /// Whether it is what lies at `path`.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        let found = fs::symlink_metadata(path);
        found.is_ok_and(|found| Some(FileIdentity::of(&found)) == self.identity)
    }
}

/// Makes a socket that listens at `path`. Its file has `mode` from the first moment at which it can be connected to.
pub(crate) fn bind(path: &Path, mode: u32, backlog: i32) -> Result<(Socket, SocketFile), WhyNot> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let lock = match File::open(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(WhyNot::NoDirectory),
        directory => directory.ok().and_then(lock),
    };
    match occupant(path)? {
        Occupant::Nothing => {}
        Occupant::StaleSocket => {
            fs::remove_file(path)?;
            info!(path = %path.display(), "took over the socket of a server that is gone");
        }
        Occupant::LiveSocket => return Err(WhyNot::Taken),
        Occupant::NoSocket => return Err(WhyNot::NoSocket),
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // The file gets the mode of the socket, less what the process's umask takes away.
    fchmod(&socket, Mode::empty()).map_err(io::Error::from)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let made = fs::symlink_metadata(path)?;
    let file = SocketFile {
        path: path.to_owned(),
        identity: Some(FileIdentity::of(&made)),
        is_left: AtomicBool::new(false),
    };
    socket.listen(backlog)?;
    match open_same(path, file.identity)?.filter(|_| made.file_type().is_socket()) {
        Some(opened) => set_mode_of(&opened, path, mode)?,
        None => return Err(io::Error::other("another file has taken its place").into()),
    }
    drop(lock);
    Ok((socket, file))
}

/// Fails if no socket can be bound at `path`, whichever server runs. Nothing is made, and nothing connects.
///
/// What only the server's user can see is no fault.
pub(crate) fn check(path: &Path) -> Result<(), WhyNot> {
    // It may be too long.
    SockAddr::unix(path)?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    match fs::metadata(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(WhyNot::NoDirectory),
        Ok(found) if !found.is_dir() => return Err(io::Error::from(Errno::NOTDIR).into()),
        Err(_) | Ok(_) => {}
    }
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => Err(WhyNot::NoSocket),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Opens what lies at `path`, without reading it; `None` if that is not this file.
///
/// It is changed through this descriptor: in a directory of another user, another file may take the place of this one at any
/// time.
fn open_same(path: &Path, identity: Option<FileIdentity>) -> io::Result<Option<File>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match open(path, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        file => File::from(file?),
    };
    let is_same = Some(FileIdentity::of(&file.metadata()?)) == identity;
    Ok(is_same.then_some(file))
}

/// Gives an opened file this mode. Linux has a call for that only since 6.6, and /proc has always led to such a file.
fn set_mode_of(file: &File, path: &Path, mode: u32) -> io::Result<()> {
    let mode = Permissions::from_mode(mode);
    let opened = format!("/proc/self/fd/{}", file.as_raw_fd());
    match fs::set_permissions(opened, mode.clone()) {
        // There is no /proc.
        Err(error) if error.kind() == ErrorKind::NotFound => fs::set_permissions(path, mode),
        set => set,
    }
}

/// Keeps other servers from binding in this directory until the lock is dropped. Two that start at one moment would
/// both find a stale file, and the second would remove the socket of the first.
///
/// `None` where the system has no such lock, or something else keeps it for long.
fn lock(directory: File) -> Option<File> {
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Some(directory),
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => {
                std::thread::sleep(LOCK_PAUSE);
            }
            Err(_) => return None,
        }
    }
}

/// Looks what lies at `path`. Where that is a socket, only a connection tells whether it is live.
fn occupant(path: &Path) -> io::Result<Occupant> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => return Ok(Occupant::NoSocket),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Occupant::Nothing),
        Err(error) => return Err(error),
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    let Err(error) = probe.connect(&SockAddr::unix(path)?) else {
        return Ok(Occupant::LiveSocket);
    };
    match Errno::from_io_error(&error) {
        Some(Errno::CONNREFUSED) => Ok(Occupant::StaleSocket),
        Some(Errno::NOENT) => Ok(Occupant::Nothing),
        // Its backlog is full, or it is no stream socket: something listens.
        Some(Errno::WOULDBLOCK | Errno::PROTOTYPE) => Ok(Occupant::LiveSocket),
        _ => Err(error),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if !self.is_left() && self.is_at(&self.path) {
            // Without a right to the directory it stays, and the next server takes it over.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// How long another server may take to bind.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    use super::*;

    fn bind(path: &Path) -> Result<(Socket, SocketFile), String> {
        super::bind(path, 0o600, 8).map_err(|why| why.to_string())
    }

    /// Makes a file on which nothing listens any more.
    ///
    /// A process that another test starts has the socket too, until it runs its program.
    fn leave_behind(path: &Path) {
        drop(UnixListener::bind(path).expect("a socket"));
        while UnixStream::connect(path).is_ok() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_stale_socket_is_taken_over_and_nothing_else_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let taken = "another process listens there already";
        let no_socket = "what lies there is no socket, and is left as it is";
        let at = |name: &str| dir.path().join(name);
        leave_behind(&at("stale"));
        drop(UnixDatagram::bind(at("stale datagrams")).expect("a socket"));
        let _live = UnixListener::bind(at("live")).expect("a socket");
        let _datagrams = UnixDatagram::bind(at("datagrams")).expect("a socket");
        fs::write(at("file"), "precious").expect("a file");
        fs::create_dir(at("directory")).expect("a directory");
        symlink(at("stale"), at("link")).expect("a link");
        symlink(at("nowhere"), at("broken link")).expect("a link");

        for (name, expected) in [
            ("new", None),
            ("live", Some(taken)),
            ("datagrams", Some(taken)),
            ("file", Some(no_socket)),
            ("directory", Some(no_socket)),
            ("link", Some(no_socket)),
            ("broken link", Some(no_socket)),
            ("stale", None),
            ("stale datagrams", None),
            ("nowhere/new", Some("its directory is not there")),
        ] {
            let error = bind(&at(name)).err();
            assert_eq!(error.as_deref(), expected, "{name}");
        }
        assert_eq!(fs::read(at("file")).expect("it is there"), b"precious");
        UnixStream::connect(at("live")).expect("it is there");
    }

    #[test]
    fn a_socket_file_is_removed_with_its_socket_unless_another_one_lies_there() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.sock");
        drop(bind(&path).expect("it binds"));
        assert!(!path.exists());

        let first = bind(&path).expect("it binds");
        fs::remove_file(&path).expect("it is there");
        let _second = UnixListener::bind(&path).expect("a socket");
        drop(first);
        UnixStream::connect(&path).expect("the second one is left");
    }

    #[test]
    fn of_servers_that_start_at_one_moment_on_a_stale_path_one_listens() {
        let dir = tempfile::tempdir().expect("a directory");
        for round in 0..20 {
            let path = dir.path().join(round.to_string());
            leave_behind(&path);
            let starts: Vec<_> = std::thread::scope(|scope| {
                let start = || bind(&path);
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
                threads.into_iter().map(|it| it.join().unwrap()).collect()
            });
            assert_eq!(starts.iter().filter(|it| it.is_ok()).count(), 1);
            UnixStream::connect(&path).expect("it listens");
        }
    }

    #[test]
    fn the_mode_is_the_one_asked_for() {
        let dir = tempfile::tempdir().expect("a directory");
        for mode in [0o600, 0o660, 0o666, 0o777] {
            let path = dir.path().join(format!("{mode:o}"));
            let _bound = super::bind(&path, mode, 8).expect("it binds");
            let found = fs::metadata(&path).expect("it is there").mode();
            assert_eq!(found & 0o7777, mode);
        }
    }
}
