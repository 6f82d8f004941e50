//! Runs the compilers of C and C++: which programs they are, and how they are called.

#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, ErrorKind, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::build_process::{Builds, TimeLimit};
use super::cargo::Profile;
use super::includes;
use super::language::Language;
use super::messages::{Artifact, plain};
use super::report::say;

/// Compiles C and C++ into a directory.
#[derive(Debug)]
pub(crate) struct Cc {
    /// The compilers of C and of C++.
    programs: [OsString; 2],
    /// Whether the compiler of C++ takes `NO_UNIQUE`; asked before its first build.
    knows_unique: OnceLock<bool>,
    profile: Profile,
    /// Where libraries are written, with the headers of the border in it.
    directory: PathBuf,
    builds: Arc<Builds>,
    /// How long one library may take.
    timeout: Duration,
}

/// How a run of a compiler ended.
enum CompilerEnd {
    /// The compiler ended by itself; with what it wrote to stderr.
    Ended(ExitStatus, Vec<u8>),
    /// `wshd` stops, and has ended the compiler.
    Stopped,
    /// The compiler took too long, and was ended.
    Late,
}

impl Cc {
    /// Takes `$CC`, else `cc`, and `$CXX`, else `c++`. It makes `directory` for what they write.
    pub(crate) fn new(profile: Profile, directory: PathBuf, builds: Arc<Builds>) -> io::Result<Cc> {
        let programs = [Language::C, Language::Cpp].map(|language| {
            let (variable, usual) = language.compiler();
            let program = std::env::var_os(variable).filter(|program| !program.is_empty());
            program.unwrap_or_else(|| usual.into())
        });
        Cc::of(programs, profile, directory, builds)
    }

    fn of(
        programs: [OsString; 2],
        profile: Profile,
        directory: PathBuf,
        builds: Arc<Builds>,
    ) -> io::Result<Cc> {
        fs::create_dir(&directory)?;
        for (name, header) in HEADERS {
            fs::write(directory.join(name), header)?;
        }
        Ok(Cc {
            programs,
            knows_unique: OnceLock::new(),
            profile,
            directory,
            builds,
            timeout: TIMEOUT,
        })
    }

    /// Compiles these sources into one library. An error is what the compiler wrote, which is shown on
    /// stderr too.
    pub(crate) fn build(&self, name: &str, sources: &[PathBuf]) -> Result<Artifact, String> {
        let language = language_of(sources);
        if let Some(why) = includes::unreadable(sources, &self.searched(language, sources)) {
            say(&why);
            return Err(why);
        }
        let library = self.directory.join(name);
        let mut command = self.command(language, sources);
        command.arg("-o").arg(&library);
        let ran = self.run(&mut command).map_err(|error| {
            let why = self.not_run(language, &error);
            say(&why);
            why
        })?;
        let (status, words) = match ran {
            CompilerEnd::Ended(status, words) => (status, words),
            CompilerEnd::Stopped => return Err("the build was stopped".to_owned()),
            CompilerEnd::Late => {
                let why = self.late(language, sources);
                say(&why);
                return Err(why);
            }
        };
        let words = String::from_utf8_lossy(&words);
        let words = words.trim_end();
        if !words.is_empty() {
            say(words);
        }
        match status.success() {
            true => Ok(Artifact {
                library,
                is_fresh: false,
            }),
            false if words.is_empty() => Err(format!(
                "`{}` failed: {status}",
                self.program(language).display()
            )),
            false => Err(plain(words)),
        }
    }

    /// Runs a compiler to its end, or to the end of its time.
    fn run(&self, command: &mut Command) -> io::Result<CompilerEnd> {
        command.stderr(Stdio::piped());
        let Some(mut child) = self.builds.start(command)? else {
            return Ok(CompilerEnd::Stopped);
        };
        let limit = self.builds.end_after(self.timeout);
        let mut words = Vec::new();
        let mut stderr = child.stderr.take().expect("stderr is piped");
        let read = stderr.read_to_end(&mut words);
        let status = self.builds.wait(&mut child)?;
        let is_late = limit.is_some_and(TimeLimit::was_reached);
        read?;
        Ok(match (self.builds.is_stopped(), is_late) {
            (true, _) => CompilerEnd::Stopped,
            (false, true) => CompilerEnd::Late,
            (false, false) => CompilerEnd::Ended(status, words),
        })
    }

    fn program(&self, language: Language) -> &OsStr {
        let [c, cpp] = &self.programs;
        match language {
            Language::C => c,
            Language::Cpp => cpp,
        }
    }

    /// The directories in which headers of these sources are searched for.
    fn searched(&self, language: Language, sources: &[PathBuf]) -> Vec<PathBuf> {
        let directory = sources.first().and_then(|source| source.parent());
        let directory = directory.unwrap_or(Path::new("/"));
        let own = own_headers(directory).map(|own| directory.join(own));
        let own = own.into_iter().chain([self.directory.clone()]);
        let words: Vec<String> = language.flags().into_iter().flat_map(words_of).collect();
        let named = includes::searched(&words, directory);
        own.chain(named).collect()
    }

