//! The languages besides Rust that handlers are built from: which files are in them, and what compiles
//! them.

use std::fmt;
use std::path::Path;

/// What a handler that is no crate is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    C,
    Cpp,
}

impl Language {
    /// The language of a source file, by its name; `None` for headers too.
    pub(crate) fn of(file: &Path) -> Option<Language> {
        match file.extension()?.to_str()? {
            "c" => Some(Language::C),
            "cc" | "cpp" | "cxx" => Some(Language::Cpp),
            _ => None,
        }
    }

    /// The variable that names the compiler, and the compiler where it names none.
    pub(super) fn compiler(self) -> (&'static str, &'static str) {
        match self {
            Language::C => ("CC", "cc"),
            Language::Cpp => ("CXX", "c++"),
        }
    }

    /// The variables whose words the compiler is given before the sources.
    pub(super) fn flags(self) -> [&'static str; 2] {
        match self {
            Language::C => ["CPPFLAGS", "CFLAGS"],
            Language::Cpp => ["CPPFLAGS", "CXXFLAGS"],
        }
    }

    /// The standard that the Makefile of `wshd new` names; a later `-std` takes its place.
    pub(super) fn standard(self) -> Option<&'static str> {
        match self {
            Language::C => None,
            Language::Cpp => Some("-std=c++17"),
        }
    }

    /// How its source files end, for a sentence.
    pub(super) fn endings(self) -> &'static str {
        match self {
            Language::C => "`.c` files",
            Language::Cpp => "`.cc`, `.cpp` and `.cxx` files",
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Language::C => "C",
            Language::Cpp => "C++",
        })
    }
}

/// Whether a file is there to be included in others.
pub(crate) fn is_header(file: &Path) -> bool {
    let ending = file.extension().and_then(|ending| ending.to_str());
    matches!(ending, Some("h" | "hh" | "hpp" | "hxx" | "inc"))
}
