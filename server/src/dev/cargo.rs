//! Runs cargo: which program it is, in which environment, and how it answers. One cargo runs at a time,
//! and ends when the server does.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, ErrorKind, IsTerminal, Read};
use std::path::Path;
use std::process::{ChildStderr, Command, Output, Stdio};
use std::sync::{Arc, mpsc};

use super::build_process::Builds;
use super::cargo_json::Metadata;
use super::messages::{self, Built};
use super::report::say;

/// Runs cargo.
#[derive(Debug)]
pub(crate) struct Cargo {
    program: OsString,
    profile: Profile,
    builds: Arc<Builds>,
}

/// The profile of cargo that handlers are built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Cargo's default, which is quick to build.
    Dev,
    /// `--release`.
    Release,
}

/// Why cargo gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum CargoError {
    /// There is no such program.
    #[error(
        "cannot find `{}`, which builds the handlers: install Rust from https://rustup.rs, or put it on PATH",
        program.display()
    )]
    NotInstalled {
        /// The program.
        program: OsString,
    },
    /// The program cannot be run, or its answer cannot be read.
    #[error("cannot run `{}`: {source}", program.display())]
    NotRun {
        /// The program.
        program: OsString,
        /// What the system said.
        source: io::Error,
    },
    /// Cargo failed; with what it wrote to stderr.
    #[error("{0}")]
    Refused(String),
}

impl Cargo {
    /// Takes the cargo that started this process, if one did, else the one on PATH.
    pub(crate) fn new(profile: Profile) -> Cargo {
        let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        Cargo::of(program, profile)
    }

    fn of(program: OsString, profile: Profile) -> Cargo {
        Cargo {
            program,
            profile,
            builds: Arc::default(),
        }
    }

    /// Asks for the workspace of a manifest. Cargo resolves no dependency for it and uses no network.
    pub(crate) fn metadata(&self, manifest: &Path) -> Result<Metadata, CargoError> {
        let directory = manifest.parent().unwrap_or(Path::new("/"));
        let mut command = self.command(directory);
        command
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .arg("--manifest-path")
            .arg(manifest);
        if io::stderr().is_terminal() {
            // What cargo says is captured, and shown on this terminal later.
            command.args(["--color", "always"]);
        }
        let output = self
            .output(&mut command)
            .map_err(|error| self.not_run(error));
        let Some(output) = output? else {
            return Err(CargoError::Refused("`wshd` ends".to_owned()));
        };
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            return Err(CargoError::Refused(text.trim_end().to_owned()));
        }
        serde_json::from_slice(&output.stdout).map_err(|error| self.not_run(error.into()))
    }

    /// Runs a command to its end. `None` when the server ends first, and the command with it.
    fn output(&self, command: &mut Command) -> io::Result<Option<Output>> {
        command.stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let Some(mut child) = self.builds.start(command)? else {
            return Ok(None);
        };
        let mut out = child.stdout.take().expect("stdout is piped");
        let mut err = child.stderr.take().expect("stderr is piped");
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let read = std::thread::scope(|scope| {
            let beside = scope.spawn(|| err.read_to_end(&mut stderr));
            let read = out.read_to_end(&mut stdout);
            beside.join().unwrap_or(Ok(0)).and(read)
        });
        let status = self.builds.wait(&mut child)?;
        read?;
        Ok((!self.builds.is_stopped()).then_some(Output {
            status,
            stdout,
            stderr,
        }))
    }

    /// Builds the libraries of these packages of one workspace, as far as they can be built. Errors and
    /// warnings are shown on stderr, as cargo shows them.
    pub(crate) fn build(&self, workspace: &Path, packages: &[&str]) -> Result<Built, CargoError> {
        let is_terminal = io::stderr().is_terminal();
        let mut command = self.command(workspace);
        // One crate with an error must not keep others from being built.
        command.args(["build", "--lib", "--keep-going"]);
        command.args(if is_terminal {
            [
                "--color=always",
                "--message-format=json-diagnostic-rendered-ansi",
            ]
        } else {
            ["--color=never", "--message-format=json"]
        });
        if self.profile == Profile::Release {
            command.arg("--release");
        }
        for package in packages {
            command.args(["-p", package]);
        }
        command.stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());

        let started = self.builds.start(&mut command);
        let Some(mut child) = started.map_err(|error| self.not_run(error))? else {
            return Ok(Built::default());
        };
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        let built = shown(stderr)
            .and_then(|lines| messages::read(BufReader::new(stdout), &lines, |text| say(text)));
        // The artifacts say more than the exit status: which packages were built.
        let ended = self.builds.wait(&mut child);
        ended.and(built).map_err(|error| self.not_run(error))
    }

    /// Ends the build that runs. No other one can begin from then on.
    pub(crate) fn stop(&self) {
        self.builds.stop();
    }

    /// What runs builds; other compilers use it too.
    pub(crate) fn builds(&self) -> &Arc<Builds> {
        &self.builds
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.builds.is_stopped()
    }

    /// The command for cargo in a directory. Its `.cargo/config.toml` and `rust-toolchain.toml` apply.
    fn command(&self, directory: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(directory);
        for (name, _) in std::env::vars_os() {
            if is_of_outer_cargo(&name) {
                command.env_remove(name);
            }
        }
        command
    }

    fn not_run(&self, source: io::Error) -> CargoError {
        let program = self.program.clone();
        match source.kind() {
            ErrorKind::NotFound => CargoError::NotInstalled { program },
            _ => CargoError::NotRun { program, source },
        }
    }
}

