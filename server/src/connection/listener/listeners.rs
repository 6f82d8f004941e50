//! All listeners of the server: opened at the start, and changed while it runs.
//!
//! A change binds what is new first, then lets the old listeners go. Connections of theirs stay, and those that wait to
//! be accepted are accepted. If something cannot be bound, all goes on as it was.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::binding::{Bound, ListenError, WhyNot, bind, bind_path};
use super::passed::{endpoints, listener_of, note_of};
use super::socket_file::{GiveFileError, SocketFile};
use super::{Listener, ListenerEnd, accept};
use crate::config::{Config, Endpoint};
use crate::connection::server::Server;
use crate::process::passed_sockets::{PassedSocket, SocketNote};

/// The listeners of a server.
#[derive(Debug)]
pub(crate) struct Listeners {
    state: Mutex<State>,
    is_loopback_only: Arc<AtomicBool>,
    /// The runtime of the accept loops.
    runtime: Handle,
}

#[derive(Debug)]
struct State {
    open: Vec<OpenListener>,
    /// Sockets that the configuration does not list, and on which nothing is accepted: those of systemd, which cannot be
    /// bound again, and those of a process that may still go on with them.
    spare: Vec<Listener>,
    /// The loopback addresses that are listed and that the machine lacks.
    missing: Vec<Endpoint>,
    unix_mode: u32,
    backlog: u16,
    accepting: Accepting,
}

/// A listener, and what ends its loop.
#[derive(Debug)]
struct OpenListener {
    listener: Listener,
    /// `None` while nothing is accepted.
    end: Option<oneshot::Sender<ListenerEnd>>,
}

/// Whether connections are accepted.
enum Accepting {
    /// Not yet: they wait.
    No,
    Yes {
        server: Arc<Server>,
        alive: mpsc::Sender<()>,
        loops: JoinSet<()>,
    },
    /// Never again.
    Ended,
}

impl Listeners {
    /// Binds all that the configuration lists and that was not `passed` by another process. To be called in the runtime
    /// in which connections are served.
    pub(crate) fn open(
        config: &Config,
        passed: Vec<PassedSocket>,
    ) -> Result<Listeners, ListenError> {
        let mut state = State {
            open: Vec::new(),
            spare: Vec::new(),
            missing: Vec::new(),
            unix_mode: config.unix_mode,
            backlog: config.listen_backlog,
            accepting: Accepting::No,
        };
        for passed in passed {
            match listener_of(passed) {
                Ok(listener) => state.spare.push(listener),
                Err(error) => warn!(%error, "a socket that was passed is not used"),
            }
        }
        state.listen(config, &Handle::current())?;
        for unused in state.spare.iter().filter(|it| it.is_of_systemd()) {
            warn!(
                address = %unused.endpoint(),
                "systemd passes a socket that `listen` does not name; no connection to it is accepted"
            );
        }
        Ok(Listeners {
            is_loopback_only: Arc::new(AtomicBool::new(are_loopback(&state.open))),
            state: Mutex::new(state),
            runtime: Handle::current(),
        })
    }

    /// Whether only this machine can reach the server, as it is at each moment.
    pub(crate) fn is_loopback_only(&self) -> Arc<AtomicBool> {
        self.is_loopback_only.clone()
    }

    /// Where the server listens, with the ports that were found.
    pub(crate) fn endpoints(&self) -> Vec<Endpoint> {
        let state = self.lock();
        let endpoints = state.open.iter().map(|it| it.listener.endpoint());
        endpoints.cloned().collect()
    }

    /// Accepts connections from now on. Each holds a clone of `alive` while it lasts.
    pub(crate) fn begin(&self, server: Arc<Server>, alive: mpsc::Sender<()>) {
        let mut state = self.lock();
        state.accepting = Accepting::Yes {
            server,
            alive,
            loops: JoinSet::new(),
        };
        let State {
            open, accepting, ..
        } = &mut *state;
        for it in open {
            accepting.begin(it, &self.runtime);
        }
    }

    /// Listens as the configuration says now. Returns whether something has changed.
    ///
    /// # Errors
    ///
    /// Something cannot be bound. All goes on as it was.
    pub(crate) fn apply(&self, config: &Config) -> Result<(), ListenError> {
        let mut state = self.lock();
        if matches!(state.accepting, Accepting::Ended) {
            return Ok(());
        }
        let _runtime = self.runtime.enter();
        state.listen(config, &self.runtime)?;
        state.apply_settings(config);
        self.is_loopback_only
            .store(are_loopback(&state.open), Ordering::Relaxed);
        Ok(())
    }

