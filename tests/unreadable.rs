//! A file or folder that cannot be read is neither present nor gone, so its handlers keep serving.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::client::Client;
use crate::harness::limits::{WithoutDescriptors, bound};
use crate::harness::patch::versioned;
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::within;

const SOON: Duration = Duration::from_secs(10);
/// Longer than the server waits before it believes a removal.
const LASTING: Duration = Duration::from_millis(900);

/// Makes the server look at everything again and again for a while, and its sessions answer meanwhile.
fn look_for_a_while(site: &Site, open: &mut [Client]) {
    let began = Instant::now();
    let hint = site.handlers().join(".hint");
    while began.elapsed() < LASTING {
        fs::write(&hint, "").expect("writing");
        for client in &mut *open {
            assert_ne!(client.ask("which?"), "");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A site of three handlers, one of them in a folder. Their sessions close when a handler goes.
fn site() -> Site {
    let site = Site::with(&["echo_wsh"]);
    site.add_bytes(&versioned(1), "versioned_wsh.so");
    site.add_bytes(&versioned(1), "rooms/tea_wsh.so");
    site.write("config.toml", "reload = \"close\"\n");
    site
}

const PATHS: [&str; 3] = ["/echo", "/versioned", "/rooms/tea"];

fn serves(server: &Server, path: &str, number: u32) -> bool {
    server.handshake_status(path) == 101
        && server.connect(path).ask("which?") == format!("version-{number:04}")
}

#[test]
fn a_server_without_any_descriptor_left_keeps_every_handler_and_session() {
    let site = site();
    let server = bound(Server::builder(&site)).start();
    let mut open = PATHS.map(|path| server.connect(path));

    let without = WithoutDescriptors::begin(&server);
    look_for_a_while(&site, &mut open);
    let line = server.line(&["cannot be read; what was loaded from there keeps serving"]);
    assert!(
        line.contains("WARN") && line.contains("Too many open files"),
        "{line}"
    );
    if !without.end() {
        return;
    }
    server.line(&["can be read again"]);
    for client in &mut open {
        assert_ne!(client.ask("which?"), "");
    }
    for path in PATHS {
        assert_eq!(server.handshake_status(path), 101, "{path}");
    }
    site.add_bytes(&versioned(2), "versioned_wsh.so");
    server.line(&["handler loaded", "versioned", "generation=2"]);
    assert_eq!(server.count_lines(&["cannot be read; what was"]), 1);
    assert_eq!(server.count_lines(&["handler removed"]), 0);
}

#[test]
fn silent_connections_at_256_descriptors_cost_no_handler() {
    let site = site();
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 256 && exec \"$@\"", "sh"]);
    let server = Server::builder(&site).within(limited).start();
    let mut open = PATHS.map(|path| server.connect(path));

    let silent: Vec<TcpStream> = (0..400).map(|_| server.raw()).collect();
    look_for_a_while(&site, &mut open);
    drop(silent);

    within(SOON, "new clients are let in again", || {
        PATHS
            .iter()
            .all(|path| server.handshake_status(path) == 101)
    });
    for client in &mut open {
        assert_ne!(client.ask("which?"), "");
    }
    assert_eq!(server.count_lines(&["handler removed"]), 0);
}

#[test]
fn a_closed_folder_keeps_its_handlers_and_the_others_are_replaced_and_removed() {
    let site = site();
    site.write("config.toml", "");
    let server = bound(Server::builder(&site)).start();
    let rooms = site.handlers().join("rooms");
    let chmod = |mode| {
        fs::set_permissions(&rooms, fs::Permissions::from_mode(mode)).expect("chmod");
    };
    let mut open = server.connect("/rooms/tea");
    // A look that is under way may find entries of the folder closed as well.
    let of_the_folder = |said: &str| {
        let is_meant = |line: &&str| {
            line.contains(said) && (line.contains("/rooms error=") || line.ends_with("/rooms"))
        };
        server.log().lines().filter(is_meant).count()
    };

    // First the entries cannot be listed, then they cannot be looked at either.
    for (round, mode) in [(1, 0o300), (2, 0o000)] {
        chmod(mode);
        let told = || of_the_folder("cannot be read; what was loaded from there keeps serving");
        within(SOON, "it is said", || told() == round);
        site.add_bytes(&versioned(round as u32 + 1), "versioned_wsh.so");
        within(SOON, "another handler is replaced", || {
            serves(&server, "/versioned", round as u32 + 1)
        });
        fs::remove_file(site.handlers().join("echo_wsh.so")).expect("removing");
        within(SOON, "another handler is removed", || {
            server.handshake_status("/echo") == 404
        });

        assert_eq!(open.ask("which?"), "version-0001");
        assert_eq!(server.handshake_status("/rooms/tea"), 101);
        chmod(0o755);
        let again = || of_the_folder("can be read again");
        within(SOON, "its end is said", || again() == round);
        assert_eq!(told(), round);
        site.add("echo_wsh", "echo_wsh.so");
        within(SOON, "the other comes back", || {
            server.handshake_status("/echo") == 101
        });
    }

    server.line(&["cannot be read", "/rooms error=", "Permission denied"]);
    assert_eq!(server.count_lines(&["handler removed", "tea"]), 0);
    site.add_bytes(&versioned(2), "rooms/tea_wsh.so");
    within(SOON, "what can be read is replaced", || {
        serves(&server, "/rooms/tea", 2)
    });
    fs::remove_dir_all(&rooms).expect("removing");
    within(SOON, "what is gone is removed", || {
        server.handshake_status("/rooms/tea") == 404
    });
}

#[test]
fn links_that_go_in_circles_say_nothing_of_what_was_there() {
    let site = site();
    let server = Server::start(&site);
    let mut open = PATHS.map(|path| server.connect(path));
    let swap = |path: &Path, aside: &Path| {
        fs::rename(path, aside).expect("renaming");
        symlink(path, path).expect("a link");
    };
    let (rooms, file) = (
        site.handlers().join("rooms"),
        site.handlers().join("versioned_wsh.so"),
    );
    let (rooms_aside, file_aside) = (site.root().join("rooms"), site.root().join("file"));

    swap(&rooms, &rooms_aside);
    swap(&file, &file_aside);
    look_for_a_while(&site, &mut open);
    for path in ["handlers/rooms", "handlers/versioned_wsh.so"] {
        server.line(&["cannot be read; what", path, "symbolic links"]);
    }
    fs::rename(&file_aside, &file).expect("renaming");
    fs::remove_file(&rooms).expect("removing");
    fs::rename(&rooms_aside, &rooms).expect("renaming");

    server.line(&["can be read again", "handlers/versioned_wsh.so"]);
    // For a moment there was no folder at all.
    let ended = |end| server.count_lines(&[end, "handlers/rooms"]);
    within(SOON, "its end is said", || {
        ended("can be read again") + ended("is gone now") == 1
    });
    for client in &mut open {
        assert_ne!(client.ask("which?"), "");
    }
    assert_eq!(server.count_lines(&["handler removed"]), 0);
}

#[test]
fn a_directory_above_that_cannot_be_listed_costs_neither_a_handler_nor_a_watch() {
    let site = site();
    site.write("config.toml", "");
    let chmod = |mode| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(site.root(), mode).expect("chmod");
    };
    chmod(0o311);
    let server = bound(Server::builder(&site)).start();

    site.add_bytes(&versioned(2), "rooms/tea_wsh.so");
    within(SOON, "it is replaced", || serves(&server, "/rooms/tea", 2));

    chmod(0o755);
    assert_eq!(server.count_lines(&["cannot watch every directory"]), 0);
    assert_eq!(server.count_lines(&["cannot be read"]), 0);
    assert_eq!(server.count_lines(&["no event told of a change"]), 0);
}

#[test]
fn a_check_fails_for_what_it_cannot_read() {
    let site = site();
    let rooms = site.handlers().join("rooms");
    fs::remove_dir_all(&rooms).expect("removing");
    symlink(&rooms, &rooms).expect("a link");

    let mut check = Command::new(env!("CARGO_BIN_EXE_wshd"));
    check.current_dir(site.root()).arg("check");
    let output = check.output().expect("wshd runs");

    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let wanted = format!("wshd: cannot read `{}`: Too many levels", rooms.display());
    assert!(said.contains(&wanted), "{said}");
}
