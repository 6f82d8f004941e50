//! The files of a new handler, for each style.

use std::fmt;

use super::manifest;
use crate::config::Style;

impl Style {
    /// The path of the file with the handler.
    pub(crate) fn handler_file(self, name: &str) -> String {
        match self {
            Style::C => format!("{name}.c"),
            Style::Cpp => format!("{name}.cpp"),
            _ => "src/lib.rs".to_owned(),
        }
    }

    /// The command that runs the handler's test, in its directory.
    pub(crate) fn test_command(self) -> &'static str {
        match self {
            Style::C | Style::Cpp => "make check",
            _ => "cargo test",
        }
    }

    /// Whether the handler is a crate.
    pub(crate) fn is_rust(self) -> bool {
        !matches!(self, Style::C | Style::Cpp)
    }

    /// Whether the handler needs this file of the SDK.
    pub(crate) fn needs(self, file: &str) -> bool {
        self.is_rust() || file.starts_with("include/") || file.starts_with("LICENSE-")
    }

    /// The paths and texts of all files, without the SDK.
    pub(crate) fn files(self, name: &str, sdk: &str) -> Vec<(String, String)> {
        let handler = match self {
            Style::Event => include_str!("templates/events.rs"),
            Style::Async => include_str!("templates/async.rs"),
            Style::Blocking => include_str!("templates/blocking.rs"),
            Style::C => include_str!("templates/handler.c"),
            Style::Cpp => include_str!("templates/handler.cpp"),
        };
        let page = include_str!("templates/index.html");
        let handler_file = self.handler_file(name);
        let mut files = vec![(handler_file.as_str(), handler), ("www/index.html", page)];
        files.extend(match self {
            Style::C => [
                ("README.md", include_str!("templates/README.c.md")),
                (".gitignore", "/build/\n"),
                ("Makefile", include_str!("templates/Makefile.c.txt")),
                ("tests/check.c", include_str!("templates/check.c")),
            ]
            .to_vec(),
            Style::Cpp => [
                ("README.md", include_str!("templates/README.cpp.md")),
                (".gitignore", "/build/\n"),
                ("Makefile", include_str!("templates/Makefile.cpp.txt")),
                ("tests/check.cpp", include_str!("templates/check.cpp")),
            ]
            .to_vec(),
            _ => [
                ("README.md", include_str!("templates/README.rust.md")),
                (".gitignore", "/target/\n"),
                ("Cargo.toml", include_str!("templates/Cargo.toml.txt")),
            ]
            .to_vec(),
        });
        let edition = manifest::edition();
        let fill = |(file, text): (&str, &str)| {
            let text = text.replace("{{name}}", name).replace("{{sdk}}", sdk);
            (file.to_owned(), text.replace("{{edition}}", &edition))
        };
        files.into_iter().map(fill).collect()
    }
}

impl fmt::Display for Style {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Style::Event => "a handler of events",
            Style::Async => "an async handler",
            Style::Blocking => "a blocking handler",
            Style::C => "a handler in C",
            Style::Cpp => "a handler in C++",
        })
    }
}
