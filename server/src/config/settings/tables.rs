//! The keys of tables of config.toml: a handler's own, `[tls]` and `[engine]`. Those that a handler's table has in common
//! with the top of the file, and other words for keys, stand here too.

use super::{Applies, ConfigDraft, Flag, Heading, LONG_ONLY, Setting, ValueKind};
use crate::config::tls::PEM_WANTED;
use crate::config::{
    AddressRules, ClientAuth, EngineKind, HandlerConfig, OutboundPolicy, RatePolicy, ReloadPolicy,
};

/// What the top of the file decides for all handlers, and a handler's table for one.
pub(in crate::config) const POLICY: &[Setting<HandlerConfig>] = &[
    Setting {
        name: "reload",
        about: "Move sessions to a new version of their handler, let them finish, or close them",
        default: Some("\"migrate\""),
        key: Some(Applies::NextVersion),
        flag: None,
        kind: ValueKind::Word(&[
            ("migrate", |handler| handler.reload = ReloadPolicy::Migrate),
            ("drain", |handler| handler.reload = ReloadPolicy::Drain),
            ("close", |handler| handler.reload = ReloadPolicy::Close),
        ]),
    },
    Setting {
        name: "origins",
        about: "Let pages of these origins connect: same-host, any, or a list",
        default: Some("\"same-host\""),
        key: Some(Applies::NextConnection),
        flag: Some(Flag {
            heading: Heading::Network,
            value: "ORIGINS",
            more: "A list has commas, like `same-host,https://example.com,https://*.example.org`. A handler's table in the file may say \
                   otherwise.",
            ..LONG_ONLY
        }),
        kind: ValueKind::Origins(|handler, origins, by| {
            (handler.origins, handler.origins_by) = (origins, by);
        }),
    },
    Setting {
        name: "deflate",
        about: "Compress messages (permessage-deflate) with clients that offer it",
        default: Some("true"),
        key: Some(Applies::NextSession),
        flag: None,
        kind: ValueKind::Truth(|handler, is_agreed| handler.session.deflate.enabled = is_agreed),
    },
    Setting {
        name: "deflate_context_takeover",
        about: "Let the server's compressed messages refer to earlier ones",
        default: Some("false"),
        key: Some(Applies::NextSession),
        flag: None,
        kind: ValueKind::Truth(|handler, may_refer| {
            handler.session.deflate.context_takeover = may_refer;
        }),
    },
    Setting {
        name: "outbound_policy",
        about: "What passes outbound_bytes_max closes the session, is dropped, or drops the oldest messages that wait",
        default: Some("\"close\""),
        key: Some(Applies::NextSession),
        flag: None,
        kind: ValueKind::Word(&[
            ("close", |handler| {
                handler.session.outbound_policy = OutboundPolicy::Close;
            }),
            ("drop_new", |handler| {
                handler.session.outbound_policy = OutboundPolicy::DropNew;
            }),
            ("drop_oldest", |handler| {
                handler.session.outbound_policy = OutboundPolicy::DropOldest;
            }),
        ]),
    },
    Setting {
        name: "rate_policy",
        about: "Pause a peer that sends more than messages_per_s_max or bytes_per_s_max, or close its session",
        default: Some("\"pause\""),
        key: Some(Applies::NextSession),
        flag: None,
        kind: ValueKind::Word(&[
            ("pause", |handler| {
                handler.session.rate_policy = RatePolicy::Pause;
            }),
            ("close", |handler| {
                handler.session.rate_policy = RatePolicy::Close;
            }),
        ]),
    },
];

/// What only a handler's table can decide.
pub(in crate::config) const OWN: &[Setting<HandlerConfig>] = &[
    Setting {
        name: "auth",
        about: "Who may reach the handler: open, required, or a list of users; without it the rules of `[auth]` hold",
        default: None,
        key: Some(Applies::NextConnection),
        flag: None,
        kind: ValueKind::Access(|handler, access| handler.access = Some(access)),
    },
    Setting {
        name: "allow",
        about: "Let only these addresses reach the handler, of those that may connect at all",
        default: None,
        key: Some(Applies::NextConnection),
        flag: None,
        kind: ValueKind::Networks(|handler, allow| handler.addresses.allow = Some(allow)),
    },
    Setting {
        name: "deny",
        about: "Let none of these addresses reach the handler",
        default: Some("[]"),
        key: Some(Applies::NextConnection),
        flag: None,
        kind: ValueKind::Networks(|handler, deny| handler.addresses.deny = deny),
    },
    Setting {
        name: "raw",
        about: "Let the handler write past the framing (`wsh.raw/1`)",
        default: Some("false"),
        key: Some(Applies::AtOnce),
        flag: None,
        kind: ValueKind::Truth(|handler, may_write| handler.raw = may_write),
    },
    Setting {
        name: "config",
        about: "Reaches the handler as it stands",
        default: Some("{}"),
        key: Some(Applies::AtOnce),
        flag: None,
        kind: ValueKind::Object(|handler, config| handler.config = config),
    },
];

