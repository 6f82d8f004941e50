//! Signals for a process that is replaced, and for one that is to take over.

use super::{PATIENT, Place, SOON, upgrade};
use crate::harness::client::Raw;
use crate::harness::client_frame::frame;
use crate::harness::compile::unruly;
use crate::harness::eventually;

#[test]
fn a_stop_while_another_process_starts_ends_both() {
    let place = Place::new("listen = [\"127.0.0.1:0\"]\n");
    let mut server = place.builder().start();
    let mut session = server.connect("/echo");
    place.put_script("echo it is there >&2; exec sleep 1000");

    server.signal("USR2");
    server.line(&["it is there"]);
    server.signal("USR2");
    server.line(&["an upgrade is under way already"]);
    server.signal("TERM");

    assert_eq!(session.close_code(), 1001);
    // The log ends with the last process that has it.
    assert_eq!(server.wait(SOON).code(), Some(0));
    server.says(&["upgrade failed"], 0);
    server.says(&["WARN", "upgrade given up: the server stops"], 1);
}

#[test]
fn the_first_sigterm_to_a_process_that_was_replaced_leaves_its_sessions_their_time() {
    let place = Place::new(&format!("listen = [\"127.0.0.1:0\"]\n{PATIENT}"));
    let mut server = place.builder().start();
    // It is told to come back, and does not answer yet.
    let mut slow = Raw::open(&server, "/echo");
    upgrade(&server, server.pid(), 1);
    let (kind, _) = slow.frame().expect("a Close frame");
    assert_eq!(kind, 0x88);

    server.signal("TERM");

    server.line(&["SIGTERM, but another process has taken the place of this one"]);
    slow.send(&frame(0x88, &1012u16.to_be_bytes()));
    assert_eq!(server.wait_for_process(SOON).code(), Some(0));
    assert_eq!(server.handshake_status("/echo"), 101);
}

#[test]
fn the_second_sigterm_to_a_process_that_was_replaced_ends_it_now() {
    let place = Place::new(&format!("listen = [\"127.0.0.1:0\"]\n{PATIENT}"));
    let mut server = place.builder().start();
    let _slow = Raw::open(&server, "/echo");
    upgrade(&server, server.pid(), 1);

    server.signal("TERM");
    server.line(&["SIGTERM, but another process has taken the place of this one"]);
    server.signal("TERM");

    assert_eq!(server.wait_for_process(SOON).code(), Some(130));
    assert_eq!(server.handshake_status("/echo"), 101);
}

#[test]
fn signals_for_a_process_that_has_just_been_started_to_take_over_do_not_end_it() {
    let place = Place::new("listen = [\"127.0.0.1:0\"]\n");
    let server = place.builder().start();
    let program = env!("CARGO_BIN_EXE_wshd");
    let kill = "for name in HUP USR1 USR2; do kill -s $name $$; done";
    place.put_script(&format!("{kill}; exec {program} \"$@\""));

    upgrade(&server, server.pid(), 1);

    // It may hear of them during its start, or once it serves.
    server.line(&["SIGHUP", "reading the configuration again"]);
    server.says(&["upgrade failed"], 0);
    assert_eq!(server.handshake_status("/echo"), 101);
}

#[test]
fn a_process_that_is_told_to_stop_before_it_serves_does_not_take_over() {
    let place = Place::new("listen = [\"127.0.0.1:0\"]\nstage_dir = \"staged\"\n");
    // It stops the process that is to take over, and waits for the test.
    let in_init = "-DIN_INIT=if (!is_check && getenv(\"WSHD_UPGRADE_OF\")) { \
                   kill(getpid(), SIGTERM); while (access(\"go on\", F_OK)) { usleep(1000); } }";
    place.site.add_bytes(&unruly(&[in_init]), "unruly_wsh.so");
    let server = place.builder().start();
    let mut session = server.connect("/echo");

    server.signal("USR2");
    server.line(&["SIGTERM, stopping"]);
    place.site.write("go on", "");

    let why = "it was told to stop before it took over";
    server.line(&["ERROR", "upgrade failed, this process serves on", why]);
    assert_eq!(session.ask("hello"), "hello");
    assert_eq!(server.handshake_status("/echo"), 101);
    eventually("no other process is there", || place.processes() == 1);
    // It has left nothing.
    let staged = std::fs::read_dir(place.site.root().join("staged")).expect("it is there");
    assert_eq!(staged.count(), 1);
}
