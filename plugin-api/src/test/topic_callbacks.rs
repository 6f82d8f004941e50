//! The callbacks of a handler about what it shares: `answered`, `envelope` and `presence`.
#![allow(unsafe_code)] // calls through a C table

use crate::{
    abi::{self, Status},
    border::read,
    rules,
    test::{
        answer_table::{with_answer, with_change},
        engine::{AnswerBuf, MemberChange},
        generation::Generation,
        hub::{MailboxItem, asks::TopicCallbacks},
        sink,
    },
};

impl Generation {
    /// Which callbacks about topics the handler has.
    pub(super) fn topic_callbacks(&self) -> TopicCallbacks {
        TopicCallbacks {
            envelope: self.vtable.envelope.is_some(),
            presence: self.vtable.presence.is_some(),
        }
    }

    /// Gives the handler the answer to an ask of its own.
    pub(super) fn answered(&self, token: u64, answer: &AnswerBuf) {
        if let Some(answered) = self.vtable.answered {
            with_answer(answer, |table| {
                // SAFETY: the handler that `init` gave, before `shutdown`. The table outlives the call.
                self.run(|handler| unsafe { answered(handler, token, table) });
            });
        }
    }

    /// The form in which a publication goes to the peers.
    pub(super) fn envelope(&self, topic: &str, position: &[u8], item: MailboxItem) -> MailboxItem {
        let (Some(envelope), MailboxItem::Send { kind, bytes }) = (self.vtable.envelope, &item)
        else {
            return item;
        };
        if topic.starts_with('/') {
            return item; // it belongs to no handler
        }
        let (status, form) = sink::collect(rules::form_bytes_max(bytes.len()), |sink| {
            let (topic, position) = (read::lend(topic.as_bytes()), read::lend(position));
            self.run(|handler| {
                // SAFETY: the handler that `init` gave, before `shutdown`. All arguments outlive the call.
                unsafe {
                    let (ptr, len) = (bytes.as_ptr(), bytes.len());
                    envelope(handler, topic, position, *kind, ptr, len, sink)
                }
            })
        });
        let form = MailboxItem::Send {
            kind: *kind,
            bytes: form,
        };
        match self.written("envelope", status, form) {
            Some(form) => form,
            None => item,
        }
    }

    /// What the subscribers of a topic are told of a change of its members.
    pub(super) fn presence(&self, change: &MemberChange) -> Option<MailboxItem> {
        let presence = self.vtable.presence?;
        let mut kind = abi::TEXT;
        let (status, news) = sink::collect(rules::form_bytes_max(0), |sink| {
            with_change(change, |table| {
                // SAFETY: the handler that `init` gave, before `shutdown`. All arguments outlive the call.
                self.run(|handler| unsafe { presence(handler, table, &raw mut kind, sink) })
            })
        });
        if news.is_empty() && status == abi::OK {
            return None;
        }
        self.written("presence", status, MailboxItem::Send { kind, bytes: news })
    }

    /// The message that a callback has written; `None` if it has written none. A failure is logged.
    fn written(
        &self,
        callback: &'static str,
        status: Status,
        item: MailboxItem,
    ) -> Option<MailboxItem> {
        let is_right = match &item {
            MailboxItem::Send { kind, bytes } => match *kind {
                abi::TEXT => str::from_utf8(bytes).is_ok(),
                kind => kind == abi::BINARY,
            },
            _ => false,
        };
        match status {
            abi::OK if is_right => Some(item),
            abi::DONE => None,
            abi::OK => {
                let why = "it has written text that is not UTF-8, or a kind that is none";
                self.log_failure(callback, Some(why.into()), status);
                None
            }
            status => {
                self.log_failure(callback, None, status);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::prelude::*;

    #[derive(Default)]
    struct Plain;
    #[derive(Default)]
    struct Told;

    macro_rules! ignores {
        ($($name:ident)*) => {
            $(impl Session for $name {
                fn on_message(&mut self, _: &mut Conn, _: Message) -> Result {
                    Ok(())
                }
            })*
        };
    }

    ignores! { Plain Told }

    impl Presence for Told {
        fn presence(&self, _: &PresenceChange<'_>) -> Result<Option<MessageBuf>> {
            Ok(None)
        }
    }

    #[test]
    fn a_type_without_the_traits_has_no_callbacks() {
        for (descriptor, callbacks) in [
            (crate::descriptor!(Plain), (false, false)),
            (crate::descriptor!(Told), (false, true)),
        ] {
            let server = crate::test::serve(descriptor);
            let found = server.core.generation().topic_callbacks();
            assert_eq!((found.envelope, found.presence), callbacks);
        }
    }
}
