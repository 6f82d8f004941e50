//! Words of the program that the book explains or shows: fields, causes, lines of the log.

use std::collections::BTreeSet;
use std::fs;

use super::page;
use super::shape::fields_of;
use super::transcripts::blocks;
use crate::harness::repository::{files, read, root};
use crate::harness::server::Server;
use crate::harness::site::Site;

/// The first cells of all tables on the page whose head begins with `heading`, without backticks.
pub(super) fn first_cells(page: &str, heading: &str) -> BTreeSet<String> {
    let lines: Vec<&str> = page.lines().collect();
    let head = format!("| {heading} |");
    let at = lines.iter().position(|line| line.starts_with(&head));
    let at = at.unwrap_or_else(|| panic!("no table `{head}`"));
    let rows = lines[at + 2..]
        .iter()
        .take_while(|line| line.starts_with('|'));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

/// The texts between quotation marks behind each `before`, in a piece of a source.
pub(super) fn literals(source: &str, before: &str) -> BTreeSet<String> {
    let parts = source.split(before).skip(1);
    let literals = parts.filter_map(|part| part.split('"').next());
    literals.map(str::to_owned).collect()
}

/// What stands in a source from `from` on, up to `to`.
#[track_caller]
pub(super) fn between<'a>(source: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = source
        .split_once(from)
        .unwrap_or_else(|| panic!("no `{from}`"));
    rest.split(to).next().expect("a first part")
}

#[test]
fn every_field_and_every_cause_of_the_line_of_a_session_is_explained() {
    let page = page("operate/logs.md");
    let source = read("server/src/session/log_lines.rs");
    let names = between(&source, "fn name_in", "\n    }\n");
    let ends = between(&source, "fn log_end", "\n    }\n");
    let mut fields = BTreeSet::from(["time", "level", "message"].map(str::to_owned));
    for (piece, method) in [names, ends]
        .into_iter()
        .flat_map(|it| [(it, "line.text(\""), (it, "line.number(\"")])
    {
        fields.append(&mut literals(piece, method));
    }
    assert!(fields.len() > 18, "{fields:?}");
    assert_eq!(first_cells(&page, "field"), fields);

    let source = read("server/src/sessions/cause.rs");
    let table = between(&source, "    fn row", "\n    }\n");
    let words = table.split('"').skip(1).step_by(2);
    let mut causes: BTreeSet<String> = words.map(str::to_owned).collect();
    // A session without a cause.
    causes.insert("server_failed".to_owned());
    assert!(causes.len() > 20, "{causes:?}");
    assert_eq!(first_cells(&page, "cause"), causes);
}

#[test]
fn the_line_of_a_session_looks_as_the_book_shows_it() {
    let page = page("operate/logs.md");
    let blocks = blocks(&page, "log");
    let shown: Vec<&str> = blocks
        .iter()
        .flat_map(|block| block.lines())
        .filter(|line| line.contains("session closed"))
        .collect();
    let [json, text] = shown[..] else {
        panic!("one as JSON and one as text: {shown:?}");
    };
    for (format, shown) in [("json", json), ("text", text)] {
        let site = Site::with(&["echo_wsh"]);
        let server = Server::bare(&site)
            .args(["-p", "0"])
            .env("WSHD_ACCESS_LOG_FORMAT", format)
            .start();
        let mut client = server.connect("/echo");
        client.ask("hello");
        client.close(1000);

        let line = server.line(&["session closed"]);

        assert_eq!(fields_of(&line), fields_of(shown), "{format}");
    }
}

#[test]
fn the_files_for_proxies_say_the_interval_of_pings_that_is_the_default() {
    let reference = read("config/REFERENCE.md");
    let row = between(&reference, "| `ping_interval_ms` | ", " |");
    let seconds = row.parse::<u64>().expect("a number") / 1_000;
    let mut count = 0;
    for file in fs::read_dir(root().join("config/proxies")).expect("a folder") {
        let text = fs::read_to_string(file.expect("a file").path()).expect("text");
        let named = "`ping_interval_ms`, which is ";
        for said in text.split(named).skip(1) {
            count += 1;
            assert!(
                said.starts_with(&format!("{seconds} s by default")),
                "{said}"
            );
        }
    }
    assert_eq!(count, 3);
}

#[test]
fn every_line_of_the_log_in_the_table_of_troubles_is_one_of_the_programs() {
    let page = page("operate/trouble.md");
    let sources = sources();
    let rows = page
        .lines()
        .filter(|line| line.starts_with("| "))
        .filter(|line| line.matches(" | ").count() == 3);
    let mut count = 0;
    for row in rows.skip(1) {
        let lines = row.split(" | ").nth(1).expect("a second cell");
        for line in lines.split("``").skip(1).step_by(2) {
            count += 1;
            for piece in line
                .split('…')
                .map(without_blanks)
                .filter(|it| !it.is_empty())
            {
                assert!(sources.contains(&piece), "nothing logs `{piece}`: {row}");
            }
        }
    }
    assert!(count > 15, "{count} lines");
}

#[test]
fn every_line_of_a_log_in_the_book_has_a_sentence_and_fields_of_the_programs() {
    let sources = sources();
    let mut count = 0;
    for file in files(&root().join("docs/src"), &[".md"]) {
        let page = fs::read_to_string(&file).expect("a page");
        for line in blocks(&page, "log").iter().flat_map(|it| it.lines()) {
            if line.starts_with('{') {
                // The line of a session, which has a test of its own.
                continue;
            }
            count += 1;
            let level = ["ERROR ", "WARN ", "INFO "];
            let said = level.iter().find_map(|it| line.split_once(it));
            let (_, said) = said.unwrap_or_else(|| panic!("{}: {line}", file.display()));
            // What a sentence says of names and numbers stands behind its first part.
            let end = said.find([';', ':', '=', '"', '`']).unwrap_or(said.len());
            let mut sentence = &said[..end];
            if said[end..].starts_with('=') {
                sentence = sentence.rsplit_once(' ').map_or("", |(it, _)| it);
            }
            // A signal's name is put before this one.
            let sentence = sentence.strip_prefix("SIGTERM").unwrap_or(sentence);
            let fields = fields_of(said);
            let place = file.display();
            assert!(
                sources.contains(&without_blanks(sentence)),
                "{place}: nothing logs `{sentence}`"
            );
            for field in fields
                .iter()
                .filter(|it| it.chars().all(|it| it.is_ascii_lowercase() || it == '_'))
            {
                assert!(sources.contains(field), "{place}: no field `{field}`");
            }
        }
    }
    assert!(count > 15, "{count} lines");
}

/// All sources of the program, without blanks.
fn sources() -> String {
    let files = files(&root().join("server/src"), &[".rs"]);
    let texts = files
        .iter()
        .map(|file| fs::read_to_string(file).expect("a source"));
    let text: String = texts.map(|text| text.replace("\\\"", "\"")).collect();
    // A literal may go on in the next line.
    without_blanks(&text.replace("\\\n", ""))
}

fn without_blanks(text: &str) -> String {
    text.split_whitespace().collect()
}
