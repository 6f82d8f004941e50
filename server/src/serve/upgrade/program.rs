//! The program that takes the place of this one: what lies now where this one was started from.

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program with its arguments.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    name: OsString,
    arguments: Vec<OsString>,
}

impl Program {
    /// This process's own program. To be called when the process begins, before another file may lie there.
    pub fn of_process() -> Program {
        let mut arguments = std::env::args_os();
        let name = arguments.next().unwrap_or_else(|| "wshd".into());
        let running = std::env::current_exe().unwrap_or_else(|_| PathBuf::from(&name));
        let search = std::env::var_os("PATH").unwrap_or_default();
        let search: Vec<PathBuf> = std::env::split_paths(&search).collect();
        let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        Program {
            path: path_of(Path::new(&name), &running, &search, &here),
            name,
            arguments: arguments.collect(),
        }
    }

    /// Where the program lies.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The error of its start, with what keeps it from running.
    pub(super) fn why_not_started(&self, error: io::Error) -> io::Error {
        why_not_run(&self.path, error)
    }

    /// The command that runs it as this process was run.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.arg0(&self.name).args(&self.arguments);
        command
    }
}

/// What keeps a file from being run, where the system only says that it is not permitted.
fn why_not_run(path: &Path, error: io::Error) -> io::Error {
    let Ok(found) = path.metadata() else {
        return error;
    };
    let mode = found.mode() & 0o7777;
    if found.is_dir() {
        io::Error::other("it is a directory, and no program")
    } else if error.kind() == ErrorKind::PermissionDenied && mode & 0o111 == 0 {
        io::Error::other(format!(
            "its mode {mode:03o} has no right to execute it; `chmod 755` gives that"
        ))
    } else {
        error
    }
}

/// Where the `running` program was started from: the path that its `name` leads to. So a link that is switched to another
/// version leads to that. A name that leads elsewhere says nothing.
fn path_of(name: &Path, running: &Path, search: &[PathBuf], here: &Path) -> PathBuf {
    let is_bare = name.components().count() == 1 && !name.as_os_str().is_empty();
    let is_searched = is_bare && !name.to_string_lossy().contains('/');
    let mut places: Box<dyn Iterator<Item = PathBuf>> = match is_searched {
        true => Box::new(
            search
                .iter()
                .map(|directory| here.join(directory).join(name)),
        ),
        false => Box::new(std::iter::once(here.join(name))),
    };
    let leads_there = |path: &PathBuf| {
        let found = path.canonicalize().ok();
        found.is_some() && found == running.canonicalize().ok()
    };
    places
        .find(leads_there)
        .unwrap_or_else(|| running.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_program_lies_where_its_name_leads_to_or_else_where_it_runs_from() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        for folder in ["bin", "1.0", "other"] {
            std::fs::create_dir(at(folder)).expect("a directory");
        }
        std::fs::write(at("1.0/wshd"), "").expect("a file");
        std::fs::write(at("other/wshd"), "").expect("a file");
        symlink(at("1.0"), at("current")).expect("a link");
        symlink(at("current/wshd"), at("bin/wshd")).expect("a link");
        let search = [at("other"), at("bin")];
        for (name, expected) in [
            // The shell has searched for it.
            ("wshd", "bin/wshd"),
            // Links are not followed, so that they may be switched.
            ("current/wshd", "current/wshd"),
            ("./current/wshd", "./current/wshd"),
            ("1.0/wshd", "1.0/wshd"),
            // A name that was made up, or leads to another program.
            ("a server", "1.0/wshd"),
            ("other/wshd", "1.0/wshd"),
            ("", "1.0/wshd"),
        ] {
            let found = path_of(Path::new(name), &at("1.0/wshd"), &search, dir.path());
            assert_eq!(found, at(expected), "{name}");
        }
    }
}
