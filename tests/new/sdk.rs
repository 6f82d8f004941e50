//! The SDK that handlers share lies beside them. It is written, recognised and replaced.

use std::path::Path;

use super::{BUILT, OURS, all_of, cargo, command, crates_dir, files, new, run, succeed};
use crate::harness::server::Server;
use crate::harness::site::Site;

#[test]
fn handlers_in_c_and_cpp_share_the_headers_beside_them_and_one_in_rust_brings_the_rest() {
    let site = Site::empty();
    let root = site.root().join("mine");
    assert!(new(&site, &["mine/tea", "--style", "c"]).status.success());
    let headers = ["LICENSE-APACHE", "LICENSE-MIT", "include", "sdk.toml"];
    assert_eq!(files(&root.join("wsh")), headers);

    let made = new(&site, &["mine/milk", "--style", "cpp"]);

    let report = String::from_utf8(made.stdout).expect("text");
    let shared = "
  mine/milk/milk.cpp  the handler
  mine/milk/www/      a page that talks to it
  mine/wsh/           what it is built with, as those beside it
";
    assert!(report.contains(shared), "{report}");
    assert_eq!(
        files(&root.join("milk")),
        [
            ".gitignore",
            "Makefile",
            "README.md",
            "milk.cpp",
            "tests",
            "www"
        ]
    );
    assert_eq!(files(&root.join("wsh")), headers);
    for handler in ["tea", "milk"] {
        assert!(run(&root.join(handler), "make", &["check", "all"]).contains("ok"));
    }
    assert!(new(&site, &["mine/water"]).status.success());
    let all = [
        "Cargo.toml",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "build.rs",
        "include",
        "sdk.toml",
        "src",
    ];
    assert_eq!(files(&root.join("wsh")), all);

    // The SDK beside the handlers counts, not the one in the program.
    let header = root.join("wsh/include/wsh.h");
    let text = std::fs::read_to_string(&header).expect("the header");
    site.write(
        "mine/wsh/include/wsh.h",
        &format!("{text}#define HELLO \"ciao \"\n"),
    );
    let tea = std::fs::read_to_string(root.join("tea/tea.c")).expect("the handler");
    site.write("mine/tea/tea.c", &tea.replace("\"hello \"", "HELLO"));
    let server = Server::bare(&site)
        .args(["dev", "mine/tea", "-p", "0"])
        .start();
    server.line_within(BUILT, &["tea_wsh  ws://localhost:"]);
    assert_eq!(server.connect("/tea").ask("Ann"), "ciao Ann");
    site.write(
        "mine/wsh/include/wsh.h",
        &format!("{text}#define HELLO \"salve \"\n"),
    );
    server.line_within(BUILT, &["tea_wsh: live in "]);
    assert_eq!(server.connect("/tea").ask("Ann"), "salve Ann");
}

/// Changes the SDK to what an older wshd would have written.
fn age(sdk: &Path) {
    for file in ["Cargo.toml", "sdk.toml"] {
        // Handlers in C need no manifest.
        let Ok(text) = std::fs::read_to_string(sdk.join(file)) else {
            continue;
        };
        let text = text.replacen(&format!("version = \"{OURS}\""), "version = \"0.0.9\"", 1);
        std::fs::write(sdk.join(file), text).expect("writing");
    }
    let header = sdk.join("include/wsh.h");
    let text = std::fs::read_to_string(&header).expect("the header");
    std::fs::write(header, format!("{text}/* older */\n")).expect("writing");
}

#[test]
fn dev_says_that_handlers_are_built_with_the_sdk_of_another_wshd_and_what_to_do() {
    let (new_site, old_site) = (Site::empty(), Site::empty());
    let serve = |site: &Site| {
        let server = Server::bare(site).args(["dev", "tea", "-p", "0"]).start();
        server.line_within(BUILT, &["tea_wsh  ws://localhost:"]);
        server
    };
    for site in [&new_site, &old_site] {
        assert!(new(site, &["tea", "--style", "c"]).status.success());
    }
    age(&old_site.root().join("wsh"));

    let (current, outdated) = (serve(&new_site), serve(&old_site));

    let place = old_site
        .root()
        .canonicalize()
        .expect("it is there")
        .join("wsh");
    let place = place.display();
    outdated.line(&[&format!(
        "`{place}` is the SDK of wshd 0.0.9, and this is wshd {OURS}; `wshd sdk {place}` puts this one in its place"
    )]);
    assert_eq!(
        current.count_lines(&["is the SDK of"]),
        0,
        "{}",
        current.log()
    );
}

