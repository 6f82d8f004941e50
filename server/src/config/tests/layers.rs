//! Flags over environment over file over defaults.

use super::*;

#[test]
fn a_flag_beats_a_variable_that_beats_the_file_that_beats_the_defaults() {
    let file = Start::new().file("config.toml", "log_level = \"debug\"\n");
    assert_eq!(Start::new().read(&[]).log_level, LogLevel::Info);
    assert_eq!(file.read(&[]).log_level, LogLevel::Debug);

    let variable = file.variable("WSHD_LOG_LEVEL", "error");
    assert_eq!(variable.read(&[]).log_level, LogLevel::Error);
    assert_eq!(
        variable.read(&["--log-level", "off"]).log_level,
        LogLevel::Off
    );
}

#[test]
fn the_file_is_looked_for_where_it_was_named_then_here_then_in_config() {
    let start = Start::new();
    assert_eq!(start.read(&[]).file, None);

    let start = start.file("config/config.toml", "");
    assert_eq!(start.read(&[]).file, Some(start.path("config/config.toml")));

    let start = start.file("config.toml", "");
    assert_eq!(start.read(&[]).file, Some(start.path("config.toml")));

    let start = start
        .file("b/b.toml", "")
        .variable("WSHD_CONFIG", "b/b.toml");
    assert_eq!(start.read(&[]).file, Some(start.path("b/b.toml")));

    let start = start.file("a.toml", "");
    assert_eq!(
        start.read(&["--config", "a.toml"]).file,
        Some(start.path("a.toml"))
    );
}

#[test]
fn a_document_root_is_found_only_in_a_file_that_was_found() {
    let start = Start::new()
        .file("config.toml", "document_root = \"w\"\n")
        .file("empty.toml", "");
    let is_found = |start: &Start, arguments: &[&str]| start.read(arguments).document_root_is_found;

    assert!(is_found(&start, &[]));
    assert!(!is_found(&start, &["--config", "config.toml"]));
    assert!(!is_found(&start, &["--config", "empty.toml"]));
    assert!(!is_found(&start, &["-d", "v"]));

    // A running server reads its file again, and it stays the one that was found.
    let again = |arguments: &[&str]| {
        let flags = flags(arguments).with_file_of(&start.read(arguments));
        let environment = Environment::of(Vec::new());
        let first = flags.read_with(start.dir.path(), &environment);
        let flags = flags.with_file_of(first.as_ref().expect("it is right"));
        let second = flags.read_with(start.dir.path(), &environment);
        second.expect("it is right").document_root_is_found
    };
    assert!(again(&[]));
    assert!(!again(&["--config", "config.toml"]));

    let named = start.variable("WSHD_CONFIG", "config.toml");
    assert!(!is_found(&named, &[]));
    let flags = flags(&[]).with_file_of(&named.read(&[]));
    let config = flags.read_with(named.dir.path(), &Environment::of(Vec::new()));
    assert!(!config.expect("it is right").document_root_is_found);
}

#[test]
fn a_named_file_that_is_not_there_is_an_error() {
    let start = Start::new().file("config.toml", "");

    let error = start.error(&["--config", "other.toml"]);

    let path = start.path("other.toml");
    assert_eq!(
        error,
        format!(
            "cannot read `{}`: No such file or directory (os error 2)",
            path.display()
        )
    );
}

#[test]
fn paths_in_flags_and_variables_are_relative_to_the_working_directory() {
    let start = Start::new()
        .file(
            "etc/config.toml",
            "handlers_dir = \"h\"\ndocument_root = \"w\"\nstage_dir = \"s\"\n",
        )
        .variable("WSHD_CONFIG", "etc/config.toml")
        .variable("WSHD_DOCUMENT_ROOT", "./www");

    let config = start.read(&["-w", "lib"]);

    assert_eq!(config.handlers_dir, start.path("lib"));
    assert_eq!(config.scan_dir, start.path("lib"));
    assert_eq!(config.document_root, Some(start.path("www")));
    assert_eq!(config.stage_dir, Some(start.path("etc/s")));
}

#[test]
fn dots_behind_a_symlink_mean_what_the_file_system_means() {
    let start = Start::new().file("real/etc/config.toml", "handlers_dir = \"../handlers\"\n");
    std::os::unix::fs::symlink(start.path("real/etc"), start.path("etc")).expect("a symlink");

    let config = start.read(&["--config", "etc/config.toml"]);

    let real = start.path("real").canonicalize().expect("it is there");
    assert_eq!(config.handlers_dir, real.join("handlers"));
}

