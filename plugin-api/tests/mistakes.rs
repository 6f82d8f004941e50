//! A `handler!` that names no handler is one compile error, which says what to write.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

/// A crate that does not compile.
struct Mistake {
    name: &'static str,
    source: &'static str,
    /// Texts of the compiler's first error, in the order of its message, labels and notes.
    says: &'static [&'static str],
}

const MISTAKES: &[Mistake] = &[
    Mistake {
        name: "a_function_without_its_style",
        source: "async fn echo(_: &mut AsyncConn) -> Result { Ok(()) } wsh::handler!(echo);",
        says: &[
            "`echo` is a function, and its style is missing: write `handler!(async echo)` for an \
             `async fn(conn: &mut AsyncConn) -> Result`, `handler!(blocking echo)` for a \
             `fn(conn: BlockingConn) -> Result`",
        ],
    },
    Mistake {
        name: "a_function_of_a_module_without_its_style",
        source: "mod it { pub fn echo(_: wsh::BlockingConn) -> wsh::Result { Ok(()) } } \
                 wsh::handler!(it::echo);",
        says: &[
            "echo` is a function",
            "write `handler!(async it",
            "`handler!(blocking it",
        ],
    },
    Mistake {
        name: "a_function_in_the_words_of_rust",
        source: "fn echo(_: BlockingConn) -> Result { Ok(()) } wsh::handler!(fn echo);",
        says: &[
            "`handler!(blocking FUNCTION)`",
            "found `fn`, which is not written here",
        ],
    },
    Mistake {
        name: "a_style_without_a_function",
        source: "wsh::handler!(async);",
        says: &[
            "`handler!(async FUNCTION)`",
            "found no function after `async`",
        ],
    },
    Mistake {
        name: "nothing_at_all",
        source: "wsh::handler!();",
        says: &["wanted a handler: `handler!(TYPE)`", "found nothing"],
    },
    Mistake {
        name: "a_name_in_quotes",
        source: "wsh::handler!(\"echo\");",
        says: &["wanted a handler: `handler!(TYPE)`", "found `\"echo\"`"],
    },
    Mistake {
        name: "a_type_that_is_no_handler",
        source: "struct Echo; wsh::handler!(Echo);",
        says: &[
            "`Echo` is not a handler",
            "neither a `Handler`, nor a `Session` that is `Default` and `Sync`",
            "`impl Handler for Echo`",
            "`handler!(async name)`",
        ],
    },
    Mistake {
        name: "a_session_that_is_not_default",
        source: "struct Echo; impl Session for Echo { \
                 fn on_message(&mut self, _: &mut Conn, _: Message) -> Result { Ok(()) } } \
                 wsh::handler!(Echo);",
        says: &["`Echo` is not a handler", "`Session` that is `Default`"],
    },
    Mistake {
        name: "a_handler_without_a_session",
        source: "struct Chat; struct Member; impl Handler for Chat { type Session = Member; \
                 fn new(_: Config) -> Result<Self> { Ok(Chat) } \
                 fn open(&self, _: &mut Conn, _: &Request) -> Result<Member> { Ok(Member) } } \
                 wsh::handler!(Chat);",
        says: &[
            "`Member` is not a `Session`",
            "needs `impl Session for Member`",
        ],
    },
    Mistake {
        name: "an_envelope_of_the_session",
        source: "struct Chat; struct Member; impl Handler for Chat { type Session = Member; \
                 fn new(_: Config) -> Result<Self> { Ok(Chat) } \
                 fn open(&self, _: &mut Conn, _: &Request) -> Result<Member> { Ok(Member) } } \
                 impl Session for Member { \
                 fn on_message(&mut self, _: &mut Conn, _: Message) -> Result { Ok(()) } } \
                 impl Envelope for Member { \
                 fn envelope(&self, _: &Publication) -> Result<Option<MessageBuf>> { Ok(None) } } \
                 wsh::handler!(Chat);",
        says: &[
            "the session has `Envelope`, and its handler has not: write `impl Envelope` for the handler",
        ],
    },
    Mistake {
        name: "a_presence_of_the_session",
        source: "struct Chat; struct Member; impl Handler for Chat { type Session = Member; \
                 fn new(_: Config) -> Result<Self> { Ok(Chat) } \
                 fn open(&self, _: &mut Conn, _: &Request) -> Result<Member> { Ok(Member) } } \
                 impl Session for Member { \
                 fn on_message(&mut self, _: &mut Conn, _: Message) -> Result { Ok(()) } } \
                 impl Presence for Member { \
                 fn presence(&self, _: &PresenceChange) -> Result<Option<MessageBuf>> { Ok(None) } } \
                 wsh::handler!(Chat);",
        says: &[
            "the session has `Presence`, and its handler has not: write `impl Presence` for the handler",
        ],
    },
    Mistake {
        name: "options_after_a_type",
        source: "struct Echo; wsh::handler!(Echo, restarts);",
        says: &["a type takes no options: found `, restarts` after `Echo`"],
    },
    Mistake {
        name: "an_option_that_is_none",
        source: "async fn echo(_: &mut AsyncConn) -> Result { Ok(()) } \
                 wsh::handler!(async echo, restart);",
        says: &["unknown here: `restart`", "`restarts` as well"],
    },
    Mistake {
        name: "an_async_function_as_a_blocking_one",
        source: "async fn echo(_: &mut AsyncConn) -> Result { Ok(()) } \
                 wsh::handler!(blocking echo);",
        says: &[
            "is not a blocking handler function",
            "wanted: `fn(conn: BlockingConn) -> Result`",
            "is written `handler!(async name)`",
        ],
    },
    Mistake {
        name: "a_blocking_function_as_an_async_one",
        source: "fn echo(_: BlockingConn) -> Result { Ok(()) } wsh::handler!(async echo);",
        says: &[
            "is not an async handler function",
            "wanted: `async fn(conn: &mut AsyncConn<S>) -> Result`",
            "is written `handler!(blocking name)`",
        ],
    },
    Mistake {
        name: "the_connection_of_another_style",
        source: "async fn echo(_: &mut Conn) -> Result { Ok(()) } wsh::handler!(async echo);",
        says: &[
            "is not an async handler function",
            "`async fn(conn: &mut AsyncConn<S>) -> Result`",
        ],
    },
    Mistake {
        name: "a_state_that_cannot_move",
        source: "struct State; async fn echo(_: &mut AsyncConn<State>) -> Result { Ok(()) } \
                 wsh::handler!(async echo);",
        says: &[
            "`State` cannot be the state of an async session",
            "needs `Default + Serialize",
        ],
    },
];

