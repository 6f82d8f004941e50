//! The keys above the first table of config.toml, those of `[engine]` and of a handler's table, and every
//! flag.

use std::net::SocketAddr;

use super::{Applies, ConfigDraft, Flag, Heading, Setting, ValueKind};
use crate::config::listen_address::ListenAddress;
use crate::config::tls::PEM_WANTED;
use crate::config::{
    CertificatePair, ClientAuth, EngineKind, HandlerConfig, ReloadPolicy, Trial, Trust,
};

/// What is decided for the server as a whole.
///
/// Flags are laid over the file in this order: `port` before `server_host`, which falls back on it,
/// `handlers_dir` before `scan_dir`, which lies below it, `certificate` before `private_key`, which belongs to it.
pub(in crate::config) const TOP: &[Setting<ConfigDraft>] = &[
    Setting {
        name: "config",
        about: "Read this configuration file",
        default: None,
        key: None,
        flag: Some(Flag {
            heading: Heading::Configuration,
            value: "FILE",
            more: "Without it, ./config.toml or ./config/config.toml is read if it is there.",
            ..LONG_ONLY
        }),
        // The file is read before there is a draft.
        kind: ValueKind::Path {
            wanted: A_FILE,
            set: |_, _, _| {},
        },
    },
    Setting {
        name: "listen",
        about: "Listen on these addresses; port 0 is one free port for all of them",
        default: Some("[\"127.0.0.1:9998\", \"[::1]:9998\"]"),
        key: Some(Applies::Restart),
        flag: None,
        kind: ValueKind::Addresses(|draft, addresses| draft.config.listen = addresses),
    },
    Setting {
        name: "port",
        about: "Listen on this port; 0 is any free one",
        default: Some("9998"),
        key: None,
        flag: Some(Flag {
            heading: Heading::Network,
            short: Some('p'),
            value: "PORT",
            more: "It takes the place of the port of every address listened on, those of the file included.",
            ..LONG_ONLY
        }),
        kind: ValueKind::Port(set_port),
    },
    Setting {
        name: "server_host",
        about: "Listen on this address, in place of those of `listen`",
        default: Some("127.0.0.1 and ::1"),
        key: None,
        flag: Some(Flag {
            heading: Heading::Network,
            short: Some('H'),
            value: "HOST",
            spellings: &["server_host"],
            more: "An IPv4 or IPv6 address or `localhost`, with or without a port. 0.0.0.0 is every IPv4 address \
                   of this machine, :: every IPv6 one. Can be given several times, or as a list with commas.",
            ..LONG_ONLY
        }),
        kind: ValueKind::Interfaces(set_interfaces),
    },
    Setting {
        name: "hosts",
        about: "Answer requests for these hosts too, or for all hosts: `any`",
        default: None,
        key: Some(Applies::NextConnection),
        flag: Some(Flag {
            heading: Heading::Network,
            value: "HOSTS",
            more: "Names with commas. Needed where only loopback addresses are listened on and clients know the server by a name, as \
                   behind a proxy that passes `Host` on. `*.example.com` is all below a name.",
            ..LONG_ONLY
        }),
        kind: ValueKind::Hosts(|draft, hosts, by| {
            (draft.config.hosts, draft.config.hosts_by) = (hosts, by);
        }),
    },
    Setting {
        name: "tls",
        about: "Speak TLS on every address: https:// and wss://",
        default: Some("false"),
        key: None,
        flag: Some(Flag {
            heading: Heading::Tls,
            short: Some('t'),
            value: "BOOL",
            more: "It needs a certificate and its key.",
            ..LONG_ONLY
        }),
        kind: ValueKind::Truth(|draft, speaks_tls| draft.config.tls.every_address = speaks_tls),
    },
    Setting {
        name: "certificate",
        about: "The certificate in PEM, with those between it and its CA behind it",
        default: None,
        key: None,
        flag: Some(Flag {
            heading: Heading::Tls,
            short: Some('c'),
            value: "FILE",
            more: "It takes the place of all `certificates` of the file. It is read again when it changes.",
            ..LONG_ONLY
        }),
        kind: ValueKind::Path {
            wanted: PEM_WANTED,
            set: |draft, certificate, _| {
                let key = certificate.clone();
                draft.config.tls.certificates = vec![CertificatePair { certificate, key }];
            },
        },
    },
    Setting {
        name: "private_key",
        about: "The private key of the certificate in PEM",
        default: None,
        key: None,
        flag: Some(Flag {
            heading: Heading::Tls,
            short: Some('k'),
            value: "FILE",
            spellings: &["private_key"],
            more: "Without it the file of the certificate has the key too.",
            ..LONG_ONLY
        }),
        kind: ValueKind::Path {
            wanted: PEM_WANTED,
            set: |draft, key, _| {
                if let Some(pair) = draft.config.tls.certificates.first_mut() {
                    pair.key = key;
                }
            },
        },
    },
    Setting {
        name: "tls_client_auth",
        about: "Refuse clients without a certificate that a CA of `--tls-client-ca` has signed",
        default: Some("false"),
        key: None,
        flag: Some(Flag {
            heading: Heading::Tls,
            value: "BOOL",
            ..LONG_ONLY
        }),
        kind: ValueKind::Truth(|draft, is_required| {
            draft.config.tls.client_auth = match is_required {
                true => ClientAuth::Required,
                false => ClientAuth::None,
            };
        }),
    },
    Setting {
        name: "tls_client_cert_optional",
        about: "Ask clients for a certificate, and let those in that have none",
        default: Some("false"),
        key: None,
        flag: Some(Flag {
            heading: Heading::Tls,
            value: "BOOL",
            ..LONG_ONLY
        }),
        kind: ValueKind::Truth(|draft, is_optional| {
            if is_optional {
                draft.config.tls.client_auth = ClientAuth::Optional;
            }
        }),
    },
    Setting {
        name: "tls_client_ca",
        about: "The CAs in PEM that sign certificates of clients",
        default: None,
        key: None,
        flag: Some(Flag {
            heading: Heading::Tls,
            value: "FILE",
            ..LONG_ONLY
        }),
        kind: ValueKind::Path {
            wanted: PEM_WANTED,
            set: |draft, path, _| draft.config.tls.client_ca = Some(path),
        },
    },
    Setting {
        name: "handlers_dir",
        about: "Serve the handlers of this directory",
        default: Some("\"handlers\""),
        key: Some(Applies::AtOnce),
        flag: Some(Flag {
            heading: Heading::Handlers,
            short: Some('w'),
            value: "DIR",
            alias: Some("websock-handlers"),
            spellings: &["websock_handlers"],
            ..LONG_ONLY
        }),
        kind: ValueKind::Path {
            wanted: A_DIRECTORY,
            set: |draft, path, place| {
                draft.config.handlers_dir = path;
                if place.is_none() {
                    // The file's scan directory is no part of another handlers directory.
                    draft.scan_dir = None;
                }
            },
        },
    },
    Setting {
        name: "scan_dir",
        about: "Look for handlers only below this directory inside it",
        default: None,
        key: Some(Applies::AtOnce),
        flag: Some(Flag {
            heading: Heading::Handlers,
            short: Some('s'),
            value: "DIR",
            spellings: &["scan_dir"],
            more: "Their paths stay relative to the handlers directory.",
            ..LONG_ONLY
        }),
        kind: ValueKind::Path {
            wanted: A_DIRECTORY,
            set: |draft, path, place| draft.scan_dir = Some((path, place)),
        },
    },
    Setting {
        name: "handlers_map_file",
        about: "Read aliases from this file, lines `alias existing`",
        default: None,
        key: Some(Applies::AtOnce),
        flag: Some(Flag {
            heading: Heading::Handlers,
            short: Some('m'),
            value: "FILE",
            alias: Some("websock-handlers-map-file"),
            spellings: &["websock_handlers_map_file"],
            ..LONG_ONLY
        }),
        kind: ValueKind::Path {
            wanted: A_FILE,
            set: |draft, path, _| draft.config.handlers_map_file = Some(path),
        },
    },
    Setting {
        name: "allow_handlers_outside_root_dir",
        about: "Follow symlinks that lead out of the handlers directory",
        default: Some("false"),
        key: Some(Applies::AtOnce),
        flag: Some(Flag {
            heading: Heading::Handlers,
            value: "BOOL",
            spellings: &["allow_handlers_outside_root_dir"],
            ..LONG_ONLY
        }),
        kind: ValueKind::Truth(|draft, is_allowed| {
            draft.config.allow_handlers_outside_root_dir = is_allowed;
        }),
    },
    Setting {
        name: "trial",
        about: "Try handlers in a process of their own before they are loaded: auto, always, never",
        default: Some("\"auto\""),
        key: Some(Applies::NextLoad),
        flag: Some(Flag {
            heading: Heading::Handlers,
            value: "WHEN",
            more: "Where the system allows no such process, `auto` loads without a trial and `always` refuses the handler.",
            ..LONG_ONLY
        }),
        kind: ValueKind::Word(&[
            ("auto", |draft| draft.config.trial = Trial::Auto),
            ("always", |draft| draft.config.trial = Trial::Always),
            ("never", |draft| draft.config.trial = Trial::Never),
        ]),
    },
    Setting {
        name: "trust",
        about: "Whose handlers run: those that only the server's user and root can write, or any",
        default: Some("\"owner\""),
        key: Some(Applies::AtOnce),
        flag: Some(Flag {
            heading: Heading::Handlers,
            value: "WHOSE",
            more: "`any` is for where modes and owners say nothing, as in some containers: then a user who can write \
                   a handler's file or its directory can run code as the server.",
            ..LONG_ONLY
        }),
        kind: ValueKind::Word(&[
            ("owner", |draft| draft.config.trust = Trust::Owner),
            ("any", |draft| draft.config.trust = Trust::Any),
        ]),
    },
    Setting {
        name: "stage_dir",
        about: "Keep private copies of handlers in this directory",
        default: None,
        key: Some(Applies::Restart),
        flag: None,
        kind: ValueKind::Path {
            wanted: A_DIRECTORY,
            set: |draft, path, _| draft.config.stage_dir = Some(path),
        },
    },
    Setting {
        name: "document_root",
        about: "Serve the files of this directory wherever no handler answers",
        default: None,
        key: Some(Applies::NextConnection),
        flag: Some(Flag {
            heading: Heading::Files,
            short: Some('d'),
            value: "DIR",
            spellings: &["document_root"],
            ..LONG_ONLY
        }),
        kind: ValueKind::Path {
            wanted: A_DIRECTORY,
            set: |draft, path, place| {
                draft.config.document_root = Some(path);
                draft.config.document_root_is_found = place.is_some();
            },
        },
    },
    Setting {
        name: "pages",
        about: "Serve the pages of wshd at `/` where there is no document root",
        default: Some("true"),
        key: Some(Applies::NextConnection),
        flag: None,
        kind: ValueKind::Truth(|draft, is_served| draft.config.pages = is_served),
    },
    Setting {
        name: "handlers_json",
        about: "List the handlers at `/.wshd/handlers.json`, and what is kept at `/.wshd/engine.json`",
        default: Some("true"),
        key: Some(Applies::NextConnection),
        flag: None,
        kind: ValueKind::Truth(|draft, is_served| draft.config.handlers_json = is_served),
    },
    Setting {
        name: "log_level",
        about: "Log this much: off, error, warn, info, debug, trace",
        default: Some("\"info\""),
        key: Some(Applies::AtOnce),
        flag: Some(Flag {
            heading: Heading::Logging,
            value: "LEVEL",
            spellings: &["log_level"],
            more: "Upper or lower case; pywebsocket's `critical`, `warning` and `fine` are known too.",
            ..LONG_ONLY
        }),
        kind: ValueKind::Level(|draft, level| draft.config.log_level = level),
    },
];

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
];

