//! The server and the host of `wsh::test` answer alike: one table of scripts, played on both.
//!
//! A row of `tests/conformance/table.txt`, or of `parts.txt` for a handler that takes messages in parts,
//! says what a client asks with and sends, which calls the handler makes meanwhile
//! (`tests/fixtures/c/script.c`), what each was answered, and what the client got. Its first line is its
//! name. `?` is the query, with the scripts of callbacks; `>` is a message, or what else the client does;
//! `=` is what came of it.
//!
//! `WSHD_BLESS=1 cargo test -p wshd --test integration conformance` writes down what the server
//! answers; read the difference before you keep it.

mod real;
mod tested;

use std::ffi::{CString, c_char, c_int, c_void};
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use wsh::abi::{self, Descriptor};

use self::real::Real;
use self::tested::Tested;
use crate::harness::compile::compile;
use crate::harness::server::Server;
use crate::harness::site::Site;

/// One script and what comes of it.
struct Row {
    name: String,
    query: String,
    steps: Vec<Step>,
    outcome: Vec<String>,
}

/// What a client does.
enum Step {
    /// It sends a script and reads until that is done or the session is over.
    Say(String),
    /// It sends a fragment of a message, with a script of its own, and reads after the last.
    Part(String, bool),
    Ping,
    Close(u16, String),
    Lose,
    /// It reads one more message.
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
    /// A client, or the status of its refusal.
    fn connect(&self, query: &str) -> Result<Box<dyn Peer + '_>, u16>;
    /// What the handler has logged so far of what it was answered.
    fn said(&self) -> Vec<String>;
    /// Waits until a session is over for the handler, of which `said` told so much before.
    fn wait_for_end(&self, before: usize);
    /// Waits until all that was said until now can be read.
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

/// Plays a table, which has so many rows at least, with the handler that `options` make.
fn compare(table: &str, options: &[&str], rows_min: usize) {
    let table = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/conformance")
        .join(table);
    let rows = rows(&std::fs::read_to_string(&table).expect("the table"));
    assert!(rows.len() >= rows_min, "{} rows", rows.len());
    let site = Site::empty();
    let path = site.add_bytes(
        &compile("tests/fixtures/c/script.c", options),
        "script_wsh.so",
    );
    let server = Real(Server::start(&site));
    let test = Tested(wsh::test::serve(load(&path)));

    let mut differences = String::new();
    let mut written = String::new();
    for row in &rows {
        let real = play(&server, row);
        let tested = play(&test, row);
        if real != tested {
            let Row { name, .. } = row;
            let _ = writeln!(
                differences,
                "{name}\n  server    {real:?}\n  test host {tested:?}"
            );
        }
        if real != row.outcome {
            let Row { name, outcome, .. } = row;
            let _ = writeln!(
                differences,
                "{name}\n  table     {outcome:?}\n  server    {real:?}"
            );
        }
        row.write(&real, &mut written);
    }
    if std::env::var_os("WSHD_BLESS").is_some() {
        std::fs::write(&table, written).expect("the table is written");
    }
    assert!(differences.is_empty(), "\n{differences}");
}

/// Plays a row to its end; what came of it, a line each.
fn play(host: &dyn Host, row: &Row) -> Vec<String> {
    let before = host.said().len();
    let mut outcome = Vec::new();
    // Whether no `closed` says that everything was said.
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
            // Such an `open` leaves no session.
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
    // What the handler says is in the order of its callbacks, and so is what the client gets; between
    // the two there is none.
    outcome.extend(said[before..].iter().cloned());
    outcome
}

impl Row {
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
#[allow(unsafe_code)] // what the server does with `libloading`
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
