//! Every key of config.toml, table by table: its name, what may stand behind it, where that goes.
//!
//! config/config.toml documents exactly these; a test compares the two.

use super::source::Place;
use super::values::{Entry, Reader};
use super::{Config, HandlerConfig, Limits, LogLevel, ReloadPolicy, Trial, Trust, lists};

/// A key that stands for something of `T`.
pub(super) struct Key<T> {
    pub(super) name: &'static str,
    pub(super) read: fn(&mut Reader<'_>, Entry<'_>, &mut T),
}

/// A key under `[limits]`: a whole number in a range.
pub(super) struct Limit<T> {
    pub(super) name: &'static str,
    /// The least and the most it can be.
    pub(super) range: (u64, u64),
    pub(super) set: fn(&mut T, u64),
}

/// The top of a file while it is read.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) config: Config,
    /// It is the handlers directory unless it is said, and that may still change.
    pub(super) scan_dir: Option<(std::path::PathBuf, Place)>,
}

/// Keys above the first table.
pub(super) const TOP: &[Key<Draft>] = &[
    Key {
        name: "listen",
        read: |reader, entry, draft| set(&mut draft.config.listen, lists::listen(reader, entry)),
    },
    Key {
        name: "hosts",
        read: |reader, entry, draft| set(&mut draft.config.hosts, lists::hosts(reader, entry)),
    },
    Key {
        name: "handlers_dir",
        read: |reader, entry, draft| {
            set(
                &mut draft.config.handlers_dir,
                reader.path(entry, A_DIRECTORY),
            )
        },
    },
    Key {
        name: "scan_dir",
        read: |reader, entry, draft| {
            let place = reader.value_place(entry.value);
            draft.scan_dir = reader.path(entry, A_DIRECTORY).map(|path| (path, place));
        },
    },
    Key {
        name: "allow_handlers_outside_root_dir",
        read: |reader, entry, draft| {
            set(
                &mut draft.config.allow_handlers_outside_root_dir,
                reader.truth(entry),
            );
        },
    },
    Key {
        name: "trust",
        read: |reader, entry, draft| set(&mut draft.config.trust, reader.word(entry, TRUST)),
    },
    Key {
        name: "handlers_map_file",
        read: |reader, entry, draft| draft.config.handlers_map_file = reader.path(entry, A_FILE),
    },
    Key {
        name: "document_root",
        read: |reader, entry, draft| draft.config.document_root = reader.path(entry, A_DIRECTORY),
    },
    Key {
        name: "handlers_json",
        read: |reader, entry, draft| set(&mut draft.config.handlers_json, reader.truth(entry)),
    },
    Key {
        name: "stage_dir",
        read: |reader, entry, draft| draft.config.stage_dir = reader.path(entry, A_DIRECTORY),
    },
    Key {
        name: "trial",
        read: |reader, entry, draft| set(&mut draft.config.trial, reader.word(entry, TRIAL)),
    },
    Key {
        name: "log_level",
        read: |reader, entry, draft| set(&mut draft.config.log_level, log_level(reader, entry)),
    },
];

/// Keys of the top that a handler's table can decide otherwise.
pub(super) const POLICY: &[Key<HandlerConfig>] = &[
    Key {
        name: "reload",
        read: |reader, entry, handler| set(&mut handler.reload, reader.word(entry, RELOAD)),
    },
    Key {
        name: "origins",
        read: |reader, entry, handler| set(&mut handler.origins, lists::origins(reader, entry)),
    },
    Key {
        name: "deflate",
        read: |reader, entry, handler| {
            set(&mut handler.session.deflate.enabled, reader.truth(entry));
        },
    },
    Key {
        name: "deflate_context_takeover",
        read: |reader, entry, handler| {
            let takeover = reader.truth(entry);
            set(&mut handler.session.deflate.context_takeover, takeover);
        },
    },
];

/// Keys of a handler's table only.
pub(super) const OWN: &[Key<HandlerConfig>] = &[Key {
    name: "raw",
    read: |reader, entry, handler| set(&mut handler.raw, reader.truth(entry)),
}];

