//! What a handler is, in the words of its crate or of its source in C, is shown to those who look at the server.

use serde_json::{Value, json};

use crate::harness::compile::compile;
use crate::harness::patch::{self, Patch};
use crate::harness::server::Server;
use crate::harness::site::Site;

/// Where the descriptor has its description.
const DESCRIPTION: usize = 208;
const DESCRIPTION_BYTES: usize = 256;

/// The description of each handler, in the order of their names.
fn listed(server: &Server) -> Vec<Value> {
    let handlers = server.listing();
    let handlers = handlers.as_array().expect("a list");
    handlers
        .iter()
        .map(|it| it["description"].clone())
        .collect()
}

#[test]
fn the_description_of_a_crate_or_of_a_source_in_c_is_in_the_list_and_in_a_check() {
    let site = Site::with(&["echo_wsh"]);
    site.add_bytes(&compile("handlers/c/cecho.c", &[]), "cecho_wsh.so");
    site.add_bytes(&compile("tests/fixtures/c/ends.c", &[]), "ends_wsh.so");
    let server = Server::start(&site);

    let (c, rust) = ("Sends every message back, in C", "Sends every message back");
    assert_eq!(listed(&server), [json!(c), json!(rust), Value::Null]);
    // What a handler is, is no secret.
    let strange = "GET /.wshd/handlers.json HTTP/1.1\r\nHost: localhost\r\nVia: 1.1 proxy\r\n\r\n";
    let told = server.exchange(strange.as_bytes());
    assert!(
        told.contains(&format!("\"description\":\"{rust}\"")),
        "{told}"
    );

    let output = Server::bare(&site).arg("check").output();
    let good = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        good,
        format!(
            "good: /cecho cecho_wsh.so ({c})\ngood: /echo echo_wsh.so ({rust})\ngood: /ends ends_wsh.so\n"
        )
    );
}

#[test]
fn a_description_is_one_line_and_is_read_no_further_than_its_table_goes() {
    let end = (DESCRIPTION + DESCRIPTION_BYTES) as u32;
    let described = |text: &[u8]| {
        let patch = Patch::of("echo_wsh");
        let at = patch.descriptor + DESCRIPTION;
        let mut field = [0; DESCRIPTION_BYTES];
        field[..text.len()].copy_from_slice(text);
        patch.bytes_at(at, &field)
    };
    let full = [b'x'; DESCRIPTION_BYTES];
    let cases: [(&str, Patch, Value); 9] = [
        // A table of ABI 1.0 as it was first, and one that ends within the field.
        (
            "a",
            described(b"hello").number(patch::SIZE, 208),
            Value::Null,
        ),
        (
            "b",
            described(b"hello").number(patch::SIZE, end - 1),
            Value::Null,
        ),
        (
            "c",
            described(b"hello").number(patch::SIZE, end),
            json!("hello"),
        ),
        // A table of a later minor, and one that claims more than any file has.
        (
            "d",
            described(b"hello").number(patch::SIZE, end + 8),
            json!("hello"),
        ),
        (
            "e",
            described(b"hello").number(patch::SIZE, u32::MAX),
            json!("hello"),
        ),
        ("f", described(&full), json!("x".repeat(DESCRIPTION_BYTES))),
        (
            "g",
            described(b"\n two\n\x1b[31m  lines\x07\0rest"),
            json!("two [31m lines"),
        ),
        ("h", described(b"\xff\xc3"), json!("\u{fffd}\u{fffd}")),
        (
            "i",
            described("a\u{202e}b\u{2066}c\u{2028}d".as_bytes()),
            json!("a b c d"),
        ),
    ];
    let site = Site::empty();
    let mut expected = Vec::new();
    for (name, patch, description) in cases {
        site.add_bytes(&patch.into_bytes(), &format!("{name}_wsh.so"));
        expected.push(description);
    }

    let server = Server::start(&site);

    assert_eq!(listed(&server), expected);
    for name in ["a", "b", "e", "f", "h"] {
        assert_eq!(server.connect(&format!("/{name}")).ask("hello"), "hello");
    }
}

#[test]
fn a_check_shows_on_one_line_what_a_name_of_a_file_has_in_it() {
    let site = Site::empty();
    site.add("echo_wsh", "e\u{1b}[31mx_wsh.so");
    site.add("echo_wsh", "f\ngood: \u{202e}_wsh.so");
    site.add_bytes(b"no library", "g\nwshd: \u{1b}[31m_wsh.so");

    let output = Server::bare(&site).arg("check").output();

    let [good, bad] = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
    let about = "(Sends every message back)";
    assert_eq!(
        good,
        format!(
            "good: /e\\u{{1b}}[31mx e\\u{{1b}}[31mx_wsh.so {about}\n\
             good: /f\\ngood: \\u{{202e}} f\\ngood: \\u{{202e}}_wsh.so {about}\n"
        )
    );
    let begins = "wshd: cannot load `g\\nwshd: \\u{1b}[31m_wsh.so`: ";
    assert!(bad.starts_with(begins), "{bad}");
    assert_eq!(bad.lines().count(), 1, "{bad}");
}
