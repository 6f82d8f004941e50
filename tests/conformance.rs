//! The server and the host of `wsh::test` answer alike: one table of scripts is played on both.
//!
//! A row of `tests/conformance/table.txt` says what a client sends, which calls the handler makes meanwhile
//! (`tests/fixtures/c/script.c`), the status of each call, and what the client got. `parts.txt` has the rows for a handler
//! that takes messages in parts. The first line of a row is its name. A line with `?` is the query, which has the scripts
//! of callbacks; `>` is a message or another step of the client; `=` is an outcome.
//!
//! `WSHD_BLESS=1 cargo test -p wshd --test integration conformance` writes what the server answers into the tables. Read
//! the difference before you keep it.

mod real;
mod tested;

use std::ffi::{CString, c_char, c_int, c_void};
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use wsh::abi::{self, Descriptor};

use self::real::Real;
use self::tested::Tested;
use crate::harness::compile::compile;
use crate::harness::server::Server;
use crate::harness::site::Site;

/// Topics for the scripts, which the host of `wsh::test` has in `Tested::new`.
const TOPICS: &str = r#"
    [topics]
    "script/h*" = { history = { count = 5 } }
    "script/alone" = { presence = false }
    "/others" = { history = { count = 5 }, handlers = ["echo"] }
"#;

/// One script and its outcome.
struct Row {
    name: String,
    query: String,
    steps: Vec<Step>,
    outcome: Vec<String>,
}

/// A step of the client.
enum Step {
    /// Sends a script and reads until that is done or the session is over.
    Say(String),
    /// Sends a fragment of a message, with a script of its own, and reads after the last one.
    Part(String, bool),
    Ping,
    Close(u16, String),
    Lose,
    /// Reads one more message.
    Read,
}

/// A client of either host.
trait Peer {
    fn say(&mut self, text: &str);
    fn part(&mut self, text: &str, is_last: bool);
    fn ping(&mut self);
    fn close(&mut self, code: u16, reason: &str);
    fn lose(&mut self);
    /// The next message, or none when the session is over.
    fn read(&mut self) -> Option<String>;
    /// The code and the reason that the session ended with.
    fn end(self: Box<Self>) -> String;
}

/// A host with the handler loaded.
trait Host {
    /// Opens a session. An error is the status of the refusal.
    fn connect(&self, query: &str) -> Result<Box<dyn Peer + '_>, u16>;
    /// The lines that the handler has logged so far: callbacks, and calls with their status.
    fn said(&self) -> Vec<String>;
    /// Waits until the handler has logged the end of its session behind the first `before` lines of `said`.
    fn wait_for_end(&self, before: usize);
    /// Waits until `said` has every line that was logged until now.
    fn settle(&self);
}

#[test]
fn the_server_and_the_test_host_answer_every_script_alike() {
    compare("table.txt", &[], 120);
}

#[test]
fn both_give_out_messages_in_parts_alike() {
    compare("parts.txt", &["-DPARTS"], 12);
}

#[test]
fn both_answer_what_they_are_asked_alike() {
    compare("asks.txt", &[], 90);
}

/// Plays a table on both hosts with the handler that `options` make. The table must have at least this many rows.
fn compare(table: &str, options: &[&str], rows_min: usize) {
    let rows = read(table, rows_min);
    let site = site_with(options);
    let server = Real(Server::start(&site));
    let library = site.handlers().join("script_wsh.so");
    let test = Tested::new(wsh::test::serve(load(&library)));

    settle(table, &rows, |row, differences| {
        let real = play(&server, row);
        let tested = play(&test, row);
        if real != tested {
            let _ = writeln!(
                differences,
                "{}\n  server    {real:?}\n  test host {tested:?}",
                row.name
            );
        }
        row.differ("server", &real, differences);
        real
    });
}

/// The rows of a table.
fn read(table: &str, rows_min: usize) -> Vec<Row> {
    let rows = rows(&std::fs::read_to_string(path_of(table)).expect("the table"));
    assert!(rows.len() >= rows_min, "{} rows", rows.len());
    rows
}

fn path_of(table: &str) -> PathBuf {
    let tables = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance");
    tables.join(table)
}

/// A site with the handler that `options` make, and topics of every kind.
fn site_with(options: &[&str]) -> Site {
    let site = Site::empty();
    let library = compile("tests/fixtures/c/script.c", options);
    site.add_bytes(&library, "script_wsh.so");
    site.write("config.toml", TOPICS);
    site
}

/// Plays each row, and expects no differences, which `play` adds. It answers the outcome of the server.
fn settle(table: &str, rows: &[Row], mut play: impl FnMut(&Row, &mut String) -> Vec<String>) {
    let mut differences = String::new();
    let mut written = String::new();
    for row in rows {
        let real = play(row, &mut differences);
        row.write(&real, &mut written);
    }
    if std::env::var_os("WSHD_BLESS").is_some() {
        std::fs::write(path_of(table), written).expect("the table is written");
    }
    assert!(differences.is_empty(), "\n{differences}");
}

