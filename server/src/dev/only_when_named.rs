//! Whether the handlers of a workspace are built only where `wshd dev` is given a path in that workspace.
//!
//! A folder of many handlers can hold a workspace that takes long to build. Its manifest says so:
//! `[workspace.metadata.wshd]` with `only_when_named = true`.

use serde_json::Value;

/// Reads `[workspace.metadata]`. `false` where the manifest says nothing.
///
/// # Errors
///
/// A sentence on what the manifest says instead, without the manifest's path.
pub(crate) fn of(metadata: &Value) -> Result<bool, String> {
    let Some(table) = metadata.get("wshd") else {
        return Ok(false);
    };
    let keys = table.as_object().map(|table| table.keys());
    let unknown = keys.and_then(|mut keys| keys.find(|key| *key != "only_when_named"));
    if let Some(unknown) = unknown {
        return Err(format!(
            "`workspace.metadata.wshd` has the key `only_when_named`, and no key `{unknown}`"
        ));
    }
    let value = table.get("only_when_named");
    value.and_then(Value::as_bool).ok_or_else(|| {
        let found = value.unwrap_or(table);
        format!(
            "`workspace.metadata.wshd` wants `only_when_named` to be `true` or `false`, found `{found}`"
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_workspace_is_built_with_others_unless_its_manifest_says_otherwise() {
        for (metadata, wanted) in [
            (json!(null), false),
            (json!({"docs": {"rs": {}}}), false),
            (json!({"wshd": {"only_when_named": false}}), false),
            (json!({"wshd": {"only_when_named": true}}), true),
        ] {
            assert_eq!(of(&metadata), Ok(wanted), "{metadata}");
        }
    }

    #[test]
    fn what_is_neither_true_nor_false_is_named_with_what_is_wanted() {
        for (table, found) in [
            (json!({"only_when_named": "yes"}), r#""yes""#),
            (json!({}), "{}"),
            (json!(true), "true"),
        ] {
            assert_eq!(
                of(&json!({"wshd": table})).unwrap_err(),
                format!(
                    "`workspace.metadata.wshd` wants `only_when_named` to be `true` or `false`, found `{found}`"
                )
            );
        }
        assert_eq!(
            of(&json!({"wshd": {"file": "tea_wsh.so"}})).unwrap_err(),
            "`workspace.metadata.wshd` has the key `only_when_named`, and no key `file`"
        );
    }
}
