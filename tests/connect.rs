//! `wshd connect`, against this server and against servers that do wrong.

#![allow(
    clippy::result_large_err,
    reason = "tungstenite says so what its callback in an opening handshake answers"
)]

mod ends;
mod terminal;
mod transports;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;

use tungstenite::WebSocket;
use tungstenite::protocol::CloseFrame;

use crate::harness::server::Server;
use crate::harness::site::Site;

/// Runs `wshd connect` with these arguments and this stdin.
#[track_caller]
fn connect(arguments: &[&str], stdin: impl AsRef<[u8]>) -> Output {
    connect_as(arguments, stdin).1
}

/// Runs `wshd connect`, and returns the id of its process, too.
#[track_caller]
fn connect_as(arguments: &[&str], stdin: impl AsRef<[u8]>) -> (u32, Output) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_wshd"))
        .arg("connect")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("wshd starts");
    let mut input = child.stdin.take().expect("its stdin is piped");
    let bytes = stdin.as_ref().to_vec();
    // It fails where the client does not read stdin to its end.
    let writing = std::thread::spawn(move || input.write_all(&bytes).is_ok());
    let process = child.id();
    let output = child.wait_with_output().expect("wshd ends");
    let _ = writing.join().expect("no panic");
    (process, output)
}

/// Asserts how a client ended: its exit code, stdout and stderr.
#[track_caller]
fn ended(output: &Output, code: i32, stdout: &str, stderr: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), stdout);
    assert_eq!(output.status.code(), Some(code));
}

fn url(server: &Server, path: &str) -> String {
    format!("ws://localhost:{}{path}", server.port())
}

/// A server of one connection, on a thread. Answers its URL.
fn server_of(serve: impl FnOnce(std::net::TcpStream) + Send + 'static) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let serving = std::thread::spawn(move || serve(listener.accept().expect("a client").0));
    (format!("ws://127.0.0.1:{port}/"), serving)
}

/// Reads a Close frame of the client. Returns its code.
fn close_code(stream: &mut std::net::TcpStream) -> u16 {
    let mut frame = [0; 8];
    stream.read_exact(&mut frame).expect("a Close frame");
    u16::from_be_bytes([frame[6] ^ frame[2], frame[7] ^ frame[3]])
}

/// Reads to the end of a request, and of what follows.
fn drain<S: Read + Write>(mut socket: WebSocket<S>) {
    while socket.read().is_ok() {}
}

#[test]
fn lines_of_stdin_are_sent_and_the_answers_printed() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    let url = url(&server, "/echo");

    let lines = connect(&[&url, "-n", "3"], "hello\n\n  wörld \r\n");
    ended(&lines, 0, "hello\n\n  wörld \n", "");
    let last = connect(&[&url], "without a line break");
    ended(&last, 0, "without a line break\n", "");
    let whole = connect(&[&url, "--whole"], "a\nb\n");
    ended(&whole, 0, "a\nb\n\n", "");
    let binary = connect(&[&url, "--binary", "--whole", "-n", "1"], b"\x00\xff\n");
    assert_eq!(binary.stdout, b"\x00\xff\n");
    let argument = connect(&[&url, "-m", "one", "-m", "two", "-n", "2"], "");
    ended(&argument, 0, "one\ntwo\n", "");
}

#[test]
fn answers_that_come_later_are_waited_for() {
    let site = Site::with(&["clock_wsh"]);
    let server = Server::start(&site);
    let output = connect(
        &["--wait", "forever", "-n", "1", &url(&server, "/clock")],
        "",
    );
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stdout.iter().filter(|it| **it == b'\n').count(), 1);
}

#[test]
fn a_transcript_is_that_of_pywebsockets_client() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    let url = url(&server, "/echo");
    let output = connect(&["--transcript", "-m", "Hello", "-n", "1", &url], "");
    ended(
        &output,
        0,
        "Send: Hello\nRecv: Hello\nSend close\nRecv ack\n",
        "",
    );
    let output = connect(
        &["--transcript", "-m", "Goodbye", "--wait", "forever", &url],
        "",
    );
    let server_first = "Send: Goodbye\nRecv: Goodbye\nRecv close\nSend ack\n";
    ended(&output, 0, server_first, "");
}

