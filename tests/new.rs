//! `wshd new` in an empty directory, where there is nothing but the binary.

mod sdk;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::harness::server::Server;
use crate::harness::site::Site;

/// How long a build of cargo may take on a busy machine.
const BUILT: Duration = Duration::from_secs(120);

const OURS: &str = env!("CARGO_PKG_VERSION");

/// Runs `wshd new` with these arguments in the site's root.
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

/// Empties the directory of this name and returns it. Its path is always the same, so that what its crates depend on stays
/// built for the next run.
fn crates_dir(name: &str) -> PathBuf {
    let place = built().join(name);
    let _ = std::fs::remove_dir_all(&place);
    std::fs::create_dir_all(&place).expect("a directory for crates");
    place
}

fn built() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("new")
}

fn command(directory: &Path, program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(directory)
        .env("CARGO_TARGET_DIR", built().join("target"))
        .env_remove("WSHD")
        .args(arguments);
    command
}

/// Runs a program there, which must succeed. Returns what it wrote to stdout.
#[track_caller]
fn run(directory: &Path, program: &str, arguments: &[&str]) -> String {
    succeed(command(directory, program, arguments))
}

#[track_caller]
fn succeed(mut command: Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}:\n{}", all_of(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn all_of(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}", text(&output.stdout), text(&output.stderr))
}

/// The cargo that runs this test.
fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

#[test]
fn new_handlers_of_all_styles_share_an_sdk_pass_their_tests_and_are_served_at_once() {
    let (site, mine) = (Site::empty(), crates_dir("mine"));
    let styles = ["events", "async", "blocking", "c", "cpp"];
    for style in styles {
        let place = mine.join(format!("in_{style}"));
        let made = new(&site, &[place.to_str().expect("UTF-8"), "--style", style]);
        assert!(made.status.success(), "{made:?}");
    }

    assert_eq!(
        files(&mine),
        [
            "in_async",
            "in_blocking",
            "in_c",
            "in_cpp",
            "in_events",
            "wsh"
        ]
    );
    for style in styles {
        let directory = mine.join(format!("in_{style}"));
        assert!(
            !directory.join("wsh").exists(),
            "{style} has an SDK of its own"
        );
        let (tested, passed) = match style {
            "c" | "cpp" => (run(&directory, "make", &["check"]), "ok"),
            // One of the two is on a `wshd`: the one that made the handler.
            _ => (
                run(&directory, &cargo(), &["test", "--offline"]),
                "2 passed",
            ),
        };
        assert!(tested.contains(passed), "{tested}");
    }
    let server = Server::bare(&site)
        .env(
            "CARGO_TARGET_DIR",
            &built().join("target").to_string_lossy(),
        )
        .arg("dev")
        .arg(&mine)
        .args(["-p", "0"])
        .start();

    for style in styles {
        server.line_within(BUILT, &[&format!("in_{style}_wsh"), "ws://localhost:"]);
        let mut client = server.connect(&format!("/in_{style}"));
        assert_eq!(client.ask("Ann"), "hello Ann");
    }
}

