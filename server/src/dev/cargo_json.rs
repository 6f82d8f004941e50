//! The types of cargo's JSON, as far as `dev` reads it: of a workspace, and of a build.
//!
//! The author's cargo may be newer than this server. So each type names the fields that are read and no
//! others, and a diagnostic of an unknown level is shown like any other.

use std::path::PathBuf;

use serde::Deserialize;

/// The answer of `cargo metadata --no-deps`: one workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) workspace_root: PathBuf,
    /// The members, and no other packages.
    pub(crate) packages: Vec<Package>,
    /// `[workspace.metadata]`, which belongs to other tools than cargo.
    #[serde(default)]
    pub(crate) metadata: serde_json::Value,
}

/// One member of a workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    /// The id that `-p` takes and messages name.
    pub(crate) id: String,
    pub(crate) manifest_path: PathBuf,
    pub(crate) targets: Vec<CargoTarget>,
    pub(crate) dependencies: Vec<Dependency>,
    /// `[package.metadata]`, which belongs to other tools than cargo.
    #[serde(default)]
    pub(crate) metadata: serde_json::Value,
}

/// A target of a package: a library, a build script, a test.
#[derive(Debug, Deserialize)]
pub(crate) struct CargoTarget {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
}

/// A dependency, as the manifest declares it.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    /// The directory of a path dependency.
    pub(crate) path: Option<PathBuf>,
    /// `dev`, `build`, or nothing.
    pub(crate) kind: Option<String>,
}

impl CargoTarget {
    pub(crate) fn is_cdylib(&self) -> bool {
        self.kind.iter().any(|kind| kind == "cdylib")
    }
}

/// A line that `cargo build --message-format=json` writes.
#[derive(Debug, Deserialize)]
#[serde(tag = "reason")]
pub(crate) enum CargoMessage {
    #[serde(rename = "compiler-artifact")]
    Artifact {
        package_id: String,
        target: CargoTarget,
        filenames: Vec<PathBuf>,
        fresh: bool,
    },
    #[serde(rename = "compiler-message")]
    Diagnostic {
        package_id: String,
        message: Diagnostic,
    },
    #[serde(rename = "build-finished")]
    Finished,
    #[serde(rename = "build-script-executed")]
    ScriptExecuted,
    #[serde(other)]
    Other,
}

/// A diagnostic of rustc.
#[derive(Debug, Deserialize)]
pub(crate) struct Diagnostic {
    pub(crate) level: String,
    /// The text to show, with colours if they were asked for.
    pub(crate) rendered: String,
}
