//! Publications: one topic with many subscribers, or many topics at once.

use std::fmt;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::Result;
use crate::frame::Batch;
use crate::load::Load;
use crate::rounds::Sample;
use crate::server::Server;
use crate::socket::{Offer, Socket};

/// How publications are driven: in each topic one of the subscribers publishes, and the next messages follow when all
/// subscribers of all topics have these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crowd {
    pub(crate) topics: usize,
    /// The subscribers of each topic.
    pub(crate) subscribers: usize,
    /// The messages that a publisher writes together.
    pub(crate) messages: u32,
    /// wshd keeps the last publications of each topic.
    pub(crate) has_history: bool,
}

impl Crowd {
    /// One topic, and one message at a time.
    pub(crate) const fn of(subscribers: usize) -> Crowd {
        Crowd {
            topics: 1,
            subscribers,
            messages: 1,
            has_history: false,
        }
    }

    /// Returns this crowd, on topics with history.
    pub(crate) const fn with_history(self) -> Crowd {
        Crowd {
            has_history: true,
            ..self
        }
    }

    pub(crate) const STORM: Crowd = Crowd {
        topics: 100,
        subscribers: 10,
        messages: 8,
        has_history: false,
    };

    pub(crate) fn connections(&self) -> usize {
        self.topics * self.subscribers
    }

    /// Describes the crowd in a sentence. Its `Display` is the name for a command line.
    pub(crate) fn title(&self) -> String {
        let subscribers = self.subscribers;
        let who = match self.topics {
            1 => format!("one publisher, {subscribers} subscribers"),
            topics => format!(
                "{topics} topics of {subscribers} subscribers, {} publications together",
                self.messages
            ),
        };
        let kept = match self.has_history {
            true => format!(", the last {HISTORY_COUNT} kept"),
            false => String::new(),
        };
        format!("{who}, deliveries of {PAYLOAD_BYTES} B{kept}")
    }

    /// Returns the lines that wshd's configuration has for this crowd.
    pub(crate) fn configuration(&self) -> String {
        match self.has_history {
            true => format!("\n[topics.\"fan/*\"]\nhistory = {{ count = {HISTORY_COUNT} }}\n"),
            false => String::new(),
        }
    }

    /// Returns how many publications come before those that are measured. The first finds sessions that have not slept yet,
    /// and a history is to be full, so that each publication drops one.
    pub(crate) const fn publications_before(&self) -> usize {
        match self.has_history {
            true => HISTORY_COUNT,
            false => 1,
        }
    }
}

impl fmt::Display for Crowd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.topics {
            1 => write!(f, "fan-{}", self.subscribers)?,
            topics => write!(f, "storm-{topics}x{}x{}", self.subscribers, self.messages)?,
        }
        f.write_str(if self.has_history { "-history" } else { "" })
    }
}

/// A server whose `/fan` sends every message to all connections there, or to all with the same `?topic=`.
pub(crate) struct Fan {
    pub(crate) server: Server,
    crowd: Crowd,
    load: Load,
    batch: Batch,
}

impl Fan {
    pub(crate) fn start(server: Server, crowd: Crowd) -> Result<Fan> {
        // Two subscribers show whether the server publishes at all, and whether it has topics.
        let patience = Duration::from_millis(500);
        let probe = open(server.port, Crowd::of(2)).and_then(|load| {
            let batch = Batch::binary(PAYLOAD_BYTES, 1);
            load.with_patience(patience).publish(&batch, 1)
        });
        if probe.is_err() {
            return Err("has no topics here".into());
        }
        let mut load = open(server.port, crowd)?;
        let batch = Batch::binary(PAYLOAD_BYTES, crowd.messages);
        for _ in 0..crowd.publications_before() {
            load.publish(&batch, crowd.topics)?;
        }
        Ok(Fan {
            server,
            crowd,
            load,
            batch,
        })
    }

    pub(crate) fn drive(&mut self, slice: Duration) -> Result<Sample> {
        let before = self.server.settled_cpu_time()?;
        let began = Instant::now();
        let mut latencies = Vec::new();
        while began.elapsed() < slice {
            latencies.extend(self.load.publish(&self.batch, self.crowd.topics)?);
        }
        let elapsed = began.elapsed();
        let cpu = self.server.settled_cpu_time()? - before;
        let units = latencies.len() as u64;
        Ok(Sample::new(units, elapsed, cpu, latencies))
    }

    /// Publishes without a pause, and measures what another session's echoes take meanwhile.
    pub(crate) fn drive_beside_echoes(&mut self, slice: Duration) -> Result<Sample> {
        let port = self.server.port;
        let is_over = AtomicBool::new(false);
        let before = self.server.settled_cpu_time()?;
        let began = Instant::now();
        let echoes = std::thread::scope(|scope| {
            let echoes = scope.spawn(|| echo_until(port, &is_over));
            let mut published = Ok(());
            while began.elapsed() < slice && published.is_ok() {
                let once = self.load.publish(&self.batch, self.crowd.topics);
                published = once.map(drop);
            }
            is_over.store(true, Ordering::Relaxed);
            let echoes = echoes.join().map_err(|_| "the echoes panicked")?;
            published.and(echoes)
        })?;
        let elapsed = began.elapsed();
        let cpu = self.server.settled_cpu_time()? - before;
        Ok(Sample::new(echoes.len() as u64, elapsed, cpu, echoes))
    }
}

/// Opens the connections of a crowd. A crowd of one topic does without its name, for servers that have only one.
pub(crate) fn open(port: u16, crowd: Crowd) -> Result<Load> {
    let path = |index: usize| match crowd.topics {
        1 => "/fan".to_owned(),
        topics => format!("/fan?topic={}", index % topics),
    };
    Load::open_each(port, path, crowd.connections(), Offer::Nothing)
}

/// Echoes on a connection of its own, one each millisecond. Returns how many nanoseconds each took.
fn echo_until(port: u16, is_over: &AtomicBool) -> Result<Vec<u32>> {
    let batch = Batch::binary(PAYLOAD_BYTES, 1);
    let mut stream: TcpStream = Socket::open(port, "/echo", Offer::Nothing)?.into_blocking();
    // The header of a server's frame of this length, and the payload.
    let mut echo = vec![0; 2 + PAYLOAD_BYTES];
    let mut latencies = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let sent_at = Instant::now();
        stream.write_all(&batch.bytes)?;
        stream.read_exact(&mut echo)?;
        let latency = sent_at.elapsed().as_nanos();
        latencies.push(latency.try_into().unwrap_or(u32::MAX));
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(latencies)
}

pub(crate) const PAYLOAD_BYTES: usize = 125;
/// The publications that a topic with history keeps.
const HISTORY_COUNT: usize = 256;
