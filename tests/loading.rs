//! A change of the handlers directory changes what is served, and nothing else.

use std::fs;
use std::io::Write;
use std::time::Duration;

use crate::harness::client::Client;
use crate::harness::patch::versioned;
use crate::harness::server::Server;
use crate::harness::site::{Site, library};
use crate::harness::within;

/// How soon after the last write a change shows.
const SOON: Duration = Duration::from_secs(10);

fn version(client: &mut Client) -> String {
    client.ask("which?")
}

/// Waits until an open session runs this version.
#[track_caller]
fn moves(open: &mut Client, number: u32) {
    let wanted = format!("version-{number:04}");
    within(SOON, &format!("an open session runs {wanted}"), || {
        version(open) == wanted
    });
}

/// Waits until a new connection runs this version.
#[track_caller]
fn serves(server: &Server, number: u32) {
    let wanted = format!("version-{number:04}");
    within(SOON, &format!("a new connection runs {wanted}"), || {
        server.handshake_status("/versioned") == 101
            && version(&mut server.connect("/versioned")) == wanted
    });
}

#[test]
fn a_file_dropped_into_the_directory_answers_at_its_path() {
    let site = Site::empty();
    let server = Server::start(&site);
    assert_eq!(server.handshake_status("/versioned"), 404);

    site.add_bytes(&versioned(1), "versioned_wsh.so");

    serves(&server, 1);
}

#[test]
fn a_file_renamed_over_serves_new_connections_and_leaves_open_ones_alone_where_they_drain() {
    let site = Site::with(&["versioned_wsh", "echo_wsh"]);
    site.write("config.toml", "reload = \"drain\"\n");
    let server = Server::start(&site);
    let mut open = server.connect("/versioned");
    let mut neighbour = server.connect("/echo");

    site.add_bytes(&versioned(2), "versioned_wsh.so");
    serves(&server, 2);

    assert_eq!(version(&mut open), "version-0001");
    assert_eq!(neighbour.ask("still there?"), "still there?");
    assert_eq!(open.close(1000), 1000);
    server.line(&["generation retired", "handler=versioned", "generation=1"]);
}

#[test]
fn a_file_written_over_in_place_is_loaded_when_it_is_whole_and_not_before() {
    let site = Site::with(&["versioned_wsh"]);
    let server = Server::start(&site);
    let mut open = server.connect("/versioned");
    let bytes = versioned(2);
    let path = site.handlers().join("versioned_wsh.so");

    // The file is truncated and written slowly, as `cp` does it.
    let bytes_per_second = if crate::harness::is_long() {
        1 << 20
    } else {
        8 << 20
    };
    let mut file = fs::File::create(&path).expect("truncating");
    for chunk in bytes.chunks(bytes_per_second / 20) {
        file.write_all(chunk).expect("writing");
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(version(&mut open), "version-0001");
        assert_eq!(version(&mut server.connect("/versioned")), "version-0001");
    }
    drop(file);

    serves(&server, 2);
    moves(&mut open, 2);
    assert_eq!(
        server.count_lines(&["plugin refused"]),
        0,
        "{}",
        server.log()
    );
}

#[test]
fn a_deleted_file_is_gone_and_a_restored_one_is_back() {
    let site = Site::with(&["versioned_wsh"]);
    let server = Server::start(&site);
    let mut open = server.connect("/versioned");

    fs::remove_file(site.handlers().join("versioned_wsh.so")).expect("removing");
    within(SOON, "new connections are answered 404", || {
        server.handshake_status("/versioned") == 404
    });
    assert_eq!(version(&mut open), "version-0001");

    site.add_bytes(&versioned(3), "versioned_wsh.so");
    serves(&server, 3);
    moves(&mut open, 3);
}

#[test]
fn a_file_that_is_away_for_a_moment_is_never_missed() {
    let site = Site::with(&["versioned_wsh"]);
    let server = Server::start(&site);
    let path = site.handlers().join("versioned_wsh.so");

    // Cargo unlinks the file, and makes a hard link to what it built elsewhere.
    let built = site.root().join("built.so");
    fs::write(&built, versioned(2)).expect("writing");
    fs::remove_file(&path).expect("removing");
    assert_eq!(version(&mut server.connect("/versioned")), "version-0001");
    fs::hard_link(&built, &path).expect("linking");

    serves(&server, 2);
    assert_eq!(server.count_lines(&["handler removed"]), 0);
}

