//! The words of this repository: a name that was replaced does not come back, and comments are written plainly.
//!
//! A renamed thing gets a line here, so that its old name is not mixed with the new one.

use std::fs;
use std::path::{Path, PathBuf};

/// Names that are gone from code and papers, and what says them now. The changelog may name them.
const NAMES: &[(&str, &str)] = &[
    ("take_room", "buffer pool"),
    ("ROOM_BYTES", "buffer pool"),
    ("spares", "buffer pool"),
    ("Pulse", "TimerWheel"),
    ("pulse", "timer wheel"),
    ("Tally", "MoveTracker"),
    ("tally", "move tracker"),
    ("Hold", "Throttle"),
    ("Hop", "BorderBench"),
    ("hop", "the border's bench"),
    ("dispositions", "signal_dispositions"),
    ("patient_threads", "thread_pool"),
    ("Urgency", "Priority"),
    ("urgency", "priority"),
    ("Soon", "MaybeFuture"),
    ("Knock", "UpgradeRequest"),
    ("knock", "handshake"),
    ("Entrance", "RouteMatch"),
    ("Road", "NextStep"),
    ("NoWay", "RouteError"),
    ("Arrival", "Accepted"),
    ("Entering", "HttpConnection"),
    ("Farewell", "RawReply"),
    ("Patience", "TransferTimeouts"),
    ("Places", "Permits"),
    ("News", "Events"),
    ("Keeper", "Reconciler"),
    ("keeper", "reconciler"),
    ("Audience", "waiters"),
    ("audience", "waiters"),
    ("is_barred", "a state of the file"),
    ("waits_for_route", "a state of the file"),
    ("missing_since", "a state of the file"),
    ("Carry", "async state"),
    ("Link", "HostSession"),
    ("request_copy", "pending request"),
    ("Workshop", "BuildLoop"),
    ("workshop", "build loop"),
    ("Shelf", "LibraryDir"),
    ("shelf", "library dir"),
    ("Unmoved", "NotMoved"),
    ("Particulars", "RequestParts"),
    ("Doze", "IdleSleep"),
    ("Sight", "Observation"),
    ("Errand", "ThreadJob"),
];

/// A variant of a crate that reads Markdown, whose name is one of these.
const OF_ANOTHER_CRATE: &str = "Tag::Link";

/// Modules that are gone, whose words mean something else elsewhere.
const MODULES: &[(&str, &str)] = &[
    ("rooms", "buffer_pool"),
    ("held", "unparsed"),
    ("encoded", "prepared_message"),
    ("hold", "throttle"),
    ("soon", "maybe_future"),
    ("carry", "state"),
    ("verdict", "outcome"),
    ("in_c", "c_handlers"),
];

/// Phrases that comments, papers, names of tests, log lines and help do without, and what to write.
const PHRASES: &[(&str, &str)] = &[
    (
        "whoever",
        "name the thing: `the caller`, `the peer`, `a task that`",
    ),
    ("nobody", "name the thing: `no session`, `no other thread`"),
    ("somebody", "name the thing: `a client`, `an operator`"),
    ("The same;", "a comment stands alone: say what it is"),
    ("as before", "a comment stands alone: say how"),
    ("who is", "code is not a person: `that is`"),
];

/// A file of the repository: its path from the root, and its text.
struct Source {
    path: String,
    text: String,
}

#[test]
fn no_name_that_was_replaced_comes_back() {
    let sources = sources();
    assert!(sources.len() > 300, "{} files", sources.len());

    let mut faults = Vec::new();
    for source in sources.iter().filter(|it| it.path != "CHANGELOG.md") {
        for (number, line) in source.text.lines().enumerate() {
            let line = &line.replace(OF_ANOTHER_CRATE, "");
            for (old, new) in NAMES.iter().filter(|(old, _)| has_name(line, old)) {
                faults.push(fault(source, number, old, new));
            }
            for (old, new) in MODULES.iter().filter(|(old, _)| has_module(line, old)) {
                faults.push(fault(source, number, old, new));
            }
        }
        let stem = Path::new(&source.path).file_stem().unwrap_or_default();
        for (old, new) in MODULES.iter().filter(|(old, _)| stem == *old) {
            faults.push(format!("{}: a file `{old}` is now `{new}`", source.path));
        }
    }
    assert!(faults.is_empty(), "old words:\n{}", faults.join("\n"));
}