#[test]
fn a_port_alone_moves_every_address() {
    assert_eq!(
        listen(&Start::new().read(&[])),
        ["127.0.0.1:9998", "[::1]:9998"]
    );
    assert_eq!(
        listen(&Start::new().read(&["-p", "0"])),
        ["127.0.0.1:0", "[::1]:0"]
    );

    let start = Start::new().file(
        "config.toml",
        "listen = [\"10.0.0.1:80\", \"10.0.0.1:81\", \"[::1]:82\"]\n",
    );
    assert_eq!(listen(&start.read(&["-p", "5"])), ["10.0.0.1:5", "[::1]:5"]);
}

#[test]
fn a_host_takes_the_place_of_the_addresses() {
    let start = Start::new();
    assert_eq!(listen(&start.read(&["-H", "0.0.0.0"])), ["0.0.0.0:9998"]);
    assert_eq!(
        listen(&start.read(&["--server_host=::", "-p", "1"])),
        ["[::]:1"]
    );
    assert_eq!(
        listen(&start.read(&["-H", "localhost:7,10.0.0.1", "-p", "8"])),
        ["127.0.0.1:7", "[::1]:7", "10.0.0.1:8"]
    );

    let start = start
        .file("config.toml", "listen = [\"127.0.0.1:80\"]\n")
        .variable("WSHD_SERVER_HOST", "10.0.0.1, ::1");
    assert_eq!(listen(&start.read(&[])), ["10.0.0.1:80", "[::1]:80"]);
    assert_eq!(listen(&start.read(&["-H", "[::1]"])), ["[::1]:80"]);
}

#[test]
fn a_port_is_that_of_plain_addresses_and_of_those_with_tls_where_there_are_no_others() {
    let start = |listen: &str| Start::new().file("config.toml", &format!("listen = {listen}\n"));
    let moved = |listen: &str, arguments: &[&str]| {
        // Without certificates nothing can be listened on with TLS, and the error names the first such address.
        match start(listen).try_read(arguments) {
            Ok(config) => super::listen(&config).join(" "),
            Err(error) => error.to_string(),
        }
    };
    let needs = "TLS needs a certificate and its key: `--certificate FILE --private-key FILE`, or `certificates` under \
                 `[tls]`";
    let tls = |address: &str| format!("cannot listen on `tls:{address}`: {needs}");
    let found = moved("\"unix:/a\"", &["-p", "5"]);
    assert_eq!(found, "unix:/a 127.0.0.1:5 [::1]:5");
    let found = moved("[\"10.0.0.1:1\", \"unix:/a\"]", &["-p", "5"]);
    assert_eq!(found, "10.0.0.1:5 unix:/a");
    let found = moved("[\"10.0.0.1:1\", \"tls:10.0.0.1:2\"]", &["-p", "5"]);
    assert_eq!(found, format!("config.toml:1:25: {}", tls("10.0.0.1:2")));
    let found = moved("\"tls:10.0.0.1:2\"", &["-p", "5"]);
    assert_eq!(found, format!("config.toml:1:10: {}", tls("10.0.0.1:5")));
    let found = moved("[\"10.0.0.1:1\", \"tls:10.0.0.1:2\"]", &["-p", "2"]);
    let both = "`10.0.0.1:2` is listened on too, and both are one address";
    let both = format!("config.toml:1:25: cannot listen on `tls:10.0.0.1:2`: {both}");
    assert_eq!(found, both);
    assert_eq!(moved("\"10.0.0.1:1\"", &["-t"]), needs);
    let found = moved("[\"10.0.0.1:1\", \"unix:/a\"]", &["-t", "-c", "a.pem"]);
    assert_eq!(found, "tls:10.0.0.1:1 unix:/a");
    let found = moved("\"10.0.0.1:1\"", &["-H", "tls:10.0.0.2"]);
    assert_eq!(found, tls("10.0.0.2:1"));
    let found = moved(
        "[\"10.0.0.1:1\", \"tls:10.0.0.1:2\"]",
        &["-c", "a.pem", "-H", "tls:::1,::1"],
    );
    assert_eq!(found, "tls:[::1]:2 [::1]:1");
}

