//! The descriptor of a plugin, made at compile time from the handler's type.

use crate::{
    abi::{self, Descriptor},
    asks::callback_probe::TopicCallbacks,
    border::shims,
    styles::{
        adapter::HandlerAdapter,
        asynchronous::{adapter::AsyncHandler, state::AsyncState},
        blocking::adapter::BlockingHandler,
        events::{
            adapter::{Begin, EventsHandler, named::HandlerOfThisCrate},
            handler::Handler,
        },
        functions::{
            shared::Shared,
            signatures::{AsyncFunction, BlockingFunction, HandshakeFunction},
        },
    },
};

/// What the macro knows of the author's crate.
#[doc(hidden)]
#[derive(Debug)]
pub struct Crate {
    /// `CARGO_PKG_NAME`
    pub name: &'static str,
    /// `CARGO_PKG_VERSION`
    pub version: &'static str,
    /// `CARGO_PKG_DESCRIPTION`, which is empty where the manifest has none.
    pub description: &'static str,
    /// `cfg!(panic = "abort")`
    pub panic_abort: bool,
    /// `handler!` says `origin = any`.
    pub origin_any: bool,
}

/// The descriptor of a handler in the events style. `M` follows from `H`. `F` is what was found out about `H`: how its
/// session begins, and which callbacks about topics it has.
#[doc(hidden)]
#[must_use]
pub const fn events<H: Exported<M, F>, M, F: Copy>(about: &Crate, _found: F) -> Descriptor {
    describe(about, H::FACTS)
}

/// A type that [`handler!`](crate::handler) takes.
// The two marks shape the compiler's message. With a single implementation the compiler would complain about the bounds
// of that one, `Session` and `Default`, where an author needs neither.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    label = "neither a `Handler`, nor a `Session` that is `Default` and `Sync`",
    note = "a type is a handler through `impl Handler for {Self}`, or by being a `Session`, `Default` and `Sync`",
    note = "a function is one with its style before it: `handler!(async name)`, `handler!(blocking name)`"
)]
pub trait Exported<M, F> {
    /// What of the descriptor follows from the type.
    const FACTS: DescriptorFacts;
}

/// Marks a handler.
#[derive(Debug)]
pub struct IsHandler(());

/// Marks the type that stands in for a function.
#[derive(Debug)]
pub struct IsFunction(());

impl<H: Handler, B: Begin<H::Session>, C: TopicCallbacks<H>> Exported<IsHandler, (B, C)> for H {
    const FACTS: DescriptorFacts = DescriptorFacts::of::<EventsHandler<H, B, C>>();
}

impl<T: StandsIn, F> Exported<IsFunction, F> for T {
    const FACTS: DescriptorFacts = DescriptorFacts {
        flags: 0,
        schema: (0, 0),
        init: None,
    };
}

/// The type that stands in where `handler!` names no type. It leads to a compile error, never to a descriptor.
pub trait StandsIn {}

impl StandsIn for HandlerOfThisCrate {}

/// The fields of a descriptor that follow from the handler.
#[derive(Clone, Copy, Debug)]
pub struct DescriptorFacts {
    flags: u32,
    schema: (u32, u32),
    init: Option<InitFn>,
}

type InitFn =
    unsafe extern "C" fn(*const abi::Host, *const abi::Init, *mut abi::Instance) -> abi::Status;

impl DescriptorFacts {
    pub(crate) const fn of<E: HandlerAdapter>() -> DescriptorFacts {
        DescriptorFacts {
            flags: E::FLAGS,
            schema: E::SCHEMA,
            init: Some(shims::init::<E>),
        }
    }
}

/// The descriptor of an async function. The function arguments only convey their types; see
/// [`item`](crate::border::function_item::item).
#[doc(hidden)]
#[must_use]
pub const fn asynchronous<H, const RESTARTS: bool, const PARTS: bool, F, C, T, S, A>(
    about: &Crate,
    _function: F,
    _check: C,
    _found: T,
) -> Descriptor
where
    F: AsyncFunction<S, A, H>,
    C: HandshakeFunction<H>,
    T: TopicCallbacks<H>,
    S: AsyncState,
    A: 'static,
    H: Shared,
{
    describe(
        about,
        DescriptorFacts::of::<AsyncHandler<F, C, T, S, A, H, RESTARTS, PARTS>>(),
    )
}

/// The descriptor of a blocking function. The function arguments only convey their types; see
/// [`item`](crate::border::function_item::item).
#[doc(hidden)]
#[must_use]
pub const fn blocking<H, const PARTS: bool, F, C, T, A>(
    about: &Crate,
    _function: F,
    _check: C,
    _found: T,
) -> Descriptor
where
    F: BlockingFunction<A, H>,
    C: HandshakeFunction<H>,
    T: TopicCallbacks<H>,
    A: 'static,
    H: Shared,
{
    describe(
        about,
        DescriptorFacts::of::<BlockingHandler<F, C, T, A, H, PARTS>>(),
    )
}

const fn describe(about: &Crate, facts: DescriptorFacts) -> Descriptor {
    let panics = if about.panic_abort {
        abi::PANIC_ABORT
    } else {
        0
    };
    let origins = if about.origin_any { abi::ORIGIN_ANY } else { 0 };
    Descriptor {
        magic: abi::MAGIC,
        abi_major: abi::ABI_MAJOR,
        abi_minor: abi::ABI_MINOR,
        // This library works with a host of 1.0: a function that the host lacks is answered UNSUPPORTED.
        min_host_minor: 0,
        size: size_of::<Descriptor>() as u32,
        flags: facts.flags | panics | origins,
        state_schema: facts.schema.0,
        state_schema_min: facts.schema.1,
        reserved: 0,
        name: padded(handler_name(about.name)),
        version: padded(about.version.as_bytes()),
        toolchain: padded(env!("WSH_TOOLCHAIN").as_bytes()),
        init: facts.init,
        description: padded(about.description.as_bytes()),
    }
}

/// The handler's name, from that of its package: `echo` from `echo_wsh`.
const fn handler_name(package: &str) -> &[u8] {
    let name = package.as_bytes();
    match name {
        [stem @ .., b'_' | b'-', b'w', b's', b'h'] if !stem.is_empty() => stem,
        _ => name,
    }
}

/// The text in a field of `N` bytes, padded with NUL. A longer text is cut between two characters. The last byte is
/// always NUL.
const fn padded<const N: usize>(text: &[u8]) -> [u8; N] {
    let mut field = [0; N];
    let mut len = if text.len() < N { text.len() } else { N - 1 };
    while len > 0 && len < text.len() && text[len] & 0xc0 == 0x80 {
        len -= 1;
    }
    let mut at = 0;
    while at < len {
        field[at] = text[at];
        at += 1;
    }
    field
}
