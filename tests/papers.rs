//! The table of claims in tests/README.md names only what exists, and every file of tests. So does the one of the fuzz targets.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What stands between backticks in the column `shown by`.
fn shown_by() -> Vec<String> {
    let readme = fs::read_to_string(root().join("tests/README.md")).expect("the README");
    let (_, claims) = readme.split_once("\n## What is claimed").expect("claims");
    let claims = claims.split("\n## ").next().unwrap_or_default();
    let rows = claims.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.trim_end_matches('|').rsplit('|').next());
    cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned))
        .collect()
}

/// Every file below a directory that ends so.
fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => files(&path, ending),
            false => vec![path],
        })
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .collect()
}

#[test]
fn every_test_and_file_in_the_table_of_claims_exists() {
    let shown_by = shown_by();
    assert!(shown_by.len() > 80, "{shown_by:?}");
    let tests = ["tests", "plugin-api/tests", "plugin-api/src", "server/src"];
    let tests: Vec<String> = tests
        .iter()
        .flat_map(|directory| files(&root().join(directory), ".rs"))
        .map(|path| fs::read_to_string(path).expect("a source"))
        .collect();

    for shown in shown_by {
        let exists = match shown.split(' ').next() {
            Some(path) if path.contains('/') => root().join(path).exists(),
            _ => {
                let function = format!("fn {shown}(");
                tests.iter().any(|source| source.contains(&function))
            }
        };
        assert!(
            exists,
            "tests/README.md names `{shown}`, which does not exist"
        );
    }
}

#[test]
fn every_file_of_integration_tests_is_in_the_table_of_claims() {
    let shown_by = shown_by();
    let main = fs::read_to_string(root().join("tests/main.rs")).expect("tests/main.rs");
    let modules = main.lines().filter_map(|line| line.strip_prefix("mod "));
    let modules: Vec<&str> = modules
        .map(|module| module.trim_end_matches(';'))
        .filter(|module| *module != "harness")
        .collect();
    assert!(modules.len() > 50, "{modules:?}");

    for module in modules {
        let file = format!("tests/{module}.rs");
        assert!(
            shown_by.contains(&file),
            "tests/README.md says of no claim that `{file}` shows it"
        );
    }
}

#[test]
fn every_test_that_is_left_out_under_a_sanitizer_exists() {
    let lists = files(&root().join("tests/sanitizers"), ".left_out");
    assert_eq!(lists.len(), 2, "{lists:?}");
    for list in lists {
        let list = fs::read_to_string(list).expect("a list");
        for line in list.lines().filter(|line| !line.starts_with('#')) {
            let (name, reason) = line.split_once("  ").expect("a name and a reason");
            assert!(reason.ends_with('.'), "{line}");
            let (module, test) = name.rsplit_once("::").expect("a module");
            let source = root().join(format!("tests/{}.rs", module.replace("::", "/")));
            let source = fs::read_to_string(source).expect("its module is there");
            assert!(
                test.is_empty() || source.contains(&format!("fn {test}(")),
                "{name} does not exist"
            );
        }
    }
}

#[test]
fn every_fuzz_target_calls_a_function_that_exists_and_is_in_the_table() {
    let read = |path: &str| fs::read_to_string(root().join(path)).expect("a file");
    let functions = read("server/src/testing/fuzzing.rs");
    let (manifest, readme) = (read("tests/fuzz/Cargo.toml"), read("tests/fuzz/README.md"));
    let targets = files(&root().join("tests/fuzz/fuzz_targets"), ".rs");
    assert!(targets.len() > 5, "{targets:?}");

    for target in targets {
        let name = target.file_stem().expect("a name").to_string_lossy();
        let source = fs::read_to_string(&target).expect("a source");
        let call = format!("wshd::testing::fuzzing::{name}(data)");
        assert!(source.contains(&call), "{name} does not call `{call}`");
        for (text, wanted) in [
            (&functions, format!("pub fn {name}(data: &[u8])")),
            (&manifest, format!("name = \"{name}\"")),
            (&readme, format!("| `{name}` |")),
        ] {
            assert!(text.contains(&wanted), "{name}: `{wanted}` is missing");
        }
    }
}
