//! What an operator wants of one session: that it says what it is doing, or that it closes.
//!
//! A session answers by itself, from its own task, so that what an operator may ask once in a while costs a session nothing
//! all its life.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::UnboundedSender;

use crate::config::Networks;
use crate::sessions::mailbox::Mailbox;

/// What an operator wants of a session. The latest question replaces one that is not answered.
#[derive(Debug, Default)]
pub(crate) struct OperatorOrders {
    /// Where its report goes.
    pub(crate) report_to: Option<UnboundedSender<SessionReport>>,
    /// The first one that means the session counts.
    pub(crate) closes: Vec<OperatorClose>,
}

/// A Close that an operator wants.
#[derive(Clone, Debug)]
pub(crate) struct OperatorClose {
    /// The code of the Close frame, which was checked.
    pub(crate) code: u16,
    /// The reason, which was checked.
    pub(crate) reason: Arc<str>,
    /// Only sessions of peers with these addresses are meant; `None` is all.
    pub(crate) of: Option<Arc<Networks>>,
    /// Where a session says whether it is meant.
    pub(crate) told: Option<UnboundedSender<bool>>,
}

/// The orders that sessions have not taken yet, by their ids. They lie here, and take no memory of other sessions.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    /// How many there are: a session loads this instead of taking the lock.
    count: AtomicUsize,
    orders: Mutex<HashMap<u64, OperatorOrders>>,
}

impl Orders {
    /// Gives an order to a session. False if it is over.
    pub(crate) fn give(&self, mailbox: &Mailbox, give: impl FnOnce(&mut OperatorOrders)) -> bool {
        let mut orders = self.lock();
        give(orders.entry(mailbox.id).or_default());
        self.count.store(orders.len(), Ordering::Release);
        drop(orders);
        let is_open = mailbox.note_orders();
        if !is_open {
            self.take(mailbox.id);
        }
        is_open
    }

    /// Takes what an operator wants of this session.
    #[inline]
    pub(crate) fn take(&self, id: u64) -> Option<OperatorOrders> {
        match self.count.load(Ordering::Acquire) {
            0 => None,
            _ => self.take_now(id),
        }
    }

    #[cold]
    fn take_now(&self, id: u64) -> Option<OperatorOrders> {
        let mut orders = self.lock();
        let taken = orders.remove(&id);
        self.count.store(orders.len(), Ordering::Release);
        taken
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, OperatorOrders>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a session says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionReport {
    pub(crate) id: u64,
    pub(crate) peer: String,
    /// The path of the request.
    pub(crate) path: String,
    pub(crate) handler: String,
    pub(crate) generation: u64,
    /// The user, or the name of the token, that the peer has entered with.
    pub(crate) user: Option<String>,
    pub(crate) subprotocol: String,
    pub(crate) is_compressed: bool,
    pub(crate) is_tls: bool,
    pub(crate) age_ms: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// The bytes that the kernel has not taken.
    pub(crate) buffered: u64,
    /// Whether the closing handshake has begun.
    pub(crate) is_closing: bool,
}
