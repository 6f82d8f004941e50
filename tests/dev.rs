//! `wshd dev` on handlers outside this repository, written as the README says.

mod c;
mod page;
mod tls;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use self::page::Page;
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::{eventually, within};
use crate::signals::meeting;

/// How long a build of cargo may take on a busy machine.
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

/// Writes a copy of the crate whose manifest says the file that its library becomes.
fn write_copy(site: &Site, directory: &str, package: &str, file: &str) {
    let read = |file: &str| {
        let file = site.root().join("crates/hello_wsh").join(file);
        std::fs::read_to_string(file).expect("the crate is written")
    };
    let manifest = read("Cargo.toml").replace("hello_wsh", package);
    let metadata = format!("[package.metadata.wshd]\nfile = {file:?}\n");
    site.write(
        &format!("{directory}/Cargo.toml"),
        &format!("{manifest}\n{metadata}"),
    );
    site.write(&format!("{directory}/src/lib.rs"), &read("src/lib.rs"));
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

/// Writes the handler of handlers/c after `change`.
pub(crate) fn write_c(site: &Site, file: &str, change: impl Fn(&str) -> String) {
    let handler = Path::new(env!("CARGO_MANIFEST_DIR")).join("../handlers/c/cecho.c");
    let handler = std::fs::read_to_string(handler).expect("the handler in C");
    site.write(file, &change(&handler));
}

#[test]
fn a_saved_handler_is_live_for_all_sessions_and_a_broken_one_changes_nothing() {
    let site = Site::empty();
    write_crate(&site, "hello");
    write_copy(&site, "crates/sub", "of_folder", "sub/_wsh.so");
    write_copy(&site, "crates/lost", "lost", "sub/lost.so");
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
    server.line(&["sub/_wsh   ws://localhost:", "/sub"]);
    assert_eq!(server.connect("/sub/").ask("ann"), "hello ann");
    server.line(&[
        "lost/Cargo.toml` is left out: `package.metadata.wshd` wants `file` to be a path",
        "found `\"sub/lost.so\"`",
    ]);
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

    server.signal("USR2");
    server.line(&["signal=SIGUSR2", "has no meaning here"]);
    assert_eq!(open.ask("hello"), "hello");
    server.signal("HUP");

    assert_eq!(open.close_code(), 1001);
    assert_eq!(server.wait(Duration::from_secs(5)).code(), Some(0));
}

#[test]
fn a_developers_server_meets_signals_in_its_first_moment() {
    let site = Site::empty();
    write_c(&site, "mine/tea.c", str::to_owned);
    let dev = |signals: &str| {
        let server = Server::bare(&site).args(["dev", "mine", "-p", "0"]);
        server.within(meeting(signals)).spawn()
    };

    let server = dev("USR1 USR2").listening();

    assert_eq!(server.handshake_status("/nowhere"), 404);
    for stop in ["HUP", "INT"] {
        let ended = dev(stop).wait(Duration::from_secs(5));
        assert_eq!(ended.code(), Some(0), "{stop}");
    }
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
    server.signal("USR2");
    server.line(&["signal=SIGUSR2", "has no meaning here"]);

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

/// Whether a process runs. One that has ended and is not reaped does not.
fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_workspace_that_is_built_only_when_named_is_left_out_with_the_way_to_build_it() {
    let site = Site::empty();
    write_c(&site, "mine/tea.c", str::to_owned);
    let only_when_named = |value: bool| {
        site.write(
            "mine/more/Cargo.toml",
            &format!(
                "[workspace]\nmembers = [\"slow_wsh\"]\nresolver = \"3\"\n[workspace.metadata.wshd]\n\
                 only_when_named = {value}\n"
            ),
        )
    };
    only_when_named(true);
    site.write(
        "mine/more/slow_wsh/Cargo.toml",
        "[package]\nname = \"slow_wsh\"\n[lib]\ncrate-type = [\"cdylib\"]\n",
    );
    site.write("mine/more/slow_wsh/src/lib.rs", "this is no Rust");

    let server = Server::bare(&site).args(["dev", "mine", "-p", "0"]).start();
    server.line_within(BUILT, &["tea_wsh  ws://localhost:", "/tea"]);
    server.line(&[
        "mine/more` is left out: its `Cargo.toml` says `only_when_named = true`; `wshd dev /",
        "mine/more` builds it",
    ]);
    assert_eq!(server.connect("/tea").ask("hello"), "hello");
    assert_eq!(server.count_lines(&["slow_wsh"]), 0, "{}", server.log());
    drop(server);

    let named = Server::bare(&site);
    let named = named.args(["dev", "mine/more", "-p", "0"]).start();
    named.line_within(
        BUILT,
        &["slow_wsh  not built; will answer at ws://localhost:"],
    );
    assert_eq!(named.count_lines(&["left out"]), 0, "{}", named.log());
    drop(named);

    // A library that is no handler is built and not loaded.
    site.write("mine/more/slow_wsh/src/lib.rs", "");
    only_when_named(false);
    let server = Server::bare(&site).args(["dev", "mine", "-p", "0"]).start();
    server.line_within(BUILT, &["slow_wsh  ", "will answer at ws://localhost:"]);
    only_when_named(true);
    server.line_within(BUILT, &["mine/more` is left out: its `Cargo.toml` says"]);
    server.line(&["slow_wsh: it is not built any more, and its library removed"]);
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
