//! Packs the SDK for `wshd new`, and lets plugins find what the program has in place of two functions
//! of the C library.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    export_thread_keys()?;
    pack_sdk()
}

/// See `src/plugin/keys.rs`.
fn export_thread_keys() -> Result<(), Box<dyn Error>> {
    if std::env::var("CARGO_CFG_TARGET_OS")? == "linux" {
        for name in ["pthread_key_create", "pthread_key_delete"] {
            println!("cargo::rustc-link-arg-bins=-Wl,--export-dynamic-symbol={name}");
        }
    }
    Ok(())
}

/// The SDK's sources as they lie in plugin-api, and a manifest that stands alone, in which every
/// `workspace = true` has become what the workspace says.
fn pack_sdk() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("..");
    let sdk = root.join("plugin-api");
    let workspace = read(&root.join("Cargo.toml"))?;
    let workspace = workspace["workspace"].as_table().ok_or("no workspace")?;
    let manifest = standing_alone(read(&sdk.join("Cargo.toml"))?, workspace)?;

    let mut files = vec![root.join("LICENSE-APACHE"), root.join("LICENSE-MIT")];
    files.push(sdk.join("build.rs"));
    for directory in ["include", "src"] {
        println!("cargo::rerun-if-changed={}", sdk.join(directory).display());
        collect(&sdk.join(directory), &mut files)?;
    }
    files.sort();

    let mut code = String::new();
    let edition = text(&workspace["package"], "edition")?;
    writeln!(code, "pub(crate) const EDITION: &str = {edition:?};")?;
    writeln!(code, "pub(crate) const FILES: &[(&str, &str)] = &[")?;
    writeln!(code, "    (\"Cargo.toml\", {manifest:?}),")?;
    for file in files {
        let name = file.strip_prefix(&sdk).or(file.strip_prefix(&root))?;
        writeln!(code, "    ({name:?}, include_str!({file:?})),")?;
    }
    writeln!(code, "];")?;
    fs::write(Path::new(&std::env::var("OUT_DIR")?).join("sdk.rs"), code)?;
    Ok(())
}

fn read(manifest: &Path) -> Result<Table, Box<dyn Error>> {
    println!("cargo::rerun-if-changed={}", manifest.display());
    Ok(fs::read_to_string(manifest)?.parse()?)
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

/// The SDK's manifest without its workspace, and without what only its own tests need.
fn standing_alone(sdk: Table, workspace: &Table) -> Result<String, Box<dyn Error>> {
    let mut manifest = Table::new();
    for (name, value) in sdk {
        let value = match (name.as_str(), value) {
            // Somebody else's build is no place for our lints.
            ("dev-dependencies" | "test" | "lints", _) => continue,
            ("package" | "dependencies", Value::Table(table)) => {
                let above = workspace[&name].as_table().ok_or("no table")?;
                Value::Table(inherited(table, above))
            }
            (_, value) => value,
        };
        manifest.insert(name, value);
    }
    let head = format!(
        "# The SDK of wshd {}, as `wshd new` wrote it.\n\n",
        text(&workspace["package"], "version")?
    );
    Ok(head + &toml::to_string_pretty(&manifest)?)
}

/// A table in which what is inherited is written out, with what is said beside it.
fn inherited(table: Table, above: &Table) -> Table {
    let resolve = |(name, value): (String, Value)| {
        let Value::Table(mut own) = value else {
            return (name, value);
        };
        if own.remove("workspace").is_none() {
            return (name, Value::Table(own));
        }
        let value = match &above[&name] {
            value if own.is_empty() => value.clone(),
            Value::Table(inherited) => {
                let mut inherited = inherited.clone();
                inherited.extend(own);
                Value::Table(inherited)
            }
            version => {
                own.insert("version".to_owned(), version.clone());
                Value::Table(own)
            }
        };
        (name, value)
    };
    table.into_iter().map(resolve).collect()
}

fn text<'a>(table: &'a Value, name: &str) -> Result<&'a str, String> {
    let text = table.get(name).and_then(Value::as_str);
    text.ok_or_else(|| format!("the workspace says no `{name}`"))
}
