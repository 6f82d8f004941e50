//! What a command is asked for reaches stdout, or the command says that it does not.

use std::fs;
use std::process::{Command, Stdio};

use crate::harness::server::Server;
use crate::harness::site::Site;

#[test]
fn what_cannot_be_printed_is_told_and_a_reader_that_has_gone_is_not() {
    let site = Site::with(&["echo_wsh"]);
    let _server = Server::start(&site);
    let cases: [&[&str]; 11] = [
        &["--version"],
        &["--help"],
        &["check", "--help"],
        &["check"],
        &["completions", "bash"],
        &["man"],
        &["status"],
        &["list", "--json"],
        &["sessions", "--json"],
        &["top", "--json"],
        &["reload"],
    ];
    for arguments in cases {
        let run = |stdout: Stdio| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_wshd"));
            command.args(arguments).current_dir(site.root());
            command.env("XDG_RUNTIME_DIR", site.root()).stdout(stdout);
            let output = command.output().expect("it runs");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            (output.status.code(), said)
        };
        let full = fs::OpenOptions::new().write(true).open("/dev/full");
        let (code, said) = run(full.expect("a device").into());
        assert_eq!(code, Some(1), "{arguments:?}: {said}");
        let why = "wshd: cannot write to stdout: No space left on device (os error 28)\n";
        assert!(said.ends_with(why), "{arguments:?}: {said}");

        let only_read = fs::File::open("/dev/null").expect("a device");
        let (code, said) = run(only_read.into());
        assert_eq!(code, Some(1), "{arguments:?}: {said}");
        let why = "wshd: cannot write to stdout: Bad file descriptor";
        assert!(said.contains(why), "{arguments:?}: {said}");

        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let (code, said) = run(writer.into());
        assert_eq!(code, Some(0), "{arguments:?}: {said}");
        assert!(!said.contains("stdout"), "{arguments:?}: {said}");
    }
}
