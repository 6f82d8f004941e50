//! Forwards the plugin's `tracing` events to the server's log.
//!
//! `tracing` keeps its dispatcher in statics, and each plugin has its own copy of them. So the server's subscriber never
//! sees a plugin's event. This subscriber passes each event on as one line of log. It ignores spans.

use std::fmt::{Debug, Display};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
    subscriber::{self, DefaultGuard, Interest},
};

use crate::{abi, border::runtime};

/// Sends the events of this image to the server, unless the handler has set a subscriber before.
pub(crate) fn install() {
    let _ = subscriber::set_global_default(Forward);
}

/// Sends the events of this thread to the server of its test, until the guard is dropped.
pub(crate) fn enter() -> DefaultGuard {
    subscriber::set_default(Forward)
}

/// Writes events into the server's log.
#[derive(Debug)]
struct Forward;

impl Subscriber for Forward {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if metadata.is_span() {
            return Interest::never();
        }
        // The server's level may change at any time, so each event asks for it, which is one load.
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
            && runtime::current().is_some_and(|runtime| runtime.host.logs(level(metadata.level())))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn event(&self, event: &Event<'_>) {
        let Some(runtime) = runtime::current() else {
            return;
        };
        let mut line = EventLine::default();
        event.record(&mut line);
        let fields: Vec<(&str, &dyn Display)> = line
            .fields
            .iter()
            .map(|(name, value)| (*name, value as &dyn Display))
            .collect();
        let (level, target) = (level(event.metadata().level()), event.metadata().target());
        runtime
            .host
            .log(level, target, format_args!("{}", line.message), &fields);
    }

    // No span is enabled, so `tracing` never calls these for a span of this subscriber.

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// An event's message and its other fields.
#[derive(Default)]
struct EventLine {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl EventLine {
    fn put(&mut self, field: &Field, value: String) {
        if field.name() == "message" {
            self.message = value;
        } else {
            self.fields.push((field.name(), value));
        }
    }
}

impl Visit for EventLine {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, value.to_string());
    }
}

fn level(level: &Level) -> u32 {
    match *level {
        Level::ERROR => abi::LOG_ERROR,
        Level::WARN => abi::LOG_WARN,
        Level::INFO => abi::LOG_INFO,
        Level::DEBUG => abi::LOG_DEBUG,
        Level::TRACE => abi::LOG_TRACE,
    }
}