#[test]
fn as_many_messages_are_printed_as_were_asked_for() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    let url = url(&server, "/echo");
    let lines: String = (0..1000).map(|n| format!("{n}\n")).collect();

    ended(&connect(&[&url, "-n", "1"], &lines), 0, "0\n", "");
    let two = connect(&[&url, "-n", "2", "-m", "a", "-m", "b", "-m", "c"], "");
    ended(&two, 0, "a\nb\n", "");
}

#[test]
fn pings_do_not_keep_a_client_that_has_sent_all() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);

    let arguments = ["--ping", "0.02", "--wait", "0.3", "-m", "a"];
    let output = connect(&[&arguments[..], &[&url(&server, "/echo")]].concat(), "");

    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.stdout, b"a\n");
    assert!(said.contains("pong after "), "{said}");
    assert_eq!(output.status.code(), Some(0), "{said}");
}

#[test]
fn much_goes_both_ways_at_once_also_compressed() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    let url = url(&server, "/echo");
    let lines: String = (0..300)
        .map(|n| format!("{n}{}\n", "abc".repeat(20_000)))
        .collect();
    for more in [&[][..], &["--compress"]] {
        let output = connect(&[more, &["-n", "300", &url]].concat(), &lines);
        assert_eq!(output.status.code(), Some(0));
        assert!(output.stdout == lines.as_bytes(), "{more:?}");
    }
}

#[test]
fn the_request_carries_what_was_asked_for() {
    let (url, serving) = server_of(|stream| {
        let check = |request: &tungstenite::handshake::server::Request,
                     mut response: tungstenite::handshake::server::Response| {
            let header = |name: &str| request.headers()[name].to_str().expect("text").to_owned();
            assert_eq!(request.uri().path(), "/");
            assert_eq!(header("Sec-WebSocket-Protocol"), "a, b, c");
            assert_eq!(header("Origin"), "http://a.example");
            assert_eq!(header("Cookie"), "d=e");
            assert_eq!(header("Authorization"), "Basic YW5uOmE6Yg==");
            assert_eq!(
                header("Sec-WebSocket-Extensions"),
                "permessage-deflate; client_max_window_bits"
            );
            response
                .headers_mut()
                .insert("Sec-WebSocket-Protocol", "b".parse().expect("a value"));
            Ok(response)
        };
        drain(tungstenite::accept_hdr(stream, check).expect("a handshake"));
    });
    let arguments = [
        "--subprotocol",
        "a,b",
        "--subprotocol",
        "c",
        "--origin",
        "http://a.example",
        "-H",
        "Cookie: d=e",
        "--user",
        "ann:a:b",
        "--compress",
        "--wait",
        "0",
        &url,
    ];
    ended(&connect(&arguments, ""), 0, "", "");
    serving.join().expect("the request is as expected");
}

#[test]
fn the_close_frame_is_the_one_asked_for() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    let output = connect(
        &[
            "--close",
            "4000 good bye",
            "--wait",
            "0",
            &url(&server, "/echo"),
        ],
        "",
    );
    ended(&output, 0, "", "");
    server.line(&["session closed", "path=/echo", "code=4000"]);

    // A body is what was asked for, also where no peer may send it.
    for (close, body) in [
        ("1005", &b""[..]),
        ("0 hi", b"\0\0hi"),
        ("1006 hi", b"\x03\xeehi"),
    ] {
        let (url, serving) = server_of(move |stream| {
            let mut socket = tungstenite::accept(stream).expect("a handshake");
            let mut frame = vec![0; 6 + body.len()];
            let stream = socket.get_mut();
            stream.read_exact(&mut frame).expect("a Close frame");
            let (head, payload) = frame.split_at(6);
            assert_eq!(head[..2], [0x88, 0x80 | body.len() as u8]);
            let payload = payload.iter().zip(head[2..].iter().cycle());
            assert_eq!(payload.map(|(a, b)| a ^ b).collect::<Vec<_>>(), body);
        });
        connect(&["--wait", "0", "--close", close, &url], "");
        serving.join().expect("the Close frame is as expected");
    }
    let reason = connect(&["--close", "1005 hi", "ws://localhost/"], "");
    let said = String::from_utf8_lossy(&reason.stderr);
    assert!(
        said.contains("1005 stands for a Close frame without a code"),
        "{said}"
    );
    assert_eq!(reason.status.code(), Some(2));
}

