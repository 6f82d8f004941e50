//! Reads what cargo tells of a build: on stdout a line of JSON for each message, on stderr text for people.
//!
//! The terminal shows what cargo would have shown. Errors are also kept, package by package, for open
//! pages.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, BufRead};
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::time::{Duration, SystemTime};

use super::cargo_json::CargoMessage;

/// The result of a build.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Built {
    /// The plugins, by package.
    artifacts: BTreeMap<String, Artifact>,
    /// The compiler's errors, by package.
    errors: BTreeMap<String, String>,
    /// What cargo itself wrote, from its first error on.
    words: String,
    /// When cargo told that the last build script had run.
    pub(crate) scripts_ended: Option<SystemTime>,
}

/// A library that a build has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Artifact {
    pub(crate) library: PathBuf,
    /// Whether the library was up to date before the build.
    pub(crate) is_fresh: bool,
}

impl Built {
    /// The result of a build that did not happen, and why.
    pub(crate) fn nothing(why: &str) -> Built {
        Built {
            words: why.to_owned(),
            ..Built::default()
        }
    }

    /// The plugin of a package, or the text that says why there is none.
    pub(crate) fn of(&self, package: &str) -> Result<Artifact, String> {
        if let Some(artifact) = self.artifacts.get(package) {
            return Ok(artifact.clone());
        }
        if let Some(errors) = self.errors.get(package) {
            return Err(errors.clone());
        }
        // A dependency may not have been built. Errors of packages with a plugin do not matter.
        let errors = self.errors.iter();
        let errors = errors.filter(|(package, _)| !self.artifacts.contains_key(*package));
        let errors: Vec<&str> = errors.map(|(_, text)| text.as_str()).collect();
        match errors.is_empty() {
            false => Err(errors.join("\n")),
            true => Err(self.words.clone()),
        }
    }
}

/// Reads both streams of a build to its end. `show` gets the compiler's messages; the lines of `stderr`
/// were shown already.
pub(crate) fn read(
    stdout: impl BufRead,
    stderr: &Receiver<String>,
    show: impl Fn(&str),
) -> io::Result<Built> {
    let mut built = Built::default();
    for line in stdout.lines() {
        // Other lines are those of a build script or a procedural macro.
        let Ok(message) = serde_json::from_str::<CargoMessage>(&line?) else {
            continue;
        };
        if built.add(message, &show) {
            break;
        }
    }
    let mut lines = Vec::new();
    // With a limit: a daemon that the build has left behind may hold the pipe open for ever.
    while let Ok(line) = stderr.recv_timeout(LAST_WORDS) {
        lines.push(line);
    }
    // The lines before the first error say what was done.
    let fault = lines.iter().position(|line| line.starts_with("error"));
    built.words = lines.split_off(fault.unwrap_or(0)).join("\n");
    Ok(built)
}

impl Built {
    /// Takes in a message. Answers whether the build is over.
    fn add(&mut self, message: CargoMessage, show: &impl Fn(&str)) -> bool {
        match message {
            CargoMessage::Artifact {
                package_id,
                target,
                filenames,
                fresh,
            } if target.is_cdylib() => {
                let is_library = |file: &PathBuf| {
                    file.extension() == Some(OsStr::new(std::env::consts::DLL_EXTENSION))
                };
                if let Some(library) = filenames.into_iter().find(is_library) {
                    let is_fresh = fresh;
                    self.artifacts
                        .insert(package_id, Artifact { library, is_fresh });
                }
            }
            CargoMessage::Diagnostic {
                package_id,
                message,
            } => {
                show(message.rendered.trim_end_matches('\n'));
                let text = plain(&message.rendered);
                // That line only counts the errors before it.
                if message.level == "error" && !text.starts_with("error: aborting due to") {
                    let errors = self.errors.entry(package_id).or_default();
                    errors.push_str(&text);
                }
            }
            // Another process may hold the pipe open, so its end is not waited for.
            CargoMessage::Finished => return true,
            CargoMessage::ScriptExecuted => self.scripts_ended = Some(SystemTime::now()),
            CargoMessage::Artifact { .. } | CargoMessage::Other => {}
        }
        false
    }
}

