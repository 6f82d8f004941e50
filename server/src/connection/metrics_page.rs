//! The page `/.wshd/metrics`: the server in numbers, for Prometheus.
//!
//! A name of a family is frozen by 1.0 like the names of the log's fields. Labels have bounded numbers of values.

use super::snapshot::{HandlerSnapshot, Snapshot};
use crate::metrics::exposition::Kind::{Counter, Gauge, Histogram};
use crate::metrics::exposition::{Exposition, Kind};
use crate::process::usage::Usage;

/// What readers of Prometheus call its format.
pub(crate) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The page of a snapshot.
pub(crate) fn text(snapshot: &Snapshot) -> String {
    let mut page = Exposition::default();
    write_server(&mut page, snapshot);
    write_handlers(&mut page, &snapshot.handlers);
    write_process(&mut page, &snapshot.process);
    page.into_text()
}

#[rustfmt::skip]
fn write_server(page: &mut Exposition, snapshot: &Snapshot) {
    page.family("wshd_build_info", Gauge, "The version of the server; the value is always 1.");
    page.sample("wshd_build_info", &[("version", snapshot.version)], 1);
    page.single("wshd_connections", Gauge, "Open connections, those without a session included.", snapshot.connections);
    page.single("wshd_connections_max", Gauge, "Connections that there may be, as connections_max and the limit of open files allow.", snapshot.connections_max);
    page.single("wshd_overload_level", Gauge, "What is done against an overload of memory: 0 nothing, 1 refuse new sessions, 2 give memory back, 3 close sessions.", snapshot.overload_level);
    counts(page, "wshd_connections_accepted_total", "Accepted connections, by what carries them.", "transport", &snapshot.accepted);
    page.single("wshd_pending_handshakes", Gauge, "Opening handshakes that are under way.", snapshot.pending_handshakes);
    page.single("wshd_downloads", Gauge, "Files that are being sent.", snapshot.downloads);
    counts(page, "wshd_handshakes_total", "Opening handshakes, and other requests that were refused, by their outcome.", "outcome", &snapshot.handshakes);
    page.family("wshd_closes_total", Counter, "Sessions that are over, by close code and by the side that began the end.");
    for closes in &snapshot.closes {
        page.sample("wshd_closes_total", &[("code", closes.code), ("side", closes.side)], closes.count);
    }
    counts(page, "wshd_limits_hit_total", "How often a limit was reached, by its key.", "limit", &snapshot.limits_hit);
    page.family("wshd_reloads_total", Counter, "Loads of handlers, and readings of the configuration and of certificates, by their outcome.");
    for (what, outcomes) in [
        ("handler", &snapshot.handler_loads),
        ("configuration", &snapshot.configurations),
        ("certificates", &snapshot.certificate_readings),
    ] {
        for (outcome, count) in outcomes {
            page.sample("wshd_reloads_total", &[("what", what), ("outcome", outcome)], count);
        }
    }
    page.family("wshd_tls_certificate_expiry_timestamp_seconds", Gauge, "When a certificate expires, by its first name.");
    for certificate in &snapshot.certificates {
        let name = [("name", &*certificate.name)];
        page.sample("wshd_tls_certificate_expiry_timestamp_seconds", &name, certificate.not_after);
    }
    page.single("wshd_log_lines_dropped_total", Counter, "Lines that the log has lost, since its reader or its disk took none.", snapshot.log_lines_dropped);
}

