//! The configuration is read strictly and applied while the server runs.

use std::process::Command;
use std::time::Duration;

use crate::harness::client::Client;
use crate::harness::server::{Builder, Server};
use crate::harness::site::Site;
use crate::harness::within;

/// Runs the program. Returns its exit code and all that it says.
pub(crate) fn wshd(site: &Site, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wshd"));
    let output = command
        .current_dir(site.root())
        .args(arguments)
        .output()
        .expect("wshd runs");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[test]
fn a_broken_configuration_is_shown_with_its_place_and_exits_with_78() {
    let site = Site::with(&["echo_wsh"]);
    for (text, expected) in [
        (
            "lisen = \"127.0.0.1:1\"\n",
            "wshd: config.toml:1:1: unknown key `lisen`; did you mean `listen`?\n  |\n1 | lisen = \"127.0.0.1:1\"\n  | ^^^^^\n",
        ),
        (
            "listen = \"9998x\"\n",
            "wshd: config.toml:1:10: `listen` wants an address like `127.0.0.1:9998` or `tls:127.0.0.1:9999`, or a path like `unix:/run/wshd.sock`, with `proxy:` before it where proxies connect, found `9998x`\n  |\n1 | listen = \"9998x\"\n  |          ^^^^^^^\n",
        ),
        (
            "[limits]\nfragments_max = \"many\"\n",
            "wshd: config.toml:2:17: `fragments_max` wants a whole number from 1 to 10000000, found `\"many\"`\n",
        ),
        (
            "[routes]\n\"chat\" = \"/echo\"\n",
            "wshd: config.toml:2:1: a route begins with `/`, found `chat`; did you mean `/chat`?\n",
        ),
    ] {
        site.write("config.toml", text);
        for arguments in [&["check"][..], &[][..]] {
            let (code, said) = wshd(&site, arguments);
            assert_eq!(code, Some(78), "{said}");
            assert!(said.starts_with(expected), "{said}");
        }
    }
}

#[test]
fn variables_that_a_platform_makes_up_stop_nothing() {
    let site = Site::with(&["echo_wsh"]);
    let of_kubernetes = |builder: Builder| {
        builder
            .env("WSHD_PORT", "tcp://10.96.12.7:9998")
            .env("WSHD_SERVICE_PORT", "9998")
            .env("WSHD_PORT_9998_TCP", "tcp://10.96.12.7:9998")
    };

    let server = of_kubernetes(Server::builder(&site)).start();
    assert_eq!(server.connect("/echo").ask("hello"), "hello");
    let ignored = ["environment variable ignored"];
    assert_eq!(server.count_lines(&ignored), 0, "the flag decides");

    let check = of_kubernetes(Server::bare(&site)).env("WSHD_LOGLEVEL", "debug");
    let mut check = check.arg("check").spawn();
    assert_eq!(check.wait(Duration::from_secs(10)).code(), Some(0));
    check.line(&["WARN", "`WSHD_PORT` is `tcp://10.96.12.7:9998`"]);
    check.line(&["WARN", "did you mean `WSHD_LOG_LEVEL`?"]);
    assert_eq!(check.count_lines(&ignored), 2);
}

#[test]
fn commands_that_serve_nothing_refuse_the_flags_of_a_server() {
    let site = Site::empty();
    for arguments in [
        ["new", "hello", "-p", "5"],
        ["-p", "5", "new", "hello"],
        ["sdk", "wsh", "--trust", "any"],
        ["--trust", "any", "sdk", "wsh"],
    ] {
        let (code, said) = wshd(&site, &arguments);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.starts_with("error: "), "{said}");
    }
    assert!(!site.root().join("hello").exists() && !site.root().join("wsh").exists());
}

#[test]
fn routes_and_limits_apply_at_once_and_a_broken_edit_changes_nothing() {
    let site = Site::with(&["echo_wsh"]);
    site.write("config.toml", "");
    let server = Server::start(&site);
    assert_eq!(server.handshake_status("/alias"), 404);

    site.write(
        "config.toml",
        "[routes]\n\"/alias\" = \"/echo\"\n[limits]\nmessage_bytes_max = 10\n",
    );
    within(Duration::from_secs(2), "the alias answers", || {
        server.handshake_status("/alias") == 101
    });
    let mut client = Client::connect(server.port(), "/alias", &[]);
    client.send("more than ten bytes");
    assert_eq!(client.close_code(), 1009);

    site.write("config.toml", "[routs]\n");
    server.line(&[
        "configuration refused, the old one keeps serving",
        "config.toml:1:2: unknown key `routs`; did you mean `routes`?",
    ]);
    assert_eq!(server.handshake_status("/alias"), 101);
}

#[test]
fn a_file_that_is_emptied_changes_nothing_until_something_is_in_it() {
    let site = Site::with(&["echo_wsh"]);
    let alias = "[routes]\n\"/alias\" = \"/echo\"\n";
    site.write("config.toml", alias);
    let server = Server::start(&site);

    for (empty, times) in [("", 1), ("\n \n", 2)] {
        site.write("config.toml", empty);
        let refused = [
            "configuration refused, the old one keeps serving",
            "config.toml` is empty, and was not before; if the defaults are meant, one line with a `#` in it says so",
        ];
        within(Duration::from_secs(5), "it is refused", || {
            server.count_lines(&refused) == times
        });
        assert_eq!(server.handshake_status("/alias"), 101);
        site.write("config.toml", &alias.replace("alias", "other"));
        within(Duration::from_secs(5), "it is read", || {
            server.handshake_status("/other") == 101
        });
        site.write("config.toml", alias);
        within(Duration::from_secs(5), "it is read again", || {
            server.handshake_status("/alias") == 101
        });
    }

    site.write("config.toml", "# the defaults\n");
    within(Duration::from_secs(5), "the defaults hold", || {
        server.handshake_status("/alias") == 404
    });
}

