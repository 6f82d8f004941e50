//! Finds the `wshd` that a test starts.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

/// The program. The environment variable `WSHD` may name it. Otherwise it is the first that exists of the one beside the
/// test, the one that wrote this SDK, and those on `PATH`.
pub(super) fn wshd() -> Result<PathBuf, String> {
    let named = env::var_os(VARIABLE).filter(|named| !named.is_empty());
    if let Some(named) = named.map(PathBuf::from) {
        return if named.is_file() {
            Ok(named)
        } else {
            Err(format!(
                "`{VARIABLE}` names `{}`, which is no file; wanted is the program `wshd`",
                named.display()
            ))
        };
    }
    let test = env::current_exe().unwrap_or_default();
    let path = env::var_os("PATH").unwrap_or_default();
    let noted = noted(Path::new(env!("CARGO_MANIFEST_DIR")));
    first(&candidates(&test, noted, &path, env::home_dir())).ok_or_else(|| {
        format!(
            "cannot find `wshd`, which this test starts: it is neither beside the test nor on PATH; \
             install it with `cargo install --path server` in a clone of its repository, or name it: \
             `{VARIABLE}=/path/to/wshd cargo test`"
        )
    })
}

/// The paths at which the program may be, in the order in which they are tried.
fn candidates(
    test: &Path,
    noted: Option<PathBuf>,
    path: &OsStr,
    home: Option<PathBuf>,
) -> Vec<PathBuf> {
    // The test is `target/debug/deps/hello_wsh-0123`, the program `target/debug/wshd`.
    let beside = test.ancestors().skip(1).take(2);
    let on_path = env::split_paths(path).filter(|directory| directory.is_absolute());
    let of_cargo = home.map(|home| home.join(".cargo/bin"));
    beside
        .map(|directory| directory.join("wshd"))
        .chain(noted)
        .chain(
            on_path
                .chain(of_cargo)
                .map(|directory| directory.join("wshd")),
        )
        .collect()
}

fn first(candidates: &[PathBuf]) -> Option<PathBuf> {
    candidates.iter().find(|path| path.is_file()).cloned()
}

/// The program that wrote the SDK in the directory `sdk`, by its own note there.
fn noted(sdk: &Path) -> Option<PathBuf> {
    let note = fs::read_to_string(sdk.join("sdk.toml")).ok()?;
    let line = note.lines().find_map(|line| line.strip_prefix("wshd = "))?;
    Some(line.trim_matches('"').into())
}

const VARIABLE: &str = "WSHD";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_looked_for_beside_the_test_then_where_the_sdk_came_from_then_on_path() {
        let found = candidates(
            Path::new("target/debug/deps/hello_wsh-0123"),
            Some("/opt/wshd/wshd".into()),
            OsStr::new("/usr/bin::bin:/bin"),
            Some("home".into()),
        );

        let found: Vec<_> = found.iter().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(
            found,
            [
                "target/debug/deps/wshd",
                "target/debug/wshd",
                "/opt/wshd/wshd",
                "/usr/bin/wshd",
                "/bin/wshd",
                "home/.cargo/bin/wshd",
            ]
        );
    }
}
