//! The one symbol of a plugin, and the macro that makes it.

use crate::{
    abi::{self, Descriptor},
    border::shims,
    events::Events,
    session::Handler,
    style::Style,
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
}

/// The descriptor of a handler in the events style.
#[doc(hidden)]
#[must_use]
pub const fn events<H: Handler>(about: &Crate) -> Descriptor {
    describe::<Events<H>>(about, Events::<H>::SCHEMA)
}

pub(crate) const fn describe<E: Style>(about: &Crate, schema: (u32, u32)) -> Descriptor {
    let panics = if about.panic_abort {
        abi::PANIC_ABORT
    } else {
        0
    };
    Descriptor {
        magic: abi::MAGIC,
        abi_major: abi::ABI_MAJOR,
        abi_minor: abi::ABI_MINOR,
        // Nothing here needs more than 1.0 has: what a host lacks is answered UNSUPPORTED.
        min_host_minor: 0,
        size: size_of::<Descriptor>() as u32,
        flags: E::FLAGS | panics,
        state_schema: schema.0,
        state_schema_min: schema.1,
        reserved: 0,
        name: padded(handler_name(about.name)),
        version: padded(about.version.as_bytes()),
        toolchain: padded(env!("WSH_TOOLCHAIN").as_bytes()),
        init: Some(shims::init::<E>),
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

/// Makes this crate a plugin: exports a handler as the symbol that the server looks for. Once a
/// crate, in its root.
///
/// | | |
/// |---|---|
/// | `handler!(Chat)` | a type: a [`Handler`](crate::Handler), or a [`Session`](crate::Session) that is `Default` |
#[macro_export]
macro_rules! handler {
    ($($handler:tt)+) => {
        /// What the server looks for in this library.
        #[unsafe(no_mangle)]
        pub static WSH_HANDLER: $crate::abi::Descriptor = $crate::descriptor!($($handler)+);
    };
}

/// The descriptor that [`handler!`](crate::handler) exports, as a value: for tests of several
/// handlers in one crate.
#[macro_export]
macro_rules! descriptor {
    ($handler:ty) => {
        $crate::__private::events::<$handler>(&$crate::__crate!())
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __crate {
    () => {
        $crate::__private::Crate {
            name: ::core::env!("CARGO_PKG_NAME"),
            version: ::core::env!("CARGO_PKG_VERSION"),
            panic_abort: ::core::cfg!(panic = "abort"),
        }
    };
}
