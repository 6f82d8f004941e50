//! `pid_file`: scripts find the process of a server by it, and never that of another one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::harness::eventually;
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::upgrades::{Place, signal, upgrade};

const SOON: Duration = Duration::from_secs(15);

fn file_of(site: &Site) -> PathBuf {
    site.root().join("wshd.pid")
}

#[track_caller]
fn number_in(site: &Site) -> u32 {
    let text = fs::read_to_string(file_of(site)).expect("it is there");
    let number = text.strip_suffix('\n').expect("a line");
    number.parse().expect("a number")
}

#[test]
fn the_file_has_the_number_of_the_process_as_long_as_that_serves() {
    let site = Site::with(&["echo_wsh"]);
    site.write("config.toml", "pid_file = \"wshd.pid\"\n");
    // A server that was killed leaves it.
    let server = Server::start(&site);
    let killed = server.pid();
    assert_eq!(number_in(&site), killed);
    drop(server);
    assert_eq!(number_in(&site), killed);

    let mut server = Server::start(&site);

    assert_eq!(number_in(&site), server.pid());
    let mode = fs::metadata(file_of(&site)).expect("it is there");
    assert_eq!(mode.permissions().mode() & 0o7777, 0o644);
    server.signal("TERM");
    assert_eq!(server.wait(SOON).code(), Some(0));
    assert!(!file_of(&site).exists());
}

#[test]
fn the_file_of_a_server_that_runs_and_a_file_of_something_else_end_the_start() {
    let site = Site::with(&["echo_wsh"]);
    let fails = |arguments: &[&str], why: &str| {
        let output = Server::builder(&site).args(arguments).output();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(why), "{said}");
    };
    let server = Server::builder(&site).args(["--pid-file", "wshd.pid"]);
    let server = server.start();

    let pid = server.pid();
    let taken = format!("it is that of a server that runs, process {pid}");
    fails(&["--pid-file", "wshd.pid"], &taken);
    site.write("precious", "a letter\n");
    let other = "what lies there is no file with the number of a process";
    fails(&["--pid-file", "precious"], other);
    fails(
        &["--pid-file", "nowhere/wshd.pid"],
        "its directory is not there",
    );

    assert_eq!(number_in(&site), pid);
    let precious = fs::read_to_string(site.root().join("precious"));
    assert_eq!(precious.expect("it is there"), "a letter\n");
}

#[test]
fn a_check_finds_what_keeps_a_server_from_its_file_and_disturbs_no_server() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::builder(&site).args(["--pid-file", "wshd.pid"]);
    let server = server.start();
    site.write("precious", "a letter\n");
    let check = |path: &str| {
        let checked = Server::bare(&site).args(["check", "--pid-file", path]);
        let output = checked.output();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };

    let (code, said) = check("wshd.pid");
    assert_eq!((code, &*said), (Some(0), ""));
    assert_eq!(number_in(&site), server.pid());
    let (code, said) = check("precious");
    assert_eq!(code, Some(1), "{said}");
    let other = "what lies there is no file with the number of a process";
    assert!(said.contains(other), "{said}");
    let (code, said) = check("nowhere/wshd.pid");
    assert_eq!(code, Some(1), "{said}");
    let missing = "/nowhere/wshd.pid` (`pid_file`): its directory is not there";
    assert!(said.contains(missing), "{said}");
    assert!(!site.root().join("nowhere").exists());
    // There a service manager may make it for the server.
    let (code, said) = check("/run/wshd-that-is-not-there/wshd.pid");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("wshd: note: cannot write"), "{said}");
}

#[test]
fn a_start_that_fails_leaves_no_file() {
    let site = Site::empty();
    fs::remove_dir(site.handlers()).expect("it is empty");
    let output = Server::builder(&site).args(["--pid-file", "wshd.pid"]);
    assert_eq!(output.output().status.code(), Some(1));
    assert!(!file_of(&site).exists());
}

#[test]
fn the_file_follows_an_upgrade_and_outlives_the_old_process() {
    let place = Place::new("listen = [\"127.0.0.1:0\"]\npid_file = \"wshd.pid\"\n");
    let mut server = place.builder().start();
    // It stays right when another process fails to take over.
    place.put_script("exit 3");
    server.signal("USR2");
    server.line(&["upgrade failed"]);
    assert_eq!(number_in(&place.site), server.pid());
    place.put(std::path::Path::new(env!("CARGO_BIN_EXE_wshd")));

    let new = upgrade(&server, server.pid(), 1);

    assert_eq!(server.wait_for_process(SOON).code(), Some(0));
    eventually("it has the new number", || number_in(&place.site) == new);
    signal(new, "TERM");
    eventually("it is removed", || !file_of(&place.site).exists());
}