#[test]
fn a_test_on_a_server_says_where_it_looks_for_one_and_survives_a_move() {
    let (site, before) = (Site::empty(), crates_dir("before"));
    let place = before.join("tea");
    assert!(
        new(&site, &[place.to_str().expect("UTF-8")])
            .status
            .success()
    );
    // The handler and its SDK move.
    let after = crates_dir("after");
    std::fs::remove_dir(&after).expect("it is empty");
    std::fs::rename(&before, &after).expect("it is moved");
    let tea = after.join("tea");

    let test = ["test", "--offline", "a_server_greets"];
    let cargo = cargo();
    let with = |wshd: &str| {
        let mut command = command(&tea, &cargo, &test);
        command.env("WSHD", wshd);
        command
    };

    assert!(run(&tea, &cargo, &test).contains("1 passed"));
    assert!(succeed(with(env!("CARGO_BIN_EXE_wshd"))).contains("1 passed"));
    let failed = all_of(&with("/no/wshd").output().expect("cargo runs"));
    let sentence = "`WSHD` names `/no/wshd`, which is no file; wanted is the program `wshd`";
    assert!(failed.contains(sentence), "{failed}");
    // Without the note of where the wshd is, and without PATH, the test finds none.
    std::fs::remove_file(after.join("wsh/sdk.toml")).expect("the note is there");
    let messages = run(
        &tea,
        &cargo,
        &["test", "--offline", "--no-run", "--message-format", "json"],
    );
    let program = messages
        .split(r#""executable":""#)
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let program = program.expect("cargo names the test").to_owned();
    let mut alone = command(&tea, &program, &["a_server_greets"]);
    alone.env("PATH", "").env("HOME", site.root());
    let failed = all_of(&alone.output().expect("the test runs"));
    let sentence = "cannot find `wshd`, which this test starts: it is neither beside the test nor on PATH; install \
                    it with `cargo install --path server`";
    assert!(failed.contains(sentence), "{failed}");
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
fn a_new_handler_inside_another_workspace_is_built_without_a_complaint_of_cargo() {
    let (site, around) = (Site::empty(), crates_dir("around"));
    std::fs::write(around.join("Cargo.toml"), "[workspace]\n").expect("a workspace");
    let hello = around.join("hello");
    let made = new(&site, &[hello.to_str().expect("UTF-8")]);
    assert!(made.status.success(), "{made:?}");

    let server = Server::bare(&site)
        .env(
            "CARGO_TARGET_DIR",
            &built().join("target").to_string_lossy(),
        )
        .arg("dev")
        .arg(&hello)
        .args(["-p", "0"])
        .start();

    server.line_within(BUILT, &["hello_wsh  ws://localhost:", "/hello"]);
    let complaints = server.lines(&["workspace"]);
    assert_eq!(complaints, Vec::<String>::new(), "{}", server.log());
    assert_eq!(server.connect("/hello").ask("Ann"), "hello Ann");
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
  wsh/              what it and other handlers beside it are built with

serve it, and build again what you save:
  wshd dev hello
run its test:
  cd hello && cargo test
update what it is built with, when there is a newer wshd:
  wshd sdk wsh
"
    );
    assert_eq!(made.status.code(), Some(0));
    let ignored = std::fs::read_to_string(site.root().join("hello/.gitignore"));
    assert_eq!(ignored.expect("a file"), "/target/\n");
}

/// The code blocks in this language of the README's section on writing a handler.
fn shown_in_readme(language: &str) -> Vec<String> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(readme).expect("README.md");
    let section = readme
        .split("\n## ")
        .find(|section| section.starts_with("Write a handler"));
    let section = section.expect("a section on writing a handler");
    let fence = format!("\n```{language}\n");
    let blocks = section.split(&fence).skip(1);
    let blocks = blocks.filter_map(|block| block.split_once("\n```"));
    blocks.map(|(block, _)| block.to_owned()).collect()
}

#[test]
fn what_readme_shows_of_a_handler_is_all_that_it_needs() {
    let root = crates_dir("readme");
    run(&root, env!("CARGO_BIN_EXE_wshd"), &["sdk"]);
    let (manifests, handlers) = (shown_in_readme("toml"), shown_in_readme("rust"));
    assert_eq!((manifests.len(), handlers.len()), (1, 3));

    // Without this, cargo would take it for a member of this repository.
    let manifest = format!("{}\n[workspace]\n", manifests[0]);
    for handler in handlers {
        let place = root.join("hello");
        std::fs::create_dir_all(place.join("src")).expect("a directory");
        std::fs::write(place.join("Cargo.toml"), &manifest).expect("the manifest");
        std::fs::write(place.join("src/lib.rs"), &handler).expect("the source");

        run(&place, &cargo(), &["check", "--offline"]);
    }
}

#[test]
fn what_is_there_already_is_left_as_it_is() {
    let site = Site::empty();
    site.write("mine/notes.txt", "mine");
    site.write("file", "mine");

    assert_eq!(
        // `event` is another name of the style `events`.
        refusal(&site, &["mine", "--style", "event"]),
        "wshd: cannot make `mine`: it is there already, and not empty; choose another name, or remove it\n"
    );
    assert_eq!(
        refusal(&site, &["file", "--style", "c"]),
        "wshd: cannot make `file`: it is there already, and no directory; choose another name, or remove it\n"
    );

    assert_eq!(files(&site.root().join("mine")), ["notes.txt"]);
    assert_eq!(
        files(site.root()),
        ["file", "handlers", "mine"],
        "no SDK either"
    );
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
