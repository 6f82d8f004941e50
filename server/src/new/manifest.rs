//! The manifest of the SDK: that of plugin-api, with each `workspace = true` replaced by what the workspace
//! says, and as a workspace of its own.

use toml::{Table, Value};

const WORKSPACE: &str = include_str!("../../packed/workspace.toml");
const SDK: &str = include_str!("../../packed/sdk/manifest.toml");

/// The manifest without what only the SDK's own tests need. An empty `[workspace]` keeps cargo from looking for one
/// in the directories above, which may hold a workspace that knows nothing of the SDK.
pub(crate) fn of_the_sdk() -> String {
    let workspace = workspace();
    let mut manifest = Table::new();
    for (name, value) in parsed(SDK) {
        let value = match (name.as_str(), value) {
            // The lints are for this repository only.
            ("dev-dependencies" | "test" | "lints", _) => continue,
            ("package" | "dependencies", Value::Table(table)) => {
                Value::Table(inherited(table, table_of(&workspace, &name)))
            }
            (_, value) => value,
        };
        manifest.insert(name, value);
    }
    manifest.insert("workspace".to_owned(), Value::Table(Table::new()));
    let version = env!("CARGO_PKG_VERSION");
    let text = toml::to_string_pretty(&manifest).expect("a table is written as TOML");
    format!("{HEAD}{version}, as `wshd new` wrote it.\n\n{text}")
}

/// The beginning of each manifest that a wshd writes.
pub(crate) const HEAD: &str = "# The SDK of wshd ";

/// The edition of Rust of a new handler.
pub(crate) fn edition() -> String {
    let workspace = workspace();
    let edition = table_of(&workspace, "package").get("edition");
    edition
        .and_then(Value::as_str)
        .expect("the workspace says its edition")
        .to_owned()
}

/// The version of a manifest's package.
pub(crate) fn version(manifest: &str) -> Option<String> {
    let manifest: Table = manifest.parse().ok()?;
    let version = manifest.get("package")?.get("version")?;
    version.as_str().map(str::to_owned)
}

/// A string at the top of a file.
pub(crate) fn value(file: &str, key: &str) -> Option<String> {
    let file: Table = file.parse().ok()?;
    file.get(key)?.as_str().map(str::to_owned)
}

fn workspace() -> Table {
    let mut root = parsed(WORKSPACE);
    match root.remove("workspace") {
        Some(Value::Table(workspace)) => workspace,
        other => panic!("a manifest with a workspace was packed, not {other:?}"),
    }
}

/// A manifest, as it was packed when the program was built.
fn parsed(manifest: &str) -> Table {
    manifest.parse().expect("cargo read this manifest")
}

fn table_of<'a>(workspace: &'a Table, name: &str) -> &'a Table {
    let table = workspace.get(name).and_then(Value::as_table);
    table.unwrap_or_else(|| panic!("the workspace has no table `{name}`"))
}

/// A table in which inherited keys are written out, joined with its own.
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
