//! Every handler and its generations, for whoever wants to see them.

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::generation::Generation;

/// What is known of all handlers, in the order of their names. It never changes; a change makes a
/// new one. The numbers of sessions are those of the moment that it is looked at.
#[derive(Debug, Default)]
pub(crate) struct Listing(Vec<Listed>);

/// One handler.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) name: String,
    /// What new connections begin on.
    pub(crate) serving: Option<Arc<Generation>>,
    /// Those before it that may not be gone yet, the oldest first.
    pub(crate) old: Vec<Arc<Generation>>,
    /// Generations that came and went before.
    pub(crate) retired: usize,
    /// Why its file is not what serves.
    pub(crate) refusal: Option<String>,
}

impl Listing {
    pub(crate) fn new(handlers: Vec<Listed>) -> Listing {
        Listing(handlers)
    }

    /// As JSON. What is for operators, reasons and versions, stays on this machine.
    pub(crate) fn json(&self, reader: IpAddr) -> String {
        let is_here = reader.to_canonical().is_loopback();
        let shown = self
            .0
            .iter()
            .filter(|listed| is_here || listed.serving.is_some());
        let shown = shown.map(|listed| listed.json(is_here));
        Value::from(shown.collect::<Vec<_>>()).to_string()
    }
}

impl Listed {
    fn json(&self, is_here: bool) -> Value {
        let serving = self.serving.as_ref();
        let mut value = json!({
            "path": format!("/{}", self.name),
            "name": self.name,
            "generation": serving.map(|generation| generation.number),
            "sessions": serving.map_or(0, |generation| generation.sessions()),
        });
        if is_here {
            // Some may have gone since the list was made.
            let old = self.old.iter().rev().filter(|it| !it.is_gone());
            let old: Vec<_> = old.collect();
            value["retired"] = (self.retired + self.old.len() - old.len()).into();
            let newest_first = serving.into_iter().chain(old);
            value["generations"] = newest_first.map(|it| generation_json(it)).collect();
            value["refusal"] = self.refusal.clone().into();
        }
        value
    }
}

fn generation_json(generation: &Generation) -> Value {
    let from = &generation.provenance;
    let life = generation.life();
    let state = match life {
        _ if life.is_serving() && generation.is_quarantined() => "quarantined",
        _ => life.name(),
    };
    json!({
        "number": generation.number,
        "state": state,
        "sessions": generation.sessions(),
        "file_hash": format!("{:016x}", from.hash),
        "version": from.about.version,
        "toolchain": from.about.toolchain,
        "state_schema": from.about.schema,
    })
}