#[test]
fn an_sdk_of_another_wshd_is_recognised_and_the_advice_works_as_it_stands() {
    let (site, root) = (Site::empty(), crates_dir("older"));
    let tool = |words: &[&str]| {
        let mut wshd = command(&root, env!("CARGO_BIN_EXE_wshd"), words);
        String::from_utf8(wshd.output().expect("wshd runs").stdout).expect("text")
    };
    tool(&["new", "tea"]);
    age(&root.join("wsh"));

    let report = tool(&["new", "milk"]);

    let advice = format!(
        "`wsh` is the SDK of wshd 0.0.9, and this is wshd {}, so `milk` has its own; to have this one for all \
         handlers beside it, and to build them again:\n  ",
        OURS
    );
    let (_, commands) = report
        .split_once(&advice)
        .unwrap_or_else(|| panic!("{report}"));
    assert_eq!(
        commands,
        "wshd sdk wsh && rm -r milk/wsh && sed -i 's|path = \"wsh\"|path = \"../wsh\"|' milk/Cargo.toml\n"
    );
    let mut advised = command(&root, "sh", &["-c", commands]);
    let place = Path::new(env!("CARGO_BIN_EXE_wshd"))
        .parent()
        .expect("a directory");
    let path = std::env::var("PATH").expect("a path");
    advised.env("PATH", format!("{}:{path}", place.display()));
    let updated = succeed(advised);
    // The older SDK of this test differs in its version and header, so its digest does not fit.
    let kept = format!(
        "`wsh` is the SDK of wshd {OURS} now, and was that of wshd 0.0.9; what was there had been changed, and is \
         at `wsh.old`\n"
    );
    assert!(updated.starts_with(&kept), "{updated}");
    assert_eq!(
        tool(&["sdk"]),
        format!("`wsh` is the SDK of wshd {OURS} already\n")
    );
    run(&root.join("milk"), &cargo(), &["check", "--offline"]);
    drop(site);
}

#[test]
fn an_sdk_is_written_or_replaced_and_nothing_else_is() {
    let site = Site::empty();
    let sdk = |words: &[&str]| {
        let mut wshd = command(site.root(), env!("CARGO_BIN_EXE_wshd"), &["sdk"]);
        let output = wshd.args(words).output().expect("wshd runs");
        (output.status.code(), all_of(&output))
    };

    let (code, said) = sdk(&[]);
    assert_eq!(
        (code, said.as_str()),
        (
            Some(0),
            &*format!("wrote the SDK of wshd {OURS} to `wsh`\n\n")
        )
    );
    age(&site.root().join("wsh"));
    site.write("wsh.old/mine", "mine");
    let (code, said) = sdk(&["wsh"]);
    assert_eq!(code, Some(1));
    let sentence = "wshd: cannot make `wsh.old`: it is there already, and what is in the SDK's place was to be kept there";
    assert!(said.contains(sentence), "{said}");
    site.write("other/mine", "mine");
    let (code, said) = sdk(&["other"]);
    assert_eq!(code, Some(1));
    let sentence = "wshd: cannot make `other`: it is there already, and no SDK; choose another name, or remove it";
    assert!(said.contains(sentence), "{said}");
    assert_eq!(files(site.root()), ["handlers", "other", "wsh", "wsh.old"]);
    // A directory beside a handler that is no SDK stays, too.
    site.write("mine/wsh/notes", "mine");
    assert!(new(&site, &["mine/tea", "--style", "c"]).status.success());
    assert_eq!(files(&site.root().join("mine/wsh")), ["notes"]);
    assert!(run(&site.root().join("mine/tea"), "make", &["check"]).contains("ok"));
}
