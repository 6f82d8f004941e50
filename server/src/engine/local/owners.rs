//! What is kept for each handler: its values, and the counts of its topics.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::store::Store;
use super::usage::TopicUsage;

/// A handler's name, with what is kept under it.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) name: Arc<str>,
    pub(super) topics: TopicUsage,
    store: Mutex<Store>,
}

/// Every owner that has been asked for. There are as many as handlers, and one for the server's own topics.
#[derive(Debug, Default)]
pub(super) struct Owners {
    by_name: RwLock<HashMap<Arc<str>, Arc<Owner>>>,
}

impl Owner {
    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Owners {
    /// The owner, which is made if it is not there.
    pub(super) fn get(&self, name: &Arc<str>) -> Arc<Owner> {
        if let Some(owner) = self.find(name) {
            return owner;
        }
        let make = || {
            Arc::new(Owner {
                name: name.clone(),
                topics: TopicUsage::default(),
                store: Mutex::default(),
            })
        };
        let mut by_name = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        by_name.entry(name.clone()).or_insert_with(make).clone()
    }

    pub(super) fn find(&self, name: &str) -> Option<Arc<Owner>> {
        let by_name = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        by_name.get(name).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Owner>> {
        let by_name = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        by_name.values().cloned().collect()
    }
}
