//! A FIFO, a device or a huge file where a file is expected is refused in one sentence, and nothing waits for it.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::patch::versioned;
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::within;

/// Far longer than a refusal takes.
const SOON: Duration = Duration::from_secs(5);

/// Puts one odd file after the other at a path, and calls `then` with the sentence about each.
fn oddities(site: &Site, file: &str, mut then: impl FnMut(&str)) {
    let path = site.root().join(file);
    site.add_fifo(file);
    then("it is a FIFO, wanted is a regular file");

    fs::remove_file(&path).expect("removing");
    symlink("/dev/zero", &path).expect("a link");
    then("it is a device, wanted is a regular file");

    fs::remove_file(&path).expect("removing");
    let huge = fs::File::create(&path).expect("a file");
    huge.set_len(3 << 30).expect("a sparse file");
    then("it has 3221225472 bytes, at most 4194304 are read");

    fs::remove_file(&path).expect("removing");
    fs::create_dir(&path).expect("a directory");
    then("it is a directory, wanted is a regular file");
    fs::remove_dir(&path).expect("removing");
}

#[test]
fn an_odd_configuration_or_map_ends_a_check_and_a_start_at_once() {
    let site = Site::with(&["echo_wsh"]);
    for (file, arguments) in [
        ("config.toml", &[][..]),
        ("map.txt", &["-m", "map.txt"][..]),
    ] {
        oddities(&site, file, |sentence| {
            for command in [&["check"][..], &[][..]] {
                let began = Instant::now();
                let mut wshd = Command::new(env!("CARGO_BIN_EXE_wshd"));
                wshd.current_dir(site.root()).args(command).args(arguments);
                let output = wshd.output().expect("wshd runs");

                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert_eq!(output.status.code(), Some(78), "{said}");
                let path = site.root().join(file);
                let wanted = format!("wshd: cannot read `{}`: {sentence}\n", path.display());
                assert_eq!(said, wanted);
                assert!(began.elapsed() < SOON, "{said}");
            }
        });
    }
}

#[test]
fn an_odd_configuration_leaves_the_old_one_serving_and_the_server_ends_when_told() {
    let site = Site::with(&["echo_wsh"]);
    site.write("config.toml", "[routes]\n\"/alias\" = \"/echo\"\n");
    let mut server = Server::start(&site);
    let mut version = 0;
    oddities(&site, "config.toml", |sentence| {
        server.line(&["configuration refused, the old one keeps serving", sentence]);

        assert_eq!(server.connect("/alias").ask("hello"), "hello");
        version += 1;
        site.add_bytes(&versioned(version), "versioned_wsh.so");
        let wanted = format!("version-{version:04}");
        within(SOON, "handlers are loaded on", || {
            server.handshake_status("/versioned") == 101
                && server.connect("/versioned").ask("which?") == wanted
        });
    });
    site.add_fifo("config.toml");
    server.line(&["configuration refused", "FIFO"]);

    server.signal("TERM");
    assert!(server.wait(SOON).success());
}

#[test]
fn an_odd_library_beside_a_plugin_refuses_it_and_holds_nothing_up() {
    use crate::harness::compile::compile;
    let site = Site::with(&["echo_wsh"]);
    // The linker needs a library to link with. The file beside the plugin is replaced later.
    let dependency = site.root().join("libdependency.so");
    fs::write(
        &dependency,
        compile("handlers/c/cecho.c", &["-Wl,-soname,libdependency.so"]),
    )
    .expect("writing");
    let needing = compile(
        "handlers/c/cecho.c",
        &["-Wl,--no-as-needed", &dependency.to_string_lossy()],
    );
    site.add_fifo("handlers/libdependency.so");
    site.add_bytes(&needing, "needing_wsh.so");
    let server = Server::start(&site);

    server.line(&[
        "cannot load `needing_wsh.so`: it cannot be staged: `",
        "handlers/libdependency.so` beside it: it is a FIFO, wanted is a regular file",
    ]);
    assert_eq!(server.connect("/echo").ask("hello"), "hello");
}

#[test]
fn a_large_file_that_is_no_library_is_read_at_its_beginning_only() {
    let site = Site::with(&["echo_wsh"]);
    let huge = fs::File::create(site.handlers().join("huge_wsh.so")).expect("a file");
    huge.set_len(256 << 20).expect("a sparse file");
    let server = Server::start(&site);

    server.line(&["cannot load `huge_wsh.so`: it is not a shared library"]);
    let peak = server.proc_status("VmHWM");
    assert!(peak < 128 * 1024, "{peak} KiB for a file that is refused");
}