#[test]
fn comments_papers_and_names_of_tests_are_written_plainly() {
    let sources = sources();

    let mut faults = Vec::new();
    for source in &sources {
        for (number, line) in source.text.lines().enumerate() {
            let prose = prose(&source.path, line);
            for (phrase, instead) in PHRASES.iter().filter(|(it, _)| has_phrase(&prose, it)) {
                faults.push(fault(source, number, phrase, instead));
            }
        }
    }
    assert!(faults.is_empty(), "phrases:\n{}", faults.join("\n"));
}

#[test]
fn log_lines_help_and_messages_are_written_plainly() {
    let sources = sources();
    let said = sources.iter().filter(|it| speaks_to_users(&it.path));
    let literals = said.flat_map(|it| literals(&it.text).into_iter().map(move |found| (it, found)));

    let (mut count, mut faults) = (0, Vec::new());
    // A single word is a name, and no sentence.
    for (source, (number, text)) in literals.filter(|(_, (_, text))| text.contains(' ')) {
        count += 1;
        let prose = outside_backticks(&text);
        for (phrase, instead) in PHRASES.iter().filter(|(it, _)| has_phrase(&prose, it)) {
            faults.push(fault(source, number, phrase, instead));
        }
    }
    assert!(count > 1000, "{count} texts");
    assert!(faults.is_empty(), "phrases:\n{}", faults.join("\n"));
}

#[test]
fn a_text_is_told_from_code_comments_and_other_quotes() {
    let code = "let a = '\"'; // \"no\"\nlet b = \"one \\\"two\\\" \\\n    three\";\nlet c = r#\"a \"b\" c\"#;\nlet d: &'a str;";

    let found = literals(code);

    let texts: Vec<(usize, &str)> = found.iter().map(|(line, text)| (*line, &**text)).collect();
    assert_eq!(
        texts,
        [(1, "one \\\"two\\\" \\\n    three"), (3, "a \"b\" c")]
    );
}

#[test]
fn an_old_word_is_told_from_one_that_has_it_in_it() {
    assert!(has_name("let hop = 1;", "hop"));
    assert!(!has_name("let hops = chop(it);", "hop"));
    assert!(has_module("use crate::rooms::Room;", "rooms"));
    assert!(has_module("mod rooms;", "rooms"));
    assert!(!has_module("\"/rooms/{room}\" = \"/chat\"", "rooms"));

    let said = |line| prose("a.rs", line);
    assert!(has_phrase(&said("/// Whoever comes."), "whoever"));
    assert!(has_phrase(
        &said("fn it_costs_nobody_anything() {"),
        "nobody"
    ));
    assert!(!has_phrase(&said("let name = \"nobody\";"), "nobody"));
    assert!(!has_phrase(&said("// the user `nobody`"), "nobody"));
}

fn fault(source: &Source, line: usize, old: &str, new: &str) -> String {
    let path = &source.path;
    format!("{path}:{}: instead of `{old}`: {new}", line + 1)
}

/// Where a line has this name, and not only as a part of another: what stands before it and behind it.
fn places<'a>(line: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    let around = line.match_indices(name);
    let around = around.map(move |(at, _)| (&line[..at], &line[at + name.len()..]));
    around
        .filter(move |(before, behind)| !before.ends_with(is_part) && !behind.starts_with(is_part))
}

fn has_name(line: &str, name: &str) -> bool {
    places(line, name).next().is_some()
}

/// Whether a line declares a module of this name, or has it in a path.
fn has_module(line: &str, module: &str) -> bool {
    places(line, module).any(|(before, behind)| {
        before.ends_with("::") || behind.starts_with("::") || before.ends_with("mod ")
    })
}

