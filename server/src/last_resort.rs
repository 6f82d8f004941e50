//! Ends the process when it can neither go on nor stop by itself, from a thread that needs nothing but a
//! processor.
//!
//! There are two such cases. A plugin may close descriptors that are not its own, or shut the listening
//! sockets down. Without the runtime's epoll or without listeners the process would run on and accept no
//! connection. And a stop, which has a deadline, may hang in a plugin or in the system.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tracing::error;

use crate::logging;

/// The descriptors that are open at a moment, each with what it leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct OwnDescriptors(Vec<(PathBuf, PathBuf)>);

/// What the thread watches.
enum Duty {
    /// The server works as long as these descriptors stay what they are.
    Work(OwnDescriptors),
    /// The server is stopping and closes its descriptors itself. At this moment it is ended.
    Stop(Instant),
}

impl OwnDescriptors {
    /// The descriptors that are open now; none where there is no /proc.
    fn now() -> OwnDescriptors {
        let entries = fs::read_dir(TABLE).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        OwnDescriptors(
            paths
                .filter_map(|path| Some((path.clone(), fs::read_link(path).ok()?)))
                .collect(),
        )
    }

    /// The descriptors that the server cannot go on without: the runtime's epoll, its eventfd and all sockets,
    /// except those that were open `before`.
    fn vital_since(self, before: &OwnDescriptors) -> OwnDescriptors {
        let is_vital = |(path, target): &(PathBuf, PathBuf)| {
            let target = target.to_string_lossy();
            let kinds = ["anon_inode:[eventpoll]", "anon_inode:[eventfd]", "socket:["];
            let is_vital = kinds.iter().any(|kind| target.starts_with(kind));
            is_vital && !before.0.iter().any(|(other, _)| other == path)
        };
        OwnDescriptors(self.0.into_iter().filter(is_vital).collect())
    }

    /// The one that is open now; none where there is no /proc.
    fn of(descriptor: BorrowedFd<'_>) -> OwnDescriptors {
        let path = Path::new(TABLE).join(descriptor.as_raw_fd().to_string());
        let found = fs::read_link(&path).map(|target| (path, target));
        OwnDescriptors(found.into_iter().collect())
    }

    /// The first that is closed or leads elsewhere now.
    fn lost(&self) -> Option<&(PathBuf, PathBuf)> {
        let is_lost = |(path, target): &&(PathBuf, PathBuf)| match fs::read_link(path) {
            Ok(now) => now != *target,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        self.0.iter().find(is_lost)
    }
}

/// Notes the descriptors that are open before the server opens its own. From now on a panic is a line of the
/// log, and ends the process if a lost descriptor is behind it. `leave` ends the process with
/// an exit code, at once.
pub fn begin(leave: fn(u8) -> !) {
    let _ = LEAVE.set(leave);
    let _ = BEFORE.set(OwnDescriptors::now());
    std::panic::set_hook(Box::new(|info| {
        logging::panicked(info);
        look();
        // The runtime ends the process at once if a worker of its own panics.
        logging::flush(LAST_WORDS);
    }));
}

/// Starts the thread. Until [`leave_within`] is called, it looks once a second whether the descriptors that the
/// server has opened by now are still there.
///
/// # Errors
///
/// The system has no thread left.
pub(crate) fn watch() -> io::Result<()> {
    let own = BEFORE.get();
    let own = own.map(|before| OwnDescriptors::now().vital_since(before));
    let mut own = own.unwrap_or_default();
    match &mut *lock() {
        Some(Duty::Work(vital)) => vital.0.append(&mut own.0),
        Some(Duty::Stop(_)) => {}
        none => *none = Some(Duty::Work(own)),
    }
    look_at_panics();
    let thread = std::thread::Builder::new().name("last-resort".to_owned());
    thread.spawn(look_for_ever).map(drop)
}

/// Has a descriptor watched that [`watch`] does not find by itself: it is opened later, or was open before [`begin`].
pub(crate) fn watch_also(descriptor: BorrowedFd<'_>) {
    let own = OwnDescriptors::of(descriptor);
    match &mut *lock() {
        Some(Duty::Work(vital)) => vital.0.extend(own.0),
        Some(Duty::Stop(_)) => {}
        none => *none = Some(Duty::Work(own)),
    }
}

/// Has a descriptor watched no longer, since the server is about to close it.
pub(crate) fn forget(descriptor: BorrowedFd<'_>) {
    if let Some(Duty::Work(vital)) = &mut *lock() {
        let closed = OwnDescriptors::of(descriptor);
        vital.0.retain(|it| !closed.0.contains(it));
    }
}

/// Says that the server is stopping. If it has not ended within `limit`, the thread ends it.
pub fn leave_within(limit: Duration) {
    let mut duty = lock();
    if !matches!(*duty, Some(Duty::Stop(_))) {
        *duty = Some(Duty::Stop(Instant::now() + limit));
    }
}

/// Has each panic look at the descriptors too, once its line is written. A worker of the runtime panics
/// without its descriptors, and then the runtime aborts the process.
fn look_at_panics() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        before(info);
        logging::flush(LAST_WORDS);
        look();
    }));
}

