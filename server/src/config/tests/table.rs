//! The table of settings says what the code does.

use std::ops::RangeInclusive;

use super::*;
use crate::config::settings::limits::{Deflate, HandlerLimits, Limits, SessionLimits};
use crate::config::settings::tables::{ADMIN, ENGINE, OWN, POLICY, TLS};
use crate::config::settings::top::TOP;
use crate::config::settings::{Applies, Limit, Setting, ValueKind};

/// One setting of the table, of whatever it decides something.
pub(super) struct Row {
    /// Where its key stands.
    pub(super) section: Section,
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) default: Option<String>,
    /// `None` for what has a flag only.
    pub(super) applies: Option<Applies>,
    pub(super) is_flag: bool,
    pub(super) short: Option<char>,
    pub(super) kind: String,
    /// Of a limit.
    pub(super) range: Option<RangeInclusive<u64>>,
    pub(super) unit: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    /// Above the first table.
    Top,
    /// Above the first table and in a handler's table.
    TopOrHandler,
    /// In a handler's table.
    Handler,
    /// Under `[admin]`.
    Admin,
    /// Under `[engine]`.
    Engine,
    /// Under `[tls]`.
    Tls,
    /// Under `[limits]`.
    Limits,
    /// Under `[limits]` and in a handler's table.
    LimitsOrHandler,
}

/// The whole table but for what stands in a handler's table only.
pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    rows.extend(TOP.iter().map(|it| of_setting(Section::Top, it)));
    rows.extend(
        POLICY
            .iter()
            .map(|it| of_setting(Section::TopOrHandler, it)),
    );
    rows.extend(ADMIN.iter().map(|it| of_setting(Section::Admin, it)));
    rows.extend(ENGINE.iter().map(|it| of_setting(Section::Engine, it)));
    rows.extend(TLS.iter().map(|it| of_setting(Section::Tls, it)));
    rows.extend(Limits::KEYS.iter().map(|it| of_limit(Section::Limits, it)));
    let of_handler = Section::LimitsOrHandler;
    rows.extend(
        SessionLimits::KEYS
            .iter()
            .map(|it| of_limit(of_handler, it)),
    );
    rows.extend(Deflate::KEYS.iter().map(|it| of_limit(of_handler, it)));
    rows.extend(
        HandlerLimits::KEYS
            .iter()
            .map(|it| of_limit(of_handler, it)),
    );
    rows
}

/// What stands in a handler's table only.
pub(super) fn own_rows() -> Vec<Row> {
    let rows = OWN.iter();
    rows.map(|it| of_setting(Section::Handler, it)).collect()
}

fn of_setting<T>(section: Section, setting: &'static Setting<T>) -> Row {
    let kind = match &setting.kind {
        ValueKind::Path { wanted, .. } if wanted.starts_with("a directory") => "a directory",
        ValueKind::Path { .. } => "a file",
        ValueKind::Address(_) => "an address with a port",
        ValueKind::SocketOrOff(_) => "a path, or `off`",
        ValueKind::Truth(_) => "`true`, `false`",
        ValueKind::Word(words) => &words
            .iter()
            .map(|(word, _)| *word)
            .collect::<Vec<_>>()
            .join("`, `"),
        ValueKind::Level(_) => "a level",
        ValueKind::Hosts(_) => "`any`, or a list of hosts",
        ValueKind::Origins(_) => "`same-host`, `any`, or a list of origins",
        ValueKind::Host(_) => "a host",
        ValueKind::Account(_) => "a name, or a number",
        ValueKind::Addresses(_) => "addresses with ports, and paths",
        ValueKind::Networks(_) => "a list of addresses",
        ValueKind::Mode(_) => "octal digits",
        ValueKind::Certificates(_) => "a list of tables with `certificate` and `key`",
        ValueKind::Secret(_) => "`USER:PASSWORD`",
        ValueKind::Access(_) => "`open`, `required`, or a list of users",
        ValueKind::Object(_) => "a table",
        ValueKind::Number { range, .. } => &format!("{} to {}", range.start(), range.end()),
        ValueKind::Interfaces(_) => "addresses and paths",
    };
    let is_word = matches!(setting.kind, ValueKind::Word(_));
    Row {
        section,
        name: setting.name,
        about: setting.about,
        default: setting.default.map(str::to_owned),
        applies: setting.key,
        is_flag: setting.flag.is_some(),
        short: setting.flag.as_ref().and_then(|flag| flag.short),
        kind: if is_word {
            format!("`{kind}`")
        } else {
            kind.to_owned()
        },
        range: None,
        unit: "",
    }
}

