//! `wshd new`, as somebody uses it who has nothing but the binary: in an empty directory.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use crate::harness::server::Server;
use crate::harness::site::Site;

/// Cargo builds a little here, on a machine that others may use too.
const BUILT: Duration = Duration::from_secs(120);

/// `wshd new` with these words, in the site's root.
fn new(site: &Site, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wshd"));
    command.current_dir(site.root()).arg("new").args(words);
    command.output().expect("wshd runs")
}

#[track_caller]
fn refusal(site: &Site, words: &[&str]) -> String {
    let output = new(site, words);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(output.stdout, b"");
    String::from_utf8(output.stderr).expect("text")
}

/// Runs a program there, which must succeed; answers what it wrote to stdout. One target directory
/// serves all, so that the SDK is built once.
#[track_caller]
fn run(site: &Site, directory: &str, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .current_dir(site.root().join(directory))
        .env("CARGO_TARGET_DIR", site.root().join("target"))
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{program} in {directory}:\n{}\n{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// The one that runs this test.
fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

#[test]
fn a_new_handler_of_each_style_passes_its_test_and_is_served_at_once() {
    let site = Site::empty();
    let styles = ["event", "async", "blocking", "c", "cpp"];
    for style in styles {
        let made = new(&site, &[&format!("mine/in_{style}"), "--style", style]);
        assert!(made.status.success(), "{made:?}");
    }

    for style in styles {
        let directory = format!("mine/in_{style}");
        let (tested, passed) = match style {
            "c" | "cpp" => (run(&site, &directory, "make", &["check"]), "ok"),
            // It needs no registry: there is nothing but the SDK, and that lies in it.
            _ => (
                run(&site, &directory, &cargo(), &["test", "--offline"]),
                "1 passed",
            ),
        };
        assert!(tested.contains(passed), "{tested}");
    }
    let server = Server::bare(&site)
        .env(
            "CARGO_TARGET_DIR",
            &site.root().join("target").to_string_lossy(),
        )
        .args(["dev", "mine", "-p", "0"])
        .start();

    for style in styles {
        server.line_within(BUILT, &[&format!("in_{style}_wsh"), "ws://localhost:"]);
        let mut client = server.connect(&format!("/in_{style}"));
        assert_eq!(client.ask("Ann"), "hello Ann");
    }
}

#[test]
fn a_new_handler_is_served_alone_with_its_page() {
    let site = Site::empty();
    assert!(new(&site, &["hello", "--style", "c"]).status.success());

    let server = Server::bare(&site)
        .args(["dev", "hello", "-p", "0"])
        .start();

    server.line_within(BUILT, &["hello_wsh  ws://localhost:", "/hello"]);
    server.line(&["pages", "http://localhost:"]);
    assert_eq!(server.connect("/hello").ask("Ann"), "hello Ann");
    let page = server.exchange(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(page.contains("<h1>/hello</h1>"), "{page}");
}

#[test]
fn a_new_handler_says_what_it_is_and_what_to_do_next() {
    let site = Site::empty();

    let made = new(&site, &["hello"]);

    assert_eq!(
        String::from_utf8(made.stdout).expect("text"),
        "made `hello`, a handler of events, which answers at /hello
  hello/src/lib.rs  the handler
  hello/www/        a page that talks to it
  hello/wsh/        what it is built with

serve it, and build again what you save:
  wshd dev hello
run its test:
  cd hello && cargo test
"
    );
    assert_eq!(made.status.code(), Some(0));
    let ignored = std::fs::read_to_string(site.root().join("hello/.gitignore"));
    assert_eq!(ignored.expect("a file"), "/target/\n");
}

#[test]
fn handlers_in_c_and_cpp_share_the_sdk_beside_them_unless_it_is_of_another_wshd() {
    let site = Site::empty();
    let root = site.root().join("mine");
    assert!(new(&site, &["mine/tea", "--style", "c"]).status.success());
    std::fs::rename(root.join("tea/wsh"), root.join("wsh")).expect("it is moved");

    let made = new(&site, &["mine/milk", "--style", "cpp"]);

    let report = String::from_utf8(made.stdout).expect("text");
    let shared = "
  mine/milk/milk.cpp  the handler
  mine/milk/www/      a page that talks to it
  mine/wsh/           what it is built with
";
    assert!(report.contains(shared), "{report}");
    assert_eq!(
        files(&root.join("milk")),
        [
            ".gitignore",
            "Makefile",
            "README.md",
            "milk.cpp",
            "tests",
            "www"
        ]
    );
    for handler in ["mine/tea", "mine/milk"] {
        assert!(run(&site, handler, "make", &["check", "all"]).contains("ok"));
    }
    // That of the handlers counts, not that of the program.
    let header = root.join("wsh/include/wsh.h");
    let text = std::fs::read_to_string(&header).expect("the header");
    site.write(
        "mine/wsh/include/wsh.h",
        &format!("{text}#define HELLO \"ciao \"\n"),
    );
    let tea = std::fs::read_to_string(root.join("tea/tea.c")).expect("the handler");
    site.write("mine/tea/tea.c", &tea.replace("\"hello \"", "HELLO"));
    let server = Server::bare(&site)
        .args(["dev", "mine/tea", "-p", "0"])
        .start();
    server.line_within(BUILT, &["tea_wsh  ws://localhost:"]);
    assert_eq!(server.connect("/tea").ask("Ann"), "ciao Ann");
    site.write(
        "mine/wsh/include/wsh.h",
        &format!("{text}#define HELLO \"salve \"\n"),
    );
    server.line_within(BUILT, &["tea_wsh: live in "]);
    assert_eq!(server.connect("/tea").ask("Ann"), "salve Ann");

    let made = new(&site, &["mine/juice", "--style", "c"]);
    let report = String::from_utf8(made.stdout).expect("text");
    let advice = "
`mine/wsh` is of another wshd, so `juice` has its own; to have one of this wshd for all handlers beside it:
  rm -r mine/wsh && mv mine/juice/wsh mine/wsh
";
    assert!(report.ends_with(advice), "{report}");
    assert!(files(&root.join("juice")).contains(&"wsh".to_owned()));
}

#[test]
fn what_is_there_already_is_left_as_it_is() {
    let site = Site::empty();
    site.write("mine/notes.txt", "mine");
    site.write("file", "mine");

    assert_eq!(
        refusal(&site, &["mine"]),
        "wshd: cannot make `mine`: it is there already, and not empty; choose another name, or remove it\n"
    );
    assert_eq!(
        refusal(&site, &["file", "--style", "c"]),
        "wshd: cannot make `file`: it is there already, and no directory; choose another name, or remove it\n"
    );

    assert_eq!(files(&site.root().join("mine")), ["notes.txt"]);
    assert_eq!(files(site.root()), ["file", "handlers", "mine"]);
    let empty = new(&site, &["handlers"]);
    assert!(empty.status.success(), "an empty one is filled: {empty:?}");
}

#[test]
fn a_name_that_no_handler_can_have_is_refused_with_one_that_it_can() {
    let site = Site::empty();

    assert_eq!(
        refusal(&site, &["my-hello"]),
        "wshd: `my-hello` cannot be the name of a handler: wanted a lowercase letter, then lowercase letters, \
         digits and `_`, 59 in all at most, such as `my_hello`\n"
    );

    assert_eq!(files(site.root()), ["handlers"]);
}

fn files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("the directory is there");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into()).collect();
    names.sort();
    names
}
