//! The operator's book, docs/, says what is so: its links lead somewhere, its configurations are right, its commands exist,
//! and its code is code that is compiled and tested.

#[path = "book/pages.rs"]
mod pages;
#[path = "book/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::repository::{files, root};

use self::pages::{Block, Page, below, for_users, of_the_book};
use self::world::World;

/// Languages of blocks, and what their code is compared with: files, and folders with the endings of names. Those in Markdown
/// are compiled by tests: `tests/new.rs` and those of the SDK's documentation.
const CODE: &[(&str, &[&str], &[&str])] = &[
    (
        "rust",
        &[
            "README.md",
            "PYWEBSOCKET.md",
            "handlers",
            "plugin-api/src/guide/programs.md",
            "plugin-api/src/guide/state.md",
            "server/src/new/templates",
            "tests/fixtures",
        ],
        &[".rs", ".md"],
    ),
    (
        "c",
        &[
            "handlers/c",
            "plugin-api/include",
            "server/src/new/templates",
            "tests/fixtures/c",
        ],
        &[".c", ".h"],
    ),
    (
        "cpp",
        &["server/src/new/templates", "tests/fixtures/c"],
        &[".cpp", ".cc"],
    ),
    ("js", &["handlers/www", "tests/fixtures"], &[".js"]),
    ("nginx", &["config"], &[".conf"]),
    ("haproxy", &["config"], &[".cfg"]),
    ("apache", &["config"], &[".conf"]),
    ("caddyfile", &["config"], &["Caddyfile"]),
    ("ini", &["config"], &[".service", ".socket"]),
    ("yaml", &["config"], &[".yml"]),
    ("python", &["PYWEBSOCKET.md"], &[".md"]),
    ("dockerfile", &["config"], &["Containerfile"]),
];

/// Languages that are checked in another way, or are what a program prints.
/// `console`, `log` and `promql` are for `book_outputs`.
const OTHERS: &[&str] = &["sh", "text", "toml", "json", "console", "log", "promql"];

/// The blocks of these pages in this language.
fn blocks(pages: &[Page], language: &str) -> Vec<Block> {
    let blocks = pages.iter().flat_map(Page::blocks);
    blocks.filter(|block| block.language == language).collect()
}

#[test]
fn every_page_of_the_book_is_in_its_table_of_contents() {
    let summary = below("docs/src");
    let summary = summary
        .iter()
        .find(|page| page.path.ends_with("SUMMARY.md"));
    let listed: Vec<PathBuf> = summary
        .expect("a table of contents")
        .links()
        .into_iter()
        .filter_map(|(_, file, _)| file)
        .collect();

    let pages: BTreeSet<PathBuf> = of_the_book().into_iter().map(|page| page.path).collect();

    assert_eq!(listed.iter().cloned().collect::<BTreeSet<_>>(), pages);
    assert_eq!(listed.len(), pages.len(), "a page is listed twice");
    // docs/build tells links out of the book by that.
    let deep = pages.iter().filter(|page| page.components().count() > 4);
    assert_eq!(deep.count(), 0, "a page lies at most one folder deep");
}