fn of_limit<T>(section: Section, limit: &'static Limit<T>) -> Row {
    Row {
        section,
        name: limit.name,
        about: limit.about.trim(),
        default: Some(limit.default.to_string()),
        applies: Some(limit.applies),
        is_flag: false,
        short: None,
        kind: String::new(),
        range: Some(limit.range.clone()),
        unit: limit.unit,
    }
}

#[test]
fn a_file_with_every_default_of_the_table_changes_nothing() {
    let lines = |sections: &'static [Section]| {
        let rows = rows().into_iter();
        let rows = rows.filter(|row| row.applies.is_some() && sections.contains(&row.section));
        rows.filter_map(|row| Some(format!("{} = {}\n", row.name, row.default?)))
    };
    let own = own_rows().into_iter();
    let own = own.filter_map(|row| Some(format!("{} = {}\n", row.name, row.default?)));
    let text: String = lines(&[Section::Top, Section::TopOrHandler])
        .chain(["[engine]\n".to_owned()])
        .chain(lines(&[Section::Engine]))
        .chain(["[tls]\n".to_owned()])
        .chain(lines(&[Section::Tls]))
        .chain(["[limits]\n".to_owned()])
        .chain(lines(&[Section::Limits, Section::LimitsOrHandler]))
        .chain(["[handler.chat]\n".to_owned()])
        .chain(own)
        .collect();
    let start = Start::new().file("config.toml", &text);

    let config = start.read(&[]);

    assert_eq!(config.handler("chat"), &config.defaults);
    let handlers_dir = start.path("handlers");
    let defaults = Config {
        file: config.file.clone(),
        file_places: config.file_places.clone(),
        scan_dir: handlers_dir.clone(),
        handlers_dir,
        handlers: config.handlers.clone(),
        places: config.places.clone(),
        ..Config::default()
    };
    assert_eq!(config, defaults);
    assert!(text.lines().count() > 40, "{text}");
}

#[test]
fn the_default_that_a_flag_shows_is_the_default() {
    let default = Start::new().read(&[]);
    let (port, host) = (named("port"), named("server_host"));
    assert_eq!(Start::new().read(&["-p", &port]).listen, default.listen);
    let hosts = host.replace(" and ", ",");
    assert_eq!(Start::new().read(&["-H", &hosts]).listen, default.listen);
}

fn named(name: &str) -> String {
    let row = rows().into_iter().find(|row| row.name == name);
    row.and_then(|row| row.default).expect(name)
}

#[test]
fn the_name_of_a_limit_says_its_unit() {
    for row in rows().iter().filter(|row| row.range.is_some()) {
        let unit = if row.name.ends_with("_ms") {
            "ms"
        } else if row.name.ends_with("_s") {
            "s"
        } else if row.name.contains("bytes") {
            "bytes"
        } else {
            assert!(!["ms", "s", "bytes"].contains(&row.unit), "{}", row.name);
            row.unit
        };
        assert_eq!(row.unit, unit, "{}", row.name);
    }
}

#[test]
fn each_default_is_in_its_range() {
    for row in rows() {
        if let (Some(range), Some(default)) = (&row.range, &row.default) {
            let default = default.parse().expect("a number");
            assert!(
                range.contains(&default),
                "{}: {default} {range:?}",
                row.name
            );
        }
    }
}

#[test]
fn what_applies_after_a_restart_is_what_a_running_server_asks_one_for() {
    let before = Start::new().read(&[]);
    let mut after = before.clone();
    after.listen.pop();
    after.user = Some("wshd".into());
    after.group = Some("wshd".into());
    after.stage_dir = Some("/elsewhere".into());
    after.admin_socket = AdminSocket::Off;
    after.pid_file = Some("/run/wshd.pid".into());

    let rows = rows().into_iter();
    // There is one kind of engine, so no file can ask for another.
    let restart = rows.filter(|row| row.applies == Some(Applies::Restart) && row.name != "kind");
    let names: Vec<_> = restart.map(|row| row.name).collect();

    assert_eq!(before.restart_needed(&after), names);
}
