//! config/REFERENCE.md is the table of settings, for people who look something up.
//!
//! `WSHD_BLESS=1 cargo test -p wshd --lib config` writes it anew; read the difference before you keep it.

use std::fmt::Write as _;

use super::table::{Row, Section, own_rows, rows};
use super::*;
use crate::config::environment::variable;

#[test]
fn the_reference_is_the_table_of_settings() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/REFERENCE.md");
    let page = page();
    if std::env::var_os("WSHD_BLESS").is_some() {
        fs::write(&file, &page).expect("writing");
    }
    let written = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        page == written,
        "config/REFERENCE.md is not what the table says; `WSHD_BLESS=1 cargo test -p wshd --lib config` writes it"
    );
}

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    let rows = rows();
    let keys = |wanted: Section| {
        rows.iter()
            .filter(move |row| row.section == wanted && row.applies.is_some())
    };
    page += "\n## At the top of the file\n\n";
    settings(&mut page, keys(Section::Top));
    page += "\n## At the top of the file, or in a handler's table\n\n";
    settings(&mut page, keys(Section::TopOrHandler));
    page += "\n## In a handler's table `[handler.NAME]` only\n\n";
    settings(&mut page, own_rows().iter());
    page += "\n## Flags without a key of their name\n\n";
    page += "| Flag | Variable | Value | Default | What it does |\n|---|---|---|---|---|\n";
    for row in rows.iter().filter(|row| row.applies.is_none()) {
        let default = row.default.as_deref().unwrap_or("none");
        let variable = variable(row.name);
        let _ = writeln!(
            page,
            "| {} | `{variable}` | {} | {default} | {} |",
            flag(row),
            row.kind,
            row.about
        );
    }
    page += "\n## Under `[limits]`, of the server as a whole\n\n";
    limits(&mut page, keys(Section::Limits));
    page += "\n## Under `[limits]`, or in a handler's table\n\n";
    limits(&mut page, keys(Section::LimitsOrHandler));
    page
}

fn settings<'a>(page: &mut String, rows: impl Iterator<Item = &'a Row>) {
    *page += "| Key | Value | Default | Flag, variable | Applies | What it does |\n|---|---|---|---|---|---|\n";
    for row in rows {
        let default = row
            .default
            .as_ref()
            .map_or_else(|| "none".to_owned(), |it| format!("`{it}`"));
        let flag = match row.is_flag {
            true => format!("{}, `{}`", flag(row), variable(row.name)),
            false => String::new(),
        };
        let applies = row.applies.expect("it is a key").words();
        let _ = writeln!(
            page,
            "| `{}` | {} | {default} | {flag} | {applies} | {} |",
            row.name, row.kind, row.about
        );
    }
}

fn limits<'a>(page: &mut String, rows: impl Iterator<Item = &'a Row>) {
    *page +=
        "| Key | Default | Unit | Range | Applies | What it limits |\n|---|---:|---|---|---|---|\n";
    for row in rows {
        let range = row.range.as_ref().expect("it is a limit");
        let default = row.default.as_deref().unwrap_or_default();
        let applies = row.applies.expect("it is a key").words();
        let _ = writeln!(
            page,
            "| `{}` | {default} | {} | {} to {} | {applies} | {} |",
            row.name,
            row.unit,
            range.start(),
            range.end(),
            row.about
        );
    }
}

fn flag(row: &Row) -> String {
    let long = row.name.replace('_', "-");
    match row.short {
        Some(short) => format!("`-{short}`, `--{long}`"),
        None => format!("`--{long}`"),
    }
}

const INTRODUCTION: &str = "\
# Every key, flag and variable

This page is made from the table in `server/src/config/settings/`, and a test holds it to that table.
`config.toml` beside it explains each key; `wshd --help` explains each flag.

A flag beats its variable, that beats the file, that beats the default. The file says when a change
applies: *at once* to everything from then on, *next connection* and *next session* to those that begin
from then on, *next load* to handlers that are loaded from then on, *restart* not before the server is
started again.
";
