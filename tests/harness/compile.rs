//! Handlers in C, compiled when a test wants them. Integration tests and tests/abuse share it.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A compiled program. Its file is removed when this is dropped.
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    _directory: TempDir,
}

/// Compiles a source of this repository to a program.
#[track_caller]
pub(crate) fn compile_program(source: &str) -> Program {
    let directory = tempfile::tempdir().expect("a temp dir");
    let path = directory.path().join("program");
    cc(source, &[], &path);
    Program {
        path,
        _directory: directory,
    }
}

/// Compiles a source of this repository to a shared library and returns its bytes. `WSHD_CFLAGS` adds options;
/// tests/sanitizers sets it.
#[track_caller]
pub(crate) fn compile(source: &str, options: &[&str]) -> Vec<u8> {
    let out = tempfile::tempdir().expect("a temp dir");
    let library = out.path().join("built.so");
    let flags = std::env::var("WSHD_CFLAGS").unwrap_or_default();
    let flags: Vec<&str> = flags.split_whitespace().collect();
    let options = [&["-shared", "-fPIC"], &flags[..], options].concat();
    cc(source, &options, &library);
    std::fs::read(&library).expect("the library")
}

/// Compiles `unruly.c`: a plugin that runs the code of each option in the callback that the option names.
#[track_caller]
pub(crate) fn unruly(options: &[&str]) -> Vec<u8> {
    compile("tests/fixtures/c/unruly.c", options)
}

#[track_caller]
fn cc(source: &str, options: &[&str], out: &Path) {
    // The package of this file is `wshd` or `abuse`.
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut above = package.filter(|it| it.join("Cargo.lock").exists());
    let repository = above.next().expect("the repository has a Cargo.lock");
    let compiled = Command::new("cc")
        .args(["-Wall", "-Wextra", "-Werror"])
        .args(options)
        .arg("-I")
        .arg(repository.join("plugin-api/include"))
        .arg("-o")
        .arg(out)
        .arg(repository.join(source))
        .status();
    let compiled =
        compiled.expect("there is no C compiler: install one, `apt-get install gcc libc6-dev`");
    assert!(compiled.success(), "cc compiles {source}");
}
