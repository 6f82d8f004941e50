//! The C compiler of this machine.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// A compiler, and the standard of the language that it checks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Language {
    compiler: &'static str,
    standard: &'static str,
    package: &'static str,
}

pub(crate) const C99: Language = Language {
    compiler: "cc",
    standard: "-std=c99",
    package: "gcc",
};
pub(crate) const CPP11: Language = Language {
    compiler: "c++",
    standard: "-std=c++11",
    package: "g++",
};

/// Every language that the header is clean in.
pub(crate) fn languages() -> impl Iterator<Item = (Language, &'static str)> {
    let of = |compiler, package, extension, standards: &'static [&'static str]| {
        standards.iter().map(move |standard| {
            let language = Language {
                compiler,
                standard,
                package,
            };
            (language, extension)
        })
    };
    of("gcc", "gcc", "c", C)
        .chain(of("g++", "g++", "cpp", CPP))
        .chain(of("clang", "clang", "c", C))
        .chain(of("clang++", "clang", "cpp", CPP))
}

const C: &[&str] = &["-std=c99", "-std=c11", "-std=c17", "-std=c2x"];
const CPP: &[&str] = &[
    "-std=c++11",
    "-std=c++14",
    "-std=c++17",
    "-std=c++20",
    "-std=c++2b",
];

/// Compiles a source against `wsh.h`. A warning is an error.
pub(crate) fn compile(language: Language, source: &Path, output: &Path, flags: &[&str]) {
    let Language {
        compiler,
        standard,
        package,
    } = language;
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("include");
    let mut command = Command::new(compiler);
    command.args([standard, "-Wall", "-Wextra", "-Wpedantic", "-Werror"]);
    command.args(["-Wconversion", "-Wshadow"]);
    command.args(flags).arg("-I").arg(include);
    command.arg("-o").arg(output).arg(source);
    match command.status() {
        Ok(status) => assert!(status.success(), "{command:?}: {status}"),
        Err(error) => panic!(
            "cannot run `{compiler}`: {error}; this test compiles C: install {package}, \
             on Debian with `apt-get install {package}`"
        ),
    }
}

/// A path for a file of a test.
pub(crate) fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}
