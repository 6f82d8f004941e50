//! Another process takes the place of the server, again and again.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::checks::{Checks, under_attack};
use crate::server::{Server, Setup};
use crate::wire::{CLOSE, FIN, Peer, frame, is_told_to_come_back};
use crate::{Error, Lab, Result};

/// SIGUSR2 under clients that come and go, and clients that stay until they are told to come back.
pub(crate) fn under_load(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let upgrades = lab.either(50, 5);
    let server = Server::start(&lab.artifacts, &Setup::default())?;
    under_attack(&server, checks, |checks| {
        let seen = Seen::default();
        let began = Instant::now();
        let done = std::thread::scope(|scope| {
            for _ in 0..COMING {
                scope.spawn(|| seen.come_and_go(server.port));
            }
            for _ in 0..STAYING {
                scope.spawn(|| seen.stay(server.port));
            }
            let done = upgrade(&server, upgrades, &seen);
            seen.is_over.store(true, Ordering::Relaxed);
            done
        });
        let per_second = seen.sessions.count() as f64 / began.elapsed().as_secs_f64();
        done?;
        checks.holds(
            format!(
                "{upgrades} upgrades; {} connections, {per_second:.0} a second, {} refused",
                seen.sessions.count(),
                seen.refused.count()
            ),
            seen.refused.count() == 0 && per_second > f64::from(PER_SECOND) * 0.9,
        );
        checks.holds(
            format!(
                "{} sessions told to come back, {} lost {}",
                seen.told.count(),
                seen.lost.count(),
                seen.first.lock().map_or(String::new(), |it| it.clone())
            ),
            seen.told.count() >= upgrades * STAYING && seen.lost.count() == 0,
        );
        let left = server.await_alone(Duration::from_secs(20))?;
        checks.holds(format!("{left} process is left"), left == 1);
        Ok(())
    })
}

/// Upgrades every half second. All clients that stay have come back before the next one.
fn upgrade(server: &Server, upgrades: usize, seen: &Seen) -> Result<()> {
    let began = Instant::now();
    for count in 1..=upgrades {
        let due = began + PERIOD * count as u32;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        server.upgrade(count, SOON)?;
        let deadline = Instant::now() + SOON;
        while seen.returned.count() < count * STAYING {
            if Instant::now() > deadline {
                return Err(format!("not all are told after {count} upgrades").into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    Ok(())
}

/// What the clients have seen.
#[derive(Default)]
struct Seen {
    sessions: Counter,
    /// Connections that were not accepted.
    refused: Counter,
    /// Sessions that were told to come back.
    told: Counter,
    /// Those of them that stay.
    returned: Counter,
    /// Sessions and handshakes that ended otherwise.
    lost: Counter,
    /// Why the first was refused or lost.
    first: std::sync::Mutex<String>,
    is_over: AtomicBool,
}

#[derive(Default)]
struct Counter(AtomicUsize);

impl Counter {
    fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Seen {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Opens a session, asks for an echo and leaves, so many times a second.
    fn come_and_go(&self, port: u16) {
        let (began, mut made) = (Instant::now(), 0);
        while !self.is_over() {
            let due = began + Duration::from_secs(1) * made * COMING / PER_SECOND;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            made += 1;
            let come = || -> Result<()> {
                let mut peer = Peer::open(port, "/echo")?;
                self.sessions.add();
                peer.ask(b"here")?;
                peer.send(&frame(FIN | CLOSE, &1000u16.to_be_bytes()))
            };
            if let Err(error) = come() {
                self.count(&error);
            }
        }
    }

    /// Holds a session, and comes back when it is told to.
    fn stay(&self, port: u16) {
        while !self.is_over() {
            let stayed = Peer::open(port, "/echo").and_then(|mut peer| {
                while !self.is_over() {
                    peer.ask(b"here")?;
                    std::thread::sleep(Duration::from_millis(20));
                }
                Ok(())
            });
            if let Err(error) = stayed {
                self.count(&error);
                self.returned.add();
            }
        }
    }

    fn count(&self, error: &Error) {
        if is_told_to_come_back(error) {
            return self.told.add();
        }
        let is_refused = error
            .downcast_ref::<std::io::Error>()
            .is_some_and(|it| it.kind() == ErrorKind::ConnectionRefused);
        match is_refused {
            true => self.refused.add(),
            false => self.lost.add(),
        }
        if let Ok(mut first) = self.first.lock()
            && first.is_empty()
        {
            *first = error.to_string();
        }
    }
}

const PERIOD: Duration = Duration::from_millis(500);
const PER_SECOND: u32 = 500;
/// Clients that come and go, each a part of them.
const COMING: u32 = 5;
const STAYING: usize = 10;
const SOON: Duration = Duration::from_secs(60);
