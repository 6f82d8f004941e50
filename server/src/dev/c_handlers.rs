//! Which files at or below a directory are handlers in C or C++.
//!
//! A source file with a line that begins with `WSH_DEFINE` is a handler of the file's name. It is compiled
//! together with the files of its language beside it that have no such line. C inside of a crate belongs
//! to that crate.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cc;
use super::handler::{HandlerSource, Recipe, SUFFIX};
use super::language::Language;
use super::sources::SOURCE_BYTES_MAX;
use super::tree;
use crate::process::regular_file::{self, Links};

/// The handlers in C and C++ below a directory.
#[derive(Debug, Default)]
pub(crate) struct CHandlers {
    pub(crate) handlers: Vec<HandlerSource>,
    /// A sentence for each file that is left out, with the reason.
    pub(crate) complaints: Vec<String>,
}

pub(crate) fn find(root: &Path) -> CHandlers {
    let mut directories = BTreeMap::<PathBuf, Vec<PathBuf>>::new();
    let tree = tree::package(root);
    let irregular = tree.complaints(tree::is_c);
    for file in tree.files {
        if let Some(directory) = file.parent().filter(|_| tree::is_c(&file)) {
            let files = directories.entry(directory.to_owned()).or_default();
            files.push(file);
        }
    }
    let mut found = CHandlers::default();
    for (directory, files) in directories {
        let (defining, common): (Vec<PathBuf>, Vec<PathBuf>) =
            files.into_iter().partition(|file| defines_handler(file));
        found.complaints.extend(left_out(&defining, &common));
        for origin in defining {
            let Some(stem) = origin.file_stem().and_then(|stem| stem.to_str()) else {
                continue;
            };
            let name = stem.strip_suffix(SUFFIX).unwrap_or(stem);
            let mut sources = vec![origin.clone()];
            let is_same = |file: &&PathBuf| Language::of(file) == Language::of(&origin);
            sources.extend(common.iter().filter(is_same).cloned());
            found.handlers.push(HandlerSource {
                name: format!("{name}{SUFFIX}"),
                recipe: Recipe::Cc { sources },
                has_script: false,
                has_macro: false,
                parts: parts_of(&directory),
                shared: Arc::default(),
                origin,
            });
        }
    }
    found.complaints.extend(irregular);
    found
}

/// The directory of a handler, and the directory of headers that it shares with other handlers.
fn parts_of(directory: &Path) -> BTreeSet<PathBuf> {
    let mut parts = BTreeSet::from([directory.to_owned()]);
    let headers = cc::own_headers(directory).map(|own| directory.join(own));
    // Without the `..` in it: changes are told by real paths.
    parts.extend(headers.and_then(|headers| headers.canonicalize().ok()));
    parts
}

/// A sentence for each file beside a handler that is in another language and belongs to no handler.
fn left_out(defining: &[PathBuf], common: &[PathBuf]) -> Vec<String> {
    let languages = defining.iter().filter_map(|file| Language::of(file));
    let languages: Vec<Language> = languages.collect();
    let (Some(first), Some(of_first)) = (languages.first(), defining.first()) else {
        return Vec::new();
    };
    let is_left_out =
        |file: &&PathBuf| Language::of(file).is_some_and(|it| !languages.contains(&it));
    let complaint = |file: &PathBuf| {
        format!(
            "`{}` is left out: {} is in {first}, and is built from the {} beside it",
            file.display(),
            of_first.display(),
            first.endings()
        )
    };
    common.iter().filter(is_left_out).map(complaint).collect()
}

fn defines_handler(file: &Path) -> bool {
    let Ok(read) = regular_file::read(file, Links::Followed, SOURCE_BYTES_MAX) else {
        return false;
    };
    let mut lines = read.bytes.split(|byte| *byte == b'\n');
    lines.any(|line| line.starts_with(b"WSH_DEFINE"))
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs;

    #[test]
    fn each_definition_is_a_handler_with_what_lies_beside_it() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let write = |file: &str, text: &str| {
            let file = root.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, text).unwrap();
            file
        };
        let definition = "#include <wsh.h>\nWSH_DEFINE(\"x\", \"1\", init);\n";
        let tea = write("rooms/tea.c", definition);
        let common = write("rooms/common.c", "/* WSH_DEFINE is elsewhere */\n");
        let milk = write("rooms/milk_wsh.c", definition);
        let juice = write("bar/juice.cxx", definition);
        let ice = write("bar/ice.cc", "int ice;\n");
        let plain = write("bar/plain.c", "int plain;\n");
        let cola = write("rooms/cola.cpp", definition);
        write("rooms/tests/check.c", "int main(void) { return 0; }\n");
        write("crate/Cargo.toml", "");
        write("crate/src/of_a_crate.c", definition);
        // Reading these would never end.
        std::os::unix::fs::symlink("/dev/zero", root.join("rooms/endless.c")).unwrap();
        let fifo = root.join("rooms/fifo.c");
        let made = std::process::Command::new("mkfifo").arg(fifo).status();
        assert!(made.expect("mkfifo, of coreutils, runs").success());

        let all = find(&root);
        let found: Vec<(String, Vec<PathBuf>)> = all
            .handlers
            .into_iter()
            .map(|handler| match handler.recipe {
                Recipe::Cc { sources } => (handler.name, sources),
                Recipe::Cargo { .. } => panic!("{handler:?}"),
            })
            .collect();

        assert_eq!(
            found,
            [
                ("juice_wsh".to_owned(), vec![juice.clone(), ice]),
                ("cola_wsh".to_owned(), vec![cola]),
                ("milk_wsh".to_owned(), vec![milk, common.clone()]),
                ("tea_wsh".to_owned(), vec![tea, common]),
            ]
        );
        assert_eq!(
            all.complaints,
            [
                format!(
                    "`{}` is left out: {} is in C++, and is built from the `.cc`, `.cpp` and `.cxx` files \
                     beside it",
                    plain.display(),
                    juice.display()
                ),
                format!(
                    "`{}` is left out: it is a device, wanted is a regular file",
                    root.join("rooms/endless.c").display()
                ),
                format!(
                    "`{}` is left out: it is a FIFO, wanted is a regular file",
                    root.join("rooms/fifo.c").display()
                ),
            ]
        );
    }
}
