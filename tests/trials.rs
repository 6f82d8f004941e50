//! A plugin is tried in a process of its own. What would end or hang the server ends or hangs that process, and the server
//! refuses the plugin in one sentence.

mod damage;
mod helper;

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::harness::compile::{compile, compile_program, unruly};
use crate::harness::eventually;
use crate::harness::server::Server;
use crate::harness::site::Site;

/// Plugins that end or hang the process that opens them, and the sentence about each.
const FATAL: &[(&str, &str)] = &[
    (
        "-DIN_CONSTRUCTOR=crash()",
        "it ended the process with signal 11 (SIGSEGV) while it was mapped",
    ),
    (
        "-DIN_CONSTRUCTOR=exit(0)",
        "it ended the process with exit status 0 while it was mapped",
    ),
    (
        "-DIN_CONSTRUCTOR=hang()",
        "its constructors were still running after 1 s (`init_timeout_ms`)",
    ),
    (
        "-DIN_INIT=exit(0)",
        "it ended the process with exit status 0 during init",
    ),
    (
        "-DIN_INIT=_exit(7)",
        "it ended the process with exit status 7 during init",
    ),
    (
        "-DIN_INIT=hang()",
        "its `init` did not return within 1 s (`init_timeout_ms`)",
    ),
    (
        "-DIN_INIT=read_past_the_end()",
        "it ended the process with signal 7 (SIGBUS) during init",
    ),
    (
        "-DIN_INIT=eat_memory()",
        "it ended the process with signal 11 (SIGSEGV) during init",
    ),
    (
        "-DIN_INIT=fprintf(stderr, \"bad luck\\n\"); abort()",
        "it ended the process with signal 6 (SIGABRT) during init; it said `bad luck`",
    ),
    (
        "-DIN_SELF_TEST=abort()",
        "it ended the process with signal 6 (SIGABRT) during self_test",
    ),
    (
        "-DIN_SHUTDOWN=crash()",
        "it ended the process with signal 11 (SIGSEGV) during shutdown",
    ),
    // A child leaves its process group, and holds everything open that it was given.
    (
        "-DIN_INIT=if (fork() == 0) { setsid(); hang(); } else { exit(3); }",
        "it ended the process with exit status 3 during init",
    ),
    // It closes every descriptor of the trial.
    (
        "-DIN_INIT=for (int fd = 0; fd < 1024; fd++) { close(fd); } _exit(1)",
        "it ended the process with exit status 1 during init",
    ),
];

/// A site with every plugin of [`FATAL`], and the sentences about their files.
fn fatal_site() -> (Site, Vec<String>) {
    let site = Site::with(&["echo_wsh"]);
    site.write(
        "config.toml",
        "[limits]\ninit_timeout_ms = 1000\ntrial_memory_bytes_max = 64000000\n",
    );
    let mut sentences = Vec::new();
    for (index, (option, sentence)) in FATAL.iter().enumerate() {
        site.add_bytes(&unruly(&[option]), &format!("f{index}_wsh.so"));
        sentences.push(format!("cannot load `f{index}_wsh.so`: {sentence}"));
    }
    (site, sentences)
}

/// The children of a process, with their names.
fn children(parent: u32) -> Vec<(u32, String)> {
    let listed = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    let pids: Vec<u32> = listed
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect();
    let name = |pid| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    pids.into_iter()
        .map(|pid| (pid, name(pid).trim().to_owned()))
        .collect()
}

/// Waits for the helper process of a server.
#[track_caller]
fn helper(server: &Server) -> u32 {
    let mut found = None;
    // The helper takes its name a moment after it was made.
    eventually("the server has a helper", || {
        let children = children(server.pid());
        found = children
            .iter()
            .find(|(_, name)| name.starts_with("wshd-trial"))
            .map(|(pid, _)| *pid);
        found.is_some()
    });
    found.expect("it was found")
}

/// Starts a server without trials, and adds a plugin whose constructor hangs.
fn held_by_a_constructor() -> (Site, Server) {
    let site = Site::with(&["echo_wsh"]);
    site.write(
        "config.toml",
        "trial = \"never\"\n[limits]\ninit_timeout_ms = 300\nstop_timeout_ms = 1000\n",
    );
    let server = Server::start(&site);
    site.add_bytes(&unruly(&["-DIN_CONSTRUCTOR=hang()"]), "hangs_wsh.so");
    server.line(&[
        "cannot load `hangs_wsh.so`",
        "constructors were still running",
    ]);
    (site, server)
}

#[test]
fn a_constructor_that_hangs_in_the_server_holds_up_no_session_and_no_end() {
    let (_site, mut server) = held_by_a_constructor();

    // More than there are threads: each of those would have waited for the dynamic linker.
    for _ in 0..50 {
        assert_eq!(server.connect("/echo").ask("hello"), "hello");
    }

    server.signal("TERM");
    assert_eq!(server.wait(Duration::from_secs(5)).code(), Some(0));
}

