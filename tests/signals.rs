//! Signals and the end of the server. Every session gets its Close, and none holds the end up for longer than configured.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::harness::client::Raw;
use crate::harness::compile::{compile, unruly};
use crate::harness::server::{Server, opening};
use crate::harness::site::Site;
use crate::harness::{eventually, is_long, within};

/// Far less than the stop timeout, because sessions whose peers answer end at once.
const SOON: Duration = Duration::from_secs(15);

#[track_caller]
fn closes_all_and_exits_0(signal: &str) {
    let site = Site::with(&["echo_wsh"]);
    let mut server = Server::start(&site);
    let mut clients: Vec<_> = (0..50).map(|_| server.connect("/echo")).collect();
    assert_eq!(clients[0].ask("hello"), "hello");

    server.signal(signal);

    for client in &mut clients {
        assert_eq!(client.close_code(), 1001);
    }
    assert_eq!(server.wait(SOON).code(), Some(0));
}

#[test]
fn sigterm_closes_every_session_with_1001_and_exits_0() {
    closes_all_and_exits_0("TERM");
}

#[test]
fn ctrl_c_closes_every_session_with_1001_and_exits_0() {
    closes_all_and_exits_0("INT");
}

#[test]
fn sigquit_closes_every_session_with_1001_and_exits_0() {
    closes_all_and_exits_0("QUIT");
}

#[test]
fn a_signal_without_a_meaning_is_ignored_with_a_line() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    let mut client = server.connect("/echo");

    for name in [
        "ALRM", "VTALRM", "PROF", "IO", "PWR", "STKFLT", "XCPU", "XFSZ",
    ] {
        server.signal(name);
        server.line(&[&format!("signal=SIG{name}"), "has no meaning here"]);
        assert_eq!(client.ask("hello"), "hello", "{name}");
    }
    // The number, because not every `kill` knows the names of real-time signals.
    server.signal(&(libc::SIGRTMIN() + 3).to_string());
    server.line(&["signal=SIGRTMIN+3", "has no meaning here"]);
    assert_eq!(client.ask("hello"), "hello");
}

#[test]
fn a_server_that_is_told_to_stop_while_it_starts_ends_in_good_order() {
    let site = Site::with(&["echo_wsh"]);
    site.add("fails_wsh", "init_hangs_wsh.so");
    site.write("config.toml", "[limits]\ninit_timeout_ms = 1000\n");
    let mut server = Server::builder(&site).spawn();
    server.line(&["configuration read"]);

    server.signal("ALRM");
    server.signal("TERM");

    assert_eq!(server.wait(SOON).code(), Some(0));
    server.line(&["signal=SIGALRM"]);
}

#[test]
fn a_second_signal_ends_a_start_that_hangs() {
    let site = Site::empty();
    site.add("fails_wsh", "init_hangs_wsh.so");
    let mut server = Server::builder(&site).spawn();
    server.line(&["no configuration file"]);

    server.signal("TERM");
    server.line(&["SIGTERM, stopping"]);
    server.signal("TERM");

    assert_eq!(server.wait(Duration::from_secs(2)).code(), Some(130));
    server.line(&["a second signal, leaving at once"]);
}

/// How `env` of the GNU coreutils starts a program with a signal mask or ignored signals.
fn env(option: &str) -> Command {
    let mut command = Command::new("env");
    command.arg(option);
    command
}

#[test]
fn a_server_hears_signals_that_what_started_it_has_blocked_or_ignored() {
    for option in ["--block-signal", "--ignore-signal=TERM,INT,QUIT"] {
        for signal in ["TERM", "INT", "QUIT"] {
            let site = Site::with(&["echo_wsh"]);
            let mut server = Server::builder(&site).within(env(option)).start();
            let mut client = server.connect("/echo");
            server.signal("HUP");
            server.line(&["HUP, reading the configuration again"]);

            server.signal(signal);

            assert_eq!(client.close_code(), 1001, "{option} {signal}");
            assert_eq!(server.wait(SOON).code(), Some(0), "{option} {signal}");
        }
    }
}

/// How a program is started whose first moment meets these signals: they have come, and wait for it.
pub(crate) fn meeting(signals: &str) -> Command {
    let script = format!("for name in {signals}; do kill -s $name $$; done; exec \"$@\"");
    let mut command = env("--block-signal");
    command.args(["sh", "-c", &script, "sh"]);
    command
}

#[test]
fn signals_in_the_first_moment_of_a_start_do_not_end_the_server() {
    let site = Site::with(&["echo_wsh"]);

    let server = Server::builder(&site).within(meeting("HUP USR1 USR2 ALRM"));
    let server = server.start();

    server.line(&["reading the configuration again, for a SIGHUP"]);
    assert_eq!(server.connect("/echo").ask("hello"), "hello");
}

