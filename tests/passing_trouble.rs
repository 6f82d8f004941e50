//! Trouble that is no fault of the file delays a load: the file is loaded when the trouble has passed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::compile::compile;
use crate::harness::limits::{WithoutDescriptors, bound};
use crate::harness::patch::versioned;
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::within;

/// From the end of the trouble to the next attempt, on a busy machine.
const SOON: Duration = Duration::from_secs(15);

const PASSED: &str = "what was in the way of loading it has passed";

fn serves(server: &Server, number: u32) -> bool {
    server.handshake_status("/versioned") == 101
        && server.connect("/versioned").ask("which?") == format!("version-{number:04}")
}

/// Starts a server that stages its copies below the site.
fn staging_in(site: &Site) -> Server {
    site.write("config.toml", "stage_dir = \"stage\"\n");
    Server::start(site)
}

/// Returns a command that runs another one in a mount namespace of its own, after `script`. `None` where the system does not
/// allow that.
fn with_own_mounts(script: &str) -> Option<Command> {
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["-Urm", "sh", "-c", script, "sh"]);
        command
    };
    let allowed = unshare().arg("true").stderr(Stdio::null()).status();
    if allowed.is_ok_and(|status| status.success()) {
        return Some(unshare());
    }
    eprintln!("nothing is shown: this system allows no user namespaces with mounts");
    None
}

#[test]
fn a_stage_that_is_removed_is_made_again() {
    let site = Site::empty();
    site.add_bytes(&versioned(1), "versioned_wsh.so");
    let server = staging_in(&site);
    server.line(&["INFO", "stage directory made", "/stage"]);
    let mut open = server.connect("/versioned");
    let stage = site.root().join("stage");

    let whole_and_own = [|stage: &Path| stage.to_owned(), only_entry];
    for (number, removed) in (2..).zip(whole_and_own) {
        fs::remove_dir_all(removed(&stage)).expect("removing");
        site.add_bytes(&versioned(number), "versioned_wsh.so");
        within(SOON, "it is loaded as ever", || serves(&server, number));
    }

    within(SOON, "the open session moves", || {
        open.ask("which?") == "version-0003"
    });
    assert_eq!(server.count_lines(&["is made again"]), 2);
    assert_eq!(server.count_lines(&["plugin refused"]), 0);
}

fn only_entry(directory: &Path) -> PathBuf {
    let mut entries = fs::read_dir(directory).expect("a directory");
    entries.next().expect("an entry").expect("an entry").path()
}

#[test]
fn a_file_that_could_not_be_staged_is_loaded_when_it_can_be() {
    let site = Site::empty();
    site.add_bytes(&versioned(1), "versioned_wsh.so");
    let server = staging_in(&site);
    let mut open = server.connect("/versioned");
    let stage = site.root().join("stage");

    fs::remove_dir_all(&stage).expect("removing");
    fs::write(&stage, "").expect("a file where the directory was");
    site.add_bytes(&versioned(2), "versioned_wsh.so");
    let refusal = server.line(&["plugin refused", "cannot load `versioned_wsh.so`"]);
    assert!(
        refusal.contains("it cannot be staged: cannot stage plugins in `")
            && refusal.contains("/stage`: it belongs to another user or others can write it; `stage_dir` names another; it is tried again until that has passed; generation 1 keeps serving"),
        "{refusal}"
    );
    assert_eq!(open.ask("which?"), "version-0001");
    within(SOON, "more attempts are made", || {
        server.count_lines(&["still in the way", "versioned_wsh.so"]) >= 2
    });
    assert!(server.listing()[0]["refusal"].is_string());
    fs::remove_file(&stage).expect("removing");

    within(SOON, "it is loaded", || serves(&server, 2));
    assert_eq!(server.count_lines(&["plugin refused"]), 1);
    server.line(&[PASSED, "versioned_wsh.so"]);
    assert_eq!(server.count_lines(&[PASSED, "versioned_wsh.so"]), 1);
    assert!(server.listing()[0]["refusal"].is_null());
}

