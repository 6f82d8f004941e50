//! A publication as it has come to this server: from the engine that tells of it, or from a page of the history.

use std::sync::Arc;

use super::stream::Missing;
use crate::engine::{Origin, Page};
use crate::sessions::prepared_message::PreparedMessage;

/// See the [module](self).
pub(super) struct Arrived {
    pub(super) message: Arc<PreparedMessage>,
    pub(super) except: u64,
    /// `None` if it was read from the history.
    pub(super) source: Option<(Origin, u64)>,
}

/// What the stream needs of a page.
impl From<Page> for Missing<Arrived> {
    fn from(page: Page) -> Missing<Arrived> {
        let publications = page.publications.into_iter().map(|past| {
            let publication = Arrived {
                message: past.message,
                except: past.except,
                source: None,
            };
            (publication, past.at)
        });
        Missing {
            publications: publications.collect(),
            is_complete: page.is_complete,
            has_more: page.has_more,
            head: page.head,
        }
    }
}
