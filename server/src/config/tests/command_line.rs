//! The command line as it is typed.

use super::*;

#[test]
fn pywebsockets_spellings_are_the_same_flags() {
    let short = flags(&[
        "-p", "1", "-w", "a", "-d", "b", "-m", "c", "-H", "::1", "-s", "d",
    ]);
    let long = flags(&[
        "--port",
        "1",
        "--websock-handlers",
        "a",
        "--document-root",
        "b",
        "--websock-handlers-map-file",
        "c",
        "--server-host",
        "::1",
        "--scan-dir",
        "d",
    ]);
    let underscores = flags(&[
        "--port",
        "1",
        "--websock_handlers",
        "a",
        "--document_root",
        "b",
        "--websock_handlers_map_file",
        "c",
        "--server_host",
        "::1",
        "--scan_dir",
        "d",
    ]);

    assert_eq!((&short, &short), (&long, &underscores));
    assert_eq!(short.text("handlers_dir"), Some("a".as_ref()));
    let config = Start::new().read(&["--log_level", "FINE"]);
    assert_eq!(config.log_level, LogLevel::Trace);
    let config = Start::new().read(&["--allow-handlers-outside-root-dir", "-p", "1"]);
    assert!(config.allow_handlers_outside_root_dir);
}

#[test]
fn every_flag_of_pywebsocket_is_taken_in_every_spelling() {
    let start = Start::new().file("handler_map.txt", "/ /echo\n");
    let start = start.file("cert.pem", "").file("key.pem", "");
    let tls = ["-t", "-k", "key.pem", "-c", "cert.pem"];
    for (spellings, value, more) in [
        (
            &["-H", "--server-host", "--server_host"][..],
            "0.0.0.0",
            &[][..],
        ),
        (&["-p", "--port"], "80", &[]),
        (
            &["-V", "--validation-host", "--validation_host"],
            "a.example",
            &[],
        ),
        (&["-P", "--validation-port", "--validation_port"], "80", &[]),
        (
            &["-w", "--websock-handlers", "--websock_handlers"],
            "there",
            &[],
        ),
        (
            &[
                "-m",
                "--websock-handlers-map-file",
                "--websock_handlers_map_file",
            ],
            "handler_map.txt",
            &[],
        ),
        (&["-s", "--scan-dir", "--scan_dir"], "handlers/sub", &[]),
        (
            &[
                "--allow-handlers-outside-root-dir",
                "--allow_handlers_outside_root_dir",
            ],
            "",
            &[],
        ),
        (&["-d", "--document-root", "--document_root"], "www", &[]),
        (&["-t", "--tls"], "", &tls[1..]),
        (
            &["-k", "--private-key", "--private_key"],
            "key.pem",
            &["-t", "-c", "cert.pem"],
        ),
        (
            &["-c", "--certificate"],
            "cert.pem",
            &["-t", "-k", "key.pem"],
        ),
        (&["--tls-client-ca"], "ca.pem", &tls),
        (&["--basic-auth-credential"], "a:b", &[]),
        (&["-l", "--log-file", "--log_file"], "a.log", &[]),
        (&["--log-level", "--log_level"], "fine", &[]),
        (&["--log-max", "--log_max"], "262144", &[]),
        (&["--log-count", "--log_count"], "7", &[]),
        (&["-q", "--queue"], "128", &[]),
    ] {
        let read = |spelling: &str| {
            let mut arguments = vec![spelling];
            arguments.extend(Some(value).filter(|value| !value.is_empty()));
            arguments.extend(more);
            start.read(&arguments)
        };
        let shown = |config: Config| format!("{config:?}");
        let without = start
            .try_read(more)
            .map_or_else(|error| error.to_string(), shown);
        let first = shown(read(spellings[0]));
        assert!(first != without, "{spellings:?} changes something");
        for spelling in spellings {
            assert!(shown(read(spelling)) == first, "{spelling}");
        }
    }
}

