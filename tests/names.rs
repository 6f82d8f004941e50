//! Which file answers at which path.

use std::fs;
use std::os::unix::fs::symlink;

use crate::harness::server::Server;
use crate::harness::site::{Site, library};

#[test]
fn files_in_nested_folders_answer_at_nested_paths() {
    let site = Site::empty();
    for file in [
        "echo_wsh.so",
        "a/libecho_wsh.so",
        "a/b/deep_wsh.so",
        "c/_wsh.so",
        "with space_wsh.so",
    ] {
        site.add("echo_wsh", file);
    }
    let server = Server::start(&site);

    for path in [
        "/echo",
        "/a/echo",
        "/a/b/deep",
        "/c",
        "/c/",
        "/with%20space",
        "/echo?room=1",
    ] {
        assert_eq!(server.handshake_status(path), 101, "{path}");
    }
    for path in [
        "/",
        "/Echo",
        "/echo/",
        "/a",
        "/a/b",
        "/libecho",
        "/c//",
        "/echo_wsh",
        "//echo",
    ] {
        assert_eq!(server.handshake_status(path), 404, "{path}");
    }
    assert_eq!(server.handshake_status("/echo#part"), 400);
}

#[test]
fn of_a_folder_inside_a_cache_only_its_own_files_are_served() {
    let site = Site::empty();
    for file in ["echo_wsh.so", "deps/echo_wsh.so", "deps/libecho_wsh.so"] {
        site.add("echo_wsh", &format!("target/debug/{file}"));
    }
    let tag = "Signature: 8a477f597d28d172789f06886806bc55";
    site.write("handlers/target/CACHEDIR.TAG", tag);
    let debug = site.handlers().join("target/debug");
    let server = Server::bare(&site)
        .args(["-p", "0", "-w"])
        .arg(debug)
        .start();

    assert_eq!(server.handshake_status("/echo"), 101);
    assert_eq!(server.handshake_status("/deps/echo"), 404);
    assert_eq!(server.count_lines(&["handler loaded"]), 1);
    assert_eq!(server.count_lines(&["plugin refused"]), 0);
}

#[test]
fn a_file_named_wsh_alone_answers_at_the_root() {
    let site = Site::empty();
    site.add("echo_wsh", "_wsh.so");
    let server = Server::start(&site);

    assert_eq!(server.handshake_status("/"), 101);
}

#[test]
fn other_files_hidden_ones_and_caches_are_no_handlers() {
    let site = Site::empty();
    for file in [
        ".hidden_wsh.so",
        ".git/a_wsh.so",
        "target/debug/b_wsh.so",
        "libc.so",
        "d_wsh.so.bak",
        "e_wsh.txt",
    ] {
        site.add("echo_wsh", file);
    }
    site.write(
        "handlers/target/CACHEDIR.TAG",
        "Signature: 8a477f597d28d172789f06886806bc55",
    );
    fs::create_dir(site.handlers().join("folder_wsh.so")).expect("a directory");
    symlink("nowhere", site.handlers().join("dangling_wsh.so")).expect("a link");
    site.add("echo_wsh", "echo_wsh.so");
    let server = Server::start(&site);

    assert_eq!(server.handshake_status("/echo"), 101);
    assert_eq!(
        server.count_lines(&["handler loaded"]),
        1,
        "{}",
        server.log()
    );
    assert_eq!(
        server.count_lines(&["plugin refused"]),
        0,
        "{}",
        server.log()
    );
}

#[test]
fn a_link_that_leads_outside_is_followed_only_when_that_is_allowed() {
    let site = Site::empty();
    let outside = site.root().join("outside.so");
    fs::copy(library("echo_wsh"), &outside).expect("copying");
    symlink(&outside, site.handlers().join("linked_wsh.so")).expect("a link");

    let server = Server::start(&site);
    assert_eq!(server.handshake_status("/linked"), 503);
    server.line(&[
        "cannot load `linked_wsh.so`: it leads to `",
        "outside.so`, outside the handlers directory",
    ]);

    let server = Server::builder(&site)
        .arg("--allow-handlers-outside-root-dir")
        .start();
    assert_eq!(server.handshake_status("/linked"), 101);
}

#[test]
fn of_two_files_for_one_route_the_first_stays_and_the_other_is_refused_by_name() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);

    let second = site.add("versioned_wsh", "libecho_wsh.so");
    server.line(&["cannot load `libecho_wsh.so`: `/echo` is answered by `echo_wsh.so` already"]);
    assert_eq!(server.connect("/echo").ask("first"), "first");

    // When the first goes, the second gets its route.
    fs::remove_file(site.handlers().join("echo_wsh.so")).expect("removing");
    server.line(&["handler loaded", "handler=\"echo\"", "generation=2"]);
    assert_eq!(server.connect("/echo").ask("which?"), "version-0001");
    assert!(second.exists());
}
