//! `user` and `group`: a server that is started as root binds its addresses, and runs handlers as another user.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::harness::client::{Client, Steady};
use crate::harness::compile::unruly;
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::{eventually, within};

/// The numbers of a user without any rights, and of its group; `None` where tests do not run as root.
fn unprivileged() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").expect("/proc").uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("the users");
    let line = users.lines().find(|line| line.starts_with("nobody:"));
    let mut fields = line.expect("every system has it").split(':').skip(2);
    let mut number = || fields.next()?.parse::<u32>().ok();
    Some((number().expect("a number"), number().expect("a number")))
}

/// A site that belongs to this user, but for its handlers.
fn site(config: &str, (user, group): (u32, u32)) -> Site {
    let site = Site::with(&["echo_wsh"]);
    site.write("config.toml", config);
    chown(site.root(), Some(user), Some(group)).expect("root may");
    site
}

/// The lines of /proc/PID/status that say as what a thread runs.
fn rights(status: &Path) -> Vec<String> {
    let status = fs::read_to_string(status).unwrap_or_default();
    let names = ["Uid:", "Gid:", "Groups:", "CapPrm:", "CapEff:", "CapAmb:"];
    let lines = status.lines();
    let named = lines.filter(|line| names.iter().any(|name| line.starts_with(name)));
    named
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

/// What [`rights`] says of a thread that has nothing but this user's.
fn rights_of((user, group): (u32, u32)) -> Vec<String> {
    vec![
        format!("Uid: {user} {user} {user} {user}"),
        format!("Gid: {group} {group} {group} {group}"),
        format!("Groups: {group}"),
        "CapPrm: 0000000000000000".to_owned(),
        "CapEff: 0000000000000000".to_owned(),
        "CapAmb: 0000000000000000".to_owned(),
    ]
}

/// Checks every thread of a server and of the process that tries its handlers.
#[track_caller]
fn assert_runs_as(pid: u32, unprivileged: (u32, u32)) {
    let mut processes = vec![pid];
    let mut threads = 0;
    let mut next = 0;
    while let Some(process) = processes.get(next).copied() {
        next += 1;
        let tasks = fs::read_dir(format!("/proc/{process}/task"));
        for task in tasks.into_iter().flatten().flatten() {
            let status = task.path().join("status");
            let found = rights(&status);
            // A thread or a trial may have ended meanwhile.
            if found.is_empty() && !status.exists() {
                continue;
            }
            threads += 1;
            assert_eq!(found, rights_of(unprivileged), "{}", status.display());
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            processes.extend(children.split_whitespace().flat_map(str::parse::<u32>));
        }
    }
    assert!(threads > 3, "it has workers");
    let name = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let helpers = processes
        .iter()
        .filter(|it| name(it).trim() == "wshd-trial");
    assert_eq!(helpers.count(), 1, "the one of root is gone");
}

fn owner(path: &Path) -> (u32, u32) {
    let found = fs::metadata(path).expect("it is there");
    (found.uid(), found.gid())
}

fn over_unix(socket: &Path) -> Client {
    let stream = Steady::plain(Server::raw_unix(socket));
    Client::over(stream, "ws://localhost/echo", "/echo", &[])
}

#[test]
fn a_server_of_root_becomes_the_user_before_handlers_run() {
    let Some(unprivileged) = unprivileged() else {
        return;
    };
    let config = "listen = [\"127.0.0.1:0\", \"unix:w.sock\"]\nuser = \"nobody\"\nadmin_socket = \"admin.sock\"\n";
    let site = site(config, unprivileged);
    let makes_files = "-DIN_INIT=fclose(fopen(is_check ? \"tried\" : \"loaded\", \"w\"))";
    site.add_bytes(&unruly(&[makes_files]), "unruly_wsh.so");
    let foreign = site.add("versioned_wsh", "versioned_wsh.so");
    chown(foreign, Some(1), None).expect("root may");

    let mut server = Server::bare(&site).start();

    assert_runs_as(server.pid(), unprivileged);
    for made in ["tried", "loaded", "w.sock", "admin.sock"] {
        assert_eq!(owner(&site.root().join(made)), unprivileged, "{made}");
    }
    server.line(&["root's rights are given up", "nobody"]);
    assert_eq!(
        server.count_lines(&["the server and its handlers run as root"]),
        0
    );
    assert_eq!(server.connect("/echo").ask("hello"), "hello");
    assert_eq!(over_unix(&site.root().join("w.sock")).ask("hello"), "hello");
    // What comes later is tried and loaded too.
    fs::remove_file(site.root().join("tried")).expect("it is there");
    site.add_bytes(&unruly(&[makes_files, "-DLATER"]), "later_wsh.so");
    server.line(&["handler loaded", "handler=\"later\""]);
    assert_eq!(owner(&site.root().join("tried")), unprivileged);
    assert_runs_as(server.pid(), unprivileged);
    // `trust` asks for files of the new user, or of root.
    let why = format!("belongs to user 1, wanted is user {}", unprivileged.0);
    server.line(&["cannot load `versioned_wsh.so`", &why]);
    site.write("config.toml", &format!("{config}group = \"root\"\n"));
    server.line(&["applies after a restart", "key=\"group\""]);
    server.signal("TERM");
    assert_eq!(server.wait(Duration::from_secs(10)).code(), Some(0));
    assert!(!site.root().join("w.sock").exists());
}

#[test]
fn log_files_are_made_and_rotated_by_the_user() {
    let Some(unprivileged) = unprivileged() else {
        return;
    };
    let site = site(
        "listen = [\"unix:w.sock\"]\nuser = \"nobody\"\nadmin_socket = \"off\"\nlog_file = \"w.log\"\nlog_level = \"debug\"\nlog_file_bytes_max = 4096\n",
        unprivileged,
    );
    let server = Server::bare(&site).spawn();
    let at = |name: &str| site.root().join(name);
    let says =
        |name: &str, what: &str| fs::read_to_string(at(name)).is_ok_and(|text| text.contains(what));
    eventually("it serves", || says("w.log", "listening"));
    assert_eq!(owner(&at("w.log")), unprivileged);

    fs::rename(at("w.log"), at("moved.log")).expect("it is there");
    server.signal("USR1");
    eventually("the file is made again", || at("w.log").exists());
    eventually("it grows and is renamed", || {
        assert_eq!(over_unix(&at("w.sock")).ask("hello"), "hello");
        at("w.log.1").exists() && at("w.log").exists()
    });
    assert_eq!(owner(&at("w.log")), unprivileged);
}

#[test]
fn a_port_of_root_and_its_sockets_go_on_to_the_process_that_takes_over() {
    let Some(unprivileged) = unprivileged() else {
        return;
    };
    let outside = || {
        let mut unshare = Command::new("unshare");
        unshare.arg("-n");
        unshare
    };
    if !outside().arg("true").status().is_ok_and(|it| it.success()) {
        return;
    }
    // The system allows no other user than root this port, in a network of its own.
    let site = site(
        "listen = [\"0.0.0.0:80\", \"unix:w.sock\"]\nuser = \"nobody\"\nadmin_socket = \"admin.sock\"\n",
        unprivileged,
    );
    // The directory of the build may be root's alone.
    let program = site.root().join("wshd");
    fs::copy(env!("CARGO_BIN_EXE_wshd"), &program).expect("a copy");
    let builder = Server::of_program(&site, &program).within(outside());
    let server = builder.leading_group().start();
    server.line(&["listening", "address=0.0.0.0:80"]);
    let mut old = over_unix(&site.root().join("w.sock"));

    server.signal("USR2");

    let line = server.line_within(
        Duration::from_secs(30),
        &["upgraded: another process serves from now on"],
    );
    let pid = line.split("pid=").nth(1).expect("a number");
    let pid = pid
        .split_whitespace()
        .next()
        .and_then(|pid| pid.parse().ok());
    let pid = pid.expect("a number");
    assert_eq!(old.close_code(), 1012);
    assert_runs_as(pid, unprivileged);
    server.says(&["listening", "address=0.0.0.0:80"], 2);
    assert_eq!(over_unix(&site.root().join("w.sock")).ask("hello"), "hello");
    assert_eq!(owner(&site.root().join("admin.sock")), unprivileged);
}

#[test]
fn what_the_user_cannot_read_again_is_told_at_the_start() {
    let Some(unprivileged) = unprivileged() else {
        return;
    };
    let site = site(
        "listen = [\"127.0.0.1:0\"]\nuser = \"nobody\"\ntokens_file = \"tokens\"\nadmin_socket = \"off\"\n",
        unprivileged,
    );
    let tokens = site.write("tokens", "");
    fs::set_permissions(&tokens, Permissions::from_mode(0o600)).expect("a mode");

    let server = Server::bare(&site).start();

    server.says(&["WARN", "cannot read this file again"], 1);
    server.line(&["cannot read this file again", "/tokens", "nobody"]);
}

#[test]
fn a_check_by_root_judges_and_tries_handlers_as_the_user() {
    let Some(unprivileged) = unprivileged() else {
        return;
    };
    let site = site("user = \"nobody\"\n", unprivileged);
    let makes_a_file = "-DIN_INIT=fclose(fopen(\"tried\", \"w\"))";
    let own = site.add_bytes(&unruly(&[makes_a_file]), "unruly_wsh.so");
    chown(own, Some(unprivileged.0), None).expect("root may");

    let output = Server::bare(&site).arg("check").output();

    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("good: /unruly"));
    assert_eq!(owner(&site.root().join("tried")), unprivileged);
}

