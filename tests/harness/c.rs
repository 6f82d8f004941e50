//! Plugins in C, compiled for one test.

use std::path::Path;
use std::process::Command;

/// The library that `cc` makes of a source of this repository.
#[track_caller]
pub(crate) fn compile(source: &str, flags: &[&str]) -> Vec<u8> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let directory = tempfile::tempdir().expect("a temp dir");
    let library = directory.path().join("built.so");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"])
        .args(flags)
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
