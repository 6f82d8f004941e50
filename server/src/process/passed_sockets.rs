//! Sockets that listen already when the process begins: what started it has made them, and passes them on.
//!
//! systemd does so for a service with a socket unit (sd_listen_fds(3)). Such a socket stays open while the service is
//! started again, so that no client is refused meanwhile. The other one that does so is a server that another program
//! takes the place of.

use std::fs::Metadata;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use listenfd::ListenFd;
use serde::{Deserialize, Serialize};
use socket2::Socket;

/// A socket that another process has passed to this one.
#[derive(Debug)]
pub struct PassedSocket {
    pub(crate) socket: Socket,
    pub(crate) note: SocketNote,
}

/// What is known of a socket besides its address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SocketNote {
    /// The endpoint as the configuration of the process before wrote it; `None` where systemd has passed it.
    pub(crate) wanted: Option<String>,
    /// Whether systemd has made it, so that it and its file stay when this process ends.
    pub(crate) is_of_systemd: bool,
    /// Whether systemd's unit says that clients speak TLS there: `FileDescriptorName=tls`.
    pub(crate) is_tls: bool,
    /// Whether it is that of the admin address.
    #[serde(default)]
    pub(crate) is_admin: bool,
    /// Which file is that of a Unix socket. Another one may lie at its path by now.
    #[serde(default)]
    pub(crate) file: Option<FileIdentity>,
}

/// What tells the file of a Unix socket from any other that lies at its path later. The system gives no other file this
/// inode while the socket is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileIdentity {
    device: u64,
    inode: u64,
}

impl FileIdentity {
    pub(crate) fn of(file: &Metadata) -> FileIdentity {
        FileIdentity {
            device: file.dev(),
            inode: file.ino(),
        }
    }
}

/// What came from systemd.
#[derive(Debug, Default)]
pub struct PassedByService {
    /// The sockets that listen, in their order.
    pub sockets: Vec<PassedSocket>,
    /// What else came, in a sentence each. It is not used.
    pub remarks: Vec<String>,
}

/// Takes the sockets that systemd has passed. To be called once, while the process has a single thread: it removes the
/// variables that tell of them, so that no other process takes them for its own.
pub fn take() -> PassedByService {
    let names = std::env::var(NAMES).unwrap_or_default();
    let mut names = names.split(':');
    let mut passed = PassedByService::default();
    // Without the number of its process, what is passed may be meant for another one.
    if std::env::var_os(PROCESS).is_none() {
        return passed;
    }
    let mut all = ListenFd::from_env();
    for index in 0..all.len() {
        let name = names.next().unwrap_or_default().to_owned();
        let tcp = all.take_tcp_listener(index).ok().flatten();
        let tcp = tcp.map(OwnedFd::from);
        let mut unix = || all.take_unix_listener(index).ok().flatten();
        let socket = tcp.or_else(|| unix().map(OwnedFd::from)).map(Socket::from);
        match socket.filter(|socket| socket.is_listener().unwrap_or(false)) {
            Some(socket) => passed.sockets.push(PassedSocket {
                socket,
                note: SocketNote {
                    is_tls: name == TLS_NAME,
                    is_of_systemd: true,
                    wanted: None,
                    is_admin: false,
                    file: None,
                },
            }),
            None => passed.remarks.push(format!(
                "descriptor {} (`{name}`), which systemd passes, is no socket that listens; wanted is a socket unit with \
                 `ListenStream=` and `Accept=no`",
                FIRST + index
            )),
        }
    }
    passed
}

/// The variable of sd_listen_fds(3) with the names of the sockets, between colons.
const NAMES: &str = "LISTEN_FDNAMES";
/// The variable of sd_listen_fds(3) with the process for which they are.
const PROCESS: &str = "LISTEN_PID";
/// The number of the first descriptor that systemd passes.
const FIRST: usize = 3;
/// The name of a socket whose clients speak TLS.
const TLS_NAME: &str = "tls";
