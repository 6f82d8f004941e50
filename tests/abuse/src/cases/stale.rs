//! A handler that calls the server with pointers and ids that mean nothing.

use std::time::Duration;

use crate::checks::{Checks, under_attack};
use crate::compile::compile;
use crate::hostile::{SAID, SAID_AT_OPEN};
use crate::server::{Server, Setup};
use crate::wire::{CLOSE, FIN, Peer, TEXT, frame};
use crate::{Lab, Result};

/// Each message makes the handler of `tests/fixtures/c/hostile.c` call every function with each kind of pointer.
pub(crate) fn pointers_and_ids(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let rounds = lab.either(1_000, 20);
    let server = Server::start(&lab.artifacts, &Setup::default())?;
    server.add(
        "hostile",
        &compile("tests/fixtures/c/hostile.c", &["-pthread"]),
    )?;
    under_attack(&server, checks, |checks| {
        let mut innocent = Peer::open(server.port, "/echo")?;
        let mut first = Peer::open(server.port, "/hostile")?;
        first.send(&frame(FIN | TEXT, b"own"))?;
        let mut peer = Peer::open(server.port, "/hostile")?;
        let mut wrong = Vec::new();
        let mut heard = 0;
        let mut expect = |peer: &mut Peer, wanted: &str| -> Result<()> {
            let said = peer.message()?;
            heard += 1;
            if said != wanted.as_bytes() {
                wrong.push(format!("`{}`", String::from_utf8_lossy(&said)));
            }
            Ok(())
        };
        expect(&mut first, SAID_AT_OPEN)?;
        expect(&mut peer, SAID_AT_OPEN)?;
        for round in 0..rounds {
            // In the second half the pointers are those of a session that is gone.
            if round == rounds / 2 {
                first.send(&frame(FIN | CLOSE, &1000u16.to_be_bytes()))?;
                first.close_code()?;
                server.line(&["in closed: OK, GONE"], Duration::from_secs(10))?;
            }
            peer.send(&frame(FIN | TEXT, b"go"))?;
            for said in SAID {
                expect(&mut peer, said)?;
            }
            innocent.ask(b"still there?")?;
        }
        checks.holds(
            format!(
                "{heard} answers for {} calls, {} other than they should be {}",
                rounds * CALLS,
                wrong.len(),
                wrong.first().map_or("", |it| it)
            ),
            wrong.is_empty(),
        );
        let destroyed = server.log().matches("in destroy").count();
        checks.holds(
            format!("{destroyed} calls taken after the end"),
            destroyed == 0,
        );
        Ok(())
    })
}

/// Eleven functions with seven pointers, five with four ids, and eight more.
const CALLS: usize = 11 * 7 + 5 * 4 + 8;
