//! The C compiler that builds handlers: which program it is, and how it is called.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, ErrorKind, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;

use super::cargo::Profile;
use super::messages::{Artifact, plain};
use super::report::say;
use super::running::Builds;
use super::sources::SOURCE_BYTES_MAX;
use crate::regular_file;

/// A way to compile C, and a place for what comes out.
#[derive(Debug)]
pub(crate) struct Cc {
    program: OsString,
    profile: Profile,
    /// With `wsh.h` in it.
    directory: PathBuf,
    builds: Arc<Builds>,
}

impl Cc {
    /// `$CC`, else `cc`; it works in a directory that it makes.
    pub(crate) fn new(profile: Profile, directory: PathBuf, builds: Arc<Builds>) -> io::Result<Cc> {
        let program = std::env::var_os("CC").filter(|program| !program.is_empty());
        let program = program.unwrap_or_else(|| "cc".into());
        Cc::of(program, profile, directory, builds)
    }

    fn of(
        program: OsString,
        profile: Profile,
        directory: PathBuf,
        builds: Arc<Builds>,
    ) -> io::Result<Cc> {
        fs::create_dir(&directory)?;
        fs::write(directory.join("wsh.h"), HEADER)?;
        Ok(Cc {
            program,
            profile,
            directory,
            builds,
        })
    }

    /// Compiles these sources into one library; answers it, or what the compiler wrote, which is
    /// shown on stderr too.
    pub(crate) fn build(&self, name: &str, sources: &[PathBuf]) -> Result<Artifact, String> {
        if let Some(why) = sources.iter().find_map(|source| unreadable(source)) {
            say(&why);
            return Err(why);
        }
        let library = self.directory.join(name);
        let mut command = self.command(sources);
        command.arg("-o").arg(&library);
        let ran = self.run(&mut command).map_err(|error| {
            let why = self.not_run(&error);
            say(&why);
            why
        })?;
        let Some((status, words)) = ran else {
            return Err("the build was stopped".to_owned());
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
            false if words.is_empty() => {
                Err(format!("`{}` failed: {}", self.program.display(), status))
            }
            false => Err(plain(words)),
        }
    }

    /// Runs it to its end; answers what it wrote to stderr. `None` when `wshd` ends.
    fn run(&self, command: &mut Command) -> io::Result<Option<(ExitStatus, Vec<u8>)>> {
        command.stderr(Stdio::piped());
        let Some(mut child) = self.builds.start(command)? else {
            return Ok(None);
        };
        let mut words = Vec::new();
        let mut stderr = child.stderr.take().expect("stderr is piped");
        let read = stderr.read_to_end(&mut words);
        let status = self.builds.wait(&mut child)?;
        read?;
        Ok((!self.builds.is_stopped()).then_some((status, words)))
    }

    fn command(&self, sources: &[PathBuf]) -> Command {
        let mut words = words(&self.program);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        command.args(["-shared", "-fPIC", "-g", "-Wall", "-Wextra"]);
        if self.profile == Profile::Release {
            command.arg("-O2");
        }
        if io::stderr().is_terminal() {
            // What it says is captured, and shown where colours can be seen.
            command.arg("-fdiagnostics-color=always");
        }
        let directory = sources.first().and_then(|source| source.parent());
        if let Some(directory) = directory {
            // As a Makefile there has it: paths in messages are short, and `make` is of one mind.
            command.current_dir(directory);
            if directory.join(OWN_INCLUDE).is_dir() {
                command.args(["-I", OWN_INCLUDE]);
            }
        }
        command.arg("-I").arg(&self.directory);
        for variable in ["CPPFLAGS", "CFLAGS"] {
            command.args(words_of(variable));
        }
        command.args(sources.iter().map(|source| {
            let name = directory.and_then(|directory| source.strip_prefix(directory).ok());
            // A name that begins with a dash is no option.
            name.map_or_else(|| source.clone(), |name| Path::new(".").join(name))
        }));
        for variable in ["LDFLAGS", "LDLIBS"] {
            command.args(words_of(variable));
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        // A compiler that is killed leaves its files; these are removed with the directory.
        command.env("TMPDIR", &self.directory);
        command
    }

    fn not_run(&self, error: &io::Error) -> String {
        let program = self.program.display();
        match error.kind() {
            ErrorKind::NotFound => format!(
                "cannot find `{program}`, which builds handlers in C: install a C compiler, \
                 or name one with `CC`"
            ),
            _ => format!("cannot run `{program}`: {error}"),
        }
    }
}

/// Why a compiler is not to read a source: it would wait for ever at a FIFO, and a device has no end.
/// What cannot be looked at is the compiler's to tell.
fn unreadable(source: &Path) -> Option<String> {
    let metadata = fs::metadata(source).ok()?;
    let checked = regular_file::check_kind(&metadata)
        .and_then(|()| regular_file::check_length(metadata.len(), SOURCE_BYTES_MAX));
    let name = source.file_name().map_or(source, Path::new);
    let why = checked.err()?;
    Some(format!("not built: `{}`: {why}", name.display()))
}

/// What a variable such as `CFLAGS` says, as make takes it: words with blanks between them.
fn words_of(variable: &str) -> Vec<String> {
    let value = std::env::var_os(variable).unwrap_or_default();
    words(&value).collect()
}

fn words(text: &OsStr) -> impl Iterator<Item = String> + use<> {
    let text = text.to_string_lossy().into_owned();
    let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    words.into_iter()
}

const HEADER: &str = include_str!("../../../plugin-api/include/wsh.h");
/// Where `wshd new` puts the header: the handler's own comes before ours.
const OWN_INCLUDE: &str = "wsh/include";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_that_is_not_there_is_named_with_the_way_out() {
        let place = tempfile::tempdir().unwrap();
        let place = place.path().join("cc");
        let cc = Cc::of("no-such-cc".into(), Profile::Dev, place, Arc::default()).unwrap();

        let why = cc.build("x_wsh", &["/x.c".into()]).unwrap_err();

        assert_eq!(
            why,
            "cannot find `no-such-cc`, which builds handlers in C: install a C compiler, or name \
             one with `CC`"
        );
    }

    #[test]
    fn a_source_that_would_hold_up_the_compiler_is_named_and_not_compiled() {
        let place = tempfile::tempdir().unwrap();
        let [fifo, device, huge] =
            ["fifo.c", "device.c", "huge.c"].map(|name| place.path().join(name));
        let made = Command::new("mkfifo").arg(&fifo).status();
        assert!(made.expect("mkfifo, of coreutils, runs").success());
        std::os::unix::fs::symlink("/dev/zero", &device).unwrap();
        let file = fs::File::create(&huge).unwrap();
        file.set_len(SOURCE_BYTES_MAX + 1).unwrap();
        let directory = place.path().join("cc");
        let cc = Cc::of("cc".into(), Profile::Dev, directory, Arc::default()).unwrap();

        for (source, why) in [
            (fifo, "`fifo.c`: it is a FIFO, wanted is a regular file"),
            (
                device,
                "`device.c`: it is a device, wanted is a regular file",
            ),
            (
                huge,
                "`huge.c`: it has 4194305 bytes, at most 4194304 are read",
            ),
        ] {
            let told = cc.build("x_wsh", &[source]).unwrap_err();
            assert_eq!(told, format!("not built: {why}"));
        }
    }
}