/// What only a handler's table can decide.
pub(in crate::config) const OWN: &[Setting<HandlerConfig>] = &[
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

/// What stands under `[engine]`.
pub(in crate::config) const ENGINE: &[Setting<ConfigDraft>] = &[Setting {
    name: "kind",
    about: "Where history, presence and stores are kept: local, in this process",
    default: Some("\"local\""),
    key: Some(Applies::Restart),
    flag: None,
    kind: ValueKind::Word(&[("local", |draft| draft.config.engine = EngineKind::Local)]),
}];

/// What stands under `[tls]`.
pub(in crate::config) const TLS: &[Setting<ConfigDraft>] = &[
    Setting {
        name: "every_address",
        about: "Speak TLS on every address: https:// and wss://",
        default: Some("false"),
        key: Some(Applies::Restart),
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
pub(in crate::config) const TABLES: &[&str] =
    &["tls", "engine", "limits", "handler", "topics", "routes"];

/// Other words for a key or a table, from flags and from other servers.
pub(in crate::config) const SYNONYMS: &[(&str, &str)] = &[
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

/// Gives this port to every address.
fn set_port(draft: &mut ConfigDraft, port: u16) {
    let moved = draft.config.listen.iter();
    let moved = moved.map(|address| SocketAddr::new(address.ip(), port));
    draft.config.listen = each_once(moved);
}

/// Replaces the addresses. One without a port gets the port of the first address until now.
fn set_interfaces(draft: &mut ConfigDraft, hosts: Vec<ListenAddress>) {
    let port = draft.config.listen.first().map_or(0, SocketAddr::port);
    let addresses = hosts.iter().flat_map(|host| host.with_port(port));
    draft.config.listen = each_once(addresses);
}

/// The addresses without repetition: two may become equal when they get one port.
fn each_once(addresses: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut once = Vec::new();
    for address in addresses {
        if !once.contains(&address) {
            once.push(address);
        }
    }
    once
}

/// A flag that has its long name only.
const LONG_ONLY: Flag = Flag {
    heading: Heading::Configuration,
    short: None,
    value: "",
    alias: None,
    spellings: &[],
    more: "",
};
const A_DIRECTORY: &str = "a directory like `\"handlers\"`";
const A_FILE: &str = "a file like `\"handler_map.txt\"`";
