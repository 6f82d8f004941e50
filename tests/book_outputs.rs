//! What the book shows is what the program prints: each command of its transcripts is run, and each table of words is compared
//! with the words of the program.
//!
//! Numbers, times, sizes and ports differ from run to run; all else must be alike.

mod first_steps;
mod shape;
mod transcripts;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use crate::harness::eventually;
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::tls::Tls;

use self::shape::{fields_of, is_alike};
use self::transcripts::{Entry, blocks, entries};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A page of the book.
#[track_caller]
fn page(path: &str) -> String {
    read(&format!("docs/src/{path}"))
}

#[track_caller]
fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The server of the book: `/srv/wshd/config.toml`, two handlers, one session of each.
struct World {
    site: Site,
    server: Server,
    peers: Vec<JoinHandle<()>>,
}

impl World {
    fn new() -> World {
        let site = Site::with(&["echo_wsh", "clock_wsh"]);
        site.write("config.toml", "listen = [\"127.0.0.1:0\"]\n");
        // Another process may take its place.
        let server = Server::bare(&site).leading_group().start();
        let mut world = World {
            site,
            server,
            peers: Vec::new(),
        };
        world.join("/echo");
        world.join("/clock");
        world
    }

    /// Opens a session that goes on until the server closes it.
    fn join(&mut self, path: &str) {
        let mut client = self.server.connect(path);
        client.send("hello");
        client.text();
        let peer = std::thread::spawn(move || while client.try_read().is_ok() {});
        self.peers.push(peer);
    }

    /// The words of the book in a command, as they are here.
    fn here(&self, command: &str) -> String {
        let root = self.site.root().display();
        let socket = format!("{root}/wshd/{}.sock", self.server.pid());
        command
            .replace("/run/user/1000/wshd/13609.sock", &socket)
            .replace("/srv/wshd", &root.to_string())
            .replace("9998", &self.server.port().to_string())
    }

    /// What is printed here, in the words of the book.
    fn in_the_book(&self, text: &str) -> String {
        let root = self.site.root().display();
        text.replace(&format!("{root}/wshd/"), "/run/user/1000/wshd/")
            .replace(&root.to_string(), "/srv/wshd")
            .replace(&format!(":{}", self.server.port()), ":9998")
    }

    /// Carries a command out. Returns its exit code and all that it prints.
    fn run(&self, command: &str) -> (i32, String) {
        let command = self.here(command);
        if let Some(arguments) = command.strip_prefix("curl ") {
            return (0, self.fetch(arguments));
        }
        let program = Path::new(env!("CARGO_BIN_EXE_wshd"));
        let directory = program.parent().expect("a directory").display();
        let path = std::env::var("PATH").expect("a PATH");
        let output = Command::new("sh")
            .args(["-c", &format!("{{ {command}\n}} 2>&1")])
            .current_dir(self.site.root())
            .env("PATH", format!("{directory}:{path}"))
            .env("XDG_RUNTIME_DIR", self.site.root())
            .stdin(Stdio::null())
            .output()
            .expect("sh runs");
        let text = String::from_utf8(output.stdout).expect("text");
        (output.status.code().unwrap_or(-1), text)
    }

    /// What curl prints with these arguments.
    fn fetch(&self, arguments: &str) -> String {
        let mut words = arguments.split_whitespace().peekable();
        let (mut lines, mut socket, mut has_head) = (String::new(), None, false);
        let mut url = "";
        while let Some(word) = words.next() {
            match word {
                "-s" => {}
                "-si" => has_head = true,
                "--unix-socket" => socket = words.next(),
                "-H" => {
                    let mut line = words.next().expect("a header line").to_owned();
                    while !line.ends_with('\'') {
                        line = format!("{line} {}", words.next().expect("its end"));
                    }
                    lines += &format!("{}\r\n", line.trim_matches('\''));
                }
                other => url = other,
            }
        }
        let (host, path) = url
            .strip_prefix("http://")
            .and_then(|rest| rest.split_once('/'))
            .expect("a URL");
        let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n");
        let stream = match socket {
            Some(socket) => Server::raw_unix(Path::new(socket)),
            None => self.server.raw(),
        };
        let answer = Server::exchange_over(stream, request.as_bytes()).replace("\r\n", "\n");
        match answer.split_once("\n\n") {
            Some((_, body)) if !has_head => body.to_owned(),
            _ => answer,
        }
    }

