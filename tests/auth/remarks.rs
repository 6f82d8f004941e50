//! Files that the server may not read, or that others may, and what a check remarks of who may enter.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::{ALL, basic, site, upgrade_status};
use crate::harness::limits::bound;
use crate::harness::server::Server;

#[test]
fn a_file_that_the_server_may_not_read_ends_a_start_and_changes_nothing_later() {
    let site = site(ALL);
    let chmod = |name: &str, mode| {
        let mode = <Permissions as PermissionsExt>::from_mode(mode);
        fs::set_permissions(site.root().join(name), mode).expect("chmod");
    };
    chmod("users", 0o600);
    chmod("tokens", 0o644);
    let server = bound(Server::builder(&site)).start();
    server.line(&[
        "WARN who may enter may be other than is meant",
        "/tokens` can be read by every user of this machine; `chmod o= ",
    ]);
    assert_eq!(server.count_lines(&["/users` can be read by"]), 0);

    chmod("users", 0o000);
    server.line(&[
        "ERROR",
        "configuration refused",
        "/users`: Permission denied",
    ]);
    assert_eq!(upgrade_status(&server, "/echo", &basic("ann:tea")), 101);
    for arguments in [&["check"][..], &[]] {
        let wshd = bound(Server::bare(&site)).args(arguments).args(["-p", "0"]);
        let output = wshd.output();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(
            said.contains("cannot read `") && said.contains("/users`: Permission denied"),
            "{said}"
        );
    }
    chmod("users", 0o600);
    server.line(&["the configuration can be read again"]);
}

#[test]
fn a_check_remarks_what_may_be_other_than_is_meant_and_does_not_fail() {
    let rules = "[auth]\n\"/ehco\" = \"open\"\n\"/x/*\" = [\"anne\"]\n";
    let site = site(&format!("{ALL}{rules}"));
    let wshd = Server::bare(&site).args(["check", "-H", "0.0.0.0", "-p", "7"]);
    let output = wshd.output();

    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    for note in [
        "/users` can be read by every user of this machine",
        "/tokens` can be read by every user of this machine",
        "`[auth]` lets `anne` into `/x/*`, and there is no user or token of that name; did you mean `ann`?",
        "passwords and tokens cross the network to `0.0.0.0:7` unencrypted",
        "`[auth]` has a rule for `/ehco`, where no handler answers; did you mean `/echo`?",
    ] {
        let is_note = |line: &str| line.starts_with("wshd: note: ") && line.contains(note);
        assert!(said.lines().any(is_note), "{note} in {said}");
    }
}