#[test]
fn a_stop_in_the_first_moment_of_a_start_ends_the_server_in_good_order() {
    for name in ["TERM", "INT", "QUIT"] {
        let site = Site::with(&["echo_wsh"]);

        let mut server = Server::builder(&site).within(meeting(name)).spawn();

        assert_eq!(server.wait(SOON).code(), Some(0), "{name}");
    }
}

#[test]
fn a_program_that_is_no_server_ends_by_a_signal_as_any_program_does() {
    let site = Site::empty();
    let server = Server::bare(&site).arg("check");

    let ended = server.within(meeting("TERM")).spawn().wait(SOON);

    assert_eq!(ended.signal(), Some(libc::SIGTERM));
}

#[test]
fn a_fault_is_told_and_plugins_are_tried_whatever_signals_are_blocked_or_ignored() {
    let site = Site::with(&["echo_wsh"]);
    site.add_bytes(&unruly(&["-DIN_MESSAGE=crash()"]), "faults_wsh.so");
    let mut outer = env("--block-signal");
    outer.arg("--ignore-signal=CHLD");
    let trial = Server::builder(&site).args(["--trial", "always"]);
    let mut server = trial.within(outer).start();
    assert_eq!(server.connect("/echo").ask("hello"), "hello");

    server.connect("/faults").send("go");

    server.line(&["signal SIGSEGV in `message` of handler `faults`"]);
    assert_eq!(server.wait(SOON).signal(), Some(libc::SIGSEGV));
}

#[test]
fn a_server_that_stops_with_stdin_closes_its_sessions_when_the_other_end_goes() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::builder(&site).arg("--stop-with-stdin");
    let mut server = server.with_stdin().start();
    let mut client = server.connect("/echo");
    assert_eq!(client.ask("hello"), "hello");

    server.close_stdin();

    server.line(&["end of stdin, stopping"]);
    assert_eq!(client.close_code(), 1001);
    assert_eq!(server.wait(SOON).code(), Some(0));
}

#[test]
fn a_server_does_not_mind_what_becomes_of_its_stdin_unless_it_is_told_to() {
    let site = Site::with(&["echo_wsh"]);
    let mut server = Server::builder(&site).with_stdin().start();

    server.close_stdin();

    assert_eq!(server.connect("/echo").ask("hello"), "hello");
    assert_eq!(server.count_lines(&["stopping"]), 0);
}

/// Lets a plugin close descriptors as `message` says. The server must end with this line, and not with 0.
#[track_caller]
fn ends_loudly(message: &str, line: &str) {
    let site = Site::with(&["echo_wsh"]);
    let source = "tests/fixtures/c/closes_descriptors.c";
    site.add_bytes(&compile(source, &[]), "closes_descriptors_wsh.so");
    let mut server = Server::start(&site);
    let mut client = server.connect("/closes_descriptors");
    assert_eq!(client.ask("hello"), "hello");

    client.send(message);

    assert_eq!(server.wait(SOON).code(), Some(1));
    server.line(&[line, "leaving"]);
}

#[test]
fn a_plugin_that_closes_every_descriptor_ends_the_server_loudly() {
    ends_loudly("all", "has closed a descriptor of the server's");
}

#[test]
fn a_plugin_that_closes_the_listeners_ends_the_server_loudly() {
    ends_loudly("listeners", "has closed a descriptor of the server's");
}

#[test]
fn a_plugin_that_shuts_every_descriptor_down_ends_the_server_loudly() {
    // The line names the listeners or the socket for signals, depending on which is noticed first.
    ends_loudly("shut down", "");
}

#[test]
fn a_plugin_that_shuts_the_listeners_down_ends_the_server_loudly() {
    ends_loudly(
        "down with the listeners",
        "has shut down a descriptor of the server's",
    );
}