#[test]
fn a_full_disk_is_waited_out() {
    let site = Site::with(&["echo_wsh"]);
    let disk = site.root().join("disk");
    fs::create_dir(&disk).expect("a directory");
    site.write("config.toml", "stage_dir = \"disk/stage\"\n");
    let disk = disk.display();
    let Some(full) = with_own_mounts(&format!(
        "mount -t tmpfs -o size=32m none {disk} && {{ head -c 32m /dev/zero >{disk}/fill; exec \"$@\"; }}"
    )) else {
        return;
    };
    let server = Server::builder(&site).within(full).start();

    let refusal = server.line(&["cannot load `echo_wsh.so`: it cannot be staged: No space left"]);
    assert!(refusal.contains("WARN"), "{refusal}");
    assert_eq!(server.handshake_status("/echo"), 503);
    // The disk is mounted in the server's namespace only.
    let fill = format!("/proc/{}/root{disk}/fill", server.pid());
    fs::remove_file(fill).expect("making space");

    within(SOON, "it is loaded", || {
        server.handshake_status("/echo") == 101
    });
    server.line(&[PASSED]);
    assert_eq!(server.count_lines(&["plugin refused"]), 1);
    assert_eq!(server.count_lines(&[PASSED]), 1);
}

#[test]
fn where_no_directory_will_do_copies_lie_in_memory() {
    let script = "mount -t tmpfs -o noexec none /var/tmp && exec \"$@\"";
    let Some(limited) = with_own_mounts(script) else {
        return;
    };
    let site = Site::with(&["echo_wsh"]);
    site.add_bytes(&versioned(1), "versioned_wsh.so");
    let needing = needing_a_neighbour(&site);
    site.add_bytes(&needing, "needing_wsh.so");
    let file = site.write("file", "");
    let below = |name: &str| file.join(name).to_string_lossy().into_owned();
    let server = Server::builder(&site)
        .within(limited)
        .env("TMPDIR", &below("tmp"))
        .env("XDG_CACHE_HOME", &below("cache"))
        .start();

    let line = server.line(&["plugins are staged in memory"]);
    for part in [
        "cannot stage plugins anywhere: ",
        "`/var/tmp/wshd-0`: its file system is mounted noexec",
        "file/cache/wshd`: ",
        "file/tmp/wshd-0`: ",
        "`stage_dir` names another place",
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
    server.line(&[
        "cannot load `needing_wsh.so`",
        "`libneighbour.so` beside it",
        "stage_dir",
    ]);
    let mut open = server.connect("/versioned");
    for number in 2..12 {
        site.add_bytes(&versioned(number), "versioned_wsh.so");
        within(SOON, "the new code is live", || serves(&server, number));
    }
    within(SOON, "the open session moves", || {
        open.ask("which?") == "version-0011"
    });
    assert_eq!(server.connect("/echo").ask("hello"), "hello");
    let mapped = fs::read_to_string(format!("/proc/{}/maps", server.pid())).expect("maps");
    assert!(mapped.contains("/memfd:"), "{mapped}");
    let descriptors = fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("fd");
    let kept = descriptors.flatten().filter(|entry| {
        let link = fs::read_link(entry.path()).unwrap_or_default();
        link.to_string_lossy().contains("_wsh.so")
    });
    assert_eq!(kept.count(), 0, "an opened copy needs no descriptor");
}

/// Compiles a plugin that needs `libneighbour.so` beside it.
fn needing_a_neighbour(site: &Site) -> Vec<u8> {
    let neighbour = compile("handlers/c/cecho.c", &["-Wl,-soname,libneighbour.so"]);
    let path = site.handlers().join("libneighbour.so");
    fs::write(&path, neighbour).expect("writing");
    let path = path.to_string_lossy().into_owned();
    compile("handlers/c/cecho.c", &["-Wl,--no-as-needed", &path])
}

#[test]
fn a_configuration_that_could_not_be_read_is_read_when_it_can_be() {
    let site = Site::with(&["echo_wsh"]);
    site.write("config.toml", "");
    let server = bound(Server::builder(&site)).start();
    assert_eq!(server.handshake_status("/alias"), 404);

    let without = WithoutDescriptors::begin(&server);
    site.write("config.toml", "[routes]\n\"/alias\" = \"/echo\"\n");
    server.line(&[
        "configuration refused, the old one keeps serving",
        "Too many open files",
    ]);
    if !without.end() {
        return;
    }

    within(SOON, "it is read", || {
        server.handshake_status("/alias") == 101
    });
    server.line(&["the configuration can be read again"]);
    assert_eq!(server.count_lines(&["configuration refused"]), 1);
}
