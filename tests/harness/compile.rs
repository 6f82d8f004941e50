//! Handlers in C, compiled when a test wants them.

use std::path::Path;
use std::process::Command;

/// The library that `cc` makes of a source of this repository, with these options.
#[track_caller]
pub(crate) fn compile(source: &str, options: &[&str]) -> Vec<u8> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let out = tempfile::tempdir().expect("a temp dir");
    let library = out.path().join("built.so");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"])
        .args(options)
        .arg("-I")
        .arg(repository.join("plugin-api/include"))
        .arg("-o")
        .arg(&library)
        .arg(repository.join(source))
        .status();
    let compiled =
        compiled.expect("there is no C compiler: install one, `apt-get install gcc libc6-dev`");
    assert!(compiled.success(), "cc compiles {source}");
    std::fs::read(&library).expect("the library")
}
