//! Since when no message has come or gone, as far as the last look has seen.

use crate::process::clock::Moment;

/// What the looks at one session have seen.
#[derive(Debug)]
pub(crate) struct IdleWatch {
    /// The messages that had come and gone at the last look.
    messages: u64,
    looked: Moment,
    /// The last look that found a message more.
    since: Moment,
}

impl IdleWatch {
    pub(super) fn new(now: Moment) -> IdleWatch {
        IdleWatch {
            messages: 0,
            looked: now,
            since: now,
        }
    }

    /// When to look next.
    pub(crate) fn due(&self, timeout_ms: u64) -> Moment {
        let soon = self.looked.after((timeout_ms / 4).max(1));
        soon.min(self.since.after(timeout_ms))
    }

    /// Looks: so many messages have come and gone, and one is under way if the session `is_busy`. True if none has for the
    /// timeout.
    pub(crate) fn look(
        &mut self,
        now: Moment,
        messages: u64,
        is_busy: bool,
        timeout_ms: u64,
    ) -> bool {
        self.looked = now;
        if is_busy || messages != self.messages {
            (self.messages, self.since) = (messages, now);
        }
        now >= self.since.after(timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_idle_once_no_look_has_seen_a_message_for_the_timeout() {
        // When it looks, the messages until then, whether one is under way; when it looks next, and whether it is idle.
        let table = [
            (250, 0, false, 500, false),
            (500, 1, false, 750, false),
            (750, 1, true, 1_000, false),
            (1_000, 1, false, 1_250, false),
            (1_500, 1, false, 1_750, false),
            (1_740, 1, false, 1_750, false),
            (1_750, 1, false, 1_750, true),
        ];
        let at = |ms| Moment::ORIGIN.after(ms);
        let mut watch = IdleWatch::new(at(0));
        assert_eq!(watch.due(1_000), at(250));
        for (now, messages, is_busy, due, is_idle) in table {
            assert_eq!(
                watch.look(at(now), messages, is_busy, 1_000),
                is_idle,
                "{now}"
            );
            assert_eq!(watch.due(1_000), at(due), "{now}");
        }
    }
}
