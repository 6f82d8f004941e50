//! The generations of one handler as their sessions see them: which is the newest, and whether they can
//! move to it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;
use wsh::abi;

use super::Generation;
use crate::config::ReloadPolicy;

/// What all generations of one handler share.
#[derive(Debug, Default)]
pub(crate) struct Lineage {
    /// The generation that serves; `None` once the handler is removed.
    newest: ArcSwapOption<Generation>,
    /// The number of sessions, and of handshakes that may become some.
    pub(super) sessions: AtomicUsize,
    /// The number of blocking sessions, each of which has a thread.
    pub(super) blocking_sessions: AtomicUsize,
    /// Whether the operator has taken the handler out of service, in whatever version.
    is_withdrawn: AtomicBool,
}

/// Why no session of a generation can move to a newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// The old code has no `snapshot`.
    OldStays,
    /// The new code has no `restore`.
    NewStays,
    /// The sessions of the old or the new code have threads of their own, which cannot move.
    Blocking,
    /// The new code does not read the schema that the old code writes.
    Schema { found: u32, min: u32, max: u32 },
}

impl Lineage {
    /// Has sessions move to `newest` from now on, or nowhere.
    pub(crate) fn set_newest(&self, newest: Option<Arc<Generation>>) {
        self.newest.store(newest);
        // After the store: an operator who withdraws the handler now finds either the flag read or the new generation.
        if self.is_withdrawn.load(Ordering::SeqCst)
            && let Some(newest) = &*self.newest.load()
        {
            newest.context.withdraw();
        }
    }
}

impl Generation {
    /// The newest generation, if the configuration lets sessions move and nothing is in the way.
    pub(crate) fn successor(&self) -> Option<Arc<Generation>> {
        let newest = self.lineage.newest.load();
        let newest = newest.as_ref().filter(|it| it.number != self.number)?;
        let may = newest.moves_sessions() && self.obstacle_to(newest).is_none();
        may.then(|| newest.clone())
    }

    /// Takes the handler out of service until [`release`](Self::release), also in its next versions.
    pub(crate) fn withdraw(&self) {
        self.lineage.is_withdrawn.store(true, Ordering::SeqCst);
        if let Some(newest) = &*self.lineage.newest.load() {
            newest.context.withdraw();
        }
    }

    /// Takes the handler back into service. False if it was in service.
    pub(crate) fn release(&self) -> bool {
        self.lineage.is_withdrawn.store(false, Ordering::SeqCst);
        let newest = self.lineage.newest.load();
        newest.as_ref().is_some_and(|it| it.context.release())
    }

    /// Whether it is the newest generation of its handler.
    pub(crate) fn is_newest(&self) -> bool {
        let newest = self.lineage.newest.load();
        newest.as_ref().is_some_and(|it| it.number == self.number)
    }

    /// Whether sessions of older generations move to it.
    pub(crate) fn moves_sessions(&self) -> bool {
        self.settings.load().reload == ReloadPolicy::Migrate && !self.is_quarantined()
    }

    /// What keeps all of its sessions from moving to `newer`.
    pub(crate) fn obstacle_to(&self, newer: &Generation) -> Option<Obstacle> {
        let (from, to) = (&self.provenance.about, &newer.provenance.about);
        if (from.flags | to.flags) & abi::BLOCKING != 0 {
            return Some(Obstacle::Blocking);
        }
        if from.flags & abi::MIGRATES == 0 || self.plugin.vtable.snapshot.is_none() {
            return Some(Obstacle::OldStays);
        }
        if to.flags & abi::MIGRATES == 0 || newer.plugin.vtable.restore.is_none() {
            return Some(Obstacle::NewStays);
        }
        let (found, min, max) = (from.schema, to.schema_min, to.schema);
        (!(min..=max).contains(&found)).then_some(Obstacle::Schema { found, min, max })
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::OldStays => f.write_str("the old code has no state that could move"),
            Obstacle::NewStays => f.write_str("the new code takes no sessions over"),
            Obstacle::Blocking => f.write_str("a blocking session keeps its thread"),
            Obstacle::Schema { found, min, max } => write!(
                f,
                "the old code writes state of schema {found}, the new code reads {min} to {max}"
            ),
        }
    }
}