#[test]
fn a_busy_port_ends_it_with_1_and_the_address() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    let port = server.port().to_string();

    let (code, said) = wshd(&site, &["-p", &port]);

    assert_eq!(code, Some(1), "{said}");
    let expected =
        format!("wshd: cannot listen on 127.0.0.1:{port}: another process listens there already\n");
    assert!(said.contains(&expected), "{said}");
}

#[test]
fn a_map_file_that_is_not_there_ends_it_with_78_and_its_absolute_path() {
    let site = Site::empty();
    let path = site.root().join("gone.txt");

    for arguments in [&["-m", "gone.txt"][..], &["check", "-m", "gone.txt"]] {
        let (code, said) = wshd(&site, arguments);

        assert_eq!(code, Some(78), "{said}");
        let why = format!("wshd: cannot read `{}`: No such file", path.display());
        assert!(said.contains(&why), "{said}");
    }
}

#[test]
fn a_missing_handlers_directory_ends_it_with_1_and_its_absolute_path() {
    let site = Site::empty();
    let (code, said) = wshd(&site, &["-p", "0", "-w", "nowhere"]);
    assert_eq!(code, Some(1), "{said}");
    let expected = format!(
        "cannot serve handlers from `{}`",
        site.root().join("nowhere").display()
    );
    assert!(said.contains(&expected), "{said}");
}

#[test]
fn a_file_that_appears_at_a_default_place_is_read_and_stays_the_one() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    server.line(&["no configuration file, the defaults hold"]);

    site.write("config/config.toml", "[routes]\n\"/first\" = \"/echo\"\n");
    within(Duration::from_secs(5), "it is applied", || {
        server.handshake_status("/first") == 101
    });
    let file = site.root().join("config/config.toml");
    server.line(&[
        "a configuration file has appeared",
        &format!("file={}", file.display()),
    ]);

    // From now on the server treats the file as if it had been started with it.
    let other = site.write("config.toml", "[routes]\n\"/second\" = \"/echo\"\n");
    let told = [
        "another configuration file is there; it is read after a restart",
        &format!("file={}", other.display()),
        &format!("in_use={}", file.display()),
    ];
    server.line(&told);
    site.write("config.toml", "# other words\n");
    std::fs::remove_file(&file).expect("removing");
    server.signal("HUP");
    server.line(&[
        "configuration refused, the old one keeps serving",
        "cannot read",
    ]);
    assert_eq!(server.handshake_status("/first"), 101);
    assert_eq!(server.handshake_status("/second"), 404);
    assert_eq!(server.count_lines(&told), 1);
}

#[test]
fn a_file_at_a_later_place_is_said_not_to_be_read_unless_the_one_in_use_was_named() {
    let site = Site::with(&["echo_wsh"]);
    let first = site.write("config.toml", "log_level = \"info\"\n");
    let later = site.write("config/config.toml", "log_level = \"info\"\n");
    let named = Server::builder(&site)
        .args(["--config", "config.toml"])
        .start();
    let server = Server::start(&site);

    let told = [
        "another configuration file is there, and is not read",
        &format!("file={}", later.display()),
        &format!("in_use={}", first.display()),
    ];
    server.line(&told);
    for server in [&named, &server] {
        server.signal("HUP");
        server.line(&["SIGHUP, reading the configuration again"]);
        assert_eq!(server.handshake_status("/echo"), 101);
    }

    assert_eq!(server.count_lines(&told), 1);
    assert_eq!(server.count_lines(&["configuration applied"]), 0);
    assert_eq!(named.count_lines(&["another configuration file"]), 0);
}

#[test]
fn a_broken_file_that_appears_changes_nothing_until_it_is_mended() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);

    site.write("config.toml", "[routs]\n");
    server.line(&[
        "configuration refused, the old one keeps serving",
        "did you mean `routes`?",
    ]);
    assert_eq!(server.handshake_status("/echo"), 101);
    site.write("config.toml", "[routes]\n\"/alias\" = \"/echo\"\n");

    within(Duration::from_secs(5), "it is applied", || {
        server.handshake_status("/alias") == 101
    });
}

#[test]
fn a_file_that_is_removed_is_said_to_be_gone_once_and_is_read_when_it_is_back() {
    let site = Site::with(&["echo_wsh"]);
    let file = site.write("config.toml", "log_level = \"info\"\n");
    let server = Server::start(&site);

    std::fs::remove_file(&file).expect("it is there");

    let gone = ["WARN", "the configuration file is gone", "config.toml"];
    server.line(&gone);
    assert_eq!(server.handshake_status("/echo"), 101);
    site.write("config.toml", "log_level = \"info\"\n");
    server.line(&["INFO", "the configuration file is there again"]);
    assert_eq!(server.count_lines(&gone), 1);
}
