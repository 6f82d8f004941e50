//! Whether messages may be so long that few clients can take all memory.

use std::iter;

use super::Config;

impl Config {
    /// A sentence for each table by which few clients can take all memory of a machine with so many bytes, by a long
    /// message each.
    pub fn long_messages(&self, memory_bytes: u64) -> Vec<String> {
        let everywhere = self.defaults.session.message_bytes_max;
        let own = self.handlers.iter().map(|(name, handler)| {
            let table = format!("handler.{name:?}");
            (table, handler.session.message_bytes_max)
        });
        let mut own: Vec<_> = own.filter(|(_, bytes)| *bytes != everywhere).collect();
        own.sort();
        let tables = iter::once(("limits".to_owned(), everywhere)).chain(own);
        let too_long = tables.filter(|(_, bytes)| memory_bytes / (*bytes as u64) < CLIENTS_LEAST);
        too_long
            .map(|(table, bytes)| sentence(&table, bytes, memory_bytes))
            .collect()
    }
}

fn sentence(table: &str, bytes: usize, memory_bytes: u64) -> String {
    let clients = memory_bytes / bytes as u64;
    let mib = memory_bytes / (1024 * 1024);
    format!(
        "`message_bytes_max = {bytes}` in `[{table}]`: the messages of {clients} clients can take all memory of this machine, \
         {mib} MiB; a handler that takes messages in parts needs none for them"
    )
}

/// As many clients at least have to fit with the longest message each.
const CLIENTS_LEAST: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: usize = 1024 * 1024 * 1024;

    #[test]
    fn a_limit_by_which_few_clients_take_all_memory_is_told_once() {
        let mut config = Config::default();
        assert!(config.long_messages(GIB as u64).is_empty());

        config.defaults.session.message_bytes_max = GIB;
        let mut small = config.defaults.clone();
        small.session.message_bytes_max = 1000;
        let mut large = config.defaults.clone();
        large.session.message_bytes_max = GIB / 2;
        config.handlers.extend([
            ("as_others".to_owned(), config.defaults.clone()),
            ("small".to_owned(), small),
            ("rooms/large".to_owned(), large),
        ]);
        assert!(config.long_messages(u64::MAX).is_empty());
        let told = config.long_messages(8 * GIB as u64);

        let limits = "`message_bytes_max = 1073741824` in `[limits]`: the messages of 8 clients can take all memory of this \
                      machine, 8192 MiB; a handler that takes messages in parts needs none for them";
        assert_eq!(told[0], limits);
        let rooms = "`message_bytes_max = 536870912` in `[handler.\"rooms/large\"]`: the messages of 16 clients";
        assert!(told[1].starts_with(rooms), "{}", told[1]);
        assert_eq!(told.len(), 2);
    }
}
