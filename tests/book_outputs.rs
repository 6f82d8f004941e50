//! What the book shows is what the program prints: each command of its transcripts is run, and each table of words is compared
//! with the words of the program.
//!
//! Numbers, times, sizes and ports differ from run to run; all else must be alike.

mod first_steps;
mod metrics;
mod shape;
mod transcripts;
mod words;

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use crate::harness::eventually;
use crate::harness::repository::read;
use crate::harness::server::Server;
use crate::harness::site::Site;

use self::shape::is_alike;
use self::transcripts::{Entry, entries};

/// A page of the book.
#[track_caller]
fn page(path: &str) -> String {
    read(&format!("docs/src/{path}"))
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
            .replace("/run/wshd/13609.sock", &socket)
            .replace("/srv/wshd", &root.to_string())
            .replace("9998", &self.server.port().to_string())
    }

    /// What is printed here, in the words of the book.
    fn in_the_book(&self, text: &str) -> String {
        let root = self.site.root().display();
        text.replace(&format!("{root}/wshd/"), "/run/wshd/")
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
