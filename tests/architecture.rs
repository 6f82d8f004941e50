//! What ARCHITECTURE.md says of the source is so.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const ARCHITECTURE: &str = include_str!("../ARCHITECTURE.md");

#[test]
fn a_module_uses_only_modules_of_its_own_folder_and_of_floors_below() {
    let floors = floors();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&source, &mut files);
    assert!(files.len() > 200, "only {} files were found", files.len());

    let mut faults = Vec::new();
    for file in files {
        let within = file.strip_prefix(&source).unwrap();
        let module = within.iter().next().unwrap().to_str().unwrap();
        let module = module.trim_end_matches(".rs");
        let Some(floor) = floors.get(module) else {
            faults.push(format!("`{module}` stands on no floor"));
            continue;
        };
        let text = fs::read_to_string(&file).unwrap();
        let code = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        for path in code.flat_map(|line| line.split("crate::").skip(1)) {
            let end = path.find(|c: char| !c.is_alphanumeric() && c != '_');
            let used = &path[..end.unwrap_or(path.len())];
            // Any test may use what is there for tests.
            let is_free = used == module || used == "testing";
            if !is_free && floors.get(used).is_none_or(|below| below <= floor) {
                faults.push(format!("{} uses `crate::{used}`", within.display()));
            }
        }
    }
    faults.sort();
    faults.dedup();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The modules in the list of ARCHITECTURE.md, each with the number of its floor: 1 is the highest.
fn floors() -> HashMap<&'static str, usize> {
    let section = ARCHITECTURE.split("## Floors").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let lines = section.lines().filter_map(|line| line.split_once(". "));
    lines
        .filter_map(|(number, names)| Some((number.parse().ok()?, names)))
        .flat_map(|(number, names): (usize, _)| names.split(", ").map(move |name| (name, number)))
        .collect()
}

#[test]
fn every_source_file_is_named_and_every_named_file_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut faults = Vec::new();

    for folder in ["plugin-api/src", "server/src"] {
        let section = ARCHITECTURE
            .split("\n## ")
            .find(|it| it.starts_with(folder));
        let named = names(section.unwrap_or_else(|| panic!("a section `{folder}`")));
        let files = modules(&root.join(folder));
        assert!(files.len() > 50, "only {} files were found", files.len());
        let unnamed = files.iter().filter(|file| !is_on(&named, file));
        faults.extend(unnamed.map(|file| format!("{folder}/{file}.rs is not named")));

        let beginnings: BTreeSet<&str> = files.iter().map(|file| beginning(file)).collect();
        let stale = named.iter().filter(|name| {
            let is_path = name.contains('/') && beginnings.contains(beginning(name));
            is_path && !files.contains(*name) && !root.join(folder).join(name).is_dir()
        });
        faults.extend(stale.map(|name| format!("{folder}/{name}.rs is not there")));
    }
    for path in names(ARCHITECTURE) {
        let is_path =
            ["docs", "plugin-api", "server", "tests", "handlers"].contains(&beginning(&path));
        let is_there = root.join(&path).exists() || root.join(format!("{path}.rs")).exists();
        if is_path && path.contains('/') && !is_there {
            faults.push(format!("{path} is not there"));
        }
    }

    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_repository_has_six_folders_at_its_top() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    // A folder of a developer's own may lie beside them.
    let listed = Command::new("git")
        .args(["ls-tree", "-d", "--name-only", "HEAD"])
        .current_dir(&root)
        .output();
    let listed = listed.expect("`git`, which this test asks for the folders");
    let listed = String::from_utf8(listed.stdout).unwrap();
    let names: BTreeSet<String> = listed
        .lines()
        .filter(|name| !name.starts_with('.'))
        .map(str::to_owned)
        .collect();

    let expected = [
        "config",
        "docs",
        "handlers",
        "plugin-api",
        "server",
        "tests",
    ];
    assert_eq!(names, expected.map(str::to_owned).into());
}

/// What stands in backticks, without `.rs` and without a last `/`: `a/{b, c}` is `a/b` and `a/c`.
fn names(text: &str) -> BTreeSet<String> {
    let quoted = text.split('`').skip(1).step_by(2);
    let expanded = quoted.flat_map(|name| match name.split_once('{') {
        Some((before, rest)) => {
            let (inside, after) = rest.split_once('}').unwrap_or((rest, ""));
            let parts = inside.split(',').map(str::trim);
            parts.map(|part| format!("{before}{part}{after}")).collect()
        }
        None => vec![name.to_owned()],
    });
    expanded
        .map(|name| {
            let name = name.trim_end_matches('/');
            name.strip_suffix(".rs").unwrap_or(name).to_owned()
        })
        .collect()
}

/// The modules below a folder, such as `session/receive`, without tests, which lie beside what they test.
fn modules(folder: &Path) -> BTreeSet<String> {
    let mut files = Vec::new();
    rust_files(folder, &mut files);
    let names = files.iter().map(|file| {
        let name = file.strip_prefix(folder).unwrap().with_extension("");
        name.to_str().unwrap().to_owned()
    });
    let is_test =
        |name: &String| name.split('/').any(|part| part == "tests") || name.ends_with("_tests");
    names.filter(|name| !is_test(name)).collect()
}

/// Whether a module is named, or its folder by what lies in it: `http` by `http/head`.
fn is_on(named: &BTreeSet<String>, module: &str) -> bool {
    let inside = format!("{module}/");
    named.contains(module) || named.iter().any(|name| name.starts_with(&inside))
}

fn beginning(path: &str) -> &str {
    path.split('/').next().unwrap_or(path)
}

fn rust_files(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("templates") {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}