#[test]
fn a_switch_that_the_file_has_on_is_off_by_its_flag() {
    let file = "allow_handlers_outside_root_dir = true\n[tls]\nevery_address = true\n";
    let start = Start::new().file("config.toml", file);

    let config = start.read(&["--tls=false", "--allow-handlers-outside-root-dir=false"]);

    assert!(!config.tls.every_address && !config.allow_handlers_outside_root_dir);
}

#[test]
fn clients_show_certificates_where_something_speaks_tls() {
    let start = Start::new().file("cert.pem", "").file("key.pem", "");
    let tls = ["-t", "-k", "key.pem", "-c", "cert.pem"];
    let ca = ["--tls-client-ca", "ca.pem"];
    for (flags, expected) in [
        (&["--tls-client-auth"][..], ClientAuth::Required),
        (
            &["--tls-client-auth", "--tls-client-cert-optional"],
            ClientAuth::Optional,
        ),
        // pywebsocket wants the other flag, too.
        (&["--tls-client-cert-optional"], ClientAuth::Optional),
    ] {
        let config = start.read(&[&tls[..], &ca, flags].concat());
        assert_eq!(config.tls.client_auth, expected);

        let error = start.error(&[&ca[..], flags].concat());
        let why = "clients show certificates over TLS only, and no address that is listened on speaks it: \
                   wants `--tls`, or `tls:` before an address";
        assert_eq!(error, why);
        let error = start.error(&[&tls[..], flags].concat());
        assert!(
            error.contains("need a CA that signs them: `--tls-client-ca FILE`"),
            "{error}"
        );
    }
    // Plain addresses may be listened on beside one with TLS.
    let mixed = [
        "-H",
        "127.0.0.1,tls:127.0.0.2",
        "-k",
        "key.pem",
        "-c",
        "cert.pem",
        "--tls-client-auth",
    ];
    let config = start.read(&[&mixed[..], &ca].concat());
    assert_eq!(config.tls.client_auth, ClientAuth::Required);
}