#[test]
fn the_exit_status_says_how_it_ended() {
    let site = Site::with(&["echo_wsh", "async_echo_wsh"]);
    let server = Server::start(&site);
    let port = server.port();

    let refused = connect(&[&url(&server, "/nowhere")], "");
    let said = String::from_utf8_lossy(&refused.stderr);
    let beginning =
        format!("wshd: no WebSocket at `ws://localhost:{port}/nowhere`: it answered 404 Not Found");
    assert!(said.starts_with(&beginning), "{said}");
    assert_eq!(refused.status.code(), Some(3));
    let foreign = [
        "--origin",
        "http://evil.example",
        &url(&server, "/async_echo"),
    ];
    assert_eq!(connect(&foreign, "").status.code(), Some(3));

    // A server's own close code.
    let (url, serving) = server_of(|stream| {
        let mut socket = tungstenite::accept(stream).expect("a handshake");
        let frame = CloseFrame {
            code: 4001.into(),
            reason: "no\u{1b}[31m".into(),
        };
        socket.close(Some(frame)).expect("a Close frame");
        drain(socket);
    });
    let closed = connect(&["--wait", "forever", &url], "");
    ended(
        &closed,
        4,
        "",
        "wshd: the server closed with 4001 `no\\u{1b}[31m`\n",
    );
    serving.join().expect("no panic");

    let (url, serving) = server_of(|stream| drop(tungstenite::accept(stream)));
    let lost = connect(&["--wait", "forever", &url], "");
    ended(
        &lost,
        5,
        "",
        "wshd: the server ended the connection without a Close frame\n",
    );
    serving.join().expect("no panic");

    let (url, serving) = server_of(|stream| {
        let mut socket = tungstenite::accept(stream).expect("a handshake");
        socket.get_mut().write_all(b"\x83\x00").expect("a frame");
        // The client says with which code it leaves.
        assert_eq!(close_code(socket.get_mut()), 1002);
    });
    let broken = connect(&["--wait", "forever", &url], "");
    let fault =
        "wshd: the server breaks the protocol: a frame has the reserved opcode 3 (RFC 6455 §5.2)\n";
    ended(&broken, 5, "", fault);
    serving.join().expect("no panic");
}

#[test]
fn what_is_no_server_of_websockets_is_said_in_a_sentence() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let nothing = connect(&[&format!("127.0.0.1:{port}")], "");
    let refused =
        format!("wshd: cannot connect to `127.0.0.1:{port}`: Connection refused (os error 111)\n");
    ended(&nothing, 1, "", &refused);

    let (url, serving) = server_of(|mut stream| stream.write_all(b"SSH-2.0-x\r\n").expect("bytes"));
    let ssh = connect(&[&url], "");
    let said = format!(
        "wshd: no WebSocket at `{url}`: it does not speak HTTP: its answer begins with `SSH-2.0-x\\r\\n`\n"
    );
    ended(&ssh, 3, "", &said);
    serving.join().expect("no panic");

    let unknown = connect(&["ws://a..b/"], "");
    let said = String::from_utf8_lossy(&unknown.stderr);
    assert!(said.starts_with("wshd: cannot find `a..b`: "), "{said}");
    assert_eq!(unknown.status.code(), Some(1));

    let wrong = connect(&["ftp://a/"], "");
    ended(
        &wrong,
        2,
        "",
        "wshd: `ftp://` is no scheme of WebSocket: wants `ws://`, `wss://` or `ws+unix:`\n",
    );

    // An answer counts that came in time, whatever of its body is still to come.
    let (url, serving) = server_of(|mut stream| {
        let answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
                       HTTP/1.1 503 Busy\r\n\r\nlater";
        stream.write_all(answer).expect("bytes");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let busy = connect(&["--timeout", "0.2", &url], "");
    let said = format!("wshd: no WebSocket at `{url}`: it answered 503 Busy: later\n");
    ended(&busy, 3, "", &said);
    serving.join().expect("no panic");

    // A server that never answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("ws://{}/", silent.local_addr().expect("an address"));
    let late = connect(&["--timeout", "0.2", &url], "");
    let place = url.trim_start_matches("ws://").trim_end_matches('/');
    ended(
        &late,
        1,
        "",
        &format!("wshd: `{place}` does not answer within 0.2 s\n"),
    );
}

#[test]
fn text_that_is_not_utf8_is_not_sent() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    let output = connect(&[&url(&server, "/echo")], b"fine\n\xff\n");
    let said = "wshd: line 2 of stdin is not UTF-8: `--binary` sends any bytes\n";
    ended(&output, 1, "fine\n", said);
}
