//! What the papers say of tests is true: the table of claims in tests/README.md, that of the fuzz targets, PYWEBSOCKET.md, and LESSONS.md.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::harness::repository::{files, read, root};
use crate::harness::server::Server;
use crate::harness::site::Site;

/// What stands between backticks in the column `shown by`.
fn shown_by() -> Vec<String> {
    let readme = read("tests/README.md");
    let (_, claims) = readme.split_once("\n## What is claimed").expect("claims");
    let claims = claims.split("\n## ").next().unwrap_or_default();
    let rows = claims.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.trim_end_matches('|').rsplit('|').next());
    cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned))
        .collect()
}

#[test]
fn every_test_and_file_in_the_table_of_claims_exists() {
    let shown_by = shown_by();
    assert!(shown_by.len() > 80, "{shown_by:?}");
    let tests = ["tests", "plugin-api/tests", "plugin-api/src", "server/src"];
    let tests: Vec<String> = tests
        .iter()
        .flat_map(|directory| files(&root().join(directory), &[".rs"]))
        .map(|path| fs::read_to_string(path).expect("a source"))
        .collect();

    for shown in shown_by {
        let exists = match shown.split(' ').next() {
            Some(path) if path.contains('/') => root().join(path).exists(),
            _ => {
                let function = format!("fn {shown}(");
                tests.iter().any(|source| source.contains(&function))
            }
        };
        assert!(
            exists,
            "tests/README.md names `{shown}`, which does not exist"
        );
    }
}

#[test]
fn every_file_of_integration_tests_is_in_the_table_of_claims() {
    let shown_by = shown_by();
    let main = read("tests/main.rs");
    let modules = main.lines().filter_map(|line| line.strip_prefix("mod "));
    let modules: Vec<&str> = modules
        .map(|module| module.trim_end_matches(';'))
        .filter(|module| *module != "harness")
        .collect();
    assert!(modules.len() > 50, "{modules:?}");

    for module in modules {
        let file = format!("tests/{module}.rs");
        assert!(
            shown_by.contains(&file),
            "tests/README.md says of no claim that `{file}` shows it"
        );
    }
}

#[test]
fn every_test_that_is_left_out_under_a_sanitizer_exists() {
    let lists = files(&root().join("tests/sanitizers"), &[".left_out"]);
    assert_eq!(lists.len(), 2, "{lists:?}");
    for list in lists {
        let list = fs::read_to_string(list).expect("a list");
        for line in list.lines().filter(|line| !line.starts_with('#')) {
            let (name, reason) = line.split_once("  ").expect("a name and a reason");
            assert!(reason.ends_with('.'), "{line}");
            let (module, test) = name.rsplit_once("::").expect("a module");
            let source = root().join(format!("tests/{}.rs", module.replace("::", "/")));
            let source = fs::read_to_string(source).expect("its module is there");
            assert!(
                test.is_empty() || source.contains(&format!("fn {test}(")),
                "{name} does not exist"
            );
        }
    }
}

#[test]
fn every_fuzz_target_calls_a_function_that_exists_and_is_in_the_table() {
    let functions = read("server/src/testing/fuzzing.rs");
    let (manifest, readme) = (read("tests/fuzz/Cargo.toml"), read("tests/fuzz/README.md"));
    let targets = files(&root().join("tests/fuzz/fuzz_targets"), &[".rs"]);
    assert!(targets.len() > 5, "{targets:?}");

    for target in targets {
        let name = target.file_stem().expect("a name").to_string_lossy();
        let source = fs::read_to_string(&target).expect("a source");
        let call = format!("wshd::testing::fuzzing::{name}(data)");
        assert!(source.contains(&call), "{name} does not call `{call}`");
        for (text, wanted) in [
            (&functions, format!("pub fn {name}(data: &[u8])")),
            (&manifest, format!("name = \"{name}\"")),
            (&readme, format!("| `{name}` |")),
        ] {
            assert!(text.contains(&wanted), "{name}: `{wanted}` is missing");
        }
    }
}

