//! Whether the pages that the configuration names can be served.

use std::io;
use std::path::PathBuf;

use super::Config;

/// The document root is no directory that can be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve pages from `{}`: {source}", path.display())]
pub struct NoPages {
    path: PathBuf,
    source: io::Error,
}

/// Looks whether the document root, if there is one, is a directory that can be read.
pub(crate) fn check(config: &Config) -> Result<(), NoPages> {
    let Some(root) = &config.document_root else {
        return Ok(());
    };
    let read = std::fs::read_dir(root).map(drop);
    read.map_err(|source| NoPages {
        path: root.clone(),
        source,
    })
}
