//! `wshd` and the handlers under test, built by cargo.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// The files that cargo built.
pub(crate) struct Artifacts {
    pub(crate) server: PathBuf,
    pub(crate) handlers: Vec<PathBuf>,
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
        .args(HANDLERS.iter().flat_map(|handler| ["-p", handler]))
        .stderr(Stdio::inherit());
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let output = cargo.output().expect("cargo runs");
    assert!(
        output.status.success(),
        "cargo cannot build wshd and the handlers, see above"
    );

    let mut server = None;
    let mut handlers = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(message) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let name = message["target"]["name"].as_str().unwrap_or_default();
        if name == "wshd" && message["executable"].is_string() {
            server = message["executable"].as_str().map(PathBuf::from);
        }
        if HANDLERS.contains(&name) {
            let files = message["filenames"].as_array().into_iter().flatten();
            let files = files.filter_map(|file| file.as_str().map(PathBuf::from));
            handlers.extend(files.filter(|file| {
                file.extension()
                    .is_some_and(|ending| ending == std::env::consts::DLL_EXTENSION)
            }));
        }
    }
    assert_eq!(
        handlers.len(),
        HANDLERS.len(),
        "one library of each handler: {handlers:?}"
    );
    Artifacts {
        server: server.expect("cargo names the binary it built"),
        handlers,
    }
}

/// The root of this repository.
pub(crate) fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("it is there")
}

/// Returns the path of the page `name`.
pub(crate) fn page_file(name: &str) -> PathBuf {
    repository().join("handlers/www").join(name)
}

pub(crate) const HANDLERS: [&str; 5] = [
    "benchmark_helper_wsh",
    "chat_wsh",
    "clock_wsh",
    "echo_wsh",
    "slow_wsh",
];
