//! Changes are found wherever the handlers directory lies, also where the system tells of none.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::compile::compile;
use crate::harness::patch::versioned;
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::{at_once, eventually, within};

/// How soon a change shows where events tell of it, or a look twice a second.
const SOON: Duration = Duration::from_millis(1_900);

/// Whether a new connection runs this version.
fn serves(server: &Server, path: &str, number: u32) -> bool {
    server.handshake_status(path) == 101
        && server.connect(path).ask("which?") == format!("version-{number:04}")
}

/// The bytes that the server has read so far, by the system's count.
fn bytes_read(server: &Server) -> u64 {
    let io = fs::read_to_string(format!("/proc/{}/io", server.pid()));
    let io = io.expect("the server runs");
    let line = io.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.and_then(|it| it.parse().ok()).expect("a number")
}

/// Replaces the file that a link leads to by another version, as a deployer does.
fn replace(file: &Path, number: u32) {
    let next = file.with_extension("next");
    fs::write(&next, versioned(number)).expect("writing");
    fs::rename(next, file).expect("renaming");
}

#[test]
fn a_change_that_no_event_tells_of_is_found_and_looked_for_from_then_on() {
    let site = Site::empty();
    let outside = site.root().join("outside");
    fs::create_dir(&outside).expect("a directory");
    let file = outside.join("built.so");
    replace(&file, 1);
    symlink(&file, site.handlers().join("linked_wsh.so")).expect("a link");
    let server = Server::builder(&site)
        .arg("--allow-handlers-outside-root-dir")
        .start();

    replace(&file, 2);
    eventually("a sweep finds the new file", || {
        serves(&server, "/linked", 2)
    });
    let line = server.line(&["no event told of a change", "path=", "linked_wsh.so"]);

    assert!(line.contains("WARN"), "{line}");
    for number in 3..6 {
        replace(&file, number);
        within(SOON, "it is looked for twice a second", || {
            serves(&server, "/linked", number)
        });
    }
    assert_eq!(server.count_lines(&["no event told of a change"]), 1);
}

#[test]
fn changes_that_events_tell_of_are_not_taken_for_silent_ones() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    for number in 1..20 {
        site.add_bytes(&versioned(number), "versioned_wsh.so");
        within(SOON, "it is served", || {
            serves(&server, "/versioned", number)
        });
    }
    let path = site.handlers().join("versioned_wsh.so");
    // Another link changes the file's time of change, and no event of its directory tells of it.
    fs::hard_link(&path, site.root().join("other")).expect("linking");
    fs::remove_file(&path).expect("removing");
    eventually("it is gone", || {
        server.handshake_status("/versioned") == 404
    });

    assert_eq!(server.count_lines(&["no event told of a change"]), 0);
}

#[test]
fn another_directory_in_the_configuration_is_not_taken_for_silence() {
    let site = Site::with(&["echo_wsh"]);
    let handlers = site.handlers();
    fs::create_dir(handlers.join("live")).expect("a directory");
    replace(&handlers.join("live/inner_wsh.so"), 1);
    let configure = |handlers_dir: &Path, lines: &str| {
        site.write(
            "config.toml",
            &format!("handlers_dir = {handlers_dir:?}\n{lines}"),
        );
    };
    configure(&handlers, "");
    let server = Server::bare(&site).args(["-p", "0"]).start();
    assert_eq!(server.handshake_status("/live/inner"), 101);

    let live = handlers.join("live");
    for (handlers_dir, lines, there, gone) in [
        (
            &handlers,
            &*format!("scan_dir = {live:?}\n"),
            "/live/inner",
            "/echo",
        ),
        (&handlers, "", "/echo", "/inner"),
        (&live, "", "/inner", "/echo"),
        (&handlers, "", "/live/inner", "/inner"),
    ] {
        configure(handlers_dir, lines);
        eventually("the configuration is applied", || {
            server.handshake_status(there) == 101 && server.handshake_status(gone) == 404
        });
    }
    // An event may take a second to come.
    std::thread::sleep(Duration::from_millis(1_200));

    assert_eq!(server.count_lines(&["no event told of a change"]), 0);
}

#[test]
fn the_limits_of_the_system_are_named_and_changes_are_looked_for() {
    for (limit, sysctl) in [
        ("max_inotify_watches", "fs.inotify.max_user_watches"),
        ("max_inotify_instances", "fs.inotify.max_user_instances"),
    ] {
        let site = Site::empty();
        // A user namespace has limits of its own, which are 0 here.
        let enter = format!("echo 0 > /proc/sys/user/{limit} && exec \"$@\"");
        let unshare = || {
            let mut command = Command::new("unshare");
            command.args(["-Ur", "sh", "-c", &enter, "sh"]);
            command
        };
        let allowed = unshare().arg("true").stderr(Stdio::null()).status();
        if !allowed.is_ok_and(|status| status.success()) {
            eprintln!("nothing is shown of {limit}: this system allows no user namespaces");
            continue;
        }
        let server = Server::builder(&site).within(unshare()).start();

        let line = server.line(&["cannot watch every directory", sysctl]);
        assert!(line.contains("WARN"), "{line}");
        site.add_bytes(&versioned(1), "versioned_wsh.so");
        within(SOON, "it is looked for twice a second", || {
            serves(&server, "/versioned", 1)
        });
        assert_eq!(server.count_lines(&["cannot watch every directory"]), 1);
    }
}

