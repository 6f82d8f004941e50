//! `wsh_test.h`: a handler in C or C++ is tested without a server.

use std::{path::Path, process::Command};

use crate::compiler::{self, C99, CPP11};

/// A handler that asks for everything, and its test.
const ASKS: &str = include_str!("asks.c");
/// A handler that breaks every rule, and its test.
const STAND_IN: &str = include_str!("stand_in.c");

#[test]
fn a_handler_is_driven_through_its_life_and_its_faults_are_answered_as_the_header_says() {
    for (language, extension) in [(C99, "c"), (CPP11, "cpp")] {
        let source = compiler::scratch(&format!("stand_in.{extension}"));
        let binary = compiler::scratch(&format!("stand_in-{extension}"));
        std::fs::write(&source, STAND_IN).unwrap();
        compiler::compile(language, &source, &binary, &["-g"]);

        let output = Command::new(&binary).output().unwrap();

        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{extension}: {told}");
        assert_eq!(told, "fail: it was told to\nfail: it was asked to\n");
    }
}

#[test]
fn what_servers_share_is_there_without_a_server() {
    for (language, extension) in [(C99, "c"), (CPP11, "cpp")] {
        let source = compiler::scratch(&format!("asks.{extension}"));
        let binary = compiler::scratch(&format!("asks-{extension}"));
        std::fs::write(&source, ASKS).unwrap();
        compiler::compile(language, &source, &binary, &["-g"]);

        let output = Command::new(&binary).output().unwrap();

        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*told), (Some(0), ""), "{extension}");
    }
}

#[test]
fn functions_for_any_thread_may_be_called_while_the_test_goes_on() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c/threads.c");
    let binary = compiler::scratch("threads");
    compiler::compile(C99, &source, &binary, &["-pthread"]);

    for _ in 0..10 {
        let output = Command::new(&binary).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
}

#[test]
fn a_test_that_fails_says_what_was_wanted_and_what_was_sent() {
    let source = compiler::scratch("unmet.c");
    let binary = compiler::scratch("unmet");
    let test = r#"
#include <wsh_test.h>
extern const WshDescriptor WSH_HANDLER;
static WshTest test;
int main(void) {
    WshTestSession *client;
    if (wsh_test_begin(&test, &WSH_HANDLER, "{}") != WSH_OK) return 2;
    client = wsh_test_open(&test, NULL);
    wsh_test_text(client, "Ann");
    if (wsh_test_got(client, "Bob") || wsh_test_got(client, "Ann")) return 3;
    if (wsh_test_got_close(client, 1000)) return 4;
    wsh_test_peer_closes(client, 1001, "");
    if (wsh_test_got_close(client, 1000)) return 5;
    return wsh_test_end(&test);
}
"#;
    let echo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../handlers/c/cecho.c");
    let echo = std::fs::read_to_string(echo).unwrap();
    std::fs::write(&source, echo + test).unwrap();
    compiler::compile(C99, &source, &binary, &[]);

    let output = Command::new(&binary).output().unwrap();

    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "`Bob` was wanted, `Ann` was sent\n\
         `Ann` was wanted, and nothing more was sent\n\
         a Close with 1000 was wanted, none was sent\n\
         a Close with 1000 was wanted, 1001 was sent\n"
    );
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn the_stand_in_is_clean_in_every_language_that_reads_the_headers() {
    let object = compiler::scratch("stand_in.o");
    let mut languages = 0;
    for (language, extension) in compiler::languages() {
        let source = compiler::scratch(&format!("clean_stand_in.{extension}"));
        std::fs::write(&source, STAND_IN).unwrap();
        compiler::compile(language, &source, &object, &["-c"]);
        languages += 1;
    }
    assert_eq!(languages, 18);
}
