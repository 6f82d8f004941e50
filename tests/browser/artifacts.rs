//! `wshd` and the plugins under test, built by cargo.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// The files that cargo built.
pub(crate) struct Artifacts {
    pub(crate) server: PathBuf,
    /// The library of each of `PLUGINS`.
    plugins: BTreeMap<&'static str, PathBuf>,
}

impl Artifacts {
    pub(crate) fn plugin(&self, name: &str) -> &Path {
        let library = self.plugins.get(name);
        library.unwrap_or_else(|| panic!("`{name}` is not one of those that are built here"))
    }
}

/// Builds them once a run, in the profile of this test. A dependency would not do, because cargo builds a binary only for
/// the tests of its own package.
pub(crate) fn artifacts() -> &'static Artifacts {
    static ARTIFACTS: OnceLock<Artifacts> = OnceLock::new();
    ARTIFACTS.get_or_init(build)
}

fn build() -> Artifacts {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo
        .current_dir(repository())
        .args(["build", "--message-format=json-render-diagnostics"])
        .args(["-p", "wshd"])
        .args(PLUGINS.iter().flat_map(|plugin| ["-p", plugin]))
        .stderr(Stdio::inherit());
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    without_package(&mut cargo);
    let output = cargo.output().expect("cargo runs");
    assert!(
        output.status.success(),
        "cargo cannot build wshd and the plugins, see above"
    );

    let mut server = None;
    let mut plugins = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(message) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let name = message["target"]["name"].as_str().unwrap_or_default();
        if name == "wshd" && message["executable"].is_string() {
            server = message["executable"].as_str().map(PathBuf::from);
        }
        if let Some(plugin) = PLUGINS.iter().find(|plugin| **plugin == name) {
            let files = message["filenames"].as_array().into_iter().flatten();
            let files = files.filter_map(|file| file.as_str().map(PathBuf::from));
            plugins.extend(
                files
                    .filter(|file| is_library(file))
                    .map(|it| (*plugin, it)),
            );
        }
    }
    assert_eq!(
        plugins.len(),
        PLUGINS.len(),
        "one library of each plugin: {plugins:?}"
    );
    Artifacts {
        server: server.expect("cargo names the binary it built"),
        plugins,
    }
}

/// Takes the variables away that cargo sets for a test of this package. The build script of `ring` runs again whenever they
/// change, and all that depends on it is built again.
fn without_package(command: &mut Command) {
    let is_of_package = |name: &str| {
        let starts = [
            "CARGO_PKG_",
            "CARGO_MANIFEST_",
            "CARGO_BIN_",
            "CARGO_CRATE_",
        ];
        starts.iter().any(|start| name.starts_with(start))
    };
    for (name, _) in std::env::vars().filter(|(name, _)| is_of_package(name)) {
        command.env_remove(name);
    }
}

fn is_library(file: &Path) -> bool {
    let ending = std::env::consts::DLL_EXTENSION;
    file.extension().is_some_and(|it| it == ending)
}

/// Compiles a plugin of `tests/fixtures/c`, and returns the bytes of its library.
pub(crate) fn compiled(name: &str) -> Vec<u8> {
    let directory = tempfile::tempdir().expect("a temp dir");
    let library = directory.path().join("built.so");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-I"])
        .arg(repository().join("plugin-api/include"))
        .arg("-o")
        .arg(&library)
        .arg(repository().join(format!("tests/fixtures/c/{name}.c")))
        .status();
    let compiled =
        compiled.expect("there is no C compiler: install one, `apt-get install gcc libc6-dev`");
    assert!(compiled.success(), "cc compiles `{name}`");
    fs::read(&library).expect("the library")
}

/// The root of this repository.
pub(crate) fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("it is there")
}

/// Returns the path of the page `name` of the examples.
pub(crate) fn page_file(name: &str) -> PathBuf {
    repository().join("handlers/www").join(name)
}

const PLUGINS: [&str; 15] = [
    "abort_handshake_wsh",
    "abort_wsh",
    "benchmark_helper_wsh",
    "chat_wsh",
    "clock_wsh",
    "close_wsh",
    "cookie_wsh",
    "echo_noext_wsh",
    "echo_wsh",
    "internal_error_wsh",
    "origin_check_wsh",
    "slow_wsh",
    "subprotocol_wsh",
    "upload_wsh",
    "versioned_wsh",
];
