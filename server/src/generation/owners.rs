//! What a plugin has made for one connection, together with the reference that keeps the plugin's
//! generation alive.
//!
//! A plugin's memory is safe because these end in one order. `abandon` or `destroy` comes first, then
//! what that call may still read, and last the reference: a generation without references is shut
//! down, which frees its handler. Both owners say this order with their fields. No code outside of
//! `generation` can reach a generation's plugin in another way.

use std::sync::Arc;

use super::{Generation, GenerationRef};
use crate::border::calls::{Attempt, CallbackOutcome, HandshakeAnswer, SessionInstance};
use crate::border::host_conn::HostConn;
use crate::border::request_table::RequestTable;
use crate::border::response_draft::Draft;
use crate::border::state_transfer::NotMoved;

/// An opening handshake that its handler decides on.
// The fields are dropped in this order.
#[derive(Debug)]
pub(crate) struct HandshakeOwner {
    /// Its drop calls `abandon`, unless `open` took it.
    attempt: Attempt,
    /// `abandon` may read it (abi.rs, *lent memory*).
    request: Box<RequestTable>,
    generation_ref: GenerationRef,
}

/// A session, with what its handler has made for it.
// The fields are dropped in this order.
#[derive(Debug)]
pub(crate) struct SessionOwner {
    /// `None` once the handler was told of the end and has no more to do.
    instance: Option<SessionInstance>,
    generation_ref: GenerationRef,
}

impl HandshakeOwner {
    /// A handshake about which the handler was not asked yet.
    pub(crate) fn new(generation_ref: GenerationRef, request: Box<RequestTable>) -> HandshakeOwner {
        HandshakeOwner {
            attempt: generation_ref.0.plugin.attempt(generation_ref.0.context),
            request,
            generation_ref,
        }
    }

    pub(crate) fn generation(&self) -> &Arc<Generation> {
        self.generation_ref.generation()
    }

    pub(crate) fn request(&self) -> &RequestTable {
        &self.request
    }

    /// Calls the handler's `handshake`.
    pub(crate) fn ask(&mut self, draft: &mut Draft) -> HandshakeAnswer {
        let generation = &self.generation_ref.0;
        let answer = (generation.plugin).handshake(&self.request, draft, &mut self.attempt);
        if answer == HandshakeAnswer::Panicked {
            generation.context.record_panic();
        }
        answer
    }

    /// Calls the handler's `open`, which makes the session.
    pub(crate) fn open(self, conn: &mut HostConn) -> (SessionOwner, CallbackOutcome) {
        let HandshakeOwner {
            attempt,
            request,
            generation_ref,
        } = self;
        let (instance, outcome) = generation_ref.0.plugin.open(conn, &request, attempt);
        (
            SessionOwner {
                instance,
                generation_ref,
            },
            outcome,
        )
    }
}

impl SessionOwner {
    /// The generation that the session runs on.
    pub(crate) fn generation(&self) -> &Arc<Generation> {
        self.generation_ref.generation()
    }

    /// The session as its handler has it; `None` once that is freed.
    #[inline]
    pub(crate) fn instance(&mut self) -> Option<&mut SessionInstance> {
        self.instance.as_mut()
    }

    /// Whether the handler still has the session.
    pub(crate) fn has_instance(&self) -> bool {
        self.instance.is_some()
    }

    /// Frees the session as its handler has it.
    pub(crate) fn free_instance(&mut self) {
        self.instance = None;
    }

    /// Makes the session of newer code from the state that the present code wrote. Returns the reference to
    /// the old generation, to be dropped when the registry names the new one.
    pub(crate) fn move_to(
        &mut self,
        to: &Arc<Generation>,
        conn: &mut HostConn,
        state: &[u8],
    ) -> Result<GenerationRef, NotMoved> {
        let schema = self.generation().provenance.about.schema;
        // It was superseded meanwhile. The newer generation asks the session for itself.
        let generation_ref = to.enter_moved().ok_or(NotMoved::NotNow(NO_PLACE))?;
        let new = to.plugin.restore(to.context, conn, schema, state)?;
        // From here on nothing can fail. The old code's `destroy` runs while its generation is referred to.
        self.instance = Some(new);
        Ok(std::mem::replace(&mut self.generation_ref, generation_ref))
    }
}

const NO_PLACE: &str = "the new code has no place for it";
