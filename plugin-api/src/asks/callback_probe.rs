//! Finds out, when a handler is compiled, which of `Envelope` and `Presence` its type has.

use std::marker::PhantomData;

use crate::{
    asks::callbacks::{Envelope, Presence, PresenceChange, Publication},
    message::MessageBuf,
    styles::events::handler::Handler,
};

/// What a handler's type has of [`Envelope`] and [`Presence`]: a pair, each found by [`Probe`].
pub trait TopicCallbacks<H>: Copy + Send + Sync + 'static {
    /// Calls [`Envelope::envelope`]; `None` if the type has none.
    const ENVELOPE: Option<EnvelopeFn<H>>;
    /// Calls [`Presence::presence`]; `None` if the type has none.
    const PRESENCE: Option<PresenceFn<H>>;
}

/// [`Envelope::envelope`] of a type.
pub(crate) type EnvelopeFn<H> = fn(&H, &Publication<'_>) -> crate::Result<Option<MessageBuf>>;
/// [`Presence::presence`] of a type.
pub(crate) type PresenceFn<H> = fn(&H, &PresenceChange<'_>) -> crate::Result<Option<MessageBuf>>;

impl<H, E: EnvelopeOf<H>, P: PresenceOf<H>> TopicCallbacks<H> for (E, P) {
    const ENVELOPE: Option<EnvelopeFn<H>> = E::ENVELOPE;
    const PRESENCE: Option<PresenceFn<H>> = P::PRESENCE;
}

/// Finds out, for [`descriptor!`](crate::descriptor), which of the two traits a type has.
///
/// `TopicProbe::<H>::ENVELOPE` is the inherent constant where its bound holds, and else that of the trait [`NoEnvelope`].
#[derive(Debug)]
pub struct TopicProbe<H>(PhantomData<H>);

/// The type has the trait.
#[derive(Clone, Copy, Debug)]
pub struct Written;

/// The type does not have the trait.
#[derive(Clone, Copy, Debug)]
pub struct NotWritten;

impl Written {
    /// The type has the trait.
    #[must_use]
    pub const fn is_written(self) -> bool {
        true
    }
}

impl NotWritten {
    /// The type does not have the trait.
    #[must_use]
    pub const fn is_written(self) -> bool {
        false
    }
}

impl<H: Envelope> TopicProbe<H> {
    /// The type has [`Envelope`].
    pub const ENVELOPE: Written = Written;
}

impl<H: Presence> TopicProbe<H> {
    /// The type has [`Presence`].
    pub const PRESENCE: Written = Written;
}

impl<H: Handler<Session: Envelope>> TopicProbe<H> {
    /// The type's session has [`Envelope`].
    pub const ENVELOPE_OF_SESSION: bool = true;
}

impl<H: Handler<Session: Presence>> TopicProbe<H> {
    /// The type's session has [`Presence`].
    pub const PRESENCE_OF_SESSION: bool = true;
}

/// The answer of [`TopicProbe`] for every other type.
pub trait NoEnvelope {
    /// The type does not have [`Envelope`].
    const ENVELOPE: NotWritten = NotWritten;
    /// The type's session does not have it, or the type is no handler.
    const ENVELOPE_OF_SESSION: bool = false;
}

/// The answer of [`TopicProbe`] for every other type.
pub trait NoPresence {
    /// The type does not have [`Presence`].
    const PRESENCE: NotWritten = NotWritten;
    /// The type's session does not have it, or the type is no handler.
    const PRESENCE_OF_SESSION: bool = false;
}

impl<H> NoEnvelope for TopicProbe<H> {}
impl<H> NoPresence for TopicProbe<H> {}

/// How [`Envelope`] of a type is called.
pub trait EnvelopeOf<H>: Copy + Send + Sync + 'static {
    /// `None` if the type does not have it.
    const ENVELOPE: Option<EnvelopeFn<H>>;
}

/// How [`Presence`] of a type is called.
pub trait PresenceOf<H>: Copy + Send + Sync + 'static {
    /// `None` if the type does not have it.
    const PRESENCE: Option<PresenceFn<H>>;
}

impl<H: Envelope> EnvelopeOf<H> for Written {
    const ENVELOPE: Option<EnvelopeFn<H>> = Some(H::envelope);
}

impl<H> EnvelopeOf<H> for NotWritten {
    const ENVELOPE: Option<EnvelopeFn<H>> = None;
}

impl<H: Presence> PresenceOf<H> for Written {
    const PRESENCE: Option<PresenceFn<H>> = Some(H::presence);
}

impl<H> PresenceOf<H> for NotWritten {
    const PRESENCE: Option<PresenceFn<H>> = None;
}