#[test]
fn a_unix_socket_lies_where_the_file_or_the_working_directory_says() {
    let file = "listen = [\"unix:w.sock\", \"127.0.0.1:1\"]\n";
    let start = Start::new().file("etc/config.toml", file);
    let shown = |path: &str| format!("unix:{}", start.path(path).display());
    let config = start.read(&["--config", "etc/config.toml"]);
    assert_eq!(listen(&config), [&*shown("etc/w.sock"), "127.0.0.1:1"]);
    let config = start.read(&["--config", "etc/config.toml", "-H", "unix:b.sock,::1"]);
    assert_eq!(listen(&config), [&*shown("b.sock"), "[::1]:1"]);
}

#[test]
fn an_empty_variable_says_nothing_and_a_bad_one_is_named() {
    let start = Start::new()
        .variable("WSHD_PORT", "")
        .variable("WSHD_CONFIG", "")
        .variable("WSHD_LOG_LEVEL", "");
    assert_eq!(listen(&start.read(&[])), ["127.0.0.1:9998", "[::1]:9998"]);

    let start = Start::new().variable("WSHD_PORT", "99980");
    let error = "environment variable `WSHD_PORT` wants a number from 0 to 65535, found `99980`";
    assert_eq!(start.error(&[]), error);

    let start = Start::new().variable("WSHD_ALLOW_HANDLERS_OUTSIDE_ROOT_DIR", "true");
    assert!(start.read(&[]).allow_handlers_outside_root_dir);
    assert!(
        !start
            .read(&["--allow-handlers-outside-root-dir=false"])
            .allow_handlers_outside_root_dir
    );
}

#[test]
fn hosts_and_origins_of_a_flag_beat_those_of_a_variable_that_beat_the_file() {
    let file = "origins = \"any\"\nhosts = [\"a\"]\n[handler.chat]\norigins = [\"null\"]\n[handler.echo]\n";
    let start = Start::new().file("config.toml", file);
    let config = start.read(&[]);
    assert_eq!(
        (&config.hosts, config.hosts_by),
        (&Hosts::Listed(vec!["a".into()]), DecidedBy::File)
    );
    assert_eq!(config.handler("echo").origins_by, DecidedBy::File);

    let start = start
        .variable("WSHD_ORIGINS", "same-host, https://*.example.com")
        .variable("WSHD_HOSTS", "any");
    let config = start.read(&[]);
    let listed = ["same-host", "https://*.example.com"].map(str::to_owned);
    for handler in ["echo", "other"] {
        let handler = config.handler(handler);
        assert_eq!(handler.origins, Origins::Listed(listed.to_vec()));
        assert_eq!(handler.origins_by, DecidedBy::Variable);
    }
    assert_eq!(
        (&config.hosts, config.hosts_by),
        (&Hosts::Any, DecidedBy::Variable)
    );
    // A handler's own table says otherwise.
    let chat = config.handler("chat");
    assert_eq!(chat.origins, Origins::Listed(vec!["null".into()]));
    assert_eq!(chat.origins_by, DecidedBy::Table);

    let config = start.read(&["--origins", "same-host", "--hosts", "b,*.c"]);
    assert_eq!(config.defaults.origins, Origins::SameHost);
    assert_eq!(config.defaults.origins_by, DecidedBy::Flag);
    let listed = Hosts::Listed(vec!["b".into(), "*.c".into()]);
    assert_eq!((config.hosts, config.hosts_by), (listed, DecidedBy::Flag));
    // Without a file too.
    let config = Start::new().read(&["--origins", "any"]);
    assert_eq!(config.handler("x").origins, Origins::Any);
}

#[test]
fn what_a_flag_decides_is_not_parsed() {
    let start = Start::new()
        .variable("WSHD_PORT", "ninety")
        .variable("WSHD_SERVER_HOST", "not a host")
        .variable("WSHD_ALLOW_HANDLERS_OUTSIDE_ROOT_DIR", "maybe")
        .variable("WSHD_TRIAL", "maybe")
        .variable("WSHD_TRUST", "everybody")
        .variable("WSHD_HOSTS", "a:80")
        .variable("WSHD_ORIGINS", "example.com")
        .variable("WSHD_LOG_LEVEL", "loud");
    let flags = [
        "-p",
        "1",
        "-H",
        "::1",
        "--allow-handlers-outside-root-dir=true",
        "--trial=never",
        "--trust=owner",
        "--hosts=any",
        "--origins=any",
        "--log-level=warn",
    ];

    let config = start.read(&flags);

    assert_eq!(listen(&config), ["[::1]:1"]);
    assert_eq!(config.log_level, LogLevel::Warn);
    assert_eq!(config.remarks, [""; 0]);
}

