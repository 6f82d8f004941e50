//! Listeners change hands: those of a server that runs go to the process that takes its place.
//!
//! The server goes on serving while that process loads. What it binds meanwhile, as the socket of a file that was removed,
//! it passes on when it lets go, so that every address and path leads to the process that serves.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;

use tracing::{error, warn};

use super::super::passed::note_of;
use super::super::{Listener, ListenerEnd};
use super::{Listeners, listeners_of};
use crate::config::Config;
use crate::process::passed_sockets::{PassedSocket, SocketNote};

impl Listeners {
    /// The sockets, for another process that is to take the place of this one.
    pub(crate) fn copies(&self) -> io::Result<Vec<(OwnedFd, SocketNote)>> {
        let state = self.lock();
        let open = state.open.iter().map(|it| &it.listener);
        open.chain(&state.spare).map(copy_of).collect()
    }

    /// Leaves the sockets and the files of Unix sockets to the process that takes the place of this one. Returns the sockets
    /// that it does not have yet, because they were made since the last [`copies`](Self::copies).
    pub(crate) fn leave(&self) -> Vec<(OwnedFd, SocketNote)> {
        let mut state = self.lock();
        state.is_left = true;
        for file in state.files() {
            file.leave();
        }
        let open = state.open.iter().map(|it| &it.listener);
        let new = open.filter(|it| !it.socket.is_passed.load(Ordering::Relaxed));
        let copies = new.filter_map(|it| {
            copy_of(it)
                .inspect_err(|error| {
                    let address = it.endpoint();
                    warn!(%address, %error, "a socket cannot be passed on");
                })
                .ok()
        });
        copies.collect()
    }

    /// Takes over the files of Unix sockets from the process whose place this one takes, with the sockets that it has made
    /// meanwhile, and closes the sockets that the configuration does not list.
    pub(crate) fn take_over(&self, made_meanwhile: Vec<PassedSocket>, config: &Config) {
        let made_meanwhile = {
            let _runtime = self.runtime.enter();
            listeners_of(made_meanwhile)
        };
        if !made_meanwhile.is_empty() {
            let mut state = self.lock();
            let known = state.known();
            for made in made_meanwhile {
                let at = |it: &&Listener| {
                    made.endpoint.path().is_some() && it.endpoint.path() == made.endpoint.path()
                };
                let before = known.iter().find(at);
                let made = before.map_or_else(|| made.clone(), |it| made.written_as(&it.wanted));
                let open = before.and_then(|it| state.replace(it, made.clone(), &self.runtime));
                match open {
                    Some(old) => old.end(ListenerEnd::AtOnce),
                    None => state.spare.push(made),
                }
            }
            state.changes += 1;
            drop(state);
            // What the process before had bound could not be bound here.
            if let Err(error) = self.apply(config) {
                error!(%error, "the addresses stay as they were, until the configuration is read again");
            }
        }
        let mut state = self.lock();
        for file in state.files() {
            file.claim();
        }
        let spare = std::mem::take(&mut state.spare);
        let (kept, closed): (Vec<_>, Vec<_>) = spare.into_iter().partition(Listener::is_of_systemd);
        state.spare = kept;
        state.changes += 1;
        drop(state);
        drop(closed);
    }
}

/// A listener's socket, for another process.
fn copy_of(listener: &Listener) -> io::Result<(OwnedFd, SocketNote)> {
    let copy = listener.socket().as_fd().try_clone_to_owned()?;
    listener.socket.is_passed.store(true, Ordering::Relaxed);
    Ok((copy, note_of(listener)))
}

#[cfg(test)]
mod tests;