#[test]
fn a_name_that_is_no_handler_is_one_error_that_says_what_to_write() {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mistakes");
    write(&place);

    let checked = Command::new(env!("CARGO"))
        .args([
            "check",
            "--offline",
            "--keep-going",
            "--message-format=json",
            "--target-dir",
        ])
        .arg(place.join("target"))
        .current_dir(&place)
        .output()
        .expect("cargo runs");

    let stdout = String::from_utf8(checked.stdout).expect("JSON lines");
    let mut errors: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for message in stdout
        .lines()
        .filter(|line| line.contains(r#""reason":"compiler-message""#))
    {
        let message: serde_json::Value = serde_json::from_str(message).expect("a message of cargo");
        // The summary with the number of errors has no source location.
        if message["message"]["level"] == "error" && message["message"]["spans"][0].is_object() {
            let target = message["target"]["name"]
                .as_str()
                .expect("a target")
                .to_owned();
            let rendered = message["message"]["rendered"]
                .as_str()
                .expect("text")
                .to_owned();
            errors.entry(target).or_default().push(rendered);
        }
    }
    for Mistake { name, says, .. } in MISTAKES {
        let found = errors.get(*name).map_or(&[][..], Vec::as_slice);
        let [error] = found else {
            let stderr = String::from_utf8_lossy(&checked.stderr);
            panic!(
                "{name} has {} errors, not one: {found:#?}\n{stderr}",
                found.len()
            );
        };
        let mut rest = error.as_str();
        for part in *says {
            let Some(at) = rest.find(part) else {
                panic!("{name} does not say `{part}` where it should:\n{error}");
            };
            rest = &rest[at..];
        }
    }
    assert_eq!(errors.len(), MISTAKES.len(), "{:?}", errors.keys());
}

/// A package with a program for each mistake.
fn write(place: &Path) {
    let bin = place.join("src/bin");
    let _ = fs::remove_dir_all(&bin);
    fs::create_dir_all(&bin).expect("a directory for tests");
    let manifest = format!(
        "[package]\nname = \"mistakes\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\n\
         wshd-plugin = {{ path = {:?}, default-features = false }}\n\n[workspace]\n",
        env!("CARGO_MANIFEST_DIR")
    );
    fs::write(place.join("Cargo.toml"), manifest).expect("the manifest");
    for Mistake { name, source, .. } in MISTAKES {
        let source = format!("#![allow(unused)]\nuse wsh::prelude::*;\n{source}\nfn main() {{}}\n");
        fs::write(bin.join(format!("{name}.rs")), source).expect("a source");
    }
}
