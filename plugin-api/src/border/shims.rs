//! The vtable: one `extern "C"` function for each callback, generic over the style of the handler.
//!
//! A shim turns pointers into references, puts the Conn of the running callback into the session's
//! [`HostSession`](crate::border::host_session::HostSession), and catches panics. What a callback means is safe code, in
//! the adapters of the styles.

mod handshake;
mod session;
mod topics;

use std::{ffi::c_void, marker::PhantomData, mem::offset_of};

#[cfg(feature = "serde")]
use crate::config::used_keys::UsedKeys;
use crate::{
    abi::{self, Status},
    asks::waiting::HandlerAsks,
    border::{
        guard::{fail, guard, guard_void},
        host::HostFunctions,
        read,
        runtime::{self, Runtime},
    },
    config::Config,
    stop::Stop,
    styles::adapter::HandlerAdapter,
};

use self::{
    handshake::{abandon, handshake, open, restore},
    session::{
        answer, batched, closed, closing, destroy, drain, message, note, part, ping, pong,
        snapshot, timer, wake,
    },
    topics::{answered, envelope, presence},
};

/// A handler as the host keeps it: the target of the vtable's `handler` pointer.
struct HandlerRoot<E> {
    adapter: E,
    runtime: &'static Runtime,
}

/// The vtable of one handler type.
pub(crate) struct Shims<E>(PhantomData<E>);

impl<E: HandlerAdapter> Shims<E> {
    const VTABLE: &'static abi::Vtable = &abi::Vtable {
        size: size_of::<abi::Vtable>() as u32,
        flags: if E::PARTS {
            abi::STREAM
        } else if E::BATCHES {
            abi::BATCHES
        } else {
            0
        },
        handshake: Some(handshake::<E>),
        abandon: Some(abandon),
        open: Some(open::<E>),
        message: Some(if E::PARTS {
            part::<E::Session>
        } else if E::BATCHES {
            batched::<E::Session>
        } else {
            message::<E::Session>
        }),
        ping: Some(ping::<E::Session>),
        pong: Some(pong::<E::Session>),
        drain: Some(drain::<E::Session>),
        timer: Some(timer::<E::Session>),
        wake: Some(wake::<E::Session>),
        note: Some(note::<E::Session>),
        closing: Some(closing::<E::Session>),
        closed: Some(closed::<E::Session>),
        destroy: Some(destroy::<E::Session>),
        snapshot: Some(snapshot::<E::Session>),
        restore: Some(restore::<E>),
        self_test: Some(self_test::<E>),
        serving: Some(serving::<E>),
        shutdown: Some(shutdown::<E>),
        extension: None,
        answer: Some(answer::<E::Session>),
        answered: Some(answered::<E>),
        // With `envelope` the host sends publications by a task. So a handler without it has none.
        envelope: if E::HAS_ENVELOPE {
            Some(envelope::<E>)
        } else {
            None
        },
        presence: if E::HAS_PRESENCE {
            Some(presence::<E>)
        } else {
            None
        },
    };
}

/// The function `init` of the descriptor.
///
/// # Safety
/// The caller keeps what the ABI says of [`abi::Descriptor::init`].
pub(crate) unsafe extern "C" fn init<E: HandlerAdapter>(
    host: *const abi::Host,
    init: *const abi::Init,
    instance: *mut abi::Instance,
) -> Status {
    guard(|| {
        // SAFETY: by the ABI, the host has set the size of the table that it wants filled.
        let size = unsafe { (&raw const (*instance).size).read() } as usize;
        if size < offset_of!(abi::Instance, vtable) + size_of::<*const abi::Vtable>() {
            return abi::INVALID;
        }
        // SAFETY: the table given to `init`, which lives as long as the call.
        let init = unsafe { read::copy(init) };
        let runtime = runtime::install(Runtime {
            // SAFETY: the table given to `init`.
            host: unsafe { HostFunctions::new(host) },
            // SAFETY: UTF-8 that lives as long as the call.
            name: unsafe { read::text(init.name) }.into(),
            stop: Stop::default(),
            asks: HandlerAsks::new(init.generation),
        });
        let Some(runtime) = runtime else {
            return abi::MISUSE;
        };
        #[cfg(feature = "serde")]
        let used_keys = UsedKeys::default();
        let config = Config {
            name: &runtime.name,
            // SAFETY: UTF-8 that lives as long as the call.
            json: unsafe { read::text(init.config_json) },
            generation: init.generation,
            is_check: init.flags & abi::CHECK != 0,
            #[cfg(feature = "serde")]
            used_keys: &used_keys,
        };
        let adapter = match E::new(config) {
            Ok(adapter) => adapter,
            Err(error) => return failed(&error),
        };
        #[cfg(feature = "serde")]
        config.warn_of_the_rest();
        let root = Box::into_raw(Box::new(HandlerRoot { adapter, runtime }));
        // SAFETY: the size covers both fields, and the host waits for this call to fill them.
        unsafe {
            (&raw mut (*instance).handler).write(root.cast());
            (&raw mut (*instance).vtable).write(Shims::<E>::VTABLE);
        }
        abi::OK
    })
}

/// # Safety
/// `handler` came from [`init`] of the same style and `shutdown` was not called.
unsafe fn root<'a, E>(handler: *mut c_void) -> &'a HandlerRoot<E> {
    // SAFETY: the caller's promise; handlers are only ever shared.
    unsafe { &*handler.cast::<HandlerRoot<E>>() }
}

/// Tells the host why the running callback is about to fail; answers the status of the failure.
fn failed(why: &crate::Error) -> Status {
    fail(&why.to_string())
}

unsafe extern "C" fn self_test<E: HandlerAdapter>(handler: *mut c_void) -> Status {
    guard(|| {
        // SAFETY: the host passes what `init` gave it.
        match unsafe { root::<E>(handler) }.adapter.self_test() {
            Ok(()) => abi::OK,
            Err(error) => failed(&error),
        }
    })
}

unsafe extern "C" fn serving<E: HandlerAdapter>(handler: *mut c_void, on: u32) {
    guard_void(|| {
        // SAFETY: the host passes what `init` gave it.
        let root = unsafe { root::<E>(handler) };
        if on == 0 {
            // Before the handler's `serving`, so that it can wait for its jobs.
            root.runtime.stop.set();
        }
        if let Err(error) = root.adapter.serving(on != 0) {
            crate::error!(error, "`serving({})` failed", on != 0);
        }
    });
}

unsafe extern "C" fn shutdown<E: HandlerAdapter>(handler: *mut c_void) {
    guard_void(|| {
        // SAFETY: `init` boxed it, and the host calls this once, last.
        let root = unsafe { Box::from_raw(handler.cast::<HandlerRoot<E>>()) };
        root.runtime.stop.set();
        root.runtime.asks.end();
        drop(root);
    });
}