#[test]
fn a_user_that_cannot_be_is_no_start() {
    for (keys, code, expected) in [
        ("user = \"no-such\"", 78, "there is no user `no-such`"),
        (
            "user = \"nobody\"\ngroup = \"no-such\"",
            78,
            "there is no group `no-such`",
        ),
        (
            "group = \"nobody\"",
            78,
            "`group` is `nobody` and `user` is missing",
        ),
        (
            "user = 7",
            78,
            "`user` wants a name like `\"wshd\"`, or a number like `\"998\"`",
        ),
        ("user = \"a:b\"", 78, "`user` wants a name like"),
    ] {
        let site = Site::with(&["echo_wsh"]);
        site.write(
            "config.toml",
            &format!("{keys}\nlisten = [\"127.0.0.1:0\"]\n"),
        );
        let output = Server::bare(&site).output();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(expected), "{said}");
        assert_eq!(output.status.code(), Some(code), "{said}");
    }
    let Some(unprivileged) = unprivileged() else {
        return;
    };
    // The log is the user's, so root makes no file in a directory that is not.
    let own = site(
        "listen = [\"127.0.0.1:0\"]\nuser = \"nobody\"\nadmin_socket = \"off\"\nlog_file = \"w.log\"\n",
        unprivileged,
    );
    chown(own.root(), Some(0), Some(0)).expect("root may");
    fs::set_permissions(own.root(), Permissions::from_mode(0o755)).expect("a mode");
    let output = Server::bare(&own).output();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("w.log") && said.contains("Permission denied"),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(!own.root().join("w.log").exists());
    // Another user than root cannot become a third one.
    fs::write(
        own.root().join("config.toml"),
        "user = \"daemon\"\nadmin_socket = \"off\"\nlisten = [\"127.0.0.1:0\"]\n",
    )
    .expect("a file");
    let program = own.root().join("wshd");
    fs::copy(env!("CARGO_BIN_EXE_wshd"), &program).expect("a copy");
    let mut setpriv = Command::new("setpriv");
    setpriv.args(["--reuid=nobody", "--regid=0", "--clear-groups"]);
    let output = Server::of_program(&own, &program).within(setpriv).output();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cannot become user `daemon`"), "{said}");
    assert_eq!(output.status.code(), Some(78), "{said}");
}

#[test]
fn a_server_that_stays_root_says_so_once_unless_that_is_meant() {
    if unprivileged().is_none() {
        return;
    }
    for (key, expected) in [("", 1), ("user = \"root\"\n", 0)] {
        let site = Site::with(&["echo_wsh"]);
        site.write("config.toml", &format!("{key}listen = [\"127.0.0.1:0\"]\n"));
        let server = Server::bare(&site).start();
        within(Duration::from_secs(10), "it serves", || {
            server.handshake_status("/echo") == 101
        });
        server.says(
            &["WARN", "the server and its handlers run as root"],
            expected,
        );
    }
}