/// What the handler itself reads, in its table only.
pub(super) const CONFIG: &str = "config";

/// Limits of the server as a whole.
pub(super) const SERVER_LIMITS: &[Limit<Limits>] = &[
    Limit {
        name: "connections_max",
        range: (1, COUNT_MOST),
        set: |limits, n| limits.connections_max = size(n),
    },
    Limit {
        name: "pending_handshakes_max",
        range: (1, COUNT_MOST),
        set: |limits, n| limits.pending_handshakes_max = size(n),
    },
    Limit {
        name: "handshake_timeout_ms",
        range: (1, DAY_MS),
        set: |limits, n| limits.handshake_timeout_ms = n,
    },
    Limit {
        name: "header_bytes_max",
        range: (512, MIB),
        set: |limits, n| limits.header_bytes_max = size(n),
    },
    Limit {
        name: "header_lines_max",
        range: (8, 10_000),
        set: |limits, n| limits.header_lines_max = size(n),
    },
    Limit {
        name: "deflate_contexts_bytes_max",
        range: (0, 1_024 * 1_024 * MIB),
        set: |limits, n| limits.deflate_contexts_bytes_max = size(n),
    },
    Limit {
        name: "stop_timeout_ms",
        range: (0, DAY_MS),
        set: |limits, n| limits.stop_timeout_ms = n,
    },
    Limit {
        name: "stop_batch_sessions",
        range: (1, COUNT_MOST),
        set: |limits, n| limits.stop_batch_sessions = size(n),
    },
];

/// Limits that a handler's table can decide otherwise.
pub(super) const HANDLER_LIMITS: &[Limit<HandlerConfig>] = &[
    Limit {
        name: "message_bytes_max",
        range: (1, 16 * MIB),
        set: |handler, n| handler.session.message_bytes_max = size(n),
    },
    Limit {
        name: "fragments_max",
        range: (1, COUNT_MOST),
        set: |handler, n| handler.session.fragments_max = size(n),
    },
    Limit {
        name: "outbound_bytes_max",
        range: (1_024, 1_024 * MIB),
        set: |handler, n| handler.session.outbound_bytes_max = size(n),
    },
    Limit {
        name: "outbound_timeout_ms",
        range: (1, DAY_MS),
        set: |handler, n| handler.session.outbound_timeout_ms = n,
    },
    Limit {
        name: "message_timeout_ms",
        range: (0, DAY_MS),
        set: |handler, n| handler.session.message_timeout_ms = n,
    },
    Limit {
        name: "ping_interval_ms",
        range: (0, DAY_MS),
        set: |handler, n| handler.session.ping_interval_ms = n,
    },
    Limit {
        name: "pong_timeout_ms",
        range: (1, DAY_MS),
        set: |handler, n| handler.session.pong_timeout_ms = n,
    },
    Limit {
        name: "close_timeout_ms",
        range: (1, DAY_MS),
        set: |handler, n| handler.session.close_timeout_ms = n,
    },
    Limit {
        name: "timers_max",
        range: (0, 65_536),
        set: |handler, n| handler.session.timers_max = size(n),
    },
    Limit {
        name: "topics_max",
        range: (0, 65_536),
        set: |handler, n| handler.session.topics_max = size(n),
    },
    Limit {
        name: "deflate_bytes_min",
        range: (0, 16 * MIB),
        set: |handler, n| handler.session.deflate.bytes_min = size(n),
    },
    Limit {
        name: "deflate_level",
        range: (1, 9),
        set: |handler, n| handler.session.deflate.level = u8::try_from(n).unwrap_or(9),
    },
    Limit {
        name: "deflate_window_bits",
        range: (9, 15),
        set: |handler, n| handler.session.deflate.window_bits = u8::try_from(n).unwrap_or(15),
    },
    Limit {
        name: "drain_timeout_s",
        range: (0, 30 * DAY_MS / 1_000),
        set: |handler, n| handler.drain_timeout_s = (n > 0).then_some(n),
    },
    Limit {
        name: "generations_max",
        range: (1, 64),
        set: |handler, n| handler.generations_max = size(n),
    },
    Limit {
        name: "panics_max",
        range: (1, 1_000_000),
        set: |handler, n| handler.panics_max = u32::try_from(n).unwrap_or(u32::MAX),
    },
    Limit {
        name: "panics_window_ms",
        range: (1, DAY_MS),
        set: |handler, n| handler.panics_window_ms = n,
    },
    Limit {
        name: "quarantine_ms",
        range: (1, DAY_MS),
        set: |handler, n| handler.quarantine_ms = n,
    },
    Limit {
        name: "blocking_sessions_max",
        range: (1, 65_536),
        set: |handler, n| handler.blocking_sessions_max = size(n),
    },
    Limit {
        name: "threads_max",
        range: (1, 65_536),
        set: |handler, n| handler.threads_max = size(n),
    },
    Limit {
        name: "init_timeout_ms",
        range: (1, DAY_MS),
        set: |handler, n| handler.init_timeout_ms = n,
    },
    Limit {
        name: "trial_memory_bytes_max",
        range: (0, 1_024 * 1_024 * MIB),
        set: |handler, n| handler.trial_memory_bytes_max = n,
    },
    Limit {
        name: "snapshot_bytes_max",
        range: (1_024, 256 * MIB),
        set: |handler, n| handler.snapshot_bytes_max = size(n),
    },
];

