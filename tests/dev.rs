//! `wshd dev` on handlers outside this repository, written as README says.

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use crate::harness::server::{Server, status_of};
use crate::harness::site::Site;
use crate::harness::{eventually, within};

/// Cargo builds a little here, on a machine that others may use too.
const BUILT: Duration = Duration::from_secs(120);

fn write_crate(site: &Site, answer: &str) {
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugin-api");
    let sdk = sdk.canonicalize().expect("the SDK is there");
    site.write(
        "crates/hello_wsh/Cargo.toml",
        &format!(
            "[package]\nname = \"hello_wsh\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
             [lib]\ncrate-type = [\"cdylib\"]\n\n\
             [dependencies]\nwshd-plugin = {{ path = {sdk:?}, default-features = false }}\n\n[workspace]\n"
        ),
    );
    write_source(site, answer);
}

fn write_source(site: &Site, answer: &str) {
    site.write(
        "crates/hello_wsh/src/lib.rs",
        &format!(
            "use wsh::prelude::*;\n\n#[derive(Default)]\nstruct Hello;\n\nimpl Session for Hello {{\n    \
             fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {{\n        \
             conn.send(format!(\"{answer} {{message}}\"))?;\n        Ok(())\n    }}\n}}\n\nwsh::handler!(Hello);\n"
        ),
    );
}

/// The handler of handlers/c, to which `change` was done.
fn write_c(site: &Site, file: &str, change: impl Fn(&str) -> String) {
    let handler = Path::new(env!("CARGO_MANIFEST_DIR")).join("../handlers/c/cecho.c");
    let handler = std::fs::read_to_string(handler).expect("the handler in C");
    site.write(file, &change(&handler));
}

/// What an open page is told.
struct Page(BufReader<TcpStream>);

impl Page {
    fn open(server: &Server) -> Page {
        let mut stream = server.raw();
        stream
            .set_read_timeout(Some(BUILT))
            .expect("a timeout of its own");
        stream
            .write_all(b"GET /.wshd/dev HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .expect("sending a request");
        Page(BufReader::new(stream))
    }

    /// The next news of what does not build, as the JSON that it is.
    #[track_caller]
    fn news(&mut self) -> String {
        self.event("message")
    }

    /// The data of the next event of this kind.
    #[track_caller]
    fn event(&mut self, wanted: &str) -> String {
        let mut kind = "message".to_owned();
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("a line in time");
            assert_ne!(line, "", "the stream goes on");
            if let Some(named) = line.strip_prefix("event: ") {
                named.trim_end().clone_into(&mut kind);
            } else if let Some(data) = line.strip_prefix("data: ")
                && std::mem::replace(&mut kind, "message".to_owned()) == wanted
            {
                return data.trim_end().to_owned();
            }
        }
    }
}

fn get(server: &Server, path: &str) -> String {
    server.exchange(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
}

#[test]
fn a_saved_handler_is_live_for_all_sessions_and_a_broken_one_changes_nothing() {
    let site = Site::empty();
    write_crate(&site, "hello");
    let server = Server::bare(&site)
        .env(
            "CARGO_TARGET_DIR",
            &site.root().join("target").to_string_lossy(),
        )
        .arg("dev")
        .arg("crates")
        .arg("-p")
        .arg("0")
        .start();
    server.line_within(BUILT, &["hello_wsh  ws://localhost:", "/hello"]);
    let mut open = server.connect("/hello");
    assert_eq!(open.ask("ann"), "hello ann");

    write_source(&site, "goodbye");
    let parts = [
        "hello_wsh: live in ",
        " s (build ",
        "load ",
        "move ",
        " ms)",
    ];
    server.line_within(BUILT, &parts);
    assert_eq!(server.connect("/hello").ask("ann"), "goodbye ann");
    assert_eq!(open.ask("ben"), "goodbye ben");

    let mut page = Page::open(&server);
    assert_eq!(page.news(), "[]");
    site.write("crates/hello_wsh/src/lib.rs", "this is no Rust");
    server.line_within(
        BUILT,
        &["hello_wsh: build failed; generation 2 keeps serving"],
    );
    assert!(
        server.find_line(&["error: expected one of"]).is_some(),
        "{}",
        server.log()
    );
    assert_eq!(server.connect("/hello").ask("ann"), "goodbye ann");
    let news = page.news();
    let told = r#"[{"name":"hello_wsh","text":"error: expected one of"#;
    assert!(news.starts_with(told), "{news}");
    assert!(!news.contains("\\u001b"), "no colours: {news}");

    write_source(&site, "again");
    assert_eq!(page.news(), "[]");
    within(BUILT, "the mended one is live", || {
        server.connect("/hello").ask("ann") == "again ann"
    });
}

#[test]
fn a_developers_server_ignores_what_means_nothing_and_ends_with_its_terminal() {
    let site = Site::empty();
    write_c(&site, "mine/tea.c", str::to_owned);
    let mut server = Server::bare(&site).args(["dev", "mine", "-p", "0"]).start();
    server.line_within(BUILT, &["tea_wsh  ws://localhost:", "/tea"]);
    let mut open = server.connect("/tea");

    server.signal("USR1");
    server.line(&["signal=SIGUSR1", "has no meaning here"]);
    assert_eq!(open.ask("hello"), "hello");
    server.signal("HUP");

    assert_eq!(open.close_code(), 1001);
    assert_eq!(server.wait(Duration::from_secs(5)).code(), Some(0));
}

#[test]
fn a_developers_server_under_nohup_outlives_its_terminal() {
    let site = Site::empty();
    write_c(&site, "mine/tea.c", str::to_owned);
    let mut nohup = std::process::Command::new("env");
    nohup.arg("--ignore-signal=HUP");
    let server = Server::bare(&site).args(["dev", "mine", "-p", "0"]);
    let mut server = server.within(nohup).start();
    server.line_within(BUILT, &["tea_wsh  ws://localhost:", "/tea"]);

    server.signal("HUP");
    server.signal("USR1");
    server.line(&["signal=SIGUSR1", "has no meaning here"]);

    assert_eq!(server.connect("/tea").ask("hello"), "hello");
    assert_eq!(server.count_lines(&["stopping"]), 0);
    server.signal("TERM");
    assert_eq!(server.wait(Duration::from_secs(5)).code(), Some(0));
}

#[test]
fn a_stop_during_a_build_ends_the_compiler_and_removes_its_directory() {
    for (signal, times) in [("TERM", 1), ("INT", 1), ("TERM", 2)] {
        let site = Site::empty();
        write_c(&site, "mine/tea.c", str::to_owned);
        let [pids, temporary] = ["pids", "tmp"].map(|name| site.root().join(name));
        std::fs::create_dir(&temporary).expect("a directory of its own");
        let text = format!(
            "#!/bin/sh\nsleep 30 &\necho $$ $! > {pids:?}.new\nmv {pids:?}.new {pids:?}\nwait\n"
        );
        let compiler = site.write("compiler", &text);
        std::fs::set_permissions(&compiler, Permissions::from_mode(0o700)).expect("it is ours");
        let mut server = Server::bare(&site)
            .args(["dev", "mine", "-p", "0"])
            .env("CC", &compiler.to_string_lossy())
            .env("TMPDIR", &temporary.to_string_lossy())
            .start();
        within(BUILT, "the compiler runs", || pids.exists());
        let directories = || {
            let entries = std::fs::read_dir(&temporary).expect("it is there");
            let names = entries.map(|entry| entry.expect("an entry").file_name());
            names
                .filter(|name| name.to_string_lossy().starts_with("wshd-dev-"))
                .count()
        };
        assert_eq!(directories(), 1);

        for _ in 0..times {
            server.signal(signal);
        }

        server.wait(Duration::from_secs(10));
        let pids = std::fs::read_to_string(&pids).expect("it was written");
        for pid in pids.split_whitespace() {
            eventually("the compiler has ended", || !is_alive(pid));
        }
        assert_eq!(directories(), 0);
    }
}

/// Whether a process runs; one that has ended and is not reaped does not.
fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_handler_in_c_is_built_and_built_again_and_a_broken_one_changes_nothing() {
    let site = Site::empty();
    write_c(&site, "mine/tea.c", str::to_owned);
    let server = Server::bare(&site).args(["dev", "mine", "-p", "0"]).start();
    server.line_within(BUILT, &["tea_wsh  ws://localhost:", "/tea"]);
    assert_eq!(server.connect("/tea").ask("hello"), "hello");
    let mut page = Page::open(&server);
    assert_eq!(page.news(), "[]");

    write_c(&site, "mine/tea.c", |it| {
        it.replace("return WSH_OK;", "return x;")
    });
    server.line_within(
        BUILT,
        &["tea_wsh: build failed; generation 1 keeps serving"],
    );
    server.line(&["tea.c:", "error: ", "undeclared"]);
    let news = page.news();
    assert!(news.starts_with(r#"[{"name":"tea_wsh","text":""#), "{news}");
    assert!(news.contains("undeclared"), "{news}");
    assert_eq!(server.connect("/tea").ask("hello"), "hello");

    // What is compiled and is no plugin is told like what is not compiled.
    site.write("mine/tea.c", "int x;\n");
    server.line_within(BUILT, &["tea_wsh: built, but not loaded: "]);
    let news = page.news();
    assert!(news.contains("built, but not loaded: "), "{news}");
    assert_eq!(server.connect("/tea").ask("hello"), "hello");

    write_c(&site, "mine/tea.c", |it| {
        it.replace("\"Goodbye\"", "\"Enough\"")
    });
    server.line_within(BUILT, &["tea_wsh: live in ", " s (build ", "load "]);
    assert_eq!(page.news(), "[]");
    let mut client = server.connect("/tea");
    assert_eq!(client.ask("Enough"), "Enough");
    assert_eq!(client.close_code(), 1000);

    // A header that the compiler would wait at for ever.
    let pipe = site.root().join("mine/pipe.h");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo, of coreutils, runs").success());
    write_c(&site, "mine/tea.c", |it| {
        format!("#include \"pipe.h\"\n{it}")
    });
    let why = "not built: `pipe.h`, which `tea.c` includes: it is a FIFO, wanted is a regular file";
    server.line_within(BUILT, &[why]);
    assert_eq!(server.connect("/tea").ask("hello"), "hello");
    std::fs::remove_file(&pipe).expect("it is there");
    site.write("mine/pipe.h", "");
    server.line_within(BUILT, &["tea_wsh: ", " in ", " s (build "]);

    // One more, and one less.
    write_c(&site, "mine/milk.c", str::to_owned);
    server.line_within(BUILT, &["milk_wsh: live at ws://localhost:", "/milk in "]);
    std::fs::remove_file(site.root().join("mine/tea.c")).expect("it is there");
    server.line_within(BUILT, &["tea_wsh: its sources are gone"]);
    within(BUILT, "nothing answers there", || {
        server.handshake_status("/tea") == 404
    });
    assert_eq!(server.connect("/milk").ask("hello"), "hello");
}

#[test]
fn what_is_no_file_beside_a_handler_in_c_is_said_once_and_left_out() {
    let site = Site::empty();
    write_c(&site, "mine/tea.c", str::to_owned);
    site.add_fifo("mine/pipe.c");
    let endless = site.root().join("mine/endless.c");
    std::os::unix::fs::symlink("/dev/zero", endless).expect("a link");
    let server = Server::bare(&site).args(["dev", "mine", "-p", "0"]).start();
    server.line_within(BUILT, &["tea_wsh  ws://localhost:", "/tea"]);

    write_c(&site, "mine/tea.c", |it| {
        it.replace("\"Goodbye\"", "\"Enough\"")
    });
    server.line_within(BUILT, &["tea_wsh: live in "]);

    for (file, what) in [("pipe.c", "a FIFO"), ("endless.c", "a device")] {
        let why = format!("{file}` is left out: it is {what}, wanted is a regular file");
        assert_eq!(server.count_lines(&[&why]), 1, "{}", server.log());
    }
}

#[test]
fn a_handler_in_cpp_is_built_again_what_it_throws_is_caught_and_c_beside_it_is_said_to_be_left_out()
{
    let site = Site::empty();
    let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/new/templates/handler.cpp");
    let template = std::fs::read_to_string(template).expect("the template in C++");
    let write = |answer: &str| {
        let text = template.replace("{{name}}", "tea").replace(
            "answer_ = \"hello \";",
            &format!(
                "if (message == \"throw\") throw std::string(\"no exception\").at(99);
                 answer_ = {answer};"
            ),
        );
        let declared = "#include <wsh.h>\nextern const char *const greeting;\n";
        site.write(
            "mine/tea.cpp",
            &text.replace("#include <wsh.h>\n", declared),
        );
    };
    write("greeting");
    let beside = "extern const char *const greeting;\nconst char *const greeting = \"tea, \";\n";
    site.write("mine/greeting.cc", beside);
    site.write("mine/plain.c", "int plain;\n");

    let server = Server::bare(&site).args(["dev", "mine", "-p", "0"]).start();

    server.line_within(
        BUILT,
        &[
            "plain.c` is left out: ",
            "tea.cpp is in C++, and is built from the `.cc`, `.cpp` and `.cxx` files beside it",
        ],
    );
    server.line_within(BUILT, &["tea_wsh  ws://localhost:", "/tea"]);
    let mut client = server.connect("/tea");
    assert_eq!(client.ask("Ann"), "tea, Ann");
    client.send("throw");
    assert_eq!(client.close_code(), 1011);
    server.line(&["ERROR callback failed handler=\"tea\"", "basic_string::at"]);

    site.write("mine/greeting.cc", &beside.replace("tea, ", "more tea, "));
    server.line_within(BUILT, &["tea_wsh: live in "]);
    assert_eq!(server.connect("/tea").ask("Ann"), "more tea, Ann");
    write("nothing");
    server.line_within(
        BUILT,
        &["tea_wsh: build failed; generation 2 keeps serving"],
    );
    server.line(&["tea.cpp:", "error: ", "nothing"]);
    assert_eq!(server.connect("/tea").ask("Ann"), "more tea, Ann");
}

#[test]
fn pages_listen_to_the_compiler_in_dev_and_nowhere_else() {
    let site = Site::empty();
    let page = "<!doctype html>\n<title>tea</title>\n";
    site.write("mine/www/index.html", page);
    site.write("mine/www/tea.js", "let tea;\n");
    write_c(&site, "mine/tea.c", str::to_owned);

    let dev = Server::bare(&site).args(["dev", "mine", "-p", "0"]).start();
    for path in ["/", "/index.html"] {
        let answer = get(&dev, path);
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let pages = Page::open(&dev).event("pages");
        let script = format!("<script src=\"/.wshd/dev.js\" data-pages=\"{pages}\"></script>\n");
        assert_eq!(body, format!("{page}{script}"));
        let head = head.to_ascii_lowercase();
        let length = format!("content-length: {}", page.len() + script.len());
        assert!(head.contains(&length), "{head}");
        assert!(head.contains("cache-control: no-cache"), "{head}");
        assert!(!head.contains("last-modified"), "{head}");
    }
    // The browser may have a page of before, and only a part may be asked for.
    let again = dev.exchange(
        b"GET / HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-3\r\n\
          If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n\r\n",
    );
    assert!(again.starts_with("HTTP/1.1 200 "), "{again}");
    assert!(get(&dev, "/tea.js").ends_with("\r\n\r\nlet tea;\n"));
    assert!(get(&dev, "/.wshd/dev.js").contains("EventSource"));
    assert_eq!(status_of(&get(&dev, "/.wshd/other")), 404);
    // Of what the compiler says, a page of another site that had its name lead here hears nothing.
    for path in ["/", "/.wshd/dev", "/.wshd/dev.js", "/.wshd/handlers.json"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: evil.example\r\n\r\n");
        assert_eq!(status_of(&dev.exchange(request.as_bytes())), 421, "{path}");
    }
    // What the pages are made of has changed, and is what it was again.
    let mut open = Page::open(&dev);
    let before = open.event("pages");
    site.write("mine/www/tea.js", "let milk;\n");
    let after = open.event("pages");
    assert_ne!(after, before);
    assert!(get(&dev, "/").contains(&format!("data-pages=\"{after}\"")));
    site.write("mine/www/tea.js", "let tea;\n");
    assert_eq!(open.event("pages"), before);
    drop(dev);

    let server = Server::builder(&site).args(["-d", "mine/www"]).start();
    assert!(get(&server, "/").ends_with(page));
    for path in ["/.wshd/dev", "/.wshd/dev.js"] {
        assert_eq!(status_of(&get(&server, path)), 404, "{path}");
    }
}

#[test]
fn a_directory_without_handler_crates_is_said_to_be_one() {
    let site = Site::empty();
    let mut server = Server::bare(&site).arg("dev").arg(site.handlers()).spawn();

    server.line(&[
        "wshd: no handler at or below `",
        "one is a Cargo package with `crate-type = [\"cdylib\"]`",
    ]);
    assert_eq!(server.wait(Duration::from_secs(5)).code(), Some(1));
}

#[test]
fn a_handler_that_lacks_its_configuration_is_said_to_be_built_and_is_loaded_when_that_comes() {
    let site = Site::empty();
    let handler = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/c/lives.c");
    let handler = std::fs::read_to_string(handler).expect("the handler in C");
    let fussy = format!("#define NEEDS \"token\"\n{handler}");
    site.write("sources/fussy.c", &fussy);
    let server = Server::bare(&site)
        .args(["dev", "sources", "-p", "0"])
        .start();

    server.line_within(
        BUILT,
        &["built, but not loaded: ", "no `token` in its table"],
    );
    server.line_within(
        BUILT,
        &["  built, but not loaded; will answer at ws://localhost:"],
    );
    assert_eq!(server.count_lines(&["not built"]), 0, "{}", server.log());
    site.write("config.toml", "[handler.fussy.config]\ntoken = 1\n");

    server.line_within(BUILT, &["loaded, answers at ws://localhost:", "/fussy"]);
    assert_eq!(server.connect("/fussy").text(), "open");
}
