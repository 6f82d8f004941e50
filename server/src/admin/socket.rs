//! The admin socket: made at the start, and accepts as long as the server lives.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::geteuid;
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tracing::{error, info, warn};

use super::connection::Door;
use super::{Admin, connection, place};
use crate::config::{AdminSocket, Config};
use crate::connection::listener::binding::WhyNot;
use crate::connection::listener::remaking::{self, Failures};
use crate::connection::listener::socket_file::{self, GiveFileError, SocketFile};
use crate::connection::log_rate::LogRateLimit;
use crate::last_resort;
use crate::sessions::peer::PeerProcess;

/// The socket of a server that runs. Its file is removed with it.
#[derive(Debug)]
pub(crate) struct AdminListener {
    // While the socket is open, no other server takes its file over.
    file: Arc<SocketFile>,
    socket: UnixListener,
    /// Where operators find it.
    path: PathBuf,
    /// Whether the server has chosen the path.
    is_chosen: bool,
}

/// Why there is no admin socket at the path of the configuration.
#[derive(Debug, thiserror::Error)]
#[error("cannot make the admin socket `{}`: {why}", path.display())]
pub struct AdminSocketError {
    path: PathBuf,
    why: WhyNot,
}

impl AdminListener {
    /// Makes the socket that the configuration wants. Where it leaves the path to the server, one that cannot be made is
    /// no reason not to serve: the log says so.
    ///
    /// A server that takes over from another one, which still has the path, makes the socket beside it until
    /// [`take_place`](Self::take_place).
    pub(crate) fn bind(
        config: &Config,
        takes_over: bool,
    ) -> Result<Option<AdminListener>, AdminSocketError> {
        match &config.admin_socket {
            AdminSocket::Off => Ok(None),
            AdminSocket::At(path) if takes_over => {
                let mut beside = path.clone().into_os_string();
                beside.push(format!(".{}", std::process::id()));
                let mut listener = AdminListener::bind_at(Path::new(&beside))?;
                listener.path.clone_from(path);
                Ok(Some(listener))
            }
            AdminSocket::At(path) => AdminListener::bind_at(path).map(Some),
            AdminSocket::Automatic => {
                let Some(path) = place::choose() else {
                    warn!(
                        "there is no directory for an admin socket, commands of operators are not taken; `admin_socket` names a path"
                    );
                    return Ok(None);
                };
                let bound = AdminListener::bind_at(&path);
                if let Err(error) = &bound {
                    warn!(%error, "commands of operators are not taken");
                }
                Ok(bound.ok().map(|it| AdminListener {
                    is_chosen: true,
                    ..it
                }))
            }
        }
    }

    fn bind_at(path: &Path) -> Result<AdminListener, AdminSocketError> {
        let fault = |why| AdminSocketError {
            path: path.to_owned(),
            why,
        };
        let (socket, file) = socket_file::bind(path, MODE, BACKLOG).map_err(fault)?;
        let socket = std::os::unix::net::UnixListener::from(std::os::fd::OwnedFd::from(socket));
        let listen = |socket: std::os::unix::net::UnixListener| {
            socket.set_nonblocking(true)?;
            UnixListener::from_std(socket)
        };
        let socket = listen(socket).map_err(|error: io::Error| fault(error.into()))?;
        let path = path.to_owned();
        Ok(AdminListener {
            file: Arc::new(file),
            socket,
            path,
            is_chosen: false,
        })
    }

    /// Puts the socket at its path, in place of that of the server before.
    pub(crate) fn take_place(&mut self) {
        let path = self.path.clone();
        let moved = match self.move_to(&path) {
            // Its file was removed beside the path.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let beside = self.file.path().to_owned();
                AdminListener::bind_at(&beside).map_or(Err(error), |made| {
                    (self.file, self.socket) = (made.file, made.socket);
                    self.move_to(&path)
                })
            }
            moved => moved,
        };
        if let Err(error) = moved {
            let path = self.path.display();
            warn!(%path, %error, "the admin socket stays where it was made, beside its path");
        }
    }

    fn move_to(&mut self, path: &Path) -> io::Result<()> {
        let file = Arc::get_mut(&mut self.file);
        file.ok_or(ErrorKind::ResourceBusy)?.move_to(path)
    }

    /// Gives the socket's file to this user and this group.
    pub(crate) fn give_file_to(&self, user: u32, group: u32) -> Result<(), GiveFileError> {
        self.file.give_to(user, group)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the place of the socket before, whose file was removed.
    fn replace_by(&mut self, made: AdminListener, admin: &Admin) {
        let path = made.path.display();
        match made.path == self.path {
            true => warn!(%path, "the admin socket was removed, and is made again"),
            false => {
                let path_before = self.path.display();
                warn!(%path, %path_before, "the admin socket was removed, and is made again at another path");
            }
        }
        // Its descriptor is one that the server cannot lose otherwise.
        last_resort::forget(self.socket.as_fd());
        last_resort::watch_also(made.socket.as_fd());
        admin.socket.store(Some(Arc::new(made.path.clone())));
        (self.file, self.socket, self.path) = (made.file, made.socket, made.path);
    }

    /// Accepts until `end` comes. Then the file is removed, and what was asked is answered, within a bounded time.
    pub(crate) async fn run(mut self, admin: Arc<Admin>, mut end: oneshot::Receiver<()>) {
        info!(path = %self.path.display(), "commands of operators are taken");
        let mut open = OpenConnections::default();
        let refusals = LogRateLimit::new(1);
        let remade = |it: &AdminListener| {
            Box::pin(remade(
                it.file.clone(),
                it.path.clone(),
                it.is_chosen,
                admin.clone(),
            ))
        };
        let mut next = remade(&self);
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                made = &mut next => {
                    self.replace_by(made, &admin);
                    next = remade(&self);
                    continue;
                }
                _ = &mut end => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(_) => {
                    // No descriptor is left, most likely. The listeners of sessions tell that.
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let process = PeerProcess::of(&stream);
            if !process.is_some_and(may_command) {
                let uid = process.map(|it| it.uid);
                refusals.log(
                    || warn!(?uid, "admin socket: another user's command is not taken"),
                    |times| {
                        warn!(
                            times,
                            "admin socket: more commands of other users are not taken"
                        )
                    },
                );
                continue;
            }
            let admin = admin.clone();
            open.serve(|is_asked| async move {
                connection::serve(stream, admin, Door::Socket, &is_asked).await;
            });
        }
        drop(next);
        // This removes its file.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
        open.finish().await;
    }
}

