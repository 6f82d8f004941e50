//! What a plugin changes of the whole process is put back, and the log names the plugin.

use std::time::Duration;

use crate::harness::at_once;
use crate::harness::compile::unruly;
use crate::harness::server::Server;
use crate::harness::site::Site;

/// What a plugin changes of the process, and its name in the log.
const CHANGES: [(&str, &str); 8] = [
    (RAW_TERM, "what SIGTERM does"),
    (RAW_PIPE, "what SIGPIPE does"),
    ("fclose(stderr)", "descriptor 2"),
    ("dup2(open(\"/dev/zero\", O_RDONLY), 0)", "descriptor 0"),
    ("umask(0)", "the umask"),
    (
        "chdir(\"/\") == 0 ? (void)0 : abort()",
        "the working directory",
    ),
    ("setlocale(LC_ALL, \"C.UTF-8\")", "the locale"),
    (
        "struct rlimit files; getrlimit(RLIMIT_NOFILE, &files); files.rlim_cur = 64; syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &files, NULL)",
        "the limit of open files",
    ),
];

/// System calls that bypass the functions which the program guards.
const RAW_TERM: &str = "long ignore[4] = {1}; syscall(SYS_rt_sigaction, SIGTERM, ignore, NULL, 8)";
const RAW_PIPE: &str =
    "long default_[4] = {0}; syscall(SYS_rt_sigaction, SIGPIPE, default_, NULL, 8)";

/// Calls of the C library that a plugin makes about a signal, and the signal.
const WISHES: [(&str, &str); 9] = [
    ("signal(SIGTERM, SIG_IGN)", "TERM"),
    ("signal(SIGTERM, SIG_DFL)", "TERM"),
    ("signal(SIGINT, SIG_DFL)", "INT"),
    (
        "struct sigaction it = {.sa_handler = SIG_IGN}; sigaction(SIGQUIT, &it, NULL)",
        "QUIT",
    ),
    (
        "struct sigaction it = {.sa_handler = SIG_DFL}; sigaction(SIGTERM, &it, NULL)",
        "TERM",
    ),
    ("sigset(SIGTERM, SIG_DFL)", "TERM"),
    ("sigignore(SIGINT)", "INT"),
    ("sysv_signal(SIGTERM, SIG_IGN)", "TERM"),
    (
        "pthread_t it; pthread_create(&it, NULL, ignore_term, NULL); pthread_join(it, NULL)",
        "TERM",
    ),
];

#[test]
fn a_signal_that_comes_right_after_a_plugin_wanted_it_ignored_is_heard() {
    at_once(WISHES, |(wish, signal)| {
        let site = Site::with(&["echo_wsh"]);
        let option = format!("-DIN_MESSAGE={wish}");
        site.add_bytes(&unruly(&[&option]), "deaf_wsh.so");
        let mut server = Server::start(&site);
        let mut innocent = server.connect("/echo");
        assert_eq!(server.connect("/deaf").ask("hello"), "hello");

        server.signal(signal);

        assert_eq!(innocent.close_code(), 1001, "{wish}");
        assert!(server.wait(Duration::from_secs(8)).success(), "{wish}");
    });
}

#[test]
fn signals_with_another_meaning_and_those_without_one_are_kept_too() {
    let site = Site::with(&["echo_wsh"]);
    let wish =
        "-DIN_MESSAGE=signal(SIGHUP, SIG_IGN); signal(SIGUSR1, SIG_DFL); signal(SIGALRM, SIG_DFL)";
    site.add_bytes(&unruly(&[wish]), "deaf_wsh.so");
    let server = Server::start(&site);
    let mut client = server.connect("/deaf");
    assert_eq!(client.ask("hello"), "hello");

    server.signal("USR1");
    server.signal("ALRM");
    server.signal("HUP");

    server.line(&["SIGHUP, reading the configuration again"]);
    server.line(&["SIGUSR1, opening log files again that were moved"]);
    server.line(&["signal=SIGALRM", "has no meaning here"]);
    let line = server.line(&[
        "plugin wanted to change what belongs to the whole process; it stays as it is",
        "what SIGUSR1 does",
        "handler=deaf ",
    ]);
    assert!(line.contains("callback=\"message\""), "{line}");
    // The line comes once, however often the plugin calls.
    for _ in 0..20 {
        assert_eq!(client.ask("again"), "again");
    }
    server.signal("HUP");
    assert_eq!(server.count_lines(&["plugin wanted", "what SIGUSR1"]), 1);
}

/// Lowers the limit of the server's open files by `prlimit` of util-linux.
fn lower_limit(server: &Server, to: u64) {
    let status = std::process::Command::new("prlimit")
        .args(["--pid", &server.pid().to_string()])
        .arg(format!("--nofile={to}:"))
        .status();
    assert!(status.expect("prlimit, of util-linux, runs").success());
}

fn soft_limit(server: &Server) -> String {
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid()));
    let limits = limits.expect("the server runs");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3));
    soft.expect("a limit").to_owned()
}