    fn late(&self, language: Language, sources: &[PathBuf]) -> String {
        let names = sources.iter().filter_map(|source| source.file_name());
        let names: Vec<String> = names.map(|name| format!("`{}`", name.display())).collect();
        format!(
            "not built: `{}` was not done with {} after {} s, and was ended; something that it reads \
             may have no end",
            self.program(language).display(),
            names.join(", "),
            self.timeout.as_secs()
        )
    }

    /// The command of the compiler, with the further words of its variable.
    fn compiler(&self, language: Language) -> Command {
        let mut words = words(self.program(language));
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        // A killed compiler leaves temporary files, which are removed with the directory.
        command.env("TMPDIR", &self.directory);
        command
    }

    /// Whether the compiler of C++ takes `NO_UNIQUE`: `clang++`, which marks nothing as unique, refuses it.
    fn knows_unique(&self) -> bool {
        *self.knows_unique.get_or_init(|| {
            let mut command = self.compiler(Language::Cpp);
            command.args([NO_UNIQUE, "-E", "-x", "c++", "/dev/null"]);
            matches!(self.run(&mut command), Ok(CompilerEnd::Ended(status, _)) if status.success())
        })
    }

    fn command(&self, language: Language, sources: &[PathBuf]) -> Command {
        let mut command = self.compiler(language);
        command.args(["-shared", "-fPIC", "-g", "-Wall", "-Wextra"]);
        command.args(language.standard());
        if language == Language::Cpp && self.knows_unique() {
            command.arg(NO_UNIQUE);
        }
        if self.profile == Profile::Release {
            command.arg("-O2");
        }
        if io::stderr().is_terminal() {
            // What the compiler says is captured, and shown on this terminal later.
            command.arg("-fdiagnostics-color=always");
        }
        let directory = sources.first().and_then(|source| source.parent());
        if let Some(directory) = directory {
            // Like a Makefile there: paths in messages are short, and `make` finds what is found here.
            command.current_dir(directory);
            if let Some(own) = own_headers(directory) {
                command.args(["-I", own]);
            }
        }
        command.arg("-I").arg(&self.directory);
        for variable in language.flags() {
            command.args(words_of(variable));
        }
        command.args(sources.iter().map(|source| {
            let name = directory.and_then(|directory| source.strip_prefix(directory).ok());
            // With `./` before it, a name that begins with a dash is no option.
            name.map_or_else(|| source.clone(), |name| Path::new(".").join(name))
        }));
        for variable in ["LDFLAGS", "LDLIBS"] {
            command.args(words_of(variable));
        }
        command
    }

    fn not_run(&self, language: Language, error: &io::Error) -> String {
        let program = self.program(language).display();
        let (variable, _) = language.compiler();
        match error.kind() {
            ErrorKind::NotFound => format!(
                "cannot find `{program}`, which builds handlers in {language}: install a {language} \
                 compiler, or name one with `{variable}`"
            ),
            _ => format!("cannot run `{program}`: {error}"),
        }
    }
}

/// The directory of headers that a handler brings along, or shares with others beside it. They come
/// before those of this program.
pub(super) fn own_headers(directory: &Path) -> Option<&'static str> {
    if directory.join(OWN_INCLUDE).is_dir() {
        return Some(OWN_INCLUDE);
    }
    let shared = directory.join(SHARED_INCLUDE).join("wsh.h");
    shared.is_file().then_some(SHARED_INCLUDE)
}

/// The language of a handler: that of its first file, which defines it.
fn language_of(sources: &[PathBuf]) -> Language {
    let first = sources.first().and_then(|source| Language::of(source));
    first.unwrap_or(Language::C)
}

/// The words of a variable such as `CFLAGS`, separated by blanks as in make.
fn words_of(variable: &str) -> Vec<String> {
    let value = std::env::var_os(variable).unwrap_or_default();
    words(&value).collect()
}

fn words(text: &OsStr) -> impl Iterator<Item = String> + use<> {
    let text = text.to_string_lossy().into_owned();
    let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    words.into_iter()
}

/// Without this, `g++` has a new generation share the statics of inline functions and templates with the
/// old one.
const NO_UNIQUE: &str = "-fno-gnu-unique";
/// Far more than a handler takes. It ends what `includes` does not foresee.
const TIMEOUT: Duration = Duration::from_secs(300);
const HEADERS: [(&str, &str); 5] = [
    ("wsh.h", include_str!("../../packed/sdk/include/wsh.h")),
    (
        "wsh_raw.h",
        include_str!("../../packed/sdk/include/wsh_raw.h"),
    ),
    (
        "wsh_test.h",
        include_str!("../../packed/sdk/include/wsh_test.h"),
    ),
    (
        "wsh_test_host.h",
        include_str!("../../packed/sdk/include/wsh_test_host.h"),
    ),
    (
        "wsh_test_asks.h",
        include_str!("../../packed/sdk/include/wsh_test_asks.h"),
    ),
];
/// Where `wshd new` puts headers: into the handler's directory, or once beside all handlers.
const OWN_INCLUDE: &str = "wsh/include";
const SHARED_INCLUDE: &str = "../wsh/include";
