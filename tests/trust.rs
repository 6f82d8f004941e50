//! A plugin runs only if no user but the server's own and root can write it, unless the operator says otherwise.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::compile::compile;
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::within;

const SOON: Duration = Duration::from_secs(10);
/// The end of every refusal, as it stands in a quoted value of the log.
const OR_TRUST: &str = r#"or `trust = \"any\"` if everyone who can write it is trusted"#;
const WARNING: &str = "`trust = \"any\"`: each user who can write";

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

/// Gives a file the ACL of `setfacl -m u:65534:PERMISSIONS`. The group's bits of its mode become the mask.
fn set_acl(path: &Path, permissions: u16) {
    const NO_ID: u32 = u32::MAX;
    let mode = fs::metadata(path).expect("a file").mode();
    let of_mode = |shift: u32| u16::try_from(mode >> shift & 7).expect("three bits");
    let mut value = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in [
        (0x01, of_mode(6), NO_ID),
        (0x02, permissions, 65_534),
        (0x04, 4, NO_ID),
        (0x10, permissions | 4, NO_ID),
        (0x20, of_mode(0), NO_ID),
    ] {
        value.extend(u16::to_le_bytes(tag));
        value.extend(permissions.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    let flags = rustix::fs::XattrFlags::empty();
    let set = rustix::fs::setxattr(path, "system.posix_acl_access", &value, flags);
    set.expect("a file system with ACLs for temporary files");
}

#[test]
fn a_file_and_a_folder_that_an_acl_lets_another_user_write_are_refused() {
    let site = Site::with(&["echo_wsh"]);
    let file = site.add("echo_wsh", "acl_wsh.so");
    let read_only = site.add("echo_wsh", "readable_wsh.so");
    site.add("echo_wsh", "rooms/tea_wsh.so");
    let folder = site.handlers().join("rooms");
    set_acl(&file, 6);
    set_acl(&folder, 7);
    // An entry that allows reading only is no danger.
    set_acl(&read_only, 4);
    let server = Server::start(&site);

    for (name, path, mode) in [("acl_wsh.so", &file, "0664"), ("rooms", &folder, "0775")] {
        let path = path.display();
        let line = server.line(&["plugin refused", &format!("cannot load `{name}`: ")]);
        let wanted = format!(
            "`{path}` is writable by user `nobody` of its ACL (mode {mode}); `setfacl -b {path}` mends that, {OR_TRUST}"
        );
        assert!(line.contains(&wanted), "{line}");
    }
    assert_eq!(server.handshake_status("/acl"), 503);
    assert_eq!(server.handshake_status("/rooms/tea"), 404);
    assert_eq!(server.handshake_status("/readable"), 101);

    // The mask bounds what the entry grants.
    chmod(&file, 0o644);
    within(SOON, "it is served", || {
        server.handshake_status("/acl") == 101
    });
}

#[test]
fn a_file_whose_group_has_another_member_is_refused() {
    let site = Site::with(&["echo_wsh"]);
    let file = site.handlers().join("echo_wsh.so");
    let users = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n";
    let bob = "bob:x:1001:1001::/:/bin/sh\n";
    let clerk = "clerk:x:1002:0::/:/bin/sh\n";
    chmod(&file, 0o664);
    for (groups, users, member) in [
        ("root:x:0:\n", users.to_owned(), None),
        ("root:x:0:root\n", users.to_owned(), None),
        ("root:x:0:root,bob\n", format!("{users}{bob}"), Some("bob")),
        // One user is in the group by its own entry, and one has a name that no user has taken yet.
        ("root:x:0:\n", format!("{users}{clerk}"), Some("clerk")),
        ("root:x:0:later\n", users.to_owned(), Some("later")),
    ] {
        let (group_file, passwd_file) = (site.write("group", groups), site.write("passwd", &users));
        let script = format!(
            "mount --bind {} /etc/group && mount --bind {} /etc/passwd && exec \"$@\"",
            group_file.display(),
            passwd_file.display()
        );
        let mut unshare = Command::new("unshare");
        unshare.args(["-Urm", "sh", "-c", &script, "sh"]);
        let allowed = Command::new("unshare")
            .args(["-Urm", "sh", "-c", &script, "sh", "true"])
            .stderr(Stdio::null())
            .status();
        if !allowed.is_ok_and(|status| status.success()) {
            eprintln!("nothing is shown: this system allows no user namespaces with mounts");
            return;
        }
        let server = Server::builder(&site).within(unshare).start();

        match member {
            None => assert_eq!(server.handshake_status("/echo"), 101, "{groups}"),
            Some(member) => {
                let wanted = format!(
                    "is writable by its group `root`, which has `{member}` as a member (mode 0664); `chmod g-w "
                );
                let line = server.line(&["plugin refused", &wanted]);
                assert!(line.contains(OR_TRUST), "{line}");
                assert_eq!(server.handshake_status("/echo"), 503, "{groups}");
            }
        }
    }
}

#[test]
fn with_trust_any_everything_is_served_and_one_warning_says_so() {
    let site = Site::with(&["echo_wsh"]);
    let (file, handlers) = (site.handlers().join("echo_wsh.so"), site.handlers());
    chmod(&file, 0o666);
    chmod(&handlers, 0o777);
    let is_root = fs::metadata("/proc/self").expect("/proc").uid() == 0;
    if is_root {
        std::os::unix::fs::chown(&file, Some(1000), Some(1000)).expect("chown");
    }
    site.write("config.toml", "trust = \"any\"\n");
    let server = Server::start(&site);
    let mut open = server.connect("/echo");
    assert_eq!(server.count_lines(&["WARN", WARNING]), 1);
    assert_eq!(server.count_lines(&["plugin refused"]), 0);

    // Both changes apply at once. The sentence names the handlers directory by its path.
    site.write("config.toml", "# the defaults\n");
    let path = handlers.display();
    let refusal = format!(
        "cannot load `{path}`: `{path}` is writable by others (mode 0777); `chmod o-w {path}` mends that, {OR_TRUST}"
    );
    server.line(&["plugin refused", &refusal]);
    assert_eq!(open.ask("still there?"), "still there?");
    chmod(&handlers, 0o755);
    if is_root {
        server.line(&[
            "cannot load `echo_wsh.so`: `",
            "echo_wsh.so` belongs to user 1000, wanted is user 0, which the server runs as, or root; `chown 0 ",
            OR_TRUST,
        ]);
    }
    site.write("config.toml", "trust = \"any\"\n");
    within(SOON, "it is said again", || {
        server.count_lines(&["WARN", WARNING]) == 2
    });
    site.add("echo_wsh", "more_wsh.so");
    chmod(&handlers.join("more_wsh.so"), 0o666);
    within(SOON, "it is served", || {
        server.handshake_status("/more") == 101
    });
}

#[test]
fn a_library_beside_a_plugin_that_others_can_write_is_not_run() {
    let site = Site::with(&["echo_wsh"]);
    let neighbour = site.handlers().join("libneighbour.so");
    fs::write(
        &neighbour,
        compile("handlers/c/cecho.c", &["-Wl,-soname,libneighbour.so"]),
    )
    .expect("writing");
    let needing = compile(
        "handlers/c/cecho.c",
        &[
            "-Wl,--no-as-needed",
            &neighbour.to_string_lossy(),
            "-Wl,-rpath,$ORIGIN",
        ],
    );
    chmod(&neighbour, 0o666);
    site.add_bytes(&needing, "needing_wsh.so");
    let server = Server::start(&site);

    server.line(&[
        "cannot load `needing_wsh.so`: it cannot be staged: `",
        "libneighbour.so` beside it: `",
        "is writable by others (mode 0666)",
    ]);
    chmod(&neighbour, 0o644);
    within(SOON, "it is loaded", || {
        server.handshake_status("/needing") == 101
    });
}