#[test]
fn a_directory_that_is_removed_and_made_again_is_watched_again() {
    // The handlers directory itself, and a folder in it.
    at_once(
        [("", "/versioned"), ("rooms", "/rooms/tea")],
        |(folder, path)| {
            let site = Site::empty();
            let file = format!("{}_wsh.so", &path[1..]);
            site.add_bytes(&versioned(1), &file);
            let server = Server::start(&site);
            let directory = site.handlers().join(folder);

            assert!(serves(&server, path, 1));
            for number in [2, 4] {
                fs::remove_dir_all(&directory).expect("removing");
                within(SOON, "its handler is gone", || {
                    server.handshake_status(path) == 404
                });
                site.add_bytes(&versioned(number), &file);
                eventually("the new directory is served", || {
                    serves(&server, path, number)
                });
                site.add_bytes(&versioned(number + 1), &file);
                within(SOON, "the new directory is watched", || {
                    serves(&server, path, number + 1)
                });
            }
        },
    );
}

#[test]
fn a_folder_switched_by_its_link_serves_what_it_leads_to_now() {
    let site = Site::empty();
    for number in [1, 2] {
        let file = format!(".v{number}/tea_wsh.so");
        site.add_bytes(&versioned(number), &file);
    }
    let current = site.handlers().join("current");
    symlink(".v1", &current).expect("a link");
    let server = Server::start(&site);
    assert!(serves(&server, "/current/tea", 1));

    for number in [2, 1, 2] {
        let next = site.root().join("next");
        symlink(format!(".v{number}"), &next).expect("a link");
        fs::rename(&next, &current).expect("renaming");
        within(SOON, "what the link leads to is served", || {
            serves(&server, "/current/tea", number)
        });
    }
    // The directory that the link leads to is watched, too.
    site.add_bytes(&versioned(3), ".v2/tea_wsh.so");
    within(SOON, "the new file is served", || {
        serves(&server, "/current/tea", 3)
    });
    assert_eq!(server.count_lines(&["plugin refused"]), 0);
    assert_eq!(server.count_lines(&["handler removed"]), 0);
}

#[test]
fn a_link_above_the_handlers_directory_is_live_when_it_is_switched() {
    let site = Site::empty();
    let release = |number: u32| site.root().join(format!("releases/{number}"));
    for number in 1..=6 {
        fs::create_dir_all(release(number).join("handlers")).expect("directories");
        let file = release(number).join("handlers/tea_wsh.so");
        fs::write(file, versioned(number)).expect("writing");
    }
    let switch = |link: &str, to: &str| {
        let next = site.root().join("switching");
        symlink(to, &next).expect("a link");
        fs::rename(&next, site.root().join(link)).expect("renaming");
    };
    switch("stable", "releases/1");
    switch("current", "stable");
    let server = Server::bare(&site)
        .args(["-p", "0", "-w", "current/handlers"])
        .start();
    assert!(serves(&server, "/tea", 1));

    let mut times = Vec::new();
    let mut live = |number: u32| {
        let began = std::time::Instant::now();
        within(SOON, "what the links lead to is served", || {
            serves(&server, "/tea", number)
        });
        times.push(began.elapsed());
    };
    // The named link is switched, then the one that it leads to, then a directory without a link.
    switch("current", "releases/2");
    live(2);
    switch("current", "stable");
    live(1);
    switch("stable", "releases/3");
    live(3);
    switch("stable", "releases/4");
    live(4);
    fs::rename(release(4), site.root().join("releases/old")).expect("renaming");
    fs::rename(release(5), release(4)).expect("renaming");
    live(5);
    replace(&release(4).join("handlers/tea_wsh.so"), 6);
    live(6);

    times.sort();
    assert!(
        times[times.len() / 2] < Duration::from_millis(300),
        "{times:?}"
    );
    assert_eq!(server.count_lines(&["no event told of a change"]), 0);
    assert_eq!(server.count_lines(&["handler removed"]), 0);
}