#[test]
fn the_validation_host_has_pywebsockets_letter_and_the_version_its_long_name_only() {
    let short = flags(&["-V", "example.com", "-P", "80", "-q", "5"]);
    let long = flags(&[
        "--validation-host",
        "example.com",
        "--validation-port",
        "80",
        "--queue",
        "5",
    ]);
    let underscores = flags(&[
        "--validation_host",
        "example.com",
        "--validation_port",
        "80",
        "--queue",
        "5",
    ]);
    assert_eq!((&short, &short), (&long, &underscores));
    let config = Start::new().read(&["-V", "example.com", "-P", "80", "-q", "5"]);
    assert_eq!(config.validation_host.as_deref(), Some("example.com"));
    assert_eq!(config.validation_port, Some(80));
    assert_eq!(config.listen_backlog, 5);
    for address in ["::1", "[::1]"] {
        let config = Start::new().read(&["-V", address]);
        assert_eq!(config.validation_host.as_deref(), Some("[::1]"));
    }

    let version = format!("wshd {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(usage_error(&["--version"]), version);
    assert!(usage_error(&["-V"]).contains("a value is required for '--validation-host <HOST>'"));
}

#[test]
fn flags_stand_before_or_after_the_command() {
    for arguments in [
        ["-p", "1", "-w", "a", "check"],
        ["check", "-p", "1", "-w", "a"],
    ] {
        let (command, flags) = command_line(&arguments);
        assert_eq!(command, Some(Subcommand::Check));
        assert_eq!(flags.text("port"), Some("1".as_ref()));
        assert_eq!(flags.text("handlers_dir"), Some("a".as_ref()));
    }
    assert_eq!(command_line(&[]).0, None);
}

#[test]
fn a_wrong_command_line_says_what_is_wanted() {
    let first = |arguments: &[&str]| {
        usage_error(arguments)
            .lines()
            .next()
            .map(str::to_owned)
            .expect("a line")
    };

    assert_eq!(
        first(&["--log-level", "inof"]),
        "error: invalid value 'inof' for '--log-level <LEVEL>': wants `off`, `error`, `warn`, `info`, `debug` or \
         `trace`; did you mean `info`?"
    );
    assert_eq!(
        first(&["-H", "example.com"]),
        "error: invalid value 'example.com' for '--server-host <HOST>': wants an address like `127.0.0.1`, `::1`, \
         `0.0.0.0` or `localhost`, with or without a port and `tls:` before it, or a path like \
         `unix:/run/wshd.sock`, with `proxy:` before it where proxies connect"
    );
    assert_eq!(
        first(&["-p", "65536"]),
        "error: invalid value '65536' for '--port <PORT>': wants a number from 0 to 65535"
    );
    for (arguments, expected) in [
        (
            &["-p", "80x"][..],
            "'80x' for '--port <PORT>': wants a number from 0 to 65535",
        ),
        (
            &["status", "-p", "80x"],
            "'80x' for '--port <PORT>': wants a number from 0 to 65535",
        ),
        (
            &["sessions", "--max", "0"],
            "'0' for '--max <NUMBER>': wants a number from 1 on",
        ),
        (
            &["drain", "a", "--wait", "x"],
            "'x' for '--wait <SECONDS>': wants a number from 0 to 86400",
        ),
        (
            &["top", "--interval", "0"],
            "'0' for '--interval <SECONDS>': wants a number from 1 to 3600",
        ),
        (&["close", "x"], "'x' for '[ID]': wants a number from 0 on"),
        (
            &["close", "1", "--code", "999"],
            "'999' for '--code <CODE>': wants a number from 1000 to 4999",
        ),
        (
            &["connect", "ws://a", "-n", "0"],
            "'0' for '--count <NUMBER>': wants a number from 1 on",
        ),
    ] {
        assert_eq!(first(arguments), format!("error: invalid value {expected}"));
    }
    let error = usage_error(&["close"]);
    let which = "<ID|--address <ADDRESS>|--handler <HANDLER>>";
    assert!(error.contains(which), "{error}");
    assert_eq!(
        first(&["-q", "0"]),
        "error: invalid value '0' for '--listen-backlog <CONNECTIONS>': wants a number from 1 to 65535"
    );
    assert_eq!(
        first(&["-V", "example.com:80"]),
        "error: invalid value 'example.com:80' for '--validation-host <HOST>': wants the name of a host or an \
         address, without scheme and port, like `example.com`"
    );
    assert_eq!(first(&["-y"]), "error: unexpected argument '-y' found");
    // A flag more would change what an abbreviation means.
    let error = usage_error(&["--por", "1"]);
    assert!(
        error.contains("a similar argument exists: '--port'"),
        "{error}"
    );

    let tip = "tip: `wshd -w handlers` serves the compiled handlers of a directory, `wshd dev handlers` builds and \
               serves their sources";
    let error = usage_error(&["handlers"]);
    assert!(error.contains(tip), "{error}");
    assert!(usage_error(&["./my/handlers"]).contains("`wshd -w ./my/handlers` serves"));
    let error = usage_error(&["chek"]);
    assert!(
        error.contains("'check'") && !error.contains("-w"),
        "{error}"
    );
}

#[test]
fn bad_hosts_and_origins_say_what_is_wanted() {
    let start = Start::new().variable("WSHD_ORIGINS", "example.com");
    let error = "environment variable `WSHD_ORIGINS` wants `same-host`, `any`, or origins with commas like \
                 `same-host,https://example.com`, found `example.com`";
    assert_eq!(start.error(&[]), error);
    let start = Start::new().variable("WSHD_HOSTS", "a:80");
    let error = "environment variable `WSHD_HOSTS` wants `any`, or names of hosts with commas like \
                 `example.com,*.example.org`, found `a:80`";
    assert_eq!(start.error(&[]), error);
    let error = usage_error(&["--origins", "https://a/"]);
    assert!(
        error.contains("'https://a/' for '--origins <ORIGINS>': wants `same-host`, `any`"),
        "{error}"
    );
}

#[test]
fn a_flag_after_the_command_wins_over_one_before_it() {
    let (_, flags) = command_line(&["-p", "1", "-w", "a", "dev", "crates", "-p", "2"]);

    assert_eq!(flags.text("port"), Some("2".as_ref()));
    assert_eq!(flags.text("handlers_dir"), Some("a".as_ref()));
    for arguments in [
        ["--stop-with-stdin", "check"],
        ["check", "--stop-with-stdin"],
    ] {
        let line = CommandLine::of(["wshd"].iter().chain(&arguments)).expect("it is right");
        assert!(line.stop_with_stdin, "{arguments:?}");
    }
}

#[test]
fn commands_that_serve_nothing_refuse_the_flags_of_a_server() {
    let error = usage_error(&["new", "hello", "-p", "5"]);
    assert!(
        error.starts_with("error: unexpected argument '-p' found\n"),
        "{error}"
    );
    let error = usage_error(&["sdk", "--trust", "any"]);
    assert!(
        error.starts_with("error: unexpected argument '--trust' found\n"),
        "{error}"
    );
    for (flags, named) in [
        (&["-p", "5"][..], "--port <PORT>"),
        (&["--stop-with-stdin"][..], "--stop-with-stdin"),
    ] {
        let arguments: Vec<&str> = ["wshd"]
            .iter()
            .chain(flags)
            .chain(&["new", "hello"])
            .copied()
            .collect();
        let error = CommandLine::of(arguments).expect_err("it is wrong");
        assert_eq!(error.exit_code(), 2);
        let error = error.to_string();
        let expected = format!("error: the subcommand 'new' cannot be used with '{named}'\n");
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
fn the_help_of_a_command_lists_what_means_something_there() {
    let lists = |command: &str| {
        let help = usage_error(&[command, "--help"]);
        let flags = help.split_whitespace().filter(|it| it.starts_with("--"));
        let flags = flags.map(|flag| flag.split(['=', '[']).next().unwrap_or(flag));
        let flags: std::collections::BTreeSet<String> = flags.map(str::to_owned).collect();
        move |flag: &str| flags.contains(flag)
    };

    for command in ["new", "sdk"] {
        let lists = lists(command);
        for flag in ["--port", "--trust", "--config", "--stop-with-stdin"] {
            assert!(!lists(flag), "{command} lists {flag}");
        }
    }
    assert!(lists("new")("--style"));
    let (check, dev) = (lists("check"), lists("dev"));
    assert!(check("--handlers-dir") && check("--trust") && check("--config"));
    assert!(!check("--port") && !check("--origins") && !check("--stop-with-stdin"));
    assert!(check("--log-file") && check("--tls") && check("--server-host"));
    assert!(dev("--port") && dev("--release") && dev("--stop-with-stdin"));
    assert!(!dev("--handlers-dir") && !dev("--trust"));
}

#[test]
fn help_has_each_flag_below_the_heading_that_it_is_about() {
    let help = usage_error(&["--help"]);
    let mut heading = "";
    let mut headings = std::collections::BTreeMap::new();
    for line in help.lines() {
        let title = line.strip_suffix(':');
        heading = title.filter(|it| !it.starts_with(' ')).unwrap_or(heading);
        if line.trim_start().starts_with('-') {
            let words = line.split([' ', '=', '[']);
            let flag = words.into_iter().find(|it| it.starts_with("--"));
            headings.insert(flag.expect("a long name"), heading);
        }
    }

    for (flag, heading) in [
        ("--config", "Configuration"),
        ("--port", "Network"),
        ("--origins", "Network"),
        ("--tls-client-ca", "TLS"),
        ("--scan-dir", "Handlers"),
        ("--document-root", "Files"),
        ("--users-file", "Who may enter"),
        ("--basic-auth", "Who may enter"),
        ("--log-files-max", "Logging"),
        ("--user", "Process"),
        ("--group", "Process"),
        ("--admin-socket", "Process"),
        ("--pid-file", "Process"),
        ("--stop-with-stdin", "Process"),
    ] {
        assert_eq!(headings.get(flag), Some(&heading), "{flag}");
    }
}

#[test]
fn a_flag_of_pywebsocket_that_is_not_taken_says_what_to_do_instead() {
    for (flags, tip) in [
        (&["-x", "/cgi-bin"][..], "CGI programs are not run here"),
        (&["--cgi-paths=/cgi-bin"], "CGI programs are not run here"),
        (
            &["--cgi_paths", "/cgi-bin"],
            "CGI programs are not run here",
        ),
        (
            &["--handler_encoding", "utf8"],
            "there is no source to decode",
        ),
        (&["--handler-encoding=utf8"], "there is no source to decode"),
        (
            &["--thread_monitor_interval_in_sec", "5"],
            "`/.wshd/handlers.json` lists",
        ),
        (
            &["--deflate-log-level", "warn"],
            "`--log-level` is for all of it",
        ),
    ] {
        let arguments = ["wshd"].iter().chain(flags);
        let error = CommandLine::of(arguments).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let error = error.to_string();
        assert!(error.contains(tip), "{error}");
        for other in ["similar", "--basic-auth", "--handlers-dir"] {
            assert!(!error.contains(other), "{error}");
        }
    }
}

#[test]
fn completions_and_the_manual_page_have_the_flags() {
    use clap::ValueEnum;
    for shell in clap_complete::Shell::value_variants() {
        let text = String::from_utf8(crate::config::completions(*shell)).expect("text");
        assert!(text.contains("log-file"), "{shell}");
    }
    let manual = |of| String::from_utf8(crate::config::manual(of).expect("memory")).expect("text");
    let of_connect = manual(Some("connect"));
    assert!(of_connect.starts_with(".ie"), "{of_connect}");
    assert!(of_connect.contains("\n.TH wshd-connect 1 "), "{of_connect}");
    assert!(of_connect.contains(r"\-\-subprotocol"), "{of_connect}");
    assert!(of_connect.contains("\n.nf\nExit status:\n"), "{of_connect}");
    for command in crate::config::flags::program::program().get_subcommands() {
        let line = CommandLine::of(["wshd", "man", command.get_name()]);
        assert!(line.is_ok(), "{}", command.get_name());
    }
    let manual = manual(None);
    assert!(manual.contains(r"\-\-log\-file"), "{manual}");
    assert!(manual.contains("\nwshd connect\n"), "{manual}");
    assert!(manual.contains("\n.nf\nSpelling:\n"), "{manual}");
    assert!(manual.contains("\n.fi\n.SH VERSION\n"), "{manual}");
    assert!(!manual.contains("(1)"), "{manual}");
}

#[test]
fn wshd_dev_says_what_its_certificate_for_localhost_lacks() {
    let read = |flags: Flags| flags.read_with(Path::new("/"), &Environment::of(Vec::new()));
    let flags = || flags(&["-t", "-w", "."]);
    let error = read(flags()).expect_err("there is no certificate");
    assert!(error.to_string().starts_with("TLS needs a certificate"));
    let error = read(flags().with_spare_certificate(None));
    assert_eq!(
        error.expect_err("there is no place for it").to_string(),
        "`wshd dev` makes a certificate for localhost and keeps it below `XDG_STATE_HOME` or `HOME`, of which neither is \
         set; set one, or name a certificate: `--certificate FILE --private-key FILE`"
    );
}
