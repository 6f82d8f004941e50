//! config/config.toml is a manual: it says what the parser knows, and nothing else.

use super::table::rows;
use super::*;

/// The manual, and with what it has switched off.
const MANUAL: &str = include_str!("../../../../config/config.toml");

/// The manual's settings that are switched off by `# `, switched on.
fn whole_manual() -> String {
    let switched_on = |line: &str| {
        let setting = line.strip_prefix("# ")?;
        let key = setting
            .split(" = ")
            .next()
            .filter(|key| key.len() < setting.len())?;
        let is_setting = key.starts_with('"')
            || key
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        is_setting.then(|| setting.to_owned())
    };
    let table = |line: &str| {
        line.strip_prefix("# ")
            .filter(|line| {
                ["[handler.", "[topics.", "[paths."]
                    .iter()
                    .any(|table| line.starts_with(table))
            })
            .map(str::to_owned)
    };
    let lines = MANUAL.lines().map(|line| {
        switched_on(line)
            .or_else(|| table(line))
            .unwrap_or_else(|| line.to_owned())
    });
    lines.map(|line| line + "\n").collect()
}

#[test]
fn the_manual_is_the_defaults() {
    let start = Start::new().file("config/config.toml", MANUAL);

    let config = start.read(&[]);

    let root = start.dir.path().canonicalize().expect("it is there");
    let defaults = Config {
        file: Some(start.path("config/config.toml")),
        file_places: config.file_places.clone(),
        handlers_dir: root.join("handlers"),
        scan_dir: root.join("handlers"),
        document_root: Some(root.join("handlers/www")),
        document_root_is_found: true,
        topics: config.topics.clone(),
        topics_handlers: config.topics_handlers.clone(),
        ..Config::default()
    };
    assert_eq!(config, defaults);
    keeps_the_rooms_of_the_chat(&config);
}

/// What both files of the repository have besides.
#[track_caller]
fn keeps_the_rooms_of_the_chat(config: &Config) {
    let kept = |owner: &str| config.topics.policy(owner, "lobby").history.is_some();
    assert!(kept("chat") && !kept("echo"));
}

#[test]
fn the_manual_has_every_key_and_no_other() {
    let start = Start::new()
        .file("config.toml", &whole_manual())
        .file("handler_map.txt", "")
        .file("users", "")
        .file("tokens", "");
    // What it has switched off is right too.
    let config = start.read(&["-w", "handlers"]);
    assert_eq!(config.handlers.len(), 3);
    assert_eq!(config.routes.len(), 3);
    let news = config.topics.policy("", "/news");
    assert_eq!(news.history.map(|bounds| bounds.count), Some(10));
    let lobby = config.topics.policy("chat", "lobby");
    assert_eq!(lobby.history.map(|bounds| bounds.bytes), Some(1_048_576));

    let is_key = |key: &str| {
        !key.is_empty()
            && key
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    let mut written = std::collections::BTreeSet::new();
    let mut table = "";
    for line in whole_manual().lines() {
        if let Some(header) = line.strip_prefix('[') {
            let table_of = |table: &&str| header.starts_with(table.trim_end_matches('.'));
            let tables = ["admin.", "engine.", "tls.", "limits.", "topics.", "paths."];
            table = tables.into_iter().find(table_of).unwrap_or("handler.");
        }
        let key = line
            .split(" = ")
            .next()
            .filter(|key| key.len() < line.len() && is_key(key));
        written.extend(key.map(|key| format!("{table}{key}")));
    }
    // A handler's table has the keys of other tables, and some of its own.
    let known = crate::config::file::all_keys();
    let own = |key: &String| {
        !key.starts_with("handler.")
            || ["handler.auth", "handler.config", "handler.raw"].contains(&key.as_str())
    };
    let undocumented: Vec<_> = known
        .iter()
        .filter(|key| own(key) && !written.contains(*key))
        .collect();
    assert_eq!(undocumented, Vec::<&String>::new());
    let invented: Vec<_> = written.iter().filter(|key| !known.contains(*key)).collect();
    assert_eq!(invented, Vec::<&String>::new());
}

#[test]
fn the_manual_says_of_every_key_when_it_applies_and_which_flag_it_has() {
    let manual = whole_manual();
    let mut paragraph = String::new();
    let mut told = 0;
    for line in manual
        .lines()
        .take_while(|line| !line.starts_with("## A handler's own"))
    {
        if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            let row = rows().into_iter().find(|row| row.name == key);
            let row = row.unwrap_or_else(|| panic!("`{key}` is not in the table"));
            let applies = paragraph.split("Applies: ").nth(1).unwrap_or_default();
            let words = row.applies.expect("it is a key").words();
            // More than that may be said of it.
            let rest = applies.strip_prefix(words);
            let rest = rest.unwrap_or_else(|| panic!("`{key}` applies {words}: {paragraph}"));
            assert!(
                rest.starts_with(['.', ';']),
                "`{key}` applies {words}: {paragraph}"
            );
            let flag = match row.short {
                _ if !row.is_flag => "",
                Some(short) => &format!("Flag -{short}."),
                None => &format!("Flag --{}.", key.replace('_', "-")),
            };
            assert!(paragraph.contains(flag), "`{key}` has {flag}: {paragraph}");
            told += 1;
        } else if let Some(text) = line.strip_prefix('#') {
            paragraph = format!("{paragraph} {}", text.trim());
        } else {
            paragraph.clear();
        }
    }
    let keys = rows().iter().filter(|row| row.applies.is_some()).count();
    assert_eq!(told, keys);
}

#[test]
fn the_minimal_file_is_right() {
    let start = Start::new().file(
        "config/config.toml",
        include_str!("../../../../config/minimal.toml"),
    );

    let config = start.read(&[]);

    let root = start.dir.path().canonicalize().expect("it is there");
    assert_eq!(config.handlers_dir, root.join("handlers"));
    keeps_the_rooms_of_the_chat(&config);
}
