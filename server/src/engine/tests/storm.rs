//! Everything at once: publications, sessions that come and go, lost and late messages, cuts, restarts that lose data.
//!
//! What each session hears is held against the positions that come with it: it hears all that follows the place from
//! which it was told to hear, in order and once, or its server has told a gap. `cargo test` tries 50 seeds.
//! `WSHD_LONG=1 cargo test -p wshd --lib storm -- --nocapture` tries 1,000, and `WSHD_SEED=N` tries one.

use std::collections::{HashMap, HashSet};

use super::client::{Client, Place};
use super::cluster::{Answer, Cluster, answer};
use super::session::TestSession;
use crate::engine::node::HistoryPage;
use crate::engine::position::Position;
use crate::engine::test_bus::faults::Faults;
use crate::engine::{Failure, PageLimit};
use crate::sessions::topics::Topic;

const SERVERS: usize = 5;
const TOPICS: [&str; 3] = ["long", "kept", "short"];

#[test]
fn sessions_hear_everything_in_order_and_once_or_are_told_that_they_do_not() {
    let is_long = std::env::var_os("WSHD_LONG").is_some_and(|value| value != "0");
    let only = std::env::var("WSHD_SEED")
        .ok()
        .and_then(|it| it.parse().ok());
    let seeds = match (only, is_long) {
        (Some(seed), _) => seed..seed + 1,
        (None, true) => 0..1_000,
        (None, false) => 0..50,
    };
    let (mut tried, mut failed) = (0, Vec::new());
    for seed in seeds {
        tried += 1;
        let storm = std::panic::catch_unwind(|| Storm::new(seed).run());
        let what = match storm {
            Ok(Ok(())) => continue,
            Ok(Err(what)) => what,
            Err(_) => "it panicked".to_owned(),
        };
        eprintln!("seed {seed}: {what}");
        failed.push(seed);
    }
    assert!(
        failed.is_empty(),
        "of {tried} seeds, these failed: {failed:?}"
    );
}

#[test]
fn a_seed_decides_everything() {
    let heard = || {
        let mut storm = Storm::new(7);
        storm.blow().unwrap();
        let clients = storm.clients.into_iter();
        clients.map(|client| client.heard).collect::<Vec<_>>()
    };
    let first = heard();
    assert!(first.iter().any(|heard| heard.len() > 20));
    assert_eq!(first, heard());
}

/// One run.
struct Storm {
    cluster: Cluster,
    random: fastrand::Rng,
    clients: Vec<Client>,
    /// A session on each server that hears a topic without history.
    listeners: Vec<(TestSession, HashSet<String>)>,
    published: u32,
    acked: Vec<(&'static str, String, Answer<Position>)>,
    /// Whether the broker may lose what it has acknowledged.
    loses: bool,
}

impl Storm {
    fn new(seed: u64) -> Storm {
        let mut random = fastrand::Rng::with_seed(seed ^ 0x5eed);
        let cluster = Cluster::on_bus(SERVERS, seed);
        cluster.tell_positions();
        let mut faults = Faults::many();
        faults.lost_publications = [0, 20, 100][random.usize(0..3)];
        faults.delay_ms = [1, 20, 60][random.usize(0..3)];
        cluster.set_faults(faults);
        let clients = (0..15).map(|number| Client::new(TOPICS[number % TOPICS.len()]));
        let listeners = (0..SERVERS).map(|server| {
            let mut session = cluster.session(server);
            session.subscribe("plain");
            (session, HashSet::new())
        });
        Storm {
            loses: random.bool(),
            listeners: listeners.collect(),
            clients: clients.collect(),
            cluster,
            random,
            published: 0,
            acked: Vec::new(),
        }
    }

    fn run(mut self) -> Result<(), String> {
        self.blow()?;
        self.calm()
    }

    fn blow(&mut self) -> Result<(), String> {
        for _ in 0..300 {
            self.act();
            self.cluster.advance(self.random.u64(1..80));
            for client in &mut self.clients {
                client.read(&self.cluster)?;
            }
            self.listen()?;
        }
        Ok(())
    }

    fn listen(&mut self) -> Result<(), String> {
        for (session, heard) in &mut self.listeners {
            for text in session.texts() {
                if !heard.insert(text.clone()) {
                    return Err(format!("`{text}` came twice"));
                }
            }
        }
        Ok(())
    }

