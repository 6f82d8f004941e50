//! A process without a descriptor left.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::checks::{Checks, ms, under_attack};
use crate::server::{Server, Setup};
use crate::swarm::{Came, Swarm};
use crate::wire::{Peer, connect, opening};
use crate::{Lab, Result};

/// More clients than descriptors, who come back as long as they are refused.
pub(crate) fn run_out(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let seconds = lab.either(30, 5);
    let setup = Setup {
        within: &["prlimit", "--nofile=256:256"],
        ..Setup::default()
    };
    let server = Server::start(&lab.artifacts, &setup)?;
    under_attack(&server, checks, |checks| {
        let mut first = Peer::open(server.port, "/echo")?;
        let lines = server.log().lines().count();
        let before = server.usage()?.cpu;
        let began = Instant::now();
        let mut crowd = Crowd::new(CLIENTS)?;
        while began.elapsed() < Duration::from_secs(seconds as u64) {
            crowd.press(server.port)?;
            let asked = first.ask(b"still here?")?;
            if asked != b"still here?" {
                return Err("an echo is another one".into());
            }
        }
        let took = began.elapsed().as_secs_f64();
        let share = 100.0 * (server.usage()?.cpu - before).as_secs_f64() / took;
        let log = server.log();
        let new = log.lines().skip(lines);
        let told = new.filter(|it| !it.contains("session closed")).count();
        checks.note(format!(
            "{} clients, {} sessions, {} came again",
            CLIENTS, crowd.sessions, crowd.again
        ));
        checks.holds(format!("{share:.1} % of a processor"), share < 10.0);
        checks.holds(
            format!("{told} lines of the log in {seconds} s"),
            told <= seconds + 1,
        );
        drop(crowd);
        let freed = Instant::now();
        let within = loop {
            let status = server.handshake_status("/echo")?;
            if status == 101 || freed.elapsed() > Duration::from_secs(5) {
                break freed.elapsed();
            }
        };
        checks.holds(
            format!("a new session {} after that", ms(within)),
            within < Duration::from_secs(1),
        );
        Ok(())
    })
}

/// Clients of whom each wants a session, and keeps it.
pub(crate) struct Crowd {
    swarm: Swarm,
    count: usize,
    sessions: usize,
    again: usize,
    next: Instant,
}

impl Crowd {
    pub(crate) fn new(count: usize) -> Result<Crowd> {
        Ok(Crowd {
            swarm: Swarm::new()?,
            count,
            sessions: 0,
            again: 0,
            next: Instant::now(),
        })
    }

    /// Lets those connect that have no connection, at most once a second, and hears what came.
    pub(crate) fn press(&mut self, port: u16) -> Result<()> {
        if Instant::now() >= self.next {
            self.next = Instant::now() + Duration::from_secs(1);
            let missing = self.count - self.swarm.open();
            self.again += if self.swarm.len() == 0 { 0 } else { missing };
            for _ in 0..missing {
                let mut stream = connect(port)?;
                // A full server may have closed it already.
                let _ = stream.write_all(opening("/echo", "").as_bytes());
                self.swarm.add(stream)?;
            }
        }
        let mut opened = 0;
        let looking = Instant::now();
        while looking.elapsed() < Duration::from_millis(50) {
            self.swarm.look(Duration::from_millis(20), |_, came| {
                if let Came::Bytes(bytes) = came {
                    opened += usize::from(bytes.starts_with(b"HTTP/1.1 101"));
                }
            })?;
        }
        self.sessions += opened;
        Ok(())
    }
}

const CLIENTS: usize = 400;
