//! What a plugin has made for one connection, together with the place that keeps the plugin's
//! generation alive.
//!
//! The order in which these things end is what keeps a plugin's memory safe: its `abandon` or
//! `destroy` comes first, then what that call may still look at, and last the place. A generation
//! without places is shut down, and its handler is freed by that. Both owners say this order with
//! their fields, and nothing else outside this module can reach the plugin of a generation.

use std::sync::Arc;

use super::{Generation, GenerationRef};
use crate::border::calls::{Attempt, CallbackOutcome, HandshakeAnswer, SessionInstance};
use crate::border::host_conn::HostConn;
use crate::border::request_table::RequestTable;
use crate::border::response_draft::Draft;
use crate::border::state_transfer::NotMoved;

/// An opening handshake before its handler.
// The fields are dropped in this order.
#[derive(Debug)]
pub(crate) struct HandshakeOwner {
    /// Abandoned when it is dropped, unless `open` took it.
    attempt: Attempt,
    /// `abandon` may read it (abi.rs, *lent memory*).
    request: Box<RequestTable>,
    generation_ref: GenerationRef,
}

/// A session of a handler, until the handler is done with it.
// The fields are dropped in this order.
#[derive(Debug)]
pub(crate) struct SessionOwner {
    /// `None` once the handler knows of the end, and has no more to do.
    instance: Option<SessionInstance>,
    generation_ref: GenerationRef,
}

impl HandshakeOwner {
    /// A handshake that its handler was not asked about.
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

    /// Asks the handler.
    pub(crate) fn ask(&mut self, draft: &mut Draft) -> HandshakeAnswer {
        let generation = &self.generation_ref.0;
        let answer = (generation.plugin).handshake(&self.request, draft, &mut self.attempt);
        if answer == HandshakeAnswer::Panicked {
            generation.context.record_panic();
        }
        answer
    }

    /// Makes the session.
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

    /// The session as its handler has it, until that is over.
    #[inline]
    pub(crate) fn instance(&mut self) -> Option<&mut SessionInstance> {
        self.instance.as_mut()
    }

    /// Whether the handler has the session still.
    pub(crate) fn has_instance(&self) -> bool {
        self.instance.is_some()
    }

    /// Frees the session as its handler has it.
    pub(crate) fn free_instance(&mut self) {
        self.instance = None;
    }

    /// Makes the session of newer code from the state that the present code wrote. Answers the place
    /// on the old generation, to be given back when the registry names the new one.
    pub(crate) fn move_to(
        &mut self,
        to: &Arc<Generation>,
        conn: &mut HostConn,
        state: &[u8],
    ) -> Result<GenerationRef, NotMoved> {
        let schema = self.generation().provenance.about.schema;
        // Retired since it was found: then there is a newer one, which asks for itself.
        let generation_ref = to.enter().map_err(|_| NotMoved::NotNow(NO_PLACE))?;
        let new = to.plugin.restore(to.context, conn, schema, state)?;
        // From here on nothing can fail. The old code's `destroy` runs while its place is taken.
        self.instance = Some(new);
        Ok(std::mem::replace(&mut self.generation_ref, generation_ref))
    }
}

const NO_PLACE: &str = "the new code has no place for it";
