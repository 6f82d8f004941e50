//! The functions of the host table that shape the answer to an opening handshake.

use wsh::abi::{self, Bytes, Status, Str};
use wsh::rules::{self, HEADER_BYTES_MAX, REJECTION_BYTES_MAX};

use super::{lent_text, status};
use crate::border::lent_memory::{borrow_at_most, borrow_str};
use crate::border::refused_calls::{self, CalledWith, HostCall, LentBytes};
use crate::border::response_draft::Draft;

// The plugin keeps the rules of abi.rs, and SAFETY comments cite them by name. *lent memory*: pointers with a length are
// readable during the call.

pub(super) unsafe extern "C" fn response_header(
    response: *mut abi::Response,
    name: Str,
    value: Bytes,
) -> Status {
    // SAFETY: *lent memory*; `draft` is used only in this call.
    let (text, bytes, draft) = unsafe {
        (
            borrow_str(name, HEADER_BYTES_MAX),
            borrow_at_most(value, HEADER_BYTES_MAX),
            Draft::of(response),
        )
    };
    let call = || HostCall::ResponseHeader {
        name: lent_text(name, text),
        value: LentBytes::new(value, bytes.ok()),
        is_token: text.is_ok_and(rules::is_token),
        is_the_servers: text.is_ok_and(rules::is_the_servers),
    };
    status(call_on_draft(draft, call, |draft| {
        draft.add_header(text?, bytes?)
    }))
}

pub(super) unsafe extern "C" fn response_protocol(
    response: *mut abi::Response,
    protocol: Str,
) -> Status {
    // SAFETY: *lent memory*; `draft` is used only in this call.
    let (text, draft) = unsafe { (borrow_str(protocol, HEADER_BYTES_MAX), Draft::of(response)) };
    // No client offers a subprotocol of that length, so it is not among the offered ones.
    let text = text.map_err(|_| abi::INVALID);
    let call = || HostCall::ResponseProtocol {
        protocol: lent_text(protocol, text),
    };
    status(call_on_draft(draft, call, |draft| {
        draft.choose_protocol(text?)
    }))
}

pub(super) unsafe extern "C" fn response_reject(
    response: *mut abi::Response,
    code: u32,
    body: Bytes,
) -> Status {
    // SAFETY: *lent memory*; `draft` is used only in this call.
    let (bytes, draft) = unsafe {
        (
            borrow_at_most(body, REJECTION_BYTES_MAX),
            Draft::of(response),
        )
    };
    let call = || HostCall::ResponseReject {
        code,
        body: LentBytes::new(body, bytes.ok()),
    };
    status(call_on_draft(draft, call, |draft| {
        draft.reject(code, bytes?)
    }))
}

pub(super) unsafe extern "C" fn response_extensions(
    response: *mut abi::Response,
    allow: u32,
) -> Status {
    // SAFETY: `draft` is used only in this call.
    let draft = unsafe { Draft::of(response) };
    let call = || HostCall::named("response_extensions");
    status(call_on_draft(draft, call, |draft| {
        draft.extensions = allow;
        Ok(())
    }))
}

/// Runs `run` on the draft of an answer to a handshake. A refusal that is the plugin's fault is logged.
pub(crate) fn call_on_draft<'b>(
    draft: Result<&mut Draft, Status>,
    call: impl FnOnce() -> HostCall<'b>,
    run: impl FnOnce(&mut Draft) -> Result<(), Status>,
) -> Result<(), Status> {
    let outcome = draft.and_then(run);
    if let Err(status) = outcome {
        refused_calls::log_refusal(CalledWith::Response, &call(), status);
    }
    outcome
}
