//! wshd and the plugins that it serves under attack, as cargo builds them.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;

/// The program, and the directory of the plugins.
#[derive(Clone, Debug)]
pub(crate) struct Artifacts {
    pub(crate) server: PathBuf,
    plugins: PathBuf,
}

impl Artifacts {
    /// Takes a server that is built, with the plugins that lie beside it.
    pub(crate) fn at(server: &Path) -> Result<Artifacts> {
        let server = server
            .canonicalize()
            .map_err(|error| format!("cannot find `{}`: {error}", server.display()))?;
        let plugins = server.parent().unwrap_or(Path::new("/")).to_owned();
        let artifacts = Artifacts { server, plugins };
        match PLUGINS.iter().find(|it| !artifacts.plugin(it).exists()) {
            Some(missing) => Err(format!(
                "`{}` is not there; build it with `cargo build -p {missing}` in the profile of the server",
                artifacts.plugin(missing).display()
            )
            .into()),
            None => Ok(artifacts),
        }
    }

    /// Builds the server and the plugins with the profile that this program was built with.
    pub(crate) fn build() -> Result<Artifacts> {
        let program = std::env::current_exe()?;
        let own = program.parent().ok_or("no directory")?;
        let target = own.parent().ok_or("no target directory")?;
        // The directory of the profile `dev` has another name.
        let profile = match own.file_name().and_then(|it| it.to_str()) {
            None | Some("debug") => "dev",
            Some(profile) => profile,
        };
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
            .args(["build", "--quiet", "--profile", profile, "-p", "wshd"])
            .args(PLUGINS.iter().flat_map(|plugin| ["-p", plugin]))
            .arg("--target-dir")
            .arg(target);
        if !cargo.status()?.success() {
            return Err("cargo cannot build wshd and its plugins, see above".into());
        }
        Artifacts::at(&own.join("wshd"))
    }

    pub(crate) fn plugin(&self, name: &str) -> PathBuf {
        self.plugins.join(format!("lib{name}.so"))
    }

    /// Builds of a plugin that says `build-0001`: they differ in that number.
    pub(crate) fn builds(&self, name: &str) -> Result<Builds> {
        let bytes = std::fs::read(self.plugin(name))?;
        let first = build_name(1);
        let places: Vec<usize> = (0..bytes.len().saturating_sub(first.len()))
            .filter(|at| bytes[*at..].starts_with(first.as_bytes()))
            .collect();
        match places.is_empty() {
            true => Err(format!("`{first}` is not in `{name}`").into()),
            false => Ok(Builds { bytes, places }),
        }
    }
}

/// The bytes of a plugin, and where the name of its build is in them.
#[derive(Clone, Debug)]
pub(crate) struct Builds {
    bytes: Vec<u8>,
    places: Vec<usize>,
}

impl Builds {
    /// The bytes of the build with this number.
    pub(crate) fn number(&self, number: usize) -> Vec<u8> {
        let (mut bytes, name) = (self.bytes.clone(), build_name(number));
        for at in &self.places {
            bytes[*at..*at + name.len()].copy_from_slice(name.as_bytes());
        }
        bytes
    }
}

/// The name of the build with this number, which its handler answers with.
pub(crate) fn build_name(number: usize) -> String {
    format!("build-{:04}", number % 10_000)
}

const PLUGINS: [&str; 8] = [
    "async_flood_wsh",
    "echo_wsh",
    "fan_wsh",
    "features_wsh",
    "ledger_wsh",
    "panics_wsh",
    "stuck_wsh",
    "troubled_wsh",
];
