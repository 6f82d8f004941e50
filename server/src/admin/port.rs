//! The socket of the admin address. A process that takes the place of this one goes on with it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::process::passed_sockets::{PassedSocket, SocketNote};

/// The socket, as long as there is one.
#[derive(Debug, Default)]
pub(crate) struct AdminPort {
    state: Mutex<State>,
    ended: Notify,
}

#[derive(Debug, Default)]
struct State {
    open: Option<OpenPort>,
    /// Whether another process goes on with the socket.
    is_over: bool,
}

/// A socket that listens.
#[derive(Clone, Debug)]
pub(super) struct OpenPort {
    /// The address as the configuration has it, where port 0 is any free one.
    pub(super) wanted: SocketAddr,
    pub(super) socket: Arc<TcpListener>,
}

impl AdminPort {
    /// The socket among those that were `passed`, which is taken out of them. To be called in the runtime.
    pub(crate) fn take_from(passed: &mut Vec<PassedSocket>) -> AdminPort {
        let admin = passed.extract_if(.., |it| it.note.is_admin);
        let open = admin.filter_map(|it| OpenPort::of(it).ok()).last();
        let state = State {
            open,
            is_over: false,
        };
        AdminPort {
            state: Mutex::new(state),
            ended: Notify::new(),
        }
    }

    /// The socket, for another process that is to take the place of this one.
    pub(crate) fn copy(&self) -> io::Result<Option<(OwnedFd, SocketNote)>> {
        let Some(open) = self.open() else {
            return Ok(None);
        };
        let note = SocketNote {
            wanted: Some(open.wanted.to_string()),
            is_admin: true,
            ..SocketNote::default()
        };
        Ok(Some((open.socket.as_fd().try_clone_to_owned()?, note)))
    }

    /// Accepts nothing more, since another process does.
    pub(crate) fn leave(&self) {
        let mut state = self.lock();
        state.is_over = true;
        state.open = None;
        drop(state);
        self.ended.notify_one();
    }

    /// Resolves when another process goes on with the socket.
    pub(super) async fn ended(&self) {
        self.ended.notified().await;
    }

    pub(super) fn is_over(&self) -> bool {
        self.lock().is_over
    }

    pub(super) fn open(&self) -> Option<OpenPort> {
        self.lock().open.clone()
    }

    /// Listens on this address from now on, or nowhere. If that fails, all goes on as it was. To be called in the runtime.
    pub(super) fn listen(&self, wanted: Option<SocketAddr>) -> io::Result<Option<OpenPort>> {
        let open = wanted.map(OpenPort::bind).transpose()?;
        let mut state = self.lock();
        if state.is_over {
            return Ok(None);
        }
        state.open.clone_from(&open);
        Ok(open)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenPort {
    fn bind(wanted: SocketAddr) -> io::Result<OpenPort> {
        let domain = Domain::for_address(wanted);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&wanted.into())?;
        socket.listen(BACKLOG)?;
        OpenPort::new(wanted, socket)
    }

    fn of(passed: PassedSocket) -> io::Result<OpenPort> {
        let wanted = passed.note.wanted.and_then(|it| it.parse().ok());
        let wanted = wanted.ok_or(io::ErrorKind::InvalidData)?;
        OpenPort::new(wanted, passed.socket)
    }

    fn new(wanted: SocketAddr, socket: Socket) -> io::Result<OpenPort> {
        socket.set_nonblocking(true)?;
        let socket = Arc::new(TcpListener::from_std(socket.into())?);
        Ok(OpenPort { wanted, socket })
    }
}

const BACKLOG: i32 = 64;
