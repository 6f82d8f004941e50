//! The keys above the first table of config.toml, and every flag but that of `origins`.

use super::listening::{set_interfaces, set_port};
use super::{Applies, ConfigDraft, Flag, Heading, LONG_ONLY, Setting, ValueKind};
use crate::config::tls::PEM_WANTED;
use crate::config::{
    AccessLogFormat, AdminSocket, CertificatePair, ClientAuth, ForwardedHeader, LogFormat, Metrics,
    Trial, Trust,
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
        about: "Listen on these addresses, with TLS behind `tls:`, and on these Unix sockets, behind `unix:`",
        default: Some("[\"127.0.0.1:9998\", \"[::1]:9998\"]"),
        key: Some(Applies::AtOnce),
        flag: None,
        kind: ValueKind::Addresses(|draft, listen| draft.listen = listen),
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
            more: "It takes the place of the port of every address listened on, those of the file included, but for \
                   those behind `tls:` where there are others.",
            ..LONG_ONLY
        }),
        kind: ValueKind::Number {
            range: 0..=U16_MAX,
            set: |draft, port| set_port(draft, port as u16),
        },
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
                   of this machine, and :: every address, or every IPv6 one beside an IPv4 address. `tls:` before it is for clients that speak TLS, and \
                   `unix:PATH` is a Unix socket. Can be given several times, or as a list with commas.",
            ..LONG_ONLY
        }),
        kind: ValueKind::Interfaces(set_interfaces),
    },
    Setting {
        name: "unix_mode",
        about: "The mode of Unix sockets, in octal digits: who may connect",
        default: Some("\"660\""),
        key: Some(Applies::AtOnce),
        flag: None,
        kind: ValueKind::Mode(|draft, mode| draft.config.unix_mode = mode),
    },
    Setting {
        name: "listen_backlog",
        about: "Let this many connections wait to be accepted at each address",
        default: Some("1024"),
        key: Some(Applies::AtOnce),
        flag: Some(Flag {
            heading: Heading::Network,
            short: Some('q'),
            value: "CONNECTIONS",
            alias: Some("queue"),
            more: "The system may have a lower limit: net.core.somaxconn on Linux.",
            ..LONG_ONLY
        }),
        kind: ValueKind::Number {
            range: 1..=U16_MAX,
            set: |draft, backlog| draft.config.listen_backlog = backlog as u16,
        },
    },
    Setting {
        name: "user",
        about: "Become this user, if started as root, once the addresses are bound and before handlers run",
        default: None,
        key: Some(Applies::Restart),
        flag: Some(Flag {
            heading: Heading::Process,
            value: "USER",
            more: "A name or a number. The files of the log are opened by it, and it must be able to read what is read again: \
                   handlers, keys of TLS, files of users. `root` says that the server is to stay root.",
            ..LONG_ONLY
        }),
        kind: ValueKind::Account(|draft, user| draft.config.user = Some(user)),
    },
    Setting {
        name: "group",
        about: "Become this group together with the user",
        default: None,
        key: Some(Applies::Restart),
        flag: Some(Flag {
            heading: Heading::Process,
            value: "GROUP",
            more: "A name or a number. Without it, it is the group of the user. The user's other groups hold too.",
            ..LONG_ONLY
        }),
        kind: ValueKind::Account(|draft, group| draft.config.group = Some(group)),
    },
    Setting {
        name: "validation_host",
        about: "Take a WebSocket's target that names a host only if it names this one",
        default: None,
        key: Some(Applies::NextConnection),
        flag: Some(Flag {
            heading: Heading::Network,
            short: Some('V'),
            value: "HOST",
            spellings: &["validation_host"],
            more: "Such a target is `ws://HOST:PORT/PATH`, or the like with another scheme, as some proxies send it. One with \
                   another host gets 404, and this one need not stand in `hosts`, by which `Host` is judged.",
            ..LONG_ONLY
        }),
        kind: ValueKind::Host(|draft, host| draft.config.validation_host = Some(host)),
    },
    Setting {
        name: "validation_port",
        about: "Take a WebSocket's target that names a host only if it names this port",
        default: None,
        key: Some(Applies::NextConnection),
        flag: Some(Flag {
            heading: Heading::Network,
            short: Some('P'),
            value: "PORT",
            spellings: &["validation_port"],
            more: "A target without a port has port 80, and 443 behind `wss:` and `https:`.",
            ..LONG_ONLY
        }),
        kind: ValueKind::Number {
            range: 1..=U16_MAX,
            set: |draft, port| draft.config.validation_port = Some(port as u16),
        },
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
        name: "allow",
        about: "Let only these addresses connect: addresses, networks, loopback, private, unix",
        default: None,
        key: Some(Applies::NextConnection),
        flag: None,
        kind: ValueKind::Networks(|draft, allow| draft.config.addresses.server.allow = Some(allow)),
    },
    Setting {
        name: "deny",
        about: "Let none of these addresses connect, even if `allow` has them; open sessions go on",
        default: Some("[]"),
        key: Some(Applies::NextConnection),
        flag: None,
        kind: ValueKind::Networks(|draft, deny| draft.config.addresses.server.deny = deny),
    },
    Setting {
        name: "trusted_proxies",
        about: "Believe these proxies which client a request is of: addresses, networks, loopback, private, unix",
        default: Some("[]"),
        key: Some(Applies::NextConnection),
        flag: None,
        kind: ValueKind::Networks(|draft, proxies| draft.config.trusted_proxies = proxies),
    },
    Setting {
        name: "forwarded_header",
        about: "The header in which trusted proxies say it: x-forwarded-for, forwarded",
        default: Some("\"x-forwarded-for\""),
        key: Some(Applies::NextConnection),
        flag: None,
        kind: ValueKind::Word(&[
            ("x-forwarded-for", |draft| {
                draft.config.forwarded_header = ForwardedHeader::XForwardedFor;
            }),
            ("forwarded", |draft| {
                draft.config.forwarded_header = ForwardedHeader::Forwarded;
            }),
        ]),
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
            more: "It needs a certificate and its key. `wshd dev` makes one for localhost where none is given.",
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
            set: |draft, key, _| match draft.config.tls.certificates.first_mut() {
                Some(pair) => pair.key = key,
                None => draft.config.tls.unused_key = Some(key),
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
        name: "directory_listings",
        about: "Show the names in directories of the document root that have no index.html",
        default: Some("false"),
        key: Some(Applies::NextConnection),
        flag: None,
        kind: ValueKind::Truth(|draft, is_shown| draft.config.lists_directories = is_shown),
    },
    Setting {
        name: "files_max_age_s",
        about: "Let caches keep files that are no pages for this long without asking; 0 is not at all",
        default: Some("0"),
        key: Some(Applies::NextConnection),
        flag: None,
        kind: ValueKind::Number {
            range: 0..=31_536_000,
            set: |draft, seconds| draft.config.files_max_age_s = seconds,
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
        name: "metrics",
        about: "Serve metrics at `/.wshd/metrics`: to programs on this machine, to any client, or off",
        default: Some("\"local\""),
        key: Some(Applies::NextConnection),
        flag: None,
        kind: ValueKind::Word(&[
            ("local", |draft| draft.config.metrics = Metrics::Local),
            ("any", |draft| draft.config.metrics = Metrics::Any),
            ("off", |draft| draft.config.metrics = Metrics::Off),
        ]),
    },
    Setting {
        name: "admin_socket",
        about: "Take the commands of operators at this Unix socket, or nowhere: off",
        default: None,
        key: Some(Applies::Restart),
        flag: Some(Flag {
            heading: Heading::Process,
            value: "PATH",
            more: "`wshd status` and its like find the server by it. Only the server's user and root may use it. Without a path \
                   it is PID.sock in /run/wshd, in $XDG_RUNTIME_DIR/wshd or in /tmp/wshd-UID, the first that is there and is \
                   the user's own.",
            ..LONG_ONLY
        }),
        kind: ValueKind::SocketOrOff(|draft, path| {
            draft.config.admin_socket = match path {
                Some(path) => AdminSocket::At(path),
                None => AdminSocket::Off,
            };
        }),
    },
    Setting {
        name: "pid_file",
        about: "Write the number of the process to this file, and remove it at the end",
        default: None,
        key: Some(Applies::Restart),
        flag: Some(Flag {
            heading: Heading::Process,
            value: "FILE",
            more: "It is written once the addresses are bound. The file of a server that is gone is replaced; that of one \
                   that runs, or another file, ends the start. After an upgrade it has the number of the new process.",
            ..LONG_ONLY
        }),
        kind: ValueKind::Path {
            wanted: "a file like `\"/run/wshd.pid\"`",
            set: |draft, path, _| draft.config.pid_file = Some(path),
        },
    },
    Setting {
        name: "users_file",
        about: "Let in the users of this file, lines `NAME:HASH` as htpasswd writes them",
        default: None,
        key: Some(Applies::NextConnection),
        flag: Some(Flag {
            heading: Heading::Access,
            value: "FILE",
            more: "Hashes are those of bcrypt, SHA-crypt or argon2id: `htpasswd -B`, `openssl passwd -6`. The file is read again \
                   when it changes.",
            ..LONG_ONLY
        }),
        kind: ValueKind::Path {
            wanted: "a file like `\"users\"`",
            set: |draft, path, _| draft.config.users_file = Some(path),
        },
    },
    Setting {
        name: "tokens_file",
        about: "Let in the bearers of this file's tokens, lines `NAME:sha256:HEX`",
        default: None,
        key: Some(Applies::NextConnection),
        flag: Some(Flag {
            heading: Heading::Access,
            value: "FILE",
            more: "HEX is the SHA-256 of the token. The file is read again when it changes.",
            ..LONG_ONLY
        }),
        kind: ValueKind::Path {
            wanted: "a file like `\"tokens\"`",
            set: |draft, path, _| draft.config.tokens_file = Some(path),
        },
    },
    Setting {
        name: "basic_auth",
        about: "Ask for a user and a password (Basic); there is no default password",
        default: None,
        key: Some(Applies::NextConnection),
        flag: Some(Flag {
            heading: Heading::Access,
            value: "BOOL",
            more: "They are those of `--users-file` or of `--basic-auth-credential`, and one of these is enough to ask for them. \
                   `--basic-auth=false` asks for none.",
            ..LONG_ONLY
        }),
        kind: ValueKind::Truth(|draft, asks| draft.auth.basic = Some(asks)),
    },
    Setting {
        name: "basic_auth_credential",
        about: "Let in this one user",
        default: None,
        key: Some(Applies::NextConnection),
        flag: Some(Flag {
            heading: Heading::Access,
            value: "USER:PASSWORD",
            more: "Other users of this machine see it, since `ps` shows command lines: WSHD_BASIC_AUTH_CREDENTIAL or \
                   `--users-file` hides it from them.",
            ..LONG_ONLY
        }),
        kind: ValueKind::Secret(|draft, pair| draft.auth.credential = Some(pair)),
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
    Setting {
        name: "log_file",
        about: "Write the log to this file instead of stderr",
        default: None,
        key: Some(Applies::AtOnce),
        flag: Some(Flag {
            heading: Heading::Logging,
            short: Some('l'),
            value: "FILE",
            spellings: &["log_file"],
            more: "It is made if it is not there, and opened again with SIGUSR1 or SIGHUP if it was moved.",
            ..LONG_ONLY
        }),
        kind: ValueKind::Path {
            wanted: "a file like `\"wshd.log\"`",
            set: |draft, path, _| draft.config.log_file = Some(path),
        },
    },
    Setting {
        name: "log_format",
        about: "Write the log as text for people, or as JSON: text, json",
        default: Some("\"text\""),
        key: Some(Applies::AtOnce),
        flag: Some(Flag {
            heading: Heading::Logging,
            value: "FORMAT",
            ..LONG_ONLY
        }),
        kind: ValueKind::Word(&[
            ("text", |draft| draft.config.log_format = LogFormat::Text),
            ("json", |draft| draft.config.log_format = LogFormat::Json),
        ]),
    },
    Setting {
        name: "access_log_format",
        about: "Write the line of each session that is over as text or as JSON: auto, text, json",
        default: Some("\"auto\""),
        key: Some(Applies::AtOnce),
        flag: Some(Flag {
            heading: Heading::Logging,
            value: "FORMAT",
            more: "`auto` is JSON, and on a terminal what the log is.",
            ..LONG_ONLY
        }),
        kind: ValueKind::Word(&[
            ("auto", |draft| {
                draft.config.access_log_format = AccessLogFormat::Auto;
            }),
            ("text", |draft| {
                draft.config.access_log_format = AccessLogFormat::Text;
            }),
            ("json", |draft| {
                draft.config.access_log_format = AccessLogFormat::Json;
            }),
        ]),
    },
    Setting {
        name: "access_log_file",
        about: "Write the line of each session that is over to this file instead of into the log",
        default: None,
        key: Some(Applies::AtOnce),
        flag: Some(Flag {
            heading: Heading::Logging,
            value: "FILE",
            more: "It is made, opened again and renamed as the log file is.",
            ..LONG_ONLY
        }),
        kind: ValueKind::Path {
            wanted: "a file like `\"access.log\"`",
            set: |draft, path, _| draft.config.access_log_file = Some(path),
        },
    },
    Setting {
        name: "log_file_bytes_max",
        about: "Rename the log file and begin a new one before it has more bytes; 0 is never",
        default: Some("10485760"),
        key: Some(Applies::AtOnce),
        flag: Some(Flag {
            heading: Heading::Logging,
            value: "BYTES",
            alias: Some("log-max"),
            spellings: &["log_max"],
            ..LONG_ONLY
        }),
        kind: ValueKind::Number {
            range: 0..=1 << 40,
            set: |draft, bytes| draft.config.log_file_bytes_max = bytes,
        },
    },
    Setting {
        name: "log_files_max",
        about: "Keep so many older log files; with 0 the log file is never renamed",
        default: Some("5"),
        key: Some(Applies::AtOnce),
        flag: Some(Flag {
            heading: Heading::Logging,
            value: "FILES",
            alias: Some("log-count"),
            spellings: &["log_count"],
            ..LONG_ONLY
        }),
        kind: ValueKind::Number {
            range: 0..=1_000,
            set: |draft, files| {
                draft.config.log_files_max = u32::try_from(files).unwrap_or(u32::MAX)
            },
        },
    },
];

/// The largest value of what is kept in 16 bits.
const U16_MAX: u64 = u16::MAX as u64;
const A_DIRECTORY: &str = "a directory like `\"handlers\"`";
const A_FILE: &str = "a file like `\"handler_map.txt\"`";