fn look_for_ever() {
    loop {
        std::thread::sleep(INTERVAL);
        look();
    }
}

/// Ends the process if a descriptor is lost, or a stop has taken too long.
pub(crate) fn look() {
    match &*lock() {
        Some(Duty::Work(vital)) => {
            if let Some((path, target)) = vital.lost() {
                let number = path.file_name().unwrap_or_default().display();
                error!(
                    descriptor = %number,
                    was = %target.display(),
                    "code that is not the server's has closed a descriptor of the server's, which \
                     cannot go on without it; leaving"
                );
                end();
            }
        }
        Some(Duty::Stop(deadline)) if *deadline <= Instant::now() => {
            error!("the stop has taken too long, leaving at once");
            end();
        }
        Some(Duty::Stop(_)) | None => {}
    }
}

/// Ends the process, because code that is not the server's has shut `what` down, and the server cannot go
/// on without it.
pub(crate) fn end_without(what: &dyn std::fmt::Display) -> ! {
    error!(
        descriptor = %what,
        "code that is not the server's has shut down a descriptor of the server's, which cannot go on \
         without it; leaving"
    );
    end()
}

fn end() -> ! {
    logging::end(LAST_WORDS);
    match LEAVE.get() {
        Some(leave) => leave(FAILED),
        None => std::process::exit(FAILED.into()),
    }
}

fn lock() -> MutexGuard<'static, Option<Duty>> {
    DUTY.lock().unwrap_or_else(PoisonError::into_inner)
}

// Global, because they are about the end and the descriptors of the whole process.

static DUTY: Mutex<Option<Duty>> = Mutex::new(None);
static LEAVE: OnceLock<fn(u8) -> !> = OnceLock::new();
static BEFORE: OnceLock<OwnDescriptors> = OnceLock::new();

const TABLE: &str = "/proc/self/fd";
const INTERVAL: Duration = Duration::from_secs(1);
const LAST_WORDS: Duration = Duration::from_millis(200);
const FAILED: u8 = 1;

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsFd;

    use super::*;

    /// The descriptor of `socket` alone: other tests run beside this one.
    fn only(socket: &TcpListener) -> OwnDescriptors {
        let descriptors = OwnDescriptors::of(socket.as_fd());
        let vital = descriptors.vital_since(&OwnDescriptors::default());
        assert_eq!(vital.0.len(), 1);
        vital
    }

    #[test]
    fn a_socket_that_is_not_what_it_was_is_lost() {
        let socket = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let mut vital = only(&socket);
        assert_eq!(vital.lost(), None);

        vital.0[0].1 = "socket:[1]".into();

        assert!(vital.lost().is_some());
    }

    #[test]
    fn descriptors_that_were_open_before_the_server_began_are_not_watched() {
        let socket = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let before = only(&socket);

        assert_eq!(
            before.clone().vital_since(&before),
            OwnDescriptors::default()
        );
    }
}
