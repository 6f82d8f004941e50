//! Packs the SDK for `wshd new`, and lets plugins find what the program has in place of some functions
//! of the C library.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let is_sanitized = note_sanitizer();
    export_functions(is_sanitized)?;
    pack_sdk()
}

/// `cfg(sanitized)`: the runtime of a sanitizer has functions of its own in the places of those that the
/// program exports, or calls them before instrumented code can run. `cfg(sanitize)` itself is known to
/// nightly compilers only.
fn note_sanitizer() -> bool {
    println!("cargo::rustc-check-cfg=cfg(sanitized)");
    let is_sanitized = std::env::var_os("CARGO_CFG_SANITIZE").is_some();
    if is_sanitized {
        println!("cargo::rustc-cfg=sanitized");
        // See `leave` in `src/border/library.rs`; only what is exported is kept of a runtime.
        let leaks = "__lsan_do_recoverable_leak_check";
        println!("cargo::rustc-link-arg-bins=-Wl,--export-dynamic-symbol={leaks}");
    }
    is_sanitized
}

/// See `thread_keys.rs`, `signal_dispositions.rs`, `open_files_limit.rs` and `thread_local_destructors.rs` in `src/border/guards`.
fn export_functions(is_sanitized: bool) -> Result<(), Box<dyn Error>> {
    let guarded: &[&str] = if is_sanitized {
        &[]
    } else {
        &GUARDED_FUNCTIONS
    };
    if std::env::var("CARGO_CFG_TARGET_OS")? == "linux" {
        for name in KEY_FUNCTIONS.iter().chain(guarded) {
            println!("cargo::rustc-link-arg-bins=-Wl,--export-dynamic-symbol={name}");
        }
    }
    Ok(())
}

const KEY_FUNCTIONS: [&str; 2] = ["pthread_key_create", "pthread_key_delete"];
const GUARDED_FUNCTIONS: [&str; 13] = [
    "__cxa_thread_atexit_impl",
    "sigaction",
    "sigignore",
    "signal",
    "ssignal",
    "bsd_signal",
    "sysv_signal",
    "__sysv_signal",
    "sigset",
    "setrlimit",
    "setrlimit64",
    "prlimit",
    "prlimit64",
];

/// The SDK's sources; `src/new/manifest.rs` makes its manifest. What lies in `packed` are links to other folders of the
/// repository, which cargo follows when it packages the server.
fn pack_sdk() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("packed");
    let sdk = root.join("sdk");
    let mut files = vec![root.join("LICENSE-APACHE"), root.join("LICENSE-MIT")];
    files.push(sdk.join("build.rs"));
    for directory in ["include", "src"] {
        println!("cargo::rerun-if-changed={}", sdk.join(directory).display());
        collect(&sdk.join(directory), &mut files)?;
    }
    files.sort();

    let mut code = String::new();
    writeln!(code, "pub(crate) const FILES: &[(&str, &str)] = &[")?;
    for file in files {
        let name = file.strip_prefix(&sdk).or(file.strip_prefix(&root))?;
        writeln!(code, "    ({name:?}, include_str!({file:?})),")?;
    }
    writeln!(code, "];")?;
    fs::write(Path::new(&std::env::var("OUT_DIR")?).join("sdk.rs"), code)?;
    Ok(())
}

/// All files at and below a directory.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
