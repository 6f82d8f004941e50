//! `wshd upgrade`: an operator has another process take the place of a server, and is told what becomes of it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::dashboard::port_of;
use crate::dev::write_c;
use crate::harness::client::Raw;
use crate::harness::eventually;
use crate::harness::server::{Server, status_of};
use crate::upgrades::{PATIENT, Place};

const SOON: Duration = Duration::from_secs(15);

/// A site whose server takes commands.
fn place(more: &str) -> Place {
    Place::new(&format!(
        "listen = [\"127.0.0.1:0\"]\nadmin_socket = \"admin.sock\"\n{more}"
    ))
}

#[track_caller]
fn wshd(place: &Place, arguments: &[&str]) -> Output {
    let socket = ["--socket", "admin.sock"];
    Server::bare(&place.site)
        .args(arguments)
        .args(socket)
        .output()
}

#[track_caller]
fn json(place: &Place, command: &str) -> Value {
    let output = wshd(place, &[command, "--json"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn the_command_ends_when_the_new_process_serves_and_takes_commands() {
    let place = place("");
    let mut server = place.builder().start();

    let upgraded = json(&place, "upgrade");

    assert_eq!(upgraded["pid_before"], server.pid());
    let status = json(&place, "status");
    assert_eq!(status["pid"], upgraded["pid"]);
    assert_ne!(status["pid"], server.pid());
    let program = upgraded["program"].as_str().expect("a path");
    assert_eq!(
        Path::new(program).file_name(),
        Some("wshd".as_ref()),
        "{program}"
    );
    assert_eq!(server.wait_for_process(SOON).code(), Some(0));

    // Once more, for people.
    let output = wshd(&place, &["upgrade"]);
    let text = String::from_utf8(output.stdout).expect("text");
    let ends = format!(
        "; process {} closes its sessions and ends\n",
        status["pid"].as_u64().expect("a number")
    );
    assert!(
        text.starts_with("process ") && text.ends_with(&ends),
        "{text}"
    );
    assert_eq!(server.handshake_status("/echo"), 101);
}

/// Waits with `wshd drain` for a session whose peer does not close, while `meanwhile` runs. Answers how the command ended.
fn drained_while(
    place: &Place,
    server: &Server,
    meanwhile: impl FnOnce(),
) -> (Option<i32>, String) {
    let silent = Raw::open(server, "/echo");
    let output = std::thread::scope(|scope| {
        let drain = scope.spawn(|| wshd(place, &["drain", "echo", "--wait", "60"]));
        server.line(&["an operator drains a handler", "sessions=1"]);
        meanwhile();
        drain.join().expect("it ends")
    });
    drop(silent);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).expect("text");
    (output.status.code(), said)
}

#[test]
fn a_drain_that_waits_is_told_of_an_upgrade_and_of_the_end_of_the_server() {
    let place = place("[limits]\nclose_timeout_ms = 60000\nstop_timeout_ms = 300\n");
    let mut server = place.builder().start();
    let old = server.pid();

    let mut new = 0;
    let (code, said) = drained_while(&place, &server, || {
        let upgraded = json(&place, "upgrade");
        new = upgraded["pid"].as_u64().expect("a number");
    });

    let expected = format!(
        "wshd: another process ({new}) has taken the place of the server (process {old}), which closes its 1 session of echo \
         and ends; the new one serves echo, and `wshd drain echo` drains it\n"
    );
    assert_eq!((code, said), (Some(1), expected));
    assert_eq!(server.wait_for_process(SOON).code(), Some(0));

    let new = u32::try_from(new).expect("a process");
    let (code, said) = drained_while(&place, &server, || crate::upgrades::signal(new, "TERM"));
    let expected = format!(
        "wshd: the server (process {new}) ends, and its sessions with it; a process that takes its place, or is started from \
         now on, serves echo\n"
    );
    assert_eq!((code, said), (Some(3), expected));
}

#[test]
fn the_command_says_why_the_new_process_does_not_take_over() {
    let place = place("");
    let server = place.builder().start();
    let mut session = server.connect("/echo");
    let mut fails = |why: &str| {
        let output = wshd(&place, &["upgrade"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("does not take over, and the server serves on: "),
            "{said}"
        );
        assert!(said.contains(why), "{said}");
        assert_eq!(session.ask("hello"), "hello");
        assert_eq!(json(&place, "status")["pid"], server.pid());
    };

    place.put_script("exit 3");
    fails("it has ended with exit status 3; its own lines say why");
    place.put_script("kill -SEGV $$");
    fails("it has ended with signal 11 (SIGSEGV); its own lines may say why");
    place.put(Path::new("/nonexistent/wshd"));
    fails("it cannot be started: No such file or directory");
    // The new process says itself what is wrong: with the configuration, and later with what it says.
    place.put(Path::new(env!("CARGO_BIN_EXE_wshd")));
    place.site.write("config.toml", "listen = 1\n");
    fails("config.toml:1:10: `listen` wants");
    place.site.write(
        "config.toml",
        "listen = [\"127.0.0.1:0\"]\nadmin_socket = \"nowhere/admin.sock\"\n",
    );
    fails("cannot make the admin socket");
}

#[test]
fn a_second_operator_is_told_that_an_upgrade_is_under_way() {
    let place = place("");
    let server = place.builder().start();
    place.put_script("echo it is there >&2; exec sleep 1000");
    std::thread::scope(|scope| {
        let first = scope.spawn(|| wshd(&place, &["upgrade"]));
        server.line(&["it is there"]);

        let second = wshd(&place, &["upgrade"]);
        server.signal("TERM");

        let said = String::from_utf8_lossy(&second.stderr).into_owned();
        assert_eq!(second.status.code(), Some(1), "{said}");
        assert_eq!(
            said,
            "wshd: an upgrade is under way already; it ends by itself\n"
        );
        let first = first.join().expect("it ends");
        let said = String::from_utf8_lossy(&first.stderr).into_owned();
        assert_eq!(first.status.code(), Some(1), "{said}");
        assert_eq!(said, "wshd: the server was told to stop meanwhile\n");
    });
}

#[test]
fn a_developers_server_is_not_upgraded() {
    let place = place("");
    write_c(&place.site, "mine/tea.c", str::to_owned);
    let server = Server::bare(&place.site).args(["dev", "mine", "-p", "0"]);
    let _server = server.start();
    eventually("it takes commands", || {
        place.site.root().join("admin.sock").exists()
    });

    let output = wshd(&place, &["upgrade"]);

    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("`wshd dev` is not upgraded"), "{said}");
}

#[test]
fn commands_find_the_new_process_while_the_old_one_still_drains() {
    let place = Place::new(&format!("listen = [\"127.0.0.1:0\"]\n{PATIENT}"));
    let run = place.site.root().join("run");
    std::fs::create_dir(&run).expect("a directory");
    let run = run.to_str().expect("text");
    let server = place.builder().env("XDG_RUNTIME_DIR", run).start();
    // It does not answer the Close frame, and so the old process stays.
    let _slow = Raw::open(&server, "/echo");
    let ask = |command: &str| -> Value {
        let asked = Server::bare(&place.site).args([command, "--json"]);
        let output = asked.env("XDG_RUNTIME_DIR", run).output();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {said}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    };

    let upgraded = ask("upgrade");

    assert_eq!(ask("status")["pid"], upgraded["pid"]);
    assert_eq!(ask("upgrade")["pid_before"], upgraded["pid"]);
}

/// Asks the admin address for what `/status` says of its process.
#[track_caller]
fn pid_at(port: u16) -> u64 {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the admin page is served");
    let request = format!("GET /status HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert_eq!(status_of(&answer), 200, "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    let status: Value = serde_json::from_str(body).expect("JSON");
    status["pid"].as_u64().expect("a number")
}

#[test]
fn the_admin_address_changes_hands_and_refuses_no_one() {
    let place = place(&format!("[admin]\nlisten = \"127.0.0.1:0\"\n{PATIENT}"));
    let server = place.builder().start();
    let _slow = Raw::open(&server, "/echo");
    let port = port_of(&server.line(&["admin page is served"]));
    let is_over = AtomicBool::new(false);

    let (new, asked) = std::thread::scope(|scope| {
        let ask = scope.spawn(|| {
            let mut asked = 0;
            while !is_over.load(Ordering::Relaxed) {
                pid_at(port);
                asked += 1;
            }
            asked
        });
        let new = json(&place, "upgrade")["pid"].as_u64();
        is_over.store(true, Ordering::Relaxed);
        (new.expect("a number"), ask.join().expect("none is refused"))
    });

    assert!(asked > 0);
    // The old process has not ended, and has let go.
    for _ in 0..20 {
        assert_eq!(pid_at(port), new);
    }
    server.says(&["cannot listen for the admin page"], 0);
    eventually("both are there", || place.processes() == 2);
}