#[test]
fn every_link_between_papers_leads_to_a_file_and_a_heading_that_exist() {
    let pages = below("");
    assert!(pages.len() > 20, "{} pages", pages.len());
    let anchors: BTreeMap<&Path, _> = pages
        .iter()
        .map(|page| (&*page.path, page.anchors()))
        .collect();

    let (mut count, mut faults) = (0, Vec::new());
    for page in &pages {
        let is_of_the_book = page.path.starts_with("docs/src");
        for (link, file, anchor) in page.links() {
            count += 1;
            let file = file.unwrap_or_else(|| page.path.clone());
            let leads = match anchors.get(&*file) {
                Some(anchors) => anchor.is_none_or(|anchor| anchors.contains(&anchor)),
                None => root().join(&file).exists(),
            };
            // docs/build leaves these as they are.
            let leaves = is_of_the_book && !file.starts_with("docs/src");
            if !leads || leaves != (is_of_the_book && link.starts_with("../../")) {
                faults.push(format!("{}: {link}", page.path.display()));
            }
        }
    }
    assert!(count > 100, "{count} links");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_configuration_in_papers_for_users_is_accepted() {
    let mut count = 0;
    for block in &blocks(&for_users(), "toml") {
        let table = block.text.parse::<toml::Table>();
        let table = table.unwrap_or_else(|error| panic!("{}: {error}", block.place));
        match block.mark.as_deref() {
            // config/config.toml has tests of its own, and directories of the repository.
            None if block.text.contains("handlers_dir = \"../handlers\"") => (),
            // README shows all of a manifest, without the mark of the book. `tests/new.rs` builds it.
            None if block.place.starts_with("README.md") && table.contains_key("package") => (),
            None => {
                World::of(&table).check(block);
                count += 1;
            }
            Some("manifest") => assert!(
                table.contains_key("package") || table.contains_key("workspace"),
                "{} is no part of a Cargo.toml",
                block.place
            ),
            Some(other) => panic!("{} has the mark `{other}`", block.place),
        }
    }
    assert!(count > 0);
}

#[test]
fn every_command_of_wshd_in_papers_for_users_exists() {
    let mut commands = BTreeMap::new();
    let pages = for_users();
    for block in blocks(&pages, "sh") {
        let text = block.text.replace("\\\n", " ");
        for line in text.lines() {
            for words in commands_of(line) {
                commands.insert(words, block.place.clone());
            }
        }
    }
    for page in &pages {
        for quoted in page.quoted().iter().filter(|it| it.starts_with("wshd ")) {
            for words in commands_of(quoted) {
                commands.insert(words, page.path.display().to_string());
            }
        }
    }
    assert!(commands.len() > 5, "{commands:?}");

    for (words, place) in commands {
        let mut program = Command::new(env!("CARGO_BIN_EXE_wshd"));
        // What follows `--` is no flag.
        let (flags, behind) = match words.iter().position(|word| word == "--") {
            Some(at) => words.split_at(at),
            None => (&*words, &[][..]),
        };
        let output = program.args(flags).arg("--help").args(behind).output();
        let output = output.expect("wshd runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{place}: wshd {words:?}: {said}");
    }
}

/// The arguments of each `wshd` that a line of a shell starts.
fn commands_of(line: &str) -> Vec<Vec<String>> {
    let words = shlex::split(line).unwrap_or_else(|| panic!("no line of a shell: {line}"));
    let is_end = |word: &String| ["|", "||", "&&", ";", "&"].contains(&word.as_str());
    let commands = words.split(is_end).map(|words| {
        let is_redirection = |word: &&String| word.contains(['>', '<']);
        let words = words.iter().take_while(|word| !is_redirection(word));
        let is_before = |word: &&String| *word == "sudo" || word.contains('=');
        words.skip_while(is_before).cloned().collect::<Vec<_>>()
    });
    commands
        .filter_map(|words| {
            let (program, arguments) = words.split_first()?;
            let is_wshd = Path::new(program).file_name()? == "wshd";
            is_wshd.then(|| arguments.to_vec())
        })
        .collect()
}

#[test]
fn the_code_in_the_book_stands_in_files_that_are_compiled_or_tested() {
    let mut compared = 0;
    for block in of_the_book().iter().flat_map(Page::blocks) {
        let (place, language) = (&block.place, &block.language);
        if OTHERS.contains(&&**language) {
            continue;
        }
        let known = CODE.iter().find(|(name, ..)| name == language);
        let (_, folders, endings) = known
            .unwrap_or_else(|| panic!("{place}: `{language}` is no language that is looked at"));
        let files: Vec<String> = folders
            .iter()
            .flat_map(|folder| files(&root().join(folder), endings))
            .map(|file| without_blanks(&fs::read_to_string(file).expect("a file")))
            .collect();
        for item in block.text.split("\n\n") {
            let wanted = [without_blanks(item), without_blanks(&described(item))];
            let is_there = files
                .iter()
                .any(|file| wanted.iter().any(|it| file.contains(it)));
            assert!(is_there, "{place}: no file of {folders:?} has\n{item}");
            compared += 1;
        }
    }
    assert!(compared > 0);
}

/// An item as a file of tests has it: a crate has one `handler!`, and a file of tests many handlers.
fn described(item: &str) -> String {
    let line = |line: &str| match line.strip_prefix("wsh::handler!(") {
        Some(handler) => format!("descriptor!({})", handler.trim_end_matches(");")),
        None => line.to_owned(),
    };
    item.lines().map(line).collect()
}

/// A text without its white space, and with the name that the book gives to a new handler.
fn without_blanks(text: &str) -> String {
    let text = text.replace("{{name}}", "hello");
    text.split_whitespace().collect()
}