#[test]
fn a_constructor_that_hangs_is_named_to_those_that_cannot_be_opened_meanwhile() {
    let (site, server) = held_by_a_constructor();

    site.add("versioned_wsh", "versioned_wsh.so");

    server.line(&[
        "cannot load `versioned_wsh.so`",
        "the constructors of handler `hangs` still run",
        "restart the server if they hang",
    ]);
    assert_eq!(server.connect("/echo").ask("hello"), "hello");
}

#[test]
fn a_plugin_that_would_end_or_hang_the_server_is_refused_and_every_session_goes_on() {
    let (site, sentences) = fatal_site();
    let incoming = site.root().join("incoming");
    fs::rename(site.handlers(), &incoming).expect("moved away");
    fs::create_dir(site.handlers()).expect("an empty directory");
    site.add("echo_wsh", "echo_wsh.so");
    let server = Server::start(&site);
    let mut innocent = server.connect("/echo");

    // All plugins are dropped onto a server that runs.
    for index in 0..FATAL.len() {
        let name = format!("f{index}_wsh.so");
        fs::rename(incoming.join(&name), site.handlers().join(&name)).expect("dropped in");
        assert_eq!(innocent.ask("still there?"), "still there?");
    }

    for sentence in &sentences {
        let line = server.line(&[sentence]);
        assert!(line.contains(" WARN "), "{line}");
        assert_eq!(innocent.ask("still there?"), "still there?", "{sentence}");
    }
    assert_eq!(server.count_lines(&["plugin refused"]), FATAL.len());
    let helper = helper(&server);
    eventually("no trial has left a process behind", || {
        children(helper).is_empty()
    });
    site.add_bytes(&unruly(&[]), "f0_wsh.so");
    server.line(&["handler loaded", "handler=\"f0\""]);
    assert_eq!(server.connect("/f0").ask("hello"), "hello");
}

#[test]
fn check_says_something_about_every_file_whatever_the_files_do() {
    let (site, sentences) = fatal_site();

    let output = Server::builder(&site).arg("check").output();

    let said = String::from_utf8_lossy(&output.stderr);
    for sentence in &sentences {
        assert!(said.contains(sentence), "`{sentence}` in\n{said}");
    }
    let good = String::from_utf8_lossy(&output.stdout);
    assert_eq!(good, "good: /echo echo_wsh.so (Sends every message back)\n");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn what_passed_its_trial_is_opened_once_more_and_not_tried_again() {
    let site = Site::empty();
    let trace = site.root().join("trace");
    let server = Server::builder(&site)
        .env("TRACE", &trace.to_string_lossy())
        .start();
    let traced = || fs::read_to_string(&trace).unwrap_or_default();
    let told = [
        "-DIN_INIT=trace(is_check ? \"tried\" : \"loaded\"); \
         host->log(host->ctx, 0, WSH_LOG_INFO, (WshStr){0}, (WshStr){(const uint8_t *)\"made\", 4}, NULL, 0)",
        "-DIN_SHUTDOWN=trace(\"shut_down\")",
    ];
    let bytes = unruly(&told);

    site.add_bytes(&bytes, "told_wsh.so");
    server.line(&["handler loaded", "handler=\"told\""]);
    let first = traced();
    // The file comes back with equal bytes after it was removed.
    fs::remove_file(site.handlers().join("told_wsh.so")).expect("removed");
    server.line(&["handler removed", "handler=told"]);
    eventually("it is shut down", || {
        traced().matches("shut_down").count() == 2
    });
    site.add_bytes(&bytes, "told_wsh.so");
    server.line(&["handler loaded", "handler=\"told\"", "generation=2"]);

    let words = |text: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.split(' ').next());
        lines.map(str::to_owned).collect()
    };
    assert_eq!(words(&first), ["tried", "shut_down", "loaded"]);
    assert_eq!(
        words(&traced()),
        ["tried", "shut_down", "loaded", "shut_down", "loaded"]
    );
    assert_eq!(
        server.count_lines(&["made", "handler=\"told\""]),
        2,
        "one line a load"
    );

    // With another configuration the file is tried again.
    site.write("config.toml", "[handler.told]\nconfig = { other = 1 }\n");
    server.signal("HUP");
    server.line(&["handler loaded", "handler=\"told\"", "generation=3"]);
    assert_eq!(traced().matches("tried").count(), 2);
}

#[test]
fn what_a_refused_plugin_logged_in_its_trial_is_in_the_log() {
    let site = Site::empty();
    let server = Server::start(&site);

    site.add("fails_wsh", "init_panics_wsh.so");

    server.line(&["cannot load `init_panics_wsh.so`: its `init` failed: it panicked"]);
    let said = server.lines(&["on purpose, in init", "handler=\"init_panics\""]);
    assert_eq!(said.len(), 1, "{}", server.log());
    assert!(said[0].contains("ERROR"), "{}", said[0]);
}

