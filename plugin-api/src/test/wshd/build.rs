//! Builds the library of the crate that is tested, for a server to load: `cargo test` does not build it.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
};

use crate::abi::Descriptor;

/// The name of a handler, such as `hello`, in the form that its library has.
pub(super) fn name_of(handler: &Descriptor) -> String {
    let name = handler.name.split(|byte| *byte == 0).next();
    String::from_utf8_lossy(name.unwrap_or_default()).replace('-', "_")
}

/// The path of the handler's library. It is built once for all tests of a process.
pub(super) fn library(name: &str) -> Result<PathBuf, String> {
    static BUILT: Mutex<Option<Result<PathBuf, String>>> = Mutex::new(None);
    let mut built = BUILT
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    built.get_or_insert_with(|| build(name)).clone()
}

fn build(name: &str) -> Result<PathBuf, String> {
    let package =
        env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from("."), PathBuf::from);
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(&cargo);
    for (variable, _) in env::vars_os() {
        if is_of_this_package(&variable) {
            command.env_remove(variable);
        }
    }
    command
        .args([
            "build",
            "--lib",
            "--message-format",
            "json-render-diagnostics",
        ])
        .args(profile(&env::current_exe().unwrap_or_default()))
        .current_dir(&package)
        .stdin(Stdio::null());
    let cargo = cargo.display();
    let built = command
        .output()
        .map_err(|error| format!("cannot run `{cargo}`, which builds the handler: {error}"))?;
    if !built.status.success() {
        let said = String::from_utf8_lossy(&built.stderr);
        return Err(format!("the handler cannot be built:\n{said}"));
    }
    let messages = String::from_utf8_lossy(&built.stdout);
    artifact(&messages, &format!("lib{name}_wsh.so")).ok_or_else(|| {
        format!(
            "the package in `{}` builds no `lib{name}_wsh.so`: wanted are a name `{name}_wsh` and \
             `crate-type = [\"cdylib\"]` in its Cargo.toml",
            package.display()
        )
    })
}

/// Whether an environment variable is one that cargo sets for the package of the test, which another cargo must not see.
fn is_of_this_package(variable: &OsStr) -> bool {
    let Some(name) = variable.to_str() else {
        return false;
    };
    let of_package = [
        "CARGO_CRATE_NAME",
        "CARGO_BIN_NAME",
        "CARGO_PRIMARY_PACKAGE",
        "OUT_DIR",
    ];
    of_package.contains(&name)
        || name.starts_with("CARGO_PKG_")
        || name.starts_with("CARGO_MANIFEST_")
        || name.starts_with("CARGO_BIN_EXE_")
}

/// The flag for the profile that the test was built with, so that nothing is built twice.
fn profile(test: &Path) -> Option<String> {
    // `target/release/deps/hello_wsh-0123`
    let profile = test.parent()?.parent()?.file_name()?.to_str()?;
    (profile == "release").then(|| "--release".to_owned())
}

/// The path of the file with this name among those that cargo has built.
fn artifact(messages: &str, file: &str) -> Option<PathBuf> {
    let end = format!("/{file}\"");
    let line = messages
        .lines()
        .find(|line| line.contains(r#""reason":"compiler-artifact""#) && line.contains(&end))?;
    let (_, files) = line.split_once(r#""filenames":["#)?;
    // JSON escapes backslashes.
    let files = files.replace("\\\\", "\\");
    let paths = files
        .split("\",\"")
        .map(|path| path.trim_matches(|it| "\"]".contains(it)));
    let mut paths = paths.map(|path| path.split("\"]").next().unwrap_or(path));
    paths
        .find(|path| path.ends_with(&format!("/{file}")))
        .map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_found_among_what_cargo_made() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"wsh"},"filenames":["/t/libwsh.rlib"]}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"kind":["cdylib","rlib"]},"filenames":["/t/a b/libhello_wsh.so","/t/libhello_wsh.rlib"],"executable":null,"fresh":true}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );

        let found = artifact(messages, "libhello_wsh.so");

        assert_eq!(found, Some("/t/a b/libhello_wsh.so".into()));
        assert_eq!(artifact(messages, "libother_wsh.so"), None);
    }

    #[test]
    fn the_profile_of_the_test_is_that_of_the_handler() {
        let of = |test: &str| profile(Path::new(test));
        assert_eq!(of("/t/debug/deps/hello-1"), None);
        assert_eq!(
            of("/t/x86_64-unknown-linux-gnu/release/deps/hello-1"),
            Some("--release".into())
        );
        assert_eq!(of("hello"), None);
    }
}