/// A text without the control sequences of a terminal, such as colours (ECMA-48 §5.4, §8.3.89).
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char != '\x1b' {
            plain.push(char);
            continue;
        }
        match chars.next() {
            // A control sequence ends with its first letter.
            Some('[') => drop(chars.find(|char| ('\x40'..='\x7e').contains(char))),
            // A link ends with a bell, or with another escape and a backslash.
            Some(']') => {
                let end = chars.find(|char| matches!(char, '\x07' | '\x1b'));
                if end == Some('\x1b') {
                    chars.next();
                }
            }
            _ => {}
        }
    }
    plain
}

/// How long lines of stderr are waited for after the end of a build.
const LAST_WORDS: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn read_lines(stdout: &str, stderr: &[&str]) -> Built {
        let (words, lines) = mpsc::channel();
        for line in stderr {
            words.send((*line).to_owned()).unwrap();
        }
        drop(words);
        read(stdout.as_bytes(), &lines, |_| {}).unwrap()
    }

    #[test]
    fn the_plugins_are_found_among_cargos_messages() {
        let suffix = std::env::consts::DLL_SUFFIX;
        let lines = format!(
            r#"
{{"reason":"compiler-artifact","package_id":"wsh","target":{{"name":"wsh","kind":["lib"]}},"filenames":["/t/libwsh.rlib"],"fresh":true}}
{{"reason":"compiler-message","package_id":"echo","message":{{"level":"warning","rendered":"warning: what for"}}}}
noise of a build script
{{"reason":"build-script-executed","package_id":"wsh"}}
{{"reason":"compiler-artifact","package_id":"echo","target":{{"name":"echo_wsh","kind":["cdylib","rlib"]}},"filenames":["/t/libecho_wsh.rlib","/t/libecho_wsh{suffix}"],"fresh":false}}
{{"reason":"build-finished","success":true}}
{{"reason":"compiler-artifact","package_id":"late","target":{{"name":"late_wsh","kind":["cdylib"]}},"filenames":["/t/liblate_wsh{suffix}"],"fresh":false}}
"#
        );

        let built = read_lines(&lines, &[]);

        let echo = Artifact {
            library: format!("/t/libecho_wsh{suffix}").into(),
            is_fresh: false,
        };
        assert_eq!(
            built.artifacts,
            BTreeMap::from([("echo".to_owned(), echo.clone())])
        );
        assert_eq!(built.of("echo"), Ok(echo));
    }

    #[test]
    fn a_package_without_a_plugin_has_its_own_errors_else_those_of_what_it_needs_else_cargos() {
        let lines = r#"
{"reason":"compiler-message","package_id":"echo","message":{"level":"warning","rendered":"warning: unused\n"}}
{"reason":"compiler-message","package_id":"echo","message":{"level":"error","rendered":"\u001b[1merror\u001b[0m: one\n\n"}}
{"reason":"compiler-message","package_id":"echo","message":{"level":"error","rendered":"error: two\n\n"}}
{"reason":"compiler-message","package_id":"echo","message":{"level":"error","rendered":"error: aborting due to 2 previous errors\n\n"}}
{"reason":"build-finished","success":false}
"#;
        let stderr = [
            "   Compiling echo v0.1.0",
            "error: no matching package",
            "required by x",
        ];

        let built = read_lines(lines, &stderr);
        assert_eq!(
            built.of("echo").unwrap_err(),
            "error: one\n\nerror: two\n\n"
        );
        assert_eq!(
            built.of("chat").unwrap_err(),
            "error: one\n\nerror: two\n\n"
        );

        let built = read_lines("", &stderr);
        let words = "error: no matching package\nrequired by x";
        assert_eq!(built.of("echo").unwrap_err(), words);
    }

    #[test]
    fn colours_and_links_are_for_terminals() {
        assert_eq!(
            plain("\x1b[0m\x1b[1m\x1b[38;5;9merror[E0425]\x1b[0m: x"),
            "error[E0425]: x"
        );
        assert_eq!(
            plain("\x1b]8;;https://rust\x1b\\E0425\x1b]8;;\x07 é"),
            "E0425 é"
        );
        assert_eq!(plain("cut off \x1b["), "cut off ");
    }
}
