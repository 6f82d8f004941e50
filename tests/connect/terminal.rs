//! `wshd connect` in a terminal.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use tungstenite::Message;

use super::{drain, server_of};

/// Runs `wshd connect` in a terminal of its own. What is written to the child's stdin is typed there.
fn in_terminal(url: &str) -> Child {
    // `script`, of bsdutils, gives a program a terminal.
    Command::new("script")
        .args([
            "-qec",
            &format!("{} connect {url}", env!("CARGO_BIN_EXE_wshd")),
            "/dev/null",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script, of bsdutils, runs")
}

#[test]
fn in_a_terminal_lines_may_be_commands_and_nothing_that_comes_steers_it() {
    let (url, serving) = server_of(|stream| {
        let mut socket = tungstenite::accept(stream).expect("a handshake");
        socket
            .send(Message::text("\u{1b}]0;evil\u{7}"))
            .expect("sending");
        loop {
            match socket.read().expect("a message") {
                Message::Text(text) => assert_eq!(text.as_str(), "/slash"),
                Message::Ping(payload) => assert_eq!(&payload[..], b"p"),
                Message::Close(frame) => {
                    let frame = frame.expect("a code");
                    assert_eq!(
                        (u16::from(frame.code), frame.reason.as_str()),
                        (4002, "done")
                    );
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        drain(socket);
    });
    let mut script = in_terminal(&url);
    let mut stdin = script.stdin.take().expect("its stdin is piped");
    stdin
        .write_all(b"/help\n//slash\n/ping p\n/what\n\xff\n/close 4002 done\n")
        .expect("writing");
    let output = script.wait_with_output().expect("script ends");
    drop(stdin);
    serving.join().expect("the server got what was typed");

    let shown = String::from_utf8_lossy(&output.stdout);
    for wanted in [
        &format!("wshd: connected to `{url}`"),
        "< \\u{1b}]0;evil\\u{7}",
        "/ping [TEXT]",
        "`/what` is no command",
        "line 5 of stdin is not UTF-8: `--binary` sends any bytes",
    ] {
        assert!(shown.contains(wanted), "{wanted} in {shown}");
    }
    assert!(!shown.contains("\u{1b}]0;"), "{shown}");
    assert_eq!(output.status.code(), Some(0), "{shown}");
}

#[test]
fn in_a_terminal_two_ctrl_d_behind_a_line_without_a_break_end_it() {
    let (url, serving) = server_of(|stream| {
        let mut socket = tungstenite::accept(stream).expect("a handshake");
        let first = socket.read().expect("a message");
        assert_eq!(first.to_text().expect("text"), "a");
        drain(socket);
    });
    let mut script = in_terminal(&url);
    let mut stdin = script.stdin.take().expect("its stdin is piped");
    let mut stdout = script.stdout.take().expect("its stdout is piped");
    // Before that the terminal is not read, and would take both at once for one.
    let mut shown = Vec::new();
    while !String::from_utf8_lossy(&shown).contains("Ctrl-D closes") {
        let mut byte = [0];
        stdout.read_exact(&mut byte).expect("a banner");
        shown.extend(byte);
    }

    stdin.write_all(b"a\x04\x04").expect("writing");

    let status = script.wait().expect("script ends");
    drop(stdin);
    assert_eq!(status.code(), Some(0));
    serving.join().expect("the server got what was typed");
}
