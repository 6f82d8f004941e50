//! What two servers say to each other while one takes the place of the other: a packet for each message, with the
//! sockets beside it.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::process::passed_sockets::SocketNote;

/// One end of the way between the two.
#[derive(Debug)]
pub(super) struct UpgradeChannel(OwnedFd);

/// What the server that runs says to the one that it has started.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToSuccessor {
    /// Some of its sockets, which come with this.
    Sockets(Vec<SocketNote>),
    /// That was all. What it has as stdin comes with this.
    Begin,
    /// From now on the other process alone serves.
    Yours,
}

/// What the server that was started says to the other.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToPredecessor {
    /// It serves a handler of this name.
    Serves(String),
    /// It does not take over, and ends. Why, in a sentence.
    Failed { why: String },
    /// That was all, and it can accept connections.
    Ready { version: String },
}

/// What came over the channel.
#[derive(Debug)]
pub(super) enum Received<T> {
    Message(T, Vec<OwnedFd>),
    /// The process at the other end has ended.
    End,
    /// Nothing, until the deadline.
    Late,
}

impl UpgradeChannel {
    /// Both ends of a new channel.
    pub(super) fn pair() -> io::Result<(UpgradeChannel, OwnedFd)> {
        let (own, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((UpgradeChannel(own), theirs))
    }

    /// The end that this process was given.
    pub(super) fn of(end: OwnedFd) -> UpgradeChannel {
        UpgradeChannel(end)
    }

    /// Sends a message, with up to [`DESCRIPTORS_MAX`] descriptors.
    pub(super) fn send(
        &self,
        message: &impl Serialize,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let text = serde_json::to_vec(message)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors))
        {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        set_socket_timeout(&self.0, Timeout::Send, Some(SEND_TIMEOUT))?;
        let data = [IoSlice::new(&text)];
        sendmsg(&self.0, &data, &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Waits for a message until `deadline`.
    pub(super) fn receive<T: DeserializeOwned>(
        &self,
        deadline: Instant,
    ) -> io::Result<Received<T>> {
        let mut text = vec![0; MESSAGE_BYTES_MAX];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Received::Late);
            }
            set_socket_timeout(&self.0, Timeout::Recv, Some(left.max(SHORTEST_WAIT)))?;
            let mut space =
                [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let mut data = [IoSliceMut::new(&mut text)];
            let received = recvmsg(&self.0, &mut data, &mut ancillary, RecvFlags::CMSG_CLOEXEC);
            let received = match received.map_err(io::Error::from) {
                Ok(received) => received,
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => continue,
                    io::ErrorKind::ConnectionReset => return Ok(Received::End),
                    _ => return Err(error),
                },
            };
            if received.bytes == 0 {
                return Ok(Received::End);
            }
            let mut descriptors = Vec::new();
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(rights) = message {
                    descriptors.extend(rights);
                }
            }
            let message = serde_json::from_slice(&text[..received.bytes])?;
            return Ok(Received::Message(message, descriptors));
        }
    }
}

impl AsFd for UpgradeChannel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Descriptors that one message has at most; the kernel's own limit is 253.
pub(super) const DESCRIPTORS_MAX: usize = 64;
/// The longest message: the notes of 64 sockets, with paths.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// How long the other process may leave messages unread before that is an error.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// The kernel takes no wait of zero for a limit.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);
