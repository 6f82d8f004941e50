//! The members that are sessions of this server: for the end of a session, and for an engine that comes back without them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::engine::{Member, TopicName};

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct OwnMembers {
    shards: [Mutex<HashMap<u64, Memberships>>; SHARDS],
}

/// Where one session is a member, and with which value.
type Memberships = HashMap<TopicName, Arc<[u8]>>;

impl OwnMembers {
    /// Notes a member. Answers the value that it had before.
    pub(super) fn set(&self, topic: &TopicName, member: &Member) -> Option<Arc<[u8]>> {
        let mut shard = self.shard(member.id);
        let memberships = shard.entry(member.id).or_default();
        memberships.insert(topic.clone(), member.value.clone())
    }

    /// Notes that a session is a member with its earlier value, because the engine has refused the new one.
    pub(super) fn undo(&self, topic: &TopicName, refused: &Member, before: Option<Arc<[u8]>>) {
        let mut shard = self.shard(refused.id);
        let Some(memberships) = shard.get_mut(&refused.id) else {
            return;
        };
        // It may have left or entered once more.
        if memberships.get(topic) != Some(&refused.value) {
            return;
        }
        match before {
            Some(value) => memberships.insert(topic.clone(), value),
            None => memberships.remove(topic),
        };
        if memberships.is_empty() {
            shard.remove(&refused.id);
        }
    }

    /// The value of a member.
    pub(super) fn value(&self, topic: &TopicName, id: u64) -> Option<Arc<[u8]>> {
        self.shard(id).get(&id)?.get(topic).cloned()
    }

    pub(super) fn remove(&self, topic: &TopicName, id: u64) {
        let mut shard = self.shard(id);
        if let Some(memberships) = shard.get_mut(&id) {
            memberships.remove(topic);
            if memberships.is_empty() {
                shard.remove(&id);
            }
        }
    }

    /// Forgets a session. Answers where it was a member.
    pub(super) fn take(&self, id: u64) -> Vec<TopicName> {
        let memberships = self.shard(id).remove(&id).unwrap_or_default();
        let mut topics: Vec<_> = memberships.into_keys().collect();
        topics.sort_unstable();
        topics
    }

    /// Each member with its topic, in the order of the ids.
    pub(super) fn all(&self) -> Vec<(TopicName, u64)> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let ids = shard.iter();
            all.extend(ids.flat_map(|(id, of)| of.keys().map(|topic| (topic.clone(), *id))));
        }
        all.sort_unstable_by(|(topic, id), (other, other_id)| (id, topic).cmp(&(other_id, other)));
        all
    }

    fn shard(&self, id: u64) -> MutexGuard<'_, HashMap<u64, Memberships>> {
        let shard = &self.shards[(id % SHARDS as u64) as usize];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const SHARDS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_value_leaves_the_one_before_and_an_ended_session_leaves_nothing() {
        let members = OwnMembers::default();
        let topic = |name: &str| TopicName {
            owner: "chat".into(),
            name: name.into(),
        };
        let member = |value: &str| Member {
            id: 7,
            value: value.as_bytes().into(),
        };
        let lobby = topic("lobby");

        let before = members.set(&lobby, &member("ann"));
        assert_eq!(before, None);
        let before = members.set(&lobby, &member("ben"));
        members.undo(&lobby, &member("ben"), before);
        assert_eq!(members.value(&lobby, 7).as_deref(), Some(&b"ann"[..]));

        members.set(&topic("tea"), &member("ann"));
        members.undo(&topic("tea"), &member("ann"), None);
        assert_eq!(members.all(), [(lobby.clone(), 7)]);

        members.undo(&lobby, &member("of another ask"), None);
        assert_eq!(members.take(7), std::slice::from_ref(&lobby));
        members.undo(&lobby, &member("ann"), Some(Arc::from(*b"late")));
        assert_eq!(members.all(), []);
    }
}
