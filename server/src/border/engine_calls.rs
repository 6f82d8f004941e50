//! The calls into a plugin that come of what servers share: answers to asks, and the messages that a handler makes of
//! publications and of changes of members.

use std::sync::Arc;
use std::time::Instant;

use wsh::abi::answer::{CHANGED, JOINED, LEFT, PresenceChange as ChangeTable};
use wsh::abi::{self, Status};
use wsh::rules;

use super::answer_table::AnswerTable;
use super::calls::{CallbackOutcome, SessionInstance};
use super::handler_context::prepare;
use super::handler_log::{Place, Subject, escape_into};
use super::host_conn::{HostConn, Loan};
use super::lent_memory::{lend, lend_bytes};
use super::library::Plugin;
use super::sink_buffer::{Overflowed, SinkBuffer};
use super::watchdog::{Callback, watch};
use super::{failure_reason, handler_log, refused_calls};
use crate::engine::node::callbacks::EnvelopeCall;
use crate::engine::{ChangeKind, PresenceChange};
use crate::sessions::answer::Answer;
use crate::sessions::prepared_message::PreparedMessage;

/// What a handler has made of a publication or of a change.
#[derive(Debug)]
pub(crate) enum Made {
    Message(Arc<PreparedMessage>),
    Nothing,
    /// It failed, and the log says why.
    Failed,
    /// It panicked. The plugin caught the panic on its side of the border.
    Panicked,
}

impl SessionInstance {
    /// Tells the handler the answer to an ask of the session.
    pub(crate) fn answer(
        &mut self,
        conn: &mut HostConn,
        token: u64,
        answer: &Answer,
    ) -> CallbackOutcome {
        let Some(callback) = self.vtable.answer else {
            return CallbackOutcome::Continue;
        };
        let table = AnswerTable::new(answer);
        self.call(
            conn,
            Callback::Answer,
            Loan::Running,
            Some(callback),
            |answer, session, conn| {
                // SAFETY: `call` gives a session that lives, and a Conn that is lent. The table outlives the call.
                unsafe { answer(session, conn, token, table.fields()) }
            },
        )
    }
}

impl Plugin {
    /// Tells the handler the answer to an ask of its own.
    ///
    /// The caller has a place on the generation, which keeps `shutdown` from running.
    pub(crate) fn answered(&self, token: u64, answer: &Answer) {
        let Some(answered) = self.vtable.answered else {
            return;
        };
        let table = AnswerTable::new(answer);
        let _watched = watch(self.context, Callback::Answered);
        // SAFETY: `init` gave `handler`, and the caller keeps `shutdown` from running. The table outlives the call.
        unsafe { answered(self.handler, token, table.fields()) }
    }

    /// Has the handler make its own form of a publication.
    ///
    /// The caller has a place on the generation, which keeps `shutdown` from running.
    pub(crate) fn envelope(&self, call: &EnvelopeCall<'_>) -> Made {
        let Some(envelope) = self.vtable.envelope else {
            return Made::Nothing;
        };
        let message = call.message;
        let kind = message.kind();
        let payload = message.payload();
        let mut buffer = SinkBuffer::new(rules::form_bytes_max(payload.len()));
        let loan = buffer.lend();
        let watched = watch(self.context, Callback::Envelope);
        // SAFETY: `init` gave `handler`, and the caller keeps `shutdown` from running. The topic, the position, the payload
        // and the sink with the buffer behind it outlive the call.
        let status = unsafe {
            envelope(
                self.handler,
                lend(&call.topic.name),
                lend_bytes(call.position.as_bytes()),
                kind,
                payload.as_ptr(),
                payload.len(),
                loan.sink(),
            )
        };
        drop(watched);
        drop(loan);
        let kind = match message.may_compress() {
            true => kind,
            false => kind | abi::NO_COMPRESS,
        };
        let subject = Subject {
            topic: &call.topic.name,
            at: Place::Position(call.position),
        };
        self.made(Callback::Envelope, &subject, status, buffer, kind)
    }

    /// Has the handler make a message of a change of members.
    ///
    /// The caller has a place on the generation, which keeps `shutdown` from running.
    pub(crate) fn presence(&self, change: &PresenceChange) -> Made {
        let Some(presence) = self.vtable.presence else {
            return Made::Nothing;
        };
        let table = ChangeTable {
            size: size_of::<ChangeTable>() as u32,
            kind: match change.kind {
                ChangeKind::Joined => JOINED,
                ChangeKind::Left => LEFT,
                ChangeKind::Changed => CHANGED,
            },
            version: change.version,
            id: change.member.id,
            topic: lend(&change.topic.name),
            value: lend_bytes(&change.member.value),
        };
        let mut kind = abi::TEXT;
        let mut buffer = SinkBuffer::new(rules::form_bytes_max(0));
        let loan = buffer.lend();
        let watched = watch(self.context, Callback::Presence);
        // SAFETY: `init` gave `handler`, and the caller keeps `shutdown` from running. The table, the kind and the sink with
        // the buffer behind it outlive the call.
        let status =
            unsafe { presence(self.handler, &raw const table, &raw mut kind, loan.sink()) };
        drop(watched);
        drop(loan);
        let subject = Subject {
            topic: &change.topic.name,
            at: Place::Version(change.version),
        };
        match self.made(Callback::Presence, &subject, status, buffer, kind) {
            Made::Message(message) if message.payload().is_empty() => Made::Nothing,
            made => made,
        }
    }

    /// What came of a callback that could write a message of this kind.
    fn made(
        &self,
        callback: Callback,
        subject: &Subject<'_>,
        status: Status,
        buffer: SinkBuffer,
        kind: u32,
    ) -> Made {
        let words = failure_reason::take_reason_of(self.context);
        let bytes_max = buffer.bytes_max();
        let why = match (status, buffer.written()) {
            (abi::OK | abi::TOO_BIG, Err(Overflowed)) => {
                format!("its message is larger than {bytes_max} bytes")
            }
            (abi::OK, Ok(bytes)) => match prepare(kind, &bytes) {
                Ok(message) => return Made::Message(message),
                Err(_) if rules::kind_by_id(kind).is_ok_and(|kind| kind.is_last) => {
                    "the text that it wrote is not UTF-8".to_owned()
                }
                Err(_) => format!("it left {kind} as the kind of a whole message"),
            },
            (abi::DONE, _) => return Made::Nothing,
            // The plugin logs where in its source that was, and does not know of which message.
            (abi::PANIC, _) if words.is_none() => "it panicked".to_owned(),
            (status, _) => words.map_or_else(|| rules::answered(status), escaped),
        };
        // It may fail for each publication.
        let key = (std::ptr::from_ref(self.context).addr(), callback.name(), "");
        if let Some(times) = refused_calls::times_to_log(key, Instant::now()) {
            handler_log::making_failed(self.context, callback.name(), subject, &why, times);
        }
        match status {
            abi::PANIC => Made::Panicked,
            _ => Made::Failed,
        }
    }
}

/// The handler's words with their control characters escaped.
fn escaped(words: String) -> String {
    let mut text = String::new();
    escape_into(&mut text, words.as_bytes());
    text
}
