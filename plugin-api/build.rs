//! Names the compiler, so that a plugin can say what it was built with.

use std::process::Command;

fn main() {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = Command::new(rustc)
        .arg("--version")
        .output()
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .unwrap_or_else(|| "rustc".into());
    println!("cargo::rustc-env=WSH_TOOLCHAIN={}", version.trim());
    println!("cargo::rerun-if-changed=build.rs");
}