#[rustfmt::skip]
fn write_handlers(page: &mut Exposition, handlers: &[HandlerSnapshot]) {
    let mut of_each = |name, kind, help, value: fn(&HandlerSnapshot) -> u64| {
        page.family(name, kind, help);
        for handler in handlers {
            page.sample(name, &[("handler", &handler.name)], value(handler));
        }
    };
    of_each("wshd_sessions", Gauge, "Open sessions.", |it| it.sessions);
    of_each("wshd_sessions_opened_total", Counter, "Sessions that have begun.", |it| it.opened);
    of_each("wshd_messages_received_total", Counter, "Whole messages that peers have sent.", |it| it.traffic.messages_in);
    of_each("wshd_messages_sent_total", Counter, "Whole messages that were queued for peers.", |it| it.traffic.messages_out);
    of_each("wshd_received_bytes_total", Counter, "Bytes from peers, with the framing, without what TLS adds.", |it| it.traffic.bytes_in);
    of_each("wshd_sent_bytes_total", Counter, "Bytes that the system has taken for peers, with the 101 and the framing, without what TLS adds.", |it| it.traffic.bytes_out);
    of_each("wshd_messages_dropped_total", Counter, "Whole messages that outbound_policy has dropped, those included that were counted as sent.", |it| it.traffic.messages_dropped);
    of_each("wshd_queue_bytes", Gauge, "Bytes that wait to be sent to open sessions.", |it| it.queue_bytes);
    of_each("wshd_panics_total", Counter, "Callbacks that panicked.", |it| it.panics);
    of_each("wshd_quarantined", Gauge, "Whether the handler is out of service, because it has failed too often or an operator wants it.", |it| u64::from(it.is_quarantined));
    of_each("wshd_serving_generation", Gauge, "The number of the generation that new sessions begin on; 0 if there is none.", |it| it.generation.unwrap_or(0));
    of_each("wshd_refused", Gauge, "Whether the file of the handler is refused.", |it| u64::from(it.refusal.is_some()));
    of_each("wshd_topics", Gauge, "Topics that the engine keeps.", |it| it.topics as u64);
    of_each("wshd_topic_members", Gauge, "Members of topics.", |it| it.members as u64);
    of_each("wshd_kept_bytes", Gauge, "Bytes of publications and values that are kept.", |it| it.kept_bytes as u64);
    page.family("wshd_generations", Gauge, "Generations, by their state.");
    for handler in handlers {
        let serving = usize::from(handler.generation.is_some());
        for (state, count) in [("serving", serving), ("draining", handler.draining), ("retired", handler.retired)] {
            page.sample("wshd_generations", &[("handler", &handler.name), ("state", state)], count);
        }
    }
    page.family("wshd_sessions_ended_total", Counter, "Sessions that are over, by their cause in the log.");
    for handler in handlers {
        for (cause, count) in &handler.ended {
            page.sample("wshd_sessions_ended_total", &[("handler", &handler.name), ("cause", cause)], count);
        }
    }
    page.family("wshd_callback_duration_seconds", Histogram, "Time of callbacks: of each that takes some milliseconds, and of the shorter ones of the first of each thread every few milliseconds.");
    for handler in handlers {
        page.histogram("wshd_callback_duration_seconds", ("handler", &handler.name), &handler.callbacks);
    }
}

/// The names are those that libraries of Prometheus have.
fn write_process(page: &mut Exposition, process: &Usage) {
    let mut known = |name: &str, kind: Kind, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            page.single(name, kind, help, value);
        }
    };
    let number = |value: Option<u64>| value.map(|value| value as f64);
    known(
        "process_cpu_seconds_total",
        Counter,
        "Processor time of user and system.",
        process.cpu_seconds,
    );
    known(
        "process_resident_memory_bytes",
        Gauge,
        "Resident memory.",
        number(process.resident_bytes),
    );
    known(
        "process_virtual_memory_bytes",
        Gauge,
        "Virtual memory.",
        number(process.virtual_bytes),
    );
    known(
        "process_open_fds",
        Gauge,
        "Open file descriptors.",
        number(process.open_fds),
    );
    known(
        "process_max_fds",
        Gauge,
        "The most file descriptors that may be open.",
        number(process.max_fds),
    );
    known(
        "process_threads",
        Gauge,
        "Threads of the process.",
        number(process.threads),
    );
    known(
        "process_start_time_seconds",
        Gauge,
        "When the process began, in seconds since 1970.",
        process.started_at,
    );
}

/// A family of counts under words.
fn counts(page: &mut Exposition, name: &str, help: &str, label: &str, counts: &[(&str, u64)]) {
    page.family(name, Counter, help);
    for (word, count) in counts {
        page.sample(name, &[(label, word)], count);
    }
}
