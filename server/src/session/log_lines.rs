//! The two lines that a session leaves in the log, when it opens and when it has ended, and its report to an operator.

use std::sync::atomic::Ordering;

use tracing::Level;
use wsh::close_codes::ABNORMAL;

use super::Session;
use crate::logging::{self, line::LogLine};
use crate::outbound::controls::Controls;
use crate::process::clock::Moment;
use crate::sessions::cause::Cause;
use crate::sessions::inquiry::SessionReport;

impl Session {
    /// Counts the beginning of the session, for metrics.
    pub(super) fn count_begin(&self) {
        let context = self.conn.context;
        context.meters.opened.fetch_add(1, Ordering::Relaxed);
        context.shared.meters.handshakes.count(ACCEPTED);
    }

    pub(super) fn log_begin(&self, is_compressing: bool, user_agent: Option<&str>) {
        logging::session(Level::DEBUG, "session opened", |line| {
            self.name_in(line);
            let protocol = self.conn.protocol();
            if !protocol.is_empty() {
                line.text("protocol", protocol);
            }
            line.text("deflate", is_compressing);
            if let Some(user_agent) = user_agent {
                line.text("user_agent", user_agent);
            }
        });
    }

    /// Which session it is.
    fn name_in(&self, line: &mut LogLine<'_>) {
        let generation = self.owner.generation();
        let unusual = self.about.unusual.as_deref();
        let (slash, path) = match unusual.and_then(|it| it.path.as_deref()) {
            Some(path) => ("", path),
            None => ("/", &*generation.handler),
        };
        line.number("session", self.conn.id());
        line.text("peer", &self.about.peer);
        line.text("path", format_args!("{slash}{path}"));
        line.text("handler", &generation.handler);
        line.number("generation", generation.number);
        if let Some(user) = unusual.and_then(|it| it.user.as_deref()) {
            line.text("user", user);
        }
        if let Some(trace) = self.registration.trace() {
            line.text("trace", trace);
        }
    }

    /// Counts the end of the session, for metrics.
    pub(super) fn count_end(&self) {
        let controls = &self.conn.controls;
        controls.note_bytes();
        let context = self.conn.context;
        let (word, side) = match controls.cause {
            Some(cause) => (cause.word(), cause.side()),
            // The server panicked in the session.
            None => ("server_failed", "server"),
        };
        context.meters.ended.count(word);
        let meters = &context.shared.meters;
        meters.closes.count(self.end_code(), side);
        if controls.cause.is_some_and(Cause::is_limit) {
            meters.limits.count(word);
        }
    }

    /// What it says of itself to an operator.
    pub(super) fn report(&self) -> SessionReport {
        let generation = self.owner.generation();
        let unusual = self.about.unusual.as_deref();
        let path = unusual.and_then(|it| it.path.as_deref());
        let wire = &self.conn.controls.wire;
        SessionReport {
            id: self.conn.id(),
            peer: self.about.peer.to_string(),
            path: path.map_or_else(|| format!("/{}", generation.handler), str::to_owned),
            handler: generation.handler.to_string(),
            generation: generation.number,
            user: unusual.and_then(|it| it.user.as_deref()).map(str::to_owned),
            subprotocol: self.conn.protocol().to_owned(),
            is_compressed: self.conn.controls.is_compressing(),
            is_tls: wire.is_tls(),
            age_ms: Moment::now().ms_since(self.about.began),
            bytes_in: wire.bytes_in,
            bytes_out: wire.bytes_out,
            buffered: wire.buffered() as u64,
            is_closing: !self.state().is_open(),
        }
    }

    pub(super) fn log_end(&self) {
        let Controls {
            wire,
            limits,
            cause,
            cut_short,
            ..
        } = &self.conn.controls;
        let (cause, cut_short) = (*cause, *cut_short);
        let traffic = self.registration.mailbox().traffic.counts();
        logging::access("session closed", |line| {
            self.name_in(line);
            line.number("code", self.end_code().into());
            if let Some(cause) = cause {
                line.text("cause", cause.word());
                match (cause.limit(limits), cause) {
                    (Some(limit), _) => line.number("limit", limit),
                    (None, Cause::Violation(violation)) => line.text("error", violation),
                    (None, _) => {}
                }
            }
            if let Some(cause) = cut_short {
                line.text("cut_short", cause.word());
            }
            line.text("closed_by", cause.map_or("server", Cause::side));
            line.number("messages_in", traffic.messages_in);
            line.number("messages_out", traffic.messages_out);
            line.number("bytes_in", wire.bytes_in);
            line.number("bytes_out", wire.bytes_out);
            if traffic.messages_dropped > 0 {
                line.number("dropped", traffic.messages_dropped);
            }
            line.number("elapsed_ms", Moment::now().ms_since(self.about.began));
        });
    }

    /// What we closed with, or else what the peer did.
    pub(super) fn end_code(&self) -> u16 {
        match self.conn.controls.close_code {
            0 => self.their_close.as_ref().map_or(ABNORMAL, |it| it.code),
            code => code,
        }
    }
}

/// The outcome of a handshake that leads to a session, in metrics.
const ACCEPTED: &str = "accepted";