#[test]
fn a_peer_that_does_not_answer_its_close_holds_the_end_up_for_the_close_timeout_only() {
    let site = Site::with(&["echo_wsh"]);
    site.write("config.toml", "[limits]\nclose_timeout_ms = 700\n");
    let mut server = Server::start(&site);
    let mut silent = Raw::open(&server, "/echo");

    server.signal("TERM");

    assert_eq!(silent.frame(), Some((0x88, 1001u16.to_be_bytes().to_vec())));
    assert_eq!(server.wait(Duration::from_secs(15)).code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let site = Site::with(&["echo_wsh"]);
    let mut server = Server::start(&site);
    let mut silent = Raw::open(&server, "/echo");

    server.signal("TERM");
    assert_eq!(silent.frame(), Some((0x88, 1001u16.to_be_bytes().to_vec())));
    server.signal("TERM");

    let status = server.wait(Duration::from_secs(1));
    assert_ne!(status.code(), Some(0), "it did not end in good order");
}

#[test]
fn a_handshake_that_waits_for_its_handler_is_answered_503_when_the_server_stops() {
    let site = Site::with(&["echo_wsh", "features_wsh"]);
    site.write("config.toml", "[limits]\nhandshake_timeout_ms = 60000\n");
    let mut server = Server::start(&site);
    let mut session = server.connect("/echo");
    let mut waiting = server.raw();
    let request = opening("/features?handshake=never", "");
    waiting.write_all(request.as_bytes()).expect("a request");
    eventually("its handler is asked", || server.sessions("features") == 1);

    server.signal("TERM");

    let mut answer = String::new();
    let read = waiting.read_to_string(&mut answer);
    read.expect("an answer and an end without a reset");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    assert!(answer.contains("\r\nRetry-After: "), "{answer}");
    assert_eq!(session.close_code(), 1001);
    assert_eq!(server.wait(SOON).code(), Some(0));
    server.line(&[
        "handshake refused",
        "path=/features",
        "status=503",
        "the server stops",
    ]);
}

#[test]
fn no_connection_is_accepted_while_it_stops() {
    let site = Site::with(&["echo_wsh"]);
    let mut server = Server::start(&site);
    let mut silent = Raw::open(&server, "/echo");

    server.signal("TERM");
    assert_eq!(silent.frame(), Some((0x88, 1001u16.to_be_bytes().to_vec())));

    let refused = std::net::TcpStream::connect(("127.0.0.1", server.port()));
    assert!(refused.is_err(), "the listener is closed");
    server.signal("TERM");
    server.wait(SOON);
}

#[test]
fn a_thousand_hangups_are_a_handful_of_looks_and_the_last_one_counts() {
    let site = Site::with(&["echo_wsh"]);
    site.write("map.txt", "");
    let server = Server::builder(&site).args(["-m", "map.txt"]).start();
    let hang_up_often = |times: u32| {
        // A process for each signal, so that the system does not merge them.
        let script = format!(
            "for i in $(seq {times}); do kill -s HUP {}; done",
            server.pid()
        );
        let status = Command::new("sh").args(["-c", &script]).status();
        assert!(status.expect("sh runs").success());
    };

    hang_up_often(999);
    // The map is read when a SIGHUP asks for it, and only then.
    site.write("map.txt", "/alias /echo\n");
    hang_up_often(1);

    within(Duration::from_secs(5), "the last one is heard", || {
        server.handshake_status("/alias") == 101
    });
    let told = server.count_lines(&["HUP, reading the configuration again"]);
    assert!((1..50).contains(&told), "{told} readings");
    assert_eq!(server.connect("/echo").ask("hello"), "hello");
}

#[test]
fn a_thousand_hangups_under_load_cost_no_session_a_message_and_no_memory() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    let (count, pause) = if is_long() { (200, "0.008") } else { (20, "0") };
    let clients: Vec<_> = (0..count).map(|_| server.connect("/echo")).collect();
    let before = server.proc_status("VmRSS");
    let is_over = AtomicBool::new(false);

    let echoed = std::thread::scope(|scope| {
        let talk = clients.into_iter().map(|mut client| {
            let is_over = &is_over;
            scope.spawn(move || {
                let mut number = 0;
                while !is_over.load(Ordering::Relaxed) {
                    number += 1;
                    assert_eq!(client.ask(&number.to_string()), number.to_string());
                }
                // It is the session that was there before.
                assert_eq!(client.close(1000), 1000);
                number
            })
        });
        let talk: Vec<_> = talk.collect();
        let pid = server.pid();
        let script = format!("for i in $(seq 1000); do kill -s HUP {pid}; sleep {pause}; done");
        let status = Command::new("sh").args(["-c", &script]).status();
        assert!(status.expect("sh runs").success());
        is_over.store(true, Ordering::Relaxed);
        let echoed = talk
            .into_iter()
            .map(|it| it.join().expect("no echo is lost"));
        echoed.sum::<u64>()
    });

    let told = server.count_lines(&["HUP, reading the configuration again"]);
    let grown = server.proc_status("VmRSS").saturating_sub(before);
    eprintln!("{told} readings, {echoed} echoes, {grown} KiB");
    assert!((1..100).contains(&told), "{told} readings");
    assert!(grown < 16 * 1024, "{grown} KiB");
}

#[test]
fn a_hangup_while_handlers_are_loaded_counts_as_soon_as_that_is_over() {
    let site = Site::with(&["echo_wsh"]);
    site.add("fails_wsh", "init_hangs_wsh.so");
    site.write("config.toml", "[limits]\ninit_timeout_ms = 1000\n");
    site.write("map.txt", "");
    let server = Server::builder(&site).args(["-m", "map.txt"]).spawn();
    server.line(&["configuration read"]);

    // The map is read when a SIGHUP asks for it, and only then.
    site.write("map.txt", "/alias /echo\n");
    server.signal("HUP");

    server.line(&["HUP, reading the configuration again as soon as handlers are loaded"]);
    let server = server.listening();
    eventually("the map is read", || {
        server.handshake_status("/alias") == 101
    });
}