/// Shows what cargo writes to stderr, line by line. Answers a receiver of the lines without colours.
fn shown(stderr: ChildStderr) -> io::Result<mpsc::Receiver<String>> {
    let (lines, inbox) = mpsc::channel();
    let pass_on = move || {
        for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            say(&line);
            // Sending fails when the build is over.
            let _ = lines.send(messages::plain(&line));
        }
    };
    std::thread::Builder::new()
        .name("dev-stderr".to_owned())
        .spawn(pass_on)?;
    Ok(inbox)
}

/// Whether a variable describes the package that an outer cargo runs (`cargo run -- dev`). Settings such
/// as `CARGO_TARGET_DIR` are the user's, and stay.
fn is_of_outer_cargo(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else {
        return false;
    };
    let of_package = [
        "CARGO",
        "CARGO_MANIFEST_DIR",
        "CARGO_MANIFEST_PATH",
        "CARGO_CRATE_NAME",
        "CARGO_BIN_NAME",
        "CARGO_PRIMARY_PACKAGE",
        "OUT_DIR",
    ];
    of_package.contains(&name)
        || name.starts_with("CARGO_PKG_")
        || name.starts_with("CARGO_BIN_EXE_")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_cargo_that_is_not_there_is_named_with_the_way_out() {
        let cargo = Cargo::of("no-such-cargo".into(), Profile::Dev);

        let error = cargo.metadata(Path::new("/Cargo.toml")).unwrap_err();

        assert_eq!(
            error.to_string(),
            "cannot find `no-such-cargo`, which builds the handlers: \
             install Rust from https://rustup.rs, or put it on PATH"
        );
    }

    #[test]
    fn a_cargo_that_is_asked_about_a_manifest_ends_with_the_server() {
        let place = tempfile::tempdir().unwrap();
        let (script, pids) = (place.path().join("cargo"), place.path().join("pids"));
        // Its child would outlive it.
        let text = format!(
            "#!/bin/sh\nsleep 1000 &\necho $! > {0}.new && mv {0}.new {0}\nwait\n",
            pids.display()
        );
        std::fs::write(&script, text).unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&script, executable).unwrap();
        let cargo = Arc::new(Cargo::of(script.into(), Profile::Dev));
        let manifest = place.path().join("Cargo.toml");
        let asked = {
            let cargo = cargo.clone();
            std::thread::spawn(move || cargo.metadata(&manifest).map(drop))
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        while !pids.exists() {
            assert!(Instant::now() < deadline, "the script runs");
            std::thread::sleep(Duration::from_millis(5));
        }

        cargo.stop();

        assert!(asked.join().unwrap().is_err());
        let pid = std::fs::read_to_string(pids).unwrap();
        let is_alive = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
            stat.is_ok_and(|stat| !stat.contains(") Z"))
        };
        while is_alive() {
            assert!(Instant::now() < deadline, "its child ends");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn the_outer_package_is_forgotten_and_the_users_settings_are_not() {
        for name in ["CARGO", "CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "OUT_DIR"] {
            assert!(is_of_outer_cargo(OsStr::new(name)), "{name}");
        }
        for name in [
            "CARGO_TARGET_DIR",
            "CARGO_HOME",
            "CARGO_NET_OFFLINE",
            "RUSTFLAGS",
            "PATH",
        ] {
            assert!(!is_of_outer_cargo(OsStr::new(name)), "{name}");
        }
    }
}
