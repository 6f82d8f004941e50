//! All listeners of the server: opened at the start, and changed while it runs.
//!
//! A change binds what is new first, then lets the old listeners go. Connections of theirs stay, and those that wait to
//! be accepted are accepted. If something cannot be bound, all goes on as it was.
//!
//! Workers wait for the lock of what is open, so no file system is asked under it: a change looks, binds without the lock,
//! and begins anew if another change came first.

mod accepting;
mod handing_over;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{info, warn};

use self::accepting::{Accepting, OpenListener};
use super::binding::{Bound, ListenError, WhyNot, bind, bind_path};
use super::passed::{endpoints, listener_of};
use super::socket_file::{GiveFileError, SocketFile};
use super::{Listener, ListenerEnd};
use crate::config::{Config, Endpoint};
use crate::connection::server::Server;
use crate::process::passed_sockets::PassedSocket;

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
    /// Whether another process has the sockets and their files from now on.
    is_left: bool,
    /// How often `open` or `spare` has changed.
    changes: u64,
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
            is_left: false,
            changes: 0,
        };
        state.spare = listeners_of(passed);
        let known = state.known();
        let bound = bind_all(config, &known, &[])?;
        state.install(bound, &known, &Handle::current());
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

    /// Listens as the configuration says now. Does nothing once the server stops, or another process has its place.
    ///
    /// # Errors
    ///
    /// Something cannot be bound. All goes on as it was.
    pub(crate) fn apply(&self, config: &Config) -> Result<(), ListenError> {
        let _runtime = self.runtime.enter();
        loop {
            let (known, missing, changes) = {
                let state = self.lock();
                if state.is_closed() {
                    return Ok(());
                }
                (state.known(), state.missing.clone(), state.changes)
            };
            let bound = bind_all(config, &known, &missing)?;
            let mut state = self.lock();
            if state.is_closed() || state.changes != changes {
                continue;
            }
            let gone = state.install(bound, &known, &self.runtime);
            let files = state.apply_settings(config);
            let is_loopback_only = are_loopback(&state.open);
            drop(state);
            gone.into_iter()
                .for_each(|it| it.end(ListenerEnd::WhenEmpty));
            apply_mode(&files, config.unix_mode);
            self.is_loopback_only
                .store(is_loopback_only, Ordering::Relaxed);
            return Ok(());
        }
    }

    /// The Unix sockets whose files are this process's. They are empty once another process has them.
    pub(super) fn with_files(&self) -> Vec<Listener> {
        let state = self.lock();
        if state.is_closed() {
            return Vec::new();
        }
        let open = state.open.iter().map(|it| &it.listener);
        open.filter(|it| it.socket.file.is_some())
            .cloned()
            .collect()
    }

    /// Binds the socket of `lost` anew, whose path does not lead to it any more. Connections that wait at the old one are
    /// accepted. Returns whether the new one is listened on.
    pub(super) fn remake(&self, lost: &Listener) -> Result<bool, WhyNot> {
        let Some(file) = &lost.socket.file else {
            return Ok(false);
        };
        let (mode, backlog) = {
            let state = self.lock();
            (state.unix_mode, state.backlog)
        };
        let _runtime = self.runtime.enter();
        let made = bind_path(&lost.wanted, file.path(), mode, backlog)?;
        let mut state = self.lock();
        let old = state.replace(lost, made.clone(), &self.runtime);
        drop(state);
        let is_used = old.is_some();
        if let Some(old) = old {
            old.end(ListenerEnd::WhenEmpty);
        }
        // Its file is removed here if it is not used.
        drop(made);
        Ok(is_used)
    }

    /// Gives the files of Unix sockets to this user and this group.
    pub(crate) fn give_files_to(&self, user: u32, group: u32) -> Result<(), GiveFileError> {
        let known = self.lock().known();
        let mut files = known.iter().filter_map(|it| it.socket.file.as_ref());
        files.try_for_each(|file| file.give_to(user, group))
    }

    /// Accepts nothing more, and closes every socket. Ends when that is done. With [`ListenerEnd::WhenEmpty`],
    /// connections that wait are accepted first, but for those that systemd keeps for the next server.
    pub(crate) async fn end(&self, end: ListenerEnd) {
        let (open, spare, accepting) = {
            let mut state = self.lock();
            let open = std::mem::take(&mut state.open);
            let spare = std::mem::take(&mut state.spare);
            let accepting = std::mem::replace(&mut state.accepting, Accepting::Ended);
            (open, spare, accepting)
        };
        // This may remove the files of Unix sockets.
        let let_go = self.runtime.spawn_blocking(move || {
            for it in open {
                let end = match it.listener.is_of_systemd() {
                    true => ListenerEnd::AtOnce,
                    false => end,
                };
                it.end(end);
            }
            drop(spare);
        });
        let _ = let_go.await;
        if let Accepting::Yes { mut loops, .. } = accepting {
            while loops.join_next().await.is_some() {}
        }
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
    /// Whether nothing is listened on anew: the server stops, or another process has its place.
    fn is_closed(&self) -> bool {
        self.is_left || matches!(self.accepting, Accepting::Ended)
    }

    /// Every socket that is open.
    fn known(&self) -> Vec<Listener> {
        let open = self.open.iter().map(|it| &it.listener);
        open.chain(&self.spare).cloned().collect()
    }

    /// Listens on what was bound, with the sockets of `known` and new ones. Returns the listeners that are let go.
    fn install(&mut self, bound: Bound, known: &[Listener], runtime: &Handle) -> Vec<OpenListener> {
        let Bound { listeners, missing } = bound;
        let is_used = |it: &&Listener| {
            let mut used = listeners.iter();
            used.any(|used| Arc::ptr_eq(&used.socket, &it.socket))
        };
        let unused = known.iter().filter(|it| !is_used(it));
        let is_kept = |it: &&Listener| it.is_of_systemd() || it.is_of_another();
        self.spare = unused.filter(is_kept).cloned().collect();
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
                    // Before it is told that the next one listens: what comes then is for that one.
                    if let Some(before) = before {
                        before.end(ListenerEnd::AtOnce);
                    }
                    self.accepting.begin(&mut next, runtime);
                }
            }
            self.open.push(next);
        }
        let gone: Vec<OpenListener> = old.into_iter().flatten().collect();
        for gone in &gone {
            info!(address = %gone.listener.endpoint(), "not listening any more; its connections go on");
        }
        self.missing = missing;
        self.changes += 1;
        gone
    }

    /// Listens on `made` in place of `lost`, and returns the listener before; `None` if that is not listened on any more.
    fn replace(
        &mut self,
        lost: &Listener,
        made: Listener,
        runtime: &Handle,
    ) -> Option<OpenListener> {
        if self.is_closed() {
            return None;
        }
        let mut open = self.open.iter_mut();
        let it = open.find(|it| Arc::ptr_eq(&it.listener.socket, &lost.socket))?;
        let mut next = OpenListener::of(made);
        self.accepting.begin(&mut next, runtime);
        self.changes += 1;
        Some(std::mem::replace(it, next))
    }

    fn files(&self) -> impl Iterator<Item = &SocketFile> {
        let open = self.open.iter().map(|it| &it.listener);
        let all = open.chain(&self.spare);
        all.filter_map(|it| it.socket.file.as_ref())
    }

    /// Applies what the configuration says of sockets that are open. Returns those whose files want another mode.
    fn apply_settings(&mut self, config: &Config) -> Vec<Listener> {
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
        match std::mem::replace(&mut self.unix_mode, mode) == mode {
            true => Vec::new(),
            false => self.open.iter().map(|it| it.listener.clone()).collect(),
        }
    }
}

/// Binds all that the configuration lists, or that systemd has passed for it, and that none of `known` serves.
fn bind_all(
    config: &Config,
    known: &[Listener],
    missing: &[Endpoint],
) -> Result<Bound, ListenError> {
    let listen = endpoints(config, known)?;
    let config = Config {
        listen,
        ..config.clone()
    };
    bind(&config, known, missing)
}

/// The listeners of sockets that another process has passed. Nothing is accepted there yet.
fn listeners_of(passed: Vec<PassedSocket>) -> Vec<Listener> {
    let listeners = passed.into_iter().filter_map(|passed| {
        let listener = listener_of(passed);
        listener
            .inspect_err(|error| warn!(%error, "a socket that was passed is not used"))
            .ok()
    });
    listeners.collect()
}

fn apply_mode(listeners: &[Listener], mode: u32) {
    for it in listeners {
        let file = it.socket.file.as_ref();
        if let Some(Err(error)) = file.map(|file| file.set_mode(mode)) {
            let address = it.endpoint();
            warn!(%address, %error, "`unix_mode` does not apply");
        }
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
