//! Finds includes that would hold up a compiler: opening a FIFO waits for ever, and a device has no end.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::sources::SOURCE_BYTES_MAX;
use crate::process::regular_file::{self, Links};

/// Why a compiler should not read these sources: the first file without an end among them and what they
/// include, as far as their text says so. The compiler itself tells of files that cannot be opened.
///
/// Headers are searched for beside the file that includes them, and then in `directories`.
pub(super) fn unreadable(sources: &[PathBuf], directories: &[PathBuf]) -> Option<String> {
    let mut seen = BTreeSet::new();
    let mut left: Vec<(PathBuf, Option<PathBuf>)> =
        sources.iter().rev().map(|it| (it.clone(), None)).collect();
    while let Some((file, by)) = left.pop() {
        if !seen.insert(file.clone()) || seen.len() > FILES_MAX {
            continue;
        }
        if let Some(why) = fault(&file, by.as_deref()) {
            return Some(why);
        }
        let Ok(read) = regular_file::read(&file, Links::Followed, SOURCE_BYTES_MAX) else {
            continue;
        };
        let text = String::from_utf8_lossy(&read.bytes);
        let own = file.parent().map(Path::to_owned);
        for include in text.lines().filter_map(include) {
            let own = own.iter().filter(|_| include.is_quoted);
            let mut places = own.chain(directories).map(|it| it.join(include.name));
            // The compiler passes over a directory of that name too.
            let found = places.find(|place| fs::metadata(place).is_ok_and(|it| !it.is_dir()));
            left.extend(found.map(|found| (found, Some(file.clone()))));
        }
    }
    None
}

/// A line `#include "x.h"` or `#include <x.h>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Include<'a> {
    name: &'a str,
    is_quoted: bool,
}

fn include(line: &str) -> Option<Include<'_>> {
    let directive = line.trim_start().strip_prefix('#')?.trim_start();
    let argument = directive
        .strip_prefix("include_next")
        .or_else(|| directive.strip_prefix("include"))
        .or_else(|| directive.strip_prefix("import"))
        .or_else(|| directive.strip_prefix("embed"))?;
    let argument = argument.trim_start();
    let quoted = argument.strip_prefix('"').and_then(|it| it.split_once('"'));
    let bracketed = || argument.strip_prefix('<').and_then(|it| it.split_once('>'));
    match quoted {
        Some((name, _)) => Some(Include {
            name,
            is_quoted: true,
        }),
        None => bracketed().map(|(name, _)| Include {
            name,
            is_quoted: false,
        }),
    }
}

fn fault(file: &Path, by: Option<&Path>) -> Option<String> {
    let metadata = fs::metadata(file).ok()?;
    let max = match by {
        None => SOURCE_BYTES_MAX,
        Some(_) => INCLUDED_BYTES_MAX,
    };
    let checked = regular_file::check_kind(&metadata)
        .and_then(|()| regular_file::check_length(metadata.len(), max));
    let why = checked.err()?;
    let name = shown(file);
    Some(match by.map(shown) {
        None => format!("not built: `{name}`: {why}"),
        Some(by) => format!("not built: `{name}`, which `{by}` includes: {why}"),
    })
}

fn shown(file: &Path) -> String {
    let name = file.file_name().unwrap_or(OsStr::new(""));
    name.display().to_string()
}

/// The directories of the options in `words` that a compiler searches for headers, as absolute paths.
pub(super) fn searched(words: &[String], directory: &Path) -> Vec<PathBuf> {
    let mut searched = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let option = ["-iquote", "-isystem", "-idirafter", "-I"];
        let Some(path) = option.iter().find_map(|option| word.strip_prefix(option)) else {
            continue;
        };
        let path = match path {
            "" => words.next().map(String::as_str),
            path => Some(path),
        };
        searched.extend(path.map(|path| directory.join(path)));
    }
    searched
}

/// How large an included file may be. It may be a picture.
const INCLUDED_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How many files are looked at for one build.
const FILES_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    use std::process::Command;

    #[test]
    fn what_a_source_includes_is_read_off_its_lines() {
        let quoted = |name| {
            Some(Include {
                name,
                is_quoted: true,
            })
        };
        let bracketed = |name| {
            Some(Include {
                name,
                is_quoted: false,
            })
        };
        for (line, found) in [
            ("#include \"x.h\"", quoted("x.h")),
            ("  #  include <a/x.h> // why", bracketed("a/x.h")),
            ("#include_next <x.h>", bracketed("x.h")),
            ("#embed \"picture.png\" limit(4)", quoted("picture.png")),
            ("#include NAME", None),
            ("// #include \"x.h\"", None),
            ("#define include \"x.h\"", None),
            ("#include \"x.h", None),
        ] {
            assert_eq!(include(line), found, "{line}");
        }
    }

    #[test]
    fn headers_are_searched_for_where_the_flags_say() {
        let words = ["-O2", "-Ione", "-I", "two", "-isystem/three", "-DI=4", "-I"];
        let words = words.map(str::to_owned);

        let found = searched(&words, Path::new("/at"));

        assert_eq!(found, ["/at/one", "/at/two", "/three"].map(PathBuf::from));
    }

    #[test]
    fn a_header_that_would_hold_up_the_compiler_is_named_with_what_includes_it() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::create_dir(at("elsewhere")).unwrap();
        for fifo in ["fifo.h", "elsewhere/far.h", "unused.h"] {
            let made = Command::new("mkfifo").arg(at(fifo)).status();
            assert!(made.expect("mkfifo, of coreutils, runs").success());
        }
        std::os::unix::fs::symlink("/dev/zero", at("device.inc")).unwrap();
        let huge = fs::File::create(at("huge.h")).unwrap();
        huge.set_len(INCLUDED_BYTES_MAX + 1).unwrap();
        fs::create_dir(at("directory.h")).unwrap();
        // The headers include each other in circles, as headers with guards may.
        fs::write(at("plain.h"), "#include \"plain.h\"\n#include \"deep.h\"\n").unwrap();
        fs::write(at("deep.h"), "#include <far.h>\n").unwrap();
        let none: &[PathBuf] = &[];
        let elsewhere = &[at("elsewhere")][..];
        for (text, directories, why) in [
            (
                "#include \"fifo.h\"",
                none,
                Some("`fifo.h`, which `x.c` includes: it is a FIFO"),
            ),
            (
                "#include \"device.inc\"",
                none,
                Some("`device.inc`, which `x.c` includes: it is a device"),
            ),
            (
                "#include \"huge.h\"",
                none,
                Some("`huge.h`, which `x.c` includes: it has 67108865 bytes"),
            ),
            (
                "#include \"plain.h\"",
                elsewhere,
                Some("`far.h`, which `deep.h` includes: it is a FIFO"),
            ),
            ("#include \"plain.h\"", none, None),
            ("#include <fifo.h>", none, None),
            ("#include \"directory.h\"\n#include \"gone.h\"", none, None),
        ] {
            fs::write(at("x.c"), text).unwrap();
            let told = unreadable(&[at("x.c")], directories);
            match why {
                None => assert_eq!(told, None, "{text}"),
                Some(why) => {
                    let told = told.unwrap_or_default();
                    assert!(told.starts_with(&format!("not built: {why}")), "{told}");
                }
            }
        }
    }
}