    /// Runs the transcripts of a page in their order, and compares what is printed.
    fn holds(&self, file: &str) {
        let page = page(file);
        let mut code = 0;
        let mut count = 0;
        for Entry { command, output } in entries(&page) {
            let found = match command {
                "echo $?" => format!("{code}\n"),
                // It draws on a terminal, and has a test of its own.
                "wshd top" => continue,
                _ => {
                    let (status, text) = self.run(command);
                    code = status;
                    self.in_the_book(&text)
                }
            };
            assert!(
                is_alike(&output, &found),
                "{file}: `{command}` prints\n{found}\nand the book shows\n{output}"
            );
            if command.starts_with("rm ") {
                eventually("the server has noticed that a file is gone", || {
                    self.run("wshd list --json").1.matches("\"name\"").count() == 2
                });
            }
            count += 1;
        }
        assert!(count > 0, "{file} has no transcript");
    }
}

#[test]
fn each_command_of_operators_prints_what_the_book_shows() {
    let mut world = World::new();

    world.holds("operate/commands.md");

    for peer in world.peers.drain(..) {
        peer.join().expect("the server has closed it");
    }
}

#[test]
fn load_balancers_are_answered_as_the_book_shows() {
    World::new().holds("operate/health.md");
}

#[test]
fn an_upgrade_says_what_the_book_shows() {
    World::new().holds("deploy/upgrade.md");
}

#[test]
fn top_draws_the_headings_that_the_book_shows() {
    let page = page("operate/commands.md");
    let shown = entries(&page)
        .into_iter()
        .find(|entry| entry.command == "wshd top")
        .expect("it is shown");
    let headings = shown
        .output
        .lines()
        .find(|line| line.starts_with("HANDLER"));
    let headings: Vec<&str> = headings.expect("headings").split_whitespace().collect();
    let mut world = World::new();
    world.peers.clear();

    let terminal = crate::top::Terminal::start(&world.site, &[], &[("NO_COLOR", "1")]);

    terminal.shows("HANDLER");
    let screen = terminal.screen();
    let drawn = screen.lines().find(|line| line.contains("HANDLER"));
    let drawn = drawn
        .expect("it was found")
        .replace("\x1b[0m", "")
        .replace("\x1b[K", "");
    let drawn: Vec<&str> = drawn.split_whitespace().collect();
    assert_eq!(drawn, headings, "{screen:?}");
}

/// The first cells of all tables on the page whose head begins with `heading`, without backticks.
fn first_cells(page: &str, heading: &str) -> BTreeSet<String> {
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
fn literals(source: &str, before: &str) -> BTreeSet<String> {
    let parts = source.split(before).skip(1);
    let literals = parts.filter_map(|part| part.split('"').next());
    literals.map(str::to_owned).collect()
}

/// What stands in a source from `from` on, up to `to`.
#[track_caller]
fn between<'a>(source: &'a str, from: &str, to: &str) -> &'a str {
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
fn every_outcome_of_a_handshake_and_every_family_of_metrics_is_in_the_book() {
    let file = "docs/src/operate/metrics.md";
    let page = read(file);
    let replies = read("server/src/connection/reply.rs");
    let outcomes = between(&replies, "pub(crate) fn outcome", "\n    }\n");
    let mut outcomes: BTreeSet<String> = literals(outcomes, "=> \"");
    let log = read("server/src/connection/refusal_log.rs");
    outcomes.append(&mut literals(&log, "handshakes.count(\""));
    outcomes.insert("accepted".to_owned());
    assert!(outcomes.len() > 20, "{outcomes:?}");
    assert_eq!(first_cells(&page, "outcome"), outcomes);

    let table = families();
    if std::env::var_os("WSHD_BLESS").is_some() {
        let (before, rest) = page.split_once(BEGIN).expect("the table's place");
        let (_, after) = rest.split_once(END).expect("the table's end");
        let blessed = format!("{before}{BEGIN}{table}{END}{after}");
        fs::write(root().join(file), blessed).expect("writing");
        return;
    }
    let shown = between(&page, BEGIN, END);
    assert_eq!(
        shown, table,
        "`WSHD_BLESS=1 cargo test -p wshd --test integration book_outputs` writes it"
    );
}

