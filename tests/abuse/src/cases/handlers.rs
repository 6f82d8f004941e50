//! Very many handlers.

use std::fs;
use std::time::{Duration, Instant};

use crate::checks::{Checks, under_attack};
use crate::server::{Server, Setup};
use crate::wire::Peer;
use crate::{Lab, Result};

/// A server starts with five hundred handlers, and with a file that is none.
pub(crate) fn many(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let count = lab.either(500, 50);
    let empty = Setup {
        files: &[("handlers/bad_wsh.so", "this is no library")],
        ..Setup::default()
    };
    let server = Server::start(&lab.artifacts, &empty)?;
    for number in 0..count {
        let file = server.path(&format!("handlers/echo{number:03}_wsh.so"));
        fs::copy(lab.artifacts.plugin("echo_wsh"), file)?;
    }
    let began = Instant::now();
    let server = server.restart(&lab.artifacts, &empty)?;
    let started = began.elapsed();
    under_attack(&server, checks, |checks| {
        let mut served = 0;
        for number in 0..count {
            let mut peer = Peer::open(server.port, &format!("/echo{number:03}"))?;
            served += usize::from(peer.ask(b"hello")? == b"hello");
        }
        checks.holds(
            format!(
                "{count} handlers and a bad file: started in {:.1} s",
                started.as_secs_f64()
            ),
            started < Duration::from_secs(3),
        );
        checks.holds(format!("{served} of {count} serve"), served == count);
        Ok(())
    })
}
