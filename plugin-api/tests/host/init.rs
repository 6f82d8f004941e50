//! What the tests share that play a server themselves: the call of `init`.

use std::ptr;

use wsh::abi::{self, Status, Str};

/// Has the image of a descriptor serve its first generation, without a configuration.
pub(crate) fn init(
    descriptor: &abi::Descriptor,
    host: &'static abi::Host,
) -> (Status, abi::Instance) {
    let empty = Str {
        ptr: ptr::null(),
        len: 0,
    };
    let about = abi::Init {
        size: size_of::<abi::Init>() as u32,
        flags: 0,
        generation: 1,
        config_json: empty,
        name: empty,
    };
    let mut instance = abi::Instance {
        size: size_of::<abi::Instance>() as u32,
        flags: 0,
        handler: ptr::null_mut(),
        vtable: ptr::null(),
    };
    let init = descriptor.init.expect("each descriptor has an `init`");
    // SAFETY: three tables that outlive the call.
    let status = unsafe { init(host, &raw const about, &raw mut instance) };
    (status, instance)
}
