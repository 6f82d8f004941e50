//! Which files at or below a directory are handlers in C.
//!
//! A C file with a line that begins with `WSH_DEFINE` is a handler of the file's name. It is compiled
//! together with those beside it that have no such line. C inside of a crate below is that crate's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::crates::{HandlerCrate, Recipe, SUFFIX};
use super::sources::SOURCE_BYTES_MAX;
use super::tree;
use crate::regular_file::{self, Links};

pub(crate) fn find(root: &Path) -> Vec<HandlerCrate> {
    let mut directories = BTreeMap::<PathBuf, Vec<PathBuf>>::new();
    for file in tree::package(root).files {
        if let Some(directory) = file.parent().filter(|_| tree::is_c(&file)) {
            let files = directories.entry(directory.to_owned()).or_default();
            files.push(file);
        }
    }
    let mut handlers = Vec::new();
    for (directory, files) in directories {
        let (defining, common): (Vec<PathBuf>, Vec<PathBuf>) =
            files.into_iter().partition(|file| defines_handler(file));
        for origin in defining {
            let Some(stem) = origin.file_stem().and_then(|stem| stem.to_str()) else {
                continue;
            };
            let name = stem.strip_suffix(SUFFIX).unwrap_or(stem);
            let mut sources = vec![origin.clone()];
            sources.extend(common.iter().cloned());
            handlers.push(HandlerCrate {
                name: format!("{name}{SUFFIX}"),
                recipe: Recipe::Cc { sources },
                has_script: false,
                has_macro: false,
                parts: BTreeSet::from([directory.clone()]),
                shared: Arc::default(),
                origin,
            });
        }
    }
    handlers
}

/// Whether a file is there to be included in others.
pub(crate) fn is_header(file: &Path) -> bool {
    let ending = file.extension().and_then(|ending| ending.to_str());
    matches!(ending, Some("h" | "inc"))
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
        write("rooms/tests/check.c", "int main(void) { return 0; }\n");
        write("crate/Cargo.toml", "");
        write("crate/src/of_a_crate.c", definition);
        // A compiler, and whatever looks for the definition, would read these for ever.
        std::os::unix::fs::symlink("/dev/zero", root.join("rooms/endless.c")).unwrap();
        let fifo = root.join("rooms/fifo.c");
        let made = std::process::Command::new("mkfifo").arg(fifo).status();
        assert!(made.expect("mkfifo, of coreutils, runs").success());

        let found: Vec<(String, Vec<PathBuf>)> = find(&root)
            .into_iter()
            .map(|handler| match handler.recipe {
                Recipe::Cc { sources } => (handler.name, sources),
                Recipe::Cargo { .. } => panic!("{handler:?}"),
            })
            .collect();

        assert_eq!(
            found,
            [
                ("milk_wsh".to_owned(), vec![milk, common.clone()]),
                ("tea_wsh".to_owned(), vec![tea, common]),
            ]
        );
    }
}