const BEGIN: &str = "<!-- families: written by a test -->\n";
const END: &str = "<!-- end -->";

/// Each family of the page of metrics: its name, type and labels, and what it says of itself.
fn families() -> String {
    let site = Site::with(&["echo_wsh"]);
    let _tls = Tls::new(&site);
    site.write(
        "config.toml",
        "listen = [\"127.0.0.1:0\", \"tls:127.0.0.1:0\"]\n\
         [tls]\ncertificates = [{ certificate = \"server.pem\", key = \"server.key\" }]\n\
         [limits]\nmessage_bytes_max = 10\n",
    );
    let server = Server::bare(&site).start();
    let mut client = server.connect("/echo");
    client.send("longer than ten bytes");
    assert_eq!(client.close_code(), 1009);
    server.line(&["session closed"]);
    let text = metrics(&server);

    let mut table = String::from("| family | type | labels | what it says |\n|---|---|---|---|\n");
    for help in text.lines().filter_map(|line| line.strip_prefix("# HELP ")) {
        let (name, help) = help.split_once(' ').expect("a name and a sentence");
        let kind = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("# TYPE {name} ")))
            .expect("a type");
        let labels = text.lines().find_map(|line| {
            let rest = line.strip_prefix(name)?;
            let rest = rest.strip_prefix("_bucket").unwrap_or(rest);
            let (labels, _) = rest.strip_prefix('{')?.split_once('}')?;
            let names = labels.split(',').filter_map(|it| it.split('=').next());
            Some(
                names
                    .map(|it| format!("`{it}`"))
                    .collect::<Vec<_>>()
                    .join(", "),
            )
        });
        let labels = labels.unwrap_or_default();
        table += &format!("| `{name}` | {kind} | {labels} | {help} |\n");
    }
    table
}

#[track_caller]
fn check_rules(file: &Path) {
    let output = Command::new("promtool")
        .args(["check", "rules"])
        .arg(file)
        .output()
        .expect("promtool, of Debian's prometheus, runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{said}");
}

/// The page of metrics.
fn metrics(server: &Server) -> String {
    let answer = server.exchange(b"GET /.wshd/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    body.to_owned()
}

#[test]
fn the_alerts_of_the_book_are_rules_of_prometheus_over_families_that_exist() {
    let rules = root().join("config/alerts.yml");
    check_rules(&rules);
    // Its questions are rules, too, once they have a name.
    let page = page("operate/metrics.md");
    let questions = blocks(&page, "promql");
    assert_eq!(questions.len(), 3);
    let named = questions.iter().enumerate().map(|(number, question)| {
        format!("      - record: question:{number}\n        expr: '{question}'\n")
    });
    let site = Site::empty();
    let text = format!(
        "groups:\n  - name: questions\n    rules:\n{}",
        named.collect::<String>()
    );
    check_rules(&site.write("questions.yml", &text));

    let table = families();
    let rules = fs::read_to_string(rules).expect("the rules") + &page;
    let is_of_a_name = |it: char| it.is_ascii_alphanumeric() || it == '_';
    let names: BTreeSet<&str> = rules
        .split(|it| !is_of_a_name(it))
        .filter(|word| word.starts_with("wshd_") || word.starts_with("process_"))
        .collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        let family = name.trim_end_matches("_bucket");
        assert!(
            table.contains(&format!("| `{family}` |")),
            "there is no `{name}`"
        );
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
    let sources: String = rust_files(&root().join("server/src"))
        .iter()
        .map(|file| {
            fs::read_to_string(file)
                .expect("a source")
                .replace("\\\"", "\"")
        })
        .collect();
    let without_blanks = |text: &str| text.split_whitespace().collect::<String>();
    // A literal may go on in the next line.
    let sources = without_blanks(&sources.replace("\\\n", ""));
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

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => rust_files(&path),
            false => vec![path],
        })
        .filter(|path| path.extension().is_some_and(|it| it == "rs"))
        .collect()
}