#[test]
fn where_no_process_can_be_made_auto_goes_on_with_a_warning_and_always_refuses() {
    let without_fork = compile_program("tests/fixtures/c/without_fork.c");
    for (trial, is_served) in [("auto", true), ("always", false), ("never", true)] {
        let site = Site::with(&["echo_wsh"]);
        let server = Server::builder(&site)
            .args(["--trial", trial])
            .within(Command::new(&without_fork.path))
            .start();

        if is_served {
            assert_eq!(server.connect("/echo").ask("hello"), "hello", "{trial}");
        } else {
            server.line(&["cannot load `echo_wsh.so`: it cannot be tried: there is no process to try them in: "]);
            assert_eq!(server.handshake_status("/echo"), 503);
        }
        let warnings = server.count_lines(&["WARN plugins are loaded without a trial"]);
        assert_eq!(
            warnings,
            usize::from(trial == "auto"),
            "{trial}\n{}",
            server.log()
        );
    }
}

#[test]
fn another_version_of_a_library_that_the_process_has_is_refused() {
    let site = Site::empty();
    let version = |number: &str| {
        let option = format!("-DVERSION={number}");
        compile(
            "tests/fixtures/c/shared_library.c",
            &[&option, "-Wl,-soname,libshared_by_two.so.1"],
        )
    };
    let library = site.add_bytes(&version("1"), "libshared_by_two.so.1");
    let library = library.to_string_lossy().into_owned();
    let handler = compile(
        "tests/fixtures/c/uses_library.c",
        // The library comes before the source in C, so the linker must keep it.
        &["-Wl,--no-as-needed", &library, "-Wl,-rpath,$ORIGIN"],
    );
    site.add_bytes(&handler, "one_wsh.so");
    let server = Server::start(&site);
    assert_eq!(server.connect("/one").ask("which?"), "library 1");

    // Another handler may use the version that is loaded.
    site.add_bytes(&version("1"), "same/libshared_by_two.so.1");
    site.add_bytes(&handler, "same/two_wsh.so");
    server.line(&["handler loaded", "handler=\"same/two\""]);
    site.add_bytes(&version("2"), "other/libshared_by_two.so.1");
    site.add_bytes(&handler, "other/three_wsh.so");

    server.line(&["cannot load `other/three_wsh.so`: it needs another version of `libshared_by_two.so.1` than the one that this process has loaded, and a process has one of each name; restart the server"]);
    assert_eq!(server.connect("/same/two").ask("which?"), "library 1");
}

/// Plugins that close descriptors or lower limits, and the sentence about those that are refused.
const ON_DESCRIPTORS: &[(&str, Option<&str>)] = &[
    (
        "-DIN_CONSTRUCTOR=for (int fd = 3; fd < 4000; fd++) { close(fd); }",
        Some(CLOSES_OTHERS),
    ),
    (
        "-DIN_INIT=for (int fd = 0; fd < 4000; fd++) { close(fd); }",
        Some(CLOSES_OTHERS),
    ),
    (
        "-DIN_SELF_TEST=int null = open(\"/dev/null\", O_RDWR); for (int fd = 3; fd < 20; fd++) { dup2(null, fd); }",
        Some(CLOSES_OTHERS),
    ),
    ("-DIN_SHUTDOWN=close(7)", Some(CLOSES_OTHERS)),
    (
        "-DIN_INIT=struct rlimit files; getrlimit(RLIMIT_NOFILE, &files); files.rlim_cur = 16; setrlimit(RLIMIT_NOFILE, &files)",
        Some("it lowers the limit of open files"),
    ),
    // A plugin may close its own files, or keep them.
    (
        "-DIN_INIT=for (int i = 0; i < 40; i++) { int fd = open(\"/dev/null\", O_RDWR); if (fd < 0) { abort(); } if (i % 2) { close(fd); } }",
        None,
    ),
    ("-DIN_SELF_TEST=fclose(tmpfile())", None),
];
const CLOSES_OTHERS: &str = "it closes descriptors that are not its own, in its constructors, `init`, `self_test` or `shutdown`";

#[test]
fn a_plugin_that_harms_descriptors_of_others_is_refused_and_one_with_its_own_is_not() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    let mut innocent = server.connect("/echo");

    for (index, (option, refusal)) in ON_DESCRIPTORS.iter().enumerate() {
        site.add_bytes(&unruly(&[option]), &format!("d{index}_wsh.so"));
        match refusal {
            Some(sentence) => {
                server.line(&[&format!("cannot load `d{index}_wsh.so`: {sentence}")]);
            }
            None => {
                server.line(&["handler loaded", &format!("handler=\"d{index}\"")]);
            }
        }
        assert_eq!(innocent.ask("still there?"), "still there?", "{option}");
    }
}
