//! What a session does about the [rate](crate::outbound::controls::rate) of its peer: it counts, pauses or closes.

use super::Session;
use crate::config::RatePolicy;
use crate::process::clock::Moment;
use crate::ws::closing::ClosingEvent;
use crate::ws::decoder::{DecoderStep, PayloadLocation};

impl Session {
    /// Counts what came. False if it is not for the handler, because the session closes for it.
    #[cold]
    pub(super) fn count(&mut self, step: &DecoderStep) -> bool {
        let (messages, bytes) = match step {
            DecoderStep::Message { place, last, .. } => {
                let bytes = match place {
                    PayloadLocation::Input(range) => range.len(),
                    PayloadLocation::Assembly => self.decoder.assembled().len(),
                };
                (u64::from(*last), bytes)
            }
            DecoderStep::Ping(payload) | DecoderStep::Pong(payload) => (1, payload.len()),
            DecoderStep::Close(_) | DecoderStep::Starved => return true,
        };
        let policy = self.conn.controls.limits.rate_policy;
        let Some(rate) = self.conn.controls.rate() else {
            return true;
        };
        let now = Moment::recent();
        if policy == RatePolicy::Close
            && let Some((_, cause)) = rate.wait(now)
        {
            self.meet(ClosingEvent::Close, cause);
            return false;
        }
        rate.take(now, messages, bytes as u64);
        if policy == RatePolicy::Pause && rate.wait(now).is_some() {
            self.conn.controls.read_mode.pause(true);
        }
        true
    }

    /// When the peer may send again, if it is paused.
    pub(super) fn rate_due(&mut self) -> Option<Moment> {
        if !self.conn.controls.read_mode.is_paused() {
            return None;
        }
        let wait = self.conn.controls.rate()?.wait(Moment::now());
        Some(wait.map_or(Moment::ORIGIN, |(at, _)| at))
    }

    /// Has the peer read again, if it may send again.
    pub(super) fn end_pause(&mut self) {
        if self.conn.controls.read_mode.is_paused() {
            let rate = self.conn.controls.rate();
            let waits = rate.is_some_and(|rate| rate.wait(Moment::now()).is_some());
            self.conn.controls.read_mode.pause(waits);
        }
    }
}