/// Plays a row to its end. Returns its outcome, line by line.
fn play(host: &dyn Host, row: &Row) -> Vec<String> {
    let before = host.said().len();
    let mut outcome = Vec::new();
    // Whether no `closed` shows that the handler has logged everything.
    let mut is_untold = true;
    match host.connect(&row.query) {
        Err(status) => outcome.push(format!("refused {status}")),
        Ok(mut peer) => {
            for step in &row.steps {
                match step {
                    Step::Part(script, false) => peer.part(script, false),
                    Step::Say(script) | Step::Part(script, true) => {
                        match step {
                            Step::Part(..) => peer.part(script, true),
                            _ => peer.say(script),
                        }
                        while let Some(text) = peer.read() {
                            let is_done = text == "done";
                            outcome.push(format!("got {}", text.replace('\0', "\\0")));
                            if is_done {
                                break;
                            }
                        }
                    }
                    Step::Ping => peer.ping(),
                    Step::Close(code, reason) => peer.close(*code, reason),
                    Step::Lose => peer.lose(),
                    Step::Read => {
                        let text = peer.read().unwrap_or_else(|| "nothing".to_owned());
                        outcome.push(format!("got {text}"));
                    }
                }
            }
            outcome.push(format!("ended {}", peer.end()));
            // An `open` with such a return value leaves no session.
            let has_session = !["o=return+-1", "o=return+4"].contains(&&*row.query);
            is_untold = !has_session;
            if has_session {
                host.wait_for_end(before);
            }
        }
    }
    if is_untold {
        host.settle();
    }
    let said = host.said();
    // The handler's lines are in order, and so are the client's. There is no order between the two.
    outcome.extend(said[before..].iter().cloned());
    outcome
}

impl Row {
    /// Adds a difference if a host's outcome is not that of the table.
    fn differ(&self, host: &str, outcome: &[String], differences: &mut String) {
        if outcome != self.outcome {
            let Row {
                name,
                outcome: table,
                ..
            } = self;
            let _ = writeln!(
                differences,
                "{name}\n  table     {table:?}\n  {host}    {outcome:?}"
            );
        }
    }

    fn write(&self, outcome: &[String], text: &mut String) {
        let _ = writeln!(text, "{}", self.name);
        if !self.query.is_empty() {
            let _ = writeln!(text, "? {}", self.query.replace('+', " "));
        }
        for step in &self.steps {
            let _ = match step {
                Step::Say(script) => writeln!(text, "> {script}"),
                Step::Part(script, false) => {
                    writeln!(text, "{}", format!("> #part {script}").trim_end())
                }
                Step::Part(script, true) => {
                    writeln!(text, "{}", format!("> #end {script}").trim_end())
                }
                Step::Ping => writeln!(text, "> #ping"),
                Step::Close(code, reason) => {
                    writeln!(text, "{}", format!("> #close {code} {reason}").trim_end())
                }
                Step::Lose => writeln!(text, "> #lose"),
                Step::Read => writeln!(text, "> #read"),
            };
        }
        for line in outcome {
            let _ = writeln!(text, "= {line}");
        }
        text.push('\n');
    }
}

fn rows(text: &str) -> Vec<Row> {
    let blocks = text.split("\n\n").map(str::trim);
    blocks.filter(|block| !block.is_empty()).map(row).collect()
}

fn row(block: &str) -> Row {
    let mut lines = block.lines();
    let mut row = Row {
        name: lines.next().unwrap_or_default().to_owned(),
        query: String::new(),
        steps: Vec::new(),
        outcome: Vec::new(),
    };
    for line in lines {
        match line.split_at_checked(2) {
            Some(("? ", query)) => row.query = query.replace(' ', "+"),
            Some(("> ", step)) => row.steps.push(step_of(step)),
            Some(("= ", outcome)) => row.outcome.push(outcome.to_owned()),
            _ => panic!("`{line}` of `{}` is no line of a row", row.name),
        }
    }
    row
}

fn step_of(text: &str) -> Step {
    let Some(step) = text.strip_prefix('#') else {
        return Step::Say(text.to_owned());
    };
    let (what, rest) = step.split_once(' ').unwrap_or((step, ""));
    match what {
        "part" => Step::Part(rest.to_owned(), false),
        "end" => Step::Part(rest.to_owned(), true),
        "ping" => Step::Ping,
        "lose" => Step::Lose,
        "read" => Step::Read,
        "close" => {
            let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
            Step::Close(code.parse().expect("a close code"), reason.to_owned())
        }
        _ => panic!("`{text}` is no step"),
    }
}

/// The descriptor of a plugin, which stays mapped.
#[allow(unsafe_code)] // the server uses `libloading` here
pub(crate) fn load(library: &Path) -> &'static Descriptor {
    unsafe extern "C" {
        fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
        fn dlsym(library: *mut c_void, name: *const c_char) -> *const Descriptor;
    }
    const RTLD_NOW: c_int = 2;
    let path = CString::new(library.as_os_str().as_bytes()).expect("a path");
    let symbol = CString::new(abi::SYMBOL).expect("a name");
    // SAFETY: a path and a name that end with NUL; the library is never closed, and what it exports
    // under this name is a descriptor.
    unsafe {
        let library = dlopen(path.as_ptr(), RTLD_NOW);
        assert!(!library.is_null(), "{path:?} cannot be opened");
        dlsym(library, symbol.as_ptr())
            .as_ref()
            .expect("it exports a descriptor")
    }
}