    /// Does one thing that may happen.
    fn act(&mut self) {
        let (server, number) = (
            self.random.usize(0..SERVERS),
            self.random.usize(0..self.clients.len()),
        );
        match self.random.u32(0..1_000) {
            0..500 => (0..self.random.u32(1..6)).for_each(|_| self.publish(server)),
            500..600 => self.publish_acked(server),
            600..900 => {
                let client = &mut self.clients[number];
                if client.is_connected() {
                    client.disconnect();
                } else {
                    client.connect(&self.cluster, server, self.random.u64(0..4));
                }
            }
            900..940 => self.cluster.bus().cut(server, self.random.u64(0..5_000)),
            940..970 => self.cluster.bus().stall(server, self.random.u64(0..2_500)),
            970..975 => self.cluster.bus().stop_broker(self.random.u64(0..6_000)),
            975..985 => self.cluster.bus().take_replica(),
            985..990 if self.loses => {
                self.cluster.bus().fail_over();
                self.cluster.bus().stop_broker(self.random.u64(0..1_000));
            }
            990..995 if self.loses => {
                self.cluster.bus().lose_everything();
                self.cluster.bus().stop_broker(self.random.u64(0..1_000));
            }
            _ => {}
        }
    }

    fn next(&mut self) -> (&'static str, String) {
        self.published += 1;
        let topic = ["plain", "long", "kept", "short"][self.random.usize(0..4)];
        (topic, format!("{topic}-{}", self.published))
    }

    fn publish(&mut self, server: usize) {
        let (topic, text) = self.next();
        // A server that is cut off refuses.
        let _ = self.cluster.publish(server, topic, &text);
    }

    fn publish_acked(&mut self, server: usize) {
        let (topic, text) = self.next();
        if topic == "plain" {
            return;
        }
        let answer = self.cluster.publish_acked(server, topic, &text);
        self.acked.push((topic, text, answer));
    }

    /// Everything works again. Then all agree, and nothing is left behind.
    fn calm(mut self) -> Result<(), String> {
        self.cluster.set_faults(Faults::none());
        self.cluster.advance(25_000);
        self.listen()?;
        let mut texts = self.history();
        for client in &mut self.clients {
            client.read(&self.cluster)?;
            client.check_end(&self.cluster)?;
            for (place, text) in &client.heard {
                let known = texts
                    .entry((client.topic, *place))
                    .or_insert_with(|| text.clone());
                if known != text {
                    return Err(format!(
                        "{place:?} is `{known}` for one and `{text}` for another"
                    ));
                }
            }
        }
        for (topic, text, answer) in &self.acked {
            let position = match answer.take() {
                Ok(position) => position,
                Err(Failure::Unavailable) => continue,
                Err(other) => return Err(format!("`{text}` was answered {other:?}")),
            };
            let place = self.cluster.place(topic, position.as_bytes());
            let place = place.ok_or("a position that cannot be read")?;
            let known = texts.get(&(*topic, (place.epoch, place.offset)));
            if known.is_some_and(|known| known != text) {
                return Err(format!(
                    "`{text}` was acknowledged at the place of {known:?}"
                ));
            }
        }
        self.clients.iter_mut().for_each(Client::disconnect);
        self.listeners.clear();
        self.cluster.advance(8_000);
        let left: usize = self
            .cluster
            .servers
            .iter()
            .map(|it| it.node.known_topics())
            .sum();
        match left {
            0 => Ok(()),
            left => Err(format!("{left} topics are left without a subscriber")),
        }
    }

    /// What the broker has of the topic that keeps everything.
    fn history(&self) -> HashMap<(&'static str, Place), String> {
        let (answer, done) = answer::<HistoryPage>();
        let limit = PageLimit {
            items: usize::MAX,
            bytes: usize::MAX,
        };
        let node = &self.cluster.servers[0].node;
        node.history(Topic::new("chat", "long"), None, u64::MAX, limit, done);
        self.cluster.settle();
        let page = answer.take().expect("the broker is there");
        let texts = page.publications.iter().map(|(position, message)| {
            let at = self.cluster.place("long", position.as_bytes());
            let at = at.expect("a position of the topic");
            let text = String::from_utf8_lossy(message.payload()).into_owned();
            (("long", (at.epoch, at.offset)), text)
        });
        texts.collect()
    }
}
