//! The whole of the configuration: real files, the flags as they are typed, a made-up environment.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::environment::Environment;
use super::*;

mod access;
mod command_line;
mod file;
mod layers;
mod manual;
mod reference;
mod table;

/// A directory to start in, an environment, and a command line.
struct Start {
    dir: TempDir,
    variables: Vec<(&'static str, &'static str)>,
}

impl Start {
    fn new() -> Start {
        Start {
            dir: tempfile::tempdir().expect("a temp dir"),
            variables: Vec::new(),
        }
    }

    fn file(self, name: &str, text: &str) -> Start {
        self.bytes(name, text.as_bytes())
    }

    fn bytes(self, name: &str, bytes: &[u8]) -> Start {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("it has one")).expect("its directory");
        fs::write(path, bytes).expect("writing");
        self
    }

    fn set_mode(&self, name: &str, mode: u32) {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(self.path(name), mode).expect("chmod");
    }

    fn variable(mut self, name: &'static str, value: &'static str) -> Start {
        self.variables.push((name, value));
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, arguments: &[&str]) -> Config {
        self.try_read(arguments)
            .unwrap_or_else(|error| panic!("{error:#}"))
    }

    fn error(&self, arguments: &[&str]) -> String {
        self.try_read(arguments)
            .expect_err("it is wrong")
            .to_string()
    }

    fn try_read(&self, arguments: &[&str]) -> Result<Config, ConfigError> {
        let variables = self.variables.iter();
        let variables = variables.map(|(name, value)| (name.into(), value.into()));
        let environment = Environment::of(variables.collect());
        flags(arguments).read_with(self.dir.path(), &environment)
    }
}

fn flags(arguments: &[&str]) -> Flags {
    command_line(arguments).1
}

fn command_line(arguments: &[&str]) -> (Option<Subcommand>, Flags) {
    let arguments = ["wshd"].iter().chain(arguments);
    let line = CommandLine::of(arguments).unwrap_or_else(|error| panic!("{error}"));
    (line.command, line.flags)
}

fn usage_error(arguments: &[&str]) -> String {
    let arguments = ["wshd"].iter().chain(arguments);
    CommandLine::of(arguments)
        .expect_err("it is wrong")
        .to_string()
}

fn listen(config: &Config) -> Vec<String> {
    config
        .listen
        .iter()
        .map(|address| address.to_string())
        .collect()
}

fn fixtures(folder: &str, extension: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/config")
        .join(folder);
    let folder = folder.canonicalize().expect("the fixtures are there");
    let entries = fs::read_dir(folder).expect("the fixtures are there");
    let paths = entries.map(|entry| entry.expect("readable").path());
    let mut paths: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|one| one == extension))
        .collect();
    paths.sort();
    paths
}

fn read_alone(arguments: &[&str], dir: &Path) -> Result<Config, ConfigError> {
    flags(arguments).read_with(dir, &Environment::of(Vec::new()))
}

/// Compares with the file beside the fixture; `UPDATE_EXPECTED=1` writes it anew, to be looked at.
fn assert_expected(fixture: &Path, found: &str) {
    let expected = fixture.with_extension("expected");
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&expected, found).expect("writing");
    }
    let wanted = fs::read_to_string(&expected).unwrap_or_default();
    assert_eq!(found, wanted, "{}", fixture.display());
}