    /// Whether the file of a Unix socket is gone on which connections are accepted.
    pub(crate) fn lack_a_file(&self) -> bool {
        let state = self.lock();
        let is_accepting = matches!(state.accepting, Accepting::Yes { .. });
        is_accepting && state.files().any(|file| file.path_if_gone().is_some())
    }

    /// Binds each Unix socket anew whose file is gone, and calls `tell` with its path and the outcome. Connections that wait
    /// at the old socket are accepted.
    pub(crate) fn remake_files(&self, mut tell: impl FnMut(&Path, Result<(), WhyNot>)) {
        let mut state = self.lock();
        let _runtime = self.runtime.enter();
        let State {
            open,
            accepting,
            unix_mode,
            backlog,
            ..
        } = &mut *state;
        if !matches!(accepting, Accepting::Yes { .. }) {
            return;
        }
        for it in open {
            let file = it.listener.socket.file.as_ref();
            let Some(path) = file.and_then(SocketFile::path_if_gone) else {
                continue;
            };
            let path = path.to_owned();
            let wanted = &it.listener.wanted;
            let bound = bind_path(wanted, &path, *unix_mode, *backlog).map(|listener| {
                let mut next = OpenListener::of(listener);
                accepting.begin(&mut next, &self.runtime);
                std::mem::replace(it, next).end(ListenerEnd::WhenEmpty);
            });
            tell(&path, bound);
        }
    }

    /// The sockets, for another process that is to take the place of this one.
    pub(crate) fn copies(&self) -> io::Result<Vec<(OwnedFd, SocketNote)>> {
        let state = self.lock();
        let open = state.open.iter().map(|it| &it.listener);
        let copies = open.chain(&state.spare).map(|listener| {
            let copy = listener.socket().as_fd().try_clone_to_owned()?;
            Ok((copy, note_of(listener)))
        });
        copies.collect()
    }

    /// Leaves the files of Unix sockets to the process that takes the place of this one.
    pub(crate) fn leave_files(&self) {
        for file in self.lock().files() {
            file.leave();
        }
    }

    /// Takes over the files of Unix sockets from the process whose place this one takes, and closes the sockets that
    /// the configuration does not list any more.
    pub(crate) fn claim_files(&self) {
        let mut state = self.lock();
        for file in state.files() {
            file.claim();
        }
        state.spare.retain(Listener::is_of_systemd);
    }

    /// Gives the files of Unix sockets to this user and this group.
    pub(crate) fn give_files_to(&self, user: u32, group: u32) -> Result<(), GiveFileError> {
        let state = self.lock();
        state.files().try_for_each(|file| file.give_to(user, group))
    }

    /// Accepts nothing more, and closes every socket. Ends when that is done. With [`ListenerEnd::WhenEmpty`],
    /// connections that wait are accepted first, but for those that systemd keeps for the next server.
    pub(crate) async fn end(&self, end: ListenerEnd) {
        let mut loops = {
            let mut state = self.lock();
            for it in state.open.drain(..) {
                let end = match it.listener.is_of_systemd() {
                    true => ListenerEnd::AtOnce,
                    false => end,
                };
                it.end(end);
            }
            state.spare.clear();
            match std::mem::replace(&mut state.accepting, Accepting::Ended) {
                Accepting::Yes { loops, .. } => loops,
                Accepting::No | Accepting::Ended => return,
            }
        };
        while loops.join_next().await.is_some() {}
    }

