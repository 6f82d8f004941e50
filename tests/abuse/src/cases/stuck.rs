//! Callbacks that never return.

use std::time::{Duration, Instant};

use crate::checks::{Checks, Leaves, ms, under_attack_that_leaves};
use crate::server::{Server, Setup};
use crate::wire::{FIN, Peer, TEXT, frame};
use crate::{Lab, Result};

/// One callback loops, and then those of more sessions than there are threads to run them wait for ever.
pub(crate) fn never_returns(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let many = 4 * (std::thread::available_parallelism()?.get() + 2);
    let seconds = lab.either(5, 1);
    let server = Server::start(&lab.artifacts, &Setup::default())?;
    let plugin = std::fs::read(lab.artifacts.plugin("stuck_wsh"))?;
    server.add("loops", &plugin)?;
    server.add("waits", &plugin)?;
    let leaves = Leaves {
        sessions: 1 + many,
        ..Leaves::default()
    };
    let mut stuck = Vec::new();
    under_attack_that_leaves(leaves, &server, checks, |checks| {
        for (how, handler, count) in [("loop", "loops", 1), ("deadlock", "waits", many)] {
            let path = format!("/{handler}");
            let mut sessions = Vec::new();
            for _ in 0..count {
                sessions.push(Peer::open(server.port, &path)?);
            }
            let began = Instant::now();
            for session in &mut sessions {
                session.send(&frame(FIN | TEXT, how.as_bytes()))?;
            }
            let named = format!("handler={handler}");
            let parts = [
                "callback runs past its budget",
                &named,
                "callback=\"message\"",
            ];
            server.line(&parts, SOON)?;
            let after = began.elapsed();
            let mut others = 0;
            while began.elapsed() < after + Duration::from_secs(seconds) {
                let mut other = Peer::open(server.port, "/echo")?;
                others += usize::from(other.ask(b"and I?")? == b"and I?");
                std::thread::sleep(Duration::from_millis(20));
            }
            checks.holds(
                format!(
                    "{how} in {count} sessions is named after {}; {others} new sessions of others",
                    ms(after)
                ),
                after < Duration::from_secs(2) && others > 0,
            );
            stuck.append(&mut sessions);
        }
        server.line(&["handler quarantined", "handler=waits"], SOON)?;
        let status = || server.handshake_status("/waits");
        let refused = status()?;
        let echo = std::fs::read(lab.artifacts.plugin("echo_wsh"))?;
        server.put("handlers/waits_wsh.so", &echo)?;
        let put = Instant::now();
        while status()? != 101 && put.elapsed() < SOON {
            std::thread::sleep(Duration::from_millis(10));
        }
        checks.holds(
            format!(
                "the handler that holds {many} threads gets {refused}, and serves again {} after a new file",
                ms(put.elapsed())
            ),
            refused == 503 && put.elapsed() < SOON,
        );
        Ok(())
    })
}

const SOON: Duration = Duration::from_secs(10);
