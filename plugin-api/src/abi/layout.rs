//! Proves, when this crate is compiled, that no table of the ABI has padding on the machine it is compiled for.
//!
//! So the layout of a table follows from the order and the sizes of its fields alone, and an appended field lies behind
//! all others.

use std::mem::offset_of;

use crate::abi::{
    Conn, Descriptor, Host, Init, Instance, Pair, Request, Sink, Str, Vtable, raw::Raw,
};

macro_rules! dense {
    ($($table:ident { $($field:ident)* })*) => {$(
        const _: () = {
            let mut end = 0;
            $(
                assert!(offset_of!($table, $field) == end, "a field does not begin where the one before ends");
                end += size_of_field(|table: &$table| &raw const table.$field);
            )*
            assert!(size_of::<$table>() == end, "a table ends in padding");
        };
    )*};
}

dense! {
    Str { ptr len }
    Pair { name value }
    Descriptor {
        magic abi_major abi_minor min_host_minor size flags state_schema state_schema_min reserved name version
        toolchain init
    }
    Init { size flags generation config_json name }
    Instance { size flags handler vtable }
    Conn { size flags id buffered protocol }
    Request {
        size flags id target path query host origin remote_addr client_addr user headers n_headers cookies
        n_cookies protocols n_protocols params n_params tls_version tls_sni tls_client_cert
    }
    Sink { size reserved ctx write }
    Host {
        size abi_minor ctx log_level check send reserve commit ping close abort timer reads watermark subscribe
        send_to close_to publish wake wake_after notify spawn fail log response_header response_protocol
        response_reject response_extensions extension
    }
    Vtable {
        size flags handshake abandon open message ping pong drain timer wake note closing closed destroy
        snapshot restore self_test serving shutdown extension
    }
    Raw { size flags write write_to answer accept }
}

/// The size of the field that a function returns a pointer to. The function is not called.
const fn size_of_field<T, F>(_: fn(&T) -> *const F) -> usize {
    size_of::<F>()
}