    /// Like [`end`](Self::end), from a thread outside the runtime. Waits for at most `limit`.
    pub(crate) fn end_within(&self, limit: Duration) {
        let end = async { tokio::time::timeout(limit, self.end(ListenerEnd::AtOnce)).await };
        let _ = self.runtime.block_on(end);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Listens as the configuration says, with the sockets that are there and new ones.
    fn listen(&mut self, config: &Config, runtime: &Handle) -> Result<(), ListenError> {
        let open = self.open.iter().map(|it| &it.listener);
        let known: Vec<_> = open.chain(&self.spare).cloned().collect();
        let listen = endpoints(config, &known)?;
        let config = Config {
            listen,
            ..config.clone()
        };
        let Bound { listeners, missing } = bind(&config, &known, &self.missing)?;
        let is_used = |it: &Listener| {
            let mut used = listeners.iter();
            used.any(|used| Arc::ptr_eq(&used.socket, &it.socket))
        };
        let is_kept = |it: &Listener| !is_used(it) && (it.is_of_systemd() || it.is_of_another());
        self.spare = known.into_iter().filter(is_kept).collect();
        let old = std::mem::take(&mut self.open);
        let mut old: Vec<_> = old.into_iter().map(Some).collect();
        for listener in listeners {
            let mut next = OpenListener::of(listener);
            let has_socket_of = |it: &&mut Option<OpenListener>| {
                let it = it.as_ref().map(|it| &it.listener.socket);
                it.is_some_and(|socket| Arc::ptr_eq(socket, &next.listener.socket))
            };
            let before = old.iter_mut().find(has_socket_of);
            match before.and_then(Option::take) {
                Some(same) if same.listener.endpoint == next.listener.endpoint => {
                    next.end = same.end;
                }
                before => {
                    self.accepting.begin(&mut next, runtime);
                    if let Some(before) = before {
                        before.end(ListenerEnd::AtOnce);
                    }
                }
            }
            self.open.push(next);
        }
        for gone in old.into_iter().flatten() {
            info!(address = %gone.listener.endpoint(), "not listening any more; its connections go on");
            gone.end(ListenerEnd::WhenEmpty);
        }
        self.missing = missing;
        Ok(())
    }

    fn files(&self) -> impl Iterator<Item = &SocketFile> {
        let open = self.open.iter().map(|it| &it.listener);
        let all = open.chain(&self.spare);
        all.filter_map(|it| it.socket.file.as_ref())
    }

    /// Applies what the configuration says of sockets that are open.
    fn apply_settings(&mut self, config: &Config) {
        let backlog = config.listen_backlog;
        if std::mem::replace(&mut self.backlog, backlog) != backlog {
            for it in &self.open {
                if let Err(error) = it.listener.socket().listen(backlog.into()) {
                    let address = it.listener.endpoint();
                    warn!(%address, %error, "`listen_backlog` does not apply");
                }
            }
        }
        let mode = config.unix_mode;
        if std::mem::replace(&mut self.unix_mode, mode) != mode {
            for it in &self.open {
                let file = it.listener.socket.file.as_ref();
                if let Some(Err(error)) = file.map(|file| file.set_mode(mode)) {
                    let address = it.listener.endpoint();
                    warn!(%address, %error, "`unix_mode` does not apply");
                }
            }
        }
    }
}

impl OpenListener {
    /// A listener on which nothing is accepted.
    fn of(listener: Listener) -> OpenListener {
        OpenListener {
            listener,
            end: None,
        }
    }

    fn end(self, end: ListenerEnd) {
        if let Some(sender) = self.end {
            // A loop that has ended is what is wanted.
            let _ = sender.send(end);
        }
    }
}

impl Accepting {
    /// Accepts on this listener from now on, if connections are accepted.
    fn begin(&mut self, it: &mut OpenListener, runtime: &Handle) {
        if let Accepting::Yes {
            server,
            alive,
            loops,
        } = self
        {
            let listener = it.listener.clone();
            info!(address = %listener.endpoint(), "listening");
            // Loops that have ended are forgotten.
            while loops.try_join_next().is_some() {}
            let (end, ended) = oneshot::channel();
            let accept = accept(listener, server.clone(), alive.clone(), ended);
            loops.spawn_on(accept, runtime);
            it.end = Some(end);
        }
    }
}

impl std::fmt::Debug for Accepting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Accepting::No => "No",
            Accepting::Yes { .. } => "Yes",
            Accepting::Ended => "Ended",
        })
    }
}

/// Whether only this machine can reach them.
fn are_loopback(open: &[OpenListener]) -> bool {
    open.iter().all(|it| it.listener.endpoint().is_loopback())
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, SockAddr, Socket, Type};

    use super::*;

    #[tokio::test]
    async fn a_longer_queue_applies_to_a_socket_that_listens() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.sock");
        let mut config = Config {
            listen: vec![Endpoint::Unix(path.clone())],
            listen_backlog: 1,
            ..Config::default()
        };
        let listeners = Listeners::open(&config, Vec::new()).expect("it listens");
        let mut waiting = Vec::new();
        let mut waits = || {
            let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None);
            let socket = socket.expect("a socket");
            let connected = socket.connect(&SockAddr::unix(&path).expect("a path"));
            waiting.push(socket);
            connected.is_ok()
        };
        while waits() {}

        config.listen_backlog = 8;
        listeners.apply(&config).expect("it applies");

        assert!(waits());
    }
}
