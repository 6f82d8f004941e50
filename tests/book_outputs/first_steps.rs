//! The pages for those who begin: what they show is printed in a directory with two handlers.

use super::World;
use crate::harness::repository::{files, read, root};

#[test]
fn the_version_is_printed_as_the_book_shows() {
    World::new().holds("introduction.md");
}

#[test]
fn a_new_handler_is_told_of_as_the_book_shows() {
    World::new().holds("run/develop.md");
}

#[test]
fn checks_and_the_client_print_what_the_book_shows() {
    World::new().holds("run/serve.md");
}

#[test]
fn a_wrong_configuration_is_told_of_as_the_book_shows() {
    World::new().holds("configure.md");
}

#[test]
fn a_handler_in_c_is_made_and_tested_as_the_book_shows() {
    World::new().holds("write/c.md");
}

#[test]
fn every_page_with_a_transcript_is_compared() {
    let tests = read("tests/book_outputs.rs") + &read("tests/book_outputs/first_steps.rs");
    let book = root().join("docs/src");
    let mut count = 0;
    for path in files(&book, &[".md"]) {
        let text = std::fs::read_to_string(&path).expect("a page");
        if text.contains("\n```console\n") {
            let page = path.strip_prefix(&book).expect("it lies in the book");
            let holds = format!(".holds(\"{}\")", page.display());
            assert!(tests.contains(&holds), "no test has `{holds}`");
            count += 1;
        }
    }
    assert!(count > 5, "{count} pages");
}