#[test]
fn every_test_of_abuse_has_its_row_and_what_holds_it_exists() {
    let readme = read("tests/abuse/README.md");
    let table = read("tests/abuse/src/table.rs");
    let sources: Vec<String> = ["tests", "server/src"]
        .iter()
        .flat_map(|directory| files(&root().join(directory), &[".rs"]))
        .map(|path| fs::read_to_string(path).expect("a source"))
        .collect();
    let exists = |shown: &str| match shown.split(' ').next() {
        Some("cargo") => true,
        Some(path) if path.contains('/') => root().join(path).exists(),
        _ => {
            let function = format!("fn {shown}(");
            sources.iter().any(|source| source.contains(&function))
        }
    };

    let rows = readme.lines().filter_map(|line| line.strip_prefix("| "));
    let numbered = rows.filter(|row| row.starts_with(|it: char| it.is_ascii_digit()));
    let mut numbers = Vec::new();
    for row in numbered {
        let cells: Vec<&str> = row.trim_end_matches(" |").split(" | ").collect();
        let [number, _, criterion, figure, result, held_by] = cells[..] else {
            panic!("{row}");
        };
        numbers.push(number.parse::<usize>().expect("a number"));
        // A program that was built from older sources may have written the row.
        assert!(table.contains(&format!("{criterion:?}")), "{row}");
        assert!(!result.is_empty(), "{row}");
        // A test that is added has to be run once, as the page says.
        assert!(figure != "–" && result != "not run", "{row}");
        for shown in held_by.split('`').skip(1).step_by(2) {
            assert!(
                exists(shown),
                "test {number} names `{shown}`, which does not exist"
            );
            // The page is written from the table.
            assert!(
                table.contains(&format!("\"{shown}\"")),
                "the table lacks `{shown}`"
            );
        }
    }
    assert_eq!(numbers, (1..=54).collect::<Vec<_>>());
}

#[test]
fn each_lesson_of_a_known_vulnerability_has_tests_that_hold_it() {
    let paper = read("tests/LESSONS.md");
    let rows = rows(&paper);
    assert_eq!(rows.len(), 25);
    for (index, row) in rows.iter().enumerate() {
        let [number, _, _, tests] = row[..] else {
            panic!("{row:?}");
        };
        assert_eq!(number.parse(), Ok(index + 1), "{row:?}");
        for test in tests.split("; ") {
            let (file, name) = test.split_once(": ").expect("a file and a test");
            let (file, name) = (file.trim_matches('`'), name.trim_matches('`'));
            assert!(is_test(file, name), "{file} has no test `{name}`");
        }
    }
}

/// The paper for those who come from pywebsocket.
fn pywebsocket() -> String {
    read("PYWEBSOCKET.md")
}

/// What stands below this heading of the second level.
fn section<'a>(paper: &'a str, heading: &str) -> &'a str {
    let heading = format!("\n## {heading}\n");
    let (_, below) = paper.split_once(&heading).expect("the section");
    below.split("\n## ").next().unwrap_or_default()
}

/// The rows of all tables there, without their heads, each as its cells.
fn rows(section: &str) -> Vec<Vec<&str>> {
    let lines: Vec<&str> = section.lines().collect();
    let is_ruler = |line: &str| line.starts_with("|--");
    let is_head = |at: usize| lines.get(at + 1).is_some_and(|next| is_ruler(next));
    let is_row = |at: &usize| lines[*at].starts_with("| ") && !is_head(*at);
    let cells = |at: usize| {
        let row = lines[at].trim_start_matches("| ").trim_end_matches(" |");
        row.split(" | ").map(str::trim).collect()
    };
    (0..lines.len()).filter(is_row).map(cells).collect()
}

/// The code blocks in this language.
fn blocks<'a>(paper: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("\n```{language}\n");
    let parts = paper.split(&fence).skip(1);
    let block = |part: &'a str| part.split("\n```").next().unwrap_or_default();
    parts.map(block).collect::<Vec<&str>>()
}

/// Whether the file has a test of this name.
fn is_test(file: &str, name: &str) -> bool {
    let source = read(file);
    let found = source.split_once(&format!("fn {name}("));
    // The cases of browsers have no attribute. A table names them.
    if file.starts_with("tests/browser/") {
        let table = read("tests/browser/main.rs");
        return found.is_some() && table.contains(&format!(" {name}"));
    }
    found.is_some_and(|(before, _)| {
        let mut lines = before
            .lines()
            .rev()
            .skip_while(|line| line.trim().is_empty());
        let line = lines.next().unwrap_or_default();
        // `fn` may stand behind `async`.
        let attribute = if line.contains("test]") {
            Some(line)
        } else {
            lines.next()
        };
        attribute.is_some_and(|line| line.contains("test"))
    })
}

