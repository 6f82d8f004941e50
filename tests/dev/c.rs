//! `wshd dev` on handlers in C and C++.

use std::path::Path;

use super::page::Page;
use super::{BUILT, write_c};
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::within;

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

    // A library that is no plugin is told like a source that does not compile.
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

    // The compiler would read this header for ever.
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

    // One handler more, and one less.
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
fn names_in_the_configuration_are_looked_for_once_the_handlers_have_been_built() {
    let site = Site::empty();
    write_c(&site, "mine/tea.c", str::to_owned);
    let history = "history = { count = 1 }\n";
    site.write(
        "config.toml",
        &format!(
            "[topics.\"tea/*\"]\n{history}[topics.\"milk/*\"]\n{history}[handler.tea]\n[routes]\n\"/cup\" = \"/tea\"\n"
        ),
    );
    let server = Server::bare(&site)
        .args(["dev", "mine", "-p", "0", "--config", "config.toml"])
        .start();
    server.line_within(BUILT, &["tea_wsh  ws://localhost:", "/tea"]);
    assert_eq!(server.connect("/cup").ask("hello"), "hello");

    server.line(&["configured, and not there yet", "names handler `milk`"]);
    assert_eq!(
        server.count_lines(&["not there yet"]),
        1,
        "{}",
        server.log()
    );
}
