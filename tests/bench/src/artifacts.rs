//! wshd and the plugins of the bench, built as they are shipped.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;

/// The files that cargo built.
#[derive(Clone, Debug)]
pub(crate) struct Artifacts {
    pub(crate) server: PathBuf,
    pub(crate) plugins: Vec<PathBuf>,
}

impl Artifacts {
    /// Builds the server and the plugins of the echo cases.
    pub(crate) fn build() -> Result<Artifacts> {
        Artifacts::build_with(&PLUGINS)
    }

    /// Builds the server and these plugins into the target directory of this program.
    pub(crate) fn build_with(plugins: &[&str]) -> Result<Artifacts> {
        let program = std::env::current_exe()?;
        let own = program.parent().unwrap_or(Path::new("."));
        let target = own.parent().unwrap_or(Path::new("."));
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
            .args(["build", "--quiet", "--profile", PROFILE, "-p", "wshd"])
            .args(plugins.iter().flat_map(|plugin| ["-p", plugin]))
            .arg("--target-dir")
            .arg(target);
        if !cargo.status()?.success() {
            return Err("cargo cannot build wshd and its plugins, see above".into());
        }
        let built = target.join(PROFILE);
        Ok(Artifacts {
            server: built.join("wshd"),
            plugins: plugins
                .iter()
                .map(|plugin| built.join(format!("lib{plugin}.so")))
                .collect(),
        })
    }

    /// Builds the server, the plugins of the echo cases, and an echo in each of the other two styles.
    pub(crate) fn build_styles() -> Result<Artifacts> {
        let styles = STYLES.map(|(_, plugin)| plugin);
        Artifacts::build_with(&[&PLUGINS[..], &styles[..]].concat())
    }

    /// Returns these artifacts without the echoes of the other styles.
    pub(crate) fn without_styles(&self) -> Artifacts {
        let mut artifacts = self.clone();
        artifacts.plugins.truncate(PLUGINS.len());
        artifacts
    }

    /// Returns these artifacts with only this plugin, which echoes.
    pub(crate) fn echoing(&self, plugin: &str) -> Artifacts {
        let file = format!("lib{plugin}.so");
        let mut artifacts = self.clone();
        artifacts.plugins.retain(|it| it.ends_with(&file));
        artifacts
    }

    /// The file name that a plugin is served under. Every plugin that echoes answers at `/echo`.
    pub(crate) fn served_as(plugin: &Path) -> std::borrow::Cow<'_, std::ffi::OsStr> {
        let name = plugin.file_name().unwrap_or_default();
        let is_echo = STYLES
            .iter()
            .any(|(_, echo)| name == &*format!("lib{echo}.so"));
        match is_echo {
            true => std::ffi::OsString::from("libecho_wsh.so").into(),
            false => name.into(),
        }
    }

    /// Returns a plugin by the name of its crate.
    pub(crate) fn plugin(&self, name: &str) -> Option<&Path> {
        let index = PLUGINS.iter().position(|plugin| *plugin == name)?;
        Some(&self.plugins[index])
    }
}

/// The profile that is measured. Its directory has the same name.
const PROFILE: &str = "dist";
const PLUGINS: [&str; 2] = ["echo_wsh", "fan_wsh"];
/// The name of each other style in the tables, and its plugin that echoes.
pub(crate) const STYLES: [(&str, &str); 2] = [
    ("async", "async_echo_wsh"),
    ("blocking", "blocking_echo_wsh"),
];
