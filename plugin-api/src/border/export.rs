//! The one symbol of a plugin, and the macro that makes it.

use crate::{
    abi::{self, Descriptor},
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

/// What the macro knows of the crate that it stands in.
#[doc(hidden)]
#[derive(Debug)]
pub struct Crate {
    /// `CARGO_PKG_NAME`
    pub name: &'static str,
    /// `CARGO_PKG_VERSION`
    pub version: &'static str,
    /// `cfg!(panic = "abort")`
    pub panic_abort: bool,
    /// The handler is a function that judges origins itself.
    pub origin_any: bool,
}

/// The descriptor of a handler in the events style. `M` follows from `H`.
#[doc(hidden)]
#[must_use]
pub const fn events<H: Exported<M, B>, M, B: Copy>(about: &Crate, _begin: B) -> Descriptor {
    describe(about, H::FACTS)
}

/// A type that [`handler!`](crate::handler) takes.
// The two marks are there for the message: with one implementation to choose from, the compiler would
// speak of what that one lacks, which is `Session` and `Default` where an author wants neither.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    label = "neither a `Handler`, nor a `Session` that is `Default` and `Sync`",
    note = "a type is a handler through `impl Handler for {Self}`, or by being a `Session`, `Default` and `Sync`",
    note = "a function is one with its style before it: `handler!(async name)`, `handler!(blocking name)`"
)]
pub trait Exported<M, B> {
    /// What the descriptor has of it.
    const FACTS: DescriptorFacts;
}

/// Marks a handler.
#[derive(Debug)]
pub struct IsHandler(());

/// Marks what stands in for a function.
#[derive(Debug)]
pub struct IsFunction(());

impl<H: Handler, B: Begin<H::Session>> Exported<IsHandler, B> for H {
    const FACTS: DescriptorFacts = DescriptorFacts::of::<EventsHandler<H, B>>();
}

impl<T: StandsIn, B> Exported<IsFunction, B> for T {
    const FACTS: DescriptorFacts = DescriptorFacts {
        flags: 0,
        schema: (0, 0),
        init: None,
    };
}

/// What stands in where `handler!` names no type; it ends in a message, not in a descriptor.
pub trait StandsIn {}

impl StandsIn for HandlerOfThisCrate {}

/// What of a descriptor follows from the handler.
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

/// The descriptor of an async function. The functions are taken for their types: see
/// [`item`](crate::border::function_item::item).
#[doc(hidden)]
#[must_use]
pub const fn asynchronous<H, const RESTARTS: bool, const PARTS: bool, F, C, S, A>(
    about: &Crate,
    _function: F,
    _check: C,
) -> Descriptor
where
    F: AsyncFunction<S, A, H>,
    C: HandshakeFunction<H>,
    S: AsyncState,
    A: 'static,
    H: Shared,
{
    describe(
        about,
        DescriptorFacts::of::<AsyncHandler<F, C, S, A, H, RESTARTS, PARTS>>(),
    )
}

/// The descriptor of a blocking function. The functions are taken for their types: see
/// [`item`](crate::border::function_item::item).
#[doc(hidden)]
#[must_use]
pub const fn blocking<H, const PARTS: bool, F, C, A>(
    about: &Crate,
    _function: F,
    _check: C,
) -> Descriptor
where
    F: BlockingFunction<A, H>,
    C: HandshakeFunction<H>,
    A: 'static,
    H: Shared,
{
    describe(
        about,
        DescriptorFacts::of::<BlockingHandler<F, C, A, H, PARTS>>(),
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
        // Nothing here needs more than 1.0 has: what a host lacks is answered UNSUPPORTED.
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
    }
}

/// `echo` of `echo_wsh`.
const fn handler_name(package: &str) -> &[u8] {
    let name = package.as_bytes();
    match name {
        [stem @ .., b'_' | b'-', b'w', b's', b'h'] if !stem.is_empty() => stem,
        _ => name,
    }
}

/// Filled up with NUL, and cut where a character ends; the last byte is always NUL.
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
