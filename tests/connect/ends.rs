//! When `wshd connect` ends, with which status, and what it has printed by then.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use tungstenite::WebSocket;

use super::{close_code, connect, ended, server_of, url};
use crate::harness::patience;
use crate::harness::server::Server;
use crate::harness::site::Site;

/// Opens a WebSocket. The server waits for each byte for a limited time.
fn accepted(stream: TcpStream) -> WebSocket<TcpStream> {
    let limit = Some(Duration::from_secs(20) * patience());
    stream.set_read_timeout(limit).expect("a limit");
    tungstenite::accept(stream).expect("a handshake")
}

/// Runs `wshd connect` with another stdout. Answers its exit code and its stderr.
fn connect_to(stdout: Stdio, arguments: &[&str]) -> (Option<i32>, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_wshd"))
        .arg("connect")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .expect("wshd starts");
    // Where stdout is a pipe, its reader goes here.
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("wshd ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    let arguments = ["-m", "a", &url(&server, "/echo")];
    let full = File::options()
        .write(true)
        .open("/dev/full")
        .expect("a device");
    let read_only = File::open("/dev/null").expect("a device");

    let said = |why: &str| format!("wshd: cannot write to stdout: {why}\n");
    assert_eq!(
        connect_to(full.into(), &arguments),
        (Some(6), said("No space left on device (os error 28)"))
    );
    assert_eq!(
        connect_to(read_only.into(), &arguments),
        (Some(6), said("Bad file descriptor (os error 9)"))
    );
    assert_eq!(
        connect_to(Stdio::piped(), &arguments),
        (Some(141), String::new())
    );
    for _ in 0..3 {
        server.line(&["session closed", "path=/echo", "code=1000"]);
    }
}

#[test]
fn a_count_ends_within_a_burst_of_messages() {
    let site = Site::with(&["bench_wsh"]);
    let server = Server::start(&site);
    let burst = connect(&["-n", "1", "-m", "0 50 Z", &url(&server, "/bench")], "");
    ended(&burst, 0, "Z\n", "");
}

#[test]
fn a_message_that_is_longer_than_the_client_takes_is_no_break_of_the_protocol() {
    let (url, serving) = server_of(|stream| {
        let mut socket = accepted(stream);
        let head = b"\x82\x7f\x00\x00\x00\x00\x40\x00\x00\x01";
        socket.get_mut().write_all(head).expect("a head");
        assert_eq!(close_code(socket.get_mut()), 1009);
    });
    let output = connect(&["--wait", "forever", &url], "");
    let said = "wshd: a message of the server has more than 1073741824 bytes, the most that `wshd connect` takes\n";
    ended(&output, 5, "", said);
    serving.join().expect("no panic");
}

#[test]
fn a_server_that_is_silent_after_a_ping_is_left() {
    let (url, serving) = server_of(|stream| {
        let mut socket = accepted(stream);
        // It reads and answers nothing, until the client has gone.
        let mut rest = Vec::new();
        let _ = socket.get_mut().read_to_end(&mut rest);
    });
    let arguments = ["--ping", "0.05", "--timeout", "0.4", "--wait", "forever"];
    let output = connect(&[&arguments[..], &[&url]].concat(), "");
    let said = "wshd: the server is silent: nothing came within 0.4 s after a Ping\n";
    ended(&output, 5, "", said);
    serving.join().expect("no panic");
}
