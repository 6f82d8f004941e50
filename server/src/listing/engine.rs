//! What the engine keeps, for operators and for the index page: the document `/.wshd/engine.json`.

use serde_json::{Value, json};

use crate::config::Limits;
use crate::engine::{EngineStatus, Usage};

/// The engine at one moment.
#[derive(Debug)]
pub(crate) struct EngineReport {
    pub(crate) status: EngineStatus,
    /// What it keeps of the server's own topics, which all handlers share.
    pub(crate) shared: Usage,
    /// What it keeps for all handlers and of the server's own topics.
    pub(crate) total: Usage,
}

impl EngineReport {
    /// The report as JSON. Limits and sizes, which are for operators, are in it only if the reader `is_here`: on this
    /// machine.
    pub(crate) fn json(&self, is_here: bool, limits: &Limits) -> String {
        let EngineReport {
            status,
            shared,
            total,
        } = self;
        let mut value = json!({
            "kind": status.kind,
            "status": if status.is_reachable { "reachable" } else { "away" },
            "shared": { "topics": shared.topics, "members": shared.members },
        });
        if is_here {
            value["shared"]["history_bytes"] = shared.history_bytes.into();
            value["in_use"] = in_use(total);
            value["limits"] = json!({
                "history_bytes_max": limits.history_bytes_max,
                "presence_bytes_max": limits.presence_bytes_max,
                "presence_value_bytes_max": limits.presence_value_bytes_max,
            });
        }
        value.to_string()
    }
}

fn in_use(total: &Usage) -> Value {
    json!({
        "topics": total.topics,
        "members": total.members,
        "history_bytes": total.history_bytes,
        "presence_bytes": total.presence_bytes,
        "keys": total.keys,
        "store_bytes": total.store_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_limits_are_told_on_this_machine_only() {
        let usage = |topics| Usage {
            topics,
            publications: 2,
            history_bytes: 300,
            members: 4,
            presence_bytes: 50,
            keys: 6,
            store_bytes: 70,
        };
        let report = |is_reachable| EngineReport {
            status: EngineStatus {
                kind: "local",
                is_reachable,
            },
            shared: usage(1),
            total: usage(10),
        };
        let limits = Limits {
            history_bytes_max: 1_000,
            presence_bytes_max: 200,
            presence_value_bytes_max: 30,
            ..Limits::default()
        };
        let read = |text: String| serde_json::from_str::<Value>(&text).expect("JSON");

        let there = read(report(false).json(false, &limits));
        let here = read(report(true).json(true, &limits));

        assert_eq!(
            there,
            json!({ "kind": "local", "status": "away", "shared": { "topics": 1, "members": 4 } })
        );
        assert_eq!(
            here,
            json!({
                "kind": "local",
                "status": "reachable",
                "shared": { "topics": 1, "members": 4, "history_bytes": 300 },
                "in_use": {
                    "topics": 10, "members": 4, "history_bytes": 300, "presence_bytes": 50,
                    "keys": 6, "store_bytes": 70,
                },
                "limits": {
                    "history_bytes_max": 1_000, "presence_bytes_max": 200,
                    "presence_value_bytes_max": 30,
                },
            })
        );
    }
}
