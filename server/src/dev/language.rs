//! The languages of handlers besides Rust: which files are in them, and what compiles them.

use std::fmt;
use std::path::Path;

/// The language of a handler that is not a crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    C,
    Cpp,
}

impl Language {
    /// The language of a source file, by its name. `None` for headers and for other files.
    pub(crate) fn of(file: &Path) -> Option<Language> {
        match file.extension()?.to_str()? {
            "c" => Some(Language::C),
            "cc" | "cpp" | "cxx" => Some(Language::Cpp),
            _ => None,
        }
    }

    /// The variable that names the compiler, and the compiler when the variable is not set.
    pub(super) fn compiler(self) -> (&'static str, &'static str) {
        match self {
            Language::C => ("CC", "cc"),
            Language::Cpp => ("CXX", "c++"),
        }
    }

    /// The variables whose words stand before the sources on the compiler's command line.
    pub(super) fn flags(self) -> [&'static str; 2] {
        match self {
            Language::C => ["CPPFLAGS", "CFLAGS"],
            Language::Cpp => ["CPPFLAGS", "CXXFLAGS"],
        }
    }

    /// The option for the language standard, as in the Makefile of `wshd new`. A later `-std` overrides it.
    pub(super) fn standard(self) -> Option<&'static str> {
        match self {
            Language::C => None,
            Language::Cpp => Some("-std=c++17"),
        }
    }

    /// The endings of source files, for a sentence.
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

/// Whether a file is a header, by its name.
pub(crate) fn is_header(file: &Path) -> bool {
    let ending = file.extension().and_then(|ending| ending.to_str());
    matches!(ending, Some("h" | "hh" | "hpp" | "hxx" | "inc"))
}
