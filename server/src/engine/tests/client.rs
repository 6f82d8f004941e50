//! A client of the storm: it remembers the last position, comes back with it, and checks what it hears.

use std::collections::HashSet;

use super::cluster::Cluster;
use super::history::position_in;
use super::session::{Heard, TestSession};
use crate::engine::PageLimit;
use crate::engine::node::{HistoryPage, JoinFrom, Joined};
use crate::sessions::topics::Topic;

/// Epoch and offset.
pub(super) type Place = (u64, u64);

/// See the [module](self).
pub(super) struct Client {
    pub(super) topic: &'static str,
    /// Everything that it has heard in all its lives.
    pub(super) heard: Vec<(Place, String)>,
    /// The last position that it has heard.
    position: Option<Vec<u8>>,
    life: Option<Life>,
}

/// One session of a client.
struct Life {
    session: TestSession,
    server: usize,
    /// The gaps that the server had told when the session began, and those that it has used up.
    gaps_before: u64,
    gaps_met: u64,
    /// The position that it has named.
    after: Option<Place>,
    is_joined: bool,
    has_failed: bool,
    /// So many missed messages follow.
    missed: usize,
    /// What the next publication follows.
    last: Place,
    /// By epoch: what the broker has lost may be published once more.
    texts: HashSet<(u64, String)>,
}

impl Client {
    pub(super) fn new(topic: &'static str) -> Client {
        Client {
            topic,
            heard: Vec::new(),
            position: None,
            life: None,
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.life.is_some()
    }

    pub(super) fn disconnect(&mut self) {
        self.life = None;
    }

    /// Joins from the last position, if there is one, else with so many of the last messages.
    pub(super) fn connect(&mut self, cluster: &Cluster, server: usize, last: u64) {
        let mut session = cluster.session(server);
        let after = self.position.as_ref();
        let place = after.and_then(|it| cluster.place(self.topic, it));
        let from = JoinFrom {
            after: after.map(|it| it.as_slice()),
            last,
        };
        let gaps_before = cluster.servers[server].node.gaps();
        session.join(self.topic, from);
        self.life = Some(Life {
            session,
            server,
            gaps_before,
            gaps_met: 0,
            after: place.map(|it| (it.epoch, it.offset)),
            is_joined: false,
            has_failed: false,
            missed: 0,
            last: (0, 0),
            texts: HashSet::new(),
        });
    }

    /// Takes what has come, and checks it.
    pub(super) fn read(&mut self, cluster: &Cluster) -> Result<(), String> {
        let Some(life) = &mut self.life else {
            return Ok(());
        };
        for heard in life.session.heard() {
            match heard {
                Heard::Joined(_) if life.is_joined || life.has_failed => {
                    return Err("a join was answered twice".to_owned());
                }
                Heard::Joined(Err(_)) => life.has_failed = true,
                Heard::Joined(Ok(joined)) => life.join(cluster, self.topic, joined)?,
                Heard::Text(text) => {
                    let position = position_in(&text);
                    let at = cluster.place(self.topic, &position);
                    let at = at.ok_or_else(|| format!("no position: {text}"))?;
                    let text = text.split_once(' ').map(|(_, text)| text.to_owned());
                    let text = text.unwrap_or_default();
                    let at = (at.epoch, at.offset);
                    life.hear(cluster, at, &text)
                        .map_err(|what| format!("{} at {at:?}: {what}", self.topic))?;
                    self.heard.push((at, text));
                    self.position = Some(position);
                }
            }
        }
        // A session that could not join tries again later.
        if life.has_failed {
            self.life = None;
        }
        Ok(())
    }

    /// After a calm time: the client has heard everything up to the end.
    pub(super) fn check_end(&self, cluster: &Cluster) -> Result<(), String> {
        let Some(life) = &self.life else {
            return Ok(());
        };
        if !life.is_joined {
            return Err("a join was not answered".to_owned());
        }
        let (answer, done) = super::cluster::answer::<HistoryPage>();
        let limit = PageLimit { items: 1, bytes: 1 };
        let node = &cluster.servers[life.server].node;
        node.history(Topic::new("chat", self.topic), None, u64::MAX, limit, done);
        cluster.settle();
        let head = answer.take().map_err(|it| format!("{it:?}"))?.head;
        let head = head.and_then(|it| cluster.place(self.topic, it.as_bytes()));
        let head = head.map(|it| (it.epoch, it.offset));
        let is_at_the_end = match head {
            Some(head) => head == life.last,
            // Nothing was published since the stream began, which is the place of offset 0.
            None => life.last.1 == 0,
        };
        match is_at_the_end {
            true => Ok(()),
            // What it has missed is told, and nothing was published since then.
            false if life.may_have_missed(cluster) => Ok(()),
            false => Err(format!(
                "{}: it has heard up to {:?}, and the end is {head:?}",
                self.topic, life.last
            )),
        }
    }
}

impl Life {
    fn join(&mut self, cluster: &Cluster, topic: &str, joined: Joined) -> Result<(), String> {
        self.is_joined = true;
        self.missed = joined.missed;
        let position = joined
            .position
            .ok_or("a topic with history has a position")?;
        let at = cluster
            .place(topic, position.as_bytes())
            .ok_or("no position")?;
        let missed = joined.missed as u64;
        let first = at
            .offset
            .checked_sub(missed)
            .ok_or("more was missed than there was")?;
        self.last = (at.epoch, first);
        match (joined.is_recovered, self.after) {
            (true, Some(after)) if after != self.last => Err(format!(
                "{topic}: all is recovered behind {after:?}, and it begins behind {:?}",
                self.last
            )),
            (false, _) if missed > 3 => Err(format!("{missed} came without being asked for")),
            _ => Ok(()),
        }
    }

    fn hear(&mut self, cluster: &Cluster, at: Place, text: &str) -> Result<(), String> {
        if !self.is_joined {
            return Err("it came before the answer".to_owned());
        }
        if !self.texts.insert((at.0, text.to_owned())) {
            return Err(format!("`{text}` came twice"));
        }
        let last = std::mem::replace(&mut self.last, at);
        let is_next = (last.0, last.1 + 1) == at;
        if self.missed > 0 {
            self.missed -= 1;
            return match is_next {
                true => Ok(()),
                false => Err(format!("what was missed has a hole behind {last:?}")),
            };
        }
        if is_next {
            return Ok(());
        }
        if last.0 == at.0 && at.1 <= last.1 {
            return Err(format!("it came behind {last:?}"));
        }
        if !self.may_have_missed(cluster) {
            return Err(format!("it came behind {last:?}, and no gap was told"));
        }
        self.gaps_met += 1;
        Ok(())
    }

    /// Whether the server has told more gaps than the session has met.
    fn may_have_missed(&self, cluster: &Cluster) -> bool {
        let told = cluster.servers[self.server].node.gaps() - self.gaps_before;
        told > self.gaps_met
    }
}