/// Waits until the path does not lead to the socket any more, and makes it anew.
async fn remade(
    file: Arc<SocketFile>,
    path: PathBuf,
    is_chosen: bool,
    admin: Arc<Admin>,
) -> AdminListener {
    let mut failures = Failures::default();
    loop {
        tokio::time::sleep(remaking::PAUSE).await;
        // The path of a server that ends is free for the next one.
        if admin.is_draining() {
            continue;
        }
        let (file, path) = (file.clone(), path.clone());
        let look = tokio::task::spawn_blocking(move || {
            let made = remake(&file, &path, is_chosen, &mut failures);
            (made, failures)
        });
        let made;
        (made, failures) = look.await.unwrap_or_default();
        if let Some(made) = made {
            return made;
        }
    }
}

/// Makes the socket anew if its file was removed. That it cannot be made is told once.
fn remake(
    file: &SocketFile,
    path: &Path,
    is_chosen: bool,
    failures: &mut Failures,
) -> Option<AdminListener> {
    let made = failures.attempt(file, || {
        // A directory that the server has made is made again, too.
        let path = match is_chosen {
            true => place::choose().ok_or(None)?,
            false => path.to_owned(),
        };
        AdminListener::bind_at(&path).map_err(Some)
    });
    let path = path.display();
    match made? {
        Ok(made) => return Some(AdminListener { is_chosen, ..made }),
        Err(Some(error)) => {
            error!(%path, %error, "the admin socket was removed, and cannot be made again");
        }
        Err(None) => error!(
            %path,
            "the admin socket was removed, and there is no directory for another one; `admin_socket` names a path"
        ),
    }
    None
}

/// Whether the process runs as the server's user or as root.
fn may_command(process: PeerProcess) -> bool {
    process.uid == 0 || process.uid == geteuid().as_raw()
}

/// The connections that are open, the oldest first.
#[derive(Default)]
pub(super) struct OpenConnections(VecDeque<OpenConnection>);

struct OpenConnection {
    task: AbortHandle,
    /// Whether its request is whole.
    is_asked: Arc<AtomicBool>,
}

impl OpenConnections {
    /// Serves a new connection by what `serve` makes. Where there are too many, the oldest that has not asked yet gives
    /// way, or else the new one does.
    pub(super) fn serve<F>(&mut self, serve: impl FnOnce(Arc<AtomicBool>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.0.retain(|open| !open.task.is_finished());
        if self.0.len() >= CONNECTIONS_MAX {
            let waits = |open: &OpenConnection| !open.is_asked.load(Ordering::Relaxed);
            let Some(oldest) = self.0.iter().position(waits) else {
                return;
            };
            if let Some(evicted) = self.0.remove(oldest) {
                evicted.task.abort();
            }
        }
        let is_asked = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(serve(is_asked.clone()));
        self.0.push_back(OpenConnection {
            task: task.abort_handle(),
            is_asked,
        });
    }

    /// Waits until what was asked is answered, for a bounded time.
    async fn finish(mut self) {
        let deadline = tokio::time::Instant::now() + ANSWERS_MAX;
        loop {
            let is_answered = |open: &OpenConnection| {
                open.task.is_finished() || !open.is_asked.load(Ordering::Relaxed)
            };
            self.0.retain(|open| !is_answered(open));
            if self.0.is_empty() || tokio::time::Instant::now() >= deadline {
                return;
            }
            tokio::time::sleep(ANSWERS_PAUSE).await;
        }
    }
}

/// The server's user only, and root.
const MODE: u32 = 0o600;
const BACKLOG: i32 = 64;
/// How many connections are served at a time.
const CONNECTIONS_MAX: usize = 16;
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How long answers may hold the end of the process up.
const ANSWERS_MAX: Duration = Duration::from_secs(2);
const ANSWERS_PAUSE: Duration = Duration::from_millis(5);
