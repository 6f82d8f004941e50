//! What ARCHITECTURE.md says of the source is so.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

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
