//! What the handlers of one server share: its directory, its configuration, and the builds of their plugin.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::harness::patch::{ABI_MAJOR, Builds, Patch};
use crate::harness::server::Server;
use crate::harness::site::Site;

/// A server with many handlers.
pub(super) struct World {
    pub(super) site: Site,
    pub(super) server: Server,
    pub(super) builds: Builds,
    pub(super) other_major: Vec<u8>,
    /// The tables of the configuration.
    tables: Mutex<BTreeMap<String, String>>,
}

/// What happens to sessions when their code is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reload {
    Migrate,
    Drain,
    Close,
}

pub(super) const RELOADS: [Reload; 3] = [Reload::Migrate, Reload::Drain, Reload::Close];

impl World {
    pub(super) fn start(seeds: &[u64]) -> World {
        let site = Site::empty();
        let mut tables = BTreeMap::new();
        for seed in seeds {
            tables.insert(name_of(*seed), table(RELOADS[*seed as usize % 3], 0));
        }
        site.write("config.toml", &configuration(&tables));
        let server = Server::bare(&site)
            .args(["-p", "0", "-w", "handlers", "--log-level", "info"])
            .start();
        let other_major = Patch::of("troubled_wsh").number(ABI_MAJOR, 2);
        World {
            site,
            server,
            builds: Builds::alike("troubled_wsh"),
            other_major: other_major.into_bytes(),
            tables: Mutex::new(tables),
        }
    }

    /// Changes one handler's table.
    pub(super) fn set_table(&self, name: &str, reload: Reload, note: u32) {
        let mut tables = self.tables.lock().expect("no thread panics with it");
        tables.insert(name.to_owned(), table(reload, note));
        self.site.write("config.toml", &configuration(&tables));
    }
}

/// The number of a build that no file had before, and that can be loaded.
pub(super) fn fresh_build() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    1 + NEXT.fetch_add(1, Ordering::Relaxed) % 9_999
}

fn configuration(tables: &BTreeMap<String, String>) -> String {
    let mut text = format!(
        "[limits]\npanics_max = {PANICS_MAX}\npanics_window_ms = 3600000\nquarantine_ms = 3600000\ngenerations_max = 64\n"
    );
    for (name, table) in tables {
        text += &format!("[handler.{name}]\n{table}");
    }
    text
}

fn table(reload: Reload, note: u32) -> String {
    let reload = format!("{reload:?}").to_lowercase();
    format!("reload = \"{reload}\"\nconfig = {{ note = \"note-{note:04}\" }}\n")
}

pub(super) fn name_of(seed: u64) -> String {
    format!("h{seed}")
}

/// This many panics of one generation put it out of service.
pub(super) const PANICS_MAX: usize = 3;