/// The tables.
pub(super) const TABLES: &[&str] = &["limits", "handler", "routes"];

/// Other words for a key, from flags and from other servers.
pub(super) const SYNONYMS: &[(&str, &str)] = &[
    ("port", "listen"),
    ("host", "listen"),
    ("server_host", "listen"),
    ("bind", "listen"),
    ("websock_handlers", "handlers_dir"),
    ("websock_handlers_map_file", "handlers_map_file"),
    ("map_file", "handlers_map_file"),
    ("root", "document_root"),
    ("handlers", "handler"),
    ("aliases", "routes"),
    ("allowed_hosts", "hosts"),
    ("server_name", "hosts"),
    ("allowed_origins", "origins"),
    ("cors", "origins"),
];

fn log_level(reader: &mut Reader<'_>, entry: Entry<'_>) -> Option<LogLevel> {
    let level = entry.value.get_ref().as_str().map(str::parse::<LogLevel>);
    match level {
        Some(Ok(level)) => return Some(level),
        Some(Err(error)) => reader.unwanted(entry, LOG_LEVEL_WANTED, error.suggestion),
        None => reader.wrong_type(entry, LOG_LEVEL_WANTED),
    }
    None
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// A number of a table above, as large as this machine can have it.
fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

const RELOAD: &[(&str, ReloadPolicy)] = &[
    ("migrate", ReloadPolicy::Migrate),
    ("drain", ReloadPolicy::Drain),
    ("close", ReloadPolicy::Close),
];
/// The words of `trial`.
pub(super) const TRIAL: &[(&str, Trial)] = &[
    ("auto", Trial::Auto),
    ("always", Trial::Always),
    ("never", Trial::Never),
];
/// What `trial` wants, in words.
pub(super) const TRIAL_WANTED: &str = "`auto`, `always` or `never`";
/// The words of `trust`.
pub(super) const TRUST: &[(&str, Trust)] = &[("owner", Trust::Owner), ("any", Trust::Any)];
/// What `trust` wants, in words.
pub(super) const TRUST_WANTED: &str = "`owner` or `any`";
/// What `log_level` wants, in words.
pub(super) const LOG_LEVEL_WANTED: &str = "`off`, `error`, `warn`, `info`, `debug` or `trace`";
const A_DIRECTORY: &str = "a directory like `\"handlers\"`";
const A_FILE: &str = "a file like `\"handler_map.txt\"`";

const COUNT_MOST: u64 = 10_000_000;
const MIB: u64 = 1024 * 1024;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