fn has_phrase(prose: &str, phrase: &str) -> bool {
    // A capital in it is meant.
    match phrase.contains(char::is_uppercase) {
        true => prose.contains(phrase),
        false => has_name(&prose.to_lowercase(), phrase),
    }
}

/// What a line says to a reader: a paper's line, a comment, or the name of a test; nothing between backticks.
fn prose(path: &str, line: &str) -> String {
    let comment = |mark: &str| {
        let begins = line.starts_with(mark).then_some(0);
        let begins = begins.or_else(|| line.find(&format!(" {mark}")));
        begins.map_or("", |at| &line[at..])
    };
    let (_, extension) = path.rsplit_once('.').unwrap_or_default();
    let said = match extension {
        "md" => line.to_owned(),
        "rs" => match line.trim().strip_prefix("fn ") {
            Some(name) => name.replace('_', " "),
            None => comment("//").to_owned(),
        },
        "c" | "h" | "cc" | "cpp" | "js" => [comment("//"), comment("/*"), comment("* ")].concat(),
        _ => comment("#").to_owned(),
    };
    outside_backticks(&said)
}

fn outside_backticks(text: &str) -> String {
    let parts = text.split('`').step_by(2);
    parts.collect::<Vec<&str>>().join("`")
}

/// Whether the texts in a file reach users: its code is in no test.
fn speaks_to_users(path: &str) -> bool {
    let is_code = [".rs", ".js", ".c", ".h"]
        .iter()
        .any(|it| path.ends_with(it));
    is_code && !path.split('/').any(|part| part.starts_with("tests"))
}

/// The texts between quotes in Rust, C or JavaScript, each with the number of its line, from 0. Escapes stay as written.
fn literals(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find(['"', '\'', '/']) {
        let (before, from) = rest.split_at(at);
        let hashes = before.len() - before.trim_end_matches('#').len();
        let is_raw = before[..at - hashes].ends_with('r');
        rest = if from.starts_with("//") {
            from.find('\n').map_or("", |end| &from[end..])
        } else if from.starts_with('"') && is_raw {
            let end = format!("\"{}", "#".repeat(hashes));
            let (text, behind) = from[1..].split_once(&end).unwrap_or((&from[1..], ""));
            found.push((line_of(code, from), text.to_owned()));
            behind
        } else if let Some(quoted) = from.strip_prefix('"') {
            let end = end_of_quote(quoted);
            found.push((line_of(code, from), quoted[..end].to_owned()));
            quoted.get(end + 1..).unwrap_or_default()
        } else if let Some(quote) = ["'\"'", "'\\\"'", "'\\''"]
            .iter()
            .find(|it| from.starts_with(**it))
        {
            &from[quote.len()..]
        } else {
            &from[1..]
        };
    }
    found
}

/// Where a quote closes that no backslash stands before.
fn end_of_quote(text: &str) -> usize {
    let mut is_escaped = false;
    let end = text.bytes().position(|byte| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    });
    end.unwrap_or(text.len())
}

/// The number of the line in which `rest`, the end of `code`, begins.
fn line_of(code: &str, rest: &str) -> usize {
    let before = &code[..code.len() - rest.len()];
    before.matches('\n').count()
}

/// Every text of the repository that is written by hand, but for this one.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut sources = Vec::new();
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(root.join(&directory)).expect("a directory") {
            let entry = entry.expect("an entry");
            let path = directory.join(entry.file_name());
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type().expect("a type").is_dir() {
                if !LEFT_OUT.contains(&&*name) {
                    directories.push(path);
                }
            } else if WRITTEN.iter().any(|it| name.ends_with(it)) && name != "vocabulary.rs" {
                let text = fs::read(root.join(&path)).expect("a file");
                let text = String::from_utf8_lossy(&text).into_owned();
                let path = path.to_string_lossy().into_owned();
                sources.push(Source { path, text });
            }
        }
    }
    sources
}

const LEFT_OUT: &[&str] = &[".git", "target", "seeds", "served", "artifacts", "corpus"];
const WRITTEN: &[&str] = &[
    ".rs", ".md", ".toml", ".c", ".h", ".cc", ".cpp", ".js", ".py", "run", ".txt", ".service",
];
