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
         `0.0.0.0` or `localhost`, with or without a port"
    );
    assert_eq!(
        first(&["-p", "65536"]),
        "error: invalid value '65536' for '--port <PORT>': 65536 is not in 0..=65535"
    );
    assert_eq!(first(&["-t"]), "error: unexpected argument '-t' found");

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