#[test]
fn the_same_content_is_loaded_once_however_often_it_is_put_there() {
    let site = Site::with(&["versioned_wsh"]);
    let server = Server::start(&site);

    for _ in 0..3 {
        site.add_bytes(&versioned(1), "versioned_wsh.so");
    }
    site.add_bytes(&versioned(2), "versioned_wsh.so");
    serves(&server, 2);

    server.line(&["handler loaded", "handler=\"versioned\"", "generation=2"]);
    assert_eq!(
        server.count_lines(&["handler loaded", "handler=\"versioned\""]),
        2
    );
}

#[test]
fn handlers_are_found_whatever_becomes_of_their_directory() {
    let site = Site::with(&["versioned_wsh"]);
    let server = Server::start(&site);

    fs::rename(site.handlers(), site.root().join("away")).expect("renaming");
    within(SOON, "the handler is gone with its directory", || {
        server.handshake_status("/versioned") == 404
    });
    server.line(&["handlers directory is gone, waiting for it"]);

    fs::create_dir(site.handlers()).expect("a new directory");
    site.add_bytes(&versioned(2), "versioned_wsh.so");
    within(
        Duration::from_secs(4),
        "the new directory is served",
        || server.handshake_status("/versioned") == 101,
    );
    serves(&server, 2);
}

#[test]
fn a_directory_switched_by_its_link_serves_what_it_leads_to_now() {
    let site = Site::empty();
    for (folder, number) in [("v1", 1), ("v2", 2)] {
        let folder = site.root().join(folder);
        fs::create_dir(&folder).expect("a directory");
        fs::write(folder.join("versioned_wsh.so"), versioned(number)).expect("writing");
    }
    fs::remove_dir(site.handlers()).expect("removing");
    std::os::unix::fs::symlink("v1", site.handlers()).expect("a link");
    let server = Server::start(&site);
    serves(&server, 1);

    // Deployers rename a new link over the old one.
    let next = site.root().join("next");
    std::os::unix::fs::symlink("v2", &next).expect("a link");
    fs::rename(&next, site.handlers()).expect("renaming");

    serves(&server, 2);
    assert_eq!(
        server.count_lines(&["plugin refused"]),
        0,
        "{}",
        server.log()
    );
    assert_eq!(
        server.count_lines(&["handler removed"]),
        0,
        "{}",
        server.log()
    );
}

#[test]
fn a_handler_that_hangs_while_it_is_loaded_keeps_no_other_handler_waiting() {
    let site = Site::empty();
    let server = Server::start(&site);

    site.add("fails_wsh", "init_hangs_wsh.so");
    site.add_bytes(&versioned(1), "versioned_wsh.so");

    serves(&server, 1);
    assert_eq!(server.handshake_status("/init_hangs"), 404);
}

#[test]
fn a_hundred_handlers_are_served_beside_a_bad_one() {
    let site = Site::empty();
    let good = versioned(1);
    for number in 0..100 {
        let built = site.root().join("built.so");
        if number == 0 {
            fs::write(&built, &good).expect("writing");
        }
        fs::hard_link(&built, site.handlers().join(format!("h{number}_wsh.so"))).expect("linking");
    }
    site.add_bytes(b"#!/bin/sh\n", "bad_wsh.so");

    let server = Server::start(&site);

    for number in 0..100 {
        assert_eq!(
            server.handshake_status(&format!("/h{number}")),
            101,
            "handler {number}"
        );
    }
}

#[test]
fn a_large_library_is_loaded_and_replaced_like_a_small_one() {
    let site = Site::empty();
    let server = Server::start(&site);
    let mut bytes = std::fs::read(library("echo_wsh")).expect("the library");
    bytes.resize(24 * 1024 * 1024, 7);

    site.add_bytes(&bytes, "large_wsh.so");
    server.line(&["handler loaded", "handler=\"large\"", "generation=1"]);
    bytes.push(8);
    site.add_bytes(&bytes, "large_wsh.so");
    server.line(&["handler loaded", "handler=\"large\"", "generation=2"]);

    assert_eq!(server.connect("/large").ask("hello"), "hello");
}
