//! The name of a crate's library in the handlers directory, where the manifest says one.
//!
//! Cargo names a library by its target, in one directory for all. A handler in a folder says its file itself:
//! `[package.metadata.wshd]` with `file = "rooms/tea_wsh.so"`.

use serde_json::Value;

use super::handler::SUFFIX;

/// The library's name without its ending, such as `rooms/tea_wsh`. `None` where the manifest says none.
///
/// # Errors
///
/// A sentence on what the manifest says instead, without the manifest's path.
pub(crate) fn of(metadata: &Value) -> Result<Option<String>, String> {
    let Some(table) = metadata.get("wshd") else {
        return Ok(None);
    };
    let keys = table.as_object().map(|table| table.keys());
    let unknown = keys.and_then(|mut keys| keys.find(|key| *key != "file"));
    if let Some(unknown) = unknown {
        return Err(format!(
            "`package.metadata.wshd` has the key `file`, and no key `{unknown}`"
        ));
    }
    let file = table.get("file");
    let name = file.and_then(Value::as_str).and_then(name_in);
    let fault = || {
        let found = file.unwrap_or(table);
        format!(
            "`package.metadata.wshd` wants `file` to be a path in the handlers directory, \
             such as `rooms/tea_wsh.so`, found `{found}`"
        )
    };
    name.map(Some).ok_or_else(fault)
}

/// The name in the path of a library: `rooms/tea_wsh` in `rooms/libtea_wsh.so`.
fn name_in(file: &str) -> Option<String> {
    let is_plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains('\0');
    if !file.split('/').all(is_plain) {
        return None;
    }
    let name = file.strip_suffix(std::env::consts::DLL_SUFFIX)?;
    let (folders, stem) = match name.rsplit_once('/') {
        Some((folders, stem)) => (Some(folders), stem),
        None => (None, name),
    };
    let stem = stem.ends_with(SUFFIX).then_some(stem)?;
    // As the server reads it: cargo's `lib` is no part of a handler's name.
    let stem = stem.strip_prefix("lib").unwrap_or(stem);
    Some(folders.map_or(stem.to_owned(), |folders| format!("{folders}/{stem}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_manifest_names_the_file_or_leaves_it_to_cargo() {
        for (metadata, name) in [
            (json!(null), None),
            (json!({"docs": {"rs": {}}}), None),
            (
                json!({"wshd": {"file": "rooms/tea_wsh.so"}}),
                Some("rooms/tea_wsh"),
            ),
            (
                json!({"wshd": {"file": "a/b/libtea_wsh.so"}}),
                Some("a/b/tea_wsh"),
            ),
            (json!({"wshd": {"file": "sub/_wsh.so"}}), Some("sub/_wsh")),
            (json!({"wshd": {"file": "_wsh.so"}}), Some("_wsh")),
        ] {
            assert_eq!(of(&metadata).unwrap().as_deref(), name, "{metadata}");
        }
    }

    #[test]
    fn what_is_no_file_of_a_handler_is_named_with_what_is_wanted() {
        for found in [
            "",
            "rooms/tea.so",
            "rooms/tea_wsh",
            "/rooms/tea_wsh.so",
            "../tea_wsh.so",
            "rooms//tea_wsh.so",
            ".rooms/tea_wsh.so",
        ] {
            assert_eq!(
                of(&json!({"wshd": {"file": found}})).unwrap_err(),
                format!(
                    "`package.metadata.wshd` wants `file` to be a path in the handlers directory, \
                     such as `rooms/tea_wsh.so`, found `\"{found}\"`"
                )
            );
        }
        assert!(of(&json!({"wshd": {"file": 7}})).is_err());
        assert!(of(&json!({"wshd": {}})).is_err());
        assert!(of(&json!({"wshd": "tea_wsh.so"})).is_err());
        assert_eq!(
            of(&json!({"wshd": {"path": "/tea"}})).unwrap_err(),
            "`package.metadata.wshd` has the key `file`, and no key `path`"
        );
    }
}
