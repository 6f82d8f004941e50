//! config/config.toml is a manual: it says what the parser knows, and nothing else.

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
        (is_setting || setting.starts_with("[handler.")).then(|| setting.to_owned())
    };
    let table = |line: &str| {
        line.strip_prefix("# ")
            .filter(|line| line.starts_with("[handler."))
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
        ..Config::default()
    };
    assert_eq!(config, defaults);
}

#[test]
fn the_manual_has_every_key_and_no_other() {
    let start = Start::new()
        .file("config.toml", &whole_manual())
        .file("handler_map.txt", "");
    // What it has switched off is right too.
    let config = start.read(&["-w", "handlers"]);
    assert_eq!(config.handlers.len(), 3);
    assert_eq!(config.routes.len(), 3);

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
            table = if header.starts_with("limits") {
                "limits."
            } else {
                "handler."
            };
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
        !key.starts_with("handler.") || ["handler.config", "handler.raw"].contains(&key.as_str())
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
fn the_manual_says_of_every_key_when_it_applies() {
    let mut explained = false;
    for line in MANUAL.lines() {
        if line.is_empty() {
            explained = false;
        }
        explained |= line.contains("Applies: ");
        let is_setting = line.contains(" = ") && !line.starts_with('#');
        assert!(!is_setting || explained, "{line}");
    }
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
}
