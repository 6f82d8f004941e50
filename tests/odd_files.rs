//! A FIFO, a device or a huge file where a file is expected is refused in one sentence, and nothing waits for it.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::patch::versioned;
use crate::harness::server::{Server, status_of};
use crate::harness::site::Site;
use crate::harness::tls::Tls;
use crate::harness::within;

/// Far longer than a refusal takes.
const SOON: Duration = Duration::from_secs(15);

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
                assert!(said.starts_with(&wanted), "{said}, not {wanted}");
                assert!(began.elapsed() < SOON, "{said}");
            }
        });
    }
}

#[test]
fn an_odd_file_of_users_tokens_or_tls_ends_a_check_and_a_start_at_once() {
    let site = Site::with(&["echo_wsh"]);
    Tls::new(&site);
    let pair = ["--tls", "-c", "server.pem", "-k", "server.key"];
    let with_ca = [
        &pair[..],
        &["--tls-client-auth", "--tls-client-ca", "ca.pem"],
    ]
    .concat();
    for (file, arguments) in [
        ("users", &["--users-file", "users"][..]),
        ("tokens", &["--tokens-file", "tokens"]),
        ("server.pem", &pair),
        ("server.key", &pair),
        ("ca.pem", &with_ca),
    ] {
        let path = site.root().join(file);
        let whole = fs::read(&path).unwrap_or_default();
        let _ = fs::remove_file(&path);
        oddities(&site, file, |sentence| {
            // Files of TLS have a lower limit.
            let sentence = sentence.split(", at most").next().unwrap_or(sentence);
            for command in [&["check"][..], &[]] {
                let began = Instant::now();
                let wshd = Server::bare(&site).args(command).args(arguments);
                let output = wshd.args(["-p", "0"]).output();

                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert_eq!(output.status.code(), Some(78), "{said}");
                let wanted = format!("wshd: cannot read `{}`: {sentence}", path.display());
                assert!(said.contains(&wanted), "{said}, not {wanted}");
                assert!(began.elapsed() < SOON, "{said}");
            }
        });
        fs::write(&path, whole).expect("writing");
    }
}

#[test]
fn a_fifo_among_handlers_and_pages_is_no_handler_and_no_page() {
    let site = Site::with(&["echo_wsh"]);
    site.add_fifo("handlers/odd_wsh.so");
    site.write("www/index.html", "the index");
    site.add_fifo("www/odd.html");
    let server = Server::builder(&site).args(["-d", "www"]).start();

    server.line(&["cannot load `odd_wsh.so`: it is a FIFO, wanted is a regular file"]);
    for (path, status) in [("/odd.html", 404), ("/", 200), ("/odd", 503)] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = server.exchange(request.as_bytes());
        assert_eq!(status_of(&answer), status, "{path}: {answer}");
    }
    assert_eq!(server.connect("/echo").ask("hello"), "hello");
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
