//! The process that tries plugins lives and ends with the server, and is made again when a plugin takes it away.

use std::fs;
use std::process::Command;
use std::time::Duration;

use super::helper;
use crate::harness::compile::unruly;
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::{eventually, is_long};

#[test]
fn the_helper_is_small_and_ends_with_the_server_however_that_ends() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    let helper = helper(&server);
    let rollup = fs::read_to_string(format!("/proc/{helper}/smaps_rollup")).expect("its memory");
    let own: u64 = ["Private_Dirty:", "Private_Clean:"]
        .iter()
        .filter_map(|name| rollup.lines().find(|line| line.starts_with(name)))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum();
    assert!(own < 4096, "{own} KiB of its own:\n{rollup}");

    server.signal("KILL");

    eventually("the helper is gone", || {
        let status = fs::read_to_string(format!("/proc/{helper}/stat"));
        status.is_err() || status.is_ok_and(|status| status.contains(") Z "))
    });
}

#[test]
fn signals_that_a_terminal_sends_to_all_leave_the_helper_alone() {
    let site = Site::empty();
    let mut server = Server::start(&site);
    let helper = helper(&server);
    for signal in ["HUP", "INT", "TERM", "QUIT", "USR1"] {
        let sent = Command::new("kill")
            .args(["-s", signal, &helper.to_string()])
            .status();
        assert!(sent.expect("kill runs").success());
    }

    site.add_bytes(&unruly(&["-DIN_INIT=exit(0)"]), "exits_wsh.so");

    server.line(&["it ended the process with exit status 0 during init"]);
    server.signal("TERM");
    assert!(server.wait(Duration::from_secs(5)).success());
}

#[test]
fn a_helper_that_was_killed_is_made_again() {
    let site = Site::empty();
    let server = Server::builder(&site).env("WSHD_TRIAL", "always").start();
    for round in 0..3 {
        let helper = helper(&server).to_string();
        let sent = Command::new("kill").args(["-s", "KILL", &helper]).status();
        assert!(sent.expect("kill runs").success());

        site.add("echo_wsh", &format!("echo{round}_wsh.so"));
        server.line(&["handler loaded", &format!("handler=\"echo{round}\"")]);
        site.add_bytes(
            &unruly(&["-DIN_INIT=exit(4)"]),
            &format!("exits{round}_wsh.so"),
        );
        server.line(&[&format!(
            "cannot load `exits{round}_wsh.so`: it ended the process with exit status 4 during init"
        )]);
    }
    let again =
        server.count_lines(&["the process that tries plugins had ended, another one is there"]);
    assert_eq!(again, 3);
}

#[test]
fn a_plugin_that_ends_the_helper_is_refused_and_others_are_tried_all_the_same() {
    let site = Site::empty();
    let server = Server::start(&site);
    let mine = "-DIN_CONSTRUCTOR=kill(getppid(), SIGKILL); hang()";

    site.add_bytes(&unruly(&[mine]), "patricide_wsh.so");
    server.line(&[
        "cannot load `patricide_wsh.so`: its trial stops or ends the process that tries plugins",
    ]);
    site.add("echo_wsh", "echo_wsh.so");

    server.line(&["handler loaded", "handler=\"echo\""]);
    assert_eq!(server.connect("/echo").ask("hello"), "hello");
    assert_eq!(server.handshake_status("/patricide"), 503);
}

#[test]
fn a_plugin_that_stops_the_helper_is_refused_and_others_load_without_a_restart() {
    let site = Site::empty();
    site.write("config.toml", "[limits]\ninit_timeout_ms = 300\n");
    let server = Server::start(&site);
    let stopped = helper(&server);
    let stop = "kill(getppid(), SIGSTOP)";

    // The plugin stops the helper and hangs in `init`: the refusal names `init`.
    site.add_bytes(
        &unruly(&[&format!("-DIN_INIT=if (is_check) {{ {stop}; hang(); }}")]),
        "hangs_wsh.so",
    );
    eventually("the helper is stopped", || {
        let stat = fs::read_to_string(format!("/proc/{stopped}/stat"));
        stat.is_ok_and(|stat| stat.contains(") T "))
    });
    // Another file comes while the helper does not answer.
    site.add("echo_wsh", "meanwhile_wsh.so");
    server.line(&["cannot load `hangs_wsh.so`: its `init` did not return within 300 ms"]);
    server.line(&["handler loaded", "handler=\"meanwhile\""]);
    assert_eq!(
        server.count_lines(&["cannot load `meanwhile_wsh.so`: its"]),
        0
    );

    // The next plugin stops the helper and returns, so its trial ends unseen.
    site.add_bytes(
        &unruly(&[&format!("-DIN_INIT=if (is_check) {{ {stop}; }}")]),
        "stops_wsh.so",
    );
    server.line(&["cannot load `stops_wsh.so`: its trial stops or ends the process that tries plugins; it is tried again"]);
    fs::remove_file(site.handlers().join("stops_wsh.so")).expect("removed");
    site.add("echo_wsh", "afterwards_wsh.so");
    server.line(&["handler loaded", "handler=\"afterwards\""]);
    assert_eq!(server.connect("/afterwards").ask("hello"), "hello");
    assert_ne!(helper(&server), stopped);
}

#[test]
fn a_plugin_that_takes_the_helper_away_again_and_again_is_refused_for_good() {
    let site = Site::with(&["echo_wsh"]);
    site.write("config.toml", "[limits]\ninit_timeout_ms = 300\n");
    let server = Server::start(&site);
    // Each stopped helper is waited for, so the long form takes longer.
    let (signal, within) = match is_long() {
        true => ("SIGSTOP", Duration::from_secs(30)),
        false => ("SIGKILL", Duration::from_secs(10)),
    };
    let kills = format!("-DIN_INIT=if (is_check) {{ kill(getppid(), {signal}); usleep(20000); }}");

    site.add_bytes(&unruly(&[&kills]), "kills_wsh.so");

    let refused = "cannot load `kills_wsh.so`: each of 3 trials of it stopped or ended the process that tries plugins";
    server.line_within(within, &[refused]);
    assert_eq!(
        server.count_lines(&["WARN", "its trial stops or ends", "it is tried again"]),
        1
    );
    let listing = server.listing().to_string();
    assert!(listing.contains("each of 3 trials of it"), "{listing}");
    // The file is not tried again, and others load.
    site.add("echo_wsh", "other_wsh.so");
    server.line(&["handler loaded", "handler=\"other\""]);
    assert_eq!(server.count_lines(&[refused]), 1);
    let now = helper(&server);
    // A new file in its place is tried.
    site.add("echo_wsh", "kills_wsh.so");
    server.line(&["handler loaded", "handler=\"kills\""]);
    assert_eq!(helper(&server), now);
    assert_eq!(server.connect("/kills").ask("hello"), "hello");
}