#[test]
fn a_limit_of_open_files_that_an_operator_lowers_holds_and_connections_follow() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    let mut innocent = server.connect("/echo");

    lower_limit(&server, 300);

    let line = server.line(&[
        "the limit of open files was changed from outside",
        "open_files=300 ",
    ]);
    assert!(line.contains(" INFO "), "{line}");
    server.line(&[
        "the limit of open files allows fewer connections",
        "open_files=300",
    ]);
    assert_eq!(soft_limit(&server), "300");
    // The limit holds across a load.
    site.add_bytes(&unruly(&[]), "other_wsh.so");
    server.line(&["handler loaded", "handler=\"other\""]);
    assert_eq!(innocent.ask("still there?"), "still there?");
    assert_eq!(soft_limit(&server), "300");
    assert_eq!(server.count_lines(&["changed from outside"]), 1);
    assert_eq!(
        server.count_lines(&["what belongs to the whole process"]),
        0
    );
}

#[test]
fn a_limit_of_open_files_that_a_callback_lowers_stays_what_it_is() {
    let lower = [
        "struct rlimit it = {64, 64}; answer(conn, \"set\", setrlimit(RLIMIT_NOFILE, &it))",
        "struct rlimit it = {64, 64}; answer(conn, \"set\", prlimit(0, RLIMIT_NOFILE, &it, NULL))",
        "struct rlimit it = {64, 64}; answer(conn, \"set\", prlimit(getpid(), RLIMIT_NOFILE, &it, &it))",
    ];
    at_once(lower, |calls| {
        let site = Site::empty();
        site.add_bytes(
            &unruly(&[&format!("-DIN_MESSAGE={calls}")]),
            "lowers_wsh.so",
        );
        let server = Server::start(&site);
        let before = soft_limit(&server);

        assert_eq!(server.connect("/lowers").ask("go"), "set=0");

        let line = server.line(&[
            "plugin wanted to change what belongs to the whole process; it stays as it is",
            "the limit of open files",
            "handler=lowers ",
        ]);
        assert!(line.contains("callback=\"message\""), "{line}");
        assert_eq!(soft_limit(&server), before, "{calls}");
        assert_eq!(server.count_lines(&["changed from outside"]), 0);
    });
}

#[test]
fn what_a_plugin_forks_may_do_with_signals_what_it_likes() {
    let site = Site::empty();
    let dies = "-DIN_MESSAGE=if (fork() == 0) { signal(SIGUSR1, SIG_DFL); raise(SIGUSR1); _exit(0); } \
                int it = 0; wait(&it); answer(conn, \"signal\", WTERMSIG(it))";
    site.add_bytes(&unruly(&[dies]), "forks_wsh.so");
    let server = Server::start(&site);

    let told = server.connect("/forks").ask("go");

    assert_eq!(told, format!("signal={}", libc::SIGUSR1));
}

#[test]
fn what_a_plugin_changes_of_the_process_is_put_back_with_its_name() {
    let site = Site::with(&["echo_wsh"]);
    let mut server = Server::start(&site);
    let mut innocent = server.connect("/echo");
    let before = look(&server);

    // One plugin after another, so that each change is found alone.
    for (index, (change, what)) in CHANGES.iter().enumerate() {
        // Not in the trial, which is another process.
        let option = format!("-DIN_INIT=if (!is_check) {{ {change}; }}");
        site.add_bytes(&unruly(&[&option]), &format!("changes{index}_wsh.so"));
        let handler = format!("handler=changes{index} ");
        let line = server.line(&[
            "plugin changed what belongs to the whole process; it is put back",
            what,
            &handler,
        ]);
        assert!(line.contains("callback=\"init\""), "{line}");
        server.line(&["handler loaded", &format!("handler=\"changes{index}\"")]);
        assert_eq!(innocent.ask("still there?"), "still there?", "{change}");
        assert_eq!(look(&server), before, "{change}");
    }

    // The server still gets its signals.
    server.signal("HUP");
    server.line(&["SIGHUP, reading the configuration again"]);
    server.signal("TERM");
    assert_eq!(innocent.close_code(), 1001);
    assert!(server.wait(Duration::from_secs(8)).success());
}

/// Reads from outside what belongs to the server's process.
fn look(server: &Server) -> Vec<String> {
    let pid = server.pid();
    let mut seen: Vec<String> = ["fd/0", "fd/1", "fd/2", "cwd"]
        .iter()
        .map(|name| {
            let path = std::fs::read_link(format!("/proc/{pid}/{name}"));
            format!("{name} {:?}", path.ok())
        })
        .collect();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the server runs");
    let wanted = ["Umask:", "SigIgn:", "SigCgt:"];
    let lines = status
        .lines()
        .filter(|line| wanted.iter().any(|start| line.starts_with(start)));
    seen.extend(lines.map(str::to_owned));
    seen
}

#[test]
fn what_is_changed_by_a_message_or_at_the_end_is_put_back_too() {
    let site = Site::empty();
    site.add_bytes(
        &unruly(&[&format!("-DIN_MESSAGE={RAW_TERM}")]),
        "late_wsh.so",
    );
    site.add_bytes(&unruly(&["-DIN_SERVING=umask(0)"]), "serves_wsh.so");
    let mut server = Server::start(&site);
    // The look after the callback names it, unless one of the looks every two seconds comes first.
    server.line(&["changed what belongs to the whole process", "the umask"]);

    let mut client = server.connect("/late");
    assert_eq!(client.ask("hello"), "hello");

    server.line(&[
        "code of a plugin changed what belongs to the whole process; it is put back",
        "what SIGTERM does",
    ]);
    server.signal("TERM");
    assert_eq!(client.close_code(), 1001);
    assert!(server.wait(Duration::from_secs(8)).success());
}