/// What stands in the table of a path under `[paths]`.
pub(in crate::config) const PATH: &[Setting<AddressRules>] = &[
    Setting {
        name: "allow",
        about: "Let only these addresses have what lies there, of those that may connect at all",
        default: None,
        key: Some(Applies::NextConnection),
        flag: None,
        kind: ValueKind::Networks(|rules, allow| rules.allow = Some(allow)),
    },
    Setting {
        name: "deny",
        about: "Let none of these addresses have what lies there",
        default: Some("[]"),
        key: Some(Applies::NextConnection),
        flag: None,
        kind: ValueKind::Networks(|rules, deny| rules.deny = deny),
    },
];

/// What stands under `[engine]`.
pub(in crate::config) const ENGINE: &[Setting<ConfigDraft>] = &[Setting {
    name: "kind",
    about: "Where history, presence and stores are kept: local, in this process",
    default: Some("\"local\""),
    key: Some(Applies::Restart),
    flag: None,
    kind: ValueKind::Word(&[("local", |draft| draft.config.engine = EngineKind::Local)]),
}];

/// What stands under `[admin]`.
pub(in crate::config) const ADMIN: &[Setting<ConfigDraft>] = &[Setting {
    name: "listen",
    about: "Serve a page for operators, metrics and health at this address",
    default: None,
    key: Some(Applies::AtOnce),
    flag: None,
    kind: ValueKind::Address(|draft, address| draft.config.admin_listen = Some(address)),
}];

/// What stands under `[tls]`.
pub(in crate::config) const TLS: &[Setting<ConfigDraft>] = &[
    Setting {
        name: "every_address",
        about: "Speak TLS on every address: https:// and wss://",
        default: Some("false"),
        key: Some(Applies::AtOnce),
        flag: None,
        kind: ValueKind::Truth(|draft, speaks_tls| draft.config.tls.every_address = speaks_tls),
    },
    Setting {
        name: "certificates",
        about: "Certificates with their keys, each for the names in it; the first is for all other names",
        default: Some("[]"),
        key: Some(Applies::NextConnection),
        flag: None,
        kind: ValueKind::Certificates(|draft, pairs| draft.config.tls.certificates = pairs),
    },
    Setting {
        name: "client_auth",
        about: "Whether clients show certificates: none, optional, required",
        default: Some("\"none\""),
        key: Some(Applies::NextConnection),
        flag: None,
        kind: ValueKind::Word(&[
            ("none", |draft| {
                draft.config.tls.client_auth = ClientAuth::None
            }),
            ("optional", |draft| {
                draft.config.tls.client_auth = ClientAuth::Optional;
            }),
            ("required", |draft| {
                draft.config.tls.client_auth = ClientAuth::Required;
            }),
        ]),
    },
    Setting {
        name: "client_ca",
        about: "The CAs in PEM that sign certificates of clients",
        default: None,
        key: Some(Applies::NextConnection),
        flag: None,
        kind: ValueKind::Path {
            wanted: PEM_WANTED,
            set: |draft, path, _| draft.config.tls.client_ca = Some(path),
        },
    },
];

/// The tables of the file.
pub(in crate::config) const TABLES: &[&str] = &[
    "auth", "paths", "tls", "admin", "engine", "limits", "handler", "topics", "routes",
];

/// Other words for a key or a table, from flags and from other servers.
pub(in crate::config) const SYNONYMS: &[(&str, &str)] = &[
    ("port", "listen"),
    ("host", "listen"),
    ("server_host", "listen"),
    ("bind", "listen"),
    ("queue", "listen_backlog"),
    ("backlog", "listen_backlog"),
    ("websock_handlers", "handlers_dir"),
    ("websock_handlers_map_file", "handlers_map_file"),
    ("map_file", "handlers_map_file"),
    ("root", "document_root"),
    ("handlers", "handler"),
    ("aliases", "routes"),
    ("htpasswd", "users_file"),
    ("auth_basic_user_file", "users_file"),
    ("auth_basic", "basic_auth"),
    ("passwords", "users_file"),
    ("tokens", "tokens_file"),
    ("allowed_hosts", "hosts"),
    ("server_name", "hosts"),
    ("allowed_origins", "origins"),
    ("cors", "origins"),
    ("log", "log_file"),
    ("log_max", "log_file_bytes_max"),
    ("log_count", "log_files_max"),
    ("channels", "topics"),
    ("age", "age_s"),
    ("ttl", "age_s"),
    ("max", "count"),
    ("size", "count"),
    ("ssl", "tls"),
    ("certificate", "certificates"),
    ("certs", "certificates"),
    ("ca", "client_ca"),
];