#[test]
fn every_row_for_those_who_come_from_pywebsocket_has_its_tests_or_its_reason() {
    let paper = pywebsocket();
    let mut tests = BTreeMap::new();
    for row in rows(section(&paper, "Tests")) {
        let [number, file, name] = row[..] else {
            panic!("{row:?}");
        };
        let (file, name) = (file.trim_matches('`'), name.trim_matches('`'));
        assert!(is_test(file, name), "{file} has no test `{name}`");
        assert_eq!(tests.insert(number, name), None, "number {number}");
    }

    let rows = rows(section(&paper, "What it has, point by point"));
    assert!(rows.len() > 150, "{} rows", rows.len());
    let mut used = BTreeSet::new();
    for row in rows {
        let [_, _, how, shown_by] = row[..] else {
            panic!("{row:?}");
        };
        let is_left_out = how.starts_with("left out: ");
        let is_served = how.starts_with("same") || how.starts_with("better");
        assert!(is_left_out || is_served, "{row:?}");
        if is_left_out && shown_by == "–" {
            continue;
        }
        for number in shown_by.split(", ") {
            assert!(tests.contains_key(number), "no test {number}: {row:?}");
            used.insert(number);
        }
    }
    tests.retain(|number, _| !used.contains(number));
    assert!(tests.is_empty(), "no row has {tests:?}");
}

#[test]
fn the_tests_of_pywebsocket_that_fail_are_told_with_the_reason() {
    let script = read("tests/pywebsocket/run.py");
    let (_, expected) = script.split_once("\nDIFFERENT = {").expect("a list");
    let expected = expected.split('}').next().unwrap_or_default();
    let names = expected.split('"').filter(|it| it.starts_with("test_"));
    let names: Vec<&str> = names.collect();
    assert_eq!(names.len(), 3, "{names:?}");

    let paper = pywebsocket();
    let told = section(&paper, "Its own tests");
    for name in names {
        assert!(told.contains(&format!("`{name}`")), "not `{name}`");
    }
}

#[test]
fn the_answers_that_differ_from_those_of_pywebsocket_are_counted() {
    let file = root().join("tests/pywebsocket/differences.txt");
    let differences = fs::read_to_string(file).expect("the differences");
    let count = differences.matches("\n  there  ").count();
    assert!(count > 20, "{count}");

    let words: Vec<_> = pywebsocket()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    let told = format!("[{count} differences](tests/pywebsocket/differences.txt)");
    assert!(
        words.join(" ").contains(&told),
        "PYWEBSOCKET.md lacks `{told}`"
    );
}

#[test]
fn what_is_shown_to_those_who_come_from_pywebsocket_is_compiled_and_tested() {
    let without_blanks = |text: &str| text.split_whitespace().collect::<String>();
    let tested = fs::read_to_string(root().join("plugin-api/tests/pywebsocket.rs"));
    let tested = without_blanks(&tested.expect("the handlers that are shown"));
    let paper = pywebsocket();
    let shown = blocks(&paper, "rust");
    assert!(shown.len() > 10, "{} handlers", shown.len());

    for item in shown.iter().flat_map(|block| block.split("\n\n")) {
        // A crate has one `handler!`, and the file of tests many handlers.
        let wanted = match item.strip_prefix("wsh::handler!(") {
            Some(handler) => format!("descriptor!({})", handler.trim_end_matches(");")),
            None => item.to_owned(),
        };
        let is_tested = tested.contains(&without_blanks(&wanted));
        assert!(is_tested, "plugin-api/tests/pywebsocket.rs lacks\n{wanted}");
    }
}

#[test]
fn the_configuration_for_those_who_come_from_pywebsocket_is_right() {
    let paper = pywebsocket();
    let [config] = blocks(&paper, "toml")[..] else {
        panic!("one configuration");
    };
    let site = Site::with(&["echo_wsh"]);
    site.write("config.toml", config);

    let output = Server::bare(&site).arg("check").output();

    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
}