#[test]
fn what_happens_beside_the_names_on_the_way_costs_no_look() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::bare(&site)
        .args(["-p", "0", "--log-level", "trace"])
        .start();

    for number in 0..2_000 {
        fs::write(site.root().join("beside"), format!("{number}")).expect("writing");
    }
    site.add_bytes(&versioned(1), "versioned_wsh.so");
    within(SOON, "it is served", || serves(&server, "/versioned", 1));

    let looks = server.count_lines(&["looked at everything"]);
    assert!((1..50).contains(&looks), "{looks} looks");
}

#[test]
fn the_same_content_is_one_generation_whatever_is_done_to_its_file() {
    let site = Site::empty();
    site.add_bytes(&versioned(1), "versioned_wsh.so");
    site.add("echo_wsh", "echo_wsh.so");
    let server = Server::start(&site);
    let path = site.handlers().join("versioned_wsh.so");
    let touch = || {
        let file = fs::File::options().append(true).open(&path);
        let now = std::time::SystemTime::now();
        file.expect("the file").set_modified(now).expect("touching");
    };

    let deeds: [(&str, &dyn Fn()); 6] = [
        ("touched", &touch),
        ("copied over itself", &|| {
            fs::write(&path, versioned(1)).expect("writing");
        }),
        ("renamed to itself", &|| {
            fs::rename(&path, &path).expect("renaming");
        }),
        ("renamed over itself", &|| {
            site.add_bytes(&versioned(1), "versioned_wsh.so");
        }),
        ("linked", &|| {
            fs::hard_link(&path, site.root().join("linked")).expect("linking");
        }),
        ("made executable", &|| {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
        }),
    ];
    for (index, (deed, run)) in deeds.iter().enumerate() {
        run();
        // When the server has loaded the next file, it has also looked at this one.
        let mut other = fs::read(crate::harness::site::library("echo_wsh")).expect("a library");
        other.push(index as u8);
        site.add_bytes(&other, "echo_wsh.so");
        let generation = format!("generation={}", index + 2);
        server.line(&["handler loaded", "handler=\"echo\"", &generation]);
        assert!(serves(&server, "/versioned", 1), "{deed}");
    }
    // A file that was written in place is read after a moment without further writes.
    site.add_bytes(&versioned(2), "versioned_wsh.so");
    within(SOON, "another content", || serves(&server, "/versioned", 2));

    server.line(&["handler loaded", "handler=\"versioned\"", "generation=2"]);
    let loads = server.count_lines(&["handler loaded", "handler=\"versioned\""]);
    assert_eq!(loads, 2, "{}", server.log());
}

#[test]
fn a_thousand_files_are_read_once_each() {
    let site = Site::empty();
    let (good, files) = (compile("handlers/c/cecho.c", &["-Os"]), 1_000);
    let built = site.root().join("built.so");
    fs::write(&built, &good).expect("writing");
    for number in 0..files {
        let file = format!("group{}/h{number}_wsh.so", number % 10);
        let path = site.handlers().join(file);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::hard_link(&built, path).expect("linking");
    }
    let server = Server::start(&site);
    assert_eq!(server.count_lines(&["handler loaded"]), files);
    assert_eq!(server.connect("/group7/h997").ask("hello"), "hello");
    let read_to_load = bytes_read(&server);

    // Each change makes the server look at everything.
    let changes = 5;
    for number in 0..changes {
        site.add_bytes(&versioned(number + 2), "changes_wsh.so");
        eventually("it is served", || serves(&server, "/changes", number + 2));
    }
    let read_to_look = bytes_read(&server) - read_to_load;

    let all = files as u64 * good.len() as u64;
    assert!(
        read_to_load < 2 * all,
        "{read_to_load} bytes read to load {all}"
    );
    let changed = u64::from(changes) * versioned(1).len() as u64;
    assert!(
        read_to_look < 3 * changed,
        "{read_to_look} bytes read for {changed} that changed"
    );
}

#[test]
fn a_file_that_is_refused_is_not_read_over_and_over() {
    let site = Site::with(&["echo_wsh"]);
    site.add("echo_wsh", "bad_wsh.so");
    let server = Server::start(&site);
    let bad = site.handlers().join("bad_wsh.so");
    fs::set_permissions(&bad, fs::Permissions::from_mode(0o666)).expect("chmod");
    server.line(&["cannot load `bad_wsh.so`", "keeps serving"]);
    site.add_bytes(b"#!/bin/sh\n", "worse_wsh.so");
    server.line(&["cannot load `worse_wsh.so`"]);
    let before = bytes_read(&server);

    let changes = 8;
    for number in 1..=changes {
        site.add_bytes(&versioned(number), "changes_wsh.so");
        eventually("it is served", || serves(&server, "/changes", number));
    }

    let (read, changed) = (
        bytes_read(&server) - before,
        u64::from(changes) * versioned(1).len() as u64,
    );
    assert!(
        read < 3 * changed,
        "{read} bytes read for {changed} that changed"
    );
    assert_eq!(server.connect("/bad").ask("still there?"), "still there?");
}
