//! A server under a filter that ends a process for a system call.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
use syscalls::Sysno;

use crate::harness::server::{Builder, Server};
use crate::harness::site::Site;

/// Starts a server under a filter: `then` for the `named` system calls, `otherwise` for all others. A filter belongs to a
/// thread and is inherited.
fn confined(
    builder: Builder,
    named: &HashSet<String>,
    then: SeccompAction,
    otherwise: SeccompAction,
) -> Server {
    let numbers = named.iter().filter_map(|name| name.parse::<Sysno>().ok());
    let rules: BTreeMap<i64, Vec<_>> = numbers
        .map(|number| (i64::from(number.id()), Vec::new()))
        .collect();
    assert!(!rules.is_empty(), "some calls exist here");
    let architecture = std::env::consts::ARCH
        .try_into()
        .expect("an architecture with filters");
    let filter = SeccompFilter::new(rules, otherwise, then, architecture).expect("a filter");
    let program: BpfProgram = filter.try_into().expect("a filter that fits");
    let start = move || {
        apply_filter(&program).expect("a filter can be put on");
        builder.spawn()
    };
    std::thread::spawn(start)
        .join()
        .expect("the server is spawned")
        .listening()
}

/// The system calls of a systemd group.
fn group(name: &str) -> HashSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/seccomp");
    let names = fs::read_to_string(folder.join(format!("{name}.txt"))).expect("the group is there");
    names.split_whitespace().map(str::to_owned).collect()
}

/// The system calls that the unit file allows.
fn of_the_unit_file() -> HashSet<String> {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/wshd.service");
    let unit = fs::read_to_string(unit).expect("the unit file is there");
    let mut allowed = HashSet::new();
    let filters = unit
        .lines()
        .filter_map(|line| line.strip_prefix("SystemCallFilter="));
    for filter in filters {
        let (is_taken_away, groups) = match filter.strip_prefix('~') {
            Some(groups) => (true, groups),
            None => (false, filter),
        };
        for name in groups.split_whitespace() {
            let group = group(name.strip_prefix('@').expect("a group"));
            if is_taken_away {
                allowed.retain(|call| !group.contains(call));
            } else {
                allowed.extend(group);
            }
        }
    }
    assert!(allowed.contains("accept4") && !allowed.contains("sched_setattr"));
    allowed
}

/// Runs a session, a reload and an orderly stop.
#[track_caller]
fn serves(site: &Site, mut server: Server) {
    assert_eq!(server.connect("/echo").ask("hello"), "hello");
    site.add("versioned_wsh", "versioned_wsh.so");
    crate::harness::eventually("a new handler serves", || {
        server.handshake_status("/versioned") == 101
    });
    server.signal("TERM");
    assert_eq!(
        server.wait(std::time::Duration::from_secs(10)).code(),
        Some(0)
    );
}

#[test]
fn a_filter_that_kills_for_resources_costs_what_is_optional_only() {
    let site = Site::with(&["echo_wsh"]);
    let server = confined(
        Server::builder(&site),
        &group("resources"),
        SeccompAction::KillProcess,
        SeccompAction::Allow,
    );

    server.line(&["a system call filter forbids it", "sched_setattr"]);
    serves(&site, server);
}

#[test]
fn what_is_optional_may_all_be_forbidden_on_pain_of_death() {
    let optional = [
        "sysinfo",
        "sched_setattr",
        "inotify_init1",
        "inotify_init",
        "memfd_create",
        "pidfd_open",
        "membarrier",
        "openat2",
        "close_range",
    ];
    let site = Site::with(&["echo_wsh"]);
    site.write("www/page.txt", "a page");
    let server = confined(
        Server::builder(&site)
            .arg("-d")
            .arg(site.root().join("www")),
        &optional.map(str::to_owned).into(),
        SeccompAction::KillProcess,
        SeccompAction::Allow,
    );

    for call in [
        "sched_setattr",
        "inotify_init1",
        "memfd_create",
        "pidfd_open",
        "openat2",
        "close_range",
    ] {
        server.line(&["a system call filter forbids it", call]);
    }
    let page = server.exchange(b"GET /page.txt HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(page.ends_with("a page"), "{page}");
    serves(&site, server);
}

#[test]
fn trials_go_on_where_descriptors_cannot_be_closed_in_one_step() {
    let site = Site::with(&["echo_wsh"]);
    let server = confined(
        Server::builder(&site).args(["--trial", "always"]),
        &["close_range".to_owned()].into(),
        SeccompAction::KillProcess,
        SeccompAction::Allow,
    );

    serves(&site, server);
}

#[test]
fn a_file_is_served_where_the_kernel_sends_none() {
    let site = Site::with(&["echo_wsh"]);
    let page = "a page\n".repeat(10_000);
    site.write("www/page.txt", &page);
    let server = confined(
        Server::builder(&site)
            .arg("-d")
            .arg(site.root().join("www")),
        &["sendfile".to_owned()].into(),
        SeccompAction::Errno(libc::EPERM as u32),
        SeccompAction::Allow,
    );

    let answer = server.exchange(b"GET /page.txt HTTP/1.1\r\nHost: localhost\r\n\r\n");

    assert!(answer.ends_with(&page), "{} bytes", answer.len());
}

#[test]
fn the_server_lives_with_the_filter_of_the_unit_file() {
    let site = Site::with(&["echo_wsh"]);
    let notify = site.root().join("notify");
    let inbox = UnixDatagram::bind(&notify).expect("a socket");
    let server = confined(
        Server::builder(&site)
            .env("NOTIFY_SOCKET", notify.to_str().expect("text"))
            .env("WATCHDOG_USEC", "300000"),
        &of_the_unit_file(),
        SeccompAction::Allow,
        SeccompAction::KillProcess,
    );
    for signal in ["HUP", "USR1"] {
        server.signal(signal);
    }
    server.line(&["opening log files again"]);

    serves(&site, server);

    inbox.set_nonblocking(true).expect("a socket");
    let mut heard = String::new();
    let mut datagram = [0; 1_000];
    while let Ok(length) = inbox.recv(&mut datagram) {
        heard += std::str::from_utf8(&datagram[..length]).expect("text");
    }
    for line in ["READY=1\n", "RELOADING=1\n", "WATCHDOG=1\n", "STOPPING=1\n"] {
        assert!(heard.contains(line), "{line} in {heard}");
    }
}

/// Makes every `accept4` fail with `error`, and asserts that one log line of this level says so.
#[track_caller]
fn is_told_once_and_costs_no_processor(error: i32, level: &str) {
    let site = Site::with(&["echo_wsh"]);
    let accept = HashSet::from(["accept4".to_owned()]);
    let server = confined(
        Server::builder(&site),
        &accept,
        SeccompAction::Errno(error as u32),
        SeccompAction::Allow,
    );

    let _waits = server.raw();
    server.line(&[level, "cannot accept"]);
    let before = server.processor_ticks();
    std::thread::sleep(std::time::Duration::from_millis(1500));

    let ticks = server.processor_ticks() - before;
    assert!(ticks < 30, "{ticks} ticks in 150");
    assert_eq!(
        server.count_lines(&["cannot accept"]),
        1,
        "{}",
        server.log()
    );
}

#[test]
fn an_error_of_accept_that_nothing_is_known_of_is_told_once_and_costs_no_processor() {
    is_told_once_and_costs_no_processor(libc::EPERM, "ERROR");
}

#[test]
fn descriptors_that_have_run_out_for_ever_are_told_of_once() {
    is_told_once_and_costs_no_processor(libc::EMFILE, "WARN");
}
