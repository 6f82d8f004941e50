//! What a first `cargo run -- dev handlers` has to compile.

use std::collections::BTreeSet;
use std::process::Command;

/// `dev` builds handlers with a cargo of its own. It uses a crate that the server's build has compiled only if that has the
/// same features.
#[test]
fn what_handlers_share_with_the_server_is_compiled_once() {
    let first = crates(&[]);
    let packages = handlers();
    let packages: Vec<&str> = packages.iter().flat_map(|it| ["-p", it]).collect();
    let handlers = crates(&packages);

    let again: Vec<_> = handlers.difference(&first).collect();

    assert!(
        handlers.iter().any(|name| name.starts_with("serde_core ")),
        "{handlers:#?}"
    );
    assert!(
        again.is_empty(),
        "compiled twice, with other features the second time: {again:#?}"
    );
}

/// A handler's first build would wait for the crates that procedural macros parse Rust with.
#[test]
fn the_library_of_handlers_needs_no_procedural_macro() {
    let macros: Vec<_> = crates(&["-p", "wshd-plugin"])
        .into_iter()
        .filter(|name| name.contains("(proc-macro)") || name.starts_with("syn "))
        .collect();

    assert!(macros.is_empty(), "{macros:#?}");
}

/// The first command would wait for the large dependencies of handlers/more.
#[test]
fn the_examples_with_large_dependencies_are_built_only_when_named() {
    let manifest = include_str!("../handlers/more/Cargo.toml");
    let asks = "[workspace.metadata.wshd]\nonly_when_named = true\n";
    assert!(manifest.contains(asks), "{manifest}");
}

/// The packages of the crates in handlers/, without those of handlers/more.
fn handlers() -> Vec<String> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../handlers");
    let entries = std::fs::read_dir(directory).expect("a directory");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string());
    let names = names.map(|name| name.expect("names are UTF-8"));
    let mut handlers: Vec<_> = names.filter(|name| name.ends_with("_wsh")).collect();
    assert!(handlers.len() > 10, "{handlers:?}");
    handlers.push("sub_wsh".to_owned());
    handlers
}

/// Each crate that cargo compiles for these packages, with its version and its features.
fn crates(packages: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .args(["tree", "--locked", "--no-dedupe", "--prefix", "none"])
        .args(["--edges", "normal,build", "--format", "{p} {f}"])
        .args(packages)
        .output()
        .expect("cargo runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).expect("names are UTF-8");
    text.lines().map(str::to_owned).collect()
}
