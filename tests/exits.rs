//! When a plugin ends the process by `exit`, `abort` or a fault, the log names the handler and the callback or thread.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use crate::harness::at_once;
use crate::harness::compile::unruly;
use crate::harness::server::{Server, opening};
use crate::harness::site::Site;

#[test]
fn exit_in_a_callback_names_it_closes_every_session_and_is_a_failure() {
    let ways = [
        ("-DIN_MESSAGE=exit(0)", "message"),
        ("-DIN_OPEN=exit(0)", "open"),
        ("-DIN_CLOSED=exit(0)", "closed"),
        ("-DIN_MESSAGE=quick_exit(0)", "message"),
    ];
    at_once(ways, |(option, callback)| {
        let site = Site::with(&["echo_wsh"]);
        site.add_bytes(&unruly(&[option]), "exits_wsh.so");
        let mut server = Server::start(&site);
        let mut innocent = server.connect("/echo");
        assert_eq!(innocent.ask("hello"), "hello");

        // The socket lives until the end, because its close is a callback of its own.
        let mut raw = server.raw();
        match callback {
            "closed" => drop(server.connect("/exits")),
            "message" => server.connect("/exits").send("go"),
            _ => raw
                .write_all(opening("/exits", "").as_bytes())
                .expect("sent"),
        }

        assert_eq!(innocent.close_code(), 1001, "{callback}");
        assert_eq!(
            server.wait(Duration::from_secs(8)).code(),
            Some(70),
            "{callback}"
        );
        let line = server.line(&[
            "handler called `exit`, which ends the whole server",
            "handler=exits",
        ]);
        assert!(line.contains(&format!("callback=\"{callback}\"")), "{line}");
        assert_eq!(server.count_lines(&["called `exit`"]), 1);
    });
}

#[test]
fn exit_while_a_handler_is_loaded_or_checked_without_a_trial_is_a_failure_too() {
    let site = Site::empty();
    site.add_bytes(&unruly(&["-DIN_INIT=exit(0)"]), "exits_wsh.so");

    let output = Server::builder(&site)
        .args(["--trial", "never"])
        .arg("check")
        .output();
    assert_eq!(output.status.code(), Some(70));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("handler called `exit`") && said.contains("callback=\"init\""),
        "{said}"
    );

    let mut server = Server::builder(&site).args(["--trial", "never"]).spawn();
    assert_eq!(server.wait(Duration::from_secs(8)).code(), Some(70));
    server.line(&[
        "handler called `exit`",
        "handler=exits",
        "callback=\"init\"",
    ]);
}

#[test]
fn a_fault_in_a_callback_names_it_and_ends_the_server_by_its_signal() {
    for (option, signals, name) in [
        ("-DIN_MESSAGE=crash()", &[11][..], "SIGSEGV"),
        ("-DIN_MESSAGE=abort()", &[6], "SIGABRT"),
        ("-DIN_MESSAGE=raise(SIGFPE)", &[8], "SIGFPE"),
        // Where it hits the page behind the stack, the standard library says so and aborts.
        ("-DIN_MESSAGE=run_over()", &[6, 11], "SIGSEGV"),
    ] {
        let site = Site::empty();
        site.add_bytes(&unruly(&[option]), "faults_wsh.so");
        let mut server = Server::start(&site);

        server.connect("/faults").send("go");

        let status = server.wait(Duration::from_secs(8));
        let by = status.signal();
        assert!(
            by.is_some_and(|by| signals.contains(&by)),
            "{option}: {status}"
        );
        server.line(&[&format!(
            "wshd: signal {name} in `message` of handler `faults` ends the server"
        )]);
    }
}

#[test]
fn a_fault_on_a_thread_of_a_plugins_own_names_the_thread_and_the_handler() {
    let in_code = "in code of handler `faults` ends the server";
    let on_stack = ", whose stack has addresses of handler `faults`, ends the server";
    for (statement, signal, words) in [
        ("usleep(9999),crash()", libc::SIGSEGV, in_code),
        ("usleep(9999),read_past_the_end()", libc::SIGBUS, in_code),
        ("usleep(9999),abort()", libc::SIGABRT, on_stack),
        ("usleep(9999),raise(SIGFPE)", libc::SIGFPE, on_stack),
        ("usleep(9999),raise(SIGSYS)", libc::SIGSYS, on_stack),
        // A call of a null pointer.
        ("usleep(9999),((void(*)(void))0)()", libc::SIGSEGV, on_stack),
    ] {
        let site = Site::empty();
        let in_thread = format!("-DIN_THREAD={statement}");
        site.add_bytes(
            &unruly(&["-DIN_MESSAGE=on_thread()", &in_thread]),
            "faults_wsh.so",
        );
        let mut server = Server::start(&site);

        server.connect("/faults").send("go");

        let status = server.wait(Duration::from_secs(8));
        assert_eq!(status.signal(), Some(signal), "{statement}");
        let line = server.line(&["wshd: signal SIG", " on thread `pinger`"]);
        assert!(line.ends_with(words), "{statement}: {line}");
    }
}

#[test]
fn an_abort_of_a_forked_child_is_not_the_servers_end() {
    let site = Site::empty();
    site.add_bytes(
        &unruly(&["-DIN_MESSAGE=abort_in_a_child()"]),
        "forks_wsh.so",
    );
    let server = Server::start(&site);

    assert_eq!(server.connect("/forks").ask("hello"), "hello");

    assert_eq!(server.count_lines(&["ends the server"]), 0);
}

#[test]
fn a_fatal_signal_from_outside_names_the_process_that_sent_it() {
    let site = Site::with(&["echo_wsh"]);
    let mut server = Server::start(&site);
    assert_eq!(server.connect("/echo").ask("hello"), "hello");

    server.signal("ABRT");

    assert_eq!(
        server.wait(Duration::from_secs(8)).signal(),
        Some(libc::SIGABRT)
    );
    server.line(&["wshd: signal SIGABRT sent by process", " ends the server"]);
}
