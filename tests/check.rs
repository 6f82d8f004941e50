//! `wshd check` tells what a start would refuse, and leaves everything as it is.

use std::collections::BTreeSet;
use std::fs;

use crate::configuration::wshd;
use crate::harness::server::Server;
use crate::harness::site::Site;

#[test]
fn a_check_says_what_the_server_would_say() {
    let site = Site::with(&["echo_wsh"]);
    site.write("config.toml", "[routes]\n\"/\" = \"/ecko\"\n");
    let (code, said) = wshd(&site, &["check"]);
    assert_eq!(code, Some(78), "{said}");
    assert!(
        said.contains("good: /echo echo_wsh.so (Sends every message back)\n"),
        "{said}"
    );
    let fault = "config.toml:2:1: route `/` names handler `ecko`, which does not exist; there is `echo`; did you mean `echo`?";
    assert!(said.contains(fault), "{said}");

    site.write("config.toml", "");
    site.add_bytes(b"#!/bin/sh\n", "bad_wsh.so");
    let (code, said) = wshd(&site, &["check"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("wshd: cannot load `bad_wsh.so`: it is not a shared library"),
        "{said}"
    );
}

#[test]
fn a_check_tells_all_that_is_wrong_in_one_run_with_its_place() {
    let site = Site::with(&["echo_wsh"]);
    let wrong = r#"listen = ["127.0.0.1:0", "unix:gone/a.sock", "proxy:127.0.0.1:3"]
pid_file = "gone/pid"
admin_socket = "gone/admin.sock"
log_file = "gone/log"
access_log_file = "gone/access"
document_root = "gone"
handlers_map_file = "gone.map"
users_file = "gone.users"
tokens_file = "gone.tokens"
colour = 3
[limits]
connections_max = 0
[tls]
certificates = [{ certificate = "gone.pem" }, { certificate = "lost.pem" }]
"#;
    site.write("config.toml", wrong);
    let check = || {
        let builder = Server::bare(&site).env("WSHD_LOG_LEVEL", "loud");
        let output = builder.arg("check").output();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };

    let (code, said) = check();

    assert_eq!(code, Some(78), "{said}");
    for expected in [
        "`WSHD_LOG_LEVEL` wants ",
        "config.toml:10:1: unknown key `colour`",
        "config.toml:12:19: `connections_max` wants ",
        "config.toml:1:46: cannot listen on `proxy:127.0.0.1:3`",
        "config.toml:7:21: cannot read ",
        "config.toml:8:14: cannot read ",
        "config.toml:9:15: cannot read ",
        "config.toml:1:26: cannot listen on unix:",
        "config.toml:2:12: cannot write ",
        "config.toml:3:16: cannot make the admin socket ",
        "config.toml:4:12: cannot open the log file ",
        "config.toml:5:19: cannot open the access log file ",
        "config.toml:6:17: cannot serve pages from ",
        "config.toml:14:33: cannot read ",
        "config.toml:14:63: cannot read ",
        "wshd: note: no handler was tried",
    ] {
        assert!(said.contains(expected), "{expected}\n{said}");
    }
    assert!(!site.root().join("gone").exists());

    // A server that is started tells all of its configuration, too, and does not get to the rest.
    let (code, said) = wshd(&site, &[]);
    assert_eq!(code, Some(78), "{said}");
    for expected in [
        "config.toml:10:1: ",
        "config.toml:7:21: ",
        "config.toml:9:15: ",
    ] {
        assert!(said.contains(expected), "{expected}\n{said}");
    }
}

#[test]
fn a_check_tells_of_an_admin_socket_at_which_no_server_can_be() {
    let site = Site::with(&["echo_wsh"]);
    site.write("precious", "a letter\n");
    let long = "x".repeat(120);
    for (path, why) in [
        ("precious", "precious`: what lies there is no socket"),
        (&*long, "x`: path must be shorter"),
    ] {
        let (code, said) = wshd(&site, &["check", "--admin-socket", path]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("cannot make the admin socket `"), "{said}");
        assert!(said.contains(why), "{said}");
    }
    let (code, said) = wshd(&site, &["check", "--admin-socket", "admin.sock"]);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_check_does_not_tell_what_is_wrong_only_because_something_else_is() {
    let site = Site::with(&["echo_wsh"]);
    let wrong = r#"listen = ["tls:127.0.0.1:0"]
users_file = 3
handlers_dir = 4
[tls]
certificates = "cert.pem"
[auth]
"/echo" = "required"
"#;
    site.write("config.toml", wrong);

    let (code, said) = wshd(&site, &["check"]);

    assert_eq!(code, Some(78), "{said}");
    let told = said.lines().filter(|line| line.contains("config.toml:"));
    assert_eq!(told.count(), 3, "{said}");
    assert_eq!(said.matches("wshd: ").count(), 1, "{said}");
}

#[test]
fn a_check_notes_topics_of_a_handler_that_is_not_there_and_does_not_fail() {
    let site = Site::with(&["echo_wsh"]);
    site.write(
        "config.toml",
        "[topics.\"ecko/*\"]\nhistory = { count = 1 }\n",
    );

    let (code, said) = wshd(&site, &["check"]);

    assert_eq!(code, Some(0), "{said}");
    let note = "wshd: note: config.toml:1:9: `[topics.\"ecko/*\"]` names handler `ecko`, which does not exist; there is \
                `echo`; did you mean `echo`?\n  |\n1 | [topics.\"ecko/*\"]\n  |         ^^^^^^^^\n";
    assert!(said.ends_with(note), "{said}");
}

#[test]
fn a_check_that_finds_no_handler_says_so() {
    let site = Site::empty();
    let handlers = site.handlers();
    let path = handlers.display();

    let (code, said) = wshd(&site, &["check"]);
    assert_eq!(code, Some(0), "{said}");
    let empty =
        format!("wshd: note: no handler is in `{path}` yet: there are no files named `…_wsh.so`\n");
    assert_eq!(said, empty);

    site.write("handlers/hello_wsh/Cargo.toml", "[package]\n");
    let (code, said) = wshd(&site, &["check"]);
    assert_eq!(code, Some(0), "{said}");
    let hint = format!(
        "wshd: note: there are crates of handlers and no libraries in `{path}`; `wshd dev {path}` builds and serves them\n"
    );
    assert_eq!(said, hint);

    fs::remove_dir_all(site.root().join("handlers/hello_wsh")).expect("removing");
    site.write("handlers/sub/echo_wsh.py", "# a handler\n");
    let (code, said) = wshd(&site, &["check"]);
    assert_eq!(code, Some(0), "{said}");
    let python = format!(
        "wshd: note: `sub/echo_wsh.py` in `{path}` is a handler of pywebsocket, in Python; here handlers are compiled, and \
         `wshd new NAME` makes one to begin with\n"
    );
    assert_eq!(said, python);

    // What is refused is something that was found.
    site.add_bytes(b"#!/bin/sh\n", "bad_wsh.so");
    let (code, said) = wshd(&site, &["check"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(!said.contains("there are"), "{said}");
}

#[test]
fn a_check_leaves_no_directory_behind_and_tells_where_none_can_be_made() {
    let site = Site::with(&["echo_wsh"]);
    site.write("config.toml", "stage_dir = \"new/stage\"\n");
    let names = || {
        let entries = fs::read_dir(site.root()).expect("a directory");
        let names = entries.map(|it| it.expect("an entry").file_name());
        names.collect::<BTreeSet<_>>()
    };
    let before = names();

    let (code, said) = wshd(&site, &["check"]);

    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("good: /echo"), "{said}");
    assert_eq!(names(), before);

    // A file is where the directory is to be.
    site.write("new", "");
    let (code, said) = wshd(&site, &["check"]);
    assert_eq!(code, Some(1), "{said}");
    let why = "new/stage`: Not a directory (os error 20); `stage_dir` names another";
    assert!(said.contains(why), "{said}");
}

#[test]
fn a_private_key_without_its_certificate_is_told() {
    let site = Site::with(&["echo_wsh"]);
    let (code, said) = wshd(&site, &["check", "-k", "key.pem"]);

    assert_eq!(code, Some(0), "{said}");
    let why = "key.pem` is not used: it is that of no certificate; `--certificate FILE` names one";
    assert!(said.contains(why), "{said}");
}