#[test]
fn a_port_that_a_platform_made_up_is_not_ours() {
    let start = Start::new()
        .file("config.toml", "listen = [\"127.0.0.1:80\"]\n")
        .variable("WSHD_PORT", "tcp://10.96.12.7:9998")
        .variable("WSHD_SERVICE_HOST", "10.96.12.7");

    let config = start.read(&[]);

    assert_eq!(listen(&config), ["127.0.0.1:80"]);
    assert_eq!(config.remarks.len(), 1);
}

#[test]
fn a_scan_directory_lies_below_the_handlers_by_whole_names() {
    let start = Start::new();
    assert_eq!(
        start.read(&["-w", "h", "-s", "h/live"]).scan_dir,
        start.path("h/live")
    );
    assert_eq!(
        start.read(&["-w", "h", "-s", "h"]).scan_dir,
        start.path("h")
    );

    let error = start.error(&["-w", "h", "-s", "h2"]);

    let (scan_dir, handlers_dir) = (start.path("h2"), start.path("h"));
    let (scan_dir, handlers_dir) = (scan_dir.display(), handlers_dir.display());
    let wanted = format!(
        "the scan directory `{scan_dir}` does not lie below the handlers directory `{handlers_dir}`"
    );
    assert_eq!(error, wanted);
}

#[test]
fn the_file_that_was_read_is_the_one_that_is_read_again() {
    let start = Start::new()
        .file("config.toml", "")
        .file("config/config.toml", "log_level = \"off\"\n");
    let flags = flags(&[]).with_file_of(&start.read(&[]));
    fs::remove_file(start.path("config.toml")).expect("removing");

    let error = flags
        .read_with(start.dir.path(), &Environment::of(Vec::new()))
        .expect_err("it is gone");

    let path = start.path("config.toml");
    assert_eq!(
        error.to_string(),
        format!(
            "cannot read `{}`: No such file or directory (os error 2)",
            path.display()
        )
    );
}

#[test]
fn trust_is_said_by_flag_variable_and_file() {
    let start = Start::new();
    assert_eq!(start.read(&[]).trust, Trust::Owner);
    assert_eq!(start.read(&["--trust", "any"]).trust, Trust::Any);
    let start = start.file("config.toml", "trust = \"any\"\n");
    assert_eq!(start.read(&[]).trust, Trust::Any);
    let start = start.variable("WSHD_TRUST", "owner");
    assert_eq!(start.read(&[]).trust, Trust::Owner);
    assert_eq!(start.read(&["--trust=any"]).trust, Trust::Any);

    let start = Start::new().variable("WSHD_TRUST", "all");
    assert_eq!(
        start.error(&[]),
        "environment variable `WSHD_TRUST` wants `owner` or `any`, found `all`"
    );
}

#[test]
fn an_address_beside_every_address_is_refused_with_both() {
    for (listen, flags, expected) in [
        (
            "[\"0.0.0.0:1\", \"127.0.0.1:1\"]",
            &[][..],
            "config.toml:1:24: `listen` names `0.0.0.0:1` and `127.0.0.1:1`, and one of both is every address of this \
             machine",
        ),
        (
            "[\"[::1]:1\", \"[::]:1\"]",
            &[],
            "config.toml:1:22: `listen` names `[::1]:1` and `[::]:1`, and one of both is every address of this machine",
        ),
        (
            "[\"[::ffff:127.0.0.1]:1\", \"127.0.0.1:1\"]",
            &[],
            "config.toml:1:35: `listen` names `127.0.0.1:1` twice",
        ),
        (
            "[\"0.0.0.0:1\", \"127.0.0.1:2\"]",
            &["-p", "3"],
            "config.toml:1:24: cannot listen on `127.0.0.1:3`: `0.0.0.0:3` is listened on too, and one of both is every \
             address of this machine",
        ),
    ] {
        let start = Start::new().file("config.toml", &format!("listen = {listen}\n"));
        assert_eq!(start.error(flags), expected);
    }
}
